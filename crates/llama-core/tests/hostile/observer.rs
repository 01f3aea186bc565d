//! Observers that read everything, stop at every moment, and panic.

use core::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use llama_core::observer::{TensorData, TensorInfo};
use llama_core::{Context, ContextParams, Model, Observer};

use crate::Case;
use crate::context::odd_params;
use crate::subjects::{Subjects, try_fill};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Context::with_observer", with_observer),
    ("TensorInfo::name", |walk, subjects| infos(walk, subjects, |info| _ = info.name().len())),
    ("TensorInfo::op", |walk, subjects| infos(walk, subjects, |info| _ = info.op().len())),
    ("TensorInfo::shape", |walk, subjects| infos(walk, subjects, |info| _ = info.shape())),
    ("TensorInfo::strides", |walk, subjects| infos(walk, subjects, |info| _ = info.strides())),
    ("TensorInfo::tensor_type", |walk, subjects| infos(walk, subjects, |info| _ = info.tensor_type())),
    ("TensorInfo::is_view", |walk, subjects| infos(walk, subjects, |info| _ = info.is_view())),
    ("TensorData::info", |walk, subjects| datas(walk, subjects, |data| _ = format!("{:?}", data.info()))),
    ("TensorData::bytes", |walk, subjects| {
        datas(walk, subjects, |data| _ = data.bytes().iter().map(|byte| u64::from(*byte)).sum::<u64>());
    }),
    ("TensorData::to_f32", |walk, subjects| {
        datas(walk, subjects, |data| {
            let mut values = vec![1.0; 7];
            let _ = data.to_f32(&mut values);
        });
    }),
];

fn small() -> ContextParams {
    ContextParams::default().n_ctx(256).n_threads(1)
}

/// Creates observed contexts and computes a batch in each.
fn observed<O: Observer>(walk: &mut Walk, subjects: &mut Subjects, what: &str, make: impl Fn() -> O) {
    let models: Vec<(String, Model)> =
        subjects.whole_models().map(|model| (model.name.clone(), model.it.clone())).collect();
    for (name, model) in models {
        walk.on(&name, false);
        for params in [small(), small().embeddings(true).n_seq_max(4)] {
            let made = walk.call(what, || Context::with_observer(&model, &params, make()));
            if let Some(mut context) = made {
                batches(walk, &mut context);
            }
        }
    }
}

/// Computes batches that may be stopped, and reads their results.
fn batches(walk: &mut Walk, context: &mut Context) {
    for _ in 0..2 {
        let filled = walk.run("a batch", || catch_unwind(AssertUnwindSafe(|| try_fill(context))));
        walk.call("what came of it", || filled.unwrap_or(Ok(())).and(context.synchronize()));
        let _ = context.logits(2).map(|row| row.argmax());
    }
}

/// Reads the information that is known before the computation.
struct Infos(fn(&TensorInfo<'_>));

impl Observer for Infos {
    fn wants(&mut self, tensor: &TensorInfo<'_>) -> bool {
        (self.0)(tensor);
        false
    }

    fn observe(&mut self, _: &TensorData<'_>) -> ControlFlow<()> {
        unreachable!("nothing is wanted")
    }
}

fn infos(walk: &mut Walk, subjects: &mut Subjects, with: fn(&TensorInfo<'_>)) {
    observed(walk, subjects, "all", || Infos(with));
}

fn datas(walk: &mut Walk, subjects: &mut Subjects, with: fn(&TensorData<'_>)) {
    observed(walk, subjects, "all", || {
        move |data: &TensorData<'_>| {
            with(data);
            ControlFlow::Continue(())
        }
    });
}

/// Counts its calls over all computations, and stops or panics at a number.
#[derive(Clone)]
struct Until {
    wants: u32,
    shows: u32,
    panics: bool,
    asked: Arc<AtomicU32>,
    shown: Arc<AtomicU32>,
}

impl Observer for Until {
    fn wants(&mut self, _: &TensorInfo<'_>) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        assert!(asked < self.wants, "on purpose");
        asked.is_multiple_of(3)
    }

    fn observe(&mut self, _: &TensorData<'_>) -> ControlFlow<()> {
        if self.shown.fetch_add(1, Ordering::Relaxed) < self.shows {
            return ControlFlow::Continue(());
        }
        assert!(!self.panics, "on purpose");
        ControlFlow::Break(())
    }
}

fn with_observer(walk: &mut Walk, subjects: &mut Subjects) {
    for (wants, shows, panics) in
        [(0, 9, false), (1, 9, true), (50, 99, true), (999, 0, true), (999, 0, false), (999, 17, false)]
    {
        let until = Until { wants, shows, panics, asked: Arc::default(), shown: Arc::default() };
        observed(walk, subjects, &format!("{wants} {shows} {panics}"), || Until {
            asked: Arc::default(),
            shown: Arc::default(),
            ..until.clone()
        });
    }
    let model = subjects.models()[0].it.clone();
    let bare = subjects.models().iter().find(|model| model.it.params().is_vocab_only()).unwrap().it.clone();
    for (name, params) in odd_params() {
        for model in [&model, &bare] {
            walk.call(&name, || {
                Context::with_observer(model, &params, |_: &TensorData<'_>| ControlFlow::Break(()))
            });
        }
    }
}
