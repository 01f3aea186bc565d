//! A context with one sequence, and what is known of its memory.

use llama_core::{Batch, Context, ErrorKind as CoreErrorKind, Pos, SeqId, StatePart, Token};

use crate::checkpoints::Checkpoints;
use crate::error::Result;
use crate::lora::Adapters;

/// The one sequence.
const SEQUENCE: SeqId = SeqId::new(0);

/// A context and the tokens in its memory, so that of a text that begins like the last one only the rest is computed.
///
/// What makes the same tokens leave something else in memory (adapters, control vectors) must not change while there
/// are tokens in it: [`forget`](Slot::forget) them first.
#[derive(Debug)]
pub(crate) struct Slot {
    context: Context,
    /// What is in memory: a token for each position from 0 on.
    tokens: Vec<Token>,
    /// How many of the first tokens have left in memory what they would leave again. `None`: all. After a shift those
    /// that were moved have not: they were computed when they could see the tokens that are gone.
    exact: Option<usize>,
    checkpoints: Checkpoints,
    batch: Batch,
}

impl Slot {
    /// Of a context whose memory is empty. `budget` is the most bytes of checkpoints.
    pub(crate) fn new(mut context: Context, budget: usize) -> Result<Self> {
        let budget = if needs_checkpoints(&mut context)? { budget } else { 0 };
        let checkpoints = Checkpoints::new(budget);
        Ok(Self { context, tokens: Vec::new(), exact: None, checkpoints, batch: Batch::new() })
    }

    /// Of a context whose memory was filled from a file with these tokens.
    #[cfg(feature = "chat")]
    pub(crate) fn of_filled(context: Context, tokens: Vec<Token>, budget: usize) -> Result<Self> {
        Ok(Self { tokens, ..Self::new(context, budget)? })
    }

    /// Whether the tokens would leave in memory again what is there.
    #[cfg(feature = "chat")]
    pub(crate) fn is_exact(&self) -> bool {
        self.exact.is_none()
    }

    /// Another one with the same in memory. Checkpoints stay here.
    #[cfg(feature = "chat")]
    pub(crate) fn try_clone(&mut self, budget: usize) -> Result<Self> {
        let clone = Self::of_filled(self.context.try_clone()?, self.tokens.clone(), budget)?;
        Ok(Self { exact: self.exact, ..clone })
    }

    pub(crate) fn context(&mut self) -> &mut Context {
        &mut self.context
    }

    /// The tokens in memory.
    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The most tokens that memory takes.
    pub(crate) fn n_ctx(&self) -> usize {
        self.context.n_ctx_seq() as usize
    }

    /// The most tokens that are computed at once.
    pub(crate) fn n_ubatch(&self) -> usize {
        self.context.n_ubatch().min(self.context.n_batch()).max(1) as usize
    }

    /// The index of the last token's results, for sampling.
    pub(crate) fn output(&self) -> Option<usize> {
        self.batch.last_output()
    }

    /// Bytes of checkpoints.
    pub(crate) fn checkpoint_bytes(&self) -> usize {
        self.checkpoints.bytes()
    }

    /// Whether checkpoints are worth their while: memory cannot be cut, and there is room for some.
    pub(crate) fn has_checkpoints(&self) -> bool {
        self.checkpoints.are_wanted()
    }

    /// How many tokens of a prompt are in memory and can stay. Not all of it: the last token has to be computed for its
    /// results.
    pub(crate) fn reusable(&mut self, prompt: &[Token]) -> Result<usize> {
        let common = self.common_prefix(prompt);
        if common == self.len() || self.can_cut(common)? || self.may_roll_back(common) {
            return Ok(common);
        }
        Ok(self.checkpoints.latest(common).unwrap_or(0))
    }

    /// Leaves in memory as much of the prompt's beginning as possible, and nothing else. Returns how many tokens that
    /// are; the rest is to be computed.
    pub(crate) fn prepare(&mut self, prompt: &[Token]) -> Result<usize> {
        let common = self.common_prefix(prompt);
        self.go_back(common)?;
        Ok(self.len())
    }

    fn common_prefix(&self, prompt: &[Token]) -> usize {
        let most = prompt.len().saturating_sub(1).min(self.exact.unwrap_or(usize::MAX));
        self.tokens.iter().zip(prompt).take(most).take_while(|(old, new)| old == new).count()
    }

    /// Goes back to the first `n` tokens, or, where memory cannot, to fewer of them.
    fn go_back(&mut self, n: usize) -> Result<()> {
        if n >= self.len() {
            return Ok(());
        }
        if n > 0 && (self.can_cut(n)? || self.may_roll_back(n)) {
            match self.context.memory().seq_rm(SEQUENCE, place(n)..) {
                Ok(()) => {
                    self.keep(n);
                    return Ok(());
                }
                Err(error) if matches!(error.kind(), CoreErrorKind::Unsupported { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.keep(n);
        self.restore()
    }

    /// Goes back to the latest checkpoint that can be restored, or to an empty memory.
    fn restore(&mut self) -> Result<()> {
        while let Some((n, state)) = self.checkpoints.last() {
            match self.context.set_seq_state_data(SEQUENCE, StatePart::Partial, state) {
                Ok(()) => {
                    self.keep(n);
                    return Ok(());
                }
                // A partial state needs what it leaves out, which is not there after an abort.
                Err(error) if matches!(error.kind(), CoreErrorKind::InvalidPosition { .. }) => {}
                Err(error) => tracing::warn!("a checkpoint of {n} tokens could not be restored: {error}"),
            }
            self.checkpoints.pop();
        }
        self.forget()
    }

    /// Empties the memory.
    pub(crate) fn forget(&mut self) -> Result<()> {
        self.keep(0);
        Ok(self.context.memory().clear(false)?)
    }

    /// Makes these the adapters. A memory of others is emptied.
    pub(crate) fn adapt(&mut self, adapters: &Adapters) -> Result<()> {
        if adapters.are_set(&self.context) {
            return Ok(());
        }
        self.forget()?;
        adapters.set(&mut self.context)
    }

    /// Notes that there are only the first `n` tokens in memory.
    fn keep(&mut self, n: usize) {
        self.tokens.truncate(n);
        self.exact = self.exact.filter(|exact| *exact < n);
        self.checkpoints.truncate(n);
    }

    /// Whether the positions from `n` on can be removed so that what comes next sees all that it should. A sliding
    /// window forgets: llama.cpp removes what is left without a word, and the next token would see a hole.
    fn can_cut(&mut self, n: usize) -> Result<bool> {
        let Some(first) = self.context.memory().seq_pos_min(SEQUENCE)? else { return Ok(false) };
        let (first, n_swa) =
            (usize::try_from(first.get()).unwrap_or(0), self.context.model().n_swa() as usize);
        // A recurrent state is at its last position only. A window holds the token itself and those before.
        Ok(first == 0 || (n_swa > 0 && first + n_swa <= n + 1))
    }

    /// Whether a recurrent memory may have a snapshot of that place.
    fn may_roll_back(&self, n: usize) -> bool {
        self.len() - n <= self.context.n_rs_seq() as usize
    }

    /// Computes tokens after those in memory; with `output`, the last one's results can then be sampled.
    ///
    /// After an error the tokens are those that are really in memory.
    pub(crate) fn decode(&mut self, tokens: &[Token], output: bool) -> Result<()> {
        self.batch.clear();
        self.batch.push_prompt(tokens, SEQUENCE, Pos::new(place(self.len())))?;
        if !output {
            self.batch.set_output(tokens.len() - 1, false)?;
        }
        let result = self.context.decode(&self.batch);
        self.tokens.extend_from_slice(tokens);
        if let Err(error) = result {
            self.find_out()?;
            return Err(error.into());
        }
        Ok(())
    }

    /// After a batch that was not computed to its end: looks what is left.
    fn find_out(&mut self) -> Result<()> {
        if self.context.is_poisoned() {
            self.keep(0);
            return Ok(());
        }
        match self.context.memory().seq_pos_max(SEQUENCE)? {
            Some(last) => self.keep(usize::try_from(last.get()).unwrap_or(0) + 1),
            // A state that was being changed is gone.
            None => self.restore()?,
        }
        Ok(())
    }

    /// Keeps a checkpoint of the memory as it is, where that is of use.
    pub(crate) fn checkpoint(&mut self) -> Result<()> {
        let n = self.len();
        let is_there = self.checkpoints.last().is_some_and(|(last, _)| last == n);
        if !self.checkpoints.are_wanted() || n == 0 || is_there || self.exact.is_some() {
            return Ok(());
        }
        let size = self.context.seq_state_size(SEQUENCE, StatePart::Partial)?;
        if self.checkpoints.make_room(size) {
            let mut state = Vec::new();
            self.context.seq_state_data(SEQUENCE, StatePart::Partial, &mut state)?;
            self.checkpoints.push(n, state);
        }
        Ok(())
    }

    /// Why tokens cannot be dropped from the middle of the memory; `None` where they can.
    pub(crate) fn shift_refusal(&mut self) -> Result<Option<&'static str>> {
        let model = self.context.model();
        if model.is_recurrent() || model.is_hybrid() {
            return Ok(Some("its memory sums up what it has read and cannot forget a part"));
        }
        if self.context.memory().can_shift()? {
            return Ok(None);
        }
        if self.context.model().n_swa() > 0 {
            return Ok(Some("its sliding window has forgotten a part already: load it with swa_full(true)"));
        }
        Ok(Some("the positions of its tokens cannot be moved"))
    }

    /// Drops `discard` tokens after the first `keep`, and moves the rest up.
    pub(crate) fn shift(&mut self, keep: usize, discard: usize) -> Result<()> {
        let end = keep + discard;
        let mut memory = self.context.memory();
        let removed = memory.seq_rm(SEQUENCE, place(keep)..place(end));
        let moved = removed.and_then(|()| memory.seq_add(SEQUENCE, place(end).., -place(discard)));
        if let Err(error) = moved {
            self.forget()?;
            return Err(error.into());
        }
        self.tokens.drain(keep..end);
        self.exact = Some(self.exact.map_or(keep, |exact| exact.min(keep)));
        self.checkpoints.truncate(keep);
        Ok(())
    }
}

/// Whether the memory cannot be cut, at the latest when it has been in use for a while. Where a window can be shifted,
/// it has as much room as the rest (llama-kv-cache-iswa.cpp, `get_can_shift`) and forgets nothing until it is.
fn needs_checkpoints(context: &mut Context) -> Result<bool> {
    let model = context.model();
    let is_state = model.is_recurrent() || model.is_hybrid();
    Ok(context.has_memory() && context.has_partial_state() && (is_state || !context.memory().can_shift()?))
}

/// A number of tokens as a position; contexts are not larger than that.
fn place(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
