//! The memory that the process has allocated and not freed, in bytes.
//!
//! Where the C library does not report it, nothing is compared; `resident` detects large leaks there.

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

/// Runs `round` this many times, and asserts that at the end no more is allocated than before, except for `allowed`
/// bytes in total. The caches of allocators fill up in the first rounds; a real leak repeats in every try.
#[track_caller]
pub(crate) fn assert_returned(rounds: usize, allowed: usize, mut round: impl FnMut()) {
    let mut lost = 0;
    for _try in 0..3 {
        let before = allocated_bytes();
        (0..rounds).for_each(|_| round());
        let (Some(before), Some(after)) = (before, allocated_bytes()) else {
            return;
        };
        lost = after.saturating_sub(before);
        if lost <= allowed {
            return;
        }
    }
    panic!("{rounds} rounds lost {lost} bytes; at most {allowed} are allowed");
}
