//! Test cases that run in child processes: they may hang, end their process, or need one that nothing else has touched.
//!
//! A child is the same test program again, told by an environment variable what to run. [`alone`] runs the rest of a test
//! there. A list of cases needs two tests:
//!
//! ```
//! use test_models::child::{self, Case};
//!
//! const CASES: &[Case] = &[("sums are numbers", || assert_eq!(1 + 1, 2))];
//!
//! // #[test]
//! fn child() {
//!     child::run(CASES);
//! }
//!
//! // #[test]
//! fn every_case_ends_well() {
//!     child::assert_all_end_well(module_path!(), CASES);
//! }
//! # child();
//! ```

use std::env;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The environment variable that names the case for a child.
const CASE: &str = "LLAMA_CHILD_CASE";

/// The environment variable that tells a child to run the body of [`alone`].
const ALONE: &str = "LLAMA_CHILD_ALONE";

/// The time after which a child counts as hanging. It is far more than any case takes, except under tools that slow it down
/// many times.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `body`, the rest of a test, in a child process that runs only this test. `module` is the test's `module_path!()` and
/// `test` the name of its function.
///
/// # Panics
/// If the child fails, with its output, or if there is no such test.
#[track_caller]
pub fn alone(module: &str, test: &str, body: impl FnOnce()) {
    if env::var_os(ALONE).is_some() {
        return body();
    }
    let output = this_program()
        .args([&test_name(module, test), "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .expect("a test program can be started again");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

/// A name, and the function that runs under it.
pub type Case = (&'static str, fn());

/// Runs the case that the environment names, and nothing when it names none. Call it from a test named `child`.
///
/// # Panics
/// If there is no case of that name, or the case panics.
pub fn run(cases: &[Case]) {
    let Ok(wanted) = env::var(CASE) else { return };
    let (_, case) =
        cases.iter().find(|(name, _)| *name == wanted).expect("the parent names a case of this list");
    case();
}

/// Runs every case in a child process of its own. `module` is the `module_path!()` of the test named `child`.
///
/// # Panics
/// If a case hangs, panics or ends its process, with the output of each that does.
#[track_caller]
pub fn assert_all_end_well(module: &str, cases: &[Case]) {
    let failed: Vec<String> = cases.iter().filter_map(|(name, _)| failure(module, name)).collect();
    assert!(failed.is_empty(), "{} of {} cases failed\n{}", failed.len(), cases.len(), failed.join("\n"));
}

/// Returns the name of a test as the test harness has it: the path of its module without the crate, and its function.
#[must_use]
pub fn test_name(module: &str, test: &str) -> String {
    module.split_once("::").map_or_else(|| test.to_owned(), |(_, module)| format!("{module}::{test}"))
}

fn this_program() -> Command {
    Command::new(env::current_exe().expect("a test program knows its path"))
}

fn failure(module: &str, name: &str) -> Option<String> {
    let mut child = this_program()
        .args([&test_name(module, "child"), "--exact", "--nocapture", "--test-threads=1"])
        .env(CASE, name)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a test program can be started again");
    let mut errors = child.stderr.take().expect("it is a pipe");
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        let _ = errors.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("the child is this process's own") {
            // A panic in a destructor is printed and does not change the status.
            let said = reader.join().expect("reading does not panic");
            let is_quiet = !said.contains("panicked");
            return (!status.success() || !is_quiet).then(|| format!("{name}: {status}\n{said}"));
        }
        if begin.elapsed() > PATIENCE {
            child.kill().expect("the child is this process's own");
            child.wait().expect("the child is this process's own");
            // Its own children may hold the pipe.
            return Some(format!("{name}: hangs for {PATIENCE:?}"));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const CASES: &[Case] =
        &[("passes", || {}), ("fails", || panic!("on purpose")), ("ends", || std::process::abort())];

    #[test]
    fn child() {
        run(CASES);
    }

    #[test]
    fn failures_of_children_are_told() {
        assert_eq!(failure(module_path!(), "passes"), None);
        let failed = failure(module_path!(), "fails").unwrap();
        assert!(failed.starts_with("fails: exit") && failed.contains("on purpose"), "{failed}");
        assert!(failure(module_path!(), "ends").unwrap().starts_with("ends: "));
    }

    #[test]
    fn a_test_runs_alone() {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        alone(module_path!(), "a_test_runs_alone", || _ = RUNS.fetch_add(1, Ordering::Relaxed));
        let is_child = env::var_os(ALONE).is_some();
        assert_eq!(RUNS.load(Ordering::Relaxed), usize::from(is_child));
    }

    #[test]
    #[should_panic(expected = "on purpose")]
    fn failures_of_tests_that_run_alone_are_told() {
        alone(module_path!(), "failures_of_tests_that_run_alone_are_told", || {
            let text = std::io::Write::write_all(&mut std::io::stderr(), b"on purpose\n");
            text.expect("the error output is open");
            std::process::exit(3);
        });
    }

    #[test]
    #[should_panic(expected = "0 passed")]
    fn a_test_that_does_not_exist_is_told() {
        alone(module_path!(), "a_test_of_another_name", || {});
    }

    #[test]
    fn names_of_tests_are_without_the_crate() {
        assert_eq!(test_name("fork", "child"), "child");
        assert_eq!(test_name("it::plan::limited", "models"), "plan::limited::models");
    }
}
