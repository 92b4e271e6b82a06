//! From bytes on disk into any Burn module. Knows files and tensors, and no model family.
//!
//! [`Checkpoint::open`] finds the weights of a folder and checks everything that describes them;
//! [`load_module`] matches them with the parameters of a module under the names of a [`KeyMap`],
//! reports what does not fit, and only then reads and uploads one tensor after the other.
//!
//! A model folder is not trusted. Nothing it says is believed before it was checked against the
//! bytes that are there: no number of it is allocated, no name of it leads out of the folder, and no
//! pickle of it runs.

mod adapter;
mod adapter_config;
mod apart;
mod blocks;
mod checkpoint;
mod convert;
mod delta;
mod element;
mod file;
mod fit;
mod fit_updates;
mod folder;
mod format;
mod gguf;
mod gguf_file;
mod gguf_shards;
mod index;
mod kept_type;
mod key_map;
mod key_rule;
mod limits;
mod load;
mod low_rank;
mod matrix_type;
mod near_miss;
mod options;
mod packing;
mod parameters;
mod plan;
mod pytorch;
mod report;
mod safetensors;
mod saved;
mod shards;
mod source;
mod tensor;
#[cfg(test)]
mod test_files;
mod unique_map;

pub(crate) use adapter_config::ADAPTER_CONFIG;
pub(crate) use apart::{LowRankFactors, load_apart};
#[cfg(feature = "testing")]
pub use blocks::BlockType;
pub use checkpoint::{Checkpoint, CheckpointPart};
pub use delta::{DeltaOptions, DeltaReport, NewRows, apply_delta};
#[cfg(feature = "testing")]
pub use element::ElementType;
pub use element::WeightType;
pub use gguf::{GgufMetadata, GgufValue};
pub use gguf_file::Gguf;
pub use kept_type::KeptType;
pub use key_map::KeyMap;
pub use key_rule::{KeyPattern, KeyRule, RowOrder};
pub(crate) use load::check_module;
pub use load::load_module;
pub use matrix_type::MatrixType;
#[cfg(feature = "testing")]
pub use options::ProgressCallback;
pub use options::{LoadProgress, Strictness, WeightOptions};
pub use report::{LoadReport, MismatchedParameter, MissingParameter, UnusedTensor, WidenedMatrix};
pub(crate) use saved::save_module;
#[cfg(feature = "testing")]
pub use tensor::{StoredTensor, TensorInfo};
