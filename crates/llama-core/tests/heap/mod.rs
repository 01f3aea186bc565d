//! The memory that the process has allocated and not freed, to the byte.
//!
//! Where the C library does not tell it nothing is compared: `resident` serves there, for large losses.

#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
fn allocated_bytes() -> Option<usize> {
    /// `struct mallinfo2` of malloc.h.
    #[repr(C)]
    struct Info {
        numbers: [usize; 10],
    }
    unsafe extern "C" {
        fn mallinfo2() -> Info;
    }
    // SAFETY: takes no arguments and returns ten numbers; glibc has it since 2.33.
    let Info { numbers } = unsafe { mallinfo2() };
    // `hblkhd`, what is mapped on its own, and `uordblks`, the rest.
    Some(numbers[4] + numbers[7])
}

#[cfg(not(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64")))]
fn allocated_bytes() -> Option<usize> {
    None
}

/// Runs `round` so often, and asserts that in the end no more is allocated than before, but for `allowed` bytes in all.
/// A few rounds before the count fill what is kept for later.
#[track_caller]
pub(crate) fn assert_returned(rounds: usize, allowed: usize, mut round: impl FnMut()) {
    (0..10).for_each(|_| round());
    let before = allocated_bytes();
    (0..rounds).for_each(|_| round());
    let (Some(before), Some(after)) = (before, allocated_bytes()) else {
        return;
    };
    let lost = after.saturating_sub(before);
    assert!(lost <= allowed, "{rounds} rounds lost {lost} bytes; at most {allowed} are allowed");
}
