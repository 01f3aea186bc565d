//! Samplers that select.

use super::List;
use crate::sampler::fast::selection::{Selected, Selection};

impl List {
    /// The first of the largest.
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

    /// The candidate at which the probabilities, added up, reach the part `uniform` of their sum.
    pub(in crate::sampler::fast) fn dist(&mut self, uniform: f64) -> Selection {
        if let ([only], 0) = (self.items.as_slice(), self.hidden) {
            return match only.logit {
                f32::NEG_INFINITY => Selection::AllMasked,
                _ => Selection::Of(Selected { token: only.token, p: 1.0 }),
            };
        }
        let mut sum = self.exponentials(self.max_logit());
        if !(sum > 0.0 && sum.is_finite()) {
            // The first was changed since they were sorted, and is no measure for the others any more.
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

    /// Puts the exponential of each logit's distance to `max` into its probability, and returns their sum.
    fn exponentials(&mut self, max: f32) -> f64 {
        let mut sum = 0.0_f64;
        for item in &mut self.items {
            item.p = (item.logit - max).exp();
            sum += f64::from(item.p);
        }
        sum
    }
}
