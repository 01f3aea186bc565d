//! Parameters, which are checked where they are used: setting them cannot fail.

use llama_core::context::{AttentionType, CacheType, ContextType, FlashAttention, PoolingType, RopeScaling};
use llama_core::model::{LoadMode, SplitMode};
use llama_core::{Context, ContextParams, Model, ModelParams};
use test_models::Tiny;

use crate::Case;
use crate::context::is_quick;
use crate::subjects::{Subjects, try_fill};
use crate::values::{BOOLS, F32, U32, USIZE};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("ContextParams::n_ctx", |walk, subjects| numbers(walk, subjects, ContextParams::n_ctx)),
    ("ContextParams::n_batch", |walk, subjects| numbers(walk, subjects, ContextParams::n_batch)),
    ("ContextParams::n_ubatch", |walk, subjects| numbers(walk, subjects, ContextParams::n_ubatch)),
    ("ContextParams::n_seq_max", |walk, subjects| numbers(walk, subjects, ContextParams::n_seq_max)),
    ("ContextParams::n_threads", |walk, subjects| numbers(walk, subjects, ContextParams::n_threads)),
    ("ContextParams::n_threads_batch", |walk, subjects| {
        numbers(walk, subjects, ContextParams::n_threads_batch);
    }),
    ("ContextParams::rope_freq_base", |walk, subjects| {
        each(walk, subjects, &F32, ContextParams::rope_freq_base);
    }),
    ("ContextParams::rope_freq_scale", |walk, subjects| {
        each(walk, subjects, &F32, ContextParams::rope_freq_scale);
    }),
    ("ContextParams::embeddings", |walk, subjects| each(walk, subjects, &BOOLS, ContextParams::embeddings)),
    ("ContextParams::offload_kqv", |walk, subjects| each(walk, subjects, &BOOLS, ContextParams::offload_kqv)),
    ("ContextParams::op_offload", |walk, subjects| each(walk, subjects, &BOOLS, ContextParams::op_offload)),
    ("ContextParams::swa_full", |walk, subjects| each(walk, subjects, &BOOLS, ContextParams::swa_full)),
    ("ContextParams::kv_unified", |walk, subjects| each(walk, subjects, &BOOLS, ContextParams::kv_unified)),
    ("ContextParams::perf", |walk, subjects| each(walk, subjects, &BOOLS, ContextParams::perf)),
    ("ContextParams::pooling_type", |walk, subjects| {
        let all =
            [PoolingType::None, PoolingType::Mean, PoolingType::Cls, PoolingType::Last, PoolingType::Rank];
        each(walk, subjects, &all, ContextParams::pooling_type);
    }),
    ("ContextParams::attention_type", |walk, subjects| {
        each(
            walk,
            subjects,
            &[AttentionType::Causal, AttentionType::NonCausal],
            ContextParams::attention_type,
        );
    }),
    ("ContextParams::flash_attention", |walk, subjects| {
        let all = [FlashAttention::Auto, FlashAttention::Disabled, FlashAttention::Enabled];
        each(walk, subjects, &all, ContextParams::flash_attention);
    }),
    ("ContextParams::type_k", |walk, subjects| each(walk, subjects, &TYPES, ContextParams::type_k)),
    ("ContextParams::type_v", |walk, subjects| each(walk, subjects, &TYPES, ContextParams::type_v)),
    ("ContextParams::ctx_type", |walk, subjects| {
        each(walk, subjects, &[ContextType::Default, ContextType::Mtp], ContextParams::ctx_type);
    }),
    ("ContextParams::moe_cache_size", |walk, subjects| {
        each(walk, subjects, &USIZE, ContextParams::moe_cache_size);
    }),
    ("ContextParams::n_outputs_max", |walk, subjects| numbers(walk, subjects, ContextParams::n_outputs_max)),
    ("ContextParams::plan_outputs", |walk, subjects| numbers(walk, subjects, ContextParams::plan_outputs)),
    ("ContextParams::n_outputs_max_per_seq", |walk, subjects| {
        numbers(walk, subjects, ContextParams::n_outputs_max_per_seq);
    }),
    ("ContextParams::n_rs_seq", |walk, subjects| numbers(walk, subjects, ContextParams::n_rs_seq)),
    ("ContextParams::rope_scaling_type", |walk, subjects| {
        let all = [RopeScaling::None, RopeScaling::Linear, RopeScaling::Yarn, RopeScaling::LongRope];
        each(walk, subjects, &all, ContextParams::rope_scaling_type);
    }),
    ("ContextParams::yarn_attn_factor", |walk, subjects| {
        yarn(walk, subjects, ContextParams::yarn_attn_factor);
    }),
    ("ContextParams::yarn_beta_fast", |walk, subjects| yarn(walk, subjects, ContextParams::yarn_beta_fast)),
    ("ContextParams::yarn_beta_slow", |walk, subjects| yarn(walk, subjects, ContextParams::yarn_beta_slow)),
    ("ContextParams::yarn_ext_factor", |walk, subjects| yarn(walk, subjects, ContextParams::yarn_ext_factor)),
    ("ContextParams::yarn_orig_ctx", |walk, subjects| numbers(walk, subjects, ContextParams::yarn_orig_ctx)),
    ("ModelParams::n_gpu_layers", |walk, _| {
        load(walk, &[None, Some(0), Some(1), Some(u32::MAX)], ModelParams::n_gpu_layers);
    }),
    ("ModelParams::main_gpu", |walk, _| load(walk, &U32, ModelParams::main_gpu)),
    ("ModelParams::split_mode", |walk, _| {
        let all = [SplitMode::None, SplitMode::Layer, SplitMode::Row, SplitMode::Tensor];
        load(walk, &all, ModelParams::split_mode);
    }),
    ("ModelParams::load_mode", |walk, _| load(walk, &LOAD_MODES, ModelParams::load_mode)),
    ("ModelParams::vocab_only", |walk, _| load(walk, &BOOLS, ModelParams::vocab_only)),
    ("ModelParams::check_tensors", |walk, _| load(walk, &BOOLS, ModelParams::check_tensors)),
    ("ModelParams::is_vocab_only", |walk, _| {
        for value in BOOLS {
            walk.run(value, || ModelParams::default().vocab_only(value).is_vocab_only());
        }
    }),
];

const TYPES: [CacheType; 8] = [
    CacheType::F32,
    CacheType::F16,
    CacheType::Bf16,
    CacheType::Q8_0,
    CacheType::Q5_1,
    CacheType::Q5_0,
    CacheType::Q4_1,
    CacheType::Q4_0,
];

const LOAD_MODES: [LoadMode; 6] = [
    LoadMode::Auto,
    LoadMode::Read,
    LoadMode::Mmap,
    LoadMode::Mlock,
    LoadMode::MmapMlock,
    LoadMode::DirectIo,
];

/// Sets a parameter twice, creates contexts, and computes with those that can be created.
fn each<T: Copy + core::fmt::Debug>(
    walk: &mut Walk,
    subjects: &mut Subjects,
    values: &[T],
    set: fn(ContextParams, T) -> ContextParams,
) {
    let models: Vec<_> =
        subjects.whole_models().map(|model| (model.name.clone(), model.it.clone())).collect();
    for (name, model) in models {
        walk.on(&name, false);
        for value in values {
            let params = set(set(ContextParams::default().n_ctx(256).n_threads(1), *value), *value);
            let made = walk.call(format!("{value:?}"), || Context::new(&model, &params));
            if let Some(mut context) = made.filter(is_quick) {
                walk.call(format!("{value:?}, used"), || try_fill(&mut context));
            }
        }
    }
}

/// Sets a parameter together with its scaling.
fn yarn(walk: &mut Walk, subjects: &mut Subjects, set: fn(ContextParams, f32) -> ContextParams) {
    // Of models of their own, since such a context changes what the model says of itself.
    for tiny in [Tiny::Llama, Tiny::Jamba, Tiny::Gemma3] {
        walk.on(tiny, false);
        let model = Model::load(tiny.path(), &ModelParams::default()).unwrap();
        for (value, scale) in
            F32.into_iter().flat_map(|value| [0.0, 0.25, 1e-30, 1e30].map(|scale| (value, scale)))
        {
            let params =
                ContextParams::default().n_ctx(256).n_threads(1).rope_scaling_type(RopeScaling::Yarn);
            let made = walk.call(format!("{value} {scale}"), || {
                Context::new(&model, &set(params.rope_freq_scale(scale), value))
            });
            if let Some(mut context) = made {
                walk.call(format!("{value} {scale}, used"), || try_fill(&mut context));
            }
        }
    }
    each(walk, subjects, &F32, set);
}

/// Leaves out the numbers that would really take the memory.
fn numbers(walk: &mut Walk, subjects: &mut Subjects, set: fn(ContextParams, u32) -> ContextParams) {
    let good = |value: &u32| *value < 1 << 20 || *value > i32::MAX as u32;
    let values: Vec<u32> = U32.into_iter().filter(good).collect();
    each(walk, subjects, &values, set);
}

fn load<T: Copy + core::fmt::Debug>(walk: &mut Walk, values: &[T], set: fn(ModelParams, T) -> ModelParams) {
    for tiny in [Tiny::Llama, Tiny::Jamba, Tiny::Bert] {
        walk.on(tiny, false);
        for value in values {
            let params = set(set(ModelParams::default(), *value), *value);
            walk.call(format!("{value:?}"), || Model::load(tiny.path(), &params));
        }
    }
}
