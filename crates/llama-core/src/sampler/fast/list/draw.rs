//! Selecting samplers.

use super::List;
use crate::sampler::fast::selection::{Selected, Selection};

impl List {
    /// Selects the first of the largest logits.
    pub(in crate::sampler::fast) fn greedy(&self) -> Selection {
        let mut best: Option<&super::Item> = None;
        for item in &self.items {
            if best.is_none_or(|best| item.logit > best.logit) {
                best = Some(item);
            }
        }
        match best {
            Some(item) if item.logit > f32::NEG_INFINITY => {
                Selection::Of(Selected { token: item.token, p: 1.0 })
            }
            _ => Selection::AllMasked,
        }
    }

    /// Selects the candidate at which the running sum of the probabilities reaches `uniform` times their total.
    pub(in crate::sampler::fast) fn dist(&mut self, uniform: f64) -> Selection {
        if let ([only], 0) = (self.items.as_slice(), self.hidden) {
            return match only.logit {
                f32::NEG_INFINITY => Selection::AllMasked,
                _ => Selection::Of(Selected { token: only.token, p: 1.0 }),
            };
        }
        let mut sum = self.exponentials(self.max_logit());
        if !(sum > 0.0 && sum.is_finite()) {
            // The first candidate was changed after sorting, so it is not the largest any more.
            let max = self.true_max();
            if max == f32::NEG_INFINITY {
                return Selection::AllMasked;
            }
            sum = self.exponentials(max);
        }
        if !(sum > 0.0 && sum.is_finite()) {
            return Selection::NotNumbers;
        }
        let target = sum * uniform;
        let mut run = 0.0_f64;
        let found = self.items.iter().find(|item| {
            run += f64::from(item.p);
            run >= target && item.p > 0.0
        });
        #[allow(clippy::cast_possible_truncation, reason = "C++ rounds here too")]
        let probability = |p: f32| (f64::from(p) / sum) as f32;
        match found {
            Some(item) => Selection::Of(Selected { token: item.token, p: probability(item.p) }),
            None => Selection::NotNumbers,
        }
    }

    /// Sets each probability to the exponential of the logit's distance to `max`, and returns their sum.
    fn exponentials(&mut self, max: f32) -> f64 {
        let mut sum = 0.0_f64;
        for item in &mut self.items {
            item.p = (item.logit - max).exp();
            sum += f64::from(item.p);
        }
        sum
    }
}
