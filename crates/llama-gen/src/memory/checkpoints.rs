//! Copies of a memory that cannot be cut, so that a sequence can go back to them.

/// Copies of one sequence's memory at several places in its text, in order, within a budget of bytes.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    entries: Vec<Checkpoint>,
    budget: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Checkpoint {
    n_tokens: usize,
    state: Vec<u8>,
}

impl Checkpoints {
    /// Creates an empty list for at most `budget` bytes; 0 disables checkpoints.
    pub(crate) fn new(budget: usize) -> Self {
        Self { entries: Vec::new(), budget, bytes: 0 }
    }

    pub(crate) fn are_wanted(&self) -> bool {
        self.budget > 0
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the place of the latest checkpoint with at most `n` tokens.
    pub(crate) fn latest(&self, n: usize) -> Option<usize> {
        self.entries.iter().rev().map(|entry| entry.n_tokens).find(|place| *place <= n)
    }

    /// Returns the latest checkpoint: its number of tokens and its state.
    pub(crate) fn last(&self) -> Option<(usize, &[u8])> {
        self.entries.last().map(|entry| (entry.n_tokens, entry.state.as_slice()))
    }

    /// Drops the checkpoints of more than `n` tokens.
    pub(crate) fn truncate(&mut self, n: usize) {
        while self.entries.last().is_some_and(|last| last.n_tokens > n) {
            self.pop();
        }
    }

    /// Drops the latest checkpoint.
    pub(crate) fn pop(&mut self) {
        if let Some(last) = self.entries.pop() {
            self.bytes -= last.state.len();
        }
    }

    /// Drops checkpoints until there is room for another one of this size. False when the budget is too small for it.
    pub(crate) fn make_room(&mut self, size: usize) -> bool {
        if size > self.budget {
            tracing::debug!("a checkpoint of {size} bytes is larger than all may be: {}", self.budget);
            return false;
        }
        while self.bytes + size > self.budget {
            let entry = self.entries.remove(self.least_missed());
            self.bytes -= entry.state.len();
        }
        true
    }

    /// Adds a checkpoint after all others.
    pub(crate) fn push(&mut self, n_tokens: usize, state: Vec<u8>) {
        self.bytes += state.len();
        self.entries.push(Checkpoint { n_tokens, state });
    }

    /// Returns the checkpoint whose neighbours are closest to each other, so that the remaining ones are spread evenly. The
    /// latest is dropped only when it is the only one, because most texts go on where they ended.
    fn least_missed(&self) -> usize {
        let place = |index: usize| self.entries[index].n_tokens;
        let before = |index: usize| if index == 0 { 0 } else { place(index - 1) };
        (0..self.entries.len() - 1).min_by_key(|index| place(index + 1) - before(*index)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(checkpoints: &Checkpoints) -> Vec<usize> {
        checkpoints.entries.iter().map(|entry| entry.n_tokens).collect()
    }

    /// Returns checkpoints of ten bytes each at these places.
    fn filled(budget: usize, at: &[usize]) -> Checkpoints {
        let mut checkpoints = Checkpoints::new(budget);
        for n in at {
            if checkpoints.make_room(10) {
                checkpoints.push(*n, vec![0; 10]);
            }
        }
        checkpoints
    }

    #[test]
    fn what_is_kept_is_spread_evenly_and_within_the_budget() {
        let checkpoints = filled(40, &[10, 20, 30, 40, 50, 60, 70, 80]);
        assert_eq!(checkpoints.bytes(), 40);
        assert_eq!(places(&checkpoints), [20, 40, 70, 80]);
        assert_eq!(places(&filled(10, &[10, 20, 30])), [30]);
    }

    #[test]
    fn one_that_is_too_large_drops_nothing() {
        let mut checkpoints = filled(40, &[10, 20]);
        assert!(!checkpoints.make_room(41));
        assert_eq!(places(&checkpoints), [10, 20]);
        assert!(!Checkpoints::new(0).are_wanted());
    }

    #[test]
    fn the_latest_before_a_place_is_found() {
        let mut checkpoints = filled(100, &[10, 20, 30]);
        assert_eq!([9, 10, 25, 99].map(|n| checkpoints.latest(n)), [None, Some(10), Some(20), Some(30)]);
        checkpoints.truncate(20);
        assert_eq!((places(&checkpoints), checkpoints.bytes()), (vec![10, 20], 20));
        assert_eq!(checkpoints.last().map(|(n, _)| n), Some(20));
    }
}
