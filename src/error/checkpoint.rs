use std::path::PathBuf;

use super::visible::{visible, visible_line, visible_report};

/// Names an error message spells out before it only counts the rest.
const MAX_LISTED: usize = 20;

/// Weights that cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The folder holds no weights in a layout this crate reads.
    #[error("no weights in {}: looked for {}", visible_line(folder), looked_for.join(", "))]
    Missing {
        /// The folder that was opened.
        folder: PathBuf,
        /// The file names looked for, in order.
        looked_for: Vec<String>,
    },
    /// What was named as an adapter is none that PEFT saved.
    #[error(
        "{} is no folder of an adapter as PEFT saves one: it holds no {looked_for}",
        visible_line(path)
    )]
    NoAdapter {
        /// What was named.
        path: PathBuf,
        /// The file name looked for.
        looked_for: String,
    },
    /// The folder holds several weight files and nothing says which are meant.
    #[error(
        "{} holds {} weight files and no index: {}; open the wanted files by name",
        visible_line(folder), found.len(), list(found)
    )]
    Ambiguous {
        /// The folder that was opened.
        folder: PathBuf,
        /// Names of its weight files.
        found: Vec<String>,
    },
    /// An index names a file in a way that could reach outside of its folder.
    #[error(
        "{} names the shard `{}`, which {reason}",
        visible_line(index),
        visible(name)
    )]
    UnsafeName {
        /// The index file.
        index: PathBuf,
        /// The name as written there.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// A link leads out of the model folder.
    #[error(
        "{} leads to {}, outside of the model folder; open that file by name if it is meant",
        visible_line(path),
        visible_line(target)
    )]
    Outside {
        /// The file inside the folder.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// Something that is not a regular file stands where weights were expected.
    #[error("{} is {found}, expected a regular file", visible_line(path))]
    NotAFile {
        /// The path that was to be read.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// A file of a new checkpoint could not be written, or is there already.
    #[error("cannot write {}: {reason}", visible_line(path))]
    NotWritten {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        reason: std::io::Error,
    },
    /// Files that the index names are not in the folder.
    #[error("{} names {} file(s) that are missing: {}", visible_line(index), shards.len(), list(shards))]
    MissingShards {
        /// The index file.
        index: PathBuf,
        /// The missing files, by name.
        shards: Vec<String>,
    },
    /// One name stands for two tensors.
    #[error(
        "tensor `{}` is stored twice: in {} and in {}",
        visible(tensor),
        visible_line(first),
        visible_line(second)
    )]
    Duplicate {
        /// The tensor.
        tensor: String,
        /// The file that holds it first.
        first: PathBuf,
        /// The file that holds it again; may be the same.
        second: PathBuf,
    },
    /// A file breaks the rules of its format.
    #[error(
        "{} is not a valid {format} file: {}",
        visible_line(path),
        visible_line(reason)
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The format that it should have.
        format: &'static str,
        /// The rule that it breaks.
        reason: String,
    },
    /// The entry of one tensor contradicts itself, the file, or another tensor.
    #[error(
        "{}: tensor `{}` {}",
        visible_line(path),
        visible(tensor),
        visible_line(reason)
    )]
    InvalidTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The contradiction.
        reason: String,
    },
    /// A file asks for more than any real checkpoint needs.
    #[error("{}: {what} is {found}, the limit is {limit}", visible_line(path))]
    Limit {
        /// The file.
        path: PathBuf,
        /// What was counted.
        what: &'static str,
        /// The number in the file.
        found: u64,
        /// The largest number accepted.
        limit: u64,
    },
    /// A file ends before its data does, or has shrunk since it was opened.
    #[error(
        "{} ends early: {len_bytes} bytes at {offset} are needed; fetch the file again",
        visible_line(path)
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Where the read began.
        offset: u64,
        /// How much was to be read.
        len_bytes: u64,
    },
    /// A tensor does not fit into the memory that is left.
    #[error(
        "tensor `{}` needs {len_bytes} bytes of memory, more than there are",
        visible(tensor)
    )]
    OutOfMemory {
        /// The tensor.
        tensor: String,
        /// How much was asked for.
        len_bytes: u64,
    },
    /// A format, or a part of one, that this crate does not read.
    #[error("{} is {}: {remedy}", visible_line(path), visible_line(found))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What the file is or contains.
        found: String,
        /// What to do instead.
        remedy: &'static str,
    },
    /// A pickle asks for a Python object that is not part of a tensor.
    #[error(
        "{} asks for the Python object `{}`, which is never loaded; \
         save the state dict alone, best as safetensors",
        visible_line(path),
        visible(global)
    )]
    ForbiddenGlobal {
        /// The file.
        path: PathBuf,
        /// Module and name of the object.
        global: String,
    },
    /// A tensor that the checkpoint does not hold was asked for.
    #[error("the checkpoint holds no tensor `{}`{}", visible(tensor), hint(nearest.as_deref()))]
    UnknownTensor {
        /// The name asked for.
        tensor: String,
        /// The most similar name that the checkpoint holds.
        nearest: Option<String>,
    },
    /// A tensor is stored in an element type that no parameter can take.
    #[error(
        "tensor `{}` is stored as {found}; parameters are read from {}",
        visible(tensor), supported.join(", ")
    )]
    ElementType {
        /// The tensor.
        tensor: String,
        /// The element type in the file.
        found: &'static str,
        /// The element types that would work.
        supported: Vec<&'static str>,
    },
    /// A weight is too large for the element type it shall be kept in.
    #[error(
        "tensor `{}` holds {value}, which {target} cannot represent; load it as f32 or bf16",
        visible(tensor)
    )]
    Overflow {
        /// The tensor.
        tensor: String,
        /// The first value out of range.
        value: f32,
        /// The element type asked for.
        target: &'static str,
    },
    /// The device cannot read matrices of the element type asked for.
    #[error("the device reads no {weight_type} matrices; load the weights as stored, or in f32")]
    WeightType {
        /// The element type asked for.
        weight_type: &'static str,
    },
    /// Two tensors of the checkpoint are meant for one parameter.
    #[error(
        "tensors `{}` and `{}` both stand for the parameter `{}`",
        visible(first),
        visible(second),
        visible(parameter)
    )]
    NameCollision {
        /// Path of the parameter in the module.
        parameter: String,
        /// One tensor.
        first: String,
        /// The other tensor.
        second: String,
    },
    /// An adapter changes what the model does not have, or has in another size.
    #[error(
        "the adapter in {}{} does not fit this model, which has no place, or one of another size, \
         for {}; open the model it was trained on",
        visible_line(adapter), made_for(base.as_deref()), few(tensors)
    )]
    AdapterMismatch {
        /// The folder of the adapter.
        adapter: PathBuf,
        /// The model that the adapter says it was trained on.
        base: Option<String>,
        /// Its tensors that do not fit.
        tensors: Vec<String>,
        /// The load report in words.
        report: String,
    },
    /// Checkpoint and model do not fit: parameters without a tensor, or tensors without a parameter.
    #[error(
        "the weights do not fit the model: {}; are weights and config.json of one model",
        visible_report(report)
    )]
    Incomplete {
        /// Parameters that no tensor fills, by path.
        missing: Vec<String>,
        /// Parameters whose tensor has another shape, by path.
        mismatched: Vec<String>,
        /// Tensors that fill no parameter, by name.
        unused: Vec<String>,
        /// The load report in words, with shapes and near misses.
        report: String,
    },
}

fn list(names: &[String]) -> String {
    listed(names, MAX_LISTED)
}

/// The first of what is all of one kind.
fn few(names: &[String]) -> String {
    listed(names, 3)
}

fn listed(names: &[String], at_most: usize) -> String {
    let listed = names
        .iter()
        .take(at_most)
        .map(|name| visible(name).to_string())
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(at_most) {
        0 => listed,
        rest => format!("{listed} and {rest} more"),
    }
}

fn made_for(base: Option<&str>) -> String {
    base.map_or_else(String::new, |base| format!(", made for {},", visible(base)))
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| {
        format!("; did you mean `{}`", visible(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_names_is_cut_and_counted() {
        let names: Vec<String> = (0..23).map(|index| format!("n{index}")).collect();
        assert!(list(&names).ends_with("n19 and 3 more"));
        assert_eq!(list(&names[..2]), "n0, n1");
    }
}
