//! Limits of this machine and process. ggml only tries with every computation, and prints a line to stderr on
//! failure (ggml-cpu.c, `ggml_thread_apply_priority` and `ggml_thread_apply_affinity`).

use super::ThreadPriority;
use crate::error::{ErrorKind, ParameterProblem, Result};

/// Refuses processors that are not online on Linux.
pub(super) fn check_cpus(cpus: &[u32]) -> Result<()> {
    let Some(online) = read("/sys/devices/system/cpu/online") else { return Ok(()) };
    match cpus.iter().find(|cpu| !contains(&online, **cpu)) {
        None => Ok(()),
        Some(cpu) => Err(ParameterProblem::new(
            "cpus",
            cpu,
            format!("one of the processors of this machine, {}", online.trim()),
        )
        .into()),
    }
}

/// Refuses real-time scheduling if the process does not have permission for it.
pub(super) fn check_priority(priority: ThreadPriority) -> Result<()> {
    // The priorities of ggml_thread_apply_priority.
    let needed = match priority {
        ThreadPriority::Low | ThreadPriority::Normal => return Ok(()),
        ThreadPriority::Medium => 40,
        ThreadPriority::High => 80,
        ThreadPriority::Realtime => 90,
    };
    let Some((status, limits)) = read("/proc/self/status").zip(read("/proc/self/limits")) else {
        return Ok(());
    };
    if has_capability(&status) || realtime_limit(&limits).is_some_and(|limit| limit >= needed) {
        return Ok(());
    }
    let reason = format!(
        "it is real-time scheduling, for which this process needs CAP_SYS_NICE or a limit `ulimit -r` of {needed}"
    );
    Err(ErrorKind::Unsupported { operation: "a higher priority of threads", reason }.into())
}

fn read(path: &str) -> Option<String> {
    if cfg!(target_os = "linux") { std::fs::read_to_string(path).ok() } else { None }
}

/// Returns whether a list such as `0-3,8` contains a number. Lists that cannot be parsed contain every number.
fn contains(list: &str, cpu: u32) -> bool {
    list.trim().split(',').any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&cpu),
            _ => true,
        }
    })
}

/// Returns whether the process has `CAP_SYS_NICE`, number 23 of the effective capabilities.
fn has_capability(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_none_or(|set| set & (1 << 23) != 0)
}

/// Returns the soft limit of the real-time priority.
fn realtime_limit(limits: &str) -> Option<u32> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max realtime priority"))?;
    let soft = line.split_whitespace().next()?;
    if soft == "unlimited" { Some(u32::MAX) } else { soft.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        for (list, cpu, expected) in [
            ("0-3\n", 3, true),
            ("0-3\n", 4, false),
            ("0,2,8-9", 9, true),
            ("0,2,8-9", 3, false),
            ("?", 1, true),
        ] {
            assert_eq!(contains(list, cpu), expected, "{list} {cpu}");
        }
    }

    #[test]
    fn permissions() {
        assert!(has_capability("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(!has_capability("CapEff:\t0000000000000000\n"));
        assert!(has_capability("nothing of the kind"));
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax realtime priority     0      0   \n";
        assert_eq!(realtime_limit(limits), Some(0));
        assert_eq!(realtime_limit("Max realtime priority     unlimited  unlimited"), Some(u32::MAX));
        assert_eq!(realtime_limit(""), None);
    }
}
