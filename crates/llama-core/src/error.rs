//! The errors of this crate. Each states the value, the limit, and the remedy.

mod decode;
mod kind;
mod parameter;
mod samplers;
mod state;
#[cfg(feature = "common")]
mod template;

use std::fmt;

pub use decode::DecodeError;
pub use kind::ErrorKind;
pub use parameter::ParameterProblem;
pub use samplers::{GrammarPosition, SamplerProblem};
pub use state::{Removed, StateError};
#[cfg(feature = "common")]
pub use template::TemplateLimit;

/// The result of this crate's functions.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// An error, with the lines that llama.cpp logged while the call failed.
///
/// The text contains every reason, so there is no [`source`](std::error::Error::source). [`kind`](Error::kind) contains the
/// errors of other crates and of the system as values.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    log: Vec<String>,
}

impl Error {
    pub(crate) fn from_kind(kind: ErrorKind) -> Self {
        Self(Box::new(Inner { kind, log: Vec::new() }))
    }

    /// Adds the lines that llama.cpp logged while the failed call ran.
    pub(crate) fn with_log(mut self, log: Vec<String>) -> Self {
        if self.0.log.is_empty() {
            self.0.log = log;
        }
        self
    }

    /// Replaces the kind and keeps the log.
    pub(crate) fn map_kind(mut self, map: impl FnOnce(ErrorKind) -> ErrorKind) -> Self {
        self.0.kind = map(self.0.kind);
        self
    }

    /// Returns whether a guarded call failed or was not made. The state of the object that it worked on is then
    /// unknown.
    pub(crate) fn is_contained(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Internal { .. }
                | ErrorKind::Exception { .. }
                | ErrorKind::OutOfMemory { .. }
                | ErrorKind::ProcessEnds
        )
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Returns whether llama.cpp was not called at all, so that nothing has changed.
    pub(crate) fn is_before_call(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::ProcessEnds | ErrorKind::InCallback { .. } | ErrorKind::Forked { .. }
        )
    }

    /// Returns the warnings and errors that llama.cpp logged during the failed call, oldest first.
    #[must_use]
    pub fn log(&self) -> &[String] {
        &self.0.log
    }
}

impl From<ParameterProblem> for Error {
    fn from(problem: ParameterProblem) -> Self {
        ErrorKind::from(problem).into()
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::from_kind(kind)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.kind)?;
        for line in &self.0.log {
            write!(f, "\n  llama.cpp: {line}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("kind", &self.0.kind).field("log", &self.0.log).finish()
    }
}

// The text contains every reason, including those of other crates and of the system. `source` would repeat them.
impl std::error::Error for Error {}
