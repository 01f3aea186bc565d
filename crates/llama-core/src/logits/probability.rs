//! Probabilities of tokens from a row of logits, without copying the row.

use core::cmp::Ordering;

use super::Logits;
use super::softmax::{self, Normaliser};
use crate::token::Token;

/// The softmax over a row of logits, whose sum is computed once for all queries. Created by [`Logits::softmax`].
///
/// The error of log-probabilities is at most `2.7e-7 + 6e-8 * ln(n)` for a row of `n` logits, which is 1.02e-6 for
/// 262,144, before rounding to single precision. All functions return the same value for the same token of the same
/// row. A logit that is NaN counts as negative infinity, which means an impossible token. Infinite logits share all
/// of the probability.
///
/// ```
/// use llama_core::{Logits, Token};
///
/// let row = [0.1_f32, 0.2, 0.7].map(f32::ln);
/// let softmax = Logits::from_slice(&row).softmax();
/// let probability = softmax.log_probability(Token::new(2)).unwrap().exp();
/// assert!((probability - 0.7).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Softmax<'c> {
    row: &'c [f32],
    normaliser: Normaliser,
}

impl<'c> Logits<'c> {
    /// Sums up the row, in two passes with vector instructions, for the probabilities of several tokens.
    #[must_use]
    pub fn softmax(&self) -> Softmax<'c> {
        Softmax { row: self.row, normaliser: Normaliser::of(self.row) }
    }

    /// Returns the natural logarithm of a token's probability (softmax over the row), or `None` outside of the
    /// vocabulary. A logit that is NaN counts as negative infinity.
    ///
    /// This goes through the whole row: for several tokens, [`softmax`](Logits::softmax) is cheaper. See [`Softmax`]
    /// for the accuracy.
    #[must_use]
    pub fn log_probability(&self, token: Token) -> Option<f32> {
        self.get(token)?;
        self.softmax().log_probability(token)
    }

    /// Writes the log-probabilities of all tokens into `values`, which is cleared first and keeps its capacity.
    pub fn log_softmax(&self, values: &mut Vec<f32>) {
        self.softmax().log_probabilities(values);
    }

    /// Writes the `k` most likely tokens and their log-probabilities into `tokens`: see [`Softmax::top_k`].
    pub fn top_k(&self, k: usize, tokens: &mut Vec<(Token, f32)>) {
        if k == 0 {
            return tokens.clear();
        }
        self.softmax().top_k(k, tokens);
    }
}

impl Softmax<'_> {
    /// Returns the natural logarithm of a token's probability, or `None` outside of the vocabulary.
    #[must_use]
    pub fn log_probability(&self, token: Token) -> Option<f32> {
        let logit = Logits::from_slice(self.row).get(token)?;
        Some(self.normaliser.log_probability(logit))
    }

    /// Writes the log-probabilities of all tokens into `values`, which is cleared first and keeps its capacity.
    pub fn log_probabilities(&self, values: &mut Vec<f32>) {
        values.clear();
        values.resize(self.row.len(), f32::NEG_INFINITY);
        self.normaliser.log_probabilities(self.row, values);
    }

    /// Writes the `k` most likely tokens and their log-probabilities (softmax over the whole row) into `tokens`, in
    /// descending order; among equals, the smaller token comes first. There are fewer if the row has fewer tokens
    /// that are not NaN.
    ///
    /// `tokens` is cleared first and keeps its capacity, which grows to at most twice `k`. This goes through the row
    /// once and sorts only the tokens that are kept, without an array of all candidates.
    pub fn top_k(&self, k: usize, tokens: &mut Vec<(Token, f32)>) {
        most_likely(self.row, k, tokens);
        for (_, value) in tokens {
            *value = self.normaliser.log_probability(*value);
        }
    }
}

/// Writes the `k` most likely tokens with their logits into `tokens`, in order.
fn most_likely(row: &[f32], k: usize, tokens: &mut Vec<(Token, f32)>) {
    tokens.clear();
    if k == 0 {
        return;
    }
    let most = k.saturating_mul(2).min(row.len());
    // Until there are enough, all are kept.
    let mut first = 0;
    while tokens.len() < most && first < row.len() {
        if !row[first].is_nan() {
            tokens.push(candidate(first, row[first]));
        }
        first += 1;
    }
    if tokens.len() > k {
        let limit = keep_best(tokens, k).1;
        let mut last = limit;
        // Later tokens are not more likely than an earlier one with the same logit.
        softmax::above(&row[first..], limit, &mut |index, logit| {
            tokens.push(candidate(first + index, logit));
            if tokens.len() == most {
                last = keep_best(tokens, k).1;
            }
            last
        });
    }
    if tokens.len() > k {
        keep_best(tokens, k);
    }
    tokens.sort_unstable_by(likelier);
}

fn candidate(index: usize, logit: f32) -> (Token, f32) {
    (Token::new(i32::try_from(index).unwrap_or(i32::MAX)), logit)
}

/// Orders tokens from the most likely on; values are not NaN.
fn likelier(left: &(Token, f32), right: &(Token, f32)) -> Ordering {
    right.1.partial_cmp(&left.1).unwrap_or(Ordering::Equal).then(left.0.cmp(&right.0))
}

/// Keeps the `k` most likely of more than `k` tokens, and returns the least likely one kept.
fn keep_best(tokens: &mut Vec<(Token, f32)>, k: usize) -> (Token, f32) {
    let (_, worst, _) = tokens.select_nth_unstable_by(k - 1, likelier);
    let worst = *worst;
    tokens.truncate(k);
    worst
}
