//! Files that change during and after loading.
//!
//! Tests with a log subscriber run in child processes, because the subscribers of a process affect each other.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::greedy::{self, fresh_continuation, ids, load, tokens};
use crate::log_hook::LogHook;
use llama_core::model::{LazyMode, LoadMode, ModelSource};
use llama_core::{ErrorKind, LoraAdapter, Model, ModelParams};
use llama_gguf::{Gguf, Writer};
use test_models::child::alone;
use test_models::{Tiny, Tuned};

fn answer(model: &Model) -> Vec<i32> {
    ids(&fresh_continuation(model, &tokens(model, "Hello world"), 8))
}

fn copy_of(tiny: Tiny) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, tiny.bytes()).unwrap();
    (folder, path)
}

/// Loads a model, and runs a function between the check and the load. The first lines of the log come while the memory is
/// planned: after the checks, and before llama.cpp opens the file to load it.
fn load_while(
    source: impl Into<ModelSource>,
    params: &ModelParams,
    body: impl FnOnce() + Send + 'static,
) -> Result<Model, llama_core::Error> {
    let body = Arc::new(Mutex::new(Some(body)));
    let waiting = Arc::clone(&body);
    let hook = LogHook::new(move || {
        if let Some(body) = waiting.lock().unwrap().take() {
            body();
        }
    });
    let source = source.into();
    let loaded = tracing::subscriber::with_default(hook, || {
        Model::load_with_progress(source, params, |_| std::ops::ControlFlow::Continue(()))
    });
    assert!(body.lock().unwrap().is_none(), "nothing was logged before the load");
    loaded
}

/// Replaces a file by another one.
fn replace(path: &Path, with: &[u8]) {
    let other = path.with_extension("other");
    fs::write(&other, with).unwrap();
    fs::rename(&other, path).unwrap();
}

#[test]
fn a_file_that_is_replaced_after_the_check_is_not_read() {
    alone(module_path!(), "a_file_that_is_replaced_after_the_check_is_not_read", || {
        llama_core::init();
        let expected = answer(&load(Tiny::Llama));
        for mode in [LoadMode::Auto, LoadMode::Read, LoadMode::Mmap, LoadMode::DirectIo] {
            for with in [b"not a model".to_vec(), Tiny::Mamba.bytes()] {
                let (_folder, path) = copy_of(Tiny::Llama);
                let target = path.clone();
                let params = ModelParams::default().load_mode(mode);
                let model = load_while(&path, &params, move || replace(&target, &with)).unwrap();
                assert_eq!(answer(&model), expected, "{mode}");
            }
        }
    });
}

#[test]
fn a_file_that_is_removed_after_the_check_is_read() {
    alone(module_path!(), "a_file_that_is_removed_after_the_check_is_read", || {
        llama_core::init();
        let (_folder, path) = copy_of(Tiny::Llama);
        let target = path.clone();
        let model =
            load_while(&path, &ModelParams::default(), move || fs::remove_file(target).unwrap()).unwrap();
        assert_eq!(answer(&model), answer(&load(Tiny::Llama)));
    });
}

#[test]
fn a_larger_file_that_is_replaced_is_not_read() {
    alone(module_path!(), "a_larger_file_that_is_replaced_is_not_read", || {
        llama_core::init();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("larger");
        let bytes = [&[7; 4096], Tiny::Llama.bytes().as_slice()].concat();
        fs::write(&path, bytes).unwrap();
        let target = path.clone();
        let source = ModelSource::Embedded { path, offset: 4096 };
        let model = load_while(source, &ModelParams::default(), move || replace(&target, b"other")).unwrap();
        assert_eq!(answer(&model), answer(&load(Tiny::Llama)));
    });
}

/// Returns the folder and files of the tiny model in two parts.
fn split_in_two() -> (tempfile::TempDir, PathBuf) {
    let bytes = Tiny::Llama.bytes();
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("model");
    let half = gguf.tensors().len() / 2;
    for index in 0..2_u16 {
        let mut writer = Writer::new();
        if index == 0 {
            *writer.metadata_mut() = gguf.metadata().clone();
        }
        writer.set("split.no", index);
        writer.set("split.count", 2_u16);
        writer.set("split.tensors.count", i32::try_from(gguf.tensors().len()).unwrap());
        let part = if index == 0 { &gguf.tensors()[..half] } else { &gguf.tensors()[half..] };
        for info in part {
            let range = gguf.tensor_range(info);
            let data =
                bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec();
            writer
                .tensor_with(info.name().clone(), info.tensor_type(), info.shape(), move |out| {
                    out.write_all(&data)
                })
                .unwrap();
        }
        writer.write_file(llama_core::model::split_path(&prefix, u32::from(index), 2).unwrap()).unwrap();
    }
    let first = llama_core::model::split_path(&prefix, 0, 2).unwrap();
    (folder, first)
}

/// Only on systems where C can use open files without a path.
#[cfg(target_os = "linux")]
#[test]
fn files_of_a_split_model_that_are_replaced_are_not_read() {
    alone(module_path!(), "files_of_a_split_model_that_are_replaced_are_not_read", || {
        llama_core::init();
        let expected = answer(&load(Tiny::Llama));
        for replaced in [0, 1] {
            let (folder, first) = split_in_two();
            let target = llama_core::model::split_path(folder.path().join("model"), replaced, 2).unwrap();
            let model =
                load_while(&first, &ModelParams::default(), move || replace(&target, b"other")).unwrap();
            assert_eq!(answer(&model), expected);
        }
    });
}

#[test]
fn a_file_that_is_written_to_while_it_is_loaded_is_refused() {
    alone(module_path!(), "a_file_that_is_written_to_while_it_is_loaded_is_refused", || {
        llama_core::init();
        for mode in [LoadMode::Auto, LoadMode::Read, LoadMode::DirectIo] {
            let (_folder, path) = copy_of(Tiny::Llama);
            let target = path.clone();
            let append = move || {
                OpenOptions::new().append(true).open(&target).unwrap().write_all(b"more").unwrap();
            };
            let error = load_while(&path, &ModelParams::default().load_mode(mode), append).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::FileChanged { .. }), "{error:?}");
            let expected = format!(
                "the file {} changed while it was being loaded: load it again when nothing writes to it",
                path.display()
            );
            assert_eq!(error.kind().to_string(), expected);
            // And then it can be loaded.
            Model::load(&path, &ModelParams::default()).unwrap();
        }
    });
}

#[test]
fn a_model_that_was_read_does_not_need_its_file() {
    let (_folder, path) = copy_of(Tiny::Llama);
    let params = ModelParams::default().load_mode(LoadMode::Read).lazy_mode(LazyMode::Off);
    let model = Model::load(&path, &params).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    assert_eq!(answer(&model), answer(&load(Tiny::Llama)));
}

#[test]
fn a_mapped_model_does_not_mind_that_its_file_is_replaced() {
    let (_folder, path) = copy_of(Tiny::Llama);
    let model = Model::load(&path, &ModelParams::default().load_mode(LoadMode::Mmap)).unwrap();
    replace(&path, b"other");
    assert_eq!(answer(&model), answer(&load(Tiny::Llama)));
}

#[test]
fn an_adapter_does_not_need_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lora");
    fs::copy(Tuned::Lora.path(), &path).unwrap();
    let model = load(Tiny::Llama);
    let adapter = LoraAdapter::load(&model, &path).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    let with = |adapter: &LoraAdapter| {
        let mut context = llama_core::Context::new(&model, &greedy::params()).unwrap();
        context.set_adapters(&[(adapter, 1.0)]).unwrap();
        ids(&greedy::continuation(&mut context, &tokens(&model, "Hello world"), greedy::SEQ, 8))
    };
    assert_eq!(with(&adapter), with(&LoraAdapter::load(&model, Tuned::Lora.path()).unwrap()));
}
