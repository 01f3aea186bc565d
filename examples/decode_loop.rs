//! Generates text with `llama-core` alone: tokenise, decode, sample, repeat.
//! `cargo run -p llama-examples --example decode_loop -- model.gguf "Once upon a time"`.

#![allow(clippy::print_stdout, reason = "a command-line program talks to its user")]

use std::env;
use std::io::{Write, stdout};

use llama_core::{
    Batch, Context, ContextParams, Model, ModelParams, Pos, SamplerChain, SeqId, TokenizeOptions,
};

const SEQUENCE: SeqId = SeqId::new(0);

fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let (Some(path), Some(prompt)) = (args.next(), args.next()) else {
        anyhow::bail!("give a model and a prompt");
    };
    let model = Model::load(path, &ModelParams::default())?;
    let vocab = model.vocab();
    let tokens = vocab.tokenize(&prompt, TokenizeOptions::default())?;
    let mut context = Context::new(&model, &ContextParams::default().n_ctx(512))?;
    let mut sampler = SamplerChain::builder().top_k(40).top_p(0.95).temperature(0.8).dist(42).build()?;

    let mut batch = Batch::new();
    batch.push_prompt(&tokens, SEQUENCE, Pos::new(0))?;
    let first = i32::try_from(tokens.len())?;
    for pos in (first..).take(64) {
        context.decode(&batch)?;
        let token = sampler.sample(&context, batch.last_output())?;
        if vocab.is_eog(token) {
            break;
        }
        // Bytes instead of text, because a token may hold a part of a character. The terminal joins the parts.
        stdout().write_all(&vocab.token_to_bytes(token, false)?)?;
        stdout().flush()?;
        batch.clear();
        batch.push(token, Pos::new(pos), &[SEQUENCE], true)?;
    }
    println!();
    Ok(())
}
