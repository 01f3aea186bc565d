//! Rust's standard library for the thread sanitizer. As it is shipped it is not instrumented, so that its locks and
//! channels order nothing in the sanitizer's eyes, and every use of them is an alarm. What is shipped has LLVM's bitcode in
//! it, though, for link-time optimisation: that is instrumented here, in a copy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::compiler::{Rustc, llvm_tool};
use crate::workspace;

/// The section with the bitcode.
const BITCODE: &str = ".llvmbc";

/// Crates that stay as they are: the runtime's own needs, without locks.
const AS_THEY_ARE: [&str; 2] = ["libcompiler_builtins-", "libprofiler_builtins-"];

/// The programs of LLVM that do it.
pub(super) struct Instrumenter {
    objcopy: PathBuf,
    opt: PathBuf,
    llc: PathBuf,
    ar: PathBuf,
}

impl Instrumenter {
    /// The programs of rustc's LLVM, or the name of the first that is missing.
    pub(super) fn find(rustc: &Rustc) -> Result<Self, &'static str> {
        let tool = |name| llvm_tool(name, rustc.llvm).ok_or(name);
        Ok(Self {
            objcopy: tool("llvm-objcopy")?,
            opt: tool("opt")?,
            llc: tool("llc")?,
            ar: tool("llvm-ar")?,
        })
    }

    /// Makes a folder that rustc takes as `--sysroot`, or finds it made by the same compiler.
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
                // Of the small crates some have no code.
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
