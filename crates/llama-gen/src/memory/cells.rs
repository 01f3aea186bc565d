//! The ledger of one sequence: which tokens its memory holds, and how it can go back in them.

use llama_core::{SeqId, Token};

use super::checkpoints::Checkpoints;
use super::executor::{Executor, MemoryTraits};
use crate::error::{ErrorKind, Result};

/// A range of tokens that a shift drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The number of tokens that stay before it.
    pub(crate) keep: usize,
    /// The number of tokens in it.
    pub(crate) discard: usize,
}

/// The tokens in the memory of one sequence, so that the common prefix of two texts is computed once.
///
/// Whatever makes the same tokens leave something else in memory (adapters, control vectors) must not change while it
/// holds tokens.
#[derive(Debug)]
pub(crate) struct Cells {
    sequence: SeqId,
    /// Whether the context has no other sequence, so that forgetting it leaves the memory as new.
    is_alone: bool,
    traits: MemoryTraits,
    /// One token for each position from 0 on.
    tokens: Vec<Token>,
    /// How many of the first tokens would leave in memory again what is there; `None` for all. Tokens that a shift moved
    /// would not: they were computed when they could see the tokens that were dropped.
    exact: Option<usize>,
    checkpoints: Checkpoints,
}

impl Cells {
    /// Creates the ledger of an empty sequence. `budget` is the most bytes of checkpoints.
    pub(super) fn new(sequence: SeqId, is_alone: bool, traits: MemoryTraits, budget: usize) -> Self {
        let budget = if needs_checkpoints(&traits) { budget } else { 0 };
        let checkpoints = Checkpoints::new(budget);
        Self { sequence, is_alone, traits, tokens: Vec::new(), exact: None, checkpoints }
    }

    pub(crate) fn sequence(&self) -> SeqId {
        self.sequence
    }

    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The bytes of its checkpoints.
    pub(crate) fn checkpoint_bytes(&self) -> usize {
        self.checkpoints.bytes()
    }

    /// Whether checkpoints are of use: the memory cannot be cut, and there is room for some.
    pub(crate) fn has_checkpoints(&self) -> bool {
        self.checkpoints.are_wanted()
    }

    /// Whether the tokens would leave in memory again what is there.
    #[cfg(feature = "chat")]
    pub(crate) fn is_exact(&self) -> bool {
        self.exact.is_none()
    }

    /// Notes that the memory holds these tokens, which were loaded from a file.
    #[cfg(feature = "chat")]
    pub(super) fn fill(&mut self, tokens: Vec<Token>) {
        self.tokens = tokens;
        self.exact = None;
        self.checkpoints.truncate(0);
    }

    /// Notes that the memory is a copy of another sequence's. Checkpoints are not copied.
    pub(super) fn fill_as(&mut self, other: &Self) {
        self.tokens.clone_from(&other.tokens);
        self.exact = other.exact;
        self.checkpoints.truncate(0);
    }

    /// Returns how many tokens of a prompt can stay in memory. The last token of the prompt never counts: it is computed
    /// for its logits.
    pub(crate) fn reusable(&self, executor: &mut impl Executor, prompt: &[Token]) -> Result<usize> {
        let common = self.common_prefix(prompt);
        if common == self.len() || self.can_cut(executor, common)? || self.may_roll_back(common) {
            return Ok(common);
        }
        Ok(self.checkpoints.latest(common).unwrap_or(0))
    }

    /// Keeps the longest possible prefix of the prompt in memory and removes everything else. Returns its length.
    pub(crate) fn prepare(&mut self, executor: &mut impl Executor, prompt: &[Token]) -> Result<usize> {
        let common = self.common_prefix(prompt);
        self.go_back(executor, common)?;
        Ok(self.len())
    }

    fn common_prefix(&self, prompt: &[Token]) -> usize {
        let most = prompt.len().saturating_sub(1).min(self.exact.unwrap_or(usize::MAX));
        self.tokens.iter().zip(prompt).take(most).take_while(|(old, new)| old == new).count()
    }

    /// Goes back to the first `n` tokens or, where the memory cannot, to fewer.
    fn go_back(&mut self, executor: &mut impl Executor, n: usize) -> Result<()> {
        if n >= self.len() {
            return Ok(());
        }
        let is_possible = n > 0 && (self.can_cut(executor, n)? || self.may_roll_back(n));
        let is_removed = is_possible && executor.remove(self.sequence, n, None)?;
        self.keep(n);
        if is_removed { Ok(()) } else { self.restore(executor) }
    }

    /// Goes back to the latest checkpoint that can be restored, or to an empty memory.
    fn restore(&mut self, executor: &mut impl Executor) -> Result<()> {
        while let Some((n, state)) = self.checkpoints.last() {
            match executor.set_state(self.sequence, state) {
                Ok(true) => {
                    self.keep(n);
                    return Ok(());
                }
                // A partial state needs the rest of the memory, which is gone after an abort.
                Ok(false) => {}
                Err(error) => tracing::warn!("a checkpoint of {n} tokens could not be restored: {error}"),
            }
            self.checkpoints.pop();
        }
        self.forget(executor)
    }

    /// Empties the sequence.
    pub(crate) fn forget(&mut self, executor: &mut impl Executor) -> Result<()> {
        self.keep(0);
        if self.is_alone {
            return executor.clear();
        }
        executor.remove(self.sequence, 0, None).map(drop)
    }

    /// Notes that the memory holds the first `n` tokens only.
    pub(super) fn keep(&mut self, n: usize) {
        self.tokens.truncate(n);
        self.exact = self.exact.filter(|exact| *exact < n);
        self.checkpoints.truncate(n);
    }

    /// Whether the positions from `n` on can be removed so that the next token sees everything that it should. A sliding
    /// window has forgotten its beginning: llama.cpp removes the rest without an error, and the next token sees a hole.
    fn can_cut(&self, executor: &mut impl Executor, n: usize) -> Result<bool> {
        let Some(first) = executor.first_position(self.sequence)? else { return Ok(false) };
        let n_swa = self.traits.n_swa;
        // A recurrent state is at its last position only. A window holds the token itself and those before it.
        Ok(first == 0 || (n_swa > 0 && first + n_swa <= n + 1))
    }

    /// Whether a recurrent memory may have a snapshot of that place.
    fn may_roll_back(&self, n: usize) -> bool {
        self.len() - n <= self.traits.n_rollback
    }

    /// Notes that a token was decoded after the others.
    pub(super) fn decoded(&mut self, token: Token) {
        self.tokens.push(token);
    }

    /// Finds out what a batch left behind that was not computed to its end, its tokens having been noted as decoded.
    /// Returns the tokens that are no longer in memory: at least the last one, whose logits are missing.
    pub(super) fn recover(&mut self, executor: &mut impl Executor) -> Result<Vec<Token>> {
        let before = self.tokens.clone();
        if executor.is_poisoned() {
            self.keep(0);
        } else {
            match executor.last_position(self.sequence)? {
                Some(last) => {
                    self.keep(last + 1);
                    self.go_back(executor, before.len() - 1)?;
                }
                // A state that was being changed is gone.
                None => self.restore(executor)?,
            }
        }
        Ok(before[self.len().min(before.len())..].to_vec())
    }

    /// Makes another, empty sequence hold the same. Checkpoints stay here.
    pub(super) fn fork(&self, executor: &mut impl Executor, to: &mut Self) -> Result<()> {
        executor.copy(self.sequence, to.sequence)?;
        to.fill_as(self);
        Ok(())
    }

    /// Keeps a checkpoint of the memory as it is, where that is of use.
    pub(crate) fn checkpoint(&mut self, executor: &mut impl Executor) -> Result<()> {
        let n = self.len();
        let is_there = self.checkpoints.last().is_some_and(|(last, _)| last == n);
        if !self.checkpoints.are_wanted() || n == 0 || is_there || self.exact.is_some() {
            return Ok(());
        }
        if self.checkpoints.make_room(executor.state_size(self.sequence)?) {
            self.checkpoints.push(n, executor.state(self.sequence)?);
        }
        Ok(())
    }

    /// Returns why tokens cannot be dropped from the middle of the memory; `None` where they can.
    pub(crate) fn shift_refusal(&self) -> Option<&'static str> {
        if self.traits.is_state {
            return Some("its memory sums up what it has read and cannot forget a part");
        }
        if self.traits.can_shift {
            return None;
        }
        if self.traits.n_swa > 0 {
            return Some("its sliding window has forgotten a part already: load it with swa_full(true)");
        }
        Some("the positions of its tokens cannot be moved")
    }

    /// Drops the tokens of a gap and moves the rest down.
    pub(crate) fn shift(&mut self, executor: &mut impl Executor, gap: Gap) -> Result<()> {
        let Gap { keep, discard } = gap;
        let end = keep + discard;
        let removed = executor.remove(self.sequence, keep, Some(end)).and_then(|is_removed| {
            let refused =
                || ErrorKind::CannotShift { reason: "its memory did not drop a part of the text" }.into();
            if is_removed { Ok(()) } else { Err(refused()) }
        });
        if let Err(error) = removed.and_then(|()| executor.move_down(self.sequence, end, discard)) {
            self.forget(executor)?;
            return Err(error);
        }
        self.tokens.drain(keep..end);
        self.exact = Some(self.exact.map_or(keep, |exact| exact.min(keep)));
        self.checkpoints.truncate(keep);
        Ok(())
    }
}

/// Whether the memory cannot be cut, at the latest when it has been in use for a while. Where a window can be shifted,
/// it has as much room as the rest (llama-kv-cache-iswa.cpp, `get_can_shift`) and forgets nothing until it is.
fn needs_checkpoints(traits: &MemoryTraits) -> bool {
    traits.has_partial_state && (traits.is_state || !traits.can_shift)
}
