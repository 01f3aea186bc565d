//! Candidates in an array, as llama.cpp has them. All samplers work on it, with llama.cpp's operations in
//! llama.cpp's order, so that the results are the same to the last bit.

mod draw;
mod sort;
mod truncate;

use core::cmp::Ordering;

use crate::sampler::candidates::Candidate;
use crate::token::Token;

pub(super) use self::truncate::{add_square, nucleus};

pub(super) type Item = Candidate;

/// Stands for candidates that have been masked, whichever they are.
pub(super) const MASKED: Item = Candidate { token: Token::new(-1), logit: f32::NEG_INFINITY, p: 0.0 };

/// The candidates that are left of a row, in llama.cpp's order.
///
/// Masked ones, of which there can be as many as tokens, need not be there: they have no probability and are only
/// counted.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    pub(super) items: Vec<Item>,
    /// Masked candidates that are not among the items.
    hidden: usize,
    /// Whether the array is the whole row, with each candidate at the index of its token; otherwise the hidden
    /// ones come after the items.
    scattered: bool,
    /// llama.cpp's flag: some sampler has sorted, and none of those that change logits has taken it back.
    sorted: bool,
    /// Memory for sorting.
    spare: Vec<Item>,
    buckets: Vec<u8>,
}

impl List {
    /// Begins with the candidates of a row, all of them: hidden ones are where their tokens are.
    pub(super) fn fill_row(&mut self, items: impl Iterator<Item = (usize, f32)>, n_row: usize) {
        self.items.clear();
        self.items.extend(items.map(|(index, logit)| item(index, logit)));
        self.set_row(n_row);
    }

    /// Begins with the items, which are what is left of a row that is this long, where they were.
    pub(super) fn set_row(&mut self, n_row: usize) {
        self.hidden = n_row - self.items.len();
        (self.scattered, self.sorted) = (true, false);
    }

    /// Begins with what a sampler has kept of a row, and masked ones after it.
    pub(super) fn set_kept(&mut self, hidden: usize, sorted: bool) {
        (self.hidden, self.scattered, self.sorted) = (hidden, false, sorted);
    }

    /// How many candidates there are, masked ones among them.
    pub(super) fn len(&self) -> usize {
        self.items.len() + self.hidden
    }

    /// Keeps the first candidates.
    fn truncate(&mut self, count: usize) {
        self.items.truncate(count);
        self.hidden = count - self.items.len();
    }

    /// Forgets that the candidates are sorted, as samplers do that change logits one by one.
    pub(super) fn forget_order(&mut self) {
        self.sorted = false;
    }

    /// The logit that others are compared with: the first when they are sorted, otherwise the largest.
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

    /// The probabilities, by sums of single precision.
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

/// The candidate of a row at an index.
pub(super) fn item(index: usize, logit: f32) -> Item {
    // Rows are not longer than C's integers.
    Candidate { token: Token::new(i32::try_from(index).unwrap_or(i32::MAX)), logit, p: 0.0 }
}

/// The index of a token in a row.
pub(super) fn index(token: Token) -> Option<usize> {
    usize::try_from(token.get()).ok()
}

/// Largest first; equal ones by their tokens.
pub(super) fn by_logit(left: &Item, right: &Item) -> Ordering {
    right.logit.total_cmp(&left.logit).then(left.token.cmp(&right.token))
}

/// Whether the order of the first `count` of sorted candidates, or which they are, depends on more than logits.
pub(super) fn has_ties(sorted: &[Item], count: usize) -> bool {
    let looked_at = sorted.len().min(count.saturating_add(1));
    sorted[..looked_at].windows(2).any(|pair| pair[0].logit == pair[1].logit)
}
