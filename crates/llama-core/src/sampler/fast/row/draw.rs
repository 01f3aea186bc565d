//! Selecting samplers on a whole row.

use super::Row;
use crate::error::Result;
use crate::sampler::fast::exp::EXP_ERROR;
use crate::sampler::fast::kernels::{self, BLOCK};
use crate::sampler::fast::list::{self, List};
use crate::sampler::fast::selection::{Selected, Selection};

impl Row<'_> {
    /// Selects the first of the largest logits.
    pub(in crate::sampler::fast) fn greedy(&mut self, list: &mut List) -> Result<Selection> {
        let (index, logit) = self.first_of_largest(list)?;
        Ok(Selection::Of(Selected { token: list::item(index, logit).token, p: 1.0 }))
    }

    /// Returns index and value of the first of the largest logits. Uses the list's memory.
    pub(super) fn first_of_largest(&mut self, list: &mut List) -> Result<(usize, f32)> {
        let limit = self.scan()?;
        let max = limit / self.divisor;
        self.collect(self.widened(limit), list);
        let first = list.items.iter().find(|item| item.logit >= max);
        Ok(first.map_or((0, max), |item| (list::index(item.token).unwrap_or(0), item.logit)))
    }

    /// Selects the candidate at which the running sum of the probabilities reaches `uniform` times their total.
    ///
    /// The sums use exponentials that are slightly inexact. If that does not suffice to distinguish the candidate
    /// from its neighbours, the sums are computed again as C++ does it.
    pub(in crate::sampler::fast) fn dist(&mut self, uniform: f64) -> Result<Selection> {
        let max = self.scan()? / self.divisor;
        if !max.is_finite() {
            return Ok(Selection::NotNumbers);
        }
        self.memory.sums.resize(self.given.len() / BLOCK + 1, 0.0);
        let logits = if self.is_copied { &self.memory.copy } else { self.given };
        kernels::exponential_sums(logits, self.divisor, max, &mut self.memory.sums);
        let sum: f64 = self.memory.sums.iter().sum();
        Ok(self.find(max, sum, sum * uniform).unwrap_or_else(|| self.find_exactly(max, uniform)))
    }

    fn find(&self, max: f32, sum: f64, target: f64) -> Option<Selection> {
        let uncertain = 2.0 * EXP_ERROR * target;
        let mut run = 0.0;
        let mut sums = self.memory.sums.iter();
        let block = sums.position(|sum| {
            let reached = run + sum >= target;
            run += if reached { 0.0 } else { *sum };
            reached
        })?;
        let logits = self.logits();
        let indices = block * BLOCK..logits.len().min((block + 1) * BLOCK);
        for index in indices {
            let p = self.exponential(logits[index], max);
            let next = run + p;
            if next >= target {
                let certain = target - run > uncertain && next - target > uncertain;
                return certain.then(|| selected(index, p, sum));
            }
            run = next;
        }
        None
    }

    #[cold]
    fn find_exactly(&self, max: f32, uniform: f64) -> Selection {
        let exponentials = || self.logits().iter().map(|logit| self.exponential(*logit, max));
        let sum = exponentials().fold(0.0, |sum, p| sum + p);
        let target = sum * uniform;
        let mut run = 0.0;
        for (index, p) in exponentials().enumerate() {
            run += p;
            if run >= target && p > 0.0 {
                return selected(index, p, sum);
            }
        }
        Selection::NotNumbers
    }

    fn exponential(&self, logit: f32, max: f32) -> f64 {
        f64::from((logit / self.divisor - max).exp())
    }
}

fn selected(index: usize, p: f64, sum: f64) -> Selection {
    #[allow(clippy::cast_possible_truncation, reason = "C++ rounds here too")]
    let p = (p / sum) as f32;
    Selection::Of(Selected { token: list::item(index, 0.0).token, p })
}
