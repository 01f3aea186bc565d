//! The source of the library, in order: a prebuilt library, a user's tree, the tree inside the published package, the
//! workspace's tree.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::{vars, version};

/// The source of the library.
pub(crate) enum Source {
    /// No library: only Rust is checked or documented.
    Nothing,
    /// A prebuilt library.
    Prebuilt { lib_dir: PathBuf, include_dir: PathBuf },
    /// A llama.cpp tree to build.
    Tree(Tree),
}

/// A llama.cpp source tree.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    /// The stamp of a pinned tree, which identifies its content. A user's own tree has none, because it may change
    /// between two builds.
    pub(crate) stamp: Option<String>,
}

impl Tree {
    /// Returns the version in the tree's CMakeLists.txt as `major.minor.patch`.
    pub(crate) fn version(&self) -> String {
        let text = fs::read_to_string(self.root.join("CMakeLists.txt")).unwrap_or_default();
        version::of_tree(&text).unwrap_or_else(|| "unknown".to_owned())
    }

    /// Returns the folders with the headers for the bindings and the shim.
    pub(crate) fn include_dirs(&self) -> Vec<PathBuf> {
        ["include", "ggml/include", "common", "vendor", "src"].iter().map(|dir| self.root.join(dir)).collect()
    }
}

/// Finds the library or the tree. The error says how to get one.
pub(crate) fn locate(config: &Config) -> Result<Source, String> {
    if config.no_build {
        return Ok(Source::Nothing);
    }
    if let Some(lib_dir) = &config.lib_dir {
        return prebuilt(config, lib_dir);
    }
    if let Some(root) = &config.cpp_dir {
        return own_tree(root);
    }
    let packaged = config.manifest_dir.join("llama.cpp");
    let workspace = config.manifest_dir.join("../../llama.cpp/upstream");
    for root in [packaged, workspace] {
        if is_tree(&root) {
            return Ok(Source::Tree(pinned_tree(&root)));
        }
    }
    // When setup adds the tree, the stamp appears and the build runs again.
    println!("cargo:rerun-if-changed={}", config.manifest_dir.join("../../llama.cpp").display());
    Err(format!(
        "no llama.cpp sources found. In the workspace run `cargo xtask setup`; elsewhere point {} at a llama.cpp \
         tree or {} at a built library. To check Rust code without building llama.cpp set {}=1.",
        vars::CPP_DIR,
        vars::LIB_DIR,
        vars::NO_BUILD
    ))
}

fn prebuilt(config: &Config, lib_dir: &Path) -> Result<Source, String> {
    if !lib_dir.is_dir() {
        return Err(format!("{}={} is not a folder", vars::LIB_DIR, lib_dir.display()));
    }
    let include_dir = match &config.include_dir {
        Some(dir) => dir.clone(),
        None => lib_dir.parent().unwrap_or(lib_dir).join("include"),
    };
    if !include_dir.join("llama.h").is_file() {
        return Err(format!(
            "{} has no llama.h: set {} to the folder with the headers of the library in {}",
            include_dir.display(),
            vars::INCLUDE_DIR,
            lib_dir.display()
        ));
    }
    Ok(Source::Prebuilt { lib_dir: lib_dir.to_owned(), include_dir })
}

fn own_tree(root: &Path) -> Result<Source, String> {
    if !is_tree(root) {
        return Err(format!(
            "{}={} is not a llama.cpp tree: it has no include/llama.h",
            vars::CPP_DIR,
            root.display()
        ));
    }
    let root = root.canonicalize().map_err(|error| format!("{}: {error}", root.display()))?;
    for part in ["CMakeLists.txt", "include", "src", "ggml", "common"] {
        println!("cargo:rerun-if-changed={}", root.join(part).display());
    }
    Ok(Source::Tree(Tree { root, stamp: None }))
}

fn pinned_tree(root: &Path) -> Tree {
    let stamp_file = root.join(".pin");
    println!("cargo:rerun-if-changed={}", stamp_file.display());
    let stamp = fs::read_to_string(&stamp_file).ok();
    Tree { root: root.canonicalize().unwrap_or_else(|_| root.to_owned()), stamp }
}

fn is_tree(root: &Path) -> bool {
    root.join("include/llama.h").is_file() && root.join("ggml/CMakeLists.txt").is_file()
}
