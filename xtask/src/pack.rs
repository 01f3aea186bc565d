//! `cargo xtask pack`: one folder with tests, a benchmark and their libraries, for a machine that has only a driver.

mod blas;
mod libraries;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::matrix::packed::{self, Packed};
use crate::native::messages::Messages;
use crate::setup::{self, Item, models};
use crate::{native, progress, workspace};

/// The script that runs the rows of a pack.
const SCRIPT: &str = include_str!("pack/run.sh");

/// Packs the tests of llama-core and a benchmark, with the features of a row of the matrix, into one folder. Its script
/// `run.sh` runs them on a machine without Rust and without a network.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The row of the matrix, for example `cuda`.
    #[arg(long)]
    row: String,
    /// Also pack SmolLM2 (98 MB), which the rows `real-model` and `bench` need.
    #[arg(long)]
    model: bool,
    /// Pack NVIDIA's cuBLAS (600 MB) instead of a small replacement, which is slow for long prompts of unquantised models.
    #[arg(long)]
    cublas: bool,
    /// The folder, which is created or replaced.
    out: PathBuf,
}

/// The programs of a pack, and the folders of their shared libraries.
struct Built {
    programs: Vec<(&'static str, PathBuf)>,
    /// Modules and libraries that the build made, all of which belong into the pack.
    runtime: PathBuf,
    folders: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    refuse_other_systems(env::consts::OS)?;
    refuse_to_replace(&args.out)?;
    let row = packed::of_row(&args.row)?;
    setup::ensure(&row.items)?;
    if args.model {
        setup::ensure(&[Item::Smollm2])?;
    }
    let built = build(&row)?;
    let bin = args.out.join("bin");
    empty(&args.out)?;
    make(&bin)?;
    for (name, program) in &built.programs {
        strip(program, &bin.join(name))?;
    }
    let architectures = architectures(&row);
    for (name, library) in shared_libraries(&built)? {
        if !args.cublas && blas::makes_useless(&name) {
            continue;
        }
        if !args.cublas && blas::replaces(&name) {
            blas::build(&name, &architectures, &bin)?;
        } else {
            strip(&library, &bin.join(&name))?;
        }
    }
    if args.model {
        let models = args.out.join("models");
        make(&models)?;
        let model = models::SMOLLM2.path();
        copy(&model, &models.join(model.file_name().unwrap_or_default()))?;
    }
    write_script(&args.out.join("run.sh"))?;
    for (file, bytes) in sizes(&args.out)? {
        progress::note(&file, &format!("{:.1} MiB", mebibytes(bytes)));
    }
    progress::note("pack", &format!("run {} on the other machine", args.out.join("run.sh").display()));
    Ok(())
}

fn refuse_other_systems(os: &str) -> Result<()> {
    if os != "linux" {
        bail!("packs are made on Linux for Linux, but this is {os}");
    }
    Ok(())
}

/// Refuses a folder that is not a pack.
fn refuse_to_replace(out: &Path) -> Result<()> {
    let is_empty = || fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none());
    if out.exists() && !out.join("run.sh").is_file() && !is_empty() {
        bail!("{} exists, but must be a new or empty folder or an earlier pack", out.display());
    }
    Ok(())
}

fn build(row: &Packed) -> Result<Built> {
    let core = row.features.join(",");
    let tests = [
        "test",
        "--no-run",
        "-p",
        "llama-core",
        "--test",
        "it",
        "--no-default-features",
        "--features",
        &core,
    ];
    let tests = build_one("building the tests", row, &tests)?;
    let benches: Vec<String> = row.features.iter().map(|feature| format!("llama-core/{feature}")).collect();
    let benches = benches.join(",");
    let decode = [
        "build",
        "--release",
        "-p",
        "llama-benches",
        "--bin",
        "decode",
        "--no-default-features",
        "--features",
        &benches,
    ];
    let decode = build_one("building the benchmark", row, &decode)?;
    let out = tests.out_dir()?.to_owned();
    Ok(Built {
        programs: vec![
            ("it", tests.executable("llama-core", "llama-core")?),
            ("decode", decode.executable("llama-benches", "benches")?),
        ],
        folders: ["runtime", "libraries"].map(|folder| out.join(folder)).to_vec(),
        runtime: out.join("runtime"),
    })
}

fn build_one(what: &str, row: &Packed, arguments: &[&str]) -> Result<Messages> {
    let messages = native::build_and_read(what, || {
        let mut cargo = workspace::cargo();
        cargo.envs(row.environment.iter().map(|(name, value)| (name, value))).args(arguments);
        cargo
    })?;
    Ok(Messages::read(&messages))
}

/// Returns the architectures that the row is built for.
fn architectures(row: &Packed) -> String {
    let arguments = row.environment.iter().find(|(name, _)| *name == "LLAMA_SYS_CMAKE_ARGS");
    let arguments = arguments.map(|(_, value)| value.to_string_lossy().into_owned()).unwrap_or_default();
    let given =
        arguments.split_whitespace().find_map(|word| word.strip_prefix("-DCMAKE_CUDA_ARCHITECTURES="));
    given.unwrap_or("90").to_owned()
}

/// Returns the libraries that the build made, and those that programs and libraries need, by their names.
fn shared_libraries(built: &Built) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(&built.runtime).into_iter().flatten().flatten() {
        found.insert(entry.file_name().to_string_lossy().into_owned(), entry.path());
    }
    let made: Vec<PathBuf> = found.values().cloned().collect();
    for file in built.programs.iter().map(|(_, program)| program).chain(&made) {
        for library in libraries::of(file, &built.folders)? {
            found.entry(library.name).or_insert(library.file);
        }
    }
    Ok(found)
}

/// Copies a program or library without its symbols, which only debuggers read.
fn strip(from: &Path, to: &Path) -> Result<()> {
    // `strip` would follow a link and name the result after it.
    let from = fs::canonicalize(from).with_context(|| format!("could not find {}", from.display()))?;
    let mut strip = Command::new("strip");
    strip.arg("--strip-unneeded").arg("-o").arg(to).arg(&from);
    workspace::capture(&mut strip).map(drop)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("could not copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("could not remove {}", folder.display()))?;
    }
    Ok(())
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))
}

fn write_script(path: &Path) -> Result<()> {
    let could_not = || format!("could not write {}", path.display());
    fs::write(path, SCRIPT).with_context(could_not)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(could_not)?;
    }
    Ok(())
}

/// Returns the size of each file of a pack, and of all of them.
fn sizes(out: &Path) -> Result<Vec<(String, u64)>> {
    let mut sizes = Vec::new();
    for folder in
        ["", "bin", "models"].map(|name| out.join(name)).into_iter().filter(|folder| folder.is_dir())
    {
        for entry in fs::read_dir(&folder).with_context(|| format!("could not read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_file() {
                let name = path.strip_prefix(out).unwrap_or(&path).display().to_string();
                sizes.push((name, fs::metadata(&path)?.len()));
            }
        }
    }
    sizes.sort();
    let whole = sizes.iter().map(|(_, bytes)| bytes).sum();
    sizes.push(("all files".to_owned(), whole));
    Ok(sizes)
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pack_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("out");
        refuse_to_replace(&out).unwrap();
        fs::create_dir(&out).unwrap();
        refuse_to_replace(&out).unwrap();
        fs::write(out.join("thesis.txt"), "").unwrap();
        assert_eq!(
            refuse_to_replace(&out).unwrap_err().to_string(),
            format!("{} exists, but must be a new or empty folder or an earlier pack", out.display())
        );
        fs::write(out.join("run.sh"), "").unwrap();
        refuse_to_replace(&out).unwrap();
    }

    #[test]
    fn another_system_is_refused_by_name() {
        refuse_other_systems("linux").unwrap();
        assert_eq!(
            refuse_other_systems("macos").unwrap_err().to_string(),
            "packs are made on Linux for Linux, but this is macos"
        );
    }

    #[test]
    fn the_replacement_is_for_the_architectures_of_the_row() {
        assert_eq!(architectures(&packed::of_row("cuda").unwrap()), "90-real");
    }

    #[test]
    fn the_sizes_are_those_of_the_files() {
        let out = tempfile::tempdir().unwrap();
        make(&out.path().join("bin")).unwrap();
        fs::write(out.path().join("bin/it"), "12345").unwrap();
        write_script(&out.path().join("run.sh")).unwrap();
        let found = sizes(out.path()).unwrap();
        let script = SCRIPT.len() as u64;
        let expected = [("bin/it", 5), ("run.sh", script), ("all files", script + 5)];
        assert_eq!(found, expected.map(|(name, bytes)| (name.to_owned(), bytes)));
    }
}
