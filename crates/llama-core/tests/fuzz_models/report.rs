//! Reports the outcomes of all cases by architecture.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use crate::case::{Named, is_plain};
use crate::child::Ending;
use crate::trial::Outcome;

/// The number of occurrences of each outcome.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) decoded: u64,
    pub(crate) refused: u64,
    pub(crate) asserted: u64,
    pub(crate) signals: u64,
    pub(crate) hangs: u64,
    /// The number of unchanged models that computed.
    pub(crate) plain: u64,
}

/// Counts, and descriptions of outcomes that must not happen.
#[derive(Default)]
pub(crate) struct Report {
    by_architecture: BTreeMap<&'static str, Counts>,
    pub(crate) faults: BTreeMap<u64, String>,
    /// The reasons why unchanged models were refused.
    pub(crate) refused_plain: BTreeMap<u64, String>,
}

impl Report {
    pub(crate) fn add(&mut self, number: u64, case: &str, ending: Ending) {
        let counts = self.by_architecture.entry(Named::new(number).architecture).or_default();
        match ending {
            Ending::Outcome(Outcome::Decoded, _) => {
                counts.decoded += 1;
                counts.plain += u64::from(is_plain(number));
            }
            Ending::Outcome(Outcome::Refused, why) => {
                counts.refused += 1;
                if is_plain(number) {
                    self.refused_plain.insert(number, format!("{number}: {case}: {why}"));
                }
            }
            Ending::Outcome(Outcome::Asserted, what) => {
                counts.asserted += 1;
                self.faults.insert(number, format!("{case}: asserted, {what}"));
            }
            Ending::Lost { hangs, stage, how } => {
                let count = if hangs { &mut counts.hangs } else { &mut counts.signals };
                *count += 1;
                let what = if hangs { "hangs" } else { "ends the process" };
                self.faults.insert(number, format!("{case}: {what} in stage {stage}: {how}"));
            }
        }
    }

    pub(crate) fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.by_architecture.values() {
            total.decoded += counts.decoded;
            total.refused += counts.refused;
            total.asserted += counts.asserted;
            total.signals += counts.signals;
            total.hangs += counts.hangs;
            total.plain += counts.plain;
        }
        total
    }

    /// Returns the number of architectures whose unchanged model computed.
    pub(crate) fn plain_architectures(&self) -> usize {
        self.by_architecture.values().filter(|counts| counts.plain > 0).count()
    }

    /// Returns a table with a line for each architecture and one for all.
    pub(crate) fn table(&self) -> String {
        let mut table =
            format!("{:18}  decoded  refused  asserted  signals  hangs  unchanged\n", "architecture");
        let total = self.total();
        for (name, counts) in self.by_architecture.iter().chain([(&"all", &total)]) {
            let Counts { decoded, refused, asserted, signals, hangs, plain } = counts;
            let _ = writeln!(
                table,
                "{name:18}  {decoded:7}  {refused:7}  {asserted:8}  {signals:7}  {hangs:5}  {plain:9}"
            );
        }
        table
    }
}
