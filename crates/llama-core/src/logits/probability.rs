//! Probabilities of tokens, from a row of logits as it is: nothing is copied but what is asked for.

use core::cmp::Ordering;

use super::Logits;
use crate::token::Token;

/// What is subtracted from a logit to make it a log-probability: the logarithm of the sum of all `exp(logit)`, in two
/// parts so that it is exact for infinite logits too.
#[derive(Clone, Copy)]
struct Normaliser {
    max: f32,
    log_sum: f32,
}

impl Normaliser {
    /// NaN is passed over.
    fn of(row: &[f32]) -> Self {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 =
            row.iter().filter(|logit| !logit.is_nan()).map(|logit| f64::from(below(*logit, max).exp())).sum();
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the logarithm of a sum of at least one is a small number"
        )]
        Self { max, log_sum: sum.ln() as f32 }
    }

    fn log_probability(self, logit: f32) -> f32 {
        if logit.is_nan() || logit == f32::NEG_INFINITY {
            return f32::NEG_INFINITY;
        }
        below(logit, self.max) - self.log_sum
    }
}

/// How far a logit is below the largest.
fn below(logit: f32, max: f32) -> f32 {
    // Also when both are infinite.
    #[allow(clippy::float_cmp, reason = "the largest is one of the logits")]
    if logit == max { 0.0 } else { logit - max }
}

impl Logits<'_> {
    /// The natural logarithm of a token's probability (softmax over the row), `None` outside the vocabulary. A logit
    /// that is NaN counts as minus infinity, a token that cannot be.
    ///
    /// Goes through the whole row: for several tokens, [`log_softmax`](Logits::log_softmax) is the cheaper.
    #[must_use]
    pub fn log_probability(&self, token: Token) -> Option<f32> {
        let logit = self.get(token)?;
        Some(Normaliser::of(self.row).log_probability(logit))
    }

    /// Writes the log-probabilities of all tokens into `values`, which is cleared before and keeps its memory.
    pub fn log_softmax(&self, values: &mut Vec<f32>) {
        let normaliser = Normaliser::of(self.row);
        values.clear();
        values.extend(self.row.iter().map(|logit| normaliser.log_probability(*logit)));
    }

    /// Writes the `k` likeliest tokens and their log-probabilities (softmax over the whole row) into `tokens`, the
    /// likeliest first; of equal ones, the smaller token first. Fewer when there are fewer; NaN is passed over.
    ///
    /// `tokens` is cleared before and keeps its memory, at most twice `k`. Goes twice through the row and sorts only what
    /// is kept: there is no array of all candidates.
    pub fn top_k(&self, k: usize, tokens: &mut Vec<(Token, f32)>) {
        tokens.clear();
        if k == 0 {
            return;
        }
        let most = k.saturating_mul(2).min(self.row.len());
        // The worst that is still kept, as soon as there are k.
        let mut limit = None;
        for (id, logit) in (0..).zip(self.row.iter().copied()) {
            let candidate = (Token::new(id), logit);
            if logit.is_nan() || limit.is_some_and(|limit| likelier(&candidate, &limit) != Ordering::Less) {
                continue;
            }
            if tokens.len() == most && most > k {
                limit = Some(keep_best(tokens, k));
            }
            tokens.push(candidate);
        }
        if tokens.len() > k {
            keep_best(tokens, k);
        }
        tokens.sort_unstable_by(likelier);
        let normaliser = Normaliser::of(self.row);
        for (_, value) in tokens {
            *value = normaliser.log_probability(*value);
        }
    }
}

/// The order from the likeliest on; values are not NaN.
fn likelier(left: &(Token, f32), right: &(Token, f32)) -> Ordering {
    right.1.partial_cmp(&left.1).unwrap_or(Ordering::Equal).then(left.0.cmp(&right.0))
}

/// Drops all but the `k` likeliest, of more than `k`, and returns the least likely that is kept.
fn keep_best(tokens: &mut Vec<(Token, f32)>, k: usize) -> (Token, f32) {
    let (_, worst, _) = tokens.select_nth_unstable_by(k - 1, likelier);
    let worst = *worst;
    tokens.truncate(k);
    worst
}
