//! Masking what is far below the largest logit.

use super::Row;
use crate::error::Result;
use crate::sampler::fast::kernels;
use crate::sampler::fast::list::List;

/// With logits left in more lanes than this, the row stays a row.
const MANY_LANES: usize = 2048;

impl Row<'_> {
    /// Masks the logits more than `n` standard deviations below the largest: true when few are left, which the list
    /// has then.
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
