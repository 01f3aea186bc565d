//! Models, contexts and failures come and go without a leak.
//!
//! Runs in a child process, because the measured memory of a process includes that of concurrent tests.

use std::fs::File;

use crate::greedy::{SEQ, decode, load, params, tokens};
use llama_core::model::LoadMode;
use llama_core::sampler::{CandidatesMut, CustomSampler, Penalties};
use llama_core::state::StatePart;
use llama_core::{Batch, Context, Model, ModelParams, Pos, Sampler, SamplerChain};
use test_models::child::alone;
use test_models::{Tiny, resident_bytes, rewritten};

#[test]
fn memory_stays_flat() {
    alone(module_path!(), "memory_stays_flat", || {
        contexts_of_one_model();
        models_with_contexts();
        recurrent_models_with_contexts();
        vocabularies();
        files_that_are_refused();
        files_that_llama_cpp_refuses();
        loads_that_are_cancelled();
        contexts_that_are_refused();
        batches_that_are_refused();
        states_that_come_and_go();
        plans();
        models_from_handles();
        models_in_parts();
        samplers_that_come_and_go();
    });
}

/// The least bytes of a small context: its cache and its buffers.
const CONTEXT: u64 = 200_000;

fn contexts_of_one_model() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world");
    assert_flat(200, CONTEXT, || decode(&mut Context::new(&model, &params()).unwrap(), &prompt, SEQ, 0));
}

fn models_with_contexts() {
    assert_flat(200, CONTEXT, || {
        let model = load(Tiny::Llama);
        let mut context = Context::new(&model, &params()).unwrap();
        decode(&mut context, &tokens(&model, "Hello world"), SEQ, 0);
        // The context holds the model now, and frees it.
        drop(model);
    });
}

fn recurrent_models_with_contexts() {
    assert_flat(50, CONTEXT, || {
        let model = load(Tiny::Mamba);
        let mut context = Context::new(&model, &params()).unwrap();
        decode(&mut context, &tokens(&model, "Hello world"), SEQ, 0);
    });
}

fn vocabularies() {
    let path = Tiny::Qwen2.path();
    assert_flat(100, 50_000, || {
        let model = Model::load(&path, &ModelParams::default().vocab_only(true)).unwrap();
        assert_eq!(tokens(&model, "Hello").len(), 5);
    });
}

fn files_that_are_refused() {
    let bytes = Tiny::Llama.bytes();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes[..bytes.len() - 1]).unwrap();
    assert_flat(100, 50_000, || {
        Model::load(file.path(), &ModelParams::default()).unwrap_err();
    });
}

fn files_that_llama_cpp_refuses() {
    let mut bytes = Tiny::Llama.bytes();
    let at = bytes.windows(13).position(|window| window == b"output.weight").unwrap();
    bytes[at..at + 13].copy_from_slice(b"outptu.weight");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    assert_flat(100, 50_000, || {
        Model::load(file.path(), &ModelParams::default()).unwrap_err();
    });
}

fn loads_that_are_cancelled() {
    let path = Tiny::Llama.path();
    assert_flat(100, 50_000, || {
        let stop = |_| std::ops::ControlFlow::Break(());
        Model::load_with_progress(&path, &ModelParams::default(), stop).unwrap_err();
    });
}

fn contexts_that_are_refused() {
    let model = load(Tiny::Llama);
    let quantised = params()
        .type_v(llama_core::context::CacheType::Q8_0)
        .flash_attention(llama_core::context::FlashAttention::Disabled);
    assert_flat(100, 50_000, || {
        Context::new(&model, &quantised).unwrap_err();
    });
}

fn batches_that_are_refused() {
    let model = load(Tiny::Llama);
    let mut context = Context::new(&model, &params()).unwrap();
    let prompt = tokens(&model, "Hello world");
    decode(&mut context, &prompt, SEQ, 0);
    let mut gap = Batch::new();
    gap.push_prompt(&prompt, SEQ, Pos::new(100)).unwrap();
    assert_flat(2000, 5_000, || {
        context.decode(&gap).unwrap_err();
    });
}

fn states_that_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    for tiny in [Tiny::Llama, Tiny::Jamba] {
        let model = load(tiny);
        let mut context = Context::new(&model, &params()).unwrap();
        let prompt = tokens(&model, "Hello world");
        decode(&mut context, &prompt, SEQ, 0);
        let mut state = Vec::new();
        assert_flat(100, 20_000, || {
            context.save_state(&path, &prompt).unwrap();
            assert_eq!(context.load_state(&path).unwrap(), prompt);
            context.state_data(&mut state).unwrap();
            context.set_state_data(&state[1..]).unwrap_err();
            context.set_state_data(&state).unwrap();
            let kept = context.keep_seq_state(SEQ, StatePart::Partial);
            assert_eq!(kept.is_ok(), tiny == Tiny::Jamba);
        });
        // So many, since what the allocator keeps for itself rises and falls by a few megabytes.
        assert_flat(200, CONTEXT, || drop(context.try_clone().unwrap()));
    }
}

fn plans() {
    let path = Tiny::Llama.path();
    let model = load(Tiny::Llama);
    assert_flat(100, 50_000, || {
        Model::plan(&path, &ModelParams::default(), &params()).unwrap();
        model.plan_context(&params()).unwrap();
        Context::new(&model, &params().n_ctx(i32::MAX.unsigned_abs())).unwrap_err();
    });
}

fn models_from_handles() {
    let path = Tiny::Llama.path();
    assert_flat(100, 50_000, || {
        for mode in [LoadMode::Read, LoadMode::Mmap] {
            let params =
                ModelParams::default().load_mode(mode).experts_on_cpu().kv_override("some.key", "text");
            Model::load_from_file_handle(File::open(&path).unwrap(), 0, &params).unwrap();
        }
        Model::load_from_file_handle(File::open(&path).unwrap(), 1, &ModelParams::default()).unwrap_err();
    });
}

fn models_in_parts() {
    let (_folder, paths) = rewritten::saved_parts(&rewritten::parts(Tiny::Llama, 3, |_, _| {}));
    assert_flat(100, 50_000, || {
        Model::load(&paths[0], &ModelParams::default()).unwrap();
        Model::load_splits(&paths[..2], &ModelParams::default()).unwrap_err();
    });
}

fn samplers_that_come_and_go() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world");
    let mut context = Context::new(&model, &params()).unwrap();
    // So many, since the context plans its buffers anew each time, and what the allocator keeps for itself then rises and
    // falls by some two megabytes.
    assert_flat(600, 50_000, || {
        let builder = SamplerChain::builder().penalties(Penalties::default().repeat(1.1));
        let builder =
            builder.grammar(&model, "root ::= [a-z]*", "root").custom(Nothing(vec![1; 5000])).dist(1);
        let mut chain = builder.build().unwrap();
        chain.insert(0, Sampler::TopK { k: 40 }).unwrap();
        chain.copy_state_from(&chain.try_clone().unwrap()).unwrap();
        context.set_sampler(SEQ, chain).unwrap();
        context.memory().seq_rm(SEQ, ..).unwrap();
        decode(&mut context, &prompt, SEQ, 0);
        drop(context.sample(prompt.len() - 1));
        let mut chain = context.remove_sampler(SEQ).unwrap().unwrap();
        chain.remove(1).unwrap();
        context.set_sampler(SEQ, chain).unwrap();
    });
}

#[derive(Clone)]
struct Nothing(Vec<u8>);

impl CustomSampler for Nothing {
    fn name(&self) -> &str {
        "nothing"
    }

    fn apply(&mut self, candidates: &mut CandidatesMut<'_>) {
        assert!(candidates.len() < self.0.len());
    }
}

/// Runs `round` so often, and asserts that memory has not grown by a tenth of what it would have grown if each
/// round had lost `lost_each` bytes. Allocators spread out at first; what is lost is lost in every try.
#[track_caller]
fn assert_flat(rounds: u64, lost_each: u64, mut round: impl FnMut()) {
    let limit = rounds * lost_each / 10;
    let mut grown = 0;
    for _try in 0..3 {
        let before = resident_bytes();
        (0..rounds).for_each(|_| round());
        let (Some(before), Some(after)) = (before, resident_bytes()) else {
            return;
        };
        grown = after.saturating_sub(before);
        if grown < limit {
            return;
        }
    }
    panic!("{rounds} rounds took {grown} bytes more memory; less than {limit} are allowed");
}
