use std::path::PathBuf;

use super::visible::{visible, visible_line};

/// A configuration file that this crate cannot follow.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is no JSON, or a field has the wrong type.
    #[error("{} is not valid: {}", visible_line(path), visible_line(reason))]
    Malformed {
        /// The configuration file.
        path: PathBuf,
        /// Where and how the parser stopped.
        reason: String,
    },
    /// A field has a value outside of what a model can have.
    #[error(
        "config field `{}` is {}, expected {}",
        visible(field),
        visible(found),
        visible_line(expected)
    )]
    OutOfRange {
        /// Dotted name of the field.
        field: String,
        /// The value in the file.
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// A field names something that this crate does not implement.
    #[error(
        "config field `{}` is `{}`; supported: {}",
        visible(field), visible(found), supported.join(", ")
    )]
    Unsupported {
        /// Dotted name of the field.
        field: String,
        /// The value in the file.
        found: String,
        /// Every value that would work.
        supported: Vec<String>,
    },
    /// A field without which the model cannot be built is absent.
    #[error("config field `{}` is missing", visible(field))]
    Missing {
        /// Dotted name of the field.
        field: String,
    },
    /// A file without which nothing says how the model is used is absent.
    #[error(
        "{} does not say {needed_for}: it holds no {}; copy the file from where the model was published",
        visible_line(folder), looked_for.join(" and no ")
    )]
    MissingFile {
        /// The folder of the model.
        folder: PathBuf,
        /// The file names looked for, in order.
        looked_for: Vec<String>,
        /// What one of them would say.
        needed_for: String,
    },
    /// The sizes multiply to more work or memory than a model of so few parameters needs.
    #[error(
        "the configuration asks for {found} {what}, the limit for a model of its size is {limit}; \
         LoadOptions::with_size_allowance raises it"
    )]
    TooCostly {
        /// What was counted.
        what: &'static str,
        /// How much there would be.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// The folder holds no model of a family this crate knows.
    #[error("{} holds no model that can be run: found {}; {}; supported: {}",
        visible_line(path), list(found), visible_line(missing), supported.join(", "))]
    UnknownModel {
        /// The folder that was opened.
        path: PathBuf,
        /// What the folder holds that looks like a model.
        found: Vec<String>,
        /// What was looked for and is not there.
        missing: String,
        /// Every architecture that would work.
        supported: Vec<String>,
    },
}

fn list(found: &[String]) -> String {
    if found.is_empty() {
        "nothing of a model".to_string()
    } else {
        let found = found.iter().map(|name| visible(name).to_string());
        found.collect::<Vec<_>>().join(", ")
    }
}
