//! Models made in memory from invalid metadata and tensors.

use core::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use llama_core::model::TensorView;
use llama_core::{Context, ContextParams, Model, ModelParams, TensorType};
use llama_gguf::Metadata;
use test_models::Tiny;

use crate::Case;
use crate::parts::{Parts, metadata_changed};
use crate::subjects::{Subjects, try_fill};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Model::from_metadata", from_metadata),
    ("TensorView::name", |walk, _| views(walk, |view| _ = view.name().len())),
    ("TensorView::shape", |walk, _| views(walk, |view| _ = view.shape().to_vec())),
    ("TensorView::tensor_type", |walk, _| views(walk, |view| _ = view.tensor_type())),
    ("TensorView::elements", |walk, _| views(walk, |view| _ = view.elements())),
];

/// An error in a tensor's bytes.
#[derive(Debug)]
struct Odd;

impl core::fmt::Display for Odd {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("on purpose")
    }
}

impl core::error::Error for Odd {}

/// Makes a model with a file's tensors, as far as their sizes match.
fn make(
    parts: &Parts,
    metadata: &Metadata,
    types: Vec<(String, TensorType)>,
    params: &ModelParams,
) -> llama_core::Result<Model> {
    Model::from_metadata(metadata, types, params, |view, bytes| {
        if let Some(tensor) = parts.tensors.iter().find(|tensor| tensor.name == view.name())
            && tensor.data.len() == bytes.len()
        {
            bytes.copy_from_slice(&tensor.data);
        }
        Ok::<(), Odd>(())
    })
}

fn types(parts: &Parts) -> Vec<(String, TensorType)> {
    parts.tensors.iter().map(|tensor| (tensor.name.clone(), tensor.kind)).collect()
}

/// Uses a model that could be made, which must work.
fn use_it(walk: &mut Walk, what: &str, model: Option<Model>) {
    let Some(model) = model else { return };
    walk.call(format!("{what}, text"), || model.vocab().tokenize("<s> a \0", Default::default()));
    let params = ContextParams::default().n_ctx(256).n_threads(1);
    if let Some(mut context) =
        walk.call_contained(format!("{what}, context"), || Context::new(&model, &params))
    {
        walk.call(format!("{what}, batch"), || try_fill(&mut context));
    }
}

fn from_metadata(walk: &mut Walk, _: &mut Subjects) {
    let params = ModelParams::default();
    walk.call("nothing", || make(&Parts::of(&Tiny::Llama.bytes()), &Metadata::new(), Vec::new(), &params));
    for tiny in Tiny::ALL {
        walk.on(tiny, false);
        let parts = Parts::of(&tiny.bytes());
        for params in [
            params.clone(),
            params.clone().vocab_only(true),
            params.clone().no_alloc(true),
            params.clone().check_tensors(true),
        ] {
            let model = walk.call("as it is", || make(&parts, &parts.metadata, types(&parts), &params));
            use_it(walk, "as it is", model);
            let model = walk.call("all F32", || make(&parts, &parts.metadata, Vec::new(), &params));
            use_it(walk, "all F32", model);
        }
        odd_types(walk, &parts);
        odd_bytes(walk, &parts);
        if [Tiny::LlamaQ8, Tiny::Qwen2, Tiny::BertReranker].contains(tiny) {
            // They have the metadata of others, or hardly more.
            continue;
        }
        for (what, metadata) in metadata_changed(&parts) {
            let model = walk.call(&what, || make(&parts, &metadata, types(&parts), &params));
            use_it(walk, &what, model);
        }
    }
}

fn odd_types(walk: &mut Walk, parts: &Parts) {
    let params = ModelParams::default();
    for kind in [TensorType::F64, TensorType::I8, TensorType::Q8_0, TensorType::Q8_K, TensorType::Q4_K] {
        for index in 0..parts.tensors.len().min(12) {
            let mut types = types(parts);
            types[index].1 = kind;
            let what = format!("{} is {kind}", types[index].0);
            let model = walk.call(&what, || make(parts, &parts.metadata, types, &params));
            use_it(walk, &what, model);
        }
    }
    for name in ["", "\0", "a\0b", "x", &"y".repeat(10_000)] {
        let mut types = types(parts);
        types.push((name.to_owned(), TensorType::F16));
        walk.call(format!("a type for {:?}", name.chars().next()), || {
            make(parts, &parts.metadata, types, &params)
        });
    }
}

/// Tries errors and panics at every tensor, and values that are not numbers.
fn odd_bytes(walk: &mut Walk, parts: &Parts) {
    let params = ModelParams::default();
    for after in 0..4 {
        for panics in [false, true] {
            let left = RefCell::new(after);
            let made = || {
                Model::from_metadata(&parts.metadata, types(parts), &params, |_, _| {
                    if *left.borrow() > 0 {
                        *left.borrow_mut() -= 1;
                        return Ok(());
                    }
                    assert!(!panics, "on purpose");
                    Err(Odd)
                })
            };
            let made = walk.run(format!("fails after {after}"), || catch_unwind(AssertUnwindSafe(made)));
            assert_eq!(made.is_err(), panics);
            assert!(made.map_or(true, |model| model.is_err()));
        }
    }
    for byte in [0, 0x7f, 0xff] {
        for params in [params.clone(), params.clone().check_tensors(true)] {
            let model = walk.call(format!("of bytes {byte}"), || {
                Model::from_metadata(&parts.metadata, types(parts), &params, |_, bytes| {
                    bytes.fill(byte);
                    Ok::<(), Odd>(())
                })
            });
            use_it(walk, &format!("of bytes {byte}"), model);
        }
    }
}

fn views(walk: &mut Walk, with: impl Fn(&TensorView<'_>)) {
    for tiny in Tiny::ALL {
        let parts = Parts::of(&tiny.bytes());
        walk.call(tiny, || {
            Model::from_metadata(&parts.metadata, types(&parts), &ModelParams::default(), |view, _| {
                with(view);
                Ok::<(), Odd>(())
            })
        });
    }
}
