//! The downloaded models.

use std::path::PathBuf;

use crate::folder::{FOLDER_VARIABLE, downloaded};

/// Returns the path of SmolLM2-135M-Instruct, quantised to Q4_1.
///
/// # Panics
/// If it is missing, with a sentence that says how to get it: a test without its model must not pass.
#[must_use]
pub fn smollm2() -> PathBuf {
    existing("SmolLM2-135M-Instruct.Q4_1.gguf")
}

/// Returns the folder of all-MiniLM-L6-v2, with `model.safetensors` and `tokenizer.json`.
///
/// # Panics
/// If it is missing, with a sentence that says how to get it.
#[must_use]
pub fn minilm_dir() -> PathBuf {
    existing("all-MiniLM-L6-v2")
}

fn existing(name: &str) -> PathBuf {
    let path = downloaded().join(name);
    assert!(
        path.exists(),
        "the test model {} is missing: run `cargo xtask setup`, or set {FOLDER_VARIABLE} to its folder",
        path.display()
    );
    path
}
