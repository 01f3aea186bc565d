//! The libraries that rows link instead of building the pinned tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::command;
use crate::native::messages::Messages;
use crate::{setup, workspace};

/// Builds the library with these features and installs it as its users would, and returns the folder of the library.
pub(crate) fn installed(features: &str) -> Result<PathBuf> {
    let mut cargo = command::cargo();
    cargo.args(["build", "--package", "llama-sys", "--message-format=json"]);
    cargo.args(features.split_whitespace());
    let messages = Messages::read(&workspace::capture(&mut cargo)?);
    let prefix = command::folder().join("installed").join(prefix_name(features));
    install(&messages.native_dir()?, &prefix)?;
    library_folder(&prefix)
}

/// Returns a name for the folder of the installation, different for different features.
fn prefix_name(features: &str) -> String {
    let words = features.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-");
    if name.is_empty() { "static".to_owned() } else { name }
}

fn install(native: &Path, prefix: &Path) -> Result<()> {
    // Otherwise a file that the library no longer has would remain.
    match fs::remove_dir_all(prefix) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", prefix.display()));
        }
        _ => {}
    }
    let mut cmake = Command::new(setup::tools::cmake());
    cmake.arg("--install").arg(native).args(["--config", "Release", "--prefix"]).arg(prefix);
    workspace::capture(&mut cmake).context("CMake could not install the library")?;
    Ok(())
}

fn library_folder(prefix: &Path) -> Result<PathBuf> {
    let folders = ["lib", "lib64"].map(|name| prefix.join(name));
    match folders.into_iter().find(|folder| folder.is_dir()) {
        Some(folder) => Ok(folder),
        None => bail!("{} has neither lib nor lib64 after the installation", prefix.display()),
    }
}

/// Makes a folder that looks like an installation of this version, and returns its folder of libraries.
pub(super) fn of_version(version: &str) -> Result<PathBuf> {
    let prefix = command::folder().join("installed").join(format!("version {version}"));
    let library = prefix.join("lib");
    let files = [
        (prefix.join("include/llama.h"), String::new()),
        (library.join("libllama.a"), String::new()),
        (library.join("pkgconfig/llama.pc"), format!("Name: llama\nVersion: {version}\n")),
    ];
    for (path, content) in files {
        let failed = || format!("cannot write {}", path.display());
        fs::create_dir_all(path.parent().unwrap_or(&prefix)).with_context(failed)?;
        fs::write(&path, content).with_context(failed)?;
    }
    Ok(library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installations_with_different_features_do_not_share_a_folder() {
        assert_eq!(prefix_name(""), "static");
        assert_eq!(prefix_name("--features shared"), "features-shared");
        assert_eq!(
            prefix_name("--no-default-features --features shared"),
            "no-default-features-features-shared"
        );
    }

    #[test]
    fn the_folder_of_libraries_is_found_by_either_name() {
        for name in ["lib", "lib64"] {
            let prefix = tempfile::tempdir().unwrap();
            assert!(library_folder(prefix.path()).is_err());
            fs::create_dir(prefix.path().join(name)).unwrap();
            assert_eq!(library_folder(prefix.path()).unwrap(), prefix.path().join(name));
        }
    }
}
