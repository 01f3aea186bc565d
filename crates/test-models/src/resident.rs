//! The resident memory of this process.

/// Returns the resident memory in bytes, `None` on systems that do not say it in a file.
#[cfg(target_os = "linux")]
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

/// Returns the resident memory in bytes, `None` on systems that do not say it in a file.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    None
}
