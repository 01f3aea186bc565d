//! The progress of long steps: bars and spinners on a terminal, plain lines elsewhere.
//!
//! Everything goes to standard error, so that a command's standard output contains only its result.

use std::io::{IsTerminal as _, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// The interval between progress lines without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// A long step, with its progress and, at the end, its duration.
pub(crate) struct Step {
    what: String,
    started: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl Step {
    /// Starts a step whose child process prints its own output: one line before it, one after.
    pub(crate) fn announce(what: impl Into<String>) -> Self {
        let what = what.into();
        eprintln!("{what} ...");
        Self { what, started: Instant::now(), last_line: Instant::now(), bar: None }
    }

    /// Starts a step of unknown length.
    pub(crate) fn spinner(what: impl Into<String>) -> Self {
        Self::with_bar(what.into(), ProgressBar::new_spinner(), "{spinner} {prefix} {wide_msg} {elapsed}")
    }

    /// Starts a step over a known number of bytes.
    pub(crate) fn bytes(what: impl Into<String>, total: u64) -> Self {
        let style = "{prefix} {wide_bar} {bytes}/{total_bytes} {elapsed}";
        Self::with_bar(what.into(), ProgressBar::new(total), style)
    }

    fn with_bar(what: String, bar: ProgressBar, style: &str) -> Self {
        if !stderr().is_terminal() {
            return Self::announce(what);
        }
        // A template that cannot be parsed leaves the default bar, which is good enough.
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_prefix(what.clone());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { what, started: Instant::now(), last_line: Instant::now(), bar: Some(bar) }
    }

    /// Adds to the bytes done.
    pub(crate) fn advance(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    /// Shows the step's progress: beside the spinner, or as a line from time to time.
    pub(crate) fn status(&mut self, status: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(status.to_owned());
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            eprintln!("  {} {status} ({})", self.what, duration(self.started.elapsed()));
        }
    }

    /// Prints a line of a child process without disturbing the bar.
    pub(crate) fn println(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    /// Ends the step: its name, its outcome and how long it took.
    pub(crate) fn done(mut self, outcome: &str) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        eprintln!("{}: {outcome} ({})", self.what, duration(self.started.elapsed()));
    }
}

impl Drop for Step {
    /// Removes the bar of a failed step, so that none remains above its error.
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Prints one line for a step that needed no work, or for a remark.
pub(crate) fn note(what: &str, text: &str) {
    eprintln!("{what}: {text}");
}

/// Formats a duration: `0.8 s`, `12 s`, `3 min 05 s`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_naturally() {
        let shown = |millis| duration(Duration::from_millis(millis));
        assert_eq!(shown(830), "0.8 s");
        assert_eq!(shown(12_400), "12 s");
        assert_eq!(shown(185_000), "3 min 05 s");
    }
}
