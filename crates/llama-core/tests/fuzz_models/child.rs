//! Child processes that try cases, and the journal that tells their parent about the progress.

use core::ops::Range;
use std::env;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::case::{Case, Named, is_plain};
use crate::random::Random;
use crate::trial::{self, Outcome};

/// The variable with the cases of a child: the first one and the one after the last.
const CASES: &str = "LLAMA_FUZZ_CHILD";
/// The variable with the architectures whose cases are tried, separated by commas.
const ARCHITECTURES: &str = "LLAMA_FUZZ_ARCHITECTURES";
/// The word in the journal for a case of another architecture.
const SKIPPED: &str = "skipped";
/// The beginning of each line of the journal, because the test harness writes lines too.
const MARK: char = '\u{1e}';
/// The silence after which a child counts as hanging. A case takes milliseconds.
const SILENCE: Duration = Duration::from_secs(60);
/// The largest address space of a child in KiB, so that hostile sizes cannot exhaust the machine's memory.
#[cfg(unix)]
const ADDRESS_SPACE: u64 = 6 << 20;

/// The outcome of a case.
pub(crate) enum Ending {
    Outcome(Outcome, String),
    /// The process ended or went silent, with the stage and the reason.
    Lost {
        hangs: bool,
        stage: String,
        how: String,
    },
}

/// Returns the cases for this process if it is a child.
pub(crate) fn cases() -> Option<Range<u64>> {
    let cases = env::var(CASES).ok()?;
    let (first, end) = cases.split_once("..").unwrap();
    Some(first.parse().unwrap()..end.parse().unwrap())
}

/// Runs cases in a child process.
pub(crate) fn run(cases: Range<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let architectures = architectures();
    for number in cases {
        if !architectures.is_empty()
            && !architectures.iter().any(|name| name == Named::new(number).architecture)
        {
            tell(number, SKIPPED, "");
            continue;
        }
        tell(number, "stage", "make");
        let case = Case::new(number);
        tell(number, "case", &case.to_string().replace('\n', " "));
        let stage = |name: &str| tell(number, "stage", name);
        let mut random = Random::new(!number);
        let (outcome, what) = trial::run(&mut random, is_plain(number), || case.load(&path), stage);
        tell(number, outcome.name(), &what);
    }
}

/// Returns the architectures whose cases are tried; none for all.
fn architectures() -> Vec<String> {
    let names = env::var(ARCHITECTURES).unwrap_or_default();
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn tell(number: u64, word: &str, text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{MARK}{number}\t{word}\t{text}").unwrap();
    out.flush().unwrap();
}

/// Tries the cases in a child and passes their descriptions and outcomes to `each`. Returns the first case that was
/// not tried: the one after the last, or after the one that ended the child.
pub(crate) fn try_all(cases: &Range<u64>, mut each: impl FnMut(u64, &str, Ending)) -> u64 {
    let mut errors = tempfile::tempfile().unwrap();
    let mut child = start(cases, &errors);
    let journal = journal(&mut child);
    let (mut next, mut stage, mut case) = (cases.start, "start".to_owned(), String::new());
    let silent = loop {
        match journal.recv_timeout(SILENCE) {
            Ok(line) => {
                let Some((number, word, text)) = parsed(&line) else { continue };
                match Outcome::ALL.into_iter().find(|outcome| outcome.name() == word) {
                    Some(outcome) => {
                        next = number + 1;
                        each(number, &case, Ending::Outcome(outcome, text.to_owned()));
                    }
                    None if word == SKIPPED => next = number + 1,
                    None if word == "case" => text.clone_into(&mut case),
                    None => text.clone_into(&mut stage),
                }
            }
            Err(RecvTimeoutError::Timeout) => break true,
            Err(RecvTimeoutError::Disconnected) => break false,
        }
    };
    if silent {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    if next < cases.end {
        let how = format!("{status} {}", tail(&mut errors));
        each(next, &case, Ending::Lost { hangs: silent, stage, how });
        next += 1;
    }
    next
}

fn start(cases: &Range<u64>, errors: &File) -> Child {
    let program = env::current_exe().unwrap();
    #[cfg(unix)]
    let mut command = {
        // A shell without the limit, as there is none on macOS, goes on all the same.
        let script = format!("ulimit -c 0; ulimit -v {ADDRESS_SPACE} 2>/dev/null; exec \"$0\" \"$@\"");
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).arg(program);
        command
    };
    #[cfg(not(unix))]
    let mut command = Command::new(program);
    command
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CASES, format!("{}..{}", cases.start, cases.end))
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors.try_clone().unwrap());
    command.spawn().unwrap()
}

/// Returns the lines that a child writes.
fn journal(child: &mut Child) -> Receiver<String> {
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let lines = output.split(b'\n').map_while(Result::ok);
        lines.map(|line| String::from_utf8_lossy(&line).into_owned()).try_for_each(|line| sender.send(line))
    });
    lines
}

fn parsed(line: &str) -> Option<(u64, &str, &str)> {
    let (number, rest) = line.strip_prefix(MARK)?.split_once('\t')?;
    let (word, text) = rest.split_once('\t')?;
    Some((number.parse().ok()?, word, text))
}

/// Returns the end of a child's standard error.
fn tail(errors: &mut File) -> String {
    let mut text = Vec::new();
    errors.seek(SeekFrom::Start(0)).unwrap();
    errors.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(4)..].join(" / ")
}
