//! LoRA adapters: invalid files, and contexts of other models.

use std::fs;
use std::path::{Path, PathBuf};

use llama_core::{Context, ContextParams, LoraAdapter, Model, Result};
use tempfile::TempDir;
use test_models::{Tiny, Tuned};

use crate::Case;
use crate::context::plain;
use crate::damage::damaged;
use crate::memory::go_on;
use crate::parts::changed;
use crate::subjects::{Subjects, each_context, each_model, fill, try_fill};
use crate::values::{F32, paths, short, texts};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("LoraAdapter::load", load),
    ("LoraAdapter::load_embedded", |walk, subjects| {
        load_inside(walk, subjects, |model, path, offset| LoraAdapter::load_embedded(model, path, offset));
    }),
    ("LoraAdapter::load_from_file_handle", |walk, subjects| {
        load_inside(walk, subjects, |model, path, offset| match fs::File::open(path) {
            Ok(file) => LoraAdapter::load_from_file_handle(model, file, offset),
            Err(_) => LoraAdapter::load(model, path),
        });
    }),
    ("LoraAdapter::model", |walk, subjects| each(walk, subjects, |adapter| _ = adapter.model().clone())),
    ("LoraAdapter::path", |walk, subjects| {
        each(walk, subjects, |adapter| _ = adapter.path().map(ToOwned::to_owned));
    }),
    ("LoraAdapter::as_ptr", |walk, subjects| {
        each(walk, subjects, |adapter| assert!(!adapter.as_ptr().is_null()));
    }),
    ("LoraAdapter::alpha", |walk, subjects| {
        each(walk, subjects, |adapter| assert!(adapter.alpha().is_finite()));
    }),
    ("LoraAdapter::is_same", |walk, subjects| {
        each(walk, subjects, |adapter| assert!(adapter.is_same(&adapter.clone())));
    }),
    ("LoraAdapter::alora_invocation_tokens", |walk, subjects| {
        each(walk, subjects, |adapter| _ = adapter.alora_invocation_tokens().to_vec());
    }),
    ("LoraAdapter::metadata_value", |walk, subjects| {
        for adapter in all(subjects) {
            for key in texts() {
                walk.call(key.len(), || adapter.metadata_value(&key));
            }
        }
    }),
    ("LoraAdapter::metadata", |walk, subjects| {
        all(subjects).iter().for_each(|adapter| _ = walk.call("", || adapter.metadata()));
    }),
    ("Context::set_adapters", set),
    ("Context::adapters", |walk, subjects| {
        plain(walk, subjects, |context| assert_eq!(context.adapters().count(), 0));
    }),
];

fn llama(subjects: &mut Subjects) -> Model {
    subjects.models()[0].it.clone()
}

/// Returns the adapters that can be loaded for the first model.
fn all(subjects: &mut Subjects) -> Vec<LoraAdapter> {
    let model = llama(subjects);
    let files = [Tuned::Lora, Tuned::SecondLora, Tuned::ActivatedLora].map(Tuned::path);
    files.iter().map(|path| LoraAdapter::load(&model, path).unwrap()).collect()
}

/// Loads from any offset of any file, by path or open.
fn load_inside(
    walk: &mut Walk,
    subjects: &mut Subjects,
    load: fn(&Model, &Path, u64) -> Result<LoraAdapter>,
) {
    let mut files: Vec<PathBuf> = paths();
    files.extend([Tuned::Lora.path(), Tuned::WrongArchitecture.path(), Tiny::Llama.path()]);
    each_model(walk, subjects, |walk, model| {
        for path in &files {
            for offset in [0, 1, 32, 4096, 1 << 40, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
                walk.call(format!("{offset} {}", short(path)), || load(model, path, offset));
            }
        }
    });
}

fn each(walk: &mut Walk, subjects: &mut Subjects, with: impl Fn(&LoraAdapter)) {
    all(subjects).iter().for_each(|adapter| walk.run("", || with(adapter)));
}

fn load(walk: &mut Walk, subjects: &mut Subjects) {
    let mut files: Vec<PathBuf> = paths();
    files.extend(Tuned::ALL.iter().map(|tuned| tuned.path()));
    files.extend([Tiny::Llama.path(), Tiny::T5.path()]);
    each_model(walk, subjects, |walk, model| {
        for path in &files {
            walk.call(short(path), || LoraAdapter::load(model, path));
        }
    });
    let model = llama(subjects);
    let mut context =
        Context::new(&model, &ContextParams::default().n_ctx(256).n_threads(1).embeddings(true)).unwrap();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("adapter");
    for tuned in [Tuned::Lora, Tuned::ActivatedLora] {
        let good = tuned.bytes();
        walk.on(tuned, false);
        for (what, bytes) in damaged(&good, 2000, 5).chain(changed(&good)) {
            fs::write(&path, bytes).unwrap();
            let Some(adapter) = walk.call(&what, || LoraAdapter::load(&model, &path)) else { continue };
            walk.run(format!("{what}, looked at"), || {
                format!("{adapter:?} {:?} {:?}", adapter.metadata(), adapter.alora_invocation_tokens())
            });
            // What could be loaded must work.
            if walk.call(format!("{what}, set"), || context.set_adapters(&[(&adapter, 1.0)])).is_some() {
                walk.call(format!("{what}, used"), || try_fill(&mut context));
            }
        }
    }
}

/// Sets adapters of this model and of others, with invalid scales, dropped while they are attached.
fn set(walk: &mut Walk, subjects: &mut Subjects) {
    let adapters = all(subjects);
    let [first, second, third] = &adapters[..] else { unreachable!() };
    each_context(walk, subjects, |walk, context| {
        let own = LoraAdapter::load(&context.model().clone(), Tuned::Lora.path()).ok();
        for scale in F32 {
            walk.call(scale, || context.set_adapters(&[(first, scale)]));
            walk.call(format!("1 and {scale}"), || context.set_adapters(&[(second, 1.0), (third, scale)]));
            if let Some(own) = &own {
                walk.call(format!("its own, {scale}"), || context.set_adapters(&[(own, scale)]));
            }
            go_on(walk, context);
        }
        walk.call("twice", || context.set_adapters(&[(first, 1.0), (first, 1.0)]));
        walk.call("many", || context.set_adapters(&vec![(second, 1e-3); 1000]));
        drop(own);
        go_on(walk, context);
        walk.call("none", || context.set_adapters(&[]));
        if !walk.is_poisoned() {
            fill(context);
        }
    });
}
