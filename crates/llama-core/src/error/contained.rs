//! Errors that leave an object in an unknown state, and errors of calls that were not made.

use super::{Error, ErrorKind};

impl Error {
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

    /// Returns whether llama.cpp was not called at all, so that nothing has changed.
    pub(crate) fn is_before_call(&self) -> bool {
        match self.kind() {
            ErrorKind::ProcessEnds | ErrorKind::InCallback { .. } | ErrorKind::Forked { .. } => true,
            #[cfg(feature = "dynamic")]
            ErrorKind::Library(_) => true,
            _ => false,
        }
    }
}
