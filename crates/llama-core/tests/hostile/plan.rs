//! Plans of invalid sources and of impossible parameters.

use llama_core::model::ModelSource;
use llama_core::plan::LoadPlan;
use llama_core::{ContextParams, Model, ModelParams};
use test_models::{Tiny, Tuned};

use crate::Case;
use crate::context::odd_params;
use crate::subjects::{Subjects, each_context, each_model};
use crate::values::{BOOLS, U32, paths, short};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Model::plan", plan),
    ("Model::plan_context", plan_context),
    ("Context::memory_use", |walk, subjects| {
        each_context(walk, subjects, |walk, context| _ = walk.call("", || context.memory_use()));
    }),
    ("LoadPlan::devices", |walk, _| plans(walk, |plan| _ = plan.devices().to_vec())),
    ("LoadPlan::weights", |walk, _| plans(walk, |plan| _ = plan.weights())),
    ("LoadPlan::memory", |walk, _| plans(walk, |plan| _ = plan.memory())),
    ("LoadPlan::compute", |walk, _| plans(walk, |plan| _ = plan.compute())),
    ("LoadPlan::required", |walk, _| plans(walk, |plan| _ = plan.required())),
    ("LoadPlan::fits", |walk, _| plans(walk, |plan| _ = plan.fits())),
    ("LoadPlan::runs", |walk, _| plans(walk, |plan| _ = plan.runs())),
    ("LoadPlan::is_estimated", |walk, _| plans(walk, |plan| _ = plan.is_estimated())),
    ("DevicePlan::required", |walk, _| {
        plans(walk, |plan| {
            for device in plan.devices() {
                let mut device = device.clone();
                (device.weights, device.memory) = (u64::MAX, u64::MAX);
                assert_eq!(device.required(), u64::MAX);
            }
        });
    }),
    ("DevicePlan::fits", |walk, _| {
        plans(walk, |plan| {
            for device in plan.devices() {
                let mut device = device.clone();
                (device.mapped, device.free, device.total) = (u64::MAX, 0, 0);
                assert!(!device.fits() && !device.to_string().is_empty());
            }
        });
    }),
];

/// Returns contexts of sizes that can only be planned.
fn sizes() -> Vec<ContextParams> {
    U32.into_iter()
        .flat_map(|n| {
            let params = ContextParams::default().n_ctx(n).n_threads(1);
            [params.clone(), params.n_seq_max(256).n_batch(i32::MAX as u32).n_ubatch(i32::MAX as u32)]
        })
        .collect()
}

fn plans(walk: &mut Walk, with: impl Fn(&LoadPlan)) {
    for tiny in [Tiny::Llama, Tiny::Jamba, Tiny::Bert] {
        for (index, params) in sizes().iter().enumerate() {
            let plan = walk.call(format!("{tiny} {index}"), || {
                Model::plan(tiny.path(), &ModelParams::default(), params)
            });
            if let Some(plan) = plan {
                with(&plan);
                assert!(!plan.to_string().is_empty());
            }
        }
    }
}

fn plan(walk: &mut Walk, _: &mut Subjects) {
    let small = ContextParams::default().n_ctx(256).n_threads(1);
    for path in paths().into_iter().chain([Tuned::Lora.path()]) {
        let what = short(&path);
        for source in [
            ModelSource::File(path.clone()),
            ModelSource::Splits(vec![path.clone(), path.clone()]),
            ModelSource::Embedded { path, offset: u64::MAX },
        ] {
            walk.call(&what, || Model::plan(source, &ModelParams::default(), &small));
        }
    }
    walk.call("no files", || Model::plan(ModelSource::Splits(Vec::new()), &ModelParams::default(), &small));
    for tiny in Tiny::ALL {
        walk.on(tiny, false);
        for value in BOOLS {
            let params = ModelParams::default().vocab_only(value).no_alloc(!value);
            walk.call(format!("vocab_only {value}"), || Model::plan(tiny.path(), &params, &small));
        }
    }
    for tiny in [Tiny::Llama, Tiny::Gemma3, Tiny::Jamba, Tiny::T5] {
        walk.on(tiny, false);
        for (name, params) in odd_params().into_iter().step_by(3) {
            walk.call(name, || Model::plan(tiny.path(), &ModelParams::default(), &params));
        }
    }
}

fn plan_context(walk: &mut Walk, subjects: &mut Subjects) {
    let sizes = sizes();
    each_model(walk, subjects, |walk, model| {
        for (index, params) in sizes.iter().enumerate().step_by(2) {
            walk.call(index, || model.plan_context(params));
        }
    });
}
