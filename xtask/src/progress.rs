//! What a user sees of long steps: bars and spinners on a terminal, plain lines elsewhere.
//!
//! Everything goes to standard error, so that a command's standard output holds its result only.

use std::io::{IsTerminal as _, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Without a terminal, a running step says how far it is this often.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// One long step: what it does, how far it is, and at the end how long it took.
pub(crate) struct Step {
    what: String,
    started: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl Step {
    /// A step whose child process talks for itself: one line before it, one after.
    pub(crate) fn announce(what: impl Into<String>) -> Self {
        let what = what.into();
        eprintln!("{what} ...");
        Self { what, started: Instant::now(), last_line: Instant::now(), bar: None }
    }

    /// A step of unknown length.
    pub(crate) fn spinner(what: impl Into<String>) -> Self {
        Self::with_bar(what.into(), ProgressBar::new_spinner(), "{spinner} {prefix} {wide_msg} {elapsed}")
    }

    /// A step over a known number of bytes.
    pub(crate) fn bytes(what: impl Into<String>, total: u64) -> Self {
        let style = "{prefix} {wide_bar} {bytes}/{total_bytes} {elapsed}";
        Self::with_bar(what.into(), ProgressBar::new(total), style)
    }

    fn with_bar(what: String, bar: ProgressBar, style: &str) -> Self {
        if !stderr().is_terminal() {
            return Self::announce(what);
        }
        // A template that does not parse shows the default bar: still progress, and nothing to fail for.
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

    /// Says how far the step is: beside the spinner, or as a line now and then.
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
    /// A step that failed leaves no half-drawn bar above its error.
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// One line for something that needed no work, or for a remark.
pub(crate) fn note(what: &str, text: &str) {
    eprintln!("{what}: {text}");
}

/// A duration as people say it: `0.8 s`, `12 s`, `3 min 05 s`.
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
