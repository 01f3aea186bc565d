//! `cargo xtask matrix`: builds and runs every set of features where the toolchain exists, and otherwise skips it
//! with the reason.

mod command;
mod demo;
mod left_out;
mod libraries;
mod machine;
mod needs;
mod outcome;
mod outside;
pub(crate) mod packed;
mod report;
mod row;
mod rows;
mod running;
mod standard_library;
pub(crate) mod workflow;

use anyhow::{Result, bail};

pub(crate) use self::command::search_first;
pub(crate) use self::libraries::installed as installed_library;
use self::outcome::{Ending, Outcome};
use self::row::Row;
use self::rows::ROWS;
use crate::setup::{self, Item};

/// Builds and tests each set of features, and reports which were built, run or skipped, and why.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the row with this name, or the rows whose names contain this; may be given several times.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Also the rows that otherwise run only by name.
    #[arg(long, conflicts_with = "only")]
    all: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Write docs/matrix.md. Rows that do not run keep their last result.
    #[arg(long)]
    write: bool,
    /// Build the tests and do not run them.
    #[arg(long)]
    build_only: bool,
    /// Fail when a row is skipped.
    #[arg(long)]
    strict: bool,
    /// Only print the rows: name, expected minutes, needs.
    #[arg(long, group = "instead")]
    list: bool,
    /// Only set up what the rows need, and name the packages of Debian for the rest.
    #[arg(long, group = "instead")]
    setup: bool,
    /// Only write the workflow of .github from the rows.
    #[arg(long, group = "instead", conflicts_with = "only")]
    workflow: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let rows = select(ROWS, &args.only, args.all || args.list)?;
    if args.list {
        println!("{}", list(&rows));
        return Ok(());
    }
    if args.workflow {
        return workflow::write();
    }
    if args.setup {
        return set_up(&rows);
    }
    setup::ensure(&items(rows.iter().flat_map(|row| row.inputs())))?;
    let report = running::run(&rows, args.build_only, args.write)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report.outcomes)?);
    } else {
        println!("{}", report::table(&report.outcomes));
    }
    verdict(&report.outcomes, args.strict)
}

/// Fails when a row failed, or, if `strict`, when one was skipped.
fn verdict(outcomes: &[Outcome], strict: bool) -> Result<()> {
    let names = |result| {
        let ended = outcomes.iter().filter(|outcome| outcome.result == result);
        ended.map(|outcome| outcome.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (failed, skipped) = (names(Ending::Failed), names(Ending::Skipped));
    if !failed.is_empty() {
        bail!("these rows failed: {failed}");
    }
    if strict && !skipped.is_empty() {
        bail!("these rows were skipped, but with --strict every row must run: {skipped}");
    }
    Ok(())
}

/// Whether a row is built with this feature.
pub(crate) fn has_feature(feature: &str) -> bool {
    ROWS.iter().any(|row| row.has_feature(feature))
}

/// Returns the rows to run: those that `only` names, or else all that do not run only by name.
fn select<'r>(rows: &'r [Row], only: &[String], all: bool) -> Result<Vec<&'r Row>> {
    if only.is_empty() {
        return Ok(rows.iter().filter(|row| all || !row.by_name).collect());
    }
    for text in only {
        if !rows.iter().any(|row| row.name.contains(text.as_str())) {
            bail!(
                "no row's name contains {text:?}, but --only must name one: `cargo xtask matrix --list` prints them"
            );
        }
    }
    // A whole name means its row, though it may be part of other names.
    let names = |row: &Row, text: &str| {
        let is_name = rows.iter().any(|row| row.name == text);
        if is_name { row.name == text } else { row.name.contains(text) }
    };
    Ok(rows.iter().filter(|row| only.iter().any(|text| names(row, text))).collect())
}

fn list(rows: &[&Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    let line = |row: &&Row| {
        let by_name = if row.by_name { ", only by name" } else { "" };
        let needs = row.need_names();
        format!("{:width$}  {:>3} min{by_name}  {needs}", row.name, row.minutes).trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Sets up what can be had without root, and names the packages for the rest.
fn set_up(rows: &[&Row]) -> Result<()> {
    let needs = || rows.iter().flat_map(|row| row.needs);
    setup::ensure(&items(
        rows.iter().flat_map(|row| row.inputs()).chain(needs().flat_map(|need| need.items)),
    ))?;
    let remaining = remaining(rows);
    if remaining.is_empty() {
        eprintln!("the rows need nothing else");
    }
    for (name, packages) in remaining {
        println!("{name}: {packages}");
    }
    Ok(())
}

/// Returns the rows with needs that setup does not bring, and how to get these.
fn remaining(rows: &[&Row]) -> Vec<(&'static str, String)> {
    let of_row = |row: &&Row| {
        let needs = row.needs.iter().filter(|need| need.items.is_empty()).filter_map(|need| need.remains());
        let needs = needs.collect::<Vec<_>>().join("; ");
        (!needs.is_empty()).then_some((row.name, needs))
    };
    rows.iter().filter_map(of_row).collect()
}

/// Returns each item once.
fn items<'i>(items: impl Iterator<Item = &'i Item>) -> Vec<Item> {
    let mut once = Vec::new();
    for item in items {
        if !once.contains(item) {
            once.push(*item);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use super::outcome::Run;
    use super::row::Suite;
    use super::*;

    const THREE: [Row; 3] = [
        Row::new("cuda", "--features cuda", Suite::Build("p", "no device"), 75)
            .needs(&[&needs::ROCM])
            .by_name(),
        Row::new("cuda with hip", "", Suite::Refuse("no"), 1),
        Row::new("plain", "", Suite::Test("p"), 5),
    ];

    fn names(only: &[&str], all: bool) -> Vec<&'static str> {
        let only: Vec<String> = only.iter().map(|text| (*text).to_owned()).collect();
        select(&THREE, &only, all).unwrap().iter().map(|row| row.name).collect()
    }

    #[test]
    fn rows_are_chosen_by_name_or_part_of_it() {
        assert_eq!(names(&[], false), ["cuda with hip", "plain"]);
        assert_eq!(names(&[], true), ["cuda", "cuda with hip", "plain"]);
        assert_eq!(names(&["cuda"], false), ["cuda"], "a whole name is one row");
        assert_eq!(names(&["cud"], false), ["cuda", "cuda with hip"]);
        assert_eq!(names(&["plain", "hip"], false), ["cuda with hip", "plain"], "in their own order");
        let error = select(&THREE, &["metal".to_owned()], false).err().unwrap();
        assert!(error.to_string().starts_with("no row's name contains \"metal\""), "{error}");
    }

    #[test]
    fn the_list_has_minutes_and_needs() {
        let rows: Vec<&Row> = THREE.iter().collect();
        let expected =
            "cuda            75 min, only by name  ROCm\ncuda with hip    1 min\nplain            5 min";
        assert_eq!(list(&rows), expected);
    }

    #[test]
    fn needs_that_setup_does_not_bring_are_named() {
        let rows: Vec<&Row> = THREE.iter().collect();
        assert_eq!(
            remaining(&rows),
            [("cuda", "needs ROCm. Debian: apt install hipcc libhipblas-dev librocblas-dev".to_owned())]
        );
    }

    #[test]
    fn a_skipped_row_fails_a_strict_run() {
        let outcome = |result| Outcome {
            name: "a".into(),
            result,
            note: String::new(),
            tests: None,
            text: None,
            seconds: 0,
            log: None,
            run: Run::default(),
        };
        assert!(verdict(&[outcome(Ending::Skipped)], false).is_ok());
        assert!(verdict(&[outcome(Ending::Skipped)], true).is_err());
        assert!(verdict(&[outcome(Ending::Run), outcome(Ending::Refused)], true).is_ok());
        let error = verdict(&[outcome(Ending::Failed)], false).unwrap_err();
        assert_eq!(error.to_string(), "these rows failed: a");
    }

    #[test]
    fn every_row_is_set_up_once() {
        assert_eq!(items([Item::Pin, Item::Tools, Item::Pin].iter()), [Item::Pin, Item::Tools]);
    }
}
