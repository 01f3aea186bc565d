//! The outcome of a row: how it ended, and why.

use serde::{Deserialize, Serialize};

use super::row::{Row, Suite};

/// The beginning of `llama-sys`'s list of missing tools.
const INCOMPLETE: &str = "the toolchain for the chosen features is not complete:";

/// The most names of failed tests in a remark.
const MOST_NAMES: usize = 5;

/// The way in which a row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ending {
    /// The tests ran and passed.
    Run,
    /// The build succeeded, and nothing ran.
    Built,
    /// The Rust code compiles; nothing native was built.
    Checked,
    /// The machine lacks a need.
    Skipped,
    /// The build refused the combination, as it must.
    Refused,
    #[serde(rename = "FAILED")]
    Failed,
}

/// The outcome of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) result: Ending,
    /// The reason; empty when there is nothing to say.
    pub(super) note: String,
    /// The number of passed tests, if the row runs tests.
    pub(super) tests: Option<usize>,
    /// The text of the demo, if the row runs it.
    pub(super) text: Option<String>,
    pub(super) seconds: u64,
    /// The log, relative to the workspace, if a command ran.
    pub(super) log: Option<String>,
    pub(super) run: Run,
}

/// The run of `cargo xtask matrix` that an outcome comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// The command as its user typed it.
    pub(super) command: String,
    /// The day on which it began, as `2026-11-28`.
    pub(super) date: String,
    /// The version of llama.cpp, the compilers and the machine.
    pub(super) made_with: String,
}

/// The judgement of a command that ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) result: Ending,
    pub(super) note: String,
    pub(super) tests: Option<usize>,
    /// The text of the demo.
    pub(super) text: Option<String>,
}

impl Ending {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Built => "built",
            Self::Checked => "checked",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
            Self::Failed => "FAILED",
        }
    }
}

impl Judgement {
    pub(super) fn new(result: Ending, note: impl Into<String>) -> Self {
        Self { result, note: note.into(), tests: None, text: None }
    }
}

/// Judges a command of the row by its success and its output.
pub(super) fn judge(row: &Row, build_only: bool, success: bool, text: &str) -> Judgement {
    if let Some(missing) = missing_tools(text).filter(|_| !success) {
        return Judgement::new(Ending::Skipped, missing);
    }
    match (row.suite, success) {
        (Suite::Refuse(sentence) | Suite::TwoVersions(sentence), false) if text.contains(sentence) => {
            Judgement::new(Ending::Refused, refusal(sentence, text))
        }
        (Suite::Refuse(_) | Suite::TwoVersions(_), _) => {
            Judgement::new(Ending::Failed, "the build was expected to refuse this combination")
        }
        (_, false) => Judgement::new(Ending::Failed, failure(text)),
        (Suite::Test(_) | Suite::Topics(..) | Suite::Abort(..), true) if build_only => {
            Judgement::new(Ending::Built, "not run: --build-only")
        }
        (Suite::Test(_) | Suite::Topics(..) | Suite::Abort(..), true) => match passed(text) {
            0 => Judgement::new(Ending::Failed, "no test ran"),
            tests => Judgement { tests: Some(tests), ..Judgement::new(Ending::Run, "") },
        },
        (Suite::Build(_, reason), true) => Judgement::new(Ending::Built, format!("not run: {reason}")),
        (Suite::Check(_), true) => Judgement::new(Ending::Checked, "Rust only"),
        (Suite::Outside(_), true) => {
            Judgement { text: Some(text.to_owned()), ..Judgement::new(Ending::Run, "") }
        }
    }
}

/// Returns the lines in which `llama-sys` names missing tools.
fn missing_tools(text: &str) -> Option<String> {
    let (_, list) = text.split_once(INCOMPLETE)?;
    let lines = list.lines().skip(1).map(str::trim).take_while(|line| line.starts_with("feature `"));
    Some(lines.collect::<Vec<_>>().join("; "))
}

/// Returns the whole line of the build in which the sentence of a refusal stands.
fn refusal(sentence: &str, text: &str) -> String {
    let line = text.lines().find(|line| line.contains(sentence)).unwrap_or(sentence).trim();
    line.strip_prefix("llama-sys: ").unwrap_or(line).to_owned()
}

/// Returns the number of tests that cargo counted as passed.
fn passed(text: &str) -> usize {
    let counts = text.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
    counts.filter_map(|rest| rest.split(' ').next()?.parse::<usize>().ok()).sum()
}

/// Describes a failure by the tests that failed, or else by the first error.
fn failure(text: &str) -> String {
    let failed = |line: &'_ str| Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned());
    let names: Vec<String> = text.lines().filter_map(failed).collect();
    if names.is_empty() {
        let error = text.lines().map(str::trim).find(|line| line.starts_with("error"));
        return error.unwrap_or("the command failed").to_owned();
    }
    let rest = names.len().saturating_sub(MOST_NAMES);
    let shown = names.iter().take(MOST_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("failed tests: {shown}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUDA: Row = Row::new("cuda", "--features cuda", Suite::Build("p", "no device is assumed"), 1);
    const TESTS: Row = Row::new("tests", "", Suite::Test("p"), 1);

    #[test]
    fn missing_tools_are_the_reason_for_skipping() {
        let text = format!("x\nllama-sys: {INCOMPLETE}\n  feature `cuda`: nvcc was not found\n\nmore");
        assert_eq!(
            judge(&CUDA, false, false, &text),
            Judgement::new(Ending::Skipped, "feature `cuda`: nvcc was not found")
        );
        assert_eq!(judge(&CUDA, false, false, "error").result, Ending::Failed);
        assert_eq!(
            judge(&CUDA, false, true, ""),
            Judgement::new(Ending::Built, "not run: no device is assumed")
        );
    }

    #[test]
    fn a_refusal_without_its_sentence_is_a_failure() {
        let both = Row::new("both", "", Suite::Refuse("no"), 1);
        let text = "--- stderr\n  llama-sys: it says no, and why\n";
        assert_eq!(judge(&both, false, false, text), Judgement::new(Ending::Refused, "it says no, and why"));
        assert_eq!(judge(&both, false, false, "crash").result, Ending::Failed);
        assert_eq!(judge(&both, false, true, "no").result, Ending::Failed);
    }

    #[test]
    fn passed_tests_of_all_suites_are_counted() {
        let text = "test result: ok. 3 passed; 0 failed\nx\ntest result: ok. 4 passed; 0";
        let judged = judge(&TESTS, false, true, text);
        assert_eq!((judged.result, judged.tests), (Ending::Run, Some(7)));
    }

    #[test]
    fn a_row_of_tests_without_a_test_is_a_failure() {
        let text = "test result: ok. 0 passed; 0 failed";
        assert_eq!(judge(&TESTS, false, true, text), Judgement::new(Ending::Failed, "no test ran"));
        assert_eq!(judge(&TESTS, true, true, "").result, Ending::Built, "nothing was meant to run");
    }

    #[test]
    fn a_failure_names_the_tests_or_the_error() {
        assert_eq!(failure("test a::b ... ok\ntest a::c ... FAILED\n"), "failed tests: a::c");
        let seven: String = (0..7).map(|n| format!("test t{n} ... FAILED\n")).collect();
        assert_eq!(failure(&seven), "failed tests: t0, t1, t2, t3, t4 and 2 more");
        assert_eq!(
            failure("x\n  error[E0425]: no value\nerror: could not compile\n"),
            "error[E0425]: no value"
        );
        assert_eq!(failure("killed"), "the command failed");
    }

    #[test]
    fn endings_keep_their_words_in_json() {
        for ending in
            [Ending::Run, Ending::Built, Ending::Checked, Ending::Skipped, Ending::Refused, Ending::Failed]
        {
            assert_eq!(serde_json::to_value(ending).unwrap(), ending.word());
        }
    }
}
