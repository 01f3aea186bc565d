//! Instruments Rust's standard library for the thread sanitizer. The shipped library is not instrumented, so the
//! sanitizer sees no ordering by its locks and channels and reports every use of them. But it contains LLVM bitcode
//! for link-time optimisation, which is instrumented here in a copy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::compiler::{Rustc, llvm_tool};
use crate::workspace;

/// The section that contains the bitcode.
const BITCODE: &str = ".llvmbc";

/// Crates that are copied unchanged: parts of the runtime without locks.
const AS_THEY_ARE: [&str; 2] = ["libcompiler_builtins-", "libprofiler_builtins-"];

/// The LLVM programs for the instrumentation.
pub(super) struct Instrumenter {
    objcopy: PathBuf,
    opt: PathBuf,
    llc: PathBuf,
    ar: PathBuf,
}

impl Instrumenter {
    /// Finds the programs of rustc's LLVM, or returns the name of the first missing one.
    pub(super) fn find(rustc: &Rustc) -> Result<Self, &'static str> {
        let tool = |name| llvm_tool(name, rustc.llvm).ok_or(name);
        Ok(Self {
            objcopy: tool("llvm-objcopy")?,
            opt: tool("opt")?,
            llc: tool("llc")?,
            ar: tool("llvm-ar")?,
        })
    }

    /// Creates a folder for rustc's `--sysroot`, or reuses one made for the same compiler.
    pub(super) fn sysroot(&self, rustc: &Rustc, folder: &Path) -> Result<()> {
        let stamp = folder.join("complete");
        if fs::read_to_string(&stamp).is_ok_and(|text| text == rustc.version) {
            return Ok(());
        }
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("could not remove {}", folder.display()))?;
        }
        let part = Path::new("lib/rustlib").join(&rustc.host);
        self.copy(&rustc.sysroot.join(&part), &folder.join(&part))?;
        fs::write(&stamp, &rustc.version).with_context(|| format!("could not write {}", stamp.display()))
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let failed = || format!("could not copy {} to {}", from.display(), to.display());
        fs::create_dir_all(to).with_context(failed)?;
        for entry in fs::read_dir(from).with_context(failed)? {
            let entry = entry.with_context(failed)?;
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            if source.is_dir() {
                self.copy(&source, &target)?;
                continue;
            }
            fs::copy(&source, &target).with_context(|| format!("could not copy {}", source.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".rlib") && !AS_THEY_ARE.iter().any(|begin| name.starts_with(begin)) {
                self.instrument(&target).with_context(|| format!("could not instrument {name}"))?;
                // Some of the small crates contain no code.
                let is_done = !name.starts_with("libstd-") || calls_the_sanitizer(&target)?;
                ensure!(is_done, "{name} came out of `opt` without calls of the sanitizer");
            }
        }
        Ok(())
    }

    /// Replaces the objects of a crate.
    fn instrument(&self, library: &Path) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let members = workspace::capture(Command::new(&self.ar).arg("t").arg(library))?;
        let objects: Vec<&str> = members.lines().filter(|name| name.ends_with(".o")).collect();
        workspace::run(Command::new(&self.ar).arg("x").arg(library).current_dir(folder.path()))?;
        for name in objects {
            let object = folder.path().join(name);
            self.instrument_object(&object)?;
            workspace::run(Command::new(&self.ar).arg("r").arg(library).arg(&object))?;
        }
        Ok(())
    }

    fn instrument_object(&self, object: &Path) -> Result<()> {
        let [plain, instrumented] = ["plain.bc", "instrumented.bc"].map(|end| object.with_extension(end));
        let section = format!("--dump-section={BITCODE}={}", plain.display());
        workspace::run(Command::new(&self.objcopy).arg(section).arg(object).arg(object))?;
        ensure!(plain.metadata()?.len() > 0, "{} has no bitcode", object.display());
        workspace::run(
            Command::new(&self.opt)
                .args(["-force-attribute=sanitize_thread", "-passes=forceattrs,tsan-module,function(tsan)"])
                .arg(&plain)
                .arg("-o")
                .arg(&instrumented),
        )?;
        workspace::run(
            Command::new(&self.llc)
                .args(["-O2", "-filetype=obj", "-relocation-model=pic"])
                .args(["-function-sections", "-data-sections"])
                .arg(&instrumented)
                .arg("-o")
                .arg(object),
        )?;
        Ok(())
    }
}

/// Whether the code in a library calls the sanitizer.
fn calls_the_sanitizer(library: &Path) -> Result<bool> {
    const CALL: &[u8] = b"__tsan_func_entry";
    Ok(fs::read(library)?.windows(CALL.len()).any(|bytes| bytes == CALL))
}
