//! Calls in destructors of thread-locals at the end of a thread, when the crate's own thread-locals may be gone.

use std::cell::RefCell;
use std::path::Path;
use std::thread;

use crate::greedy::{SEQ, fresh_continuation, load, params, tokens};
use llama_core::sampler::RowSamplerPool;
use llama_core::threadpool::ThreadpoolParams;
use llama_core::{
    Batch, Context, ErrorKind, LoraAdapter, Model, ModelParams, Pos, SamplerChain, Threadpool, Token,
    TokenizeOptions,
};
use test_models::child::{self, Case};
use test_models::{Tiny, Tuned};

const CASES: &[Case] = &[
    ("a context", || at_the_end(|| drop(Some(load_and_decode())))),
    ("a context, kept", a_context_that_is_kept),
    ("calls that fail", || at_the_end(calls_that_fail)),
    ("calls that fail in llama.cpp", || at_the_end(calls_that_fail_in_c)),
    ("calls that succeed", || at_the_end(calls_that_succeed)),
];

#[test]
fn child() {
    child::run(CASES);
}

#[test]
fn thread_locals_may_call_and_hold_anything() {
    child::assert_all_end_well(module_path!(), CASES);
}

/// Calls a function when it is dropped.
struct AtEnd(Option<fn()>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        if let Some(body) = self.0.take() {
            body();
        }
    }
}

thread_local! {
    static EARLY: RefCell<AtEnd> = const { RefCell::new(AtEnd(None)) };
    static LATE: RefCell<AtEnd> = const { RefCell::new(AtEnd(None)) };
    static KEPT: RefCell<Vec<(Context, SamplerChain, LoraAdapter)>> = const { RefCell::new(Vec::new()) };
}

/// Runs a function in destructors of thread-locals that are registered before and after the crate's. One of them is
/// destroyed first, whatever the system's order.
fn at_the_end(body: fn()) {
    thread::spawn(move || {
        EARLY.with_borrow_mut(|end| end.0 = Some(body));
        calls_that_fail_in_c();
        calls_that_succeed();
        LATE.with_borrow_mut(|end| end.0 = Some(body));
    })
    .join()
    .unwrap();
    // Without any use of the crate in the thread before.
    thread::spawn(move || EARLY.with_borrow_mut(|end| end.0 = Some(body))).join().unwrap();
}

fn load_and_decode() -> Context {
    let model = load(Tiny::Llama);
    let mut context = Context::new(&model, &params()).unwrap();
    let mut batch = Batch::new();
    batch.push_prompt(&[5, 6, 7].map(Token::new), SEQ, Pos::new(0)).unwrap();
    context.decode(&batch).unwrap();
    context
}

fn a_context_that_is_kept() {
    thread::spawn(|| {
        KEPT.with_borrow_mut(|kept| {
            let mut context = load_and_decode();
            let adapter = LoraAdapter::load(context.model(), Tuned::Lora.path()).unwrap();
            context.set_adapters(&[(&adapter, 1.0)]).unwrap();
            kept.push((context, SamplerChain::builder().greedy().build().unwrap(), adapter));
        });
        calls_that_fail_in_c();
    })
    .join()
    .unwrap();
}

fn calls_that_fail() {
    let missing = Model::load(Path::new("/no/such/file"), &ModelParams::default()).unwrap_err();
    assert!(matches!(missing.kind(), ErrorKind::File { .. }), "{missing:?}");
    let model = load(Tiny::Llama);
    assert!(Context::new(&model, &params().n_batch(0)).is_err());
    assert!(LoraAdapter::load(&model, Tuned::ControlVector.path()).is_err());
    assert!(SamplerChain::builder().grammar(&model, "root ::= (", "root").build().is_err());
}

/// Errors contain llama.cpp's log, unless the lines are gone already.
fn calls_that_fail_in_c() {
    let path = Tuned::Lora.path();
    // An adapter is no model of that architecture: llama.cpp finds no tensors.
    let error = Model::load(&path, &ModelParams::default()).unwrap_err();
    assert!(error.to_string().contains("lora"), "{error}");
    let model = load(Tiny::Mamba);
    let error = LoraAdapter::load(&model, &path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AdapterLoad { .. } | ErrorKind::Adapter { .. }), "{error:?}");
}

fn calls_that_succeed() {
    let model = load(Tiny::Llama);
    let hello = tokens(&model, "Hello world");
    assert_eq!(fresh_continuation(&model, &hello, 3).len(), 3);
    let long = "hello ".repeat(4000);
    assert!(model.vocab().tokenize(&long, TokenizeOptions::default()).unwrap().len() > 4000);
    let mut context = Context::new(&model, &params().n_threads(2)).unwrap();
    context.attach_threadpool(&Threadpool::new(&ThreadpoolParams::new(2)).unwrap(), None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    context.save_state(folder.path().join("state"), &[]).unwrap();
    drop(SamplerChain::builder().grammar(&model, "root ::= [a-z]+", "root").dist(1).build().unwrap());
    let rows = vec![vec![0.5; 300_000]; 2];
    let mut samplers = [1, 2].map(|seed| SamplerChain::builder().dist(seed).build_row().unwrap());
    let mut jobs: Vec<_> = samplers.iter_mut().zip(rows.iter().map(Vec::as_slice)).collect();
    assert!(RowSamplerPool::new(2).unwrap().sample(&mut jobs).iter().all(Result::is_ok));
    context
        .decode(&{
            let mut batch = Batch::new();
            batch.push_prompt(&hello, SEQ, Pos::new(0)).unwrap();
            batch
        })
        .unwrap();
}
