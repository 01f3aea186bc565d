//! Models: invalid files, and the properties of valid ones.

use core::ops::ControlFlow;
use std::path::PathBuf;

use llama_core::model::SamplingKey;
use llama_core::{Context, ContextParams, Model, ModelParams};
use tempfile::TempDir;
use test_models::Tiny;

use crate::Case;
use crate::subjects::{Subjects, each_model};
use crate::values::{self, BOOLS, short, texts};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Model::load", load),
    ("Model::load_with_progress", load_with_progress),
    ("Model::metadata_value", metadata_value),
    ("Model::chat_template", chat_template),
    ("Model::metadata", |walk, subjects| {
        each_model(walk, subjects, |walk, model| _ = walk.call("", || model.metadata()));
    }),
    ("Model::n_head", |walk, subjects| {
        each_model(walk, subjects, |walk, model| _ = walk.call("", || model.n_head()));
    }),
    ("Model::n_head_kv", |walk, subjects| {
        each_model(walk, subjects, |walk, model| _ = walk.call("", || model.n_head_kv()));
    }),
    ("Model::architecture", |walk, subjects| {
        each_model(walk, subjects, |walk, model| _ = walk.call("", || model.architecture()));
    }),
    ("Model::chat_template_names", |walk, subjects| {
        each_model(walk, subjects, |walk, model| _ = walk.call("", || model.chat_template_names()));
    }),
    ("Model::kind", |walk, subjects| {
        each_model(walk, subjects, |walk, model| _ = walk.call("", || model.kind()));
    }),
    ("Model::n_classifier_outputs", |walk, subjects| {
        each_model(walk, subjects, |walk, model| _ = walk.call("", || model.n_classifier_outputs()));
    }),
    ("Model::rope_type", |walk, subjects| {
        each_model(walk, subjects, |walk, model| _ = walk.call("", || model.rope_type()));
    }),
    ("Model::recommended_sampling", |walk, subjects| {
        each_model(walk, subjects, |walk, model| {
            for key in SamplingKey::ALL {
                walk.call(format!("{key:?}"), || model.recommended_sampling(*key));
            }
        });
    }),
    ("SamplingKey::metadata_key", |walk, _| {
        for key in SamplingKey::ALL {
            walk.run(format!("{key:?}"), || assert!(!key.metadata_key().is_empty()));
        }
    }),
    ("Model::classifier_labels", |walk, subjects| {
        plain(walk, subjects, |model| _ = model.classifier_labels());
    }),
    ("Model::has_weights", |walk, subjects| plain(walk, subjects, |model| _ = model.has_weights())),
    ("Model::n_layer_nextn", |walk, subjects| plain(walk, subjects, |model| _ = model.n_layer_nextn())),
    ("Model::tensors", |walk, subjects| plain(walk, subjects, |model| _ = model.tensors().to_vec())),
    ("Model::path", |walk, subjects| plain(walk, subjects, |model| _ = model.path().map(ToOwned::to_owned))),
    ("Model::params", |walk, subjects| plain(walk, subjects, |model| _ = model.params().clone())),
    ("Model::vocab", |walk, subjects| plain(walk, subjects, |model| _ = format!("{:?}", model.vocab()))),
    ("Model::is_same", |walk, subjects| {
        plain(walk, subjects, |model| assert!(model.is_same(&model.clone())));
    }),
    ("Model::n_ctx_train", |walk, subjects| plain(walk, subjects, |model| _ = model.n_ctx_train())),
    ("Model::as_ptr", |walk, subjects| plain(walk, subjects, |model| assert!(!model.as_ptr().is_null()))),
    ("Model::n_embd", |walk, subjects| plain(walk, subjects, |model| _ = model.n_embd())),
    ("Model::n_embd_inp", |walk, subjects| plain(walk, subjects, |model| _ = model.n_embd_inp())),
    ("Model::n_embd_out", |walk, subjects| plain(walk, subjects, |model| _ = model.n_embd_out())),
    ("Model::n_layer", |walk, subjects| plain(walk, subjects, |model| _ = model.n_layer())),
    ("Model::n_swa", |walk, subjects| plain(walk, subjects, |model| _ = model.n_swa())),
    ("Model::n_params", |walk, subjects| plain(walk, subjects, |model| _ = model.n_params())),
    ("Model::size", |walk, subjects| plain(walk, subjects, |model| _ = model.size())),
    ("Model::description", |walk, subjects| plain(walk, subjects, |model| _ = model.description())),
    ("Model::file_type", |walk, subjects| plain(walk, subjects, |model| _ = model.file_type())),
    ("Model::rope_freq_scale_train", |walk, subjects| {
        plain(walk, subjects, |model| _ = model.rope_freq_scale_train());
    }),
    ("Model::has_encoder", |walk, subjects| plain(walk, subjects, |model| _ = model.has_encoder())),
    ("Model::has_decoder", |walk, subjects| plain(walk, subjects, |model| _ = model.has_decoder())),
    ("Model::decoder_start_token", |walk, subjects| {
        plain(walk, subjects, |model| _ = model.decoder_start_token());
    }),
    ("Model::is_recurrent", |walk, subjects| plain(walk, subjects, |model| _ = model.is_recurrent())),
    ("Model::is_hybrid", |walk, subjects| plain(walk, subjects, |model| _ = model.is_hybrid())),
    ("Model::is_diffusion", |walk, subjects| plain(walk, subjects, |model| _ = model.is_diffusion())),
];

/// Calls a function that cannot fail, also on a vocabulary without weights.
fn plain(walk: &mut Walk, subjects: &mut Subjects, run: impl Fn(&Model)) {
    each_model(walk, subjects, |walk, model| walk.run("", || run(model)));
}

/// Returns paths without a model: missing, folders, devices, other files, models with a part missing or changed.
fn paths(folder: &TempDir) -> Vec<PathBuf> {
    let mut paths = values::paths();
    let mut write = |bytes: &[u8]| {
        let path = folder.path().join(paths.len().to_string());
        std::fs::write(&path, bytes).unwrap();
        paths.push(path);
    };
    for tiny in [Tiny::Llama, Tiny::Gemma3, Tiny::Jamba, Tiny::T5] {
        let whole = tiny.bytes();
        let n = whole.len();
        for end in [0, 1, 4, 8, 24, 100, n / 100, n / 2, n - 1] {
            write(&whole[..end]);
        }
        // A part of the metadata at a time, all of whose bits are turned.
        for start in (0..4000).step_by(97) {
            let mut changed = whole.clone();
            changed[start..start + 4].iter_mut().for_each(|byte| *byte = !*byte);
            write(&changed);
        }
    }
    paths
}

fn load(walk: &mut Walk, _: &mut Subjects) {
    let folder = TempDir::new().unwrap();
    for path in paths(&folder) {
        for vocab_only in BOOLS {
            let what = format!("{} {vocab_only}", short(&path));
            let params = ModelParams::default().vocab_only(vocab_only);
            let Some(model) = walk.call(&what, || Model::load(&path, &params)) else { continue };
            // A change that llama.cpp takes for a model is one.
            if let Some(mut context) = walk.call(format!("{what}, context"), || {
                Context::new(&model, &ContextParams::default().n_ctx(256))
            }) {
                walk.call(format!("{what}, batch"), || context.decode(&crate::subjects::three()));
            }
        }
    }
}

fn load_with_progress(walk: &mut Walk, _: &mut Subjects) {
    for tiny in [Tiny::Llama, Tiny::T5] {
        for after in [0, 1, 5, u32::MAX] {
            let mut left = after;
            walk.call(format!("{tiny} stops after {after}"), || {
                Model::load_with_progress(tiny.path(), &ModelParams::default(), |_| {
                    let go_on = left > 0;
                    left = left.saturating_sub(1);
                    if go_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                })
            });
        }
        let panics = || {
            Model::load_with_progress(tiny.path(), &ModelParams::default(), |_| panic!("on purpose")).is_ok()
        };
        let caught = walk.run(format!("{tiny} panics"), || std::panic::catch_unwind(panics));
        assert!(caught.is_err());
    }
}

fn metadata_value(walk: &mut Walk, subjects: &mut Subjects) {
    each_model(walk, subjects, |walk, model| {
        for key in texts() {
            walk.call(key.len(), || model.metadata_value(&key));
        }
        // An array.
        walk.call("tokens", || model.metadata_value("tokenizer.ggml.tokens"));
    });
}

fn chat_template(walk: &mut Walk, subjects: &mut Subjects) {
    each_model(walk, subjects, |walk, model| {
        walk.call("none", || model.chat_template(None));
        for name in texts() {
            walk.call(name.len(), || model.chat_template(Some(&name)));
        }
    });
}
