//! Cargo builds that may build llama.cpp, with their progress.

pub(crate) mod messages;
pub(crate) mod version;

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};

use crate::progress::{self, Step};
use crate::workspace;

/// The interval between two looks at the build's log.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// More bytes than the longest line of a compiler call.
const TAIL: u64 = 16 * 1024;

/// Runs a cargo command that may build llama.cpp. Cargo does not show a build script's output, so this watches the
/// log that the script of `llama-sys` writes.
pub(crate) fn build(what: &str, cargo: &mut Command) -> Result<()> {
    let cache = cache(cargo);
    if !was_built(&cache) {
        progress::note("llama.cpp", "will be built from source, once: 5 to 10 minutes on two cores");
    }
    let started = SystemTime::now();
    let mut step = Step::spinner(what);
    if io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        cargo.env("CARGO_TERM_COLOR", "always");
    }
    cargo.stdout(Stdio::from(io::stderr())).stderr(Stdio::piped());
    let mut child = cargo.spawn().with_context(|| workspace::could_not_start(cargo))?;
    let lines = lines_of(child.stderr.take());
    loop {
        match lines.recv_timeout(LOOK_EVERY) {
            Ok(line) => step.println(&line),
            Err(RecvTimeoutError::Timeout) => step.status(&compiled(&cache.join("build.log"), started)),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait().with_context(|| format!("lost `{}`", workspace::command_line(cargo)))?;
    if !status.success() {
        drop(step);
        bail!("`{}` failed ({status})", workspace::command_line(cargo));
    }
    step.done("built");
    Ok(())
}

/// Builds, and returns cargo's messages about the result. `cargo` makes the command, which runs a second time for them, when
/// there is nothing left to build.
pub(crate) fn build_and_read(what: &str, cargo: impl Fn() -> Command) -> Result<String> {
    build(what, &mut cargo())?;
    let mut again = cargo();
    again.args(["--quiet", "--message-format=json"]);
    workspace::capture(&mut again)
}

/// Returns the folder for the native builds of a command: the one that its environment names, or else this
/// workspace's.
fn cache(cargo: &Command) -> PathBuf {
    const NAME: &str = "LLAMA_SYS_BUILD_CACHE";
    let own = cargo.get_envs().find(|(name, _)| *name == NAME).and_then(|(_, value)| value);
    let own = own.map(PathBuf::from).or_else(|| workspace::folder_from_env(NAME));
    own.unwrap_or_else(|| workspace::target().join("native"))
}

fn was_built(cache: &Path) -> bool {
    let builds = fs::read_dir(cache).into_iter().flatten().flatten();
    builds.map(|build| build.path().join("complete")).any(|stamp| stamp.is_file())
}

/// Returns the lines of a pipe until its last writer closes it.
fn lines_of(pipe: Option<impl io::Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe?);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).ok()? > 0 {
            sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).ok()?;
            line.clear();
        }
        Some(())
    });
    receiver
}

/// Returns ninja's progress for the user, or an empty text when the log belongs to an earlier build.
fn compiled(log: &Path, since: SystemTime) -> String {
    let tail = tail_of(log, since).unwrap_or_default();
    let progress = ninja_progress(&String::from_utf8_lossy(&tail));
    progress.map_or_else(String::new, |(done, total)| format!("llama.cpp {done} of {total}"))
}

fn tail_of(log: &Path, since: SystemTime) -> io::Result<Vec<u8>> {
    let mut file = File::open(log)?;
    let metadata = file.metadata()?;
    let mut tail = Vec::new();
    if metadata.modified()? >= since {
        file.seek(SeekFrom::Start(metadata.len().saturating_sub(TAIL)))?;
        file.read_to_end(&mut tail)?;
    }
    Ok(tail)
}

/// Returns the last `[done/total]` at the start of a line.
fn ninja_progress(log: &str) -> Option<(u32, u32)> {
    log.lines().rev().find_map(|line| {
        let (done, total) = line.strip_prefix('[')?.split_once(']')?.0.split_once('/')?;
        Some((done.trim().parse().ok()?, total.trim().parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_count_of_ninja_is_shown() {
        let log = "-- Configuring done (0.9s)\n[1/142] Building C object a.o\n[12/142] Building CXX object b.o\nwarning: [3/4]\n";
        assert_eq!(ninja_progress(log), Some((12, 142)));
        assert_eq!(ninja_progress("t of a line\n[13/1"), None, "a line cut in two is not a count");
        assert_eq!(ninja_progress(""), None);
        assert_eq!(ninja_progress("[100%] Built target llama\n"), None);
    }

    #[test]
    fn the_log_of_an_earlier_build_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("build.log");
        assert_eq!(compiled(&log, SystemTime::UNIX_EPOCH), "");
        fs::write(&log, "[12/142] Building\n").unwrap();
        assert_eq!(compiled(&log, SystemTime::UNIX_EPOCH), "llama.cpp 12 of 142");
        assert_eq!(compiled(&log, SystemTime::now() + Duration::from_secs(60)), "");
    }

    #[test]
    fn only_a_complete_build_counts_as_built() {
        let cache = tempfile::tempdir().unwrap();
        fs::create_dir(cache.path().join("0123")).unwrap();
        assert!(!was_built(cache.path()));
        fs::write(cache.path().join("0123").join("complete"), "").unwrap();
        assert!(was_built(cache.path()));
    }

    #[test]
    fn lines_arrive_whole_and_in_order() {
        let lines = lines_of(Some(&b"one\ntwo\xff\nthree"[..]));
        assert_eq!(lines.iter().collect::<Vec<_>>(), ["one", "two\u{fffd}", "three"]);
    }
}
