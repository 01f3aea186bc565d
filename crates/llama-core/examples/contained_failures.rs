//! Failures inside llama.cpp that are returned as errors, also in a program that is built with `panic = "abort"`. Run with
//! `cargo run --profile abort -p llama-core --features common --example contained_failures` or `cargo xtask test --only abort`.

use std::fs;
use std::process::ExitCode;

use llama_core::chat::ChatTemplates;
use llama_core::sampler::{LazyTriggers, json_schema_to_grammar};
use llama_core::{Error, Model, ModelParams, SamplerChain};
use llama_sys::llama_shim_outcome as Outcome;
use test_models::Tiny;

/// A description, a part of the expected error, and the call that must fail.
type Failure = (&'static str, &'static str, fn() -> Result<(), Box<dyn std::error::Error>>);

const FAILURES: &[Failure] = &[
    ("loading a model without layers", "could not load the model", load_without_layers),
    ("making a chat template of `{% for %}`", "chat template", make_template),
    ("making a grammar of `root ::= (`", "grammar", make_grammar),
    ("making a trigger of the pattern `(`", "must be a regular expression", make_pattern),
    ("making a grammar of the schema `{\"type\": 1}`", "JSON schema", make_schema),
    ("a failed assertion", "shim/guard.cpp:1: on purpose", || fail(Outcome::LLAMA_SHIM_OUTCOME_ASSERTION)),
    ("an exception", "on purpose", || fail(Outcome::LLAMA_SHIM_OUTCOME_EXCEPTION)),
    ("an exception of no known type", "an exception of an unknown type", || {
        fail(llama_sys::llama_shim_outcome(99))
    }),
    ("no memory in C++", "out of memory inside llama.cpp", || fail(Outcome::LLAMA_SHIM_OUTCOME_NO_MEMORY)),
];

#[allow(clippy::print_stdout, reason = "a program with a report")]
fn main() -> ExitCode {
    let mut wrong = 0;
    for (what, expected, failure) in FAILURES {
        match failure() {
            Err(error) if error.to_string().contains(expected) => {
                println!("{what}: {error}");
            }
            Err(error) => {
                println!("{what}: UNEXPECTED {error}");
                wrong += 1;
            }
            Ok(()) => {
                println!("{what}: NO ERROR");
                wrong += 1;
            }
        }
    }
    let strategy = if cfg!(panic = "abort") { "abort" } else { "unwind" };
    println!("panic = \"{strategy}\": {} of {} failures were errors", FAILURES.len() - wrong, FAILURES.len());
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tiny() -> Result<Model, Error> {
    Model::load(Tiny::Llama.path(), &ModelParams::default())
}

fn load_without_layers() -> Result<(), Box<dyn std::error::Error>> {
    const KEY: &[u8] = b"llama.block_count";
    let mut bytes = fs::read(Tiny::Llama.path()).expect("the tiny model can be read");
    let key = bytes.windows(KEY.len()).position(|window| window == KEY).expect("the key is there");
    // The type of the value follows the key in four bytes.
    let value = key + KEY.len() + 4;
    bytes[value..value + 4].fill(0);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("no-layers.gguf");
    fs::write(&path, bytes).expect("the model can be written");
    Ok(Model::load(&path, &ModelParams::default()).map(drop)?)
}

fn make_template() -> Result<(), Box<dyn std::error::Error>> {
    Ok(ChatTemplates::new(None, r#"{"template": "{% for %}"}"#).map(drop)?)
}

fn make_grammar() -> Result<(), Box<dyn std::error::Error>> {
    Ok(SamplerChain::builder().grammar(&tiny()?, "root ::= (", "root").greedy().build().map(drop)?)
}

fn make_pattern() -> Result<(), Box<dyn std::error::Error>> {
    let triggers = LazyTriggers::default().patterns(["("]);
    let chain = SamplerChain::builder().grammar_lazy(&tiny()?, "root ::= \"a\"", "root", triggers);
    Ok(chain.greedy().build().map(drop)?)
}

fn make_schema() -> Result<(), Box<dyn std::error::Error>> {
    Ok(json_schema_to_grammar(r#"{"type": 1}"#).map(drop)?)
}

/// Makes the shim's test function fail like llama.cpp, and returns its message as an error.
fn fail(how: Outcome) -> Result<(), Box<dyn std::error::Error>> {
    llama_core::init();
    let text = c"on purpose";
    let mut message: [core::ffi::c_char; llama_sys::LLAMA_SHIM_MESSAGE_SIZE as usize] = [0; _];
    // SAFETY: the text is NUL-terminated and the buffer has the required size.
    let outcome =
        unsafe { llama_sys::call::llama_shim_fail(message.as_mut_ptr(), &mut (), how, text.as_ptr()) };
    // SAFETY: the buffer was zeroed, and the function writes a NUL-terminated text to it.
    let message = unsafe { core::ffi::CStr::from_ptr(message.as_ptr()) }.to_string_lossy().into_owned();
    match outcome {
        Outcome::LLAMA_SHIM_OUTCOME_COMPLETED => Ok(()),
        Outcome::LLAMA_SHIM_OUTCOME_NO_MEMORY => {
            Err(format!("out of memory inside llama.cpp ({message})").into())
        }
        _ => Err(message.into()),
    }
}
