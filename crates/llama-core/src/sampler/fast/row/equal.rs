//! The largest logits when some are equal, so that their order depends on llama.cpp's sorting algorithms.

use super::Row;
use crate::sampler::fast::kernels;
use crate::sampler::fast::list::{self, List};
use crate::sampler::fast::order::{self, MAX_HEAP};

impl Row<'_> {
    /// Puts the `count` largest logits into the list, sorted as llama.cpp sorts the first `count` of the row.
    /// `whole_last` sorts as if the whole row were sorted. Returns false if that needs an array of the whole row.
    pub(super) fn largest_of_equal(&mut self, count: usize, whole_last: bool, list: &mut List) -> bool {
        if count <= MAX_HEAP && !whole_last {
            self.by_heap(count, list);
            return true;
        }
        self.by_buckets(count, whole_last, list)
    }

    /// Offers the logits to a heap, in order, and skips those that it would not take.
    fn by_heap(&self, count: usize, list: &mut List) {
        let logits = self.logits();
        let item = |index: usize| list::item(index, logits[index] / self.divisor);
        list.items.clear();
        list.items.extend((0..count).map(item));
        let heap = list.items.as_mut_slice();
        order::make_heap(heap);
        let limit = self.above(heap[0].logit);
        let mut found = |index, _| {
            if index >= count {
                order::offer(heap, item(index));
            }
            self.above(heap[0].logit)
        };
        kernels::at_least(logits, &self.memory.lanes, limit, &mut found);
        order::sort_heap(heap);
    }

    /// Returns a limit that all logits above a divided logit reach.
    fn above(&self, logit: f32) -> f32 {
        if self.divisor == 1.0 { logit.next_up() } else { self.before_division(logit) }
    }

    /// Sorts the candidates in the buckets of the `count` largest logits.
    fn by_buckets(&mut self, count: usize, whole_last: bool, list: &mut List) -> bool {
        let bucket = order::bucket(self.limit(count) / self.divisor);
        if bucket == 0 {
            return false;
        }
        self.collect(self.before_division(order::bucket_start(bucket)), list);
        // If all logits are collected, the last bucket is the last of all, which is never sorted like the others.
        let is_all = list.items.len() == self.given.len();
        if is_all && whole_last {
            return false;
        }
        list.bucket_sort(count, whole_last);
        true
    }
}
