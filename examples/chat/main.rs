//! A chat bot for the terminal: `cargo run --release -p llama-examples --example chat -- model.gguf`.
//!
//! Lines can be edited and recalled with the arrow keys. Ctrl-C ends an answer, and at an empty line the program.

#![allow(clippy::print_stdout, reason = "a command-line program talks to its user")]

mod command;

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Parser;
use llama_gen::chat::{Chat, ChatEvent, Reply};
use llama_gen::{CancelToken, Llama};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use command::{Command, Then};

#[derive(Parser)]
#[command(about = "Chats with a model.")]
struct Args {
    /// A GGUF file.
    model: PathBuf,
    /// The system message before the conversation.
    #[arg(long)]
    system: Option<String>,
    /// A saved conversation.
    #[arg(long)]
    load: Option<PathBuf>,
    /// The size of the context: prompt and answers together, in tokens.
    #[arg(long, default_value_t = 4096)]
    n_ctx: u32,
    /// The number of CPU threads; by default the processors of the machine.
    #[arg(long)]
    n_threads: Option<u32>,
    /// 0 always takes the most likely token; by default the model's own recommendation.
    #[arg(long)]
    temperature: Option<f32>,
    /// The most tokens of an answer.
    #[arg(long)]
    max_tokens: Option<u32>,
}

/// The token that cancels the current answer.
type Running = Arc<Mutex<CancelToken>>;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut chat = start(&args)?;
    let running = Running::default();
    let on_interrupt = Arc::clone(&running);
    ctrlc::set_handler(move || lock(&on_interrupt).cancel())?;
    println!("/help shows the commands");
    let mut editor = DefaultEditor::new()?;
    loop {
        let line = match editor.readline("> ") {
            Ok(line) => line,
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => break,
            Err(error) => return Err(error.into()),
        };
        if line.trim().is_empty() {
            continue;
        }
        editor.add_history_entry(&line)?;
        let then = match Command::parse(&line) {
            Ok(None) => Then::Ask(line),
            Ok(Some(command)) => match command.run(&mut chat) {
                Ok(then) => then,
                Err(error) => Then::Say(error.to_string()),
            },
            Err(reason) => Then::Say(reason),
        };
        match then {
            Then::Ask(question) => {
                // A question that cannot be answered is not part of the conversation, which continues.
                if let Err(error) = answer(&mut chat, &question, &running) {
                    println!("\n{error}");
                }
            }
            Then::Say(text) => println!("{text}"),
            Then::Quit => break,
        }
    }
    Ok(())
}

fn start(args: &Args) -> anyhow::Result<Chat> {
    let mut llm = Llama::builder(&args.model).n_ctx(args.n_ctx);
    if let Some(n_threads) = args.n_threads {
        llm = llm.n_threads(n_threads);
    }
    let llm = llm.load()?;
    if let Some(path) = &args.load {
        return Ok(Chat::load(&llm, path)?);
    }
    let mut chat = llm.chat();
    if let Some(system) = &args.system {
        chat = chat.system(system);
    }
    if let Some(temperature) = args.temperature {
        chat = chat.temperature(temperature);
    }
    if let Some(max_tokens) = args.max_tokens {
        chat = chat.max_tokens(max_tokens);
    }
    Ok(chat.start()?)
}

/// Shows an answer while it streams.
fn answer(chat: &mut Chat, question: &str, running: &Running) -> anyhow::Result<()> {
    let cancel = CancelToken::new();
    lock(running).clone_from(&cancel);
    let mut thinks = false;
    for event in chat.turn(question).cancel_token(&cancel).stream()? {
        match event? {
            ChatEvent::Reasoning(text) => {
                print!("{}{text}", if thinks { "" } else { "[thinks] " });
                thinks = true;
            }
            ChatEvent::Text(text) => {
                print!("{}{text}", if thinks { "\n[says] " } else { "" });
                thinks = false;
            }
            ChatEvent::Finish(reply) => println!("\n{}", summary(&reply)),
            _ => {}
        }
        stdout().flush()?;
    }
    Ok(())
}

fn summary(reply: &Reply) -> String {
    let (usage, finish) = (reply.finish.usage, &reply.finish);
    let speed = finish.generation_tokens_per_second();
    let problem = reply.problem.as_deref().map(|problem| format!(", {problem}")).unwrap_or_default();
    format!(
        "[{} tokens in memory, {} read, {} written at {speed:.1}/s, {:?}{problem}]",
        usage.reused_tokens, usage.evaluated_tokens, usage.completion_tokens, finish.reason
    )
}

fn lock(running: &Running) -> std::sync::MutexGuard<'_, CancelToken> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
