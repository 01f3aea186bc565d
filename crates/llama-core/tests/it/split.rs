//! Models in several files: found by their names, given explicitly, and refused when they do not belong together.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::greedy::{fresh_continuation, ids, load, tokens};
use llama_core::model::{ModelSource, split_path, split_prefix};
use llama_core::{ContextParams, ErrorKind, Model, ModelParams};
use llama_gguf::{Split, Value};
use test_models::Tiny;
use test_models::rewritten::{parts, saved, saved_parts, write_all};

fn answer(model: &Model) -> Vec<i32> {
    ids(&fresh_continuation(model, &tokens(model, "Hello world"), 8))
}

fn parts_of_llama() -> Vec<Vec<u8>> {
    parts(Tiny::Llama, 3, |_, _| {})
}

/// Returns the reason of the refusal, and the name of the file concerned.
#[track_caller]
fn refused(result: llama_core::Result<Model>) -> (String, String) {
    match result.unwrap_err().kind() {
        ErrorKind::Split { path, reason, .. } => {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), reason.clone())
        }
        other => panic!("{other}"),
    }
}

fn params() -> ModelParams {
    ModelParams::default()
}

#[test]
fn parts_are_found_by_the_name_of_the_first() {
    let whole = load(Tiny::Llama);
    let (_folder, paths) = saved_parts(&parts_of_llama());
    assert!(paths[1].ends_with("model-00002-of-00003.gguf"));
    let model = Model::load(&paths[0], &params()).unwrap();
    assert_eq!(answer(&model), answer(&whole));
    assert_eq!((model.n_params(), model.size()), (whole.n_params(), whole.size()));
    let names =
        |model: &Model| model.tensors().iter().map(|tensor| tensor.name().to_string()).collect::<Vec<_>>();
    assert_eq!(names(&model), names(&whole));
    assert_eq!(model.path(), Some(paths[0].as_path()));
}

#[test]
fn parts_can_have_any_names() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["one.gguf", "zwei", "3.bin"].map(|name| folder.path().join(name));
    write_all(&paths, &parts_of_llama());
    let model = Model::load_splits(&paths, &params()).unwrap();
    assert_eq!(answer(&model), answer(&load(Tiny::Llama)));
    assert!(matches!(model.source(), Some(ModelSource::Splits(given)) if *given == paths));
    let mut seen = Vec::new();
    let source = ModelSource::Splits(paths.to_vec());
    let loaded = Model::load_with_progress(source, &params(), |progress| {
        seen.push(progress);
        ControlFlow::Continue(())
    });
    assert_eq!(answer(&loaded.unwrap()), answer(&model));
    assert!(seen.len() > 3 && seen.is_sorted() && seen.last() == Some(&1.0), "{seen:?}");
}

#[test]
fn a_split_model_takes_as_much_memory_as_a_whole_one() {
    let (_folder, paths) = saved_parts(&parts_of_llama());
    let context = ContextParams::default().n_ctx(256).n_threads(1);
    let split = Model::plan(&paths[0], &params(), &context).unwrap();
    let whole = Model::plan(Tiny::Llama.path(), &params(), &context).unwrap();
    assert_eq!(
        (split.weights(), split.memory(), split.compute()),
        (whole.weights(), whole.memory(), whole.compute())
    );
}

#[test]
fn one_file_is_a_list_too() {
    let path = Tiny::Llama.path();
    assert_eq!(answer(&Model::load_splits([&path], &params()).unwrap()), answer(&load(Tiny::Llama)));
    let alone = parts(Tiny::Llama, 1, |_, _| {});
    let (_folder, path) = saved(&alone[0]);
    assert_eq!(answer(&Model::load(path, &params()).unwrap()), answer(&load(Tiny::Llama)));
}

#[test]
fn a_missing_part_is_named() {
    let (_folder, paths) = saved_parts(&parts_of_llama());
    std::fs::remove_file(&paths[1]).unwrap();
    let error = Model::load(&paths[0], &params()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::File { path, .. } if *path == paths[1]));
    assert!(
        error.to_string().ends_with("model-00002-of-00003.gguf: no such file; check the path"),
        "{error}"
    );
    let error = Model::load_splits(&paths, &params()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::File { path, .. } if *path == paths[1]));
}

#[test]
fn a_truncated_part_is_refused_with_the_place() {
    let mut parts = parts_of_llama();
    let length = parts[2].len();
    parts[2].truncate(length - 40);
    let (_folder, paths) = saved_parts(&parts);
    let error = Model::load(&paths[0], &params()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::File { path, .. } if *path == paths[2]));
    assert!(error.to_string().contains(&format!("but the file ends at byte {}", length - 40)), "{error}");
}

#[test]
fn the_first_part_is_asked_for() {
    let (_folder, paths) = saved_parts(&parts_of_llama());
    let (file, reason) = refused(Model::load(&paths[1], &params()));
    assert_eq!(file, "model-00002-of-00003.gguf");
    assert_eq!(reason, format!("it is file 2 of 3: give the first, {}", paths[0].display()));
}

#[test]
fn a_renamed_part_is_not_looked_for() {
    let (folder, paths) = saved_parts(&parts_of_llama());
    let renamed = folder.path().join("mine.gguf");
    std::fs::rename(&paths[0], &renamed).unwrap();
    let (file, reason) = refused(Model::load(&renamed, &params()));
    assert_eq!(file, "mine.gguf");
    assert_eq!(
        reason,
        "it is file 1 of 3, but its name does not end in -00001-of-00003.gguf: rename it, or give all files to \
         Model::load_splits"
    );
    let model = Model::load_splits([&renamed, &paths[1], &paths[2]], &params()).unwrap();
    assert_eq!(answer(&model), answer(&load(Tiny::Llama)));
}

#[test]
fn wrong_lists_are_refused() {
    let (_folder, paths) = saved_parts(&parts_of_llama());
    let [a, b, c] = [0, 1, 2].map(|index| paths[index].clone());
    let whole = Tiny::Llama.path();
    let reason = |list: &[&PathBuf]| refused(Model::load_splits(list, &params())).1;
    assert_eq!(reason(&[&a, &c, &b]), "it is file 3 of 3, but was given as number 2");
    assert_eq!(reason(&[&b, &a, &c]), "it is file 2 of 3, but was given as number 1");
    assert_eq!(reason(&[&a, &a, &a]), "it is file 1 of 3, but was given as number 2");
    assert_eq!(reason(&[&a, &b]), "it is one of 3 files, but 2 were given");
    assert_eq!(reason(&[&a]), "it is one of 3 files, but 1 were given");
    assert_eq!(reason(&[&a, &b, &c, &c]), "it is one of 3 files, but 4 were given");
    assert_eq!(reason(&[&a, &b, &whole]), "it is a complete model, but one of 3 given files: give it alone");
    assert_eq!(reason(&[&whole, &whole]), "it is a complete model, but one of 2 given files: give it alone");
    let error = Model::load_splits(Vec::<PathBuf>::new(), &params()).unwrap_err();
    assert_eq!(error.to_string(), "paths is [], but must be a list of at least one file");
    let error = Model::load_splits(["/no/such/file", "/nor/this"], &params()).unwrap_err();
    assert!(error.to_string().ends_with("no such file; check the path"), "{error}");
}

#[test]
fn parts_of_two_models_do_not_mix() {
    let (_one, llama) = saved_parts(&parts_of_llama());
    // Another division of the same tensors, so that some are there twice.
    let (_other, other) = saved_parts(&parts(Tiny::Qwen2, 3, |_, _| {}));
    let (_, reason) = refused(Model::load_splits([&llama[0], &other[1], &llama[2]], &params()));
    assert!(reason.contains("is also in an earlier file") || reason.contains("it announces"), "{reason}");
}

#[test]
fn the_number_of_tensors_has_to_be_right() {
    let announced = |value: Value| {
        let parts = parts(Tiny::Llama, 3, |number, metadata| {
            if number == 0 {
                metadata.set(Split::TENSORS, value.clone());
            }
        });
        let (_folder, paths) = saved_parts(&parts);
        refused(Model::load(&paths[0], &params())).1
    };
    assert_eq!(announced(Value::I32(22)), "it announces 22 tensors, but the files hold 21");
    assert_eq!(announced(Value::I32(-1)), "it announces -1 tensors, but the files hold 21");
    assert_eq!(
        announced(Value::U64(21)),
        "its split.tensors.count is missing or of another type, but must be an i32"
    );
}

/// Numbers of another type, which llama.cpp asserts on, are refused.
#[test]
fn numbers_of_another_type_are_refused() {
    let broken = |part: u16, key: &'static str, value: Option<Value>| {
        let parts = parts(Tiny::Llama, 3, |number, metadata| match &value {
            Some(value) if number == part => {
                metadata.set(key, value.clone());
            }
            None if number == part => {
                metadata.remove(key);
            }
            _ => {}
        });
        let (_folder, paths) = saved_parts(&parts);
        refused(Model::load(&paths[0], &params())).1
    };
    let no_number = "its split.no is missing or of another type, but must be a u16";
    assert_eq!(broken(1, Split::NUMBER, Some(Value::U32(1))), no_number);
    assert_eq!(broken(1, Split::NUMBER, Some("1".into())), no_number);
    assert_eq!(broken(1, Split::NUMBER, None), no_number);
    assert_eq!(broken(0, Split::NUMBER, Some(Value::I16(0))), no_number);
    assert_eq!(
        broken(0, Split::COUNT, Some(Value::U64(3))),
        "its split.count is missing or of another type, but must be a u16"
    );
    assert_eq!(
        broken(2, Split::COUNT, None),
        "it is a complete model, but one of 3 given files: give it alone"
    );
    assert_eq!(
        broken(2, Split::COUNT, Some(Value::U16(0))),
        "it is a complete model, but one of 3 given files: give it alone"
    );
    assert_eq!(broken(0, Split::COUNT, Some(Value::U16(u16::MAX))).lines().count(), 1);
}

#[test]
fn names_are_made_and_taken_apart() {
    assert_eq!(split_path("a/model", 0, 3).unwrap(), Path::new("a/model-00001-of-00003.gguf"));
    assert_eq!(split_path("", 65_534, 65_535).unwrap(), Path::new("-65535-of-65535.gguf"));
    let long = "x".repeat(10_000);
    let path = split_path(&long, 1, 2).unwrap();
    assert_eq!(path.as_os_str().len(), 10_000 + "-00002-of-00002.gguf".len());
    assert_eq!(split_prefix(&path, 1, 2).unwrap(), Some(PathBuf::from(long)));
    assert_eq!(split_prefix("a/model-00001-of-00003.gguf", 0, 3).unwrap(), Some(PathBuf::from("a/model")));
    for other in ["a/model-00001-of-00003.gguf", "a/model.gguf", "", "-00002-of-00003.gguf"] {
        assert_eq!(split_prefix(other, 1, 3).unwrap(), None, "{other}");
    }
}

#[test]
fn numbers_of_files_have_limits() {
    let text = |index, count| split_path("m", index, count).unwrap_err().to_string();
    assert_eq!(text(0, 0), "count is 0, but must be from 1 to 65535");
    assert_eq!(text(0, 65_536), "count is 65536, but must be from 1 to 65535");
    assert_eq!(text(3, 3), "index is 3, but must be below the number of files (0..3)");
    assert_eq!(text(u32::MAX, 3), "index is 4294967295, but must be below the number of files (0..3)");
    assert!(matches!(split_prefix("m", 0, u32::MAX).unwrap_err().kind(), ErrorKind::InvalidParameter(_)));
    assert!(matches!(
        split_path("a\0b", 0, 1).unwrap_err().kind(),
        ErrorKind::InteriorNul { position: 1, .. }
    ));
    assert!(matches!(
        split_prefix("\0", 0, 1).unwrap_err().kind(),
        ErrorKind::InteriorNul { position: 0, .. }
    ));
}

#[cfg(unix)]
#[test]
fn names_need_not_be_unicode() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let prefix = Path::new(OsStr::from_bytes(b"m\xff"));
    let path = split_path(prefix, 0, 1).unwrap();
    assert_eq!(path.as_os_str().as_bytes(), b"m\xff-00001-of-00001.gguf");
    assert_eq!(split_prefix(&path, 0, 1).unwrap().as_deref(), Some(prefix));
}
