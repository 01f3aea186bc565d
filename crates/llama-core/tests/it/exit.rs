//! Processes that end while other threads are in the middle of calls.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use std::{env, process, thread};

use llama_core::{
    Batch, Context, ContextParams, Error, ErrorKind, Model, ModelParams, Pos, Result, SamplerChain, SeqId,
    Token, TokenizeOptions,
};
use test_models::child::test_name;
use test_models::{Tiny, smollm2};

/// The variable that selects the work of a child's threads.
const DOES: &str = "LLAMA_EXIT_DOES";

/// The variable with the time until the process ends.
const DELAY: &str = "LLAMA_EXIT_AFTER_MS";

/// The channel on which a thread reports each call.
type Begun = Sender<()>;

/// A call that is repeated until it is refused, and reported on `begun` each time.
type Work = fn(&Begun) -> Result<()>;

const WORKS: [(&str, PathOf, Work); 6] = [
    ("compute", smollm2, compute),
    ("make contexts", smollm2, make_contexts),
    ("make small contexts", || Tiny::LlamaQ8.path(), make_contexts),
    ("load", || Tiny::LlamaQ8.path(), load),
    ("tokenise", smollm2, tokenise),
    ("make samplers", smollm2, make_samplers),
];

type PathOf = fn() -> PathBuf;

fn model() -> Result<Model> {
    let does = env::var(DOES).unwrap();
    let (_, path, _) = WORKS.iter().find(|(name, ..)| *name == does).unwrap();
    Model::load(path(), &ModelParams::default())
}

fn told(begun: &Begun) {
    // The receiver is gone once the process ends.
    let _ = begun.send(());
}

fn context(model: &Model) -> Result<Context> {
    Context::new(model, &ContextParams::default().n_ctx(64).n_batch(16).n_ubatch(16).n_threads(2))
}

fn prompt() -> Batch {
    let mut batch = Batch::new();
    batch.push_prompt(&[Token::new(5); 16], SeqId::new(0), Pos::new(0)).unwrap();
    batch
}

fn compute(begun: &Begun) -> Result<()> {
    let (mut context, batch) = (context(&model()?)?, prompt());
    loop {
        context.decode(&batch)?;
        context.memory().clear(false)?;
        told(begun);
    }
}

fn make_contexts(begun: &Begun) -> Result<()> {
    let (model, batch) = (model()?, prompt());
    loop {
        context(&model)?.decode(&batch)?;
        told(begun);
    }
}

fn load(begun: &Begun) -> Result<()> {
    loop {
        model()?;
        told(begun);
    }
}

fn tokenise(begun: &Begun) -> Result<()> {
    let (model, text) = (model()?, "Größe 漢字 hello 😀 123\n\n".repeat(30));
    loop {
        model.vocab().tokenize(&text, TokenizeOptions::default())?;
        told(begun);
    }
}

fn make_samplers(begun: &Begun) -> Result<()> {
    let model = model()?;
    loop {
        SamplerChain::builder().grammar(&model, "root ::= [a-z]+ \"x\"", "root").dist(3).build()?;
        told(begun);
    }
}

/// Repeats the call until it is refused. A wrong error ends the process in a wrong way.
fn work(does: Work, begun: &Begun) {
    let error: Error = does(begun).unwrap_err();
    if !matches!(error.kind(), ErrorKind::ProcessEnds) {
        let _ = writeln!(std::io::stderr(), "{error:?}");
        process::abort();
    }
}

/// Runs the work of a child; does nothing in the parent.
#[test]
fn child() {
    let Ok(does) = env::var(DOES) else { return };
    let delay = env::var(DELAY).unwrap().parse().unwrap();
    let (_, _, does) = WORKS.into_iter().find(|(name, ..)| *name == does).unwrap();
    let (sender, begun) = channel();
    for _ in 0..2 {
        let sender = sender.clone();
        thread::spawn(move || work(does, &sender));
    }
    begun.recv().unwrap();
    thread::sleep(Duration::from_millis(delay));
    process::exit(7);
}

#[test]
fn a_process_ends_as_it_should_whatever_its_threads_do() {
    for (does, ..) in WORKS {
        for delay in [0, 1, 5, 10, 20, 50, 100] {
            let child = Command::new(env::current_exe().unwrap())
                .args([&test_name(module_path!(), "child"), "--exact", "--test-threads=1"])
                .envs([(DOES, does), (DELAY, &delay.to_string())])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&child.stderr);
            assert_eq!(child.status.code(), Some(7), "{does}, after {delay} ms: {}\n{said}", child.status);
        }
    }
}
