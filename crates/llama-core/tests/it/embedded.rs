//! Models inside larger files, by path and by open file.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::greedy::{fresh_continuation, ids, load, tokens};
use llama_core::model::{LoadMode, ModelSource};
use llama_core::{ContextParams, ErrorKind, Model, ModelParams};
use tempfile::TempDir;
use test_models::{Tiny, rewritten};

fn params() -> ModelParams {
    ModelParams::default()
}

/// Writes a file with a model at `offset`, and other bytes before and after it.
fn larger(model: &[u8], offset: usize) -> (TempDir, PathBuf) {
    let mut bytes: Vec<u8> = b"not a model ".iter().copied().cycle().take(offset).collect();
    bytes.extend_from_slice(model);
    bytes.extend_from_slice(&[0xee; 1000]);
    rewritten::saved(&bytes)
}

fn answer(model: &Model) -> Vec<i32> {
    ids(&fresh_continuation(model, &tokens(model, "Hello world"), 8))
}

/// The offsets of the model. Odd ones cannot be mapped.
const OFFSETS: [usize; 5] = [0, 1, 32, 4096, 5000];

#[test]
fn a_model_is_read_from_anywhere_in_a_file() {
    let expected = answer(&load(Tiny::Llama));
    for offset in OFFSETS {
        let (_folder, path) = larger(&Tiny::Llama.bytes(), offset);
        let at = offset as u64;
        for mode in [LoadMode::Auto, LoadMode::Read, LoadMode::DirectIo] {
            let model = Model::load_embedded(&path, at, &params().load_mode(mode)).unwrap();
            assert_eq!(answer(&model), expected, "{offset} {mode}");
            assert_eq!(model.path(), Some(path.as_path()));
            let file = File::open(&path).unwrap();
            let model = Model::load_from_file_handle(file, at, &params().load_mode(mode)).unwrap();
            assert_eq!(answer(&model), expected, "{offset} {mode}");
            assert_eq!(model.path(), None);
        }
    }
}

#[test]
fn mapping_needs_an_aligned_place() {
    for offset in OFFSETS {
        let (_folder, path) = larger(&Tiny::Llama.bytes(), offset);
        let loaded = Model::load_embedded(&path, offset as u64, &params().load_mode(LoadMode::Mmap));
        if offset % 32 == 0 {
            assert_eq!(answer(&loaded.unwrap()), answer(&load(Tiny::Llama)));
            continue;
        }
        let error = loaded.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::InvalidParameter(problem) if problem.name == "load_mode"),
            "{error}"
        );
        assert!(error.to_string().contains("is not a multiple of 32"), "{error}");
    }
}

#[test]
fn the_file_may_be_gone_after_loading() {
    let expected = answer(&load(Tiny::Qwen2));
    for mode in [LoadMode::Read, LoadMode::Mmap] {
        let (folder, path) = larger(&Tiny::Qwen2.bytes(), 64);
        let file = File::open(&path).unwrap();
        let model = Model::load_from_file_handle(file, 64, &params().load_mode(mode)).unwrap();
        drop(folder);
        assert_eq!(answer(&model), expected);
    }
}

#[test]
fn the_handle_may_stand_anywhere() {
    let (_folder, path) = larger(&Tiny::Llama.bytes(), 100);
    let mut file = File::open(&path).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    let model = Model::load_from_file_handle(file, 100, &params()).unwrap();
    assert_eq!(answer(&model), answer(&load(Tiny::Llama)));
    assert_eq!(model.source().unwrap().to_string(), "byte 100 of an open file");
    // The handle is kept, so that the model can be looked at again.
    let context = ContextParams::default().n_ctx(512).n_threads(1);
    let plan = model.plan_context(&context).unwrap();
    let whole = Model::plan(Tiny::Llama.path(), &params(), &context).unwrap();
    assert_eq!((plan.weights(), plan.memory(), plan.compute()), (0, whole.memory(), whole.compute()));
}

#[test]
fn progress_and_plans_know_embedded_models() {
    let (_folder, path) = larger(&Tiny::Llama.bytes(), 77);
    let source = ModelSource::Embedded { path: path.clone(), offset: 77 };
    let context = ContextParams::default().n_ctx(256).n_threads(1);
    let plan = Model::plan(source.clone(), &params(), &context).unwrap();
    let whole = Model::plan(Tiny::Llama.path(), &params(), &context).unwrap();
    assert_eq!((plan.weights(), plan.memory()), (whole.weights(), whole.memory()));
    let stopped = Model::load_with_progress(source, &params(), |_| ControlFlow::Break(()));
    assert!(
        matches!(stopped.unwrap_err().kind(), ErrorKind::LoadCancelled { path: named, .. } if *named == path)
    );
}

#[test]
fn places_without_a_model_are_refused() {
    let model = Tiny::Llama.bytes();
    let (_folder, path) = larger(&model, 64);
    let length = std::fs::metadata(&path).unwrap().len();
    let text = |offset| Model::load_embedded(&path, offset, &params()).unwrap_err().to_string();
    for offset in [length, length + 1, u64::MAX, i64::MAX as u64, i64::MAX as u64 + 1] {
        assert_eq!(
            text(offset),
            format!("offset is {offset}, but must be before the end of the file at byte {length}")
        );
    }
    assert!(text(0).contains("byte 0 of"), "{}", text(0));
    assert!(text(0).contains("it begins with \"not a model not \" instead of \"GGUF\""), "{}", text(0));
    assert!(text(65).contains("not a GGUF file"), "{}", text(65));
    assert!(text(length - 1).contains("not a GGUF file"), "{}", text(length - 1));
    let error = Model::load_embedded(&path, 65, &params()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Embedded { .. }));
}

#[test]
fn a_model_that_is_cut_off_is_refused_with_the_place() {
    let model = Tiny::Llama.bytes();
    let mut bytes = vec![b'x'; 64];
    bytes.extend_from_slice(&model[..model.len() - 100]);
    let (_folder, path) = rewritten::saved(&bytes);
    let error = Model::load_embedded(&path, 64, &params()).unwrap_err().to_string();
    // Places count from the beginning of the model.
    assert!(error.contains(&format!("but the file ends at byte {}", model.len() - 100)), "{error}");
    for kept in [4, 8, 24, 100, 1000] {
        let (_folder, path) = rewritten::saved(&bytes[..64 + kept]);
        let error = Model::load_embedded(&path, 64, &params()).unwrap_err();
        assert!(error.to_string().contains("truncated at byte"), "{kept}: {error}");
    }
}

#[test]
fn a_part_of_a_split_model_is_refused() {
    let parts = rewritten::parts(Tiny::Llama, 2, |_, _| {});
    let (_folder, path) = larger(&parts[0], 32);
    let error = Model::load_embedded(&path, 32, &params()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "loading an embedded model is not possible with this model: it is one file of a split model, which cannot be \
         read from inside another file"
    );
}

#[test]
fn handles_that_cannot_be_read_are_refused() {
    let (folder, path) = larger(&Tiny::Llama.bytes(), 0);
    let write_only = OpenOptions::new().write(true).open(&path).unwrap();
    let error = Model::load_from_file_handle(write_only, 0, &params()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Embedded { .. }), "{error}");
    assert!(
        error.to_string().starts_with("cannot load the model at byte 0 of an open file: cannot read"),
        "{error}"
    );
    let error = Model::load_embedded(folder.path(), 0, &params()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Embedded { .. } | ErrorKind::InvalidParameter(_)), "{error}");
    let error = Model::load_embedded(folder.path().join("missing"), 3, &params()).unwrap_err();
    assert!(error.to_string().contains("byte 3 of") && error.to_string().contains("missing"), "{error}");
    #[cfg(unix)]
    {
        let folder = File::open(folder.path()).unwrap();
        assert!(Model::load_from_file_handle(folder, 0, &params()).is_err());
        let error = Model::load_from_file_handle(File::open("/dev/null").unwrap(), 0, &params()).unwrap_err();
        assert_eq!(error.to_string(), "offset is 0, but must be before the end of the file at byte 0");
    }
}

#[test]
fn handles_are_given_back() {
    #[cfg(target_os = "linux")]
    fn open_files() -> usize {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter(|entry| {
                let target = entry.as_ref().ok().and_then(|entry| std::fs::read_link(entry.path()).ok());
                target.is_some_and(|target| target.ends_with("kept/model.gguf"))
            })
            .count()
    }
    #[cfg(not(target_os = "linux"))]
    fn open_files() -> usize {
        0
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept/model.gguf");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    std::fs::copy(Tiny::Llama.path(), &path).unwrap();
    for mode in [LoadMode::Read, LoadMode::Mmap] {
        let embedded = Model::load_embedded(&path, 0, &params().load_mode(mode)).unwrap();
        assert_eq!(open_files(), 0);
        let file = File::open(&path).unwrap();
        let model = Model::load_from_file_handle(file, 0, &params().load_mode(mode)).unwrap();
        assert!(open_files() <= 1, "a model keeps the handle and nothing else");
        drop((embedded, model));
        assert_eq!(open_files(), 0);
    }
    Model::load_from_file_handle(File::open(&path).unwrap(), 1, &params()).unwrap_err();
    assert_eq!(open_files(), 0);
}
