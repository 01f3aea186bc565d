//! The walk: it announces a step, does it, and checks the outcome.

use std::fmt::Display;
use std::io::Write as _;

use llama_core::{Error, ErrorKind};

use crate::child::{DONE, MARK};

/// The state of the walk; see the module.
pub(crate) struct Walk {
    case: &'static str,
    /// The subject of the steps.
    subject: String,
    /// Whether an earlier call on it failed inside llama.cpp.
    is_poisoned: bool,
    steps: u64,
}

impl Walk {
    pub(crate) fn new() -> Self {
        Self { case: "", subject: String::new(), is_poisoned: false, steps: 0 }
    }

    /// Begins with another function.
    pub(crate) fn begin(&mut self, case: &'static str) {
        self.case = case;
        self.on("", false);
    }

    /// Continues with another object.
    pub(crate) fn on(&mut self, subject: impl Display, is_poisoned: bool) {
        self.subject = subject.to_string();
        self.is_poisoned = is_poisoned;
    }

    /// Whether the object's earlier call failed inside llama.cpp.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    /// Makes a call that cannot fail.
    pub(crate) fn run<T>(&mut self, what: impl Display, run: impl FnOnce() -> T) -> T {
        self.steps += 1;
        let line = format!("{MARK}{}\t{} {what}", self.case, self.subject);
        say(&line.replace('\n', " "));
        run()
    }

    /// Makes a call that may fail, but not inside llama.cpp.
    pub(crate) fn call<T>(
        &mut self,
        what: impl Display,
        call: impl FnOnce() -> Result<T, Error>,
    ) -> Option<T> {
        let result = self.run(what, call);
        if self.is_poisoned {
            assert!(result.is_err(), "{}: works after an earlier call failed", self.case);
        }
        result.map_err(|error| self.look_at(&error)).ok()
    }

    /// Makes a call that an assertion in llama.cpp may answer: creating a context of a model whose numbers were
    /// changed. The graph of each architecture asserts in hundreds of places that they fit each other when it is
    /// first built: before anything is computed, on the calling thread, and before a context exists.
    pub(crate) fn call_contained<T>(
        &mut self,
        what: impl Display,
        call: impl FnOnce() -> Result<T, Error>,
    ) -> Option<T> {
        let result = self.run(what, call);
        let is_contained = |error: &Error| matches!(error.kind(), ErrorKind::Internal { .. });
        result
            .map_err(|error| {
                if !is_contained(&error) {
                    self.look_at(&error);
                }
            })
            .ok()
    }

    /// Asserts that an error is one of this crate's and has a text.
    fn look_at(&self, error: &Error) {
        let text = format!("{error} {error:?}");
        let missed = match error.kind() {
            ErrorKind::Exception { .. } | ErrorKind::Internal { .. } => true,
            ErrorKind::Poisoned { .. } => !self.is_poisoned,
            _ => false,
        };
        assert!(!missed, "{}: a check is missing: {text}", self.case);
    }

    pub(crate) fn end(&self) {
        say(&format!("{MARK}{DONE}\t{}", self.steps));
    }
}

/// Writes one line to the parent, immediately.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).unwrap();
}
