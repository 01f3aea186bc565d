//! One step of every driver: plan, fill a batch, decode it, recover what a failure left behind, hand out rows of logits.

#[cfg(test)]
mod tests;

use core::ops::ControlFlow;
use core::time::Duration;
use std::time::Instant;

use llama_core::{Logits, Token};
use tracing::Span;

use crate::error::{Error, Result};
use crate::event::FinishReason;
use crate::memory::{Board, DecodeFailure, Executor, Gap, SequenceIndex};

/// Returns the time. Drivers hand it in.
pub(crate) type Clock<'c> = &'c dyn Fn() -> Instant;

/// A text that grows by a token whenever its tokens so far have been computed.
pub(crate) trait Member {
    /// The sequence of the board that holds it.
    fn sequence(&self) -> SequenceIndex;

    /// Whether it has not ended.
    fn is_running(&self) -> bool;

    /// Notes that it has ended.
    fn set_ended(&mut self);

    /// The tracing span that its work belongs to.
    fn span(&self) -> &Span;

    /// The member whose prompt is the same and is being computed for both.
    fn leader(&self) -> Option<usize> {
        None
    }

    /// Goes on without its leader: from a copy of its memory, or, without one, from the beginning of the prompt.
    fn leave_leader(&mut self, _n_shared: Option<usize>, _took: Duration) {}

    /// Begins or ends to count time.
    fn resume(&mut self, _now: Instant) {}
    fn pause(&mut self, _now: Instant) {}

    /// Why it ends now for a reason from outside, if it does.
    fn interrupt(&mut self, now: Instant) -> Option<FinishReason>;

    /// The tokens that are not in memory yet.
    fn pending(&mut self) -> &mut Pending;

    /// Decides what to do next.
    fn plan(&mut self, view: &View<'_>) -> Result<Plan>;

    /// Notes that the memory has room again: of `from` tokens `to` are left.
    fn made_room(&mut self, _from: usize, _to: usize) {}

    /// Notes that `n` pending tokens were computed, so that memory holds `len`.
    fn decoded(&mut self, _n: usize, _len: usize, _took: Duration) {}

    /// Takes the logits after its last token. `Some` when it ends by itself.
    fn take_row(&mut self, logits: &Logits<'_>, clock: Clock<'_>) -> Result<Option<FinishReason>>;
}

/// Tokens that come after those in memory and have not been computed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    tokens: Vec<Token>,
    done: usize,
}

impl Pending {
    pub(crate) fn new(tokens: Vec<Token>) -> Self {
        Self { tokens, done: 0 }
    }

    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens[self.done..]
    }

    pub(crate) fn len(&self) -> usize {
        self.tokens.len() - self.done
    }

    /// Notes that the first `n` were computed.
    pub(crate) fn take(&mut self, n: usize) {
        self.done += n;
    }

    /// Makes this token the only one.
    pub(crate) fn set(&mut self, token: Token) {
        self.tokens.clear();
        self.tokens.push(token);
        self.done = 0;
    }

    /// Puts back tokens that memory has lost.
    fn put_back(&mut self, mut lost: Vec<Token>) {
        lost.extend_from_slice(self.tokens());
        *self = Self::new(lost);
    }
}

/// A member's sequence, as far as its plan depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'b> {
    /// The tokens in memory.
    pub(crate) tokens: &'b [Token],
    /// The most tokens of the sequence.
    pub(crate) n_ctx: usize,
    /// The most tokens of a part of a prompt.
    pub(crate) n_chunk: usize,
    /// Whether checkpoints are of use.
    pub(crate) has_checkpoints: bool,
}

/// The next action of a member.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Compute the first tokens of those that are pending.
    Decode(Part),
    /// Drop a range of tokens from memory, and plan again.
    Shift(Gap),
    /// Go on from this text in place of the one in memory, and plan again.
    Replace(Vec<Token>),
    /// End.
    End(FinishReason),
}

/// Tokens of a member that are computed in one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) n: usize,
    /// Whether they are the last ones, so that the next token can be chosen afterwards.
    pub(crate) is_last: bool,
    /// Whether to keep a checkpoint afterwards.
    pub(crate) keeps_checkpoint: bool,
    /// Whether to wait until the device has computed them. Devices that compute on their own would be given the whole
    /// prompt otherwise, and could not be stopped any more.
    pub(crate) waits: bool,
}

/// A member that has ended, and why.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) member: usize,
    pub(crate) result: Result<FinishReason>,
}

/// Makes every member that has not ended go on by a part of its prompt or by a token. An error ends the member that it
/// belongs to, and no other.
pub(crate) fn step<E: Executor, M: Member>(
    board: &mut Board<E>,
    members: &mut [M],
    clock: Clock<'_>,
) -> Vec<Ended> {
    let now = clock();
    let running = |members: &mut [M], act: fn(&mut M, Instant), now| {
        members.iter_mut().filter(|member| member.is_running()).for_each(|member| act(member, now));
    };
    running(members, M::resume, now);
    let mut step = Step { board, members, clock, ended: Vec::new(), batch: Vec::new() };
    step.board.clear_batch();
    for member in 0..step.members.len() {
        if step.members[member].is_running() && !step.follows(member) {
            step.add(member);
        }
    }
    step.decode();
    let Step { members, ended, .. } = step;
    let now = clock();
    members.iter_mut().for_each(|member| member.pause(now));
    ended
}

struct Step<'s, E, M> {
    board: &'s mut Board<E>,
    members: &'s mut [M],
    clock: Clock<'s>,
    ended: Vec<Ended>,
    batch: Vec<Planned>,
}

/// A part of the batch.
#[derive(Clone, Copy, Debug)]
struct Planned {
    member: usize,
    part: Part,
    /// The index of its last token in the batch.
    row: usize,
}

impl<E: Executor, M: Member> Step<'_, E, M> {
    fn end(&mut self, member: usize, result: Result<FinishReason>) {
        self.members[member].set_ended();
        self.ended.push(Ended { member, result });
    }

    /// Whether a member waits for its leader to compute the prompt of both.
    fn follows(&mut self, member: usize) -> bool {
        let Some(leader) = self.members[member].leader() else { return false };
        if let Some(reason) = self.members[member].interrupt((self.clock)()) {
            self.end(member, Ok(reason));
            return true;
        }
        let is_led = self.members[leader].is_running();
        if !is_led {
            self.members[member].leave_leader(None, Duration::ZERO);
        }
        is_led
    }

    /// Adds the next tokens of a member to the batch; computes the batch first when it has no room for them.
    fn add(&mut self, member: usize) {
        let span = self.members[member].span().clone();
        match span.in_scope(|| self.plan(member)) {
            Ok(ControlFlow::Continue(part)) => {
                if part.n > self.board.room() {
                    self.decode();
                }
                let it = &mut self.members[member];
                let sequence = it.sequence();
                let row = self.board.push(sequence, &it.pending().tokens()[..part.n], part.is_last);
                self.batch.push(Planned { member, part, row });
            }
            Ok(ControlFlow::Break(reason)) => self.end(member, Ok(reason)),
            Err(error) => self.end(member, Err(error)),
        }
    }

    /// Plans until there is something to compute or the member ends, making room in memory where that is asked for.
    fn plan(&mut self, member: usize) -> Result<ControlFlow<FinishReason, Part>> {
        loop {
            let now = (self.clock)();
            let it = &mut self.members[member];
            if let Some(reason) = it.interrupt(now) {
                return Ok(ControlFlow::Break(reason));
            }
            let sequence = it.sequence();
            let (cells, limits) = (self.board.cells(sequence), self.board.limits());
            let from = cells.len() + it.pending().len();
            let view = View {
                tokens: cells.tokens(),
                n_ctx: limits.n_ctx,
                n_chunk: limits.n_chunk,
                has_checkpoints: cells.has_checkpoints(),
            };
            match it.plan(&view)? {
                Plan::Shift(gap) => self.board.shift(sequence, gap)?,
                Plan::Replace(tokens) => {
                    let reused = self.board.prepare(sequence, &tokens)?;
                    *it.pending() = Pending::new(tokens);
                    it.pending().take(reused);
                }
                Plan::Decode(part) => return Ok(ControlFlow::Continue(part)),
                Plan::End(reason) => return Ok(ControlFlow::Break(reason)),
            }
            let to = self.board.cells(sequence).len() + it.pending().len();
            it.made_room(from, to);
        }
    }

    /// Computes the batch and hands out its rows.
    fn decode(&mut self) {
        let batch = core::mem::take(&mut self.batch);
        let [first, ..] = batch.as_slice() else { return };
        let span = self.members[first.member].span().clone();
        let start = (self.clock)();
        let decoded = span.in_scope(|| self.board.decode());
        match decoded {
            Ok(()) => self.hand_out(&batch, start),
            Err(failure) => self.recover(&batch, failure),
        }
        self.board.clear_batch();
        // The memory for the next batch.
        if self.batch.is_empty() {
            self.batch = batch;
            self.batch.clear();
        }
    }

    fn hand_out(&mut self, batch: &[Planned], start: Instant) {
        if batch.iter().any(|planned| planned.part.waits)
            && let Err(error) = self.board.synchronize()
        {
            self.end(batch[0].member, Err(error));
        }
        let took = (self.clock)() - start;
        for Planned { member, part, row } in batch {
            if !self.members[*member].is_running() {
                continue;
            }
            let sequence = self.members[*member].sequence();
            let len = self.board.cells(sequence).len();
            self.members[*member].pending().take(part.n);
            self.members[*member].decoded(part.n, len, took);
            // Without it the next prompt takes longer, and that is all.
            if part.keeps_checkpoint
                && let Err(error) = self.board.checkpoint(sequence)
            {
                tracing::warn!("a checkpoint could not be kept: {error}");
            }
            if part.is_last {
                self.take_row(*member, *row, took);
            }
        }
    }

    /// Gives a row to its member, and to those that follow it.
    fn take_row(&mut self, member: usize, row: usize, took: Duration) {
        let sequence = self.members[member].sequence();
        for follower in 0..self.members.len() {
            if self.members[follower].is_running() && self.members[follower].leader() == Some(member) {
                let forked = self.board.fork(sequence, self.members[follower].sequence());
                let n_shared = self.board.cells(sequence).len();
                match forked {
                    Ok(()) => self.members[follower].leave_leader(Some(n_shared), took),
                    Err(error) => self.end(follower, Err(error)),
                }
                if self.members[follower].is_running() {
                    self.choose(follower, row);
                }
            }
        }
        self.choose(member, row);
    }

    fn choose(&mut self, member: usize, row: usize) {
        let it = &mut self.members[member];
        let span = it.span().clone();
        let chosen =
            self.board.logits(row).and_then(|logits| span.in_scope(|| it.take_row(&logits, self.clock)));
        match chosen {
            Ok(None) => {}
            Ok(Some(reason)) => self.end(member, Ok(reason)),
            Err(error) => self.end(member, Err(error)),
        }
    }

    /// After a batch that was not computed to its end: whoever was interrupted ends, and the others go on from what their
    /// memory holds. Where the batch itself failed, its parts are computed one by one, so that only those fail that have
    /// to.
    fn recover(&mut self, batch: &[Planned], failure: DecodeFailure) {
        let DecodeFailure { error, is_aborted, lost } = failure;
        for (Planned { member, part, .. }, lost) in batch.iter().zip(lost) {
            let pending = self.members[*member].pending();
            pending.take(part.n);
            pending.put_back(lost);
        }
        if is_aborted {
            self.end_interrupted(batch, error);
        } else if let [only] = batch {
            self.end(only.member, Err(error));
        } else {
            tracing::debug!("a batch of several sequences failed, and each is computed alone: {error}");
            for planned in batch {
                self.board.clear_batch();
                self.add(planned.member);
                self.decode();
            }
        }
    }

    fn end_interrupted(&mut self, batch: &[Planned], error: Error) {
        let now = (self.clock)();
        let mut is_explained = false;
        for planned in batch {
            if let Some(reason) = self.members[planned.member].interrupt(now) {
                self.end(planned.member, Ok(reason));
                is_explained = true;
            }
        }
        if !is_explained {
            self.end(batch[0].member, Err(error));
        }
    }
}
