//! The layout of an installed CUDA toolkit, which compiler and CMake expect, made from the files of wheels.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The folder of the toolkit inside each wheel.
const INSIDE: &str = "nvidia/cu13/";

/// Files that no build reads: another interface of the compiler and of cuBLAS.
const UNUSED: [&str; 2] = ["lib/libnvvm.so", "lib/libnvblas.so"];

/// The folder in which an installed toolkit has its libraries. In wheels it is `lib`.
const LIBRARIES: &str = "lib64";

/// Returns the place of a wheel's file inside the toolkit, or `None` for a file that is not part of it.
pub(super) fn place(member: &str) -> Option<PathBuf> {
    let file = member.strip_prefix(INSIDE)?;
    if file.starts_with('.') || file.split('/').any(|part| part == ".." || part.is_empty()) {
        return None;
    }
    if UNUSED.iter().any(|unused| file.starts_with(unused)) {
        return None;
    }
    Some(match file.strip_prefix("lib/") {
        Some(library) => Path::new(LIBRARIES).join(library),
        None => PathBuf::from(file),
    })
}

/// Adds what wheels cannot have: the names without a version by which libraries are linked.
pub(super) fn complete(root: &Path) -> Result<()> {
    let folder = root.join(LIBRARIES);
    let could_not = || format!("could not complete {}", folder.display());
    for entry in fs::read_dir(&folder).with_context(could_not)? {
        let name = entry.with_context(could_not)?.file_name().to_string_lossy().into_owned();
        if let Some((library, _)) = name.split_once(".so.") {
            link(&name, &folder.join(format!("{library}.so"))).with_context(could_not)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn link(name: &str, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(name, path)
}

#[cfg(not(unix))]
fn link(_: &str, _: &Path) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "these libraries are for Linux"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_wheel_have_the_places_of_an_installed_toolkit() {
        let of = |member| place(member).map(|path| path.display().to_string().replace('\\', "/"));
        assert_eq!(of("nvidia/cu13/bin/nvcc").unwrap(), "bin/nvcc");
        assert_eq!(of("nvidia/cu13/nvvm/bin/cicc").unwrap(), "nvvm/bin/cicc");
        assert_eq!(of("nvidia/cu13/lib/libcublas.so.13").unwrap(), "lib64/libcublas.so.13");
        for unused in [
            "nvidia/cu13/lib/libnvvm.so.4",
            "nvidia/cu13/.metadata/.sizes.txt",
            "nvidia/cu13/../../evil",
            "nvidia_cublas-13.1.0.3.dist-info/METADATA",
        ] {
            assert_eq!(of(unused), None);
        }
    }

    #[cfg(unix)]
    #[test]
    fn libraries_get_the_names_by_which_they_are_linked() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(LIBRARIES);
        fs::create_dir(&folder).unwrap();
        for name in ["libcublas.so.13", "libcudart_static.a"] {
            fs::write(folder.join(name), name).unwrap();
        }
        complete(root.path()).unwrap();
        assert_eq!(fs::read_to_string(folder.join("libcublas.so")).unwrap(), "libcublas.so.13");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
    }
}
