//! The run of the chosen rows.

use std::env;
use std::fs;
use std::time::Instant;

use anyhow::Result;

use super::outcome::{Ending, Judgement, Outcome, Run};
use super::report::Report;
use super::row::{Row, Suite};
use super::rows::ROWS;
use super::{command, demo, machine, outcome, outside, report};

/// The number of lines of a failed row's log that are shown.
const SHOWN_OF_LOG: usize = 40;

/// Runs the rows one after the other, and keeps each outcome as soon as it is known. With `write` it is in the document, too.
pub(super) fn run(rows: &[&Row], build_only: bool, write: bool) -> Result<Report<'static>> {
    let words: Vec<String> = env::args().skip(1).map(quoted).collect();
    let mut report = Report { rows: ROWS, outcomes: Vec::new(), earlier: report::earlier()? };
    let run = Run {
        command: format!("cargo xtask {}", words.join(" ")),
        date: machine::today(),
        made_with: machine::describe()?,
    };
    for row in rows {
        eprintln!("==> {} (about {} min with an empty cache)", row.name, row.minutes);
        let started = Instant::now();
        let (judgement, log) = run_row(row, build_only);
        let outcome = Outcome {
            name: row.name.to_owned(),
            result: judgement.result,
            note: report::without_root(&judgement.note),
            tests: judgement.tests,
            text: judgement.text,
            seconds: started.elapsed().as_secs(),
            log,
            run: run.clone(),
        };
        eprintln!("    {}: {}", outcome.result.word(), outcome.note);
        report::save(&outcome)?;
        report.outcomes.push(outcome);
        if write {
            report.write()?;
        }
    }
    Ok(report)
}

/// Runs one row, and returns the judgement and the log. Whatever goes wrong ends only this row.
fn run_row(row: &Row, build_only: bool) -> (Judgement, Option<String>) {
    let missing: Vec<String> = row.needs.iter().filter_map(|need| need.missing()).collect();
    if !missing.is_empty() {
        return (Judgement::new(Ending::Skipped, missing.join("; ")), None);
    }
    // The log of an earlier run. It is missing before the first.
    let _ = fs::remove_file(command::log(row));
    match run_commands(row, build_only) {
        Ok(judgement) => (judgement, Some(report::shown(&command::log(row)))),
        Err(error) => {
            let text = format!("{error:#}");
            eprintln!("{}", end_of(&text));
            let log = command::log_error(row, &text).map(|log| report::shown(&log)).ok();
            (Judgement::new(Ending::Failed, text.lines().next().unwrap_or_default()), log)
        }
    }
}

/// Runs the row's suite and then, if it passes, the demo.
fn run_commands(row: &Row, build_only: bool) -> Result<Judgement> {
    let environment = command::environment(row)?;
    let run = match &row.suite {
        Suite::Outside(surroundings) => outside::run(row, surroundings, &environment)?,
        Suite::TwoVersions(_) => outside::two_versions(row)?,
        _ => command::run(row, &environment, build_only)?,
    };
    let mut judgement = outcome::judge(row, build_only, run.success, &run.text);
    match judgement.result {
        Ending::Failed => eprintln!("{}", end_of(&run.text)),
        Ending::Run if demo::has_one(row) => judgement.text = Some(demo::run(row, &environment)?),
        _ => {}
    }
    Ok(judgement)
}

/// Returns the last lines of a log.
fn end_of(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_OF_LOG)..].join("\n")
}

fn quoted(word: String) -> String {
    if word.contains(' ') { format!("{word:?}") } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_shown() {
        let log: String = (0..100).map(|line| format!("{line}\n")).collect();
        assert!(end_of(&log).starts_with("60\n") && end_of(&log).ends_with("\n99"));
        assert_eq!(end_of("one\n"), "one");
    }

    #[test]
    fn a_row_that_lacks_a_need_starts_no_command() {
        use super::super::row::{Need, Probe, Suite};
        const NEED: Need =
            Need { name: "a thing", debian: &[], items: &[], probe: Probe::PkgConfig("no-such-package") };
        let row = Row::new("lacks a need", "", Suite::Test("no-such-crate"), 1).needs(&[&NEED]);
        let (judgement, log) = run_row(&row, false);
        assert_eq!(judgement, Judgement::new(Ending::Skipped, "pkg-config knows no package no-such-package"));
        assert_eq!(log, None);
    }
}
