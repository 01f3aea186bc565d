//! The tools that the tests run under, with the requirements of each for building and running.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::compiler::{Clang, Rustc, llvm_tool};
use super::standard_library::Instrumenter;
use crate::workspace;

/// A tool that the tests run under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Tool {
    /// Accesses outside of allocations, and leaks: C++ and Rust instrumented.
    Address,
    /// Only leaks, in a build that is not instrumented and therefore as fast as others.
    Leak,
    /// Data races: C++ and Rust instrumented.
    Thread,
    /// Also uses of uninitialised memory, and `free` of memory from `new`: valgrind's memcheck.
    Valgrind,
}

/// The settings for building and running the tests under a tool.
pub(super) struct Plan {
    pub(super) tool: Tool,
    /// Remarks about the results for the table.
    pub(super) remarks: Vec<Remark>,
    /// Arguments of cargo.
    pub(super) cargo: Vec<String>,
    /// Variables of the build.
    pub(super) build: Vec<(&'static str, String)>,
    rust_flags: Vec<String>,
    /// The program with arguments that runs a test program; empty for none.
    runner: Vec<String>,
    /// The program that names functions and lines in the reports.
    symbolizer: Option<PathBuf>,
}

/// A limitation of a run.
pub(super) struct Remark {
    pub(super) of: &'static str,
    pub(super) text: String,
}

impl Tool {
    pub(super) const ALL: [Self; 4] = [Self::Address, Self::Leak, Self::Thread, Self::Valgrind];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Leak => "leak",
            Self::Thread => "thread",
            Self::Valgrind => "valgrind",
        }
    }

    /// Returns the plan, or the missing programs and how to install them.
    pub(super) fn plan(self) -> Result<Result<Plan, String>> {
        if !cfg!(target_os = "linux") {
            return Ok(Err("only done on Linux".to_owned()));
        }
        let rustc = Rustc::find()?;
        Ok(match self {
            Self::Address | Self::Thread => return self.instrumented(&rustc),
            Self::Leak => Ok(Plan::new(self).with_rust_flag("-Zsanitizer=leak", &rustc)),
            Self::Valgrind => memcheck(),
        })
    }

    /// Plans C++ by clang and Rust by rustc, for rustc's runtime. rustc's LLVM must be the version of clang or a
    /// newer one, whose runtime still supports the calls of older compilers.
    fn instrumented(self, rustc: &Rustc) -> Result<Result<Plan, String>> {
        let name = self.name();
        let clang = match Clang::find(rustc.llvm, name) {
            Ok(clang) => clang,
            Err(missing) => return Ok(Err(missing)),
        };
        let mut plan = Plan::new(self).with_rust_flag(&format!("-Zsanitizer={name}"), rustc);
        if clang.version != rustc.llvm {
            plan.remark(
                "C++",
                format!("instrumented by clang {}, rustc has LLVM {}", clang.version, rustc.llvm),
            );
        }
        if self == Self::Thread
            && let Err(missing) = plan.instrument_std(rustc)?
        {
            return Ok(Err(missing));
        }
        // Without assert(), as in published builds.
        let flags = format!("-DNDEBUG -gline-tables-only -fno-omit-frame-pointer -fsanitize={name}");
        let upper = name.to_uppercase();
        let definitions = [
            "-DCMAKE_C_FLAGS_RELEASE=-O1".to_owned(),
            "-DCMAKE_CXX_FLAGS_RELEASE=-O1".to_owned(),
            format!("-DGGML_SANITIZE_{upper}=ON"),
            format!("-DLLAMA_SANITIZE_{upper}=ON"),
        ];
        plan.build.extend([
            ("CC", clang.c),
            ("CXX", clang.cpp),
            ("CFLAGS", flags.clone()),
            ("CXXFLAGS", flags),
            ("LLAMA_SYS_CMAKE_ARGS", definitions.join(" ")),
        ]);
        Ok(Ok(plan))
    }
}

/// Plans a build without AVX-512 and AMX, which valgrind does not know: the features leave `native` out.
fn memcheck() -> Result<Plan, String> {
    let version = Command::new("valgrind").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        return Err(
            "valgrind was not found: install it, for example on Debian `apt install valgrind`".to_owned()
        );
    }
    let mut plan = Plan::new(Tool::Valgrind);
    let arguments = [
        "valgrind",
        "--tool=memcheck",
        "--leak-check=full",
        "--errors-for-leak-kinds=definite",
        "--show-leak-kinds=definite",
        "--num-callers=40",
        "--trace-children=yes",
        // One thread runs at a time. Without this option a spinning thread starves the others.
        "--fair-sched=yes",
    ];
    plan.runner = arguments.map(str::to_owned).to_vec();
    plan.runner.push(format!("--suppressions={}", suppressions("valgrind").display()));
    Ok(plan)
}

impl Plan {
    fn new(tool: Tool) -> Self {
        let (remarks, cargo, build, rust_flags, runner) = Default::default();
        Self { tool, remarks, cargo, build, rust_flags, runner, symbolizer: None }
    }

    /// Adds a flag for the tests. Because the target is named, it does not apply to build scripts and procedural
    /// macros.
    fn with_rust_flag(mut self, flag: &str, rustc: &Rustc) -> Self {
        self.cargo.extend(["--target".to_owned(), rustc.host.clone()]);
        // Enables the sanitizers' flags on a stable compiler.
        self.build.push(("RUSTC_BOOTSTRAP", "1".to_owned()));
        self.rust_flags.push(flag.to_owned());
        self.symbolizer = llvm_tool("llvm-symbolizer", rustc.llvm);
        self
    }

    /// Instruments the standard library too, or returns what is missing for it.
    fn instrument_std(&mut self, rustc: &Rustc) -> Result<Result<(), String>> {
        if rustc.has_std_source() {
            self.cargo.push("-Zbuild-std".to_owned());
            return Ok(Ok(()));
        }
        let instrumenter = match Instrumenter::find(rustc) {
            Ok(instrumenter) => instrumenter,
            Err(program) => {
                let llvm = rustc.llvm;
                return Ok(Err(format!(
                    "Rust's standard library must be instrumented, but neither its source nor LLVM {llvm}'s \
                     `{program}` was found: `rustup component add rust-src`, or for example on Debian `apt install \
                     llvm-{llvm}`"
                )));
            }
        };
        let sysroot = self.folder().join("sysroot");
        instrumenter.sysroot(rustc, &sysroot)?;
        // The metadata still says that the library is not instrumented.
        self.rust_flags.push("-Cunsafe-allow-abi-mismatch=sanitizer".to_owned());
        self.rust_flags.push(format!("--sysroot={}", sysroot.display()));
        Ok(Ok(()))
    }

    fn remark(&mut self, of: &'static str, text: String) {
        self.remarks.push(Remark { of, text });
    }

    /// Returns the folder of this tool's builds, logs and reports.
    pub(super) fn folder(&self) -> PathBuf {
        sanitized().join(self.tool.name())
    }

    /// Returns a cargo command with a separate target folder. In a shared folder rustc has linked a crate of the same
    /// name that was compiled with other flags.
    pub(super) fn cargo(&self) -> Command {
        let mut command = workspace::cargo();
        command.env("CARGO_ENCODED_RUSTFLAGS", self.rust_flags.join("\x1f")).env_remove("LLAMA_LIB_DIR");
        command.env("LLAMA_SYS_BUILD_CACHE", sanitized().join("native"));
        command.env("CARGO_TARGET_DIR", self.folder().join("target")).env("CARGO_INCREMENTAL", "0");
        command.envs(self.build.iter().map(|(name, value)| (*name, value)));
        command
    }

    /// Returns the command that runs the program under the tool, with one report file per process, whose names begin
    /// with `reports`.
    pub(super) fn command(&self, program: &Path, reports: &Path) -> Command {
        let mut command = match self.runner.as_slice() {
            [] => Command::new(program),
            [runner, arguments @ ..] => {
                let mut command = Command::new(runner);
                command.args(arguments).arg(format!("--log-file={}.%p", reports.display())).arg(program);
                command
            }
        };
        let (common, leaks) = (self.options(reports), suppress("leak"));
        match self.tool {
            Tool::Address => {
                let checks = "strict_string_checks=1:check_initialization_order=1:strict_init_order=1";
                command
                    .env("ASAN_OPTIONS", format!("{common}:detect_leaks=1:{checks}"))
                    .env("LSAN_OPTIONS", leaks);
            }
            Tool::Leak => {
                // Without frame pointers in C++, a stack walk along them ends too soon.
                command.env("LSAN_OPTIONS", format!("{common}:{leaks}:fast_unwind_on_malloc=0"));
            }
            Tool::Thread => {
                command.env("TSAN_OPTIONS", format!("{common}:{}", suppress("thread")));
            }
            Tool::Valgrind => {}
        }
        command
    }

    /// Returns the options that the runtimes of all sanitizers accept.
    fn options(&self, reports: &Path) -> String {
        let symbolizer = match &self.symbolizer {
            Some(program) => format!("external_symbolizer_path='{}'", program.display()),
            None => "allow_addr2line=1".to_owned(),
        };
        // The tests ask for more memory than the machine has. The allocation is refused, as malloc does; the thread
        // sanitizer would grant it and exhaust the machine's memory.
        let memory = "allocator_may_return_null=1:max_allocation_size_mb=4096";
        format!("log_path='{}':{memory}:{symbolizer}", reports.display())
    }
}

fn suppress(tool: &str) -> String {
    format!("suppressions='{}'", suppressions(tool).display())
}

/// Returns the folder apart from all other builds.
fn sanitized() -> PathBuf {
    workspace::target().join("sanitize")
}

/// Returns the file of known findings that stay, each with its reason.
fn suppressions(tool: &str) -> PathBuf {
    workspace::root().join("xtask/src/sanitize").join(format!("{tool}.supp"))
}
