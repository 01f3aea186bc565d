//! What ends a generation from outside.

use std::time::Instant;

use crate::cancel::CancelToken;
use crate::event::FinishReason;
use crate::generate::Generate;

/// Whatever may end a generation before its time. Looked at before every step and, on the CPU, in the middle of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    /// The user's token.
    pub(crate) cancel: Option<CancelToken>,
    /// Cancelled when nobody waits for the events any more.
    pub(crate) dropped: Option<CancelToken>,
    pub(crate) deadline: Option<Instant>,
}

impl Interrupt {
    /// Of a generation that was begun at that time.
    pub(crate) fn begun(generate: &Generate, start: Instant) -> Self {
        let end = generate.params.max_time.and_then(|time| start.checked_add(time));
        let deadline = generate.interrupt.deadline.into_iter().chain(end).min();
        Self { deadline, ..generate.interrupt.clone() }
    }

    /// Whether there is anything to look at.
    pub(crate) fn is_possible(&self) -> bool {
        self.cancel.is_some() || self.dropped.is_some() || self.deadline.is_some()
    }

    pub(crate) fn reason(&self) -> Option<FinishReason> {
        if [&self.cancel, &self.dropped].into_iter().flatten().any(CancelToken::is_cancelled) {
            return Some(FinishReason::Cancelled);
        }
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline).then_some(FinishReason::Deadline)
    }
}
