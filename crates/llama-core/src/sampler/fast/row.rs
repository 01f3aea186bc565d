//! Samplers that work on an unmodified row of logits without building an array of candidates.

mod draw;
mod equal;
mod truncate;

use super::kernels::{self, BLOCK, LANES};
use super::list::{self, List};
use super::selection;
use crate::error::Result;
use crate::logits::Normaliser;
use crate::token::Token;

/// Largest divisor whose division is deferred: larger ones make too many different logits equal.
const LARGEST_DIVISOR: f32 = 1e6;

/// Reusable memory for rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// Copy of the row with single logits changed.
    copy: Vec<f32>,
    /// The largest logit of each lane of each block.
    lanes: Vec<f32>,
    /// The largest logit of each lane of 16 blocks.
    joined: Vec<f32>,
    /// Scratch memory for selecting among maxima.
    order: Vec<f32>,
    /// Sum of the exponentials of each block.
    sums: Vec<f64>,
}

/// A row and the changes made to it.
pub(super) struct Row<'a> {
    given: &'a [f32],
    memory: &'a mut Memory,
    /// Whether `memory.copy` replaces the given row.
    is_copied: bool,
    /// Divisor that has not been applied to the logits yet.
    divisor: f32,
    /// The largest logit before the division, if the maxima in `memory` are up to date.
    max: Option<f32>,
}

impl<'a> Row<'a> {
    pub(super) fn new(given: &'a [f32], memory: &'a mut Memory) -> Self {
        Self { given, memory, is_copied: false, divisor: 1.0, max: None }
    }

    /// Returns the number of logits.
    pub(super) fn len(&self) -> usize {
        self.given.len()
    }

    /// Returns the logits before the division.
    fn logits(&self) -> &[f32] {
        if self.is_copied { &self.memory.copy } else { self.given }
    }

    /// Returns the divided logits for modification.
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

    /// Computes the maxima unless they are known, and returns the largest logit before the division.
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

    /// Puts all candidates of the row into the list.
    pub(super) fn list_all(&mut self, list: &mut List) -> Result<()> {
        self.scan()?;
        let divisor = self.divisor;
        let logits = self.logits();
        list.fill_row(logits.iter().map(|logit| logit / divisor).enumerate(), logits.len());
        Ok(())
    }

    /// Returns a logit that at least `count` logits reach, and not many more.
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

    /// Converts a limit of divided logits to one before the division, or a slightly lower one.
    fn before_division(&self, limit: f32) -> f32 {
        if self.divisor == 1.0 { limit } else { self.widened(limit * self.divisor) }
    }

    /// Lowers a limit by more than the distance of logits that the division can make equal.
    fn widened(&self, limit: f32) -> f32 {
        if self.divisor == 1.0 { limit } else { limit - limit.abs() * 1e-5 - 1e-30 }
    }

    /// Puts the logits that are above negative infinity and, before the division, at least `limit` into the list: in
    /// order and divided.
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

    /// Returns the log-probability of a token in the original row, and puts the `n_top` most likely tokens with theirs
    /// into `top`.
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
