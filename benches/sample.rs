//! Measures choosing a token from a real row of logits, with the default chain and greedily.

#![allow(missing_docs, reason = "criterion's macros make items without docs")]

use criterion::{Criterion, criterion_group, criterion_main};
use llama_core::{
    Batch, Context, ContextParams, Model, ModelParams, Pos, SamplerChain, SeqId, TokenizeOptions,
};

fn sample(criterion: &mut Criterion) {
    let model = Model::load(test_models::smollm2(), &ModelParams::default()).expect("the model loads");
    let mut context = Context::new(&model, &ContextParams::default()).expect("a context of the defaults");
    let tokens = model
        .vocab()
        .tokenize("The capital of France is", TokenizeOptions::default())
        .expect("it has tokens");
    let mut batch = Batch::new();
    batch.push_prompt(&tokens, SeqId::new(0), Pos::new(0)).expect("positions are in range");
    context.decode(&batch).expect("the prompt fits");
    let output = batch.last_output();

    let mut group = criterion.benchmark_group("sample");
    let chain = SamplerChain::builder().top_k(40).top_p(0.95).min_p(0.05).temperature(0.8).dist(42);
    let mut row_sampler = chain.clone().build_row().expect("the default chain for rows");
    let mut chain = chain.build().expect("the default chain");
    group.bench_function("default chain", |bencher| bencher.iter(|| chain.sample(&context, output)));
    group.bench_function("default chain on the row", |bencher| {
        bencher.iter(|| row_sampler.sample(&context, output));
    });
    let mut greedy = SamplerChain::builder().greedy().build().expect("a greedy chain");
    group.bench_function("greedy", |bencher| bencher.iter(|| greedy.sample(&context, output)));
    let mut row_sampler = SamplerChain::builder().greedy().build_row().expect("a greedy sampler");
    group
        .bench_function("greedy on the row", |bencher| bencher.iter(|| row_sampler.sample(&context, output)));
    group.bench_function("argmax of the row", |bencher| {
        bencher.iter(|| context.logits(output).expect("the row is there").argmax());
    });
    group.finish();
}

criterion_group!(benches, sample);
criterion_main!(benches);
