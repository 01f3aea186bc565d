//! Probabilities by the row as it was.

use super::Row;
use crate::logits::Normaliser;
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
        let normaliser = Normaliser::with_max(self.given, max);
        if n_top > 0 {
            let limit = self.limit(n_top);
            self.collect(limit, list);
            list.items.sort_unstable_by(by_logit);
            top.extend(
                list.items
                    .iter()
                    .take(n_top)
                    .map(|item| (item.token, normaliser.log_probability(item.logit))),
            );
        }
        let logit = list::index(token).and_then(|index| self.given.get(index));
        logit.map_or(f32::NEG_INFINITY, |logit| normaliser.log_probability(*logit))
    }
}
