//! The CUDA toolkit for feature `cuda`: the system's, or compiler, headers and libraries of NVIDIA's wheels under
//! `target/tools`.

#[path = "../../../crates/llama-sys/build/backend/cuda/architectures.rs"]
mod architectures;
mod layout;
mod packages;
#[path = "../../../crates/llama-sys/build/backend/cuda/toolkit.rs"]
#[allow(dead_code, reason = "llama-sys's build uses the rest")]
mod toolkit;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use self::packages::{PACKAGES, VERSION};
use self::toolkit::Places;
use super::folder::{self, Folder};
use super::wheel::{self, Unpacked};
use crate::progress::{self, Step};
use crate::workspace;

/// Returns the folder among the tools that the build looks into.
fn unpacked() -> Folder {
    let lines = PACKAGES.iter().map(|wheel| format!("{}\nsha256 {}\n", wheel.file, wheel.sha256));
    Folder { name: toolkit::INSIDE_TOOLS, stamp: ".wheels", packages: lines.collect() }
}

/// Unpacks a toolkit unless the system has one, and names the architectures that the build is for.
pub(crate) fn ensure() -> Result<()> {
    ensure_toolkit()?;
    let architectures = match architectures::of_this_machine() {
        Some(list) => format!("nvidia-smi names GPUs of the architecture {list}"),
        None => architectures::missing("LLAMA_SYS_CMAKE_ARGS"),
    };
    progress::note("cuda", &architectures);
    Ok(())
}

/// Returns the compiler that the build uses.
pub(crate) fn compiler() -> Result<PathBuf> {
    let found = Places::of_this_machine("CUDACXX", "CUDA_PATH", Some(&folder::tools())).find();
    found.map(|toolkit| toolkit.nvcc).with_context(|| toolkit::missing("CUDACXX", "CUDA_PATH"))
}

fn ensure_toolkit() -> Result<()> {
    let (unpacked, tools) = (unpacked(), folder::tools());
    if let Some(found) = Places::of_this_machine("CUDACXX", "CUDA_PATH", None).find() {
        progress::note("cuda", &format!("{} of the system", found.nvcc.display()));
        return Ok(());
    }
    let home = unpacked.within(&tools);
    if unpacked.is_complete(&tools) {
        progress::note("cuda", &format!("up to date (CUDA {VERSION} in {})", home.display()));
        return Ok(());
    }
    refuse_other_systems(env::consts::OS, env::consts::ARCH)?;
    let size: u64 = PACKAGES.iter().map(|wheel| wheel.size).sum();
    progress::note("cuda", &format!("CUDA {VERSION}: {} MB in {} wheels", megabytes(size), PACKAGES.len()));
    let filled = unpacked.install(&tools, fill)?;
    progress::note(
        "cuda",
        &format!(
            "{} files, {} MB, in {}: {}",
            filled.files,
            megabytes(filled.bytes),
            home.display(),
            version_of_nvcc(&home)?
        ),
    );
    remove_wheels();
    Ok(())
}

/// Refuses systems for which no wheels are pinned.
fn refuse_other_systems(os: &str, arch: &str) -> Result<()> {
    if (os, arch) != ("linux", "x86_64") {
        bail!(
            "a CUDA toolkit can only be set up on Linux on x86_64, but this is {os} on {arch}: install NVIDIA's toolkit and \
             set CUDA_PATH to its folder"
        );
    }
    Ok(())
}

/// Puts the files of all wheels into a folder, in the layout of an installed toolkit.
fn fill(fresh: &Path) -> Result<Unpacked> {
    let mut filled = Unpacked::default();
    for package in PACKAGES {
        let wheel = package.obtain().context("could not get a CUDA toolkit")?;
        let step = Step::spinner(format!("unpacking {}", package.file));
        let unpacked = wheel::unpack_files(&wheel, fresh, layout::place)?;
        step.done(&format!("{} files, {} MB", unpacked.files, megabytes(unpacked.bytes)));
        filled.files += unpacked.files;
        filled.bytes += unpacked.bytes;
    }
    layout::complete(fresh)?;
    Ok(filled)
}

/// Returns the last line that the compiler prints about its version. A compiler that does not run is an error here, and not
/// an hour into a build.
fn version_of_nvcc(home: &Path) -> Result<String> {
    let mut nvcc = Command::new(home.join("bin/nvcc"));
    let text =
        workspace::capture(nvcc.arg("--version")).context("the compiler that was unpacked does not run")?;
    Ok(text.lines().last().unwrap_or_default().to_owned())
}

/// Removes half a gigabyte that no program will read again.
fn remove_wheels() {
    for package in PACKAGES {
        // A wheel that stays costs only space.
        let _ = fs::remove_file(workspace::target().join("downloads").join(package.file));
    }
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_system_is_refused_by_name() {
        refuse_other_systems("linux", "x86_64").unwrap();
        assert_eq!(
            refuse_other_systems("windows", "x86_64").unwrap_err().to_string(),
            "a CUDA toolkit can only be set up on Linux on x86_64, but this is windows on x86_64: install NVIDIA's toolkit \
             and set CUDA_PATH to its folder"
        );
    }

    #[test]
    fn the_stamp_names_every_wheel() {
        let text = unpacked().packages;
        assert_eq!(text.lines().count(), 2 * PACKAGES.len());
        assert!(text.starts_with("nvidia_cuda_nvcc-"), "{text}");
    }

    #[test]
    fn a_started_megabyte_counts() {
        assert_eq!([megabytes(0), megabytes(1), megabytes(2_000_000)], [0, 1, 2]);
    }
}
