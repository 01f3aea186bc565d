//! Samplers that truncate, mask or divide.

use super::{LARGEST_DIVISOR, Row};
use crate::error::Result;
use crate::sampler::fast::kernels;
use crate::sampler::fast::list::{List, by_logit, has_ties, nucleus};

/// Numbers of candidates that top-p tries in turn, and whether llama.cpp has sorted the whole row by then.
const NUCLEUS: [(usize, bool); 2] = [(256, false), (4096, true)];
/// Bound on the relative difference between two ways of adding up probabilities.
const SUM_ERROR: f32 = 4e-6;
/// Number of lanes with remaining logits above which top-n-sigma keeps the row a row.
const MANY_LANES: usize = 2048;

impl Row<'_> {
    /// Divides the logits. A temperature of 0 masks all but the first of the largest: returns true, and the list has
    /// it.
    pub(in crate::sampler::fast) fn temperature(
        &mut self,
        temperature: f32,
        list: &mut List,
    ) -> Result<bool> {
        if temperature > 0.0 {
            if self.divisor != 1.0 {
                self.copy();
            }
            self.divisor = temperature;
            if temperature > LARGEST_DIVISOR {
                self.copy();
            }
            return Ok(false);
        }
        let best = self.first_of_largest(list)?;
        list.fill_row([best].into_iter(), self.given.len());
        Ok(true)
    }

    pub(in crate::sampler::fast) fn top_k(&mut self, k: usize, list: &mut List) -> Result<()> {
        self.scan()?;
        let k = k.min(self.given.len());
        if !self.largest(k, list) && !self.largest_of_equal(k, false, list) {
            self.list_all(list)?;
            list.top_k(k);
            return Ok(());
        }
        list.items.truncate(k);
        list.set_kept(k - list.items.len(), true);
        Ok(())
    }

    /// Puts the `count` largest logits, or all above negative infinity if there are fewer, into the list, sorted and
    /// possibly with some more. Returns false if equal logits need llama.cpp's order.
    fn largest(&mut self, count: usize, list: &mut List) -> bool {
        let limit = self.limit(count);
        self.collect(self.widened(limit), list);
        if list.items.len() / 4 > count {
            // Twice as many, since ties show in the next ones.
            list.items.select_nth_unstable_by(2 * count, by_logit);
            list.items.truncate(2 * count);
        }
        list.items.sort_unstable_by(by_logit);
        !has_ties(&list.items, count)
    }

    pub(in crate::sampler::fast) fn min_p(&mut self, p: f32, min_keep: usize, list: &mut List) -> Result<()> {
        let limit = self.scan()? / self.divisor + p.ln();
        self.collect(self.before_division(limit), list);
        list.items.retain(|item| item.logit >= limit);
        if list.items.is_empty() || list.items.len() < min_keep {
            self.list_all(list)?;
            list.min_p(p, min_keep);
        } else {
            list.set_kept(0, false);
        }
        Ok(())
    }

    pub(in crate::sampler::fast) fn top_p(&mut self, p: f32, min_keep: usize, list: &mut List) -> Result<()> {
        let max = self.scan()? / self.divisor;
        if max.is_finite() && self.nucleus(max, p, min_keep, list) {
            return Ok(());
        }
        self.list_all(list)?;
        list.top_p(p, min_keep);
        Ok(())
    }

    /// Applies top-p to some of the largest logits. Returns false if they are not enough, or equal logits matter.
    fn nucleus(&mut self, max: f32, p: f32, min_keep: usize, list: &mut List) -> bool {
        let mut sum = Sum::Near(kernels::exponential_sum_in_order(self.logits(), self.divisor, max));
        for (count, sorts_all) in NUCLEUS.into_iter().filter(|(count, _)| count + 1 < self.given.len()) {
            if !self.largest(count, list) && !self.largest_of_equal(count, sorts_all, list) {
                return false;
            }
            list.items.truncate(count);
            list.items.iter_mut().for_each(|item| item.p = (item.logit - max).exp());
            let probabilities = |sum: f32| list.items.iter().map(move |item| item.p / sum);
            if let Sum::Near(near) = sum {
                let low = nucleus(probabilities(near * (1.0 + SUM_ERROR)), p, min_keep);
                let high = nucleus(probabilities(near * (1.0 - SUM_ERROR)), p, min_keep);
                if low != high {
                    sum = Sum::Exact(self.exact_sum(max));
                }
            }
            let (Sum::Near(value) | Sum::Exact(value)) = sum;
            if let Some(kept) = nucleus(probabilities(value), p, min_keep) {
                list.items.iter_mut().for_each(|item| item.p /= value);
                list.items.truncate(kept);
                list.set_kept(0, true);
                return true;
            }
        }
        false
    }

    /// Returns the sum of the exponentials exactly as C++ adds them.
    #[cold]
    fn exact_sum(&self, max: f32) -> f32 {
        self.logits().iter().fold(0.0, |sum, logit| sum + (logit / self.divisor - max).exp())
    }

    /// Masks the logits more than `n` standard deviations below the largest. Returns true if few are left, which are
    /// then in the list.
    pub(in crate::sampler::fast) fn top_n_sigma(&mut self, n: f32, list: &mut List) -> Result<bool> {
        if self.divisor != 1.0 {
            self.copy();
        }
        let max = self.scan()?;
        let (sum, count) = kernels::sum_in_order(self.logits());
        let count = count.max(1) as f32;
        let squares = kernels::squares_in_order(self.logits(), sum / count);
        let limit = max - n * (squares / count).sqrt();
        if limit.is_nan() || limit == f32::NEG_INFINITY {
            return Ok(false);
        }
        if self.memory.lanes.iter().filter(|max| **max >= limit).count() > MANY_LANES {
            let masked = |logit: &mut f32| *logit = if *logit < limit { f32::NEG_INFINITY } else { *logit };
            self.copy().iter_mut().for_each(masked);
            return Ok(false);
        }
        self.collect(limit, list);
        list.set_row(self.given.len());
        Ok(true)
    }
}

/// A sum of exponentials.
#[derive(Clone, Copy)]
enum Sum {
    /// A sum within `SUM_ERROR` of the exact one.
    Near(f32),
    /// The sum as C++ computes it.
    Exact(f32),
}
