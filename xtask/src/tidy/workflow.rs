//! Checks that the workflow is the one that the rows of the matrix make.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Finding;
use crate::matrix::workflow;

pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let path = root.join(workflow::PATH);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(differing(&text, &workflow::current()?).into_iter().collect())
}

/// Returns a finding at the first line that differs. Windows may have checked the file out with other line ends.
fn differing(text: &str, expected: &str) -> Option<Finding> {
    let (mut lines, mut expected_lines) = (text.lines(), expected.lines());
    let mut number = 1;
    loop {
        match (lines.next(), expected_lines.next()) {
            (None, None) => return None,
            (line, expected) if line == expected => number += 1,
            _ => {
                let sentence =
                    "the rows of the matrix make another workflow: run `cargo xtask matrix --workflow`";
                return Some(Finding::new(workflow::PATH, number, sentence));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_found() {
        let line = |text, expected| differing(text, expected).map(|finding| finding.line);
        assert_eq!(line("a\nb\n", "a\nb\n"), None);
        assert_eq!(line("a\r\nb\r\n", "a\nb\n"), None);
        assert_eq!(line("a\nx\n", "a\nb\n"), Some(2));
        assert_eq!(line("a\n", "a\nb\n"), Some(2), "a line is missing");
        assert_eq!(line("a\nb\nc\n", "a\nb\n"), Some(3), "a line is left over");
    }
}
