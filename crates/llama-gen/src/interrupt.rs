//! Reasons from outside to end a generation.

use core::time::Duration;
use std::time::Instant;

use crate::cancel::CancelToken;
use crate::event::FinishReason;

/// Everything that may end a generation before its time. It is looked at before every step and, on the CPU, in the middle
/// of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    /// The user's token.
    pub(crate) cancel: Option<CancelToken>,
    /// Cancelled when nobody waits for the events any more.
    pub(crate) dropped: Option<CancelToken>,
    pub(crate) deadline: Option<Instant>,
}

impl Interrupt {
    /// Returns the interrupt of a generation that was begun at `start` and may take as long as `max_time`.
    pub(crate) fn begun(&self, max_time: Option<Duration>, start: Instant) -> Self {
        let end = max_time.and_then(|time| start.checked_add(time));
        let deadline = self.deadline.into_iter().chain(end).min();
        Self { deadline, ..self.clone() }
    }

    /// Whether there is anything to look at.
    pub(crate) fn is_possible(&self) -> bool {
        self.cancel.is_some() || self.dropped.is_some() || self.deadline.is_some()
    }

    /// Why the generation ends now, if it does.
    pub(crate) fn reason(&self, now: Instant) -> Option<FinishReason> {
        if [&self.cancel, &self.dropped].into_iter().flatten().any(CancelToken::is_cancelled) {
            return Some(FinishReason::Cancelled);
        }
        self.deadline.is_some_and(|deadline| now >= deadline).then_some(FinishReason::Deadline)
    }
}
