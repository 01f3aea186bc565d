//! Samplers that a context runs on the device of its output: selected tokens, remaining candidates, and refusals. The
//! device is the CPU here, with the same graphs.

mod chains;
mod owner;
mod refused;

use crate::greedy::{self, SEQ, load, params, tokens};
use llama_core::sampler::{Candidate, Penalties, SamplerChainBuilder};
use llama_core::{Batch, Context, ErrorKind, Model, Pos, Sampler, SamplerChain, SeqId, Token};
use test_models::Tiny;

const PROMPT: &str = "Hello world, this is a test.";

fn seq(id: i32) -> SeqId {
    SeqId::new(id)
}

fn built(builder: SamplerChainBuilder) -> SamplerChain {
    builder.build().unwrap()
}

/// Returns a context whose first sequence is sampled by a chain.
fn sampling(model: &Model, builder: SamplerChainBuilder) -> Context {
    let mut context = Context::new(model, &params()).unwrap();
    assert!(context.set_sampler(SEQ, built(builder)).unwrap().is_none());
    context
}

/// Returns the tokens that a context's own sampler generates after the prompt.
fn sampled_text(context: &mut Context, n: usize) -> Vec<Token> {
    generate(context, n, |context, index| context.sample(index).unwrap())
}

/// Returns the tokens that a chain on the CPU generates after the prompt.
fn cpu_text(model: &Model, builder: SamplerChainBuilder, n: usize) -> Vec<Token> {
    let mut chain = built(builder);
    let mut context = Context::new(model, &params()).unwrap();
    generate(&mut context, n, |context, index| chain.sample(context, index).unwrap())
}

fn generate(
    context: &mut Context,
    n: usize,
    mut sample: impl FnMut(&mut Context, usize) -> Token,
) -> Vec<Token> {
    let prompt = tokens(context.model(), PROMPT);
    greedy::decode(context, &prompt, SEQ, 0);
    let mut found = vec![sample(context, prompt.len() - 1)];
    while found.len() < n {
        greedy::decode(context, &found[found.len() - 1..], SEQ, prompt.len() + found.len() - 1);
        found.push(sample(context, 0));
    }
    found
}
