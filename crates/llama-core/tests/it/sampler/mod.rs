//! Sampler chains: the effect of each sampler on rows with known results, refusals, and failures of llama.cpp.

use llama_core::sampler::{Candidates, Dry, Grammar, LazyTriggers, Mirostat, Penalties, Seed, Xtc};
use llama_core::{
    Batch, Context, ContextParams, ErrorKind, Model, ModelParams, Pos, Sampler, SamplerChain, SeqId, Token,
    TokenizeOptions,
};
use test_models::Tiny;

mod chain;
mod custom;
mod edit;
mod finished;
mod grammar;
mod kinds;

fn tiny() -> Model {
    Model::load(Tiny::Llama.path(), &ModelParams::default()).unwrap()
}

fn token(id: i32) -> Token {
    Token::new(id)
}

fn index(id: i32) -> usize {
    usize::try_from(id).unwrap()
}

/// Returns logits for these probabilities.
fn logits(probabilities: &[f32]) -> Vec<f32> {
    probabilities.iter().map(|p| p.ln()).collect()
}

fn applied(chain: &mut SamplerChain, row: &[f32]) -> Candidates {
    let mut candidates = Candidates::from_logits(row);
    chain.apply(&mut candidates).unwrap();
    candidates
}

fn ids(candidates: &Candidates) -> Vec<i32> {
    candidates.as_slice().iter().map(|candidate| candidate.token.get()).collect()
}

fn selected(candidates: &Candidates) -> i32 {
    candidates.selected().unwrap().token.get()
}

/// Returns the token of a text that is one token.
fn one(model: &Model, text: &str) -> Token {
    let options = TokenizeOptions::default().add_special(false).parse_special(true);
    match model.vocab().tokenize(text, options).unwrap().as_slice() {
        [token] => *token,
        tokens => panic!("{text:?} is {tokens:?}"),
    }
}

/// Returns the token of a letter or mark, without a space before it.
fn letter(model: &Model, text: &str) -> Token {
    let vocab = model.vocab();
    let all = (0..i32::try_from(vocab.n_tokens()).unwrap()).rev().map(Token::new);
    let is_text = |token: &Token| vocab.token_to_bytes(*token, false).unwrap() == text.as_bytes();
    all.into_iter().find(is_text).unwrap_or_else(|| panic!("no token {text:?}"))
}

fn text_of(model: &Model, tokens: &[Token]) -> String {
    let bytes: Vec<u8> =
        tokens.iter().flat_map(|token| model.vocab().token_to_bytes(*token, false).unwrap()).collect();
    String::from_utf8(bytes).unwrap()
}

/// Returns a row for the model in which these tokens stand out, the first of them most.
fn row_for(model: &Model, tokens: &[Token]) -> Vec<f32> {
    let mut row = vec![0.0; model.vocab().n_tokens()];
    for (rank, token) in tokens.iter().enumerate() {
        row[index(token.get())] = 20.0 - rank as f32;
    }
    row
}

fn sampler_error(result: Result<SamplerChain, llama_core::Error>) -> String {
    let error = result.unwrap_err();
    let kind = error.kind();
    assert!(matches!(kind, ErrorKind::InvalidSamplers { .. } | ErrorKind::Sampler { .. }), "{error:?}");
    error.to_string()
}
