//! Detection of texts that repeat themselves.

use llama_core::Token;
use serde::{Deserialize, Serialize};

use crate::error::ParameterProblem;

/// The limits for a text that repeats itself. It is ended when its last tokens repeat a sequence of at most `max_period`
/// tokens at least `repeats` times, with at least `min_tokens` tokens in total.
///
/// The defaults let a table or a rhyme pass, and end the loop of a model within a few hundred tokens. Each token costs
/// `max_period` comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Fields")]
#[non_exhaustive]
pub struct RepetitionGuard {
    /// The longest repeated sequence to detect, from 1 to 1024 tokens. Default: 64.
    pub max_period: u32,
    /// The number of occurrences in a row, at least 2. Default: 4.
    pub repeats: u32,
    /// The least total length of all occurrences, in tokens. Default: 64.
    pub min_tokens: u32,
}

/// The fields as they are read: `null` is the default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    max_period: Option<u32>,
    repeats: Option<u32>,
    min_tokens: Option<u32>,
}

impl From<Fields> for RepetitionGuard {
    fn from(fields: Fields) -> Self {
        let default = Self::default();
        Self {
            max_period: fields.max_period.unwrap_or(default.max_period),
            repeats: fields.repeats.unwrap_or(default.repeats),
            min_tokens: fields.min_tokens.unwrap_or(default.min_tokens),
        }
    }
}

const MAX_PERIOD: u32 = 1024;

impl Default for RepetitionGuard {
    fn default() -> Self {
        Self { max_period: 64, repeats: 4, min_tokens: 64 }
    }
}

impl RepetitionGuard {
    /// Sets the longest repeated sequence to detect, from 1 to 1024 tokens.
    #[must_use]
    pub fn max_period(mut self, tokens: u32) -> Self {
        self.max_period = tokens;
        self
    }

    /// Sets the number of occurrences in a row, at least 2.
    #[must_use]
    pub fn repeats(mut self, repeats: u32) -> Self {
        self.repeats = repeats;
        self
    }

    /// Sets the least total length of all occurrences, in tokens.
    #[must_use]
    pub fn min_tokens(mut self, tokens: u32) -> Self {
        self.min_tokens = tokens;
        self
    }

    /// Adds the fields that are out of range.
    pub(crate) fn check(self, problems: &mut Vec<ParameterProblem>) {
        let mut refuse = |name, value, expected| problems.push(ParameterProblem::new(name, value, expected));
        if !(1..=MAX_PERIOD).contains(&self.max_period) {
            refuse("repetition_guard.max_period", self.max_period, format!("from 1 to {MAX_PERIOD}"));
        }
        if self.repeats < 2 {
            refuse("repetition_guard.repeats", self.repeats, "at least 2".to_owned());
        }
    }
}

/// Detects repetitions in a sequence.
#[derive(Debug)]
pub(crate) struct Repetition {
    guard: RepetitionGuard,
    /// The last `max_period` tokens, a ring buffer.
    recent: Vec<Token>,
    next: usize,
    /// For each period from 1 on, the number of last tokens that equal the token one period before.
    runs: Vec<u32>,
}

impl Repetition {
    pub(crate) fn new(guard: RepetitionGuard) -> Self {
        let periods = guard.max_period.min(MAX_PERIOD) as usize;
        Self { guard, recent: Vec::with_capacity(periods), next: 0, runs: vec![0; periods] }
    }

    /// Takes the next token. Returns true when the sequence repeats itself.
    pub(crate) fn push(&mut self, token: Token) -> bool {
        let size = self.runs.len();
        if size == 0 {
            return false;
        }
        let mut is_loop = false;
        for (period, run) in (1..).zip(&mut self.runs) {
            // The ring is filled from its beginning, so that `next` is also the number of tokens until it is full.
            let before = (self.next + size - period) % size;
            let is_equal = period <= self.recent.len() && self.recent[before] == token;
            *run = if is_equal { run.saturating_add(1) } else { 0 };
            let length = *run as usize + period;
            is_loop |= is_equal
                && length >= period.saturating_mul(self.guard.repeats as usize)
                && length >= self.guard.min_tokens as usize;
        }
        if self.recent.len() < size {
            self.recent.push(token);
        } else {
            self.recent[self.next] = token;
        }
        self.next = (self.next + 1) % size;
        is_loop
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Returns whether, for some period, the longest repeating end of the sequence is long enough. A direct reference
    /// implementation.
    fn is_loop(guard: RepetitionGuard, tokens: &[Token]) -> bool {
        (1..=guard.max_period as usize).any(|period| {
            let pairs = tokens.iter().rev().zip(tokens.iter().rev().skip(period));
            let run = pairs.take_while(|(later, earlier)| later == earlier).count();
            let length = run + period;
            run > 0 && length >= period * guard.repeats as usize && length >= guard.min_tokens as usize
        })
    }

    proptest! {
        #[test]
        fn loops_are_those_found_by_hand(
            tokens in vec(0..3_i32, 0..60), max_period in 1..8_u32, repeats in 2..5_u32, min_tokens in 0..12_u32,
        ) {
            let guard = RepetitionGuard { max_period, repeats, min_tokens };
            let tokens: Vec<Token> = tokens.into_iter().map(Token::new).collect();
            let mut repetition = Repetition::new(guard);
            for (index, token) in tokens.iter().enumerate() {
                prop_assert_eq!(repetition.push(*token), is_loop(guard, &tokens[..=index]), "after {} tokens", index + 1);
            }
        }
    }
}
