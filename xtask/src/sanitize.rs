//! `cargo xtask sanitize`: runs the tests under the address, leak and thread sanitizers and under valgrind.

mod compiler;
mod run;
mod standard_library;
mod suites;
mod tool;
mod topics;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use self::run::{Ending, Verdict};
use self::suites::{Choice, Suite};
use self::tool::{Plan, Tool};
use crate::progress::{self, Step};
use crate::setup;

/// Runs the tests under sanitizers and valgrind, and prints the outcome of each suite. Findings fail the command.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The tools to run them under; all of them when none is named.
    #[arg(value_enum, value_name = "TOOL")]
    tools: Vec<Tool>,
    /// Only suites whose name, such as `llama-core/decode`, contains this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// The most minutes for one suite.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
}

/// A line of the table.
struct Row {
    tool: Tool,
    of: String,
    ending: Ending,
    time: Duration,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(setup::ALL)?;
    let tools = if args.tools.is_empty() { &Tool::ALL } else { args.tools.as_slice() };
    let mut rows = Vec::new();
    for tool in tools {
        under(*tool, args, &mut rows)?;
    }
    println!("{}", table(&rows));
    verdict(&rows)
}

fn under(tool: Tool, args: &Args, rows: &mut Vec<Row>) -> Result<()> {
    let mut row = |of: &str, verdict, note: String, time| {
        let ending = Ending { verdict, note };
        eprintln!("{}: {of}: {}: {}", tool.name(), verdict.name(), ending.note);
        rows.push(Row { tool, of: of.to_owned(), ending, time });
    };
    let plan = match tool.plan()? {
        Ok(plan) => plan,
        Err(missing) => {
            row("everything", Verdict::Skipped, missing, Duration::ZERO);
            return Ok(());
        }
    };
    for remark in &plan.remarks {
        row(remark.of, Verdict::Remark, remark.text.clone(), Duration::ZERO);
    }
    let started = Instant::now();
    let suites = match suites::build(&plan) {
        Ok(suites) => suites,
        Err(error) => {
            row("the build", Verdict::Broken, format!("{error:#}"), started.elapsed());
            return Ok(());
        }
    };
    let wanted = |suite: &&Suite| args.only.as_ref().is_none_or(|text| suite.title.contains(text.as_str()));
    for suite in suites.iter().filter(wanted) {
        let started = Instant::now();
        match suite.choice(tool) {
            Choice::Skip(reason) => row(&suite.title, Verdict::Skipped, reason.to_owned(), Duration::ZERO),
            Choice::Run(skips) => {
                let Ending { verdict, note } = one(&plan, suite, &skips, args.minutes)?;
                let note = format!("{note}{}", left_out(&skips));
                row(&suite.title, verdict, note, started.elapsed());
            }
        }
    }
    Ok(())
}

/// Returns the tests that a suite left out, by reason.
fn left_out(skips: &[&suites::Skip]) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for skip in skips {
        match reasons.iter_mut().find(|(reason, _)| *reason == skip.reason) {
            Some((_, tests)) => tests.push(skip.test),
            None => reasons.push((skip.reason, vec![skip.test])),
        }
    }
    reasons.iter().map(|(reason, tests)| format!("; not `{}`: {reason}", tests.join("`, `"))).collect()
}

fn one(plan: &Plan, suite: &Suite, skips: &[&'static suites::Skip], minutes: u64) -> Result<Ending> {
    let step = Step::spinner(format!("{} under `{}`", suite.title, plan.tool.name()));
    let ending = run::run(plan, suite, skips, Duration::from_secs(60 * minutes))?;
    step.done(ending.verdict.name());
    Ok(ending)
}

fn table(rows: &[Row]) -> String {
    let head = "| under | suite | result | note | time |\n|---|---|---|---|---:|".to_owned();
    let line = |row: &Row| {
        let (result, time) = (row.ending.verdict.name(), progress::duration(row.time));
        format!(
            "| {} | {} | {result} | {} | {time} |",
            row.tool.name(),
            row.of,
            row.ending.note.replace('\n', " ")
        )
    };
    std::iter::once(head).chain(rows.iter().map(line)).collect::<Vec<_>>().join("\n")
}

/// Fails for findings and failures, and for a run in which no test could be run.
fn verdict(rows: &[Row]) -> Result<()> {
    let bad: Vec<String> = rows
        .iter()
        .filter(|row| row.ending.verdict.is_bad())
        .map(|row| format!("{} ({})", row.of, row.tool.name()))
        .collect();
    if !bad.is_empty() {
        bail!("not clean: {}", bad.join(", "));
    }
    if !rows.iter().any(|row| row.ending.verdict == Verdict::Clean) {
        bail!("nothing was run: the table above says why");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(verdict: Verdict) -> Row {
        let ending = Ending { verdict, note: "a\nb".to_owned() };
        Row { tool: Tool::Leak, of: "p/s".to_owned(), ending, time: Duration::from_secs(2) }
    }

    #[test]
    fn findings_fail_and_skips_alone_do_not_pass() {
        assert!(verdict(&[row(Verdict::Clean), row(Verdict::Skipped), row(Verdict::Remark)]).is_ok());
        assert_eq!(
            verdict(&[row(Verdict::Clean), row(Verdict::Findings)]).unwrap_err().to_string(),
            "not clean: p/s (leak)"
        );
        let error = verdict(&[row(Verdict::Skipped)]).unwrap_err().to_string();
        assert!(error.starts_with("nothing was run"), "{error}");
    }

    #[test]
    fn skips_are_lines_of_the_table() {
        let table = table(&[row(Verdict::Skipped)]);
        assert!(table.ends_with("\n| leak | p/s | SKIPPED | a b | 2.0 s |"), "{table}");
    }
}
