//! The rules of sequences and positions for valid batches.

use std::collections::{BTreeMap, BTreeSet};

use crate::memory::{Memory, Tokens};

/// A token as it was pushed into a batch.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) token: i32,
    pub(crate) pos: i32,
    pub(crate) seqs: Vec<i32>,
    pub(crate) output: bool,
}

/// Returns the tokens of a checked batch, with sequences as bits.
pub(crate) fn tokens(entries: &[Entry]) -> Vec<(i64, u32)> {
    let bits = |seqs: &[i32]| seqs.iter().fold(0, |bits, seq| bits | 1 << seq);
    entries.iter().map(|entry| (i64::from(entry.pos), bits(&entry.seqs))).collect()
}

/// Returns the sequences in a set of bits.
pub(crate) fn sequences(bits: u32) -> impl Iterator<Item = u32> {
    (0..32).filter(move |seq| bits & (1 << seq) != 0)
}

/// Whether the sequences of a batch continue where they end in memory, without gaps and never backwards, and whether
/// tokens in several sequences are consistent.
pub(crate) fn is_consistent(tokens: &Tokens, memory: &Memory) -> bool {
    let mut positions: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
    for &(pos, seqs) in tokens {
        sequences(seqs).for_each(|seq| positions.entry(seq).or_default().push(pos));
    }
    positions.iter().all(|(seq, positions)| follow(*seq, positions, memory))
        && tokens.iter().all(|(_, seqs)| are_alike(*seqs, memory))
}

fn follow(seq: u32, positions: &[i64], memory: &Memory) -> bool {
    let distinct: BTreeSet<i64> = positions.iter().copied().collect();
    let (Some(first), Some(last)) = (distinct.first(), distinct.last()) else { return true };
    let count = i64::try_from(distinct.len()).unwrap();
    positions.is_sorted()
        && last - first < count
        && memory.extent(seq).is_none_or(|extent| *first == extent.last + 1)
}

/// Whether sequences with a common token begin and end alike, as they must.
fn are_alike(seqs: u32, memory: &Memory) -> bool {
    let ends = |seq| memory.extent(seq).map(|extent| (*extent.first.start(), extent.last));
    let mut extents = sequences(seqs).map(ends);
    let first = extents.next().flatten();
    extents.all(|extent| extent == first)
}
