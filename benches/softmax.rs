//! Measures log-probabilities from rows as long as the vocabularies of SmolLM2, Qwen 2 and Gemma 3, with vector
//! instructions and logit by logit, as in earlier versions. Criterion measures each; the ratios at the end are of
//! alternating calls.

#![allow(missing_docs, reason = "criterion's macros make items without docs")]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group};
use llama_core::sampler::Choice;
use llama_core::{Logits, SamplerChain, Token};

const VOCABULARIES: [usize; 3] = [49_152, 151_936, 262_144];
/// The number of alternating calls of each side.
const CALLS: usize = 200;

/// Returns a row with a few likely tokens.
fn row(n_vocab: usize) -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f32::from(u16::try_from(state >> 48).unwrap_or(0)) / 65_536.0
    };
    (0..n_vocab).map(|_| uniform() * 8.0 - 6.0 + 16.0 * uniform().powi(24)).collect()
}

/// Computes the log-probability of one logit by a sum over single logits.
fn plain(row: &[f32], logit: f32) -> f32 {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 =
        row.iter().filter(|logit| !logit.is_nan()).map(|logit| f64::from((logit - max).exp())).sum();
    #[allow(clippy::cast_possible_truncation, reason = "as it was")]
    let log_sum = sum.ln() as f32;
    logit - max - log_sum
}

/// A name, and the measured function.
type Way<'r> = (&'static str, Box<dyn FnMut() -> f32 + 'r>);

/// Returns the measured functions, each on this row.
fn ways(row: &[f32]) -> [Way<'_>; 4] {
    let logits = Logits::from_slice(row);
    let (mut values, mut top) = (Vec::new(), Vec::new());
    let chain = SamplerChain::builder().top_k(40).top_p(0.95).min_p(0.05).temperature(0.8).dist(42);
    let mut sampler = chain.build_row().expect("the default chain for rows");
    let mut choice = Choice::default();
    [
        ("log_probability", Box::new(move || logits.log_probability(Token::new(1)).unwrap_or(0.0))),
        (
            "log_softmax",
            Box::new(move || {
                logits.log_softmax(&mut values);
                values[1]
            }),
        ),
        (
            "top_k 10",
            Box::new(move || {
                logits.top_k(10, &mut top);
                top[0].1
            }),
        ),
        (
            "RowSampler::choose, 10",
            Box::new(move || {
                sampler.choose(row, 10, &mut choice).expect("the row has a token");
                choice.log_probability
            }),
        ),
    ]
}

fn softmax(criterion: &mut Criterion) {
    for n_vocab in VOCABULARIES {
        let row = row(n_vocab);
        let mut group = criterion.benchmark_group(format!("softmax of {n_vocab}"));
        group.bench_function("logit by logit", |bencher| bencher.iter(|| plain(black_box(&row), row[1])));
        for (name, mut way) in ways(&row) {
            group.bench_function(name, |bencher| bencher.iter(&mut way));
        }
        group.finish();
    }
}

/// Prints medians of alternating calls.
fn ratios() {
    println!("| logits | | µs | logit by logit, µs | times as fast |\n|---:|---|---:|---:|---:|");
    for n_vocab in VOCABULARIES {
        let row = row(n_vocab);
        for (name, mut way) in ways(&row) {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..CALLS {
                let start = Instant::now();
                black_box(plain(black_box(&row), row[1]));
                theirs.push(start.elapsed().as_secs_f64() * 1e6);
                let start = Instant::now();
                black_box(way());
                ours.push(start.elapsed().as_secs_f64() * 1e6);
            }
            let (ours, theirs) = (median(ours), median(theirs));
            println!("| {n_vocab} | `{name}` | {ours:.1} | {theirs:.1} | {:.1} |", theirs / ours);
        }
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

criterion_group!(benches, softmax);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    ratios();
}
