//! A fake context for tests: its logits are a hash of the tokens that a sequence has seen, and it fails when it is told to.

use core::hash::{Hash as _, Hasher as _};
use std::collections::{BTreeMap, VecDeque};
use std::hash::DefaultHasher;

use llama_core::{Logits, SeqId, Token};

use super::executor::{DecodeStop, Entry, Executor, Limits, MemoryTraits};
use crate::error::{Error, ErrorKind, Result};
use crate::lora::Adapters;

/// The outcome of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is computed.
    Computed,
    /// It is aborted after that many tokens.
    AbortedAfter(usize),
    /// It fails after that many tokens.
    FailsAfter(usize),
}

/// The memory of several sequences: a token for each position, from 0 on.
#[derive(Debug)]
pub(crate) struct FakeExecutor {
    pub(crate) limits: Limits,
    pub(crate) traits: MemoryTraits,
    n_vocab: usize,
    sequences: BTreeMap<i32, Vec<Token>>,
    rows: BTreeMap<usize, Vec<f32>>,
    /// The outcomes of the next batches; later ones are computed.
    pub(crate) fates: VecDeque<Fate>,
    /// A token with which every batch fails.
    pub(crate) forbidden: Option<Token>,
    /// The number of batches so far, and of the tokens in them.
    pub(crate) n_batches: usize,
    pub(crate) n_tokens: usize,
}

impl FakeExecutor {
    pub(crate) fn new(n_vocab: usize, limits: Limits) -> Self {
        Self {
            limits,
            traits: MemoryTraits { can_shift: true, ..MemoryTraits::default() },
            n_vocab,
            sequences: BTreeMap::new(),
            rows: BTreeMap::new(),
            fates: VecDeque::new(),
            forbidden: None,
            n_batches: 0,
            n_tokens: 0,
        }
    }

    /// Returns the tokens that a sequence holds.
    pub(crate) fn tokens(&self, sequence: SeqId) -> &[Token] {
        self.sequences.get(&sequence.get()).map_or(&[], Vec::as_slice)
    }

    fn of(&mut self, sequence: SeqId) -> &mut Vec<Token> {
        self.sequences.entry(sequence.get()).or_default()
    }

    fn row(&self, sequence: SeqId) -> Vec<f32> {
        let mut hasher = DefaultHasher::new();
        self.tokens(sequence).hash(&mut hasher);
        let mut random = hasher.finish() | 1;
        let logit = |_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            f32::from(u16::try_from(random % 997).unwrap()) / 100.0
        };
        (0..self.n_vocab).map(logit).collect()
    }
}

fn error(reason: &str) -> Error {
    ErrorKind::InvalidPrompt { reason: reason.to_owned() }.into()
}

impl Executor for FakeExecutor {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn traits(&mut self) -> Result<MemoryTraits> {
        Ok(self.traits)
    }

    fn decode(&mut self, entries: &[Entry]) -> Result<(), DecodeStop> {
        assert!(!entries.is_empty() && entries.len() <= self.limits.n_batch, "{} tokens", entries.len());
        self.n_batches += 1;
        self.rows.clear();
        let fate = self.fates.pop_front().unwrap_or(Fate::Computed);
        if entries.iter().any(|entry| Some(entry.token) == self.forbidden) {
            return Err(DecodeStop::Failed(error("forbidden")));
        }
        for (index, entry) in entries.iter().enumerate() {
            match fate {
                Fate::AbortedAfter(n) if n == index => return Err(self.lose(entries, DecodeStop::Aborted)),
                Fate::FailsAfter(n) if n == index => return Err(self.lose(entries, DecodeStop::Failed)),
                _ => {}
            }
            assert_eq!(entry.position, self.of(entry.sequence).len(), "{entry:?}");
            self.of(entry.sequence).push(entry.token);
            self.n_tokens += 1;
            if entry.output {
                let row = self.row(entry.sequence);
                self.rows.insert(index, row);
            }
        }
        Ok(())
    }

    fn synchronize(&mut self) -> Result<()> {
        Ok(())
    }

    fn logits(&self, entry: usize) -> Result<Logits<'_>> {
        self.rows.get(&entry).map(|row| Logits::from_slice(row)).ok_or_else(|| error("no logits"))
    }

    fn is_poisoned(&self) -> bool {
        false
    }

    fn clear(&mut self) -> Result<()> {
        self.sequences.clear();
        Ok(())
    }

    fn remove(&mut self, sequence: SeqId, from: usize, to: Option<usize>) -> Result<bool> {
        let is_whole = from == 0 && to.is_none();
        if self.traits.is_state && !is_whole {
            return Ok(false);
        }
        let tokens = self.of(sequence);
        let to = to.unwrap_or(tokens.len()).min(tokens.len());
        tokens.drain(from.min(to)..to);
        Ok(true)
    }

    // Removing has moved them already: a position is an index here.
    fn move_down(&mut self, _: SeqId, _: usize, _: usize) -> Result<()> {
        Ok(())
    }

    fn copy(&mut self, from: SeqId, to: SeqId) -> Result<()> {
        let tokens = self.of(from).clone();
        *self.of(to) = tokens;
        Ok(())
    }

    fn first_position(&mut self, sequence: SeqId) -> Result<Option<usize>> {
        let (len, is_state) = (self.of(sequence).len(), self.traits.is_state);
        Ok((len > 0).then(|| if is_state { len - 1 } else { 0 }))
    }

    fn last_position(&mut self, sequence: SeqId) -> Result<Option<usize>> {
        Ok(self.of(sequence).len().checked_sub(1))
    }

    fn state_size(&mut self, sequence: SeqId) -> Result<usize> {
        Ok(self.of(sequence).len() * size_of::<i32>())
    }

    fn state(&mut self, sequence: SeqId) -> Result<Vec<u8>> {
        Ok(self.of(sequence).iter().flat_map(|token| token.get().to_le_bytes()).collect())
    }

    fn set_state(&mut self, sequence: SeqId, state: &[u8]) -> Result<bool> {
        let tokens =
            state.chunks_exact(4).map(|bytes| Token::new(i32::from_le_bytes(bytes.try_into().unwrap())));
        *self.of(sequence) = tokens.collect();
        Ok(true)
    }

    fn has_adapters(&self, adapters: &Adapters) -> bool {
        adapters.list().is_empty()
    }

    fn set_adapters(&mut self, _: &Adapters) -> Result<()> {
        Ok(())
    }
}

impl FakeExecutor {
    /// A state that was being changed is gone, as in recurrent models.
    fn lose(&mut self, entries: &[Entry], stop: fn(Error) -> DecodeStop) -> DecodeStop {
        if self.traits.is_state {
            entries.iter().for_each(|entry| self.of(entry.sequence).clear());
        }
        stop(error("stopped"))
    }
}
