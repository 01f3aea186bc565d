//! Samplers that truncate, mask or divide.

use super::{Item, List, MASKED, by_logit, has_ties};
use crate::sampler::fast::order;

/// Number of candidates above which top-p sorts only some of them at first.
const TOP_P_LARGE: usize = 1024;
const TOP_P_FIRST: usize = 256;

impl List {
    /// Divides the logits; a temperature of 0 masks all but the first of the largest.
    pub(in crate::sampler::fast) fn temperature(&mut self, temperature: f32) {
        if temperature > 0.0 {
            self.items.iter_mut().for_each(|item| item.logit /= temperature);
            return;
        }
        let mut best = 0;
        for (index, item) in self.items.iter().enumerate() {
            if item.logit > self.items[best].logit {
                best = index;
            }
        }
        for (index, item) in self.items.iter_mut().enumerate() {
            if index != best {
                item.logit = f32::NEG_INFINITY;
            }
        }
    }

    pub(in crate::sampler::fast) fn top_k(&mut self, k: usize) {
        let k = k.min(self.len());
        if !self.sorted {
            self.sort(k);
        }
        self.truncate(k);
    }

    pub(in crate::sampler::fast) fn min_p(&mut self, p: f32, min_keep: usize) {
        if !self.sorted {
            let limit = self.true_max().max(f32::MIN) + p.ln();
            self.spare.clear();
            self.spare.extend(self.items.iter().filter(|item| item.logit >= limit));
            if !self.spare.is_empty() && self.spare.len() >= min_keep {
                core::mem::swap(&mut self.items, &mut self.spare);
                (self.hidden, self.scattered) = (0, false);
                return;
            }
            self.sort(self.len());
        }
        let limit = self.items.first().map_or(f32::NEG_INFINITY, |first| first.logit) + p.ln();
        let is_out = |index: usize| self.items.get(index).unwrap_or(&MASKED).logit < limit;
        let kept = (1..self.len()).find(|index| *index >= min_keep && is_out(*index));
        self.truncate(kept.unwrap_or(self.len()));
    }

    pub(in crate::sampler::fast) fn top_p(&mut self, p: f32, min_keep: usize) {
        self.softmax();
        if !self.sorted && self.len() > TOP_P_LARGE {
            self.top_p_large(p, min_keep);
            return;
        }
        if !self.sorted {
            self.sort(self.len());
        }
        let kept = kept(&self.items, self.len(), p, min_keep);
        self.truncate(kept);
    }

    fn top_p_large(&mut self, p: f32, min_keep: usize) {
        let length = self.len();
        self.spare.clear();
        self.spare.extend_from_slice(&self.items);
        self.spare.sort_unstable_by(by_logit);
        let count = kept(&self.spare, length, p, min_keep);
        if has_ties(&self.spare, count) {
            self.top_p_of_equal(p, min_keep);
            return;
        }
        core::mem::swap(&mut self.items, &mut self.spare);
        (self.scattered, self.sorted) = (false, true);
        self.truncate(count);
    }

    /// Truncates with llama.cpp's algorithm: sorts some candidates, and all of them if those are not enough.
    fn top_p_of_equal(&mut self, p: f32, min_keep: usize) {
        let length = self.len();
        self.unhide();
        order::bucket_sort(&self.items, TOP_P_FIRST, false, &mut self.buckets, &mut self.spare);
        let first = nucleus(self.spare.iter().map(|item| item.p), p, min_keep);
        let count = first.unwrap_or_else(|| {
            order::bucket_sort(&self.items, length, false, &mut self.buckets, &mut self.spare);
            kept(&self.spare, length, p, min_keep)
        });
        core::mem::swap(&mut self.items, &mut self.spare);
        (self.scattered, self.sorted) = (false, true);
        self.truncate(count);
    }

    pub(in crate::sampler::fast) fn top_n_sigma(&mut self, n: f32) {
        if self.len() <= 1 {
            return;
        }
        let max = self.true_max();
        let (mut sum, mut count) = (0.0_f32, 0_usize);
        let unmasked = || self.items.iter().map(|item| item.logit).filter(|it| *it != f32::NEG_INFINITY);
        for logit in unmasked() {
            sum += logit;
            count += 1;
        }
        let count = count.max(1) as f32;
        let mean = sum / count;
        let mut squares = 0.0_f32;
        for logit in unmasked() {
            squares = add_square(squares, logit - mean);
        }
        let limit = max - n * (squares / count).sqrt();
        self.items.iter_mut().filter(|item| item.logit < limit).for_each(|item| item.logit = MASKED.logit);
    }

    /// Removes the most likely candidates except the last one that reaches the threshold.
    pub(in crate::sampler::fast) fn xtc(&mut self, threshold: f32, min_keep: usize) {
        if !self.sorted {
            self.sort(self.len());
        }
        self.softmax();
        let above = self.items.iter().take_while(|item| item.p >= threshold).count();
        let removed = above.saturating_sub(1);
        if removed > 0 && self.len() - removed >= min_keep {
            self.items.drain(..removed);
        }
    }
}

/// Adds a square to a sum in single precision: C++ squares and adds in double precision and rounds the result.
#[allow(clippy::cast_possible_truncation, reason = "C++ rounds here too")]
pub(in crate::sampler::fast) fn add_square(sum: f32, value: f32) -> f32 {
    (f64::from(sum) + f64::from(value) * f64::from(value)) as f32
}

/// Returns how many of `length` candidates top-p keeps. The candidates that are not in `sorted` are masked.
fn kept(sorted: &[Item], length: usize, p: f32, min_keep: usize) -> usize {
    let masked = core::iter::repeat_n(0.0, length - sorted.len());
    nucleus(sorted.iter().map(|item| item.p).chain(masked), p, min_keep).unwrap_or(length)
}

/// Returns how many of the sorted probabilities add up to `p`, at least `min_keep`, or `None` if there are too few.
pub(in crate::sampler::fast) fn nucleus(
    sorted: impl Iterator<Item = f32>,
    p: f32,
    min_keep: usize,
) -> Option<usize> {
    let mut sum = 0.0_f32;
    for (count, probability) in (1..).zip(sorted) {
        sum += probability;
        if sum >= p && count >= min_keep {
            return Some(count);
        }
    }
    None
}
