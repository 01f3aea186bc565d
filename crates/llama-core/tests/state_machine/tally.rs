//! Counts the outcomes of each call, to check that the test covers them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

thread_local! {
    static TALLY: RefCell<BTreeMap<&'static str, BTreeMap<&'static str, u64>>> =
        const { RefCell::new(BTreeMap::new()) };
}

/// Counts an outcome of a call.
pub(crate) fn count(name: &'static str, outcome: &'static str) {
    TALLY.with_borrow_mut(|tally| *tally.entry(name).or_default().entry(outcome).or_default() += 1);
}

/// Returns a line for each call.
pub(crate) fn text() -> String {
    let mut text = String::new();
    TALLY.with_borrow(|tally| {
        for (name, outcomes) in tally {
            let _ = writeln!(text, "{name:16} {outcomes:?}");
        }
    });
    text
}

/// Returns the calls that never succeeded.
pub(crate) fn never_fine() -> Vec<&'static str> {
    TALLY.with_borrow(|tally| {
        let refused = tally.iter().filter(|(_, outcomes)| !outcomes.contains_key("fine"));
        refused.map(|(name, _)| *name).collect()
    })
}
