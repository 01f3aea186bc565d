//! The part of the system's memory that this process may use. ggml reports all of it as free on Unix.

use crate::device::Device;

/// Bytes of the system's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostMemory {
    /// Bytes that can be allocated without evicting anything except cached files.
    pub(crate) available: u64,
    /// Bytes that this process could have in total.
    pub(crate) total: u64,
    /// Bytes to which other memory can be swapped out.
    pub(crate) free_swap: u64,
}

impl HostMemory {
    /// Returns the current memory.
    pub(crate) fn now() -> Self {
        let memory = Device::cpu().map(|cpu| cpu.reported_memory());
        let (free, total) =
            memory.map_or((u64::MAX, u64::MAX), |memory| (memory.free as u64, memory.total as u64));
        let reported = Self { available: free, total, free_swap: 0 };
        #[cfg(target_os = "linux")]
        let reported = linux::refine(reported);
        reported
    }

    /// Returns the bytes that can be allocated before the system has to kill a process.
    pub(crate) fn room(&self) -> u64 {
        self.available.saturating_add(self.free_swap)
    }
}

/// Refinements on Linux: files report the available memory and the limits of this process's control groups. (The
/// crate `sysinfo` only reads the outermost group and counts cached files as used.)
#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::HostMemory;

    /// Replaces the values that are known more precisely.
    pub(super) fn refine(reported: HostMemory) -> HostMemory {
        let mut memory = reported;
        if let Ok(text) = fs::read_to_string("/proc/meminfo") {
            memory = system(&text, reported);
        }
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        for folder in folders(&groups) {
            if let Some(group) = Group::read(&folder) {
                memory = group.limit(memory);
            }
        }
        memory
    }

    /// Returns the memory of the whole system, from the text of `/proc/meminfo`.
    fn system(text: &str, reported: HostMemory) -> HostMemory {
        let bytes = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            Some(value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.saturating_mul(1024))
        };
        HostMemory {
            available: bytes("MemAvailable").unwrap_or(reported.available),
            total: bytes("MemTotal").unwrap_or(reported.total),
            free_swap: bytes("SwapFree").unwrap_or(0),
        }
    }

    /// Returns the folders of the process's memory groups and their parents, from the text of `/proc/self/cgroup`.
    /// In a container the outermost group may be mounted without its path.
    fn folders(text: &str) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
            let root = match controllers {
                "" => Path::new("/sys/fs/cgroup"),
                names if names.split(',').any(|name| name == "memory") => Path::new("/sys/fs/cgroup/memory"),
                _ => continue,
            };
            let inner = Path::new(group.trim_start_matches('/'));
            folders.extend(inner.ancestors().map(|group| root.join(group)));
        }
        folders
    }

    /// Limit and usage of a control group.
    #[derive(Debug, PartialEq, Eq)]
    struct Group {
        limit: u64,
        used: u64,
    }

    impl Group {
        /// Reads the files of version 2 or version 1. Returns `None` without a limit.
        fn read(folder: &Path) -> Option<Self> {
            let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
            let limit = text("memory.max").or_else(|| text("memory.limit_in_bytes"))?;
            let used = text("memory.current").or_else(|| text("memory.usage_in_bytes"))?;
            Self::parse(&limit, &used, &text("memory.stat").unwrap_or_default())
        }

        /// Parses the files. Cached files count as used in them, but can be dropped.
        fn parse(limit: &str, used: &str, stat: &str) -> Option<Self> {
            let limit = limit.trim().parse().ok()?;
            let used: u64 = used.trim().parse().ok()?;
            let value =
                |key: &str| stat.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
            let files = value("total_inactive_file ").or_else(|| value("inactive_file ")).unwrap_or(0);
            let active = value("total_active_file ").or_else(|| value("active_file ")).unwrap_or(0);
            Some(Self { limit, used: used.saturating_sub(files).saturating_sub(active) })
        }

        fn limit(&self, memory: HostMemory) -> HostMemory {
            if self.limit >= memory.total {
                return memory;
            }
            HostMemory {
                available: memory.available.min(self.limit.saturating_sub(self.used)),
                total: self.limit,
                // The group's swap has another limit; 0 is the safe assumption.
                free_swap: 0,
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        const SYSTEM: HostMemory = HostMemory { available: 9_000, total: 10_000, free_swap: 500 };

        #[test]
        fn the_system_is_read_from_meminfo() {
            let text = "MemTotal:       24731804 kB\nMemFree:  17 kB\nMemAvailable:   23577780 kB\nSwapFree:  8 kB\n";
            let expected =
                HostMemory { available: 23_577_780 * 1024, total: 24_731_804 * 1024, free_swap: 8 * 1024 };
            assert_eq!(system(text, SYSTEM), expected);
            assert_eq!(system("", SYSTEM), HostMemory { free_swap: 0, ..SYSTEM });
        }

        #[test]
        fn groups_of_both_versions_are_found_up_to_the_root() {
            let text = "5:cpu:/a\n4:memory:/process/b\n0::/user.slice/c\n";
            let paths: Vec<_> = folders(text).iter().map(|path| path.display().to_string()).collect();
            assert_eq!(
                paths,
                [
                    "/sys/fs/cgroup/memory/process/b",
                    "/sys/fs/cgroup/memory/process",
                    "/sys/fs/cgroup/memory/",
                    "/sys/fs/cgroup/user.slice/c",
                    "/sys/fs/cgroup/user.slice",
                    "/sys/fs/cgroup/",
                ]
            );
            assert!(folders("").is_empty());
        }

        #[test]
        fn a_group_limits_what_is_available() {
            let group =
                Group::parse("4000\n", "3000\n", "anon 900\nactive_file 500\ninactive_file 1500\n").unwrap();
            assert_eq!(group, Group { limit: 4000, used: 1000 });
            assert_eq!(group.limit(SYSTEM), HostMemory { available: 3000, total: 4000, free_swap: 0 });
            let first = Group::parse("4000", "3000", "inactive_file 1\ntotal_inactive_file 2000\n").unwrap();
            assert_eq!(first.used, 1000);
        }

        #[test]
        fn no_limit_changes_nothing() {
            assert_eq!(Group::parse("max\n", "3000\n", ""), None);
            let unlimited = Group::parse("9223372036854771712\n", "3000\n", "").unwrap();
            assert_eq!(unlimited.limit(SYSTEM), SYSTEM);
        }

        #[test]
        fn this_system_has_memory() {
            let memory = HostMemory::now();
            assert!(memory.available > 1 << 20 && memory.available <= memory.total, "{memory:?}");
        }
    }
}
