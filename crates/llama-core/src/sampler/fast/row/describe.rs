//! Probabilities by the row as it was.

use super::Row;
use crate::sampler::fast::kernels::{self, BLOCK};
use crate::sampler::fast::list::{self, List, by_logit};
use crate::token::Token;

impl Row<'_> {
    /// The log-probability of a token. Puts the `n_top` likeliest tokens with theirs into `top`.
    pub(in crate::sampler::fast) fn describe(
        &mut self,
        token: Token,
        n_top: usize,
        top: &mut Vec<(Token, f32)>,
        list: &mut List,
    ) -> f32 {
        top.clear();
        // A row that was sampled from has a largest logit.
        let Ok(max) = self.scan() else { return f32::NEG_INFINITY };
        let log_sum = self.log_sum(max);
        let below = |logit: f32| if logit == max { 0.0 } else { logit - max } - log_sum;
        if n_top > 0 {
            let limit = self.limit(n_top);
            self.collect(limit, list);
            list.items.sort_unstable_by(by_logit);
            top.extend(list.items.iter().take(n_top).map(|item| (item.token, below(item.logit))));
        }
        let logit = list::index(token).and_then(|index| self.given.get(index));
        logit.map_or(f32::NEG_INFINITY, |logit| below(*logit))
    }

    /// The logarithm of the sum of all exponentials of the distances to the largest logit.
    fn log_sum(&mut self, max: f32) -> f32 {
        let sum = if max == f32::INFINITY {
            // These share all of the probability.
            self.given.iter().filter(|logit| **logit == max).count() as f64
        } else {
            self.memory.sums.resize(self.given.len() / BLOCK + 1, 0.0);
            kernels::exponential_sums(self.given, 1.0, max, &mut self.memory.sums);
            self.memory.sums.iter().sum()
        };
        #[allow(clippy::cast_possible_truncation, reason = "the logarithm of a sum of at least one is small")]
        let log_sum = sum.ln() as f32;
        log_sum
    }
}
