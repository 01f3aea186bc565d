//! The C and C++ compilers: their identity, and the flags that the build needs.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::config::Config;

/// Returns a text that identifies the compilers and the flags of the environment such as CXXFLAGS, for the key of the
/// build cache.
pub(crate) fn identity() -> String {
    [false, true].map(describe).join("\n")
}

fn describe(cpp: bool) -> String {
    // Leaves out everything that depends on cargo's profile, because all profiles share one native build.
    let mut build = cc::Build::new();
    build.cpp(cpp).cargo_metadata(false).warnings(false).opt_level(2).debug(false);
    let tool = build.get_compiler();
    let version = Command::new(tool.path())
        .arg(if tool.is_like_msvc() { "/?" } else { "--version" })
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
        .unwrap_or_default();
    let flags: Vec<_> = tool.args().iter().map(|flag| flag.to_string_lossy()).collect();
    format!("{} {version} {}", tool.path().display(), flags.join(" "))
}

/// Returns a text that identifies the CPU of a `native` build, so that a cache folder moved to another machine is not
/// used there.
pub(crate) fn cpu_identity() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = |key: &str| info.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    format!("{}\n{}\n{}", env::consts::ARCH, line("model name"), line("flags"))
}

/// Returns the flags for C and for C++ beyond those of CMake's own release profile.
pub(crate) fn flags(config: &Config, tree: &Path, amx_header: &Path) -> (Vec<String>, Vec<String>) {
    let mut c = Vec::new();
    let mut cpp = Vec::new();
    if config.target.is_msvc() {
        // /EHsc would not work: a failed assertion crosses functions with C linkage on its way to the guard.
        cpp.push("/EHs".to_owned());
        return (c, cpp);
    }
    // For the same reason ggml's C code gets unwind tables on every platform.
    c.push("-fexceptions".to_owned());
    let both = [prefix_map(config, tree), amx_include(config, amx_header)];
    for flag in both.into_iter().flatten() {
        c.push(flag.clone());
        cpp.push(flag);
    }
    (c, cpp)
}

/// Returns the flag that keeps the building machine's folders out of assertion messages and makes objects independent
/// of them.
pub(crate) fn prefix_map(config: &Config, tree: &Path) -> Option<String> {
    let tree = tree.display().to_string();
    (config.target.os != "windows" && !tree.contains(' '))
        .then(|| format!("-ffile-prefix-map={tree}=llama.cpp"))
}

/// Returns the flag that includes the header against GCC's miscompiled AMX kernels, for GCC before 13.
fn amx_include(config: &Config, header: &Path) -> Option<String> {
    (config.target.arch == "x86_64" && gcc_major().is_some_and(|major| major < 13))
        .then(|| format!("-include \"{}\"", header.display()))
}

/// Returns the major version of the C++ compiler if it is GCC.
fn gcc_major() -> Option<u32> {
    let tool = cc::Build::new().cpp(true).cargo_metadata(false).get_compiler();
    if !tool.is_like_gnu() {
        return None;
    }
    let output = Command::new(tool.path()).arg("-dumpversion").output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().split('.').next()?.parse().ok()
}
