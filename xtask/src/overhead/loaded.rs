//! The instructions of a step through a library that is loaded when the program runs (feature `dynamic`), beside those of a
//! step through the same library when it is linked.

use anyhow::{Result, bail, ensure};

use super::{Args, GET_LOGITS, Program, measure, put_into};
use crate::setup::pin;
use crate::{matrix, workspace};

/// The most instructions that a step may take beyond a step through a linked library.
const LIMIT: f64 = 60.0;

/// The name of the section for the figures in a document.
const SECTION: &str = "dynamic";

/// The build of the library that is loaded: without the instruction sets that valgrind does not know.
const LIBRARY: &str = "--no-default-features --features shared";

/// Counts both steps and compares them.
pub(super) fn run(args: &Args) -> Result<()> {
    let library = matrix::installed_library(LIBRARY)?;
    let program = |features: &[&str]| -> Result<Program> {
        let mut program = Program::build(features)?;
        program.borders.retain(|border| *border != GET_LOGITS);
        Ok(program)
    };
    let linked = program(&[])?;
    let mut loaded = program(&["dynamic"])?;
    loaded.environment = vec![matrix::search_first(&library), ("LLAMA_LIBRARY", library.into())];
    let model = test_models::Tiny::Llama.path();
    let (linked, loaded) =
        (measure(&linked, &model, "core", args.steps)?, measure(&loaded, &model, "core", args.steps)?);
    ensure!(linked.tokens == loaded.tokens, "the tokens differ:\n{}\n{}", linked.tokens, loaded.tokens);
    let (linked, loaded) = (linked.profile.total(), loaded.profile.total());
    let text = text(linked, loaded, &pin::describe()?);
    println!("{text}");
    if let Some(file) = &args.write {
        put_into(&workspace::root().join(file), SECTION, &text)?;
    }
    if loaded - linked > LIMIT {
        bail!("{:+.0} instructions per step are over the limit of {LIMIT:+.0}", loaded - linked);
    }
    Ok(())
}

fn text(linked: f64, loaded: f64, pin: &str) -> String {
    format!(
        "| a step through `llama-core` with | instructions | beyond linked |\n|---|---:|---:|\n\
         | a linked static library | {linked:.0} | |\n\
         | a loaded shared library (`dynamic`) | {loaded:.0} | **{:+.0}** |\n\n\
         A tiny model, one thread, llama.cpp of {pin}, {}. `llama_get_logits_ith` is counted, too.",
        loaded - linked,
        std::env::consts::ARCH
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_shown_with_its_sign() {
        let text = text(1000.4, 1012.0, "x 1.0");
        assert!(text.contains("| a linked static library | 1000 | |\n"), "{text}");
        assert!(text.contains("| a loaded shared library (`dynamic`) | 1012 | **+12** |\n"), "{text}");
    }
}
