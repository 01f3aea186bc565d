//! Walks every safe public function of llama-core with hostile arguments: negative, huge, empty, NaN, NUL bytes, the
//! wrong kind of model, objects whose earlier call failed. No call may end the process, hang, panic, or reach an
//! assertion inside llama.cpp.
//!
//! The cases run in child processes: this program, with a variable that lists the cases. A child announces each step,
//! so that the last line of a child that ends early or hangs names the step that caused it.
//!
//! # Adding a case
//!
//! `cargo xtask tidy` compares the lists of cases, `CASES` in each file, with the functions of the crate. A new
//! function needs a line in the list of its file: its name, as `Type::function`, and the function that tries it. Most
//! use one of these:
//!
//! - [`subjects::each_context`] or [`subjects::each_model`] passes contexts and models of every kind, some of them
//!   poisoned. Arguments come from `values.rs`, `damage.rs` (bytes cut off and changed) and `parts.rs` (GGUF files
//!   with other metadata and tensors).
//! - Use [`walk::Walk::call`] for a call that may fail. It refuses errors that a check in Rust should have prevented,
//!   and calls that succeed on a poisoned object. Use [`walk::Walk::run`] for a call that may not fail. Describe the
//!   call in the first argument; a failure is reported with it.
//! - Use every object that was made, loaded or restored from hostile arguments: decode a batch with it.
//! - Restore the context (settings, adapters, callbacks) for the cases after it.
//!
//! To run one case alone, in this process: `LLAMA_HOSTILE_CASES=Model::load cargo test -p llama-core --test hostile
//! -- child --exact --nocapture`. The whole walk should stay below a minute on one core; it prints the slowest cases.

mod abort;
mod adapter;
mod batch;
mod builtin_chat;
mod chain_edit;
#[cfg(feature = "common")]
mod chat;
mod child;
mod clone;
mod context;
mod control_vector;
mod custom;
mod damage;
mod device_sampler;
mod device_state;
mod embedding;
mod from_metadata;
#[cfg(feature = "dynamic")]
mod library;
mod load;
mod memory;
mod model;
mod model_params;
mod observer;
mod params;
mod parts;
mod plan;
mod poison;
mod row_sampler;
mod rows;
#[cfg(feature = "rpc")]
mod rpc;
mod sampler;
mod sampler_params;
mod state;
mod state_file;
mod subjects;
mod system;
mod threadpool;
mod token;
mod values;
mod vocab;
mod walk;

use std::collections::BTreeSet;

use child::Ending;
use subjects::Subjects;
use walk::Walk;

/// A function's name, and the function that tries it.
type Case = (&'static str, fn(&mut Walk, &mut Subjects));

fn cases() -> Vec<Case> {
    let lists = [
        abort::CASES,
        adapter::CASES,
        batch::CASES,
        builtin_chat::CASES,
        chain_edit::CASES,
        #[cfg(feature = "common")]
        chat::CASES,
        clone::CASES,
        context::CASES,
        control_vector::CASES,
        custom::CASES,
        device_sampler::CASES,
        device_state::CASES,
        embedding::CASES,
        from_metadata::CASES,
        #[cfg(feature = "dynamic")]
        library::CASES,
        load::CASES,
        memory::CASES,
        model::CASES,
        model_params::CASES,
        observer::CASES,
        params::CASES,
        plan::CASES,
        row_sampler::CASES,
        rows::CASES,
        #[cfg(feature = "rpc")]
        rpc::CASES,
        sampler::CASES,
        sampler_params::CASES,
        state::CASES,
        state_file::CASES,
        system::CASES,
        threadpool::CASES,
        token::CASES,
        vocab::CASES,
    ];
    lists.concat()
}

#[test]
fn no_function_is_named_twice() {
    let cases = cases();
    let names: BTreeSet<&str> = cases.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), cases.len());
}

/// Runs the work of a child; does nothing in the parent.
#[test]
fn child() {
    let Some(names) = child::names() else { return };
    let mut walk = Walk::new();
    let mut subjects = Subjects::default();
    for (name, case) in cases().into_iter().filter(|(name, _)| names.iter().any(|wanted| wanted == name)) {
        walk.begin(name);
        case(&mut walk, &mut subjects);
    }
    walk.end();
}

#[test]
#[allow(clippy::print_stdout, reason = "the figures are for whoever asks for them with --nocapture")]
fn every_function_survives() {
    let mut left: Vec<&str> = cases().into_iter().map(|(name, _)| name).collect();
    let mut steps = 0;
    let mut times = Vec::new();
    let mut failures = Vec::new();
    while !left.is_empty() {
        let report = child::run(&left);
        steps += report.steps;
        times.extend(report.times);
        let Ending::Early { case, how } = report.ending else { break };
        let at = left.iter().position(|name| *name == case);
        // Alone, to see whether the case itself is to blame or one before it.
        let alone = at.map(|_| child::run(&[&case]).ending);
        let also_alone =
            if matches!(alone, Some(Ending::Early { .. })) { "" } else { " (not when it runs alone)" };
        failures.push(format!("{case}{also_alone}, after {:?}: {how}", report.last_step));
        left.drain(..at.map_or(left.len(), |at| at + 1));
    }
    times.sort_unstable_by(|one, other| other.cmp(one));
    println!("{} functions, {steps} calls; the slowest: {:.1?}", cases().len(), &times[..times.len().min(9)]);
    assert!(failures.is_empty(), "{} functions failed:\n{}", failures.len(), failures.join("\n"));
}
