//! The table of results: medians, ranges, and the ratio of each round.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Speeds in tokens per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Speeds {
    pub(super) prompt: f64,
    pub(super) generation: f64,
}

impl Speeds {
    /// Formats both ratios for a line of progress.
    pub(super) fn relative_to(self, other: Self) -> String {
        let Self { prompt, generation } = other;
        format!("prompt {:.3}, generation {:.3}", self.prompt / prompt, self.generation / generation)
    }
}

/// The rounds of one run.
pub(super) struct Report {
    threads: usize,
    pin: String,
    cpu: String,
    theirs: Vec<Speeds>,
    ours: Vec<Speeds>,
}

impl Report {
    pub(super) fn new(threads: usize, pin: String) -> Self {
        Self { threads, pin, cpu: String::new(), theirs: Vec::new(), ours: Vec::new() }
    }

    /// Adds a round.
    pub(super) fn add(&mut self, theirs: Speeds, ours: Speeds, cpu: String) {
        self.theirs.push(theirs);
        self.ours.push(ours);
        self.cpu = cpu;
    }

    fn row(&self, name: &str, speed: fn(&Speeds) -> f64) -> String {
        let theirs: Vec<f64> = self.theirs.iter().map(speed).collect();
        let ours: Vec<f64> = self.ours.iter().map(speed).collect();
        let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
        format!("| {name} | {} | {} | {} |", spread(&theirs, 1), spread(&ours, 1), spread(&ratios, 3))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "| test | llama-bench (t/s) | llama-core (t/s) | llama-core / llama-bench |")?;
        writeln!(formatter, "|---|---:|---:|---:|")?;
        writeln!(formatter, "{}", self.row("prompt, 512 tokens", |speeds| speeds.prompt))?;
        writeln!(formatter, "{}", self.row("generation, 64 tokens", |speeds| speeds.generation))?;
        writeln!(formatter)?;
        write!(
            formatter,
            "Median (lowest to highest) of {} rounds; in each, llama-bench and llama-core ran once, one after the \
             other, and the ratio is that of the round. SmolLM2-135M-Instruct Q4_1, {} threads on {}, llama.cpp of {}, \
             both programs linked from the same objects.",
            self.ours.len(),
            self.threads,
            if self.cpu.is_empty() { "an unknown processor" } else { &self.cpu },
            self.pin
        )
    }
}

pub(super) fn spread(values: &[f64], digits: usize) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.first(), sorted.last()) {
        (Some(lowest), Some(highest)) => {
            format!("{:.digits$} ({lowest:.digits$} to {highest:.digits$})", median(&sorted))
        }
        _ => "not measured".to_owned(),
    }
}

pub(super) fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

/// Replaces the text between a command's markers in a document. A missing document is created.
pub(super) fn put_into(file: &Path, command: &str, table: &str) -> Result<()> {
    let (begin, end) = markers(command);
    let old = match fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("# Benchmarks\n\n{begin}\n{end}\n")
        }
        other => other.with_context(|| format!("could not read {}", file.display()))?,
    };
    let new = replaced(&old, command, table).with_context(|| {
        format!("{} has no section for the table: add the lines `{begin}` and `{end}`", file.display())
    })?;
    fs::write(file, new).with_context(|| format!("could not write {}", file.display()))
}

/// Returns the markers around the table of a command in a document.
fn markers(command: &str) -> (String, String) {
    (format!("<!-- begin: {command} -->"), format!("<!-- end: {command} -->"))
}

fn replaced(document: &str, command: &str, table: &str) -> Option<String> {
    let (begin, end) = markers(command);
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{table}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speeds(prompt: f64, generation: f64) -> Speeds {
        Speeds { prompt, generation }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_medians() {
        let mut report = Report::new(2, "some-pin 1.0".into());
        report.add(speeds(100.0, 10.0), speeds(99.0, 10.0), "Some CPU".into());
        report.add(speeds(200.0, 10.0), speeds(190.0, 11.0), "Some CPU".into());
        report.add(speeds(50.0, 10.0), speeds(51.0, 9.0), "Some CPU".into());
        let text = report.to_string();
        let prompt =
            "| prompt, 512 tokens | 100.0 (50.0 to 200.0) | 99.0 (51.0 to 190.0) | 0.990 (0.950 to 1.020) |";
        assert!(text.contains(prompt), "{text}");
        assert!(text.contains("of 3 rounds"), "{text}");
        assert!(text.contains("2 threads on Some CPU, llama.cpp of some-pin 1.0"), "{text}");
    }

    #[test]
    fn an_even_number_of_rounds_has_a_median_too() {
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0], 1), "2.5 (1.0 to 4.0)");
        assert_eq!(spread(&[], 1), "not measured");
    }

    const COMMAND: &str = "cargo xtask bench";

    #[test]
    fn only_the_marked_section_of_a_document_changes() {
        let (begin, end) = markers(COMMAND);
        let other = "<!-- begin: cargo xtask bench other -->\nother\n<!-- end: cargo xtask bench other -->";
        let document = format!("# Title\n\n{other}\n{begin}\nold\n{end}\n\nafter\n");
        let new = replaced(&document, COMMAND, "new").unwrap();
        assert_eq!(new, format!("# Title\n\n{other}\n{begin}\nnew\n{end}\n\nafter\n"));
        assert_eq!(replaced(&new, COMMAND, "new").unwrap(), new);
        assert_eq!(replaced("# Title\n", COMMAND, "new"), None);
    }

    #[test]
    fn a_missing_document_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("benchmarks.md");
        put_into(&file, COMMAND, "table").unwrap();
        let (begin, end) = markers(COMMAND);
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("# Benchmarks\n\n{begin}\ntable\n{end}\n"));
    }
}
