//! Runs one test program under a tool within a time limit, and counts its reports.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::suites::{Skip, Suite};
use super::tool::{Plan, Tool};
use super::topics;
use crate::workspace;

/// The interval between two looks at a running program.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The outcome of a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All tests passed and the tool reports nothing.
    Clean,
    /// The tool reports findings.
    Findings,
    /// Tests failed.
    Failed,
    /// It exceeded its time, or could not be built.
    Broken,
    /// It did not run.
    Skipped,
    /// It ran, with a remark.
    Remark,
}

impl Verdict {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Findings => "FINDINGS",
            Self::Failed => "FAILED",
            Self::Broken => "BROKEN",
            Self::Skipped => "SKIPPED",
            Self::Remark => "NOTE",
        }
    }

    pub(super) const fn is_bad(self) -> bool {
        matches!(self, Self::Findings | Self::Failed | Self::Broken)
    }
}

/// The outcome of a suite, with a text about it.
pub(super) struct Ending {
    pub(super) verdict: Verdict,
    pub(super) note: String,
}

/// The files of a suite's output and of the tool's reports.
struct Files {
    output: PathBuf,
    /// The beginning of the reports' names; the process id follows.
    reports: PathBuf,
}

/// Runs a suite to its end or its time limit.
pub(super) fn run(plan: &Plan, suite: &Suite, skips: &[&'static Skip], limit: Duration) -> Result<Ending> {
    let Some(arguments) = topics::arguments(suite, skips) else {
        return Ok(Ending { verdict: Verdict::Skipped, note: "all of its tests are left out".to_owned() });
    };
    let files = Files::prepare(&plan.folder().join("logs"), &suite.title)?;
    let mut command = plan.command(&suite.program, &files.reports);
    command.args(arguments);
    let status = to_its_end(inside_its_package(&mut command, suite), &files.output, limit)?;
    let output = read(&files.output)?;
    let reports = files.found()?;
    let mut findings = 0;
    for report in &reports {
        findings += count(plan.tool, &read(report)?);
    }
    Ok(judge(status, findings, &output).naming(&files.output, &reports))
}

/// Sets the folder and variables with which cargo runs tests.
fn inside_its_package<'c>(command: &'c mut Command, suite: &Suite) -> &'c mut Command {
    command.current_dir(&suite.folder).env("CARGO_MANIFEST_DIR", &suite.folder);
    // The time after which llama-core/hostile reports a hanging step. Hundreds of threads are slow under these tools.
    command.env("LLAMA_HOSTILE_PATIENCE", "1200");
    if let Some(models) = workspace::folder_from_env("LLAMA_TEST_MODELS") {
        command.env("LLAMA_TEST_MODELS", models);
    }
    command
}

/// Runs a command with its output in a file. Returns `None` when it was stopped after its time limit.
fn to_its_end(command: &mut Command, output: &Path, limit: Duration) -> Result<Option<ExitStatus>> {
    let failed = || format!("could not write {}", output.display());
    let file = File::create(output).with_context(failed)?;
    command.stdin(Stdio::null()).stdout(file.try_clone().with_context(failed)?).stderr(file);
    let mut child = command.spawn().with_context(|| workspace::could_not_start(command))?;
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().context("lost a test program")? {
            return Ok(Some(status));
        }
        thread::sleep(LOOK_EVERY);
    }
    stop(&mut child)?;
    Ok(None)
}

fn stop(child: &mut Child) -> Result<()> {
    child.kill().context("could not stop a test program")?;
    child.wait().context("lost a test program")?;
    Ok(())
}

impl Files {
    /// Removes the files of an earlier run.
    fn prepare(folder: &Path, title: &str) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
        let name = title.replace('/', "-");
        let files = Self {
            output: folder.join(format!("{name}.log")),
            reports: folder.join(format!("{name}.report")),
        };
        for report in files.found()? {
            fs::remove_file(&report).with_context(|| format!("could not remove {}", report.display()))?;
        }
        Ok(files)
    }

    fn found(&self) -> Result<Vec<PathBuf>> {
        let folder = self.reports.parent().unwrap_or(&self.reports);
        let prefix = format!("{}.", self.reports.file_name().unwrap_or_default().to_string_lossy());
        let failed = || format!("could not read {}", folder.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).with_context(failed)? {
            let entry = entry.with_context(failed)?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    }
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the number of findings in a report.
fn count(tool: Tool, report: &str) -> usize {
    if tool == Tool::Valgrind {
        let summaries = report.lines().filter_map(|line| line.split_once("ERROR SUMMARY: "));
        // "3 errors from 2 contexts (suppressed: 0 from 0)"
        return summaries.filter_map(|(_, it)| it.split(' ').nth(3)?.parse::<usize>().ok()).sum();
    }
    // A refused allocation, which the tests provoke, is not a finding; the program receives the error.
    let begins_finding = |line: &&str| {
        (line.contains("ERROR: ") || line.contains("WARNING: ") && !line.contains(" failed to allocate "))
            && ["AddressSanitizer", "LeakSanitizer", "ThreadSanitizer"].iter().any(|name| line.contains(name))
    };
    report.lines().filter(begins_finding).count()
}

fn judge(status: Option<ExitStatus>, findings: usize, output: &str) -> Ending {
    let passed: usize = tests(output, " passed");
    let failed = tests(output, " failed");
    let (verdict, note) = match status {
        _ if findings > 0 => (Verdict::Findings, format!("{findings} reports")),
        None => (Verdict::Broken, "stopped after its time: give it more with --minutes".to_owned()),
        Some(status) if status.success() && !output.contains("test result: ok") => {
            (Verdict::Broken, "its output has no test result".to_owned())
        }
        Some(status) if status.success() && passed == 0 => (Verdict::Skipped, "it has no tests".to_owned()),
        Some(status) if status.success() => (Verdict::Clean, format!("{passed} tests")),
        Some(_) if failed > 0 => (Verdict::Failed, format!("{failed} of {} tests failed", passed + failed)),
        Some(status) => (Verdict::Failed, status.to_string()),
    };
    Ending { verdict, note }
}

/// Returns the number before a word in libtest's last line: `test result: ok. 3 passed; 0 failed; …`.
fn tests(output: &str, word: &str) -> usize {
    let line = output.lines().rev().find(|line| line.starts_with("test result: "));
    let number = line.and_then(|line| line.split([';', '.']).find_map(|part| part.strip_suffix(word)));
    number.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
}

impl Ending {
    /// Adds the names of the files to look into.
    fn naming(mut self, output: &Path, reports: &[PathBuf]) -> Self {
        if self.verdict.is_bad() {
            let first = reports.first().filter(|_| self.verdict == Verdict::Findings);
            let place = first.map_or(output, PathBuf::as_path);
            let place = place.strip_prefix(workspace::root()).unwrap_or(place);
            self.note = format!("{}; see {}", self.note, place.display());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: &str = "running 3 tests\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.00s\n";

    fn status(script: &str) -> ExitStatus {
        Command::new("sh").args(["-c", script]).status().unwrap()
    }

    #[test]
    fn reports_are_counted() {
        let valgrind =
            "==1== HEAP SUMMARY:\n==1== ERROR SUMMARY: 7 errors from 2 contexts (suppressed: 1 from 1)\n";
        assert_eq!(count(Tool::Valgrind, valgrind), 2);
        assert_eq!(
            count(Tool::Valgrind, "==1== ERROR SUMMARY: 0 errors from 0 contexts (suppressed: 0 from 0)\n"),
            0
        );
        let address = "=====\n==1==ERROR: AddressSanitizer: heap-use-after-free on address\nSUMMARY: AddressSanitizer: x\n";
        assert_eq!(count(Tool::Address, address), 1);
        let leaks = "==1==ERROR: LeakSanitizer: detected memory leaks\n";
        assert_eq!(count(Tool::Leak, leaks), 1);
        let refused = "==1==WARNING: LeakSanitizer failed to allocate 0x20071800000 bytes\n";
        assert_eq!(count(Tool::Leak, refused), 0);
        let race = "WARNING: ThreadSanitizer: data race (pid=1)\nSUMMARY: ThreadSanitizer: data race\n";
        assert_eq!(count(Tool::Thread, &race.repeat(2)), 2);
        assert_eq!(count(Tool::Address, "ERROR: something of the program"), 0);
    }

    #[cfg(unix)]
    #[test]
    fn how_a_program_ended_is_judged() {
        let verdict = |status, findings, output: &str| judge(status, findings, output).verdict;
        assert_eq!(verdict(Some(status("exit 0")), 0, PASSED), Verdict::Clean);
        assert_eq!(judge(Some(status("exit 0")), 0, PASSED).note, "3 tests");
        assert_eq!(verdict(Some(status("exit 0")), 1, PASSED), Verdict::Findings);
        assert_eq!(verdict(None, 0, ""), Verdict::Broken);
        assert_eq!(verdict(None, 2, ""), Verdict::Findings);
        assert_eq!(verdict(Some(status("exit 0")), 0, "running 3 tests"), Verdict::Broken);
        assert_eq!(
            verdict(Some(status("exit 0")), 0, "test result: ok. 0 passed; 0 failed"),
            Verdict::Skipped
        );
        let failed = "test result: FAILED. 2 passed; 1 failed; 0 ignored";
        assert_eq!(judge(Some(status("exit 101")), 0, failed).note, "1 of 3 tests failed");
        assert_eq!(verdict(Some(status("kill -ABRT $$")), 0, ""), Verdict::Failed);
    }

    #[cfg(unix)]
    #[test]
    fn a_program_that_takes_too_long_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let (output, second) = (folder.path().join("output"), Duration::from_secs(1));
        let ended =
            to_its_end(Command::new("sh").args(["-c", "echo here; exit 3"]), &output, 60 * second).unwrap();
        assert_eq!(ended.unwrap().code(), Some(3));
        assert_eq!(read(&output).unwrap(), "here\n");
        assert!(to_its_end(Command::new("sleep").arg("60"), &output, second / 10).unwrap().is_none());
    }

    #[test]
    fn reports_of_an_earlier_run_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a-b.report.12", "a-bc.report.1", "a-b.log"] {
            fs::write(at(name), "").unwrap();
        }
        let files = Files::prepare(folder.path(), "a/b").unwrap();
        assert!(files.found().unwrap().is_empty());
        assert!(at("a-bc.report.1").is_file());
        fs::write(at("a-b.report.13"), "").unwrap();
        assert_eq!(files.found().unwrap(), [at("a-b.report.13")]);
    }
}
