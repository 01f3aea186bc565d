//! Checks that no file is committed that must not be.

use std::process::Command;

use anyhow::Result;

use super::Finding;
use crate::{progress, workspace};

/// Checks the list of committed files. A folder that is not a git checkout has none.
pub(super) fn check() -> Result<Vec<Finding>> {
    if !workspace::root().join(".git").exists() {
        progress::note("tidy", "no git checkout: committed files are not checked");
        return Ok(Vec::new());
    }
    let mut git = Command::new("git");
    git.args(["ls-files", "-z"]).current_dir(workspace::root());
    Ok(forbidden(&workspace::capture(&mut git)?))
}

/// Returns the findings in a NUL-separated list of paths.
fn forbidden(list: &str) -> Vec<Finding> {
    let objection = |path: &str| {
        let is_tree =
            path.starts_with("llama.cpp/upstream/") || path.starts_with("crates/llama-sys/llama.cpp/");
        if is_tree {
            Some("llama.cpp's own code is fetched, never committed: git rm --cached it")
        } else if path.ends_with(".gguf") || path.ends_with(".safetensors") {
            Some("models are fetched or generated, never committed: git rm --cached it")
        } else {
            None
        }
    };
    list.split('\0').filter_map(|path| Some(Finding::new(path, 1, objection(path)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_and_upstream_files_are_found() {
        let list =
            "Cargo.toml\0models/some model.gguf\0llama.cpp/Cargo.toml\0llama.cpp/upstream/include/llama.h\0";
        let paths: Vec<_> = forbidden(list).into_iter().map(|finding| finding.path).collect();
        assert_eq!(
            paths,
            ["models/some model.gguf", "llama.cpp/upstream/include/llama.h"].map(std::path::PathBuf::from)
        );
    }
}
