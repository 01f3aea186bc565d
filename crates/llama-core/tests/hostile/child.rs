//! Child processes that run cases, and their reports to the parent.

use std::env;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// The variable with the cases to run, separated by commas.
const CASES: &str = "LLAMA_HOSTILE_CASES";
/// The beginning of each line from a child to its parent.
pub(crate) const MARK: char = '\u{1e}';
/// The last line, with the number of steps.
pub(crate) const DONE: &str = "done";
/// The silence after which a child counts as hanging: far more than any step takes. Tools that make steps many times
/// slower set another number of seconds.
const SILENCE: Duration = Duration::from_secs(120);
const PATIENCE: &str = "LLAMA_HOSTILE_PATIENCE";

/// The end of a child.
pub(crate) enum Ending {
    Complete,
    Early { case: String, how: String },
}

/// The report of a child.
pub(crate) struct Report {
    pub(crate) ending: Ending,
    pub(crate) steps: u64,
    pub(crate) last_step: String,
    /// The time of each case.
    pub(crate) times: Vec<(Duration, String)>,
}

/// Returns the cases for this process if it is a child.
pub(crate) fn names() -> Option<Vec<String>> {
    let names = env::var(CASES).ok()?;
    Some(names.split(',').map(str::to_owned).collect())
}

/// Runs the cases in a child.
pub(crate) fn run(names: &[&str]) -> Report {
    let mut errors = tempfile::tempfile().unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CASES, names.join(","))
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors.try_clone().unwrap())
        .spawn()
        .unwrap();
    let mut report = listen(&mut child, names[0]);
    let status = child.wait().unwrap();
    if let Ending::Early { how, .. } = &mut report.ending {
        *how = format!("{how}{status}\n{}", tail(&mut errors));
    }
    report
}

/// Reads the child's output until it ends, or kills it when it hangs.
fn listen(child: &mut Child, first: &str) -> Report {
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        let lines = output.split(b'\n').map_while(Result::ok);
        lines.map(|line| String::from_utf8_lossy(&line).into_owned()).try_for_each(|line| sender.send(line))
    });
    let (mut case, mut last_step, mut steps) = (first.to_owned(), String::new(), 0);
    let (mut times, mut since) = (Vec::new(), Instant::now());
    let patience = env::var(PATIENCE).map_or(SILENCE, |text| Duration::from_secs(text.parse().unwrap()));
    let how = loop {
        match lines.recv_timeout(patience) {
            Ok(line) => {
                let Some((_, said)) = line.split_once(MARK) else { continue };
                let (name, step) = said.split_once('\t').unwrap_or((said, ""));
                if name != case {
                    times.push((since.elapsed(), core::mem::replace(&mut case, name.to_owned())));
                    since = Instant::now();
                }
                if name == DONE {
                    steps = step.parse().unwrap();
                    break None;
                }
                last_step = step.to_owned();
                steps += 1;
            }
            Err(RecvTimeoutError::Disconnected) => break Some(String::new()),
            Err(RecvTimeoutError::Timeout) => {
                child.kill().unwrap();
                break Some(format!("hangs for {patience:?}, "));
            }
        }
    };
    drop(lines);
    // After the last line there may be more than the pipe holds.
    let _ = reader.join();
    let ending = how.map_or(Ending::Complete, |how| Ending::Early { case, how });
    Report { ending, steps, last_step, times }
}

/// Returns the end of the child's standard error.
fn tail(errors: &mut File) -> String {
    let mut text = Vec::new();
    errors.rewind().unwrap();
    errors.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
