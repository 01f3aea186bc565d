//! The compilers of an instrumented build: rustc, and a clang whose instrumentation its runtime supports.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::workspace;

/// Properties of the Rust compiler.
pub(super) struct Rustc {
    /// Its default target.
    pub(super) host: String,
    /// The major version of its LLVM.
    pub(super) llvm: u32,
    /// The output of `rustc -vV`.
    pub(super) version: String,
    /// The folder of its libraries.
    pub(super) sysroot: PathBuf,
}

impl Rustc {
    pub(super) fn find() -> Result<Self> {
        let rustc = || {
            let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
            command.current_dir(workspace::root());
            command
        };
        let version = workspace::capture(rustc().arg("-vV"))?;
        let sysroot = workspace::capture(rustc().args(["--print", "sysroot"]))?;
        Self::parse(&version, Path::new(sysroot.trim()))
            .with_context(|| format!("`rustc -vV` printed\n{version}"))
    }

    /// Whether the source of the standard library is installed, to compile it with the program.
    pub(super) fn has_std_source(&self) -> bool {
        self.sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file()
    }

    fn parse(version: &str, sysroot: &Path) -> Option<Self> {
        let value = |key: &str| version.lines().find_map(|line| line.strip_prefix(key));
        let host = value("host: ")?.to_owned();
        let llvm = value("LLVM version: ")?.split('.').next()?.parse().ok()?;
        Some(Self { host, llvm, version: version.to_owned(), sysroot: sysroot.to_owned() })
    }
}

/// A clang that can instrument.
pub(super) struct Clang {
    pub(super) c: String,
    pub(super) cpp: String,
    pub(super) version: u32,
}

impl Clang {
    /// Finds the clang of rustc's LLVM version, or else the one named `clang`. The error says what to install.
    pub(super) fn find(llvm: u32, sanitizer: &str) -> Result<Self, String> {
        let suffixes = [format!("-{llvm}"), String::new()];
        let found = suffixes.iter().find_map(|suffix| {
            let c = format!("clang{suffix}");
            let version = version(&c)?;
            Some(Self { c, cpp: format!("clang++{suffix}"), version })
        });
        let install = format!(
            "install it, for example on Debian `apt install clang-{llvm} libclang-rt-{llvm}-dev llvm-{llvm}`"
        );
        let Some(clang) = found else {
            return Err(format!(
                "clang was not found, and GCC's runtime does not mix with rustc's: {install}"
            ));
        };
        match clang.try_out(sanitizer) {
            Ok(()) => Ok(clang),
            Err(reason) => {
                Err(format!("{} cannot build with -fsanitize={sanitizer} ({reason}): {install}", clang.cpp))
            }
        }
    }

    /// Compiles and links a test program. CMake tests the compiler with the flags of the build, which needs a runtime
    /// to link, although the tests use rustc's.
    fn try_out(&self, sanitizer: &str) -> Result<(), String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (source, program) = (folder.path().join("program.cpp"), folder.path().join("program"));
        fs::write(&source, "#include <vector>\nint main() { return std::vector<int>(1)[0]; }\n")
            .map_err(|error| error.to_string())?;
        let mut command = Command::new(&self.cpp);
        command.arg(format!("-fsanitize={sanitizer}")).arg(&source).arg("-o").arg(&program);
        let output = command.output().map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let error = said.lines().find(|line| line.contains("error") || line.contains("cannot find"));
        Err(error.or_else(|| said.lines().next()).unwrap_or("it failed").trim().to_owned())
    }
}

/// Returns the major version of a clang on PATH.
fn version(program: &str) -> Option<u32> {
    let output = Command::new(program).arg("-dumpversion").output().ok().filter(|it| it.status.success())?;
    String::from_utf8_lossy(&output.stdout).trim().split('.').next()?.parse().ok()
}

/// Returns the path of a program of an LLVM.
pub(super) fn llvm_tool(name: &str, llvm: u32) -> Option<PathBuf> {
    let on_path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&on_path).collect();
    folders.push(format!("/usr/lib/llvm-{llvm}/bin").into());
    let names = [format!("{name}-{llvm}"), name.to_owned()];
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|it| it.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rustc_says_of_itself_is_understood() {
        let text = "rustc 1.95.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n";
        let rustc = Rustc::parse(text, Path::new("/nowhere")).unwrap();
        assert_eq!((rustc.host.as_str(), rustc.llvm), ("x86_64-unknown-linux-gnu", 22));
        assert!(!rustc.has_std_source());
        assert!(Rustc::parse("rustc 1.95.0\n", Path::new("/nowhere")).is_none());
    }

    #[test]
    fn a_missing_clang_is_named_with_how_to_install_it() {
        let Err(reason) = Clang::find(4711, "no-such-sanitizer") else { panic!("clang has it") };
        assert!(reason.contains("apt install clang-4711 libclang-rt-4711-dev llvm-4711"), "{reason}");
    }
}
