//! Keeps a conversation in a file: each run asks one question and continues where the last one ended, without
//! computing earlier turns again. `cargo run -p llama-examples --example session -- model.gguf chat.json "Hello"`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to its user")]

use std::env;
use std::io::{Write, stdout};
use std::path::Path;

use llama_gen::Llama;
use llama_gen::chat::{Chat, ChatEvent};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [model, file, question] = args.as_slice() else {
        anyhow::bail!("give a model, a file for the conversation, and a question");
    };
    let llm = Llama::builder(model).n_ctx(2048).load()?;
    let mut chat = if Path::new(file).exists() {
        Chat::load(&llm, file)?
    } else {
        llm.chat().system("You are a helpful assistant.").temperature(0.0).max_tokens(128).start()?
    };
    for event in chat.stream(question.as_str())? {
        match event? {
            ChatEvent::Finish(reply) => {
                let usage = reply.finish.usage;
                println!();
                eprintln!("[{} tokens in memory, {} computed]", usage.reused_tokens, usage.evaluated_tokens);
            }
            event => print!("{}", event.text()),
        }
        stdout().flush()?;
    }
    chat.save(file)?;
    Ok(())
}
