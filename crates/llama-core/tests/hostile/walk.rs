//! The one who walks: says what it is about to do, does it, and looks at what came of it.

use std::fmt::Display;
use std::io::Write as _;

use llama_core::{Error, ErrorKind};

use crate::child::{DONE, MARK};

/// See the module.
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

    /// Goes on to another object.
    pub(crate) fn on(&mut self, subject: impl Display, is_poisoned: bool) {
        self.subject = subject.to_string();
        self.is_poisoned = is_poisoned;
    }

    /// Whether the object's earlier call failed inside llama.cpp.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    /// Does something that cannot fail.
    pub(crate) fn run<T>(&mut self, what: impl Display, run: impl FnOnce() -> T) -> T {
        self.steps += 1;
        let line = format!("{MARK}{}\t{} {what}", self.case, self.subject);
        say(&line.replace('\n', " "));
        run()
    }

    /// Does something that may fail, but not inside llama.cpp.
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

    /// Does something of which an assertion in llama.cpp may be the answer: makes a context of a model whose numbers were
    /// changed. The graph of each architecture asserts that they fit each other, in hundreds of places, when it is first
    /// built: before anything is computed, on the calling thread, and there is no context then.
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

    /// An error must be one of ours, and have something to say.
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

/// One line to the parent, at once.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).unwrap();
}
