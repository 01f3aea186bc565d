//! Files that are not models.

use std::fs;
use std::path::{Path, PathBuf};

use llama_core::{Error, ErrorKind, Model, ModelParams};
use tempfile::TempDir;
use test_models::Tiny;

use super::{assert_llama_cpp_says, assert_says};
use crate::greedy::{fresh_continuation, ids, load, tokens};

fn refused(path: impl AsRef<Path>) -> Error {
    Model::load(path, &ModelParams::default()).unwrap_err()
}

/// Returns the error of loading a file of these bytes.
fn refused_bytes(bytes: &[u8]) -> Error {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, bytes).unwrap();
    refused(path)
}

/// Asserts an error that is returned before llama.cpp sees the file.
#[track_caller]
fn assert_file_error(error: &Error, words: &[&str]) {
    assert!(matches!(error.kind(), ErrorKind::File { .. }), "{error:?}");
    assert!(std::error::Error::source(error).is_some());
    assert_says(error, words);
}

/// Asserts an error of llama.cpp's loader.
#[track_caller]
fn assert_load_error(error: &Error, words: &str) {
    assert!(matches!(error.kind(), ErrorKind::Load { .. }), "{error:?}");
    assert_says(error, &["llama.cpp could not load the model", "model.gguf"]);
    assert_llama_cpp_says(error, words);
}

/// Returns the offset after a key in the bytes of a tiny model.
fn after(bytes: &[u8], key: &str) -> usize {
    bytes.windows(key.len()).position(|window| window == key.as_bytes()).unwrap() + key.len()
}

/// Returns a tiny model with the bytes at an offset replaced.
fn patched(tiny: Tiny, key: &str, skip: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = tiny.bytes();
    let at = after(&bytes, key) + skip;
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

/// Returns a tiny model with a number of its metadata replaced. The type is stored between key and value.
fn with_number(key: &str, value: u32) -> Vec<u8> {
    patched(Tiny::Llama, key, 4, &value.to_le_bytes())
}

#[test]
fn missing_file() {
    assert_file_error(&refused("/no/such/model.gguf"), &["/no/such/model.gguf", "no such file"]);
}

#[test]
fn empty_path() {
    assert_file_error(&refused(""), &["cannot load the model"]);
}

#[test]
fn directory() {
    let folder = TempDir::new().unwrap();
    let name = folder.path().display().to_string();
    assert_file_error(&refused(folder.path()), &[&name, "is a directory"]);
}

#[test]
fn device() {
    if Path::new("/dev/null").exists() {
        assert_file_error(&refused("/dev/null"), &["/dev/null", "not a regular file"]);
    }
}

#[test]
fn nul_in_the_path() {
    let error = refused(PathBuf::from("model\0.gguf"));
    assert!(matches!(error.kind(), ErrorKind::InteriorNul { what: "path", position: 5, .. }), "{error:?}");
    assert_says(&error, &["the path has a NUL byte at position 5"]);
}

#[test]
fn empty_file() {
    assert_file_error(&refused_bytes(b""), &["model.gguf", "the file is empty"]);
}

#[test]
fn text_file() {
    let error = refused_bytes(b"Once upon a time there was a model.\n");
    assert_file_error(
        &error,
        &["not a GGUF file", "begins with \"Once upon a time\"", "looks like a text file"],
    );
    // The path stands there once.
    assert_eq!(error.to_string().matches("model.gguf").count(), 1, "{error}");
}

#[test]
fn truncated_files() {
    let bytes = Tiny::Llama.bytes();
    let tensors = after(&bytes, "output_norm.weight");
    let data = llama_gguf::Gguf::from_bytes(&bytes).unwrap().data_offset();
    let data = usize::try_from(data).unwrap();
    let last = bytes.len() - 1;
    for length in [4, 7, 12, 23, 24, 60, 1000, tensors, data - 1, data, data + 1, bytes.len() / 2, last] {
        let error = refused_bytes(&bytes[..length]);
        assert_file_error(&error, &["truncated"]);
        // Where it ends, and in the header also what is cut off.
        assert!(error.to_string().contains("byte"), "{error}");
    }
    assert_file_error(&refused_bytes(&bytes[..last]), &[&format!("the file ends at byte {last}")]);
}

#[test]
fn tensor_with_a_wrong_offset() {
    // After the name: the number of dimensions, one dimension, the type.
    let offset = 4 + 8 + 4;
    for wrong in [1_u64, 1 << 40, u64::MAX, u64::MAX - 31] {
        let error = refused_bytes(&patched(Tiny::Llama, "output_norm.weight", offset, &wrong.to_le_bytes()));
        assert_file_error(&error, &["output_norm.weight", &wrong.to_string()]);
    }
}

#[test]
fn tensor_with_a_wrong_shape() {
    // Of 64 norms, 32.
    let error = refused_bytes(&patched(Tiny::Llama, "output_norm.weight", 4, &32_u64.to_le_bytes()));
    // Seen at the tensor after it.
    assert_file_error(&error, &["blk.0.attn_norm.weight", "leaves a gap"]);
}

#[test]
fn tensor_of_an_unknown_type() {
    let error = refused_bytes(&patched(Tiny::Llama, "output_norm.weight", 12, &999_u32.to_le_bytes()));
    assert_file_error(&error, &["output_norm.weight", "999"]);
}

#[test]
fn unknown_version() {
    let mut bytes = Tiny::Llama.bytes();
    bytes[4..8].copy_from_slice(&77_u32.to_le_bytes());
    assert_file_error(&refused_bytes(&bytes), &["GGUF version 77"]);
}

#[test]
fn unknown_architecture() {
    // After the key: the type, the length of the text.
    let error = refused_bytes(&patched(Tiny::Llama, "general.architecture", 4 + 8, b"lemma"));
    assert_load_error(&error, "unknown model architecture: 'lemma'");
}

#[test]
fn missing_tensor() {
    let bytes = patched(Tiny::Llama, "blk.1.attn_norm", 0, b".waight");
    assert_load_error(&refused_bytes(&bytes), "tensor 'blk.1.attn_norm.weight' not found");
}

#[test]
fn missing_layers() {
    assert_load_error(
        &refused_bytes(&with_number("llama.block_count", 3)),
        "tensor 'blk.2.attn_norm.weight' not found",
    );
    refused_bytes(&with_number("llama.block_count", u32::MAX));
    refused_bytes(&with_number("llama.block_count", 100_000));
}

#[test]
fn wrong_width() {
    for n_embd in [0, u32::MAX] {
        let error = refused_bytes(&with_number("llama.embedding_length", n_embd));
        let expected = format!("llama.embedding_length is {n_embd}, but must be between 1 and 1048576");
        assert!(
            matches!(error.kind(), ErrorKind::Hyperparameter { reason, .. } if *reason == expected),
            "{error:?}"
        );
    }
    for n_embd in [63, 65] {
        let error = refused_bytes(&with_number("llama.embedding_length", n_embd));
        assert!(
            matches!(
                error.kind(),
                ErrorKind::Load { .. } | ErrorKind::File { .. } | ErrorKind::Hyperparameter { .. }
            ),
            "{n_embd}: {error:?}"
        );
    }
}

#[test]
fn wrong_heads() {
    for heads in [3, 1 << 20, u32::MAX] {
        let error = refused_bytes(&with_number("llama.attention.head_count", heads));
        assert!(!error.to_string().is_empty(), "{heads}: {error:?}");
    }
}

#[test]
fn assertion_while_loading_is_contained_and_explains_the_error() {
    let error = refused_bytes(&with_number("llama.block_count", 0));
    assert!(matches!(error.kind(), ErrorKind::Load { .. }), "{error:?}");
    let reason = error.log().last().unwrap();
    assert!(reason.contains("/src/llama-model.cpp:"), "{reason}");
    assert!(!reason.contains(" /"), "no folder of a machine: {reason}");
    assert!(reason.contains("hparams.n_layer_all > 0"), "{reason}");
}

#[test]
fn models_load_and_decode_after_all_that() {
    let before = {
        let model = load(Tiny::Llama);
        ids(&fresh_continuation(&model, &tokens(&model, "Hello world"), 8))
    };
    refused("/no/such/model.gguf");
    refused_bytes(&Tiny::Llama.bytes()[..100_000]);
    refused_bytes(&patched(Tiny::Llama, "general.architecture", 4 + 8, b"lemma"));
    refused_bytes(&with_number("llama.block_count", 3));
    refused_bytes(&with_number("llama.block_count", 0));
    let model = load(Tiny::Llama);
    assert_eq!(ids(&fresh_continuation(&model, &tokens(&model, "Hello world"), 8)), before);
}
