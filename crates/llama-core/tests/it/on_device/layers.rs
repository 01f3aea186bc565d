//! The parts of a model on the device: what lies there, and how much of it was planned.

use super::{gpu, on};
use crate::greedy::params;
use llama_core::plan::MemoryUse;
use llama_core::{Context, Device, Model, ModelParams};
use test_models::Tiny;

/// Returns the memory that a context and its model take on a device.
fn used(context: &Context, device: Device) -> MemoryUse {
    let uses = context.memory_use().unwrap();
    *uses.iter().find(|used| used.device == device).unwrap_or_else(|| panic!("{uses:?}"))
}

#[test]
fn all_layers_lie_on_the_device() {
    let Some(device) = gpu() else { return };
    for tiny in Tiny::ALL {
        let model = on(device, tiny.path());
        let context = Context::new(&model, &params().embeddings(true)).unwrap();
        let there = used(&context, device);
        let cpu = used(&context, Device::cpu().unwrap());
        assert!(there.weights > 0 && there.compute > 0, "{tiny}: {there:?}");
        // The table of token embeddings stays on the CPU.
        assert!(there.weights + cpu.weights >= model.size(), "{tiny}: {there:?} {cpu:?}");
        assert_eq!(cpu.memory, 0, "{tiny}: {cpu:?}");
    }
}

#[test]
fn some_layers_lie_on_the_device() {
    let Some(device) = gpu() else { return };
    let weights = |layers| {
        let params = ModelParams::default().devices([device]).n_gpu_layers(Some(layers));
        let model = Model::load(Tiny::Llama.path(), &params).unwrap();
        let context = Context::new(&model, &crate::greedy::params()).unwrap();
        context.memory_use().unwrap().iter().find(|used| used.device == device).map_or(0, |used| used.weights)
    };
    let found: Vec<u64> = [0, 1, 2, 3].map(weights).into();
    assert_eq!(found[0], 0);
    assert!(found.is_sorted_by(|fewer, more| fewer < more), "{found:?}");
}

#[test]
fn attention_can_stay_on_the_cpu() {
    let Some(device) = gpu() else { return };
    let model = on(device, Tiny::Llama.path());
    let context = Context::new(&model, &params().offload_kqv(false)).unwrap();
    assert_eq!(used(&context, device).memory, 0);
    assert!(used(&context, Device::cpu().unwrap()).memory > 0);
}

/// The plan of every device is within a hundredth of the memory that is really taken.
#[test]
fn plans_of_the_device_are_what_is_taken() {
    let Some(device) = gpu() else { return };
    let models = ModelParams::default().devices([device]);
    let contexts =
        [params(), params().n_ctx(1024).n_seq_max(3).kv_unified(true), params().n_ctx(2048).n_ubatch(128)];
    for tiny in [Tiny::Llama, Tiny::LlamaQ8, Tiny::Qwen3Moe, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba] {
        for params in &contexts {
            let plan = Model::plan(tiny.path(), &models, params).unwrap();
            let context = Context::new(&on(device, tiny.path()), params).unwrap();
            for real in context.memory_use().unwrap() {
                let planned = plan.devices().iter().find(|planned| planned.device == real.device);
                let planned =
                    planned.map_or([0; 3], |planned| [planned.weights, planned.memory, planned.compute]);
                for (planned, real) in planned.into_iter().zip([real.weights, real.memory, real.compute]) {
                    assert!(planned.abs_diff(real) * 100 <= real, "{tiny}: planned {planned}, took {real}");
                }
            }
            assert!(plan.fits(), "{plan}");
        }
    }
}
