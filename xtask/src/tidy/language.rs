//! Rejects the patterns that make a summary or an error text hard to read.

use std::path::Path;

use super::Finding;
use super::code::Parts;

/// The beginnings of the paths that are checked: a crate is listed as soon as its texts keep to the rules.
const CHECKED: &[&str] = &[
    "benches/",
    "crates/llama-core/",
    "crates/llama-gen/",
    "crates/llama-gguf/",
    "crates/llama-sys/",
    "crates/test-models/",
    "examples/",
    "fuzz/",
    "xtask/",
];

/// Words that no summary starts with, and what to write instead.
const BAD_STARTS: [(&str, &str); 4] = [
    ("What", "start with a verb (`Returns`, `Loads`) for a function and with a noun for a type or field"),
    ("Those", "name the things instead of pointing at the item above"),
    ("The same", "say what the item does without leaning on the item above"),
    ("Of", "start with a verb for a function and with a noun for a type or field"),
];

/// Wording of an error that does not say which part is the fact and which the requirement. In two parts, because this
/// file is checked too.
const BAD_ERROR: &str = concat!(": it", " is ");

/// Checks one source file, if it is in a checked crate.
pub(super) fn check(path: &Path, name: &str, parts: &Parts<'_>) -> Vec<Finding> {
    if !CHECKED.iter().any(|prefix| name.starts_with(prefix)) {
        return Vec::new();
    }
    let mut found = bad_summaries(path, &parts.comments);
    // Tests quote texts that are put together of several errors.
    if !name.contains("/tests/") {
        found.extend(bad_errors(path, parts));
    }
    found
}

fn bad_summaries(path: &Path, comments: &str) -> Vec<Finding> {
    summaries(comments)
        .into_iter()
        .filter_map(|(line, summary)| {
            let (start, instead) = BAD_STARTS.into_iter().find(|(start, _)| starts_with(summary, start))?;
            Some(Finding::new(path, line, format!("the summary starts with `{start}`: {instead}")))
        })
        .collect()
}

/// Returns the first line of each block of documentation, with its number.
fn summaries(comments: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut previous = None;
    for (index, line) in comments.lines().enumerate() {
        let marker = marker(line.trim_start());
        if let Some(marker) = marker.filter(|_| marker != previous) {
            found.push((index + 1, line.trim_start()[marker.len()..].trim_start()));
        }
        previous = marker;
    }
    found
}

/// Returns the mark of a line of documentation.
fn marker(line: &str) -> Option<&'static str> {
    let is_rule = line.starts_with("////");
    ["///", "//!"].into_iter().find(|marker| !is_rule && line.starts_with(marker))
}

/// Whether the text starts with these whole words.
fn starts_with(text: &str, words: &str) -> bool {
    text.strip_prefix(words).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

fn bad_errors(path: &Path, parts: &Parts<'_>) -> Vec<Finding> {
    let unit_tests = parts.unit_tests();
    let bad = parts.literals.iter().filter(|literal| {
        joined(literal.text).contains(BAD_ERROR)
            && !unit_tests.iter().any(|tests| tests.contains(&literal.line))
    });
    let sentence = format!(
        "an error text with `{BAD_ERROR}`: write what is and then what must be (`n is 0, but must be at least 1`)"
    );
    bad.map(|literal| Finding::new(path, literal.line, sentence.clone())).collect()
}

/// Joins the lines of a literal that a backslash breaks.
fn joined(literal: &str) -> String {
    let mut lines = literal.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(source: &str) -> Vec<usize> {
        lines_of("xtask/a.rs", source)
    }

    fn lines_of(name: &str, source: &str) -> Vec<usize> {
        check(Path::new("a.rs"), name, &Parts::of(source)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn summaries_that_start_badly_are_found() {
        for start in
            ["What it does.", "Those of a model.", "The same, for bytes.", "Of a described generation: it."]
        {
            assert_eq!(lines(&format!("fn a() {{}}\n/// {start}\nfn b() {{}}\n")), [2], "{start}");
            assert_eq!(lines(&format!("//! {start}\n")), [1], "{start}");
            assert_eq!(lines(&format!("struct A {{\n    /// {start}\n    a: u8,\n}}\n")), [2], "{start}");
        }
    }

    #[test]
    fn only_the_first_line_of_documentation_is_a_summary() {
        assert_eq!(
            lines("/// Returns a.\n/// What follows is detail.\n///\n/// Of those.\nfn a() {}\n"),
            [0; 0]
        );
        assert_eq!(lines("// What a comment says is free.\n//// Of a line\n"), [0; 0]);
        assert_eq!(lines("//! A file.\n/// What a function does.\nfn a() {}\n"), [2]);
        assert_eq!(lines("let a = \"\n/// What a literal says.\n\";\n"), [0; 0]);
    }

    #[test]
    fn words_that_only_begin_alike_pass() {
        for start in ["Whatever was left.", "Offsets of tensors.", "The samest.", "Whether it is.", "Office."]
        {
            assert_eq!(lines(&format!("/// {start}\nfn a() {{}}\n")), [0; 0], "{start}");
        }
    }

    #[test]
    fn errors_that_mix_fact_and_requirement_are_found() {
        assert_eq!(lines("fn a() {\n    format!(\"n is {n}: it is 1 to 4\")\n}\n"), [2]);
        assert_eq!(lines("#[error(\"top_p is 2: it \\\n    is above 0\")]\nstruct E;\n"), [1]);
        assert_eq!(lines("format!(\"n is 0, but must be at least 1\") // n is 0: it is 1\n"), [0; 0]);
        assert_eq!(lines("#[cfg(test)]\nmod tests {\n    const A: &str = \"n: it is 1\";\n}\n"), [0; 0]);
        assert_eq!(lines_of("crates/llama-gguf/tests/a.rs", "const A: &str = \"n: it is 1\";\n"), [0; 0]);
    }

    #[test]
    fn a_crate_is_checked_when_it_is_listed() {
        for prefix in CHECKED {
            assert!(prefix.ends_with('/') || prefix.ends_with(".rs"), "{prefix} matches other names too");
        }
        let parts = Parts::of("/// What.\n");
        assert_eq!(check(Path::new("a.rs"), "nowhere/a.rs", &parts), []);
    }
}
