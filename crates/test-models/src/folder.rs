//! The folders of the models.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use llama_gguf::Writer;

use crate::tiny::GENERATOR_VERSION;

/// The environment variable that names another folder for the downloaded models.
pub(crate) const FOLDER_VARIABLE: &str = "LLAMA_TEST_MODELS";

pub(crate) fn workspace_root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this package is in crates/ of the workspace")
}

/// Returns the folder of the downloaded models.
pub(crate) fn downloaded() -> PathBuf {
    match env::var_os(FOLDER_VARIABLE) {
        Some(folder) => PathBuf::from(folder),
        None => workspace_root().join("target/models"),
    }
}

/// Returns the folder of the generated models, in cargo's target folder.
fn generated() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    workspace_root().join(target).join("models/tiny")
}

/// Returns the path of a generated file, after writing it if it does not exist.
///
/// Safe to call from several threads and processes at once: a second writer replaces the file by an equal one.
///
/// # Panics
/// If the file cannot be written.
pub(crate) fn written(name: &str, writer: impl FnOnce() -> Writer<'static>) -> PathBuf {
    // Threads of one process wait for each other instead of writing the same bytes many times.
    static WRITING: Mutex<()> = Mutex::new(());
    let folder = generated();
    let path = folder.join(format!("{name}-v{GENERATOR_VERSION}.gguf"));
    if !path.exists() {
        // A panic of another thread while it held the lock left no half-written file.
        let _guard = WRITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !path.exists() {
            fs::create_dir_all(&folder)
                .unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
            writer().write_file(&path).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    path
}
