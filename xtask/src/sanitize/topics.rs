//! Test programs with many topics: each topic is a suite, with a time limit and a row of its own.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::suites::{Skip, Suite};
use crate::workspace;

/// The name of the programs whose modules are topics.
const PROGRAM: &str = "it";

/// Replaces each program with many topics by one suite for each topic.
pub(super) fn split(suites: Vec<Suite>) -> Result<Vec<Suite>> {
    let mut all = Vec::new();
    for suite in suites {
        match suite.title.strip_suffix(PROGRAM).filter(|package| package.ends_with('/')) {
            Some(package) => all.extend(topics(&suite, package)?),
            None => all.push(suite),
        }
    }
    Ok(all)
}

/// Returns one suite for each topic of a program. `package` ends with a slash.
fn topics(suite: &Suite, package: &str) -> Result<Vec<Suite>> {
    let mut command = Command::new(&suite.program);
    command.current_dir(&suite.folder).args(["--list", "--format=terse"]);
    let listed = workspace::capture(&mut command)
        .with_context(|| format!("could not list the tests of {}", suite.title))?;
    let topics = group(&listed).into_iter().map(|(topic, tests)| Suite {
        title: format!("{package}{topic}"),
        tests,
        program: suite.program.clone(),
        folder: suite.folder.clone(),
    });
    Ok(topics.collect())
}

/// Groups the tests that a program lists by their first module, in the order of the list.
fn group(listed: &str) -> Vec<(&str, Vec<String>)> {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for test in listed.lines().filter_map(|line| line.strip_suffix(": test")) {
        let topic = test.split_once("::").map_or(PROGRAM, |(topic, _)| topic);
        match groups.iter_mut().find(|(name, _)| *name == topic) {
            Some((_, tests)) => tests.push(test.to_owned()),
            None => groups.push((topic, vec![test.to_owned()])),
        }
    }
    groups
}

/// Returns the arguments with which a program runs the tests of a suite without the skipped ones, `None` when none is left.
pub(super) fn arguments<'s>(suite: &'s Suite, skips: &[&'static Skip]) -> Option<Vec<&'s str>> {
    if suite.tests.is_empty() {
        return Some(skips.iter().flat_map(|skip| ["--skip", skip.test]).collect());
    }
    // With `--exact` the harness would skip only tests whose whole names are given.
    let is_left = |test: &&str| !skips.iter().any(|skip| test.contains(skip.test));
    let left: Vec<&str> = suite.tests.iter().map(String::as_str).filter(is_left).collect();
    (!left.is_empty()).then(|| [vec!["--exact"], left].concat())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::suites::Choice;
    use super::super::tool::Tool;
    use super::*;

    const LISTED: &str = "plan::figures: test\ndecode::codes: test\nplan::limited::models: test\nplan::smollm2_fits: test\nalone: test\nx: benchmark\n";

    fn suite(title: &str, tests: Vec<String>) -> Suite {
        Suite { title: title.to_owned(), tests, program: PathBuf::new(), folder: PathBuf::new() }
    }

    #[test]
    fn tests_are_grouped_by_their_first_module() {
        let found: Vec<(&str, usize)> =
            group(LISTED).into_iter().map(|(topic, tests)| (topic, tests.len())).collect();
        assert_eq!(found, [("plan", 3), ("decode", 1), ("it", 1)]);
    }

    #[test]
    fn programs_of_one_topic_stay_as_they_are() {
        let suites =
            split(vec![suite("llama-core/hostile", vec![]), suite("llama-core/summit", vec![])]).unwrap();
        assert_eq!(
            suites.iter().map(|suite| suite.title.as_str()).collect::<Vec<_>>(),
            ["llama-core/hostile", "llama-core/summit"]
        );
    }

    #[test]
    fn skipped_tests_are_left_out_of_both_kinds_of_suites() {
        let [(_, tests), ..] = &group(LISTED)[..] else { panic!("no groups") };
        let plan = suite("llama-core/plan", tests.clone());
        let Choice::Run(skips) = plan.choice(Tool::Thread) else { panic!("it runs") };
        assert_eq!(arguments(&plan, &skips).unwrap(), ["--exact", "plan::figures"]);
        let whole = suite("llama-core/state_machine", vec![]);
        let Choice::Run(skips) = whole.choice(Tool::Thread) else { panic!("it runs") };
        assert_eq!(arguments(&whole, &skips).unwrap(), ["--skip", "smollm2"]);
        let nothing = suite("llama-core/plan", vec!["plan::limited::models".to_owned()]);
        let Choice::Run(skips) = nothing.choice(Tool::Thread) else { panic!("it runs") };
        assert_eq!(arguments(&nothing, &skips), None);
    }
}
