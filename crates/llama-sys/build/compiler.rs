//! The C and C++ compilers: who they are, and the flags that the build needs from them.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::config::Config;

/// What identifies the compilers, with the flags of the environment such as CXXFLAGS, for the key of the build cache.
pub(crate) fn identity() -> String {
    [false, true].map(describe).join("\n")
}

fn describe(cpp: bool) -> String {
    // Without what depends on cargo's profile: all profiles share one native build.
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

/// What identifies the CPU that a `native` build is tuned for, so that a cache folder that travels to another
/// machine is not taken for one of that machine.
pub(crate) fn cpu_identity() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = |key: &str| info.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    format!("{}\n{}\n{}", env::consts::ARCH, line("model name"), line("flags"))
}

/// The flags for C and for C++ beyond those of CMake's own release profile.
pub(crate) fn flags(config: &Config, tree: &Path, amx_header: &Path) -> (Vec<String>, Vec<String>) {
    let mut c = Vec::new();
    let mut cpp = Vec::new();
    if config.target.is_msvc() {
        // Not /EHsc: a failed assertion crosses functions with C linkage on its way to the guard.
        cpp.push("/EHs".to_owned());
        return (c, cpp);
    }
    // For the same reason the C parts of ggml get unwind tables on every platform.
    c.push("-fexceptions".to_owned());
    let both = [prefix_map(config, tree), amx_include(config, amx_header)];
    for flag in both.into_iter().flatten() {
        c.push(flag.clone());
        cpp.push(flag);
    }
    (c, cpp)
}

/// Keeps the building machine's folders out of assertion messages and makes the objects independent of them.
pub(crate) fn prefix_map(config: &Config, tree: &Path) -> Option<String> {
    let tree = tree.display().to_string();
    (config.target.os != "windows" && !tree.contains(' '))
        .then(|| format!("-ffile-prefix-map={tree}=llama.cpp"))
}

/// GCC before 13 miscompiles ggml's AMX kernels; see the header for what it does about that.
fn amx_include(config: &Config, header: &Path) -> Option<String> {
    (config.target.arch == "x86_64" && gcc_major().is_some_and(|major| major < 13))
        .then(|| format!("-include \"{}\"", header.display()))
}

/// The major version of the C++ compiler when it is GCC.
fn gcc_major() -> Option<u32> {
    let tool = cc::Build::new().cpp(true).cargo_metadata(false).get_compiler();
    if !tool.is_like_gnu() {
        return None;
    }
    let output = Command::new(tool.path()).arg("-dumpversion").output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().split('.').next()?.parse().ok()
}
