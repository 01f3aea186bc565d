//! Compares a Hugging Face `tokenizer.json` with a model's vocabulary.
//! `cargo run -p llama-examples --example tokenizer -- model.gguf tokenizer.json "a text"`.

#![allow(clippy::print_stdout, reason = "a command-line program talks to its user")]

use std::env;

use llama_core::{Model, ModelParams, TokenizeOptions};
use llama_gen::{HfTokenizer, Tokenizer, check_agreement};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [model, json, text] = args.as_slice() else {
        anyhow::bail!("give a model, a tokenizer.json and a text");
    };
    let model = Model::load(model, &ModelParams::default().vocab_only(true))?;
    let tokenizer = HfTokenizer::from_file(json)?;
    match check_agreement(&tokenizer, model.vocab()) {
        Ok(()) => println!("the ids agree"),
        Err(error) => println!("{error}"),
    }
    let tokenizers: [&dyn Tokenizer; 2] = [&model, &tokenizer];
    for tokenizer in tokenizers {
        let tokens = tokenizer.tokenize(text, TokenizeOptions::default())?;
        println!("{:?}", tokens.iter().map(|token| token.get()).collect::<Vec<_>>());
    }
    Ok(())
}
