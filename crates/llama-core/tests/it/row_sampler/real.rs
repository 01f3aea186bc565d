//! Rows of models.

use super::*;
use llama_core::{Batch, Context, ContextParams, Pos, SeqId, TokenizeOptions};

const TEXT: &str = "The capital of France is Paris. fn main() { println!(\"Hello, world!\"); } Once upon a time there \
                    was a sampler that looked at each of its 49152 tokens, one after the other, and";

/// Returns the context after the text, with a row for each of its tokens, and their number.
fn decoded(model: &Model) -> (Context, usize) {
    let params = ContextParams::default().n_ctx(256).n_batch(256).n_threads(1);
    let mut context = Context::new(model, &params).unwrap();
    let tokens = model.vocab().tokenize(TEXT, TokenizeOptions::default()).unwrap();
    let mut batch = Batch::new();
    for (pos, token) in (0..).zip(&tokens) {
        batch.push(*token, Pos::new(pos), &[SeqId::new(0)], true).unwrap();
    }
    context.decode(&batch).unwrap();
    (context, tokens.len())
}

fn chains(seed: u32) -> Vec<SamplerChainBuilder> {
    let new = SamplerChain::builder;
    vec![
        new().greedy(),
        new().top_k(40).top_p(0.95).min_p(0.05).temperature(0.8).dist(seed),
        new()
            .penalties(equality::penalties())
            .top_n_sigma(1.0)
            .top_k(40)
            .top_p(0.95)
            .temperature(1.2)
            .dist(seed),
        new().temperature(0.9).top_p(0.95).dist(seed),
        new().top_p(0.5).xtc(0.5, 0.1, seed).dist(seed),
        new().min_p(0.01).temperature(2.0).dist(seed),
        new().top_n_sigma(0.7).dist(seed),
        new().temperature(1.0).dist(seed),
        new().temperature(1.5).dist(seed),
    ]
}

#[test]
fn rows_of_smollm2() {
    let model = Model::load(test_models::smollm2(), &ModelParams::default()).unwrap();
    let (context, count) = decoded(&model);
    assert_eq!(model.vocab().n_tokens(), 49_152);
    let rows: Vec<Vec<f32>> = (0..count).map(|index| context.logits(index).unwrap().to_vec()).collect();
    for seed in 0..effort() {
        for chain in chains(u32::try_from(seed).unwrap()) {
            let mut pair = Pair::of(chain);
            pair.check_all(rows.iter().skip(seed % 3).step_by(if effort() == 1 { 3 } else { 1 }));
        }
    }
}

#[test]
fn rows_of_a_tiny_model_from_its_context() {
    let model = Model::load(test_models::Tiny::Llama.path(), &ModelParams::default()).unwrap();
    let (context, count) = decoded(&model);
    for builder in chains(3) {
        let (mut chain, mut sampler) = (builder.clone().build().unwrap(), builder.build_row().unwrap());
        for index in 0..count {
            let expected = chain.sample(&context, index).unwrap();
            assert_eq!(sampler.sample(&context, index).unwrap(), expected);
        }
        let error = sampler.sample(&context, count).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NoOutput { .. }), "{error:?}");
        assert!(sampler.sample(&context, None).is_err());
    }
}
