//! Where this repository lies.

use std::path::{Path, PathBuf};

/// A file or folder of this repository.
///
/// `BURN_VLM_REPOSITORY` says where that is on a machine that has not built this program.
pub(crate) fn repository(path: &str) -> PathBuf {
    let root = std::env::var_os("BURN_VLM_REPOSITORY");
    let root = root.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&root).join(path)
}
