//! Reads llama.cpp's names of architectures and of their hyperparameter keys.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};

/// The source file with the tables of names, relative to the tree's root.
const SOURCE: &str = "src/llama-arch.cpp";
/// The beginning of the table of architectures, and the names in it that no model file has.
const ARCHITECTURES: (&str, &[&str]) = ("LLM_ARCH_NAMES = {", &["(unknown)"]);
/// The beginning of the table of keys.
const KEYS: &str = "LLM_KV_NAMES = {";
/// The placeholder in a key for the name of the architecture.
const PREFIX: &str = "%s.";

/// Renders the Rust module with both lists, sorted.
pub(super) fn render(tree: &Path) -> anyhow::Result<String> {
    let path = tree.join(SOURCE);
    let source = fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
    let (start, excluded) = ARCHITECTURES;
    let mut architectures = table(&source, start)?;
    architectures.retain(|name| !excluded.contains(&name.as_str()));
    let mut keys: Vec<String> =
        table(&source, KEYS)?.iter().filter_map(|key| key.strip_prefix(PREFIX)).map(str::to_owned).collect();
    for list in [&mut architectures, &mut keys] {
        list.sort();
        list.dedup();
    }
    Ok(format!(
        "//! Names that llama.cpp knows, from its `{SOURCE}`.\n\n\
         /// The names of all architectures, sorted.\n\
         pub(crate) const ARCHITECTURES: &[&str] = &{architectures:?};\n\n\
         /// The keys of hyperparameters without the name of the architecture before them, sorted.\n\
         pub(crate) const KEYS: &[&str] = &{keys:?};\n"
    ))
}

/// Returns the second texts of the pairs in a C++ table that begins with `start`.
fn table(source: &str, start: &str) -> anyhow::Result<Vec<String>> {
    let (_, rest) = source.split_once(start).with_context(|| format!("{SOURCE} has no `{start}`"))?;
    let (body, _) = rest.split_once("\n};").with_context(|| format!("`{start}` in {SOURCE} has no end"))?;
    let names: Vec<String> = body.lines().filter_map(second_text).collect();
    ensure!(names.len() > 50, "`{start}` in {SOURCE} has only {} names", names.len());
    Ok(names)
}

/// Returns the text in a line such as `{ LLM_ARCH_LLAMA, "llama" },`.
fn second_text(line: &str) -> Option<String> {
    let pair = line.trim_start().strip_prefix('{')?;
    pair.split('"').nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_give_their_texts() {
        assert_eq!(second_text("    { LLM_ARCH_T5, \"t5\" }, // remark \"x\"").as_deref(), Some("t5"));
        assert_eq!(second_text("    // { LLM_ARCH_T5, \"t5\" },"), None);
        assert_eq!(second_text(""), None);
    }

    #[test]
    fn a_table_without_names_is_an_error() {
        let error = table("A = {\n { X, \"x\" },\n};\n", "A = {").unwrap_err().to_string();
        assert_eq!(error, "`A = {` in src/llama-arch.cpp has only 1 names");
        assert!(table("", "A = {").unwrap_err().to_string().contains("has no `A = {`"));
    }
}
