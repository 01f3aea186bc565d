//! CMake, ninja and libclang: the system's, or wheels in the virtual environment under `target/`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::python::Venv;
use crate::progress;

/// The oldest CMake that configures llama.cpp with every backend.
const MINIMUM_CMAKE: (u32, u32) = (3, 18);

/// The variable for a CMake to use instead of the one on PATH; `llama-sys` reads it too.
const CMAKE: &str = "CMAKE";

const LIBCLANG: &str = "libclang==18.1.1";

/// A program of the native build, and the package that contains it.
struct Tool {
    name: &'static str,
    requirement: &'static str,
    /// Whether a version, as the program prints it, is new enough.
    accepts: fn(&str) -> bool,
}

const TOOLS: [Tool; 2] = [
    Tool { name: "cmake", requirement: "cmake==4.4.4", accepts: is_new_enough },
    Tool { name: "ninja", requirement: "ninja==1.13.2", accepts: |_| true },
];

/// Installs the tools that the system lacks.
pub(crate) fn ensure() -> Result<()> {
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| !tool.is_on_path()).collect();
    let unusable: Vec<&Tool> = missing.iter().copied().filter(|tool| !tool.is_installed()).collect();
    if !unusable.is_empty() {
        install(&unusable)?;
    }
    for tool in TOOLS {
        progress::note(tool.name, &tool.found());
    }
    Ok(())
}

fn install(tools: &[&Tool]) -> Result<()> {
    // Recorded as installed but not running: the folder was moved, or its Python is gone.
    if tools.iter().any(|tool| Venv::has(tool.requirement)) {
        Venv::discard()?;
        return install_into_fresh();
    }
    let requirements: Vec<&str> = tools.iter().map(|tool| tool.requirement).collect();
    Venv::open()?.install(&requirements)?;
    check(tools)
}

fn install_into_fresh() -> Result<()> {
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| !tool.is_on_path()).collect();
    let requirements: Vec<&str> = missing.iter().map(|tool| tool.requirement).collect();
    Venv::open()?.install(&requirements)?;
    check(&missing)
}

fn check(tools: &[&Tool]) -> Result<()> {
    for tool in tools {
        if !tool.is_installed() {
            bail!(
                "{} was installed but `{}` does not run: install {} yourself and put it on PATH",
                tool.requirement,
                Venv::program(tool.name).display(),
                tool.name
            );
        }
    }
    Ok(())
}

/// Returns the CMake that the build uses.
pub(crate) fn cmake() -> PathBuf {
    let [cmake, _] = &TOOLS;
    match env::var_os(CMAKE) {
        Some(given) => given.into(),
        None if cmake.is_on_path() => cmake.name.into(),
        None => Venv::program(cmake.name),
    }
}

/// Returns the folder of libclang for bindgen: `LIBCLANG_PATH`, or the wheel, which is installed when missing.
pub(crate) fn libclang() -> Result<PathBuf> {
    if let Some(path) = env::var_os("LIBCLANG_PATH").filter(|path| !path.is_empty()).map(PathBuf::from) {
        if !path.exists() {
            bail!("LIBCLANG_PATH is {}, which does not exist: correct it or unset it", path.display());
        }
        let folder = if path.is_file() { path.parent().map(Path::to_path_buf) } else { None };
        return Ok(folder.unwrap_or(path));
    }
    if Venv::has(LIBCLANG)
        && let Some(folder) = libclang_in(&Venv::folder())
    {
        return Ok(folder);
    }
    Venv::open()?.install(&[LIBCLANG])?;
    libclang_in(&Venv::folder()).with_context(|| {
        format!("{LIBCLANG} brought no library for this system: install libclang and set LIBCLANG_PATH to its folder")
    })
}

impl Tool {
    fn is_on_path(&self) -> bool {
        let given = self.name == "cmake" && env::var_os(CMAKE).is_some();
        given || version(Path::new(self.name)).is_some_and(|version| (self.accepts)(&version))
    }

    fn is_installed(&self) -> bool {
        Venv::has(self.requirement) && version(&Venv::program(self.name)).is_some()
    }

    /// Describes where the build will find the tool.
    fn found(&self) -> String {
        if self.name == "cmake"
            && let Some(given) = env::var_os(CMAKE)
        {
            return format!("{CMAKE}={}", given.display());
        }
        if self.is_on_path() {
            let version = version(Path::new(self.name)).unwrap_or_default();
            return format!("{version} from PATH");
        }
        format!("up to date ({} in {})", self.requirement, Venv::folder().display())
    }
}

/// Returns the version that a program prints, or `None` when it does not run. A launcher left behind by another
/// Python is on PATH but does not run.
fn version(program: &Path) -> Option<String> {
    let output =
        Command::new(program).arg("--version").output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next()?.split_whitespace().last().map(str::to_owned)
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(str::parse::<u32>);
    matches!((parts.next(), parts.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= MINIMUM_CMAKE)
}

/// Returns the folder inside a virtual environment into which the wheel installs its library.
fn libclang_in(venv: &Path) -> Option<PathBuf> {
    let pythons = fs::read_dir(venv.join("lib")).into_iter().flatten().flatten();
    let unix = pythons.map(|python| python.path().join("site-packages"));
    let windows = std::iter::once(venv.join("Lib").join("site-packages"));
    let mut folders = unix.chain(windows).map(|packages| packages.join("clang").join("native"));
    folders.find(|folder| {
        ["libclang.so", "libclang.dylib", "libclang.dll"].iter().any(|name| folder.join(name).is_file())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_cmake_is_not_used() {
        assert!(is_new_enough("3.18.4"));
        assert!(is_new_enough("4.0.0-rc1"));
        assert!(!is_new_enough("3.16.3"));
        assert!(!is_new_enough("unknown"));
    }

    #[test]
    fn a_program_that_is_not_there_has_no_version() {
        assert_eq!(version(Path::new("no-such-program")), None);
    }

    #[test]
    fn libclang_is_found_on_either_layout() {
        for packages in ["lib/python3.11/site-packages", "Lib/site-packages"] {
            let venv = tempfile::tempdir().unwrap();
            assert_eq!(libclang_in(venv.path()), None);
            let folder = venv.path().join(packages).join("clang").join("native");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("libclang.so"), "").unwrap();
            assert_eq!(libclang_in(venv.path()), Some(folder));
        }
    }
}
