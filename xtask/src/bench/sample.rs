//! `cargo xtask bench sample`: compares selecting a token by llama-core's sampler for rows and by
//! `llama_sampler_sample`.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::report::{median, put_into, spread};
use crate::setup::{self, Item};
use crate::{native, workspace};

/// Compares both, round by round, in one program, with alternating calls.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The number of rounds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Write the table into this file, between its markers.
    #[arg(long, num_args = 0..=1, value_name = "FILE", default_missing_value = "docs/benchmarks.md")]
    write: Option<PathBuf>,
}

/// A line of the program's output: the median of a round, in seconds.
#[derive(Clone, Debug, Deserialize)]
struct Measured {
    chain: String,
    n_vocab: u32,
    theirs: f64,
    ours: f64,
}

pub(super) fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Item::Pin, Item::Tools])?;
    let bench = ["bench", "-p", "llama-core", "--bench", "sample"];
    native::build("building the benchmark", workspace::cargo().args(bench).arg("--no-run"))?;
    let mut command = workspace::cargo();
    command.args(bench).args(["--", "--rounds", &args.rounds.to_string()]);
    let printed = workspace::capture(&mut command)?;
    let table = Table { rounds: args.rounds, measured: parse(&printed)?, pin: setup::pin::describe()? };
    let table = table.to_string();
    println!("{table}");
    match &args.write {
        Some(file) => put_into(&workspace::root().join(file), "cargo xtask bench sample", &table),
        None => Ok(()),
    }
}

fn parse(printed: &str) -> Result<Vec<Measured>> {
    let lines = printed.lines().filter(|line| line.starts_with('{'));
    let measured: Vec<Measured> = lines
        .map(|line| serde_json::from_str(line).with_context(|| format!("the benchmark printed {line}")))
        .collect::<Result<_>>()?;
    anyhow::ensure!(!measured.is_empty(), "the benchmark printed no figures:\n{printed}");
    Ok(measured)
}

struct Table {
    rounds: u32,
    measured: Vec<Measured>,
    pin: String,
}

impl Table {
    /// Returns chains and vocabularies in the order of measurement, each with its rounds.
    fn rows(&self) -> Vec<Vec<&Measured>> {
        let mut rows: Vec<Vec<&Measured>> = Vec::new();
        for measured in &self.measured {
            let same = |row: &&mut Vec<&Measured>| {
                row.first().is_some_and(|it| it.chain == measured.chain && it.n_vocab == measured.n_vocab)
            };
            match rows.iter_mut().find(same) {
                Some(row) => row.push(measured),
                None => rows.push(vec![measured]),
            }
        }
        rows.sort_by_key(|row| self.measured.iter().position(|it| it.chain == row[0].chain));
        rows
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "| chain | tokens | llama_sampler_sample (µs) | RowSampler (µs) | times as fast |"
        )?;
        writeln!(formatter, "|---|---:|---:|---:|---:|")?;
        for row in self.rows() {
            let microseconds = |of: fn(&Measured) -> f64| {
                let mut times: Vec<f64> = row.iter().map(|it| of(it) * 1e6).collect();
                times.sort_by(f64::total_cmp);
                median(&times)
            };
            let ratios: Vec<f64> = row.iter().map(|it| it.theirs / it.ours).collect();
            writeln!(
                formatter,
                "| {} | {} | {:.1} | {:.1} | {} |",
                row[0].chain,
                row[0].n_vocab,
                microseconds(|it| it.theirs),
                microseconds(|it| it.ours),
                spread(&ratios, 1)
            )?;
        }
        writeln!(formatter)?;
        write!(
            formatter,
            "Median (lowest to highest) of {} rounds; in each, both sampled from the same rows in turns, call by call, one \
             thread, each row written right before. llama.cpp of {}.",
            self.rounds, self.pin
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_become_rows_of_a_table() {
        let printed = r#"
            noise
{"round":0,"chain":"greedy","n_vocab":100,"theirs":1e-4,"ours":1e-5}
{"round":0,"chain":"dist","n_vocab":100,"theirs":3e-4,"ours":1e-4}
{"round":0,"chain":"greedy","n_vocab":200,"theirs":2e-4,"ours":1e-5}
{"round":1,"chain":"greedy","n_vocab":100,"theirs":3e-4,"ours":1e-5}
{"round":1,"chain":"dist","n_vocab":100,"theirs":3e-4,"ours":1e-4}
{"round":1,"chain":"greedy","n_vocab":200,"theirs":2e-4,"ours":1e-5}
"#;
        let table = Table { rounds: 2, measured: parse(printed).unwrap(), pin: "some-pin 1.0".into() };
        let text = table.to_string();
        let rows: Vec<&str> = text.lines().skip(2).take(3).collect();
        assert_eq!(
            rows,
            [
                "| greedy | 100 | 200.0 | 10.0 | 20.0 (10.0 to 30.0) |",
                "| greedy | 200 | 200.0 | 10.0 | 20.0 (20.0 to 20.0) |",
                "| dist | 100 | 300.0 | 100.0 | 3.0 (3.0 to 3.0) |",
            ]
        );
        assert!(text.contains("of 2 rounds"), "{text}");
    }

    #[test]
    fn a_program_that_says_nothing_is_an_error() {
        assert!(parse("running\n").unwrap_err().to_string().contains("no figures"));
        assert!(parse("{\"chain\":1}").is_err());
    }
}
