//! Models inside files and in several files, and writing models.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;

use llama_core::model::{ModelSource, split_path, split_prefix};
use llama_core::{Context, ContextParams, Model, ModelParams};
use tempfile::TempDir;
use test_models::Tiny;
use test_models::rewritten::{parts, saved_parts};

use crate::Case;
use crate::subjects::{Subjects, each_model, three};
use crate::values::{U32, paths, short, targets, texts};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Model::load_splits", load_splits),
    ("Model::load_embedded", |walk, _| {
        embedded(walk, Model::load_embedded);
    }),
    ("Model::load_from_file_handle", |walk, _| {
        embedded(walk, |path, offset, params| {
            let Ok(file) = File::open(&path) else { return Model::load(path, params) };
            Model::load_from_file_handle(file, offset, params)
        });
        walk.call("for writing only", || {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("model");
            fs::write(&path, Tiny::Llama.bytes()).unwrap();
            let file = OpenOptions::new().append(true).open(path).unwrap();
            Model::load_from_file_handle(file, 0, &ModelParams::default())
        });
    }),
    ("Model::save", save),
    ("Model::source", |walk, subjects| {
        each_model(walk, subjects, |walk, model| {
            walk.run("", || model.source().map(ToString::to_string));
        });
    }),
    ("ModelSource::path", |walk, _| {
        let file = File::open(Tiny::Llama.path()).unwrap().into();
        for source in [
            ModelSource::Splits(Vec::new()),
            ModelSource::from(String::new()),
            ModelSource::Embedded { path: PathBuf::new(), offset: u64::MAX },
            ModelSource::Handle { file, offset: u64::MAX },
        ] {
            walk.run(source.to_string(), || source.path().map(ToOwned::to_owned));
        }
    }),
    ("split_path", |walk, _| {
        numbers(walk, |walk, prefix, index, count| {
            walk.call(format!("{index} of {count}"), || split_path(prefix, index, count));
        });
    }),
    ("split_prefix", |walk, _| {
        numbers(walk, |walk, prefix, index, count| {
            walk.call(format!("{index} of {count}"), || split_prefix(prefix, index, count));
            if let Ok(path) = split_path(prefix, index, count) {
                walk.call("back", || split_prefix(path, index, count));
            }
        });
    }),
];

fn numbers(walk: &mut Walk, mut with: impl FnMut(&mut Walk, &str, u32, u32)) {
    for prefix in texts() {
        for (index, count) in U32.into_iter().flat_map(|index| U32.map(|count| (index, count))) {
            with(walk, &prefix, index, count);
        }
    }
}

/// Uses a model that could be loaded, which must work.
fn use_it(walk: &mut Walk, what: &str, model: Option<Model>) {
    let Some(model) = model else { return };
    let params = ContextParams::default().n_ctx(256).n_threads(1);
    if let Some(mut context) = walk.call(format!("{what}, context"), || Context::new(&model, &params)) {
        walk.call(format!("{what}, batch"), || context.decode(&three()));
    }
}

/// Loads at offsets where no model begins, and where one is followed by other bytes.
fn embedded(walk: &mut Walk, load: impl Fn(PathBuf, u64, &ModelParams) -> llama_core::Result<Model>) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("larger");
    let params = ModelParams::default();
    for path in paths() {
        for offset in [0, 1, u64::MAX] {
            walk.call(format!("{} {offset}", short(&path)), || load(path.clone(), offset, &params));
        }
    }
    for tiny in [Tiny::Llama, Tiny::Jamba, Tiny::T5] {
        walk.on(tiny, false);
        let whole = tiny.bytes();
        let n = whole.len() as u64;
        fs::write(&path, [&[0x47; 33][..], &whole, &whole[..100]].concat()).unwrap();
        for offset in [
            0,
            1,
            32,
            33,
            34,
            n - 1,
            n,
            n + 33,
            n + 133,
            n + 134,
            1 << 62,
            i64::MAX as u64,
            1 << 63,
            u64::MAX,
        ] {
            for params in [params.clone(), params.clone().vocab_only(true), params.clone().no_alloc(true)] {
                let model = walk.call(offset, || load(path.clone(), offset, &params));
                use_it(walk, &offset.to_string(), model);
            }
        }
    }
}

fn load_splits(walk: &mut Walk, _: &mut Subjects) {
    let params = ModelParams::default();
    for path in paths() {
        for n in [1, 2, 70_000] {
            walk.call(format!("{n} of {}", short(&path)), || {
                Model::load_splits(vec![path.clone(); n], &params)
            });
        }
    }
    walk.call("none", || Model::load_splits(Vec::<PathBuf>::new(), &params));
    let (_folder, files) = saved_parts(&parts(Tiny::Llama, 3, |_, _| {}));
    let (_other_folder, others) = saved_parts(&parts(Tiny::Qwen2, 3, |_, _| {}));
    let places = [&files[0], &files[1], &files[2], &others[0], &others[1], &others[2]];
    for code in 0..6_usize.pow(3) {
        let chosen = [code % 6, code / 6 % 6, code / 36];
        // Fewer than three only at the beginning, where all pairs are.
        for n in if code < 36 { 1..=3 } else { 3..=3 } {
            let paths: Vec<_> = chosen[..n].iter().map(|place| places[*place]).collect();
            let what = format!("{:?}", &chosen[..n]);
            let model = walk.call(&what, || Model::load_splits(paths, &params));
            use_it(walk, &what, model);
        }
    }
    damaged_splits(walk);
}

/// Loads parts that contradict their files.
fn damaged_splits(walk: &mut Walk) {
    use llama_gguf::{Split, Value};
    let values = [Value::U16(0), Value::U16(7), Value::U16(u16::MAX), Value::I32(-1), Value::U32(3)];
    for (key, value) in [Split::NUMBER, Split::COUNT, Split::TENSORS]
        .into_iter()
        .flat_map(|key| values.clone().map(|value| (key, value)))
    {
        for part in 0..3 {
            let (_folder, files) = saved_parts(&parts(Tiny::Llama, 3, |number, metadata| {
                if number == part {
                    metadata.set(key, value.clone());
                }
            }));
            let what = format!("{key} of {part} is {value:?}");
            let model = walk.call(&what, || Model::load(&files[0], &ModelParams::default()));
            use_it(walk, &what, model);
            let model = walk.call(&what, || Model::load_splits(&files, &ModelParams::default()));
            use_it(walk, &what, model);
        }
    }
}

/// Saves to places that cannot be written, and models that cannot be saved.
fn save(walk: &mut Walk, subjects: &mut Subjects) {
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("saved");
    each_model(walk, subjects, |walk, model| _ = walk.call("", || model.save(&target)));
    let params = ModelParams::default().use_extra_bufts(false);
    for tiny in Tiny::ALL {
        walk.on(tiny, false);
        let model = Model::load(tiny.path(), &params).unwrap();
        for path in targets(folder.path()) {
            assert!(walk.call(short(&path), || model.save(&path)).is_none(), "{}", path.display());
        }
        if walk.call("whole", || model.save(&target)).is_some() {
            let saved = walk.call("read back", || Model::load(&target, &params));
            use_it(walk, "read back", saved);
        }
    }
}
