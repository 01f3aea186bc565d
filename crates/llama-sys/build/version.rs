//! The versions of llama.cpp: of the bindings, of a source tree, of a prebuilt library.

use std::fs;
use std::path::Path;

/// The version of llama.cpp that the committed bindings were made from.
pub(crate) const BOUND: &str = "0.8.0";

/// Returns the version in a tree's CMakeLists.txt as `major.minor.patch`.
pub(crate) fn of_tree(cmake_lists: &str) -> Option<String> {
    let part = |name: &str| {
        let at = cmake_lists.find(&format!("set(LLAMA_VERSION_{name} "))?;
        let digits = cmake_lists[at..].split_once(' ')?.1.split(')').next()?;
        Some(digits.trim().to_owned())
    };
    Some(format!("{}.{}.{}", part("MAJOR")?, part("MINOR")?, part("PATCH")?))
}

/// Returns the version of the library in a folder as `major.minor.patch`: from the name of the shared library's file, or
/// else from what llama.cpp's installation puts beside a library. `None` when neither is there.
pub(crate) fn of_library(lib_dir: &Path) -> Option<String> {
    let shared = ["libllama.so", "libllama.dylib"].into_iter().find_map(|name| {
        let file = fs::canonicalize(lib_dir.join(name)).ok()?;
        in_file_name(file.file_name()?.to_str()?)
    });
    shared.or_else(|| in_pkg_config(lib_dir)).or_else(|| in_cmake_package(lib_dir))
}

/// Returns the sentence that refuses a prebuilt library of another version than the bindings are for.
pub(crate) fn refusal(variable: &str, lib_dir: &Path, found: &str) -> Option<String> {
    (found != BOUND).then(|| {
        format!(
            "{variable}={} holds llama.cpp {found}, but the bindings are for {BOUND}: link a library of version \
             {BOUND}, or add feature `bindgen`, which makes bindings from the library's headers",
            lib_dir.display()
        )
    })
}

/// Returns the version in a file's name: `libllama.so.0.8.0` or `libllama.0.8.0.dylib`.
fn in_file_name(name: &str) -> Option<String> {
    let rest = name.strip_prefix("libllama.")?;
    let version = rest.strip_prefix("so.").or_else(|| rest.strip_suffix(".dylib"))?;
    release(version)
}

fn in_pkg_config(lib_dir: &Path) -> Option<String> {
    let text = fs::read_to_string(lib_dir.join("pkgconfig/llama.pc")).ok()?;
    release(text.lines().find_map(|line| line.strip_prefix("Version:"))?)
}

fn in_cmake_package(lib_dir: &Path) -> Option<String> {
    let text = fs::read_to_string(lib_dir.join("cmake/llama/llama-config-version.cmake")).ok()?;
    let value = text.lines().find_map(|line| line.trim().strip_prefix("set(PACKAGE_VERSION \""))?;
    release(value.split('"').next()?)
}

/// Returns `major.minor.patch` of a version that may end in `-dev`. `None` when the text is no version.
fn release(version: &str) -> Option<String> {
    let release = version.trim().split('-').next()?;
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (release.split('.').count() == 3 && release.split('.').all(is_number)).then(|| release.to_owned())
}
