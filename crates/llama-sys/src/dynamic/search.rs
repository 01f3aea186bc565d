//! The places where the library is looked for.

use std::env;
use std::path::{Path, PathBuf};

use super::VARIABLE;
use crate::LLAMA_CPP_VERSION;

/// Returns the files to try, in order: those of the caller, of the variable, or beside the executable.
pub(super) fn places(path: Option<&Path>) -> Vec<PathBuf> {
    let variable = env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    match path.map(Path::to_path_buf).or(variable) {
        Some(path) => candidates(&path),
        None => beside_executable(),
    }
}

/// Returns the path itself, or the usual names in the folder that it names.
pub(super) fn candidates(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() { in_folder(path) } else { vec![path.to_path_buf()] }
}

fn beside_executable() -> Vec<PathBuf> {
    let executable = env::current_exe().unwrap_or_default();
    in_folder(executable.parent().unwrap_or(Path::new("")))
}

fn in_folder(folder: &Path) -> Vec<PathBuf> {
    file_names().into_iter().map(|name| folder.join(name)).collect()
}

/// Returns the names of the library's file: that of a development package, and that of the library alone.
fn file_names() -> [String; 2] {
    let major = LLAMA_CPP_VERSION.split('.').next().unwrap_or_default();
    if cfg!(windows) {
        ["llama.dll".to_owned(), "libllama.dll".to_owned()]
    } else if cfg!(target_vendor = "apple") {
        ["libllama.dylib".to_owned(), format!("libllama.{major}.dylib")]
    } else {
        ["libllama.so".to_owned(), format!("libllama.so.{major}")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_as_it_is_and_a_folder_is_searched() {
        assert_eq!(candidates(Path::new("no/such/file")), [Path::new("no/such/file")]);
        let folder = env::temp_dir();
        let [first, second] = file_names();
        assert_eq!(candidates(&folder), [folder.join(first), folder.join(second)]);
    }

    #[test]
    fn the_callers_path_comes_first() {
        assert_eq!(places(Some(Path::new("one"))), [Path::new("one")]);
    }
}
