//! Generates a text longer than the context in two ways: by a shift, which drops tokens, and by a compactor, which
//! lets the model summarise them.
//! `cargo run -p llama-examples --example long_text -- model.gguf "Once upon a time" shift`.

#![allow(clippy::print_stdout, reason = "a command-line program talks to its user")]

use std::env;
use std::io::{Write, stdout};

use llama_core::{DetokenizeOptions, Token, TokenizeOptions};
use llama_gen::{CompactError, Event, Full, Llama, WhenFull};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [model, prompt, how] = args.as_slice() else {
        anyhow::bail!("give a model, a prompt, and `shift` or `summary`");
    };
    let llm = Llama::builder(model).n_ctx(256).load()?;
    let when_full = match how.as_str() {
        "shift" => WhenFull::Shift { keep: 8 },
        "summary" => {
            let inner = llm.clone();
            WhenFull::compact(move |full| summarise(&inner, full))
        }
        other => anyhow::bail!("{other} is neither `shift` nor `summary`"),
    };
    let generate = llm.generate(prompt).max_tokens(600).ignore_eos(true).when_full(when_full);
    for event in generate.stream()? {
        match event? {
            Event::Shortened(made) => print!("\n[of {} tokens {} are left]\n", made.from, made.to),
            Event::Finish(finish) => println!("\n[{} tokens]", finish.usage.completion_tokens),
            event => print!("{}", event.text()),
        }
        stdout().flush()?;
    }
    Ok(())
}

/// Returns the prompt, a summary of the text after it, and the last part unchanged.
fn summarise(llm: &Llama, full: &Full<'_>) -> Result<Vec<Token>, CompactError> {
    let (prompt, answer) = full.tokens.split_at(full.n_prompt);
    let (old, recent) = answer.split_at(answer.len() / 2);
    let old = full.vocab.detokenize(old, DetokenizeOptions::default())?;
    let task = format!("Text: {old}\nThe same in one sentence:");
    let summary = llm.generate(task).max_tokens(32).temperature(0.0).stop("\n").complete()?;
    let options = TokenizeOptions::default().add_special(false);
    let summary = full.vocab.tokenize(summary.text(), options)?;
    Ok([prompt, &summary, recent].concat())
}
