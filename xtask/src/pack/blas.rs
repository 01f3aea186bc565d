//! The replacement of cuBLAS, which has 600 MB, by a megabyte: compiled from `cublas.cu` beside this file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::setup::cuda;
use crate::workspace;

/// The source, whose first lines say what it can do.
const SOURCE: &str = include_str!("cublas.cu");

/// Whether the replacement can take the place of a library.
pub(super) fn replaces(library: &str) -> bool {
    library.starts_with("libcublas.so.")
}

/// Whether a library is only needed by one that is replaced.
pub(super) fn makes_useless(library: &str) -> bool {
    library.starts_with("libcublasLt.so.")
}

/// Compiles the replacement under the name of a library, for the architectures of CMake's list.
pub(super) fn build(library: &str, architectures: &str, folder: &Path) -> Result<PathBuf> {
    let work = tempfile::tempdir().context("could not create a temporary folder")?;
    let write = |name: &str, text: &str| {
        let path = work.path().join(name);
        fs::write(&path, text).with_context(|| format!("could not write {}", path.display())).map(|()| path)
    };
    let source = write("cublas.cu", SOURCE)?;
    // NVIDIA's library has one version of symbols, with its own name.
    let versions = write("versions", &format!("{library} {{ global: cublas*; local: *; }};\n"))?;
    let target = folder.join(library);
    let mut nvcc = Command::new(cuda::compiler()?);
    nvcc.args(["-shared", "-O2", "-std=c++17", "-cudart", "static", "-Xcompiler", "-fPIC"]);
    nvcc.args(["-Xlinker", &format!("-soname={library}")]);
    nvcc.args(["-Xlinker", &format!("--version-script={}", versions.display())]);
    nvcc.args(generated(architectures)).arg(&source).arg("-o").arg(&target);
    workspace::capture(&mut nvcc).context("could not compile the replacement of cuBLAS")?;
    Ok(target)
}

/// Returns the compiler's arguments for CMake's list of architectures.
fn generated(architectures: &str) -> Vec<String> {
    let numbers = architectures.split(';').map(|one| one.split('-').next().unwrap_or(one));
    numbers.map(|number| format!("-gencode=arch=compute_{number},code=sm_{number}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_those_of_the_row() {
        assert_eq!(
            generated("86;90-real"),
            ["-gencode=arch=compute_86,code=sm_86", "-gencode=arch=compute_90,code=sm_90"]
        );
    }

    #[test]
    fn only_cublas_is_replaced() {
        assert!(replaces("libcublas.so.13") && makes_useless("libcublasLt.so.13"));
        assert!(!replaces("libcublasLt.so.13") && !replaces("libcudart.so.13"));
        assert!(!makes_useless("libcublas.so.13"));
    }
}
