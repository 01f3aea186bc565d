//! One selection: applies the samplers to the row, and from the first truncation on to the list.

use super::choice::Choice;
use super::list::{self, List};
use super::plan::{End, Plan, Step};
use super::row::{Memory, Row};
use super::selection::{self, Selected, Selection};
use crate::error::Result;
use crate::sampler::params::Xtc;

/// Longest row that is converted to a list at once.
const SMALL: usize = 1024;

/// Reusable memory.
#[derive(Debug, Default)]
pub(super) struct Work {
    row: Memory,
    list: List,
}

impl Work {
    /// Selects from a row that is not empty.
    pub(super) fn select(&mut self, row: &[f32], plan: &mut Plan) -> Result<Selected> {
        let mut run = Run { row: Row::new(row, &mut self.row), list: &mut self.list, is_list: false };
        if row.len() <= SMALL {
            run.need_list()?;
        }
        for step in &mut plan.steps {
            run.apply(step)?;
        }
        run.end(&mut plan.end)?.check()
    }

    /// Fills `choice` with the details of a selection.
    pub(super) fn describe(&mut self, row: &[f32], selected: Selected, n_top: usize, choice: &mut Choice) {
        (choice.token, choice.probability) = (selected.token, selected.p);
        let mut row = Row::new(row, &mut self.row);
        choice.log_probability = row.describe(selected.token, n_top, &mut choice.top, &mut self.list);
    }
}

struct Run<'a> {
    row: Row<'a>,
    list: &'a mut List,
    /// Whether the candidates are in the list rather than in the row.
    is_list: bool,
}

impl Run<'_> {
    fn need_list(&mut self) -> Result<()> {
        if !self.is_list {
            self.row.list_all(self.list)?;
            self.is_list = true;
        }
        Ok(())
    }

    fn apply(&mut self, step: &mut Step) -> Result<()> {
        match step {
            Step::Xtc { params, random } => {
                let Xtc { probability, threshold, min_keep, .. } = *params;
                if self.len() >= 2 && random.uniform_single() <= probability {
                    self.need_list()?;
                    self.list.xtc(threshold, min_keep);
                }
            }
            Step::Penalties(history) if self.is_list => {
                history.apply_to_items(&mut self.list.items);
                self.list.forget_order();
            }
            Step::Penalties(history) => history.apply_to_row(self.row.copy()),
            Step::LogitBias(biases) if self.is_list => return self.bias_list(biases),
            Step::LogitBias(biases) => bias_row(self.row.copy(), biases),
            _ if self.is_list => self.apply_to_list(step),
            _ => self.is_list = self.apply_to_row(step)?,
        }
        Ok(())
    }

    /// Returns the number of candidates.
    fn len(&self) -> usize {
        if self.is_list { self.list.len() } else { self.row.len() }
    }

    fn apply_to_list(&mut self, step: &Step) {
        match *step {
            Step::TopK(k) => self.list.top_k(k),
            Step::TopP { p, min_keep } => self.list.top_p(p, min_keep),
            Step::MinP { p, min_keep } => self.list.min_p(p, min_keep),
            Step::Temperature(temperature) => self.list.temperature(temperature),
            Step::TopNSigma(n) => self.list.top_n_sigma(n),
            Step::Xtc { .. } | Step::Penalties(_) | Step::LogitBias(_) => {}
        }
    }

    /// Applies a step to the row, and returns whether the candidates are in the list afterwards.
    fn apply_to_row(&mut self, step: &Step) -> Result<bool> {
        match *step {
            Step::TopK(k) => self.row.top_k(k, self.list).map(|()| true),
            Step::TopP { p, min_keep } => self.row.top_p(p, min_keep, self.list).map(|()| true),
            Step::MinP { p, min_keep } => self.row.min_p(p, min_keep, self.list).map(|()| true),
            Step::Temperature(temperature) => self.row.temperature(temperature, self.list),
            Step::TopNSigma(n) => self.row.top_n_sigma(n, self.list),
            Step::Xtc { .. } | Step::Penalties(_) | Step::LogitBias(_) => Ok(false),
        }
    }

    fn bias_list(&mut self, biases: &[(usize, f32)]) -> Result<()> {
        let mut numbers = true;
        for item in &mut self.list.items {
            let found = list::index(item.token)
                .and_then(|index| biases.binary_search_by_key(&index, |(index, _)| *index).ok());
            if let Some(found) = found {
                item.logit += biases[found].1;
                numbers &= !item.logit.is_nan();
            }
        }
        if numbers { Ok(()) } else { Err(selection::not_a_number()) }
    }

    fn end(&mut self, end: &mut End) -> Result<Selection> {
        match end {
            End::Greedy if self.is_list => Ok(self.list.greedy()),
            End::Greedy => self.row.greedy(self.list),
            End::Dist(random) => {
                let uniform = random.uniform();
                if self.is_list { Ok(self.list.dist(uniform)) } else { self.row.dist(uniform) }
            }
        }
    }
}

fn bias_row(row: &mut [f32], biases: &[(usize, f32)]) {
    for (index, bias) in biases {
        if let Some(logit) = row.get_mut(*index) {
            *logit += bias;
        }
    }
}
