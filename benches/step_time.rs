//! Measures the time of greedy steps through `llama-core` and through `llama-sys`, on a model so small that a
//! difference would show.

#![allow(missing_docs, reason = "criterion's macros make items without docs")]

#[path = "step/choice.rs"]
mod choice;
#[path = "step/through_core.rs"]
mod through_core;
#[path = "step/through_sys.rs"]
mod through_sys;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use test_models::Tiny;

const STEPS: i32 = 64;

fn step(criterion: &mut Criterion) {
    let model = Tiny::Llama.path();
    let mut core = through_core::Core::new(&model).expect("the model loads");
    let mut sys = through_sys::Sys::new(&model).expect("the model loads");
    let mut tokens = Vec::new();
    let mut group = criterion.benchmark_group("64 steps");
    group.throughput(Throughput::Elements(u64::from(STEPS.unsigned_abs())));
    group.bench_function("llama-sys", |bencher| {
        bencher.iter(|| {
            tokens.clear();
            sys.steps_through_sys(STEPS, &mut tokens).expect("the steps fit into the context");
        });
    });
    group.bench_function("llama-sys, llama_decode", |bencher| {
        bencher.iter(|| {
            tokens.clear();
            sys.steps_through_arrays(STEPS, &mut tokens).expect("the steps fit into the context");
        });
    });
    group.bench_function("llama-core", |bencher| {
        bencher.iter(|| {
            tokens.clear();
            core.steps_through_core(STEPS, &mut tokens).expect("the steps fit into the context");
        });
    });
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
