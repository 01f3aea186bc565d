//! `cargo xtask overhead`: counts with callgrind the instructions that one decode step takes outside the computation,
//! through `llama-core` and through `llama-sys`.

mod callgrind;
mod loaded;
mod report;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use self::callgrind::Profile;
use self::report::Report;
use crate::progress::Step;
use crate::setup::{self, Item};
use crate::{native, workspace};

/// The most instructions that a step through `llama-core` may take beyond a step through `llama-sys` and
/// `llama_decode`.
const LIMIT: f64 = 300.0;

/// The name of the section for the figures in a document.
const SECTION: &str = "overhead";

/// The functions whose own instructions are not counted: the loops, and the functions that all layers call alike.
const BORDERS: &[&str] = &[
    "*steps_through_core*",
    "*steps_through_sys*",
    "*steps_through_arrays*",
    "*steps_with_argmax*",
    "*largest_logit*",
    "llama_context::decode(llama_batch_ext*",
    GET_LOGITS,
];

/// A border that exists twice in a program with feature `dynamic`: the function that forwards, and the library's own.
const GET_LOGITS: &str = "llama_get_logits_ith";

/// Counts the instructions of a decode step outside the computation, by function.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The number of counted steps: a run of this many is subtracted from a run of twice as many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    steps: u32,
    /// The number of functions to list.
    #[arg(long, default_value_t = 12)]
    functions: usize,
    /// Only compare a step through a library that is loaded when the program runs with one through a linked library.
    #[arg(long)]
    dynamic: bool,
    /// Write the figures into this file, between its markers.
    #[arg(long, num_args = 0..=1, value_name = "FILE", default_missing_value = "docs/benchmarks.md")]
    write: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Item::Pin, Item::Tools, Item::Tiny])?;
    if args.dynamic {
        return loaded::run(args);
    }
    let program = Program::build(&[])?;
    let model = test_models::Tiny::Llama.path();
    let measure = |layer| measure(&program, &model, layer, args.steps);
    let (sys, arrays) = (measure("sys")?, measure("arrays")?);
    let (core, argmax) = (measure("core")?, measure("argmax")?);
    for other in [&arrays, &core, &argmax] {
        ensure!(
            sys.tokens == other.tokens,
            "the layers chose different tokens:\n{}\n{}",
            sys.tokens,
            other.tokens
        );
    }
    let report = Report {
        n_vocab: sys.n_vocab()?,
        argmax: argmax.profile.total() - core.profile.total(),
        sys: sys.profile,
        arrays: arrays.profile,
        core: core.profile,
    };
    let text = report.to_string(args.functions, &setup::pin::describe()?);
    println!("{text}");
    if let Some(file) = &args.write {
        put_into(&workspace::root().join(file), SECTION, &text)?;
    }
    if report.overhead() > LIMIT {
        bail!("{:+.0} instructions per step are over the limit of {LIMIT:+.0}", report.overhead());
    }
    Ok(())
}

fn put_into(path: &Path, section: &str, text: &str) -> Result<()> {
    let old = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let new = crate::docs::replace_section(&old, section, &format!("{text}\n"))?;
    std::fs::write(path, new).with_context(|| format!("cannot write {}", path.display()))
}

/// The program of the steps, and how it is run.
struct Program {
    path: PathBuf,
    /// Variables for its run.
    environment: Vec<(&'static str, OsString)>,
    borders: Vec<&'static str>,
}

impl Program {
    /// Builds the program without the instruction sets that valgrind does not know.
    fn build(features: &[&str]) -> Result<Self> {
        // Each set of features has a folder of its own, so that the two do not evict each other.
        let target = workspace::target().join(format!("overhead{}", features.concat()));
        let mut cargo = workspace::cargo();
        cargo.args([
            "build",
            "--release",
            "--no-default-features",
            "--package",
            "llama-benches",
            "--bin",
            "step",
        ]);
        cargo.args(features.iter().flat_map(|feature| ["--features", feature]));
        native::build("building the steps", cargo.env("CARGO_TARGET_DIR", &target))?;
        Ok(Self { path: target.join("release/step"), environment: Vec::new(), borders: BORDERS.to_vec() })
    }
}

/// The result of a layer's steps.
struct Measured {
    /// The program's output: the size of the vocabulary, a colon, and the tokens.
    tokens: String,
    /// The profile of one step.
    profile: Profile,
}

impl Measured {
    fn n_vocab(&self) -> Result<u32> {
        let number = self.tokens.split_once(':').and_then(|(number, _)| number.parse().ok());
        number.with_context(|| format!("the program printed {:?}", self.tokens))
    }
}

/// Runs this many steps and twice as many. The difference contains only steady steps, without start and end.
fn measure(program: &Program, model: &Path, layer: &str, steps: u32) -> Result<Measured> {
    let step = Step::spinner(format!("counting `{layer}`"));
    let (_, once) = count(program, model, layer, steps)?;
    let (tokens, twice) = count(program, model, layer, 2 * steps)?;
    let profile = twice.less(&once).divided_by(steps);
    step.done(&format!("{:.1} instructions per step", profile.total()));
    Ok(Measured { tokens, profile })
}

fn count(program: &Program, model: &Path, layer: &str, steps: u32) -> Result<(String, Profile)> {
    let folder = tempfile::tempdir().context("could not create a temporary folder")?;
    let out = folder.path().join("callgrind.out");
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", out.display()));
    command.args(program.borders.iter().map(|function| format!("--toggle-collect={function}")));
    command.envs(program.environment.iter().map(|(name, value)| (name, value)));
    command.arg(&program.path).arg("--model").arg(model);
    command.args(["--layer", layer, "--steps", &steps.to_string()]);
    let tokens = workspace::capture(&mut command)
        .context("callgrind is part of valgrind: install it, for example on Debian `apt install valgrind`")?;
    let text =
        std::fs::read_to_string(&out).with_context(|| format!("callgrind left no {}", out.display()))?;
    Ok((tokens, Profile::parse(&text)?))
}
