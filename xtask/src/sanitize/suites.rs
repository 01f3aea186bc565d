//! Builds the test programs, finds them in cargo's messages, and selects among them.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::tool::{Plan, Tool};
use super::topics;
use crate::native;

/// The packages that call llama.cpp and have tests.
const PACKAGES: [&str; 3] = ["llama-sys", "llama-core", "llama-gen"];

/// The features to test beyond plain computing on the CPU. OpenMP and `native` are left out, because the tools do not
/// support them.
const FEATURES: &str = "llama-gen/chat,llama-gen/tokenizers,llama-core/serde";

/// A test program, or one topic of a program with many.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suite {
    /// `package/name`, where the name is that of the file in `tests/` or `tests/it/`, or `unit`.
    pub(super) title: String,
    /// The names of the topic's tests; none when the suite is the whole program.
    pub(super) tests: Vec<String>,
    pub(super) program: PathBuf,
    /// The package's folder, in which cargo would run the program.
    pub(super) folder: PathBuf,
}

/// The decision about a suite.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// It runs, without these tests.
    Run(Vec<&'static Skip>),
    /// It does not run, for this reason.
    Skip(&'static str),
}

/// A test that does not run, with the reason.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Skip {
    tools: &'static [Tool],
    suite: &'static str,
    /// A part of the test's name; empty for the whole suite.
    pub(super) test: &'static str,
    pub(super) reason: &'static str,
}

const fn skip(tools: &'static [Tool], suite: &'static str, test: &'static str, reason: &'static str) -> Skip {
    Skip { tools, suite, test, reason }
}

const EVERY: &[Tool] = &Tool::ALL;
const INSTRUMENTED: &[Tool] = &[Tool::Address, Tool::Thread];
const SLOW: &[Tool] = &[Tool::Thread, Tool::Valgrind];
const HAS_OWN_MEMORY: &str = "measures the memory of the process, which includes the tool's own";
const NO_ADDRESS_SPACE: &str = "limits the address space of a process below the tool's own needs";
const ROUNDING: &str =
    "expects the same text for a prompt in one part and in two, but without AVX-512 rounding differs";
const ELSEWHERE: &str = "`address` finds its leaks too, and much faster";
const CYCLE: &str =
    "llama.cpp counts references to template values and never frees a value that contains itself";
const REGEX: &str = "matches regular expressions in C++ for minutes; `address` checks the same calls";
const REAL_MODEL: &str = "SmolLM2 takes minutes under this tool; the tiny models run the same code";

/// The tests that do not run. All others run, including those added later.
const SKIPPED: &[Skip] = &[
    skip(EVERY, "llama-core/compile_fail", "", "runs the compiler, not llama.cpp"),
    skip(INSTRUMENTED, "llama-core/leak", "", HAS_OWN_MEMORY),
    skip(&[Tool::Leak], "llama-core/hostile", "", ELSEWHERE),
    skip(EVERY, "llama-core/plan", "limited::", NO_ADDRESS_SPACE),
    skip(EVERY, "llama-core/chat_templates", "values_that_hold_themselves_are_errors", CYCLE),
    skip(&[Tool::Valgrind], "llama-core/sampler", "waiting_for_a_pattern_", REGEX),
    skip(EVERY, "llama-gen/long_text", "a_compactor_makes_the_tokens_to_go_on_from", ROUNDING),
    skip(SLOW, "", "smollm2", REAL_MODEL),
    skip(INSTRUMENTED, "llama-gen/cancel", "a_long_prompt_is_cancelled_in_the_middle_of_a_part", REAL_MODEL),
    skip(INSTRUMENTED, "llama-gen/cancel", "a_dropped_stream_stops_in_the_middle_of_a_prompt", REAL_MODEL),
    skip(INSTRUMENTED, "llama-gen/cancel", "a_deadline_ends_a_long_prompt", REAL_MODEL),
    skip(INSTRUMENTED, "llama-gen/generate", "the_capital_of_france_is_paris", REAL_MODEL),
    skip(INSTRUMENTED, "llama-gen/generate", "streamed_texts_joined_are_the_completion", REAL_MODEL),
    skip(INSTRUMENTED, "llama-gen/generate", "a_stop_string_ends_the_text_and_is_not_shown", REAL_MODEL),
    skip(INSTRUMENTED, "llama-gen/generate", "an_end_of_generation_token_ends_the_text", REAL_MODEL),
    skip(
        INSTRUMENTED,
        "llama-gen/generate",
        "the_same_seed_gives_the_same_text_and_another_another",
        REAL_MODEL,
    ),
    skip(INSTRUMENTED, "llama-gen/generate", "a_cancelled_generation_ends_with_what_it_has", REAL_MODEL),
    skip(INSTRUMENTED, "llama-gen/generate", "a_dropped_generation_gives_its_context_back", REAL_MODEL),
    skip(INSTRUMENTED, "llama-gen/stream", "asynchronous_events_are_the_blocking_ones", REAL_MODEL),
    skip(INSTRUMENTED, "llama-gen/stream", "tokens_come_with_their_bytes_and_before_their_text", REAL_MODEL),
    skip(INSTRUMENTED, "llama-gen/stream", "probabilities_are_those_of_the_model", REAL_MODEL),
];

/// The suites that run under valgrind, which is fifty times slower: those that do the most different things.
const UNDER_VALGRIND: [&str; 4] =
    ["llama-core/bad_input", "llama-core/decode", "llama-core/memory", "llama-core/sampler"];

impl Suite {
    pub(super) fn choice(&self, tool: Tool) -> Choice {
        if tool == Tool::Valgrind && !UNDER_VALGRIND.contains(&self.title.as_str()) {
            return Choice::Skip("valgrind is fifty times slower and runs only a selection");
        }
        let applies =
            |skip: &&Skip| skip.tools.contains(&tool) && (skip.suite.is_empty() || skip.suite == self.title);
        let skips: Vec<&Skip> = SKIPPED.iter().filter(applies).collect();
        match skips.iter().find(|skip| skip.test.is_empty()) {
            Some(whole) => Choice::Skip(whole.reason),
            None => Choice::Run(skips),
        }
    }
}

/// Builds the tests and returns the suites, in cargo's order.
pub(super) fn build(plan: &Plan) -> Result<Vec<Suite>> {
    let mut arguments: Vec<&str> =
        vec!["test", "--no-run", "--tests", "--no-default-features", "--features", FEATURES];
    arguments.extend(PACKAGES.iter().flat_map(|package| ["--package", package]));
    arguments.extend(plan.cargo.iter().map(String::as_str));
    let what = format!("building the tests for `{}`", plan.tool.name());
    let suites = read(&native::build_and_read(&what, || {
        let mut cargo = plan.cargo();
        cargo.args(&arguments);
        cargo
    })?);
    ensure!(!suites.is_empty(), "cargo names no test program: run `cargo clean` and try again");
    topics::split(suites)
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

fn read(messages: &str) -> Vec<Suite> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages.filter_map(suite).collect()
}

fn suite(message: Message) -> Option<Suite> {
    if message.reason != "compiler-artifact" || !message.profile?.test {
        return None;
    }
    let target = message.target?;
    let folder = message.manifest_path?.parent().map(Path::to_path_buf)?;
    let package = folder.file_name()?.to_string_lossy().into_owned();
    let name = if target.kind.iter().any(|kind| kind == "test") { target.name } else { "unit".to_owned() };
    let title = format!("{package}/{name}");
    Some(Suite { title, tests: Vec::new(), program: message.executable?, folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(title: &str) -> Suite {
        Suite { title: title.to_owned(), tests: vec![], program: PathBuf::new(), folder: PathBuf::new() }
    }

    #[test]
    fn test_programs_are_found_among_cargos_messages() {
        let messages = r#"
            {"reason":"compiler-artifact","manifest_path":"/w/crates/llama-core/Cargo.toml","target":{"name":"llama_core","kind":["lib"]},"profile":{"test":false},"executable":null}
            {"reason":"compiler-artifact","manifest_path":"/w/crates/llama-core/Cargo.toml","target":{"name":"llama_core","kind":["lib"]},"profile":{"test":true},"executable":"/t/llama_core-1"}
            {"reason":"compiler-artifact","manifest_path":"/w/crates/llama-core/Cargo.toml","target":{"name":"decode","kind":["test"]},"profile":{"test":true},"executable":"/t/decode-2"}
            {"reason":"build-finished","success":true}"#;
        let suites = read(messages);
        let found: Vec<_> =
            suites.iter().map(|suite| (suite.title.as_str(), suite.program.to_str().unwrap())).collect();
        assert_eq!(found, [("llama-core/unit", "/t/llama_core-1"), ("llama-core/decode", "/t/decode-2")]);
        assert_eq!(suites[0].folder, Path::new("/w/crates/llama-core"));
    }

    #[test]
    fn what_does_not_run_has_a_reason_and_the_rest_runs() {
        let Choice::Skip(reason) = named("llama-core/leak").choice(Tool::Address) else { panic!("it runs") };
        assert_eq!(reason, HAS_OWN_MEMORY);
        assert_eq!(named("llama-core/leak").choice(Tool::Leak), Choice::Run(vec![]));
        assert_eq!(named("llama-core/new").choice(Tool::Address), Choice::Run(vec![]));
        let Choice::Run(skips) = named("llama-core/decode").choice(Tool::Valgrind) else {
            panic!("it is left out")
        };
        assert_eq!(skips.iter().map(|skip| skip.test).collect::<Vec<_>>(), ["smollm2"]);
        assert!(matches!(named("llama-core/new").choice(Tool::Valgrind), Choice::Skip(_)));
    }

    /// The source of a suite: a file in `tests/` or `tests/it/`, or a folder of modules there.
    fn source(title: &str) -> String {
        let (package, name) = title.split_once('/').unwrap();
        let tests = crate::workspace::root().join("crates").join(package).join("tests");
        let places = [&tests, &tests.join("it")];
        places.map(|folder| files(&folder.join(format!("{name}.rs"))) + &files(&folder.join(name))).concat()
    }

    /// The text of a file, or of all files in a folder; nothing of what does not exist.
    fn files(path: &Path) -> String {
        if path.is_file() {
            return std::fs::read_to_string(path).unwrap();
        }
        std::fs::read_dir(path).into_iter().flatten().map(|it| files(&it.unwrap().path())).collect()
    }

    #[test]
    fn suites_and_tests_that_are_named_exist() {
        for title in UNDER_VALGRIND {
            assert!(!source(title).is_empty(), "{title} does not exist any more");
        }
        for skip in SKIPPED.iter().filter(|skip| !skip.suite.is_empty()) {
            let (source, test) = (source(skip.suite), skip.test.trim_end_matches("::"));
            assert!(!source.is_empty(), "{} does not exist any more", skip.suite);
            assert!(source.contains(test), "{} has no {test} any more", skip.suite);
        }
    }
}
