//! What PEFT's `adapter_config.json` says of an adapter.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::error::{CheckpointError, Error, Result};
use crate::files;

/// What PEFT calls it, and what tells a folder of an adapter from one of a model.
pub(crate) const ADAPTER_CONFIG: &str = "adapter_config.json";
/// Those seen have 1 KiB.
const MAX_BYTES: u64 = 1 << 20;

/// The fields that decide what an adapter does, with PEFT's defaults.
#[derive(Debug)]
pub(super) struct AdapterConfig {
    path: PathBuf,
    rank: usize,
    alpha: f64,
    is_rank_stabilised: bool,
    targets: Option<Vec<String>>,
    rank_pattern: BTreeMap<String, usize>,
    alpha_pattern: BTreeMap<String, f64>,
    pub(super) modules_to_save: Vec<String>,
    /// Whether biases may come with it.
    pub(super) has_biases: bool,
    /// The model that it was trained on.
    pub(super) base: Option<String>,
}

/// The file. A field that is `null` is absent; those that only matter while training are not read.
/// `fan_in_fan_out` is for weights stored `[in, out]`: PEFT unsets it for all that this crate loads.
#[derive(Deserialize)]
struct ConfigFile {
    peft_type: Option<String>,
    r: Option<usize>,
    lora_alpha: Option<f64>,
    use_rslora: Option<bool>,
    bias: Option<String>,
    target_modules: Option<Targets>,
    modules_to_save: Option<Vec<String>>,
    rank_pattern: Option<BTreeMap<String, usize>>,
    alpha_pattern: Option<BTreeMap<String, f64>>,
    base_model_name_or_path: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Targets {
    Names(Vec<String>),
    /// A regular expression, or `all-linear`: the tensors tell what it matched.
    Pattern(IgnoredAny),
}

impl AdapterConfig {
    /// # Errors
    ///
    /// [`CheckpointError::NoAdapter`] if there is none, [`CheckpointError::Malformed`] if it is
    /// damaged, [`CheckpointError::Unsupported`] if it asks for more than products to be added.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(ADAPTER_CONFIG);
        let no_adapter = || CheckpointError::NoAdapter {
            path: folder.to_path_buf(),
            looked_for: ADAPTER_CONFIG.to_string(),
        };
        if !folder.is_dir() {
            return Err(no_adapter().into());
        }
        let bytes = match files::read_capped(&path, MAX_BYTES)? {
            files::Contents::Bytes(bytes) => bytes,
            files::Contents::Absent => return Err(no_adapter().into()),
            files::Contents::TooLarge { found_bytes } => {
                let reason = format!("{found_bytes} bytes, the limit is {MAX_BYTES}");
                return Err(malformed(&path, reason));
            }
        };
        let parsed = serde_json::from_slice(&files::python_json(&bytes));
        let file: ConfigFile = parsed.map_err(|error| malformed(&path, error.to_string()))?;
        require_plain(&path, &file)?;
        let has_biases = match file.bias.as_deref() {
            None | Some("none") => false,
            Some("all" | "lora_only") => true,
            Some(other) => return Err(malformed(&path, format!("`bias` is `{other}`"))),
        };
        Ok(Self {
            path,
            rank: file.r.unwrap_or(8),
            alpha: file.lora_alpha.unwrap_or(8.0),
            is_rank_stabilised: file.use_rslora.unwrap_or(false),
            targets: match file.target_modules {
                Some(Targets::Names(names)) => Some(names),
                Some(Targets::Pattern(_)) | None => None,
            },
            rank_pattern: file.rank_pattern.unwrap_or_default(),
            alpha_pattern: file.alpha_pattern.unwrap_or_default(),
            modules_to_save: file.modules_to_save.unwrap_or_default(),
            has_biases,
            base: file.base_model_name_or_path.filter(|base| !base.is_empty()),
        })
    }

    /// Whether `module` is one of those that the adapter was made for.
    pub(super) fn targets(&self, module: &str) -> bool {
        let Some(names) = &self.targets else {
            return true;
        };
        names.iter().any(|name| is_module(module, name))
    }

    /// The rank of the factors of `module`.
    pub(super) fn rank(&self, module: &str) -> Result<usize> {
        let found = self.by_pattern("rank_pattern", &self.rank_pattern, module)?;
        match found.unwrap_or(self.rank) {
            0 => Err(malformed(
                &self.path,
                format!("the rank of `{module}` is 0"),
            )),
            rank => Ok(rank),
        }
    }

    /// What the product of `module`'s factors is multiplied by.
    pub(super) fn scale(&self, module: &str, rank: usize) -> Result<f32> {
        let alpha = self.by_pattern("alpha_pattern", &self.alpha_pattern, module)?;
        let alpha = alpha.unwrap_or(self.alpha);
        let divisor = match self.is_rank_stabilised {
            true => (rank as f64).sqrt(),
            false => rank as f64,
        };
        let scale = (alpha / divisor) as f32;
        match scale.is_finite() {
            true => Ok(scale),
            false => Err(malformed(
                &self.path,
                format!("alpha of `{module}` is {alpha}"),
            )),
        }
    }

    /// PEFT matches a key as the regular expression `(.*\.)?(key)$`.
    fn by_pattern<T: Copy + PartialEq>(
        &self,
        field: &str,
        patterns: &BTreeMap<String, T>,
        module: &str,
    ) -> Result<Option<T>> {
        let mut found = None;
        for (key, value) in patterns {
            let plain = key.strip_prefix('^').unwrap_or(key);
            let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
            if !plain.chars().all(is_plain) {
                let found = format!("an adapter whose {field} has the regular expression `{key}`");
                let remedy = "write it as one entry for each module";
                let path = self.path.clone();
                return Err(CheckpointError::Unsupported {
                    path,
                    found,
                    remedy,
                }
                .into());
            }
            let matches = match plain == key {
                true => is_module(module, key),
                false => module == plain,
            };
            if matches && found.replace(*value).is_some_and(|other| other != *value) {
                let reason = format!("two entries of `{field}` are for `{module}`");
                return Err(malformed(&self.path, reason));
            }
        }
        Ok(found)
    }
}

/// Whether `name` is the whole of `module`, or its last segments.
pub(super) fn is_module(module: &str, name: &str) -> bool {
    let before = module.strip_suffix(name);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Refuses what is no sum of products.
fn require_plain(path: &Path, file: &ConfigFile) -> Result<()> {
    const REMEDY: &str = "merge it into its model with PEFT's merge_and_unload and open that";
    /// With more than these an adapter computes something else.
    const NEUTRAL: [&str; 10] = [
        "use_dora",
        "use_qalora",
        "use_bdlora",
        "lora_bias",
        "alora_invocation_tokens",
        "layer_replication",
        "trainable_token_indices",
        "target_parameters",
        "kasa_config",
        "arrow_config",
    ];
    let unsupported = |found: String| {
        let (path, remedy) = (path.to_path_buf(), REMEDY);
        CheckpointError::Unsupported {
            path,
            found,
            remedy,
        }
    };
    if let Some(kind) = file.peft_type.as_deref().filter(|kind| *kind != "LORA") {
        return Err(unsupported(format!("an adapter of the kind {kind}, not LORA")).into());
    }
    let is_set = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(values) => !values.is_empty(),
        Value::Object(values) => !values.is_empty(),
        _ => true,
    };
    let is_used = |name: &&&str| file.others.get(**name).is_some_and(is_set);
    match NEUTRAL.iter().find(is_used) {
        Some(field) => Err(unsupported(format!("an adapter with `{field}`")).into()),
        None => Ok(()),
    }
}

fn malformed(path: &Path, reason: String) -> Error {
    CheckpointError::Malformed {
        path: path.to_path_buf(),
        format: "adapter configuration",
        reason,
    }
    .into()
}
