//! Streams the continuation of a prompt: the text to stdout, the figures to stderr. `cargo xtask demo` runs it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to its user")]

use std::io::Write;
use std::path::PathBuf;

use clap::Parser;
use llama_gen::{Event, Finish, Llama};

/// Streams the continuation of a prompt.
#[derive(Parser)]
struct Args {
    /// A GGUF file.
    #[arg(long)]
    model: PathBuf,
    /// The text to continue.
    #[arg(long, default_value = "Once upon a time")]
    prompt: String,
    /// The most tokens to generate.
    #[arg(long, default_value_t = 64)]
    max_tokens: u32,
    /// The randomness of the choice; 0 always takes the most likely token.
    #[arg(long, default_value_t = 0.8)]
    temperature: f32,
    /// The seed; the same seed gives the same text.
    #[arg(long)]
    seed: Option<u32>,
    /// The number of CPU threads; by default the processors that this process may use.
    #[arg(long)]
    threads: Option<u32>,
}

fn main() -> anyhow::Result<()> {
    // Shows llama.cpp's own log when RUST_LOG asks for it, for example RUST_LOG=llama_cpp=info.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let mut builder = Llama::builder(&args.model);
    if let Some(threads) = args.threads {
        builder = builder.n_threads(threads);
    }
    let llm = builder.load()?;
    let mut generate = llm.generate(args.prompt).max_tokens(args.max_tokens).temperature(args.temperature);
    if let Some(seed) = args.seed {
        generate = generate.seed(seed);
    }
    let mut stdout = std::io::stdout().lock();
    for event in generate.stream()? {
        match event? {
            Event::Finish(finish) => {
                writeln!(stdout)?;
                report(&finish);
            }
            event => {
                write!(stdout, "{}", event.text())?;
                stdout.flush()?;
            }
        }
    }
    Ok(())
}

fn report(finish: &Finish) {
    eprintln!(
        "{} prompt tokens at {:.0}/s, {} generated at {:.0}/s, first token after {:.0} ms, ended by {:?}",
        finish.usage.prompt_tokens,
        finish.prompt_tokens_per_second(),
        finish.usage.completion_tokens,
        finish.generation_tokens_per_second(),
        finish.timings.first_token.as_secs_f64() * 1000.0,
        finish.reason,
    );
}
