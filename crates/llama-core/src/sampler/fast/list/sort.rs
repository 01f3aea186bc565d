//! Sorting of candidates.

use super::{List, MASKED, by_logit, has_ties, index};
use crate::sampler::fast::order::{self, MAX_HEAP};

impl List {
    /// Keeps the `count` largest candidates, sorted as llama.cpp does when the size of the array may change.
    pub(super) fn sort(&mut self, count: usize) {
        let has_gaps = self.scattered && self.hidden > 0;
        if has_gaps && (self.sort_apart(count) || self.sort_with_gaps(count)) {
            return;
        }
        self.unhide();
        if count <= MAX_HEAP {
            let (first, rest) = self.items.split_at_mut(count);
            order::partial_sort(first, rest.iter().copied());
            self.items.truncate(count);
        } else {
            order::bucket_sort(&self.items, count, false, &mut self.buckets, &mut self.spare);
            core::mem::swap(&mut self.items, &mut self.spare);
        }
        (self.scattered, self.sorted) = (false, true);
    }

    /// Sorts without the masked candidates. Returns false, and does nothing, if equal logits need llama.cpp's order.
    fn sort_apart(&mut self, count: usize) -> bool {
        self.spare.clear();
        self.spare.extend(self.items.iter().filter(|item| item.logit > f32::NEG_INFINITY));
        self.spare.sort_unstable_by(by_logit);
        if has_ties(&self.spare, count) {
            return false;
        }
        self.take_sorted(count);
        true
    }

    /// Sorts with masked candidates only where they matter. Returns false, and does nothing, if they matter
    /// everywhere.
    pub(super) fn sort_with_gaps(&mut self, count: usize) -> bool {
        if count <= MAX_HEAP {
            // Masked candidates enter the heap only at the start.
            self.spare.clear();
            self.spare.resize(count, MASKED);
            let first = self.items.partition_point(|item| index(item.token).is_some_and(|it| it < count));
            for item in &self.items[..first] {
                if let Some(index) = index(item.token) {
                    self.spare[index] = *item;
                }
            }
            order::partial_sort(&mut self.spare, self.items[first..].iter().copied());
        } else {
            // All masked candidates are in the first bucket, which is sorted last.
            let above = self.items.iter().filter(|item| order::bucket(item.logit) > 0).count();
            if above < count.min(self.items.len()) {
                return false;
            }
            let (length, is_all) = (self.items.len().min(count), above < count);
            order::bucket_sort(&self.items, length, is_all, &mut self.buckets, &mut self.spare);
        }
        self.take_sorted(count);
        true
    }

    /// Makes the first `count` sorted candidates in `spare` the items.
    fn take_sorted(&mut self, count: usize) {
        core::mem::swap(&mut self.items, &mut self.spare);
        self.truncate(count);
        (self.scattered, self.sorted) = (false, true);
    }

    /// Puts hidden candidates at their places in llama.cpp's array.
    pub(super) fn unhide(&mut self) {
        let length = self.len();
        if self.scattered && self.hidden > 0 {
            self.spare.clear();
            self.spare.resize(length, MASKED);
            for item in &self.items {
                if let Some(place) = index(item.token).and_then(|index| self.spare.get_mut(index)) {
                    *place = *item;
                }
            }
            core::mem::swap(&mut self.items, &mut self.spare);
        } else {
            self.items.resize(length, MASKED);
        }
        self.hidden = 0;
    }

    /// Sorts the items, which are the relevant part of the whole row, by buckets, and keeps the `count` largest.
    pub(in crate::sampler::fast) fn bucket_sort(&mut self, count: usize, whole_last: bool) {
        order::bucket_sort(&self.items, count, whole_last, &mut self.buckets, &mut self.spare);
        core::mem::swap(&mut self.items, &mut self.spare);
    }
}
