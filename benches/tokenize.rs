//! Measures tokenising and detokenising a page of text.

#![allow(missing_docs, reason = "criterion's macros make items without docs")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use llama_core::{DetokenizeOptions, Model, ModelParams, TokenizeOptions};

const PARAGRAPH: &str = "The harbour lay quiet under a thin fog, and the first boats came in with 42 crates of \
                         herring each; nobody on the pier had slept. \"Früh dran,\" said the old man, and went on \
                         counting: one, two, three… 🐟\n";

fn tokenize(criterion: &mut Criterion) {
    let params = ModelParams::default().vocab_only(true);
    let model = Model::load(test_models::smollm2(), &params).expect("the model loads");
    let text = PARAGRAPH.repeat(16);
    let options = TokenizeOptions::default();
    let tokens = model.vocab().tokenize(&text, options).expect("the text has tokens");
    let mut group = criterion.benchmark_group("vocab");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("tokenize", |bencher| bencher.iter(|| model.vocab().tokenize(&text, options)));
    let options = DetokenizeOptions::default();
    group.bench_function("detokenize", |bencher| bencher.iter(|| model.vocab().detokenize(&tokens, options)));
    group.finish();
}

criterion_group!(benches, tokenize);
criterion_main!(benches);
