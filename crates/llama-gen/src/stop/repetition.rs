//! Ends texts that go round in circles.

use llama_core::Token;
use serde::{Deserialize, Serialize};

use crate::error::ParameterProblem;

/// When a text counts as going round in circles: its last tokens are one sequence of at most `max_period` tokens, over
/// and over, at least `repeats` times and at least `min_tokens` tokens in all.
///
/// The defaults let a table or a rhyme pass and end a loop of any model within some hundred tokens. A step costs
/// `max_period` comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Fields")]
#[non_exhaustive]
pub struct RepetitionGuard {
    /// The longest sequence that is looked for, 1 to 1024 tokens. Default: 64.
    pub max_period: u32,
    /// How often it has to be there, at least 2. Default: 4.
    pub repeats: u32,
    /// The least length of all repetitions together, in tokens. Default: 64.
    pub min_tokens: u32,
}

/// The fields as they are read: a `null` is the default.
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
    /// See [`max_period`](Self::max_period).
    #[must_use]
    pub fn max_period(mut self, tokens: u32) -> Self {
        self.max_period = tokens;
        self
    }

    /// See [`repeats`](Self::repeats).
    #[must_use]
    pub fn repeats(mut self, repeats: u32) -> Self {
        self.repeats = repeats;
        self
    }

    /// See [`min_tokens`](Self::min_tokens).
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

/// Watches a sequence for repetitions.
#[derive(Debug)]
pub(crate) struct Repetition {
    guard: RepetitionGuard,
    /// The last `max_period` tokens, a ring.
    recent: Vec<Token>,
    next: usize,
    /// For each period from 1 on, how many tokens in a row are equal to the one that many tokens before.
    runs: Vec<u32>,
}

impl Repetition {
    pub(crate) fn new(guard: RepetitionGuard) -> Self {
        let periods = guard.max_period.min(MAX_PERIOD) as usize;
        Self { guard, recent: Vec::with_capacity(periods), next: 0, runs: vec![0; periods] }
    }

    /// Takes the next token; true when the sequence goes round in circles.
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

    /// By hand: whether the longest end that repeats itself after so many tokens is long enough, for some number.
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
