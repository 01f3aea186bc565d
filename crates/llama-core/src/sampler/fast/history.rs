//! Penalties on tokens that have occurred.

use std::collections::{HashMap, VecDeque};

use super::list::Item;
use crate::sampler::params::Penalties;
use crate::token::Token;

/// Largest number of tokens for which memory is reserved at the start.
const RESERVED: usize = 4096;

/// The recent tokens and their penalties.
#[derive(Clone, Debug)]
pub(super) struct History {
    params: Penalties,
    last: VecDeque<Token>,
    counts: HashMap<Token, u32>,
}

impl History {
    pub(super) fn new(params: Penalties) -> Self {
        let reserved = (params.last_n as usize).min(RESERVED);
        // While accepting a token there is one more than otherwise.
        let (last, counts) = (VecDeque::with_capacity(reserved), HashMap::with_capacity(reserved + 1));
        Self { params, last, counts }
    }

    pub(super) fn accept(&mut self, token: Token) {
        *self.counts.entry(token).or_default() += 1;
        if self.last.len() >= self.params.last_n as usize
            && let Some(old) = self.last.pop_front()
            && let Some(count) = self.counts.get_mut(&old)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&old);
            }
        }
        self.last.push_back(token);
    }

    pub(super) fn clear(&mut self) {
        self.last.clear();
        self.counts.clear();
    }

    pub(super) fn apply_to_row(&self, row: &mut [f32]) {
        for (token, count) in &self.counts {
            if let Some(logit) = usize::try_from(token.get()).ok().and_then(|index| row.get_mut(index)) {
                *logit = self.penalised(*logit, *count);
            }
        }
    }

    pub(super) fn apply_to_items(&self, items: &mut [Item]) {
        for item in items {
            if let Some(count) = self.counts.get(&item.token) {
                item.logit = self.penalised(item.logit, *count);
            }
        }
    }

    fn penalised(&self, logit: f32, count: u32) -> f32 {
        let Penalties { repeat, frequency, presence, .. } = self.params;
        let repeated = if logit <= 0.0 { logit * repeat } else { logit / repeat };
        repeated - (count as f32 * frequency + presence)
    }
}
