//! Rust's standard library for the target of a row: installed by rustup, or built by cargo from its sources.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::setup::rust_src;
use crate::workspace;

/// The variable by which cargo finds the sources outside the compiler's own folder.
const SOURCES: &str = "__CARGO_TESTS_ONLY_SRC_ROOT";

/// Whether rustup has installed the library for a target.
pub(super) fn is_installed(target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]).current_dir(workspace::root());
    workspace::capture(&mut rustc).is_ok_and(|folder| Path::new(folder.trim()).is_dir())
}

/// Whether cargo can compile for a target, with an installed library or with one that it builds.
pub(super) fn is_at_hand(target: &str) -> bool {
    is_installed(target) || rust_src::library().is_some()
}

/// Returns the argument that makes cargo build the library, if it is not installed.
pub(super) fn flag(target: &str) -> Option<&'static str> {
    (!is_installed(target)).then_some("-Zbuild-std=std,panic_unwind,panic_abort")
}

/// Returns the variables with which cargo builds the library, if it is not installed.
pub(super) fn variables(target: &str) -> Vec<(&'static str, OsString)> {
    let sources = if is_installed(target) { None } else { rust_src::library() };
    let variables = |sources: std::path::PathBuf| {
        // Only an unstable compiler builds its library.
        vec![("RUSTC_BOOTSTRAP", "1".into()), (SOURCES, sources.into_os_string())]
    };
    sources.map(variables).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_library_is_not_built() {
        let host = workspace::capture(Command::new("rustc").args(["--print", "host-tuple"])).unwrap();
        assert!(is_installed(host.trim()) && is_at_hand(host.trim()));
        assert_eq!((flag(host.trim()), variables(host.trim())), (None, Vec::new()));
    }

    #[test]
    fn a_missing_library_is_built_from_its_sources() {
        assert!(!is_installed("no-such-target"));
        assert_eq!(flag("no-such-target"), Some("-Zbuild-std=std,panic_unwind,panic_abort"));
        let names: Vec<_> = variables("no-such-target").into_iter().map(|(name, _)| name).collect();
        let expected: &[&str] =
            if rust_src::library().is_some() { &["RUSTC_BOOTSTRAP", SOURCES] } else { &[] };
        assert_eq!(names, expected);
    }
}
