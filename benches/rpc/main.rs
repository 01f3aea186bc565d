//! Tokens per second of a model that is divided among servers, by the number of servers and the latency of the network.
//! Servers are processes of their own on this machine, with one thread each.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to its user")]

mod delay;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use llama_core::rpc::{RpcEndpoint, RpcServer, RpcServerParams};
use llama_core::{Batch, Context, ContextParams, Device, Model, ModelParams, Pos, SeqId, Token};

const SEQ: SeqId = SeqId::new(0);

/// Measures a model over servers with a latency.
#[derive(Parser)]
struct Args {
    /// The model: a GGUF file.
    #[arg(long, default_value = "target/models/SmolLM2-135M-Instruct.Q4_1.gguf")]
    model: PathBuf,
    /// The numbers of servers. 0 means the CPU of this process.
    #[arg(long, value_delimiter = ',', default_value = "0,1,2,3")]
    servers: Vec<usize>,
    /// The times in milliseconds that a message and its answer take on the way.
    #[arg(long, value_delimiter = ',', default_value = "0,1,10")]
    latency: Vec<u64>,
    /// Tokens of the prompt.
    #[arg(long, default_value_t = 128)]
    prompt: usize,
    /// Tokens that are generated.
    #[arg(long, default_value_t = 32)]
    tokens: usize,
    /// Measurements of each kind, of which the best is shown: other programs can only make it slower.
    #[arg(long, default_value_t = 9)]
    repeat: usize,
    /// Pass messages without a latency through the proxy too: the difference is the cost of one hop on this machine, of which
    /// the relay is another.
    #[arg(long)]
    always_proxy: bool,
    /// Serve, and print the address.
    #[arg(long, hide = true)]
    serve: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.serve {
        return serve();
    }
    println!("| servers | latency | prompt tokens/s | generated tokens/s |");
    println!("|---:|---:|---:|---:|");
    for n_servers in &args.servers {
        for latency in &args.latency {
            if *n_servers == 0 && *latency > 0 {
                continue;
            }
            let (prompt, generated) = measure(&args, *n_servers, Duration::from_millis(*latency))?;
            println!("| {n_servers} | {latency} ms | {prompt:.0} | {generated:.1} |");
        }
    }
    Ok(())
}

fn serve() -> Result<()> {
    let cpu = Device::cpu().context("there is no CPU backend")?;
    let server = RpcServer::start(&RpcServerParams::default().devices([cpu]).n_threads(1))?;
    println!("{}", server.address());
    std::io::stdout().flush()?;
    Ok(server.wait()?)
}

/// A server in a process of its own, which ends with the value.
struct Program(Child);

impl Program {
    fn start() -> Result<(Self, SocketAddr)> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("--serve").stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("the output is a pipe")?;
        let program = Self(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok((program, line.trim().parse().context("the server did not start")?))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the best numbers of tokens per second, of the prompt and of the generated ones.
fn measure(args: &Args, n_servers: usize, latency: Duration) -> Result<(f64, f64)> {
    let started = (0..n_servers).map(|_| Program::start()).collect::<Result<Vec<_>>>()?;
    let mut devices = Vec::new();
    for (_, address) in &started {
        let is_direct = latency.is_zero() && !args.always_proxy;
        let address = if is_direct { *address } else { delay::start(*address, latency)? };
        devices.extend_from_slice(RpcEndpoint::connect(&address.to_string())?.devices());
    }
    let model = load(&args.model, devices)?;
    let n_ctx = u32::try_from(args.prompt + args.tokens)?;
    let mut context = Context::new(&model, &ContextParams::default().n_ctx(n_ctx).n_threads(1))?;
    context.warm_up()?;
    let (mut prompt, mut generated) = (Duration::MAX, Duration::MAX);
    for _ in 0..args.repeat {
        let times = generate(&mut context, args)?;
        (prompt, generated) = (prompt.min(times.0), generated.min(times.1));
    }
    let rate = |tokens: usize, time: Duration| {
        Ok::<_, anyhow::Error>(f64::from(u32::try_from(tokens)?) / time.as_secs_f64())
    };
    Ok((rate(args.prompt, prompt)?, rate(args.tokens, generated)?))
}

fn load(path: &Path, devices: Vec<Device>) -> Result<Model> {
    let split = vec![1.0; devices.len()];
    Ok(Model::load(path, &ModelParams::default().devices(devices).tensor_split(split))?)
}

/// Decodes a prompt and generates tokens in an empty sequence. Returns the times of both.
fn generate(context: &mut Context, args: &Args) -> Result<(Duration, Duration)> {
    context.memory().seq_rm(SEQ, ..)?;
    let prompt = (0..args.prompt).map(|index| Ok(Token::new(i32::try_from(100 + index)?)));
    let prompt: Vec<Token> = prompt.collect::<Result<_>>()?;
    let mut batch = Batch::new();
    batch.push_prompt(&prompt, SEQ, Pos::new(0))?;
    let started = Instant::now();
    context.decode(&batch)?;
    let mut token = context.logits(batch.last_output())?.argmax();
    let read = started.elapsed();
    let started = Instant::now();
    for index in 0..args.tokens {
        batch.clear();
        batch.push(token, Pos::new(i32::try_from(args.prompt + index)?), &[SEQ], true)?;
        context.decode(&batch)?;
        token = context.logits(0)?.argmax();
    }
    Ok((read, started.elapsed()))
}
