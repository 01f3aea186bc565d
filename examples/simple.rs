//! The shortest program: `cargo run -p llama-examples --example simple -- model.gguf "Once upon a time"`.

#![allow(clippy::print_stdout, reason = "a command-line program talks to its user")]

use std::env;
use std::io::{Write, stdout};

use llama_gen::Llama;

fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let (Some(model), Some(prompt)) = (args.next(), args.next()) else {
        anyhow::bail!("give a model and a prompt");
    };
    let llm = Llama::load(model)?;
    print!("{prompt}");
    for event in llm.generate(prompt).max_tokens(64).stream()? {
        print!("{}", event?.text());
        stdout().flush()?;
    }
    println!();
    Ok(())
}
