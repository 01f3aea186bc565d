//! The workspace's tasks, one file per command: `cargo xtask <command>`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to its user")]

mod bench;
mod codegen;
mod demo;
mod docs;
mod fuzz;
mod matrix;
mod native;
mod overhead;
mod pack;
mod progress;
mod sanitize;
mod setup;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of this workspace. Each one sets up what it needs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Bench(bench::Args),
    Codegen(codegen::Args),
    Demo(demo::Args),
    Docs(docs::Args),
    Fuzz(fuzz::Args),
    Matrix(matrix::Args),
    Overhead(overhead::Args),
    Pack(pack::Args),
    Sanitize(sanitize::Args),
    Setup(setup::Args),
    Test(test::Args),
    Tidy(tidy::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Bench(args) => bench::run(&args),
        Command::Codegen(args) => codegen::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Docs(args) => docs::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Matrix(args) => matrix::run(&args),
        Command::Overhead(args) => overhead::run(&args),
        Command::Pack(args) => pack::run(&args),
        Command::Sanitize(args) => sanitize::run(&args),
        Command::Setup(args) => setup::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Tidy(args) => tidy::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}
