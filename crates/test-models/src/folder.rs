//! Where models are kept.

use std::env;
use std::path::{Path, PathBuf};

/// The environment variable that names another folder for the downloaded models.
pub(crate) const FOLDER_VARIABLE: &str = "LLAMA_TEST_MODELS";

fn workspace_root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this package is in crates/ of the workspace")
}

/// The folder of the downloaded models.
pub(crate) fn downloaded() -> PathBuf {
    match env::var_os(FOLDER_VARIABLE) {
        Some(folder) => PathBuf::from(folder),
        None => workspace_root().join("target/models"),
    }
}

/// The folder of the generated models, in cargo's target folder wherever that is.
pub(crate) fn generated() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    workspace_root().join(target).join("models/tiny")
}
