//! Runs greedy steps through one layer, for `cargo xtask overhead`. Prints the size of the vocabulary and the tokens.

#![allow(clippy::print_stdout, reason = "the result goes to cargo xtask overhead")]

mod choice;
mod through_core;
mod through_sys;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

#[derive(Parser)]
struct Args {
    /// A GGUF file.
    #[arg(long)]
    model: PathBuf,
    /// The layer of the steps.
    #[arg(long)]
    layer: Layer,
    /// The number of steps.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..1024))]
    steps: i32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Layer {
    /// The safe crate.
    Core,
    /// The safe crate, with its own choice of the largest logit.
    Argmax,
    /// The C API, with a reused batch object.
    Sys,
    /// The C API, with `llama_decode`.
    Arrays,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut tokens = Vec::with_capacity(usize::try_from(args.steps)?);
    let n_vocab = match args.layer {
        Layer::Sys | Layer::Arrays => {
            let mut sys = through_sys::Sys::new(&args.model)?;
            match args.layer {
                Layer::Arrays => sys.steps_through_arrays(args.steps, &mut tokens)?,
                _ => sys.steps_through_sys(args.steps, &mut tokens)?,
            }
            sys.n_vocab()
        }
        Layer::Core | Layer::Argmax => {
            let mut core = through_core::Core::new(&args.model)?;
            match args.layer {
                Layer::Argmax => core.steps_with_argmax(args.steps, &mut tokens)?,
                _ => core.steps_through_core(args.steps, &mut tokens)?,
            }
            core.n_vocab()
        }
    };
    let tokens: Vec<String> = tokens.iter().map(i32::to_string).collect();
    println!("{n_vocab}: {}", tokens.join(" "));
    Ok(())
}
