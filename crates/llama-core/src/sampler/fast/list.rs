//! Candidates in an array, as in llama.cpp. All samplers work on it, with llama.cpp's operations in llama.cpp's
//! order, so that the results are equal to the last bit.

mod draw;
mod sort;
mod truncate;

use core::cmp::Ordering;

use crate::sampler::candidates::Candidate;
use crate::token::Token;

pub(super) use self::truncate::{add_square, nucleus};

pub(super) type Item = Candidate;

/// Placeholder for a masked candidate.
pub(super) const MASKED: Item = Candidate { token: Token::new(-1), logit: f32::NEG_INFINITY, p: 0.0 };

/// The remaining candidates of a row, in llama.cpp's order.
///
/// Masked candidates, which can be as many as there are tokens, need not be stored: they have no probability and are
/// only counted.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    pub(super) items: Vec<Item>,
    /// Number of masked candidates that are not stored in `items`.
    hidden: usize,
    /// Whether the array is the whole row, with each candidate at the index of its token. Otherwise the hidden
    /// candidates come after the items.
    scattered: bool,
    /// llama.cpp's flag: a sampler has sorted the array, and no sampler that changes logits has reset the flag.
    sorted: bool,
    /// Scratch memory for sorting.
    spare: Vec<Item>,
    buckets: Vec<u8>,
}

impl List {
    /// Starts with all candidates of a row; hidden ones are at the indices of their tokens.
    pub(super) fn fill_row(&mut self, items: impl Iterator<Item = (usize, f32)>, n_row: usize) {
        self.items.clear();
        self.items.extend(items.map(|(index, logit)| item(index, logit)));
        self.set_row(n_row);
    }

    /// Starts with the stored items, which remain from a row of length `n_row` and keep their positions.
    pub(super) fn set_row(&mut self, n_row: usize) {
        self.hidden = n_row - self.items.len();
        (self.scattered, self.sorted) = (true, false);
    }

    /// Starts with the candidates that a sampler has kept of a row, followed by `hidden` masked ones.
    pub(super) fn set_kept(&mut self, hidden: usize, sorted: bool) {
        (self.hidden, self.scattered, self.sorted) = (hidden, false, sorted);
    }

    /// Returns the number of candidates, including masked ones.
    pub(super) fn len(&self) -> usize {
        self.items.len() + self.hidden
    }

    /// Keeps the first `count` candidates.
    fn truncate(&mut self, count: usize) {
        self.items.truncate(count);
        self.hidden = count - self.items.len();
    }

    /// Resets the sorted flag, as samplers do that change logits one by one.
    pub(super) fn forget_order(&mut self) {
        self.sorted = false;
    }

    /// Returns the logit that others are compared with: the first one if sorted, otherwise the largest.
    fn max_logit(&self) -> f32 {
        if self.sorted
            && let Some(first) = self.items.first()
        {
            first.logit
        } else {
            self.true_max()
        }
    }

    fn true_max(&self) -> f32 {
        self.items.iter().fold(f32::NEG_INFINITY, |max, item| max.max(item.logit))
    }

    /// Computes the probabilities with sums in single precision.
    fn softmax(&mut self) {
        let mut max = self.max_logit();
        if max == f32::NEG_INFINITY {
            max = self.true_max();
        }
        let mut sum = 0.0_f32;
        for item in &mut self.items {
            item.p = (item.logit - max).exp();
            sum += item.p;
        }
        for item in &mut self.items {
            item.p /= sum;
        }
    }
}

/// Returns the candidate for an index of a row.
pub(super) fn item(index: usize, logit: f32) -> Item {
    // Rows are never longer than C's integers.
    Candidate { token: Token::new(i32::try_from(index).unwrap_or(i32::MAX)), logit, p: 0.0 }
}

/// Returns the index of a token in a row.
pub(super) fn index(token: Token) -> Option<usize> {
    usize::try_from(token.get()).ok()
}

/// Orders by logit, descending, and equal logits by token.
pub(super) fn by_logit(left: &Item, right: &Item) -> Ordering {
    right.logit.total_cmp(&left.logit).then(left.token.cmp(&right.token))
}

/// Returns whether logits alone do not determine the first `count` of the sorted candidates and their order.
pub(super) fn has_ties(sorted: &[Item], count: usize) -> bool {
    let looked_at = sorted.len().min(count.saturating_add(1));
    sorted[..looked_at].windows(2).any(|pair| pair[0].logit == pair[1].logit)
}
