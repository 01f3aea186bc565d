//! A row of logits as it is, before anything has been removed from it: what samplers do to it without making an
//! array of candidates of it.

mod draw;
mod equal;
mod truncate;

use super::kernels::{self, BLOCK, LANES};
use super::list::{self, List};
use super::selection;
use crate::error::Result;
use crate::logits::Normaliser;
use crate::token::Token;

/// Dividing by more than this makes too many different logits equal to be put off.
const LARGEST_DIVISOR: f32 = 1e6;

/// Memory that rows use again and again.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// The row, once single logits have been changed.
    copy: Vec<f32>,
    /// The largest logit of each lane of each block.
    lanes: Vec<f32>,
    /// The largest logit of each lane of 16 blocks.
    joined: Vec<f32>,
    /// Maxima, to be put into order.
    order: Vec<f32>,
    /// The exponentials of each block.
    sums: Vec<f64>,
}

/// A row, and what has been done to it.
pub(super) struct Row<'a> {
    given: &'a [f32],
    memory: &'a mut Memory,
    /// Whether the row is the copy.
    is_copied: bool,
    /// What the logits are still to be divided by.
    divisor: f32,
    /// The largest logit, not divided, if the maxima are those of the row.
    max: Option<f32>,
}

impl<'a> Row<'a> {
    pub(super) fn new(given: &'a [f32], memory: &'a mut Memory) -> Self {
        Self { given, memory, is_copied: false, divisor: 1.0, max: None }
    }

    /// The number of logits.
    pub(super) fn len(&self) -> usize {
        self.given.len()
    }

    /// The logits, not divided.
    fn logits(&self) -> &[f32] {
        if self.is_copied { &self.memory.copy } else { self.given }
    }

    /// The logits, to be changed.
    pub(super) fn copy(&mut self) -> &mut [f32] {
        if !self.is_copied {
            self.memory.copy.clear();
            self.memory.copy.extend_from_slice(self.given);
            self.is_copied = true;
        }
        if self.divisor != 1.0 {
            kernels::divide(&mut self.memory.copy, self.divisor);
            self.divisor = 1.0;
        }
        self.max = None;
        &mut self.memory.copy
    }

    /// Finds the maxima, unless they are known, and returns the largest logit, not divided.
    fn scan(&mut self) -> Result<f32> {
        if let Some(max) = self.max {
            return Ok(max);
        }
        let memory = &mut *self.memory;
        let row = if self.is_copied { &memory.copy } else { self.given };
        let n_lanes = (row.len() / BLOCK + 1) * LANES;
        memory.lanes.resize(n_lanes, f32::NEG_INFINITY);
        memory.joined.resize((n_lanes / BLOCK + 1) * LANES, f32::NEG_INFINITY);
        if kernels::maxima(row, &mut memory.lanes) {
            return Err(selection::not_a_number());
        }
        kernels::join_maxima(&memory.lanes, &mut memory.joined);
        let max = memory.joined.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if max == f32::NEG_INFINITY {
            return Err(selection::all_masked(self.is_copied));
        }
        self.max = Some(max);
        Ok(max)
    }

    /// Makes an array of candidates of the row, all of them.
    pub(super) fn list_all(&mut self, list: &mut List) -> Result<()> {
        self.scan()?;
        let divisor = self.divisor;
        let logits = self.logits();
        list.fill_row(logits.iter().map(|logit| logit / divisor).enumerate(), logits.len());
        Ok(())
    }

    /// A logit that at least `count` logits reach, and not many more.
    fn limit(&mut self, count: usize) -> f32 {
        let memory = &mut *self.memory;
        let maxima = if memory.joined.len() / 2 >= count { &memory.joined } else { &memory.lanes };
        if maxima.len() <= count || count == 0 {
            return f32::NEG_INFINITY;
        }
        memory.order.clear();
        memory.order.extend_from_slice(maxima);
        *memory.order.select_nth_unstable_by(count - 1, |left, right| right.total_cmp(left)).1
    }

    /// What a limit of logits is before the division, or a little less.
    fn before_division(&self, limit: f32) -> f32 {
        if self.divisor == 1.0 { limit } else { self.widened(limit * self.divisor) }
    }

    /// A limit lowered by more than what division can make equal.
    fn widened(&self, limit: f32) -> f32 {
        if self.divisor == 1.0 { limit } else { limit - limit.abs() * 1e-5 - 1e-30 }
    }

    /// Puts the logits that are above negative infinity and, before the division, at least `limit`, into the list, in
    /// order, divided.
    fn collect(&self, limit: f32, list: &mut List) {
        let limit = limit.max(f32::MIN);
        let divisor = self.divisor;
        list.items.clear();
        let mut found = |index, logit: f32| {
            list.items.push(list::item(index, logit / divisor));
            limit
        };
        kernels::at_least(self.logits(), &self.memory.lanes, limit, &mut found);
    }

    /// Returns the log-probability of a token by the row as it was given. Puts the `n_top` likeliest tokens with theirs into `top`.
    pub(super) fn describe(
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
            list.items.sort_unstable_by(list::by_logit);
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
