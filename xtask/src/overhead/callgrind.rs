//! Reads callgrind's counts by function.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};

/// The instructions of each function itself, without the functions that it calls.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Profile(BTreeMap<String, f64>);

impl Profile {
    /// Parses callgrind's output: `fn=(1) name` begins a function, and names it the first time. A line of two numbers
    /// is a place and its cost. The line after `calls=` is the cost of the called function.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut names = HashMap::new();
        let mut profile = Self::default();
        let mut function = String::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(reference) = line.strip_prefix("fn=") {
                function = name(reference, &mut names)?;
            } else if let Some(reference) = line.strip_prefix("cfn=") {
                name(reference, &mut names)?;
            } else if line.starts_with("calls=") {
                lines.next();
            } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
                let cost = line.split(' ').nth(1).map_or(Ok(0.0), str::parse::<f64>);
                *profile.0.entry(function.clone()).or_default() +=
                    cost.with_context(|| format!("callgrind wrote `{line}`"))?;
            }
        }
        Ok(profile)
    }

    pub(super) fn total(&self) -> f64 {
        self.0.values().sum()
    }

    pub(super) fn less(&self, other: &Self) -> Self {
        let mut functions = self.0.clone();
        for (function, cost) in &other.0 {
            *functions.entry(function.clone()).or_default() -= cost;
        }
        Self(functions)
    }

    pub(super) fn divided_by(mut self, number: u32) -> Self {
        self.0.values_mut().for_each(|cost| *cost /= f64::from(number));
        self
    }

    /// Returns the functions with the most instructions, and their counts.
    pub(super) fn largest(&self, count: usize) -> Vec<(&str, f64)> {
        let mut all: Vec<_> = self.0.iter().map(|(function, cost)| (function.as_str(), *cost)).collect();
        all.sort_by(|one, other| other.1.total_cmp(&one.1));
        all.truncate(count);
        all
    }
}

/// Returns the name of a reference such as `(12) main`, or the name that `(12)` was given before.
fn name<'t>(reference: &'t str, names: &mut HashMap<&'t str, &'t str>) -> Result<String> {
    let (number, name) = reference.split_once(' ').unwrap_or((reference, ""));
    if !number.starts_with('(') {
        return Ok(reference.to_owned());
    }
    if !name.is_empty() {
        names.insert(number, name);
    }
    names
        .get(number)
        .map(|name| (*name).to_owned())
        .with_context(|| format!("callgrind never named {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "version: 1\npositions: line\nevents: Ir\n\nfl=(1) a.c\nfn=(1) main\n16 400\n+2 100\n\
                          cfn=(2) work\ncalls=3 50\n16 9000\n* 7\n\nfn=(2)\n50 8000\nfn=(3) other one\n-1 1000\n\n\
                          totals: 9507\n";

    #[test]
    fn functions_have_what_they_took_themselves() {
        let profile = Profile::parse(OUTPUT).unwrap();
        assert_eq!(profile.largest(2), [("work", 8000.0), ("other one", 1000.0)]);
        assert_eq!(profile.0["main"], 507.0);
        assert_eq!(profile.total(), 9507.0);
        assert!(Profile::parse("fn=(9)\n1 1\n").is_err());
    }

    #[test]
    fn the_difference_of_two_runs_is_divided_by_the_steps() {
        let twice = Profile::parse("fn=(1) a\n1 30\nfn=(2) b\n1 10\n").unwrap();
        let once = Profile::parse("fn=(1) a\n1 20\nfn=(3) c\n1 5\n").unwrap();
        let step = twice.less(&once).divided_by(5);
        assert_eq!(step.largest(3), [("a", 2.0), ("b", 2.0), ("c", -1.0)]);
    }
}
