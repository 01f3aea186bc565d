//! The sorting algorithms of GCC's C++ library, step by step.
//!
//! After `std::sort` and `std::partial_sort`, the order of candidates with equal logits depends on the steps of the
//! algorithm. It decides which of them are kept and where a draw ends. The same steps give the same order.

use super::list::{Item, MASKED};

/// Largest number of candidates for which C++ uses only `std::partial_sort`; for more it sorts by buckets first.
pub(super) const MAX_HEAP: usize = 128;
/// Length up to which `std::sort` uses an insertion sort.
const SMALL: usize = 16;

/// Returns whether `left` comes before `right`.
fn before(left: &Item, right: &Item) -> bool {
    left.logit > right.logit
}

/// `std::partial_sort`: leaves the largest of all items in `first`, sorted. The other items are dropped.
pub(super) fn partial_sort(first: &mut [Item], rest: impl IntoIterator<Item = Item>) {
    make_heap(first);
    rest.into_iter().for_each(|item| offer(first, item));
    sort_heap(first);
}

/// Turns the items into a heap, with the smallest first.
pub(super) fn make_heap(items: &mut [Item]) {
    for parent in (0..items.len() / 2).rev() {
        let value = items[parent];
        adjust_heap(items, parent, value);
    }
}

/// Replaces the smallest item of the heap by a larger one.
pub(super) fn offer(heap: &mut [Item], item: Item) {
    if heap.first().is_some_and(|smallest| before(&item, smallest)) {
        adjust_heap(heap, 0, item);
    }
}

/// Sorts the items of a heap.
pub(super) fn sort_heap(items: &mut [Item]) {
    for last in (1..items.len()).rev() {
        let value = items[last];
        items[last] = items[0];
        adjust_heap(&mut items[..last], 0, value);
    }
}

/// Puts a value into the heap whose element at `hole` is missing: the hole moves down to a leaf first, and the value
/// up from there.
fn adjust_heap(items: &mut [Item], mut hole: usize, value: Item) {
    let (top, length) = (hole, items.len());
    let mut child = hole;
    while child < length.saturating_sub(1) / 2 {
        child = 2 * (child + 1);
        if before(&items[child], &items[child - 1]) {
            child -= 1;
        }
        items[hole] = items[child];
        hole = child;
    }
    if length.is_multiple_of(2) && length >= 2 && child == (length - 2) / 2 {
        child = 2 * child + 1;
        items[hole] = items[child];
        hole = child;
    }
    while hole > top {
        let parent = (hole - 1) / 2;
        if !before(&items[parent], &value) {
            break;
        }
        items[hole] = items[parent];
        hole = parent;
    }
    items[hole] = value;
}

/// Sorts like `std::sort`.
pub(super) fn sort(items: &mut [Item]) {
    if items.len() < 2 {
        return;
    }
    introsort(items, 2 * items.len().ilog2());
    for index in 1..items.len() {
        if index < SMALL && before(&items[index], &items[0]) {
            items[..=index].rotate_right(1);
        } else {
            insert(items, index);
        }
    }
}

fn introsort(mut items: &mut [Item], mut depth: u32) {
    while items.len() > SMALL {
        if depth == 0 {
            partial_sort(items, []);
            return;
        }
        depth -= 1;
        let cut = partition(items);
        let (left, right) = items.split_at_mut(cut);
        introsort(right, depth);
        items = left;
    }
}

/// Moves the median of three to the front and partitions the rest by it; returns the start of the second part.
fn partition(items: &mut [Item]) -> usize {
    let (b, c) = (items.len() / 2, items.len() - 1);
    let median = median(items, 1, b, c);
    items.swap(0, median);
    let pivot = items[0];
    let (mut left, mut right) = (1, items.len());
    loop {
        while before(&items[left], &pivot) {
            left += 1;
        }
        right -= 1;
        while before(&pivot, &items[right]) {
            right -= 1;
        }
        if left >= right {
            return left;
        }
        items.swap(left, right);
        left += 1;
    }
}

fn median(items: &[Item], a: usize, b: usize, c: usize) -> usize {
    let before = |left: usize, right: usize| before(&items[left], &items[right]);
    match (before(a, b), before(b, c), before(a, c)) {
        (true, true, _) | (false, false, false) => b,
        (true, false, true) | (false, true, false) => c,
        (true, false, false) | (false, _, true) => a,
    }
}

/// Inserts an item into the sorted items before it.
fn insert(items: &mut [Item], index: usize) {
    let value = items[index];
    let mut hole = index;
    while hole > 0 && before(&value, &items[hole - 1]) {
        items[hole] = items[hole - 1];
        hole -= 1;
    }
    items[hole] = value;
}

/// Number of buckets of [`bucket_sort`], over logits from -10 to 10.
const BUCKETS: usize = 128;
const PER_LOGIT: f32 = 6.4;

/// llama.cpp's sort for more than [`MAX_HEAP`] candidates: puts them into buckets and sorts each needed bucket, the
/// last one only partially. Leaves the `count` largest in `sorted`. `whole_last` sorts the last bucket fully, as if
/// more candidates were needed.
pub(super) fn bucket_sort(
    items: &[Item],
    count: usize,
    whole_last: bool,
    buckets: &mut Vec<u8>,
    sorted: &mut Vec<Item>,
) {
    let mut histogram = [0_usize; BUCKETS];
    buckets.clear();
    buckets.extend(items.iter().map(|item| bucket(item.logit)));
    for bucket in &*buckets {
        histogram[usize::from(*bucket)] += 1;
    }
    let (mut have, mut last) = (0, BUCKETS - 1);
    for bucket in (0..BUCKETS).rev() {
        (have, last) = (have + histogram[bucket], bucket);
        if have >= count {
            break;
        }
    }
    // The start of each bucket, and then the position of its next item.
    let mut places = [0; BUCKETS];
    let mut place = 0;
    for bucket in (last..BUCKETS).rev() {
        places[bucket] = place;
        place += histogram[bucket];
    }
    sorted.clear();
    sorted.resize(have, MASKED);
    for (item, bucket) in items.iter().zip(&*buckets).filter(|(_, bucket)| usize::from(**bucket) >= last) {
        let place = &mut places[usize::from(*bucket)];
        sorted[*place] = *item;
        *place += 1;
    }
    let mut start = 0;
    for bucket in (last + 1..BUCKETS).rev() {
        sort(&mut sorted[start..start + histogram[bucket]]);
        start += histogram[bucket];
    }
    if whole_last {
        sort(&mut sorted[start..]);
    } else {
        let (first, rest) = sorted[start..].split_at_mut(count.saturating_sub(start).min(have - start));
        partial_sort(first, rest.iter().copied());
    }
    sorted.truncate(count);
}

/// Returns a logit slightly below all logits of a bucket other than the first, which has no lower bound.
pub(super) fn bucket_start(bucket: u8) -> f32 {
    (f32::from(bucket) - 64.0) / PER_LOGIT - 1e-4
}

/// Returns the bucket of a logit. Logits outside of the range go into the first or the last bucket.
pub(super) fn bucket(logit: f32) -> u8 {
    let value = PER_LOGIT * logit + 64.0;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is cut to 0 to 127"
    )]
    let bucket = value.clamp(0.0, 127.0) as u8;
    bucket
}
