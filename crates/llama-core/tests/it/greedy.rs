//! Greedy decoding: the text of a model that always takes its most likely token.

use llama_core::{
    Batch, Context, ContextParams, DetokenizeOptions, Model, ModelParams, Pos, SeqId, Token, TokenizeOptions,
};
use test_models::Tiny;

pub(crate) const SEQ: SeqId = SeqId::new(0);

pub(crate) fn load(tiny: Tiny) -> Model {
    Model::load(tiny.path(), &ModelParams::default()).unwrap()
}

pub(crate) fn load_smollm2() -> Model {
    Model::load(test_models::smollm2(), &ModelParams::default()).unwrap()
}

/// Returns the parameters of a small context with one thread, because tests run concurrently.
pub(crate) fn params() -> ContextParams {
    ContextParams::default().n_ctx(256).n_threads(1)
}

pub(crate) fn tokens(model: &Model, text: &str) -> Vec<Token> {
    model.vocab().tokenize(text, TokenizeOptions::default()).unwrap()
}

pub(crate) fn text(model: &Model, tokens: &[Token]) -> String {
    model.vocab().detokenize(tokens, DetokenizeOptions::default()).unwrap()
}

/// Decodes tokens of one sequence from a position on, with results for the last one.
pub(crate) fn decode(context: &mut Context, tokens: &[Token], seq_id: SeqId, first: usize) {
    let mut batch = Batch::new();
    batch.push_prompt(tokens, seq_id, Pos::new(i32::try_from(first).unwrap())).unwrap();
    context.decode(&batch).unwrap();
}

/// Computes the logits after tokens of one sequence.
pub(crate) fn logits_after(context: &mut Context, tokens: &[Token], seq_id: SeqId, first: usize) -> Vec<f32> {
    decode(context, tokens, seq_id, first);
    context.logits(tokens.len() - 1).unwrap().to_vec()
}

/// Returns the most likely continuation of the tokens decoded up to `next`. `token` is its first.
pub(crate) fn go_on(
    context: &mut Context,
    seq_id: SeqId,
    mut next: usize,
    mut token: Token,
    n: usize,
) -> Vec<Token> {
    let mut found = vec![token];
    while found.len() < n {
        decode(context, &[token], seq_id, next);
        token = context.logits(0).unwrap().argmax();
        found.push(token);
        next += 1;
    }
    found
}

/// Returns the `n` most likely tokens after a prompt, in an empty sequence.
pub(crate) fn continuation(context: &mut Context, prompt: &[Token], seq_id: SeqId, n: usize) -> Vec<Token> {
    decode(context, prompt, seq_id, 0);
    let first = context.logits(prompt.len() - 1).unwrap().argmax();
    go_on(context, seq_id, prompt.len(), first, n)
}

/// Returns the `n` most likely tokens after a prompt, in a new context.
pub(crate) fn fresh_continuation(model: &Model, prompt: &[Token], n: usize) -> Vec<Token> {
    continuation(&mut Context::new(model, &params()).unwrap(), prompt, SEQ, n)
}

/// Returns the ids of tokens.
pub(crate) fn ids(tokens: &[Token]) -> Vec<i32> {
    tokens.iter().map(|token| token.get()).collect()
}

/// Returns the largest difference of two rows, relative to the largest value of the first.
pub(crate) fn difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    assert!(left.iter().chain(right).all(|value| value.is_finite()));
    let largest = left.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    left.iter().zip(right).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs())) / largest
}
