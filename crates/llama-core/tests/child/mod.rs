//! Cases that run in child processes, because they may hang or end the process.

use std::env;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The variable with the case that a child runs.
const CASE: &str = "LLAMA_CHILD_CASE";

/// The time after which a child counts as hanging: far more than any case takes, also under tools that slow it down.
const PATIENCE: Duration = Duration::from_secs(120);

/// A name, and the function of the case.
pub(crate) type Case = (&'static str, fn());

/// Runs the case that this process was started for; does nothing in the parent. Call it in a test named `child`.
pub(crate) fn run(cases: &[Case]) {
    let Ok(wanted) = env::var(CASE) else { return };
    let (_, case) = cases.iter().find(|(name, _)| *name == wanted).unwrap();
    case();
}

/// Runs every case in its own child, and reports the ones that hang, panic or end the process.
#[track_caller]
pub(crate) fn assert_all_end_well(cases: &[Case]) {
    let failed: Vec<String> = cases.iter().filter_map(|(name, _)| failure(name)).collect();
    assert!(failed.is_empty(), "{} of {} cases failed\n{}", failed.len(), cases.len(), failed.join("\n"));
}

fn failure(name: &str) -> Option<String> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CASE, name)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = child.stderr.take().unwrap();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        let _ = errors.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            // What a destructor panics with is only printed.
            let said = reader.join().unwrap();
            let is_quiet = !said.contains("panicked");
            return (!status.success() || !is_quiet).then(|| format!("{name}: {status}\n{said}"));
        }
        if begin.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            // Its own children may hold the pipe.
            return Some(format!("{name}: hangs for {PATIENCE:?}"));
        }
        thread::sleep(Duration::from_millis(5));
    }
}
