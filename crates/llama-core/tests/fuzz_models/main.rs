//! Hostile models of every architecture, made of metadata and as files, with wrong numbers, types, shapes and
//! tensors. A child process loads each and computes with it, and must not end.
//!
//! `cargo xtask fuzz models` tries more of them. Every case has a number: `cargo xtask fuzz models --cases 1 --first
//! number` tries it alone. `LLAMA_FUZZ_ARCHITECTURES=dflash,eagle3` tries the cases of these architectures only.

mod base;
mod case;
mod child;
mod metadata_changes;
mod random;
mod report;
mod tensor_changes;
mod tensors;
#[path = "../../src/model/tree_names.rs"]
mod tree_names;
mod trial;

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use std::env;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use report::Report;
use tree_names::ARCHITECTURES;

/// The variable with the number of cases, and its default.
const COUNT: (&str, u64) = ("LLAMA_FUZZ_CASES", 2000);
const FIRST: (&str, u64) = ("LLAMA_FUZZ_FIRST", 0);
/// The variable that selects models that lack one tensor instead.
const MISSING: &str = "LLAMA_FUZZ_MISSING";
/// The variable with the number of concurrent children, by default the number of processors.
const JOBS: &str = "LLAMA_FUZZ_JOBS";
/// The number of cases of one child.
const SHARE: u64 = 1000;

/// Runs the work of a child; does nothing in the parent.
#[test]
fn child() {
    if let Some(cases) = child::cases() {
        child::run(cases);
    }
}

#[test]
fn no_model_ends_the_process() {
    let cases = range();
    let report = try_in_children(&cases);
    print(&report);
    let total = report.total();
    let faults: Vec<String> =
        report.faults.iter().map(|(number, what)| format!("{number}: {what}")).collect();
    assert!(
        faults.is_empty(),
        "{} of {} cases:\n{}",
        faults.len(),
        cases.end - cases.start,
        faults.join("\n")
    );
    if cases == (FIRST.1..COUNT.1) {
        // A fuzzer whose models do not load finds nothing.
        assert!(report.plain_architectures() >= 150, "{} architectures", report.plain_architectures());
        assert!(total.decoded >= 600, "{} models computed something", total.decoded);
        assert!(total.refused >= 600, "{} models were refused", total.refused);
    }
}

fn range() -> Range<u64> {
    if env::var_os(MISSING).is_some() {
        return case::WITHOUT..case::WITHOUT + ARCHITECTURES.len() as u64 * case::MAX_NAMES;
    }
    let number = |(name, default): (&str, u64)| env::var(name).map_or(default, |text| text.parse().unwrap());
    let first = number(FIRST);
    first..first + number(COUNT)
}

fn try_in_children(cases: &Range<u64>) -> Report {
    let jobs = env::var(JOBS)
        .map_or_else(|_| thread::available_parallelism().unwrap().get(), |text| text.parse().unwrap());
    let (next, report) = (AtomicU64::new(cases.start), Mutex::new(Report::default()));
    let progress = Progress::new(cases);
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let start = next.fetch_add(SHARE, Ordering::Relaxed);
                    let mut share = start..cases.end.min(start.saturating_add(SHARE));
                    if share.is_empty() {
                        return;
                    }
                    while !share.is_empty() {
                        share.start = child::try_all(&share, |number, case, ending| {
                            let mut report = report.lock().unwrap();
                            report.add(number, case, ending);
                            progress.tell_fault(&report, number);
                            progress.tell(&report);
                        });
                    }
                }
            });
        }
    });
    report.into_inner().unwrap()
}

/// Prints a line every few seconds.
struct Progress {
    cases: u64,
    last: Mutex<Instant>,
}

impl Progress {
    fn new(cases: &Range<u64>) -> Self {
        Self { cases: cases.end - cases.start, last: Mutex::new(Instant::now()) }
    }

    #[allow(clippy::print_stderr, reason = "as `tell`")]
    fn tell_fault(&self, report: &Report, number: u64) {
        if let Some(what) = report.faults.get(&number) {
            eprintln!("{number}: {what}");
        }
    }

    #[allow(clippy::print_stderr, reason = "for whoever waits, with --nocapture")]
    fn tell(&self, report: &Report) {
        let mut last = self.last.lock().unwrap();
        if last.elapsed() < Duration::from_secs(5) {
            return;
        }
        *last = Instant::now();
        let report::Counts { decoded, refused, asserted, signals, hangs, .. } = report.total();
        let done = decoded + refused + asserted + signals + hangs;
        eprintln!(
            "{done} of {}: {decoded} decoded, {refused} refused, {asserted} asserted, {signals} signals, {hangs} hangs",
            self.cases
        );
    }
}

#[allow(clippy::print_stdout, reason = "the figures are for whoever asks for them with --nocapture")]
fn print(report: &Report) {
    println!("{}", report.table());
    println!("{} of {} architectures compute unchanged", report.plain_architectures(), ARCHITECTURES.len());
    report.refused_plain.values().for_each(|line| println!("{line}"));
}
