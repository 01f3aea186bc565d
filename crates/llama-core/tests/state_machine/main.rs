//! Random sequences of safe calls over every tiny model, beside a plain model that predicts which calls succeed,
//! which are refused and why, and which positions are in memory after each.
//!
//! A normal run has 500 sequences. `LLAMA_SEQUENCES` sets another number, as `cargo xtask test --long` does, and
//! `LLAMA_SEED` makes other sequences. To find a sequence that ends the process, `LLAMA_SEQUENCE_TRACE` prints each
//! before it runs, and `LLAMA_FIRST_SEQUENCE` skips those before it.
#![allow(clippy::print_stdout, reason = "what was tried is the result of a long run")]

mod batches;
mod machine;
mod memory;
mod outcome;
mod plan;
mod tally;
mod traits;

use std::cell::Cell;
use std::env;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use test_models::resident_bytes;

/// The number of sequences in a normal run.
const SEQUENCES: u32 = 500;
/// The bytes by which the process may grow after the first fifth of the sequences: less than a few contexts, of which
/// each sequence makes at least one. Allocators and thread stacks take their time to fill.
const GROWTH: u64 = 24 << 20;

fn number(variable: &str) -> Option<u32> {
    let value = env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{variable} is {value:?}: {error}")))
}

fn runner(cases: u32) -> TestRunner {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&number("LLAMA_SEED").unwrap_or(1).to_le_bytes());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4000, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

#[test]
fn any_calls_in_any_order() {
    let cases = number("LLAMA_SEQUENCES").unwrap_or(SEQUENCES);
    let first = number("LLAMA_FIRST_SEQUENCE").unwrap_or(0);
    let trace = env::var_os("LLAMA_SEQUENCE_TRACE").is_some();
    let (index, before) = (Cell::new(0), Cell::new(None));
    let result = runner(cases).run(&plan::plan(), |plan| {
        index.set(index.get() + 1);
        if index.get() == cases / 5 {
            before.set(resident_bytes());
        }
        if index.get() > first {
            if trace {
                println!("{} {plan:?}", index.get());
            }
            machine::run(&plan);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let text = tally::text();
    println!("{cases} sequences\n{text}");
    if let (Some(before), Some(after)) = (before.get(), resident_bytes()) {
        let grown = after.saturating_sub(before);
        println!("{} MiB resident, {} more than after a fifth", after >> 20, grown >> 20);
        assert!(grown < GROWTH, "the process took {grown} bytes more; less than {GROWTH} are allowed");
    }
    // Every call must have done its work now and then, and not only been refused.
    if first == 0 && cases >= SEQUENCES {
        assert_eq!(tally::never_fine(), Vec::<&str>::new(), "{text}");
    }
}
