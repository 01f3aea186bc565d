//! Runs two generations at once on one thread, with progress and a time limit:
//! `cargo run -p llama-examples --example async_stream -- model.gguf "Once upon a time" "The capital of France is"`.

#![allow(clippy::print_stdout, reason = "a command-line program talks to its user")]

use std::env;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::try_join;
use futures::{StreamExt as _, TryStreamExt as _};
use llama_gen::{Event, Llama};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [model, first, second] = args.as_slice() else {
        anyhow::bail!("give a model and two prompts");
    };
    let llm = Llama::load(model)?;
    // Any runtime works: each generation has a thread of its own, and wakes the task that waits for it.
    block_on(try_join(show(&llm, 1, first), show(&llm, 2, second)))?;
    Ok(())
}

async fn show(llm: &Llama, number: u32, prompt: &str) -> llama_gen::Result<()> {
    let generate = llm.generate(prompt).max_tokens(48).progress(true).timeout(Duration::from_secs(20));
    let mut events = generate.stream_async()?.boxed();
    // Dropping the stream, here by an error, cancels the generation.
    while let Some(event) = events.try_next().await? {
        match event {
            Event::Progress(progress) => println!("[{number}] read {} of {}", progress.done, progress.total),
            Event::Finish(finish) => println!("[{number}] ended by {:?}", finish.reason),
            event => println!("[{number}] {:?}", event.text()),
        }
    }
    Ok(())
}
