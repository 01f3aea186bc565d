//! A model over several machines. On each machine that lends its devices:
//! `cargo run --features rpc --example distributed -- serve 0.0.0.0:50052 --other-machines`, and on the one with the model:
//! `cargo run --features rpc --example distributed -- run model.gguf "Once upon a time" --server 192.168.1.20:50052`.
//!
//! Without `--server`, `run` starts two servers on this machine, each in a process of its own.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to its user")]

use std::env;
use std::io::{BufRead as _, BufReader, Write as _, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use clap::Parser;
use llama_core::rpc::{RpcEndpoint, RpcServer, RpcServerParams};
use llama_core::{Device, ModelParams};
use llama_gen::Llama;

#[derive(Parser)]
enum Args {
    /// Lends this machine's GPUs, or its CPU if it has none.
    Serve {
        /// The address to listen on; port 0 means any free one.
        #[arg(default_value = "127.0.0.1:0")]
        address: SocketAddr,
        /// Allow an address that other machines can reach. Whoever reaches it can take over the process.
        #[arg(long)]
        other_machines: bool,
        /// The number of CPU threads.
        #[arg(long)]
        threads: Option<u32>,
    },
    /// Continues a text with a model over the servers.
    Run {
        /// A GGUF file.
        model: PathBuf,
        /// The text to continue.
        prompt: String,
        /// The address of a server, `host:port`; may be given several times.
        #[arg(long)]
        server: Vec<String>,
        /// The number of layers on the servers; the CPU has the rest.
        #[arg(long)]
        layers: Option<u32>,
        /// The most tokens to generate.
        #[arg(long, default_value_t = 64)]
        max_tokens: u32,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse() {
        Args::Serve { address, other_machines, threads } => serve(address, other_machines, threads),
        Args::Run { model, prompt, server, layers, max_tokens } => {
            // They end together with this function.
            let own = if server.is_empty() { vec![Program::start()?, Program::start()?] } else { Vec::new() };
            let addresses = own.iter().map(|program| program.address.clone()).chain(server);
            let mut devices = Vec::new();
            for address in addresses {
                devices.extend_from_slice(RpcEndpoint::connect(&address)?.devices());
            }
            run(model, prompt, devices, layers, max_tokens)
        }
    }
}

fn serve(address: SocketAddr, other_machines: bool, threads: Option<u32>) -> anyhow::Result<()> {
    let mut params = RpcServerParams::default().address(address).other_machines(other_machines);
    if let Some(threads) = threads {
        params = params.n_threads(threads);
    }
    let server = RpcServer::start(&params)?;
    println!("{}", server.address());
    stdout().flush()?;
    Ok(server.wait()?)
}

fn run(
    model: PathBuf,
    prompt: String,
    devices: Vec<Device>,
    layers: Option<u32>,
    max_tokens: u32,
) -> anyhow::Result<()> {
    let params = ModelParams::default().devices(devices).n_gpu_layers(layers);
    let llm = Llama::builder(model).model_params(params).load()?;
    print!("{prompt}");
    for event in llm.generate(prompt).max_tokens(max_tokens).temperature(0.0).stream()? {
        let event = event?;
        print!("{}", event.text());
        stdout().flush()?;
        if let llama_gen::Event::Finish(finish) = event {
            println!();
            for part in finish.memory.devices {
                eprintln!("{}: {} bytes of weights", part.device.description(), part.weights);
            }
        }
    }
    Ok(())
}

/// A server in a process of its own, which ends with the value.
struct Program {
    child: Child,
    address: String,
}

impl Program {
    fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        let mut child = command.args(["serve", "--threads", "1"]).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("the output is a pipe")?;
        let mut program = Self { child, address: String::new() };
        BufReader::new(output).read_line(&mut program.address)?;
        program.address = program.address.trim().to_owned();
        anyhow::ensure!(!program.address.is_empty(), "the server did not start");
        Ok(program)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
