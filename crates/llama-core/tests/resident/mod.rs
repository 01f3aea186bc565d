//! The memory of this process, to check that it does not grow.
#![allow(dead_code, reason = "each test binary uses a part of this")]

/// Returns the resident memory in bytes, where the system reports it in a file.
#[cfg(target_os = "linux")]
pub(crate) fn resident_bytes() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn resident_bytes() -> Option<u64> {
    None
}

/// Runs `round` this many times, and asserts that memory has grown by less than a tenth of the growth that a leak of
/// `lost_each` bytes per round would cause. Allocators spread out at first; a real leak repeats in every try.
#[track_caller]
pub(crate) fn assert_flat(rounds: u64, lost_each: u64, mut round: impl FnMut()) {
    let limit = rounds * lost_each / 10;
    let mut grown = 0;
    for _try in 0..3 {
        let before = resident_bytes();
        (0..rounds).for_each(|_| round());
        let (Some(before), Some(after)) = (before, resident_bytes()) else {
            return;
        };
        grown = after.saturating_sub(before);
        if grown < limit {
            return;
        }
    }
    panic!("{rounds} rounds took {grown} bytes more memory; less than {limit} are allowed");
}
