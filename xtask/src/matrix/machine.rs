//! The date of a run, and the machine, compilers and llama.cpp that it used.

use std::env;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Result;

use crate::native::version;
use crate::{setup, workspace};

/// Describes llama.cpp, the compilers and the machine in one line.
pub(super) fn describe() -> Result<String> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    Ok(format!(
        "llama.cpp {} ({}), {}, {}, {} {} with {processors} processors",
        version::BOUND,
        setup::pin::describe()?,
        first_line("rustc").unwrap_or_else(|| "an unknown rustc".into()),
        first_line(&env::var("CXX").unwrap_or_else(|_| "c++".into()))
            .unwrap_or_else(|| "no C++ compiler on PATH".into()),
        env::consts::OS,
        env::consts::ARCH,
    ))
}

/// Returns the first line that a program prints about its version.
fn first_line(program: &str) -> Option<String> {
    let mut command = Command::new(program);
    let printed = workspace::capture(command.arg("--version").current_dir(workspace::root())).ok()?;
    printed.lines().next().map(|line| line.trim().to_owned())
}

/// Returns today's date in UTC, as `2026-11-28`.
pub(super) fn today() -> String {
    date(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// Returns the date of a time since 1970 in the Gregorian calendar.
fn date(since_1970: Duration) -> String {
    let mut day = since_1970.as_secs() / 86_400;
    let mut year = 1970;
    while day >= days_of(year) {
        day -= days_of(year);
        year += 1;
    }
    let february = days_of(year) - 337;
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", day + 1)
}

/// Returns the number of days of a year.
fn days_of(year: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    if leap { 366 } else { 365 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        let day = |day: u64| date(Duration::from_secs(day * 86_400 + 86_399));
        for (number, expected) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (364, "1970-12-31"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_785, "2026-11-28"),
        ] {
            assert_eq!(day(number), expected);
        }
    }

    #[test]
    fn the_machine_is_one_line() {
        let text = describe().unwrap();
        assert!(text.contains("rustc 1.") && text.contains("llama.cpp 0."), "{text}");
        assert!(!text.contains(['\n', '|']), "{text}");
    }
}
