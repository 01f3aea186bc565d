//! Rules that each source file keeps to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::code::{Parts, lines_with_word};
use super::{Finding, language, modules};

/// The most lines that a file may have.
const LONGEST: usize = 600;

/// The paths that may contain `unsafe`: two crates, and the C API loop that llama-core is compared with.
const MAY_BE_UNSAFE: [&str; 3] = ["crates/llama-sys/", "crates/llama-core/", "benches/step/through_sys.rs"];

/// File names that do not tell the content.
const SAY_NOTHING: [&str; 4] = ["utils", "helpers", "common", "manager"];

/// Notes to oneself. Their content belongs in an error or an issue.
const NOTES: [&str; 3] = ["TODO", "FIXME", "XXX"];

/// Folders that hold no sources of this workspace.
const NOT_OURS: [&str; 4] = ["target", "llama.cpp/upstream", "crates/llama-sys/llama.cpp", "docs/book"];

/// Checks every source file of the workspace.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut files = Vec::new();
    collect(root, Path::new(""), &mut files)?;
    files.sort();
    let mut findings = Vec::new();
    for path in files {
        let bytes =
            fs::read(root.join(&path)).with_context(|| format!("could not read {}", path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        findings.extend(check_file(&path, &text)?);
        findings.extend(missing_includes(&path, &text, |file| root.join(file).is_file()));
    }
    Ok(findings)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let could_not_read = || format!("could not read {}", root.join(folder).display());
    for entry in fs::read_dir(root.join(folder)).with_context(could_not_read)? {
        let entry = entry.with_context(could_not_read)?;
        let path = folder.join(entry.file_name());
        let name = slashed(&path);
        if entry.file_type()?.is_dir() {
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            if !is_hidden && !NOT_OURS.contains(&name.as_str()) {
                collect(root, &path, files)?;
            }
        } else if has_extension(&path, &["rs", "h", "c", "cpp", "toml"]) {
            files.push(path);
        }
    }
    Ok(())
}

fn check_file(path: &Path, text: &str) -> Result<Vec<Finding>> {
    let name = slashed(path);
    if name.starts_with("crates/llama-sys/src/bindings/") || is_generated(text) {
        return Ok(Vec::new());
    }
    if has_extension(path, &["toml"]) {
        return Ok(notes(path, text));
    }
    let parts = Parts::of(text);
    let code = &parts.code;
    let mut findings = notes(path, &parts.comments);
    findings.extend(size_and_name(path, text));
    findings.extend(language::check(path, &name, &parts));
    if has_extension(path, &["rs"]) {
        findings.extend(unfinished(path, code));
        findings.extend(modules::check(path, &name, text, &parts)?);
        if !MAY_BE_UNSAFE.iter().any(|prefix| name.starts_with(prefix)) {
            let sentence = "`unsafe` is allowed only in llama-sys and llama-core";
            findings.extend(lines_with_word(code, "unsafe").map(|line| Finding::new(path, line, sentence)));
        }
        if name.starts_with("crates/llama-gen/") {
            let sentence = "llama-gen never names a llama_sys item: add what is missing to llama-core";
            findings
                .extend(lines_with_word(code, "llama_sys").map(|line| Finding::new(path, line, sentence)));
        }
    }
    Ok(findings)
}

fn size_and_name(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST {
        findings.push(Finding::new(
            path,
            LONGEST,
            format!("{lines} lines, over {LONGEST}: split the file by concept"),
        ));
    }
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if has_extension(path, &["rs"]) && SAY_NOTHING.contains(&stem.as_str()) {
        findings.push(Finding::new(path, 1, "the name says nothing: name the file after what is in it"));
    }
    findings
}

fn notes(path: &Path, comments: &str) -> Vec<Finding> {
    let found = |word| {
        let sentence = format!("{word}: do it, or return an error that says what is missing");
        lines_with_word(comments, word).map(move |line| Finding::new(path, line, sentence.clone()))
    };
    NOTES.into_iter().flat_map(found).collect()
}

/// Finds macros that stand in for code, and tests that do not run.
fn unfinished(path: &Path, code: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in code.lines().enumerate() {
        for word in ["todo!", "unimplemented!"] {
            if line.contains(word) {
                let sentence = format!("{word} panics where an error could say what is missing");
                findings.push(Finding::new(path, index + 1, sentence));
            }
        }
        let ignored = line.trim_start().starts_with("#[ignore")
            || line.contains("cfg_attr(") && line.contains(", ignore");
        if ignored {
            findings.push(Finding::new(path, index + 1, "an ignored test never fails: run it or remove it"));
        }
    }
    findings
}

/// Finds included files that do not exist. The fuzz targets are built on their own, where a moved file would show late.
fn missing_includes(path: &Path, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let folder = path.parent().unwrap_or(Path::new(""));
    for (index, line) in text.lines().enumerate() {
        for rest in line.split("include_str!(\"").skip(1) {
            let Some((file, _)) = rest.split_once("\")") else { continue };
            if !exists(&folder.join(file)) {
                findings.push(Finding::new(
                    path,
                    index + 1,
                    format!("the included file {file} does not exist"),
                ));
            }
        }
    }
    findings
}

/// Whether the file says at its top that a program wrote it.
fn is_generated(text: &str) -> bool {
    text.lines().take(3).any(|line| line.starts_with("//") && line.contains("@generated"))
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|extension| extensions.iter().any(|known| extension == *known))
}

/// Returns the path with `/` between its parts, as git shows it.
fn slashed(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check_file(Path::new(path), text).unwrap().iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn unsafe_is_found_outside_the_two_crates_that_may() {
        let source = "fn a() {}\n// unsafe in a comment\nfn b() { unsafe { c() } }\n";
        assert_eq!(lines("crates/llama-gen/src/a.rs", source), [3]);
        assert_eq!(lines("xtask/src/a.rs", source), [3]);
        assert_eq!(lines("crates/llama-core/src/a.rs", source), [0; 0]);
        assert_eq!(lines("crates/llama-sys/build/main.rs", source), [0; 0]);
    }

    #[test]
    fn llama_gen_does_not_reach_below_llama_core() {
        let source = "// not llama_sys\nuse llama_sys::llama_token;\n";
        assert_eq!(lines("crates/llama-gen/src/a.rs", source), [2]);
        assert_eq!(lines("crates/llama-core/src/a.rs", source), [0; 0]);
    }

    #[test]
    fn long_files_and_empty_names_are_found() {
        let long = "// line\n".repeat(601);
        assert_eq!(lines("xtask/src/a.rs", &long), [600]);
        assert_eq!(lines("crates/llama-sys/shim/a.cpp", &long), [600]);
        assert_eq!(lines("crates/llama-sys/src/bindings/llama.rs", &long), [0; 0]);
        assert_eq!(lines("crates/llama-sys/tests/link.rs", &format!("// @generated by `x`\n{long}")), [0; 0]);
        assert_eq!(lines("crates/llama-gen/src/utils.rs", ""), [1]);
        assert_eq!(lines("crates/llama-sys/shim/common.h", ""), [0; 0]);
    }

    #[test]
    fn notes_and_unfinished_code_are_found() {
        assert_eq!(lines("a.rs", "let a = \"TODO\";\nlet b; // TODO: this\n/// FIXME\n"), [2, 3]);
        assert_eq!(lines("a.cpp", "int a; // XXX\n"), [1]);
        assert_eq!(lines("Cargo.toml", "[package]\n# TODO\n"), [2]);
        assert_eq!(lines("a.rs", "fn a() { todo!() }\nfn b() { unimplemented!(\"c\") }\n"), [1, 2]);
        assert_eq!(lines("a.rs", "#[test]\n#[ignore = \"slow\"]\n#[cfg_attr(windows, ignore)]\n"), [2, 3]);
    }

    #[test]
    fn only_our_own_sources_are_read() {
        let root = tempfile::tempdir().unwrap();
        for path in
            ["target/a.rs", "llama.cpp/upstream/src/b.cpp", ".git/c.rs", "crates/x/src/target/d.rs", "e.md"]
        {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "// TODO").unwrap();
        }
        let found: Vec<_> =
            check(root.path()).unwrap().into_iter().map(|finding| slashed(&finding.path)).collect();
        assert_eq!(found, ["crates/x/src/target/d.rs"]);
    }

    #[test]
    fn an_included_file_must_exist() {
        let text = "let a = include_str!(\"../here.txt\");\nlet b = [include_str!(\"gone.txt\"), include_str!(\"../here.txt\")];";
        let findings = missing_includes(Path::new("fuzz/targets/a.rs"), text, |file| {
            file == Path::new("fuzz/targets/../here.txt")
        });
        let sentence = "the included file gone.txt does not exist";
        assert_eq!(findings, [Finding::new("fuzz/targets/a.rs", 2, sentence)]);
    }
}
