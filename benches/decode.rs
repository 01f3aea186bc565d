//! Measures the decode loop of `llama-core` as `llama-bench` measures llama.cpp's: a prompt of random tokens, then
//! single tokens, each after a warm-up, in an empty context. Prints one line of JSON.

#![allow(clippy::print_stdout, reason = "the result goes to cargo xtask bench")]

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use llama_core::{Batch, Context, ContextParams, Model, ModelParams, Pos, SeqId, Token};

const SEQUENCE: SeqId = SeqId::new(0);

#[derive(Parser)]
struct Args {
    /// A GGUF file.
    #[arg(long)]
    model: PathBuf,
    /// The number of tokens of the prompt.
    #[arg(long, default_value_t = 512)]
    pp: u32,
    /// The number of tokens to generate.
    #[arg(long, default_value_t = 64)]
    tg: u32,
    /// The number of CPU threads.
    #[arg(long)]
    threads: u32,
    /// Accepted for clarity in scripts; the output is always JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let _ = args.json;
    let model = Model::load(&args.model, &ModelParams::default())?;
    let pp_tps = prompt(&model, &args)?;
    let tg_tps = generation(&model, &args)?;
    println!("{}", serde_json::json!({ "pp_tps": pp_tps, "tg_tps": tg_tps }));
    Ok(())
}

fn context(model: &Model, args: &Args, n_ctx: u32) -> anyhow::Result<Context> {
    let params = ContextParams::default().n_ctx(n_ctx).n_batch(2048).n_ubatch(512).n_threads(args.threads);
    Ok(Context::new(model, &params)?)
}

/// Returns tokens without meaning, the same in each run. Their values do not change the time.
fn tokens(model: &Model, count: u32) -> anyhow::Result<Vec<Token>> {
    let n_vocab = u32::try_from(model.vocab().n_tokens())?;
    (0..count).map(|index| Ok(Token::new(i32::try_from((index * 7919) % n_vocab)?))).collect()
}

fn prompt(model: &Model, args: &Args) -> anyhow::Result<f64> {
    let mut context = context(model, args, args.pp)?;
    let tokens = tokens(model, args.pp)?;
    let mut batch = Batch::with_capacity(tokens.len());
    let mut seconds = 0.0;
    for _ in ["warm-up", "measured"] {
        context.memory().clear(false)?;
        let start = Instant::now();
        batch.clear();
        batch.push_prompt(&tokens, SEQUENCE, Pos::new(0))?;
        context.decode(&batch)?;
        context.synchronize()?;
        seconds = start.elapsed().as_secs_f64();
    }
    Ok(f64::from(args.pp) / seconds)
}

fn generation(model: &Model, args: &Args) -> anyhow::Result<f64> {
    let mut context = context(model, args, args.tg)?;
    let tokens = tokens(model, args.tg)?;
    let mut batch = Batch::with_capacity(1);
    let mut step = |context: &mut Context, index: usize| -> anyhow::Result<()> {
        batch.clear();
        batch.push(tokens[index], Pos::new(i32::try_from(index)?), &[SEQUENCE], true)?;
        context.decode(&batch)?;
        context.synchronize()?;
        Ok(())
    };
    step(&mut context, 0)?;
    context.memory().clear(false)?;
    let start = Instant::now();
    for index in 0..tokens.len() {
        step(&mut context, index)?;
    }
    Ok(f64::from(args.tg) / start.elapsed().as_secs_f64())
}
