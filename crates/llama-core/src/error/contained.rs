//! The errors after which an object is in an unknown state, and those before which nothing has happened.

use super::{Error, ErrorKind};

impl Error {
    /// Whether a guarded call has failed or was not made: nothing is known of the object that it worked on.
    pub(crate) fn is_contained(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Internal { .. }
                | ErrorKind::Exception { .. }
                | ErrorKind::OutOfMemory { .. }
                | ErrorKind::ProcessEnds
        )
    }

    /// Whether llama.cpp was not called at all, so that nothing has changed.
    pub(crate) fn is_before_call(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::ProcessEnds | ErrorKind::InCallback { .. } | ErrorKind::Forked { .. }
        )
    }
}
