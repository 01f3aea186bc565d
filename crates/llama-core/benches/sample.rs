//! Measures the selection of a token from a row, alternating `llama_sampler_sample` and `RowSampler`. Prints a line
//! of JSON for each round, vocabulary and chain, for `cargo xtask bench sample`.

#![allow(clippy::print_stdout, reason = "the result goes to cargo xtask bench")]

#[path = "sample/chains.rs"]
mod chains;
#[path = "sample/context.rs"]
mod context;
#[path = "sample/rows.rs"]
mod rows;

use std::hint::black_box;
use std::time::Instant;

use chains::{CHAINS, Chain};
use context::Context;

/// The sizes of the vocabularies of SmolLM2, Qwen 2 and Gemma 3.
const VOCABULARIES: [usize; 3] = [49_152, 151_936, 262_144];
/// The number of different rows for each vocabulary.
const ROWS: u64 = 8;
/// The number of selections of each side in a round.
const CALLS: usize = 24;

fn main() {
    let rounds = std::env::args().skip_while(|argument| argument != "--rounds").nth(1);
    let rounds: usize = rounds.map_or(1, |rounds| rounds.parse().expect("--rounds takes a number"));
    let contexts: Vec<_> = VOCABULARIES.iter().map(|n_vocab| Context::new(*n_vocab)).collect();
    for round in 0..rounds {
        for context in &contexts {
            let rows: Vec<_> = (0..ROWS).map(|seed| rows::random(context.n_vocab(), seed)).collect();
            let rounded: Vec<_> = rows.iter().map(|row| rows::rounded(row)).collect();
            for chain in CHAINS {
                let rows = if chain.rounded { &rounded } else { &rows };
                let (theirs, ours) = measure(context, rows, chain);
                let (name, n_vocab) = (chain.name, context.n_vocab());
                println!(
                    "{}",
                    serde_json::json!({
                        "round": round, "chain": name, "n_vocab": n_vocab, "theirs": theirs, "ours": ours,
                    })
                );
            }
        }
    }
}

/// Returns the seconds per selection of both sides: medians of alternating single calls, on rows that were written
/// just before the call, as after a decoding.
fn measure(context: &Context, rows: &[Vec<f32>], chain: &Chain) -> (f64, f64) {
    let raw = context.chain(chain);
    let mut sampler = chain.row_sampler();
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for (call, row) in rows.iter().cycle().take(CALLS + rows.len()).enumerate() {
        context.write(row);
        let start = Instant::now();
        let their_token = black_box(raw.sample());
        let their_time = start.elapsed();
        context.write(row);
        let start = Instant::now();
        let our_token = black_box(sampler.sample_row(context.row())).expect("the row has a token");
        let our_time = start.elapsed();
        assert_eq!(their_token, our_token.get(), "{} at {}", chain.name, row.len());
        // The first pass is a warm-up.
        if call >= rows.len() {
            theirs.push(their_time.as_secs_f64());
            ours.push(our_time.as_secs_f64());
        }
    }
    (median(theirs), median(ours))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
