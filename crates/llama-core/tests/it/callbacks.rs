//! User code inside callbacks: no allowed call hangs or ends the process.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use crate::greedy::{self, SEQ, fresh_continuation, load, params, tokens};
use crate::log_hook::LogHook;
use llama_core::observer::TensorData;
use llama_core::sampler::{CandidatesMut, Custom, CustomSampler, RowSamplerPool};
use llama_core::threadpool::ThreadpoolParams;
use llama_core::{
    Batch, Context, Error, ErrorKind, LoraAdapter, Model, ModelParams, Pos, SamplerChain, Threadpool, Token,
    TokenizeOptions,
};
use llama_gguf::{Gguf, Writer};
use test_models::child::{self, Case};
use test_models::{Tiny, Tuned};

const CASES: &[Case] = &[
    ("observer creates a context while an adapter is loaded", || while_an_adapter_is_loaded(with_observer)),
    ("abort callback creates a context while an adapter is loaded", || {
        while_an_adapter_is_loaded(with_abort);
    }),
    ("observer waits for an adapter to be dropped", || while_an_adapter_is_dropped(with_observer)),
    ("abort callback waits for an adapter to be dropped", || while_an_adapter_is_dropped(with_abort)),
    ("observer calls everything", observer_calls_everything),
    ("abort callback calls everything", abort_callback_calls_everything),
    ("observer uses its own thread pool", observer_uses_its_own_pool),
    ("observers use each other's thread pools", observers_use_each_others_pools),
    ("log subscriber calls everything", log_subscriber_calls_everything),
    ("log subscriber calls everything while the library is initialised", log_subscriber_while_initialising),
    ("progress callback calls everything", progress_callback_calls_everything),
    ("tensor callback calls everything", tensor_callback_calls_everything),
    ("custom sampler formats itself", custom_sampler_formats_itself),
];

#[test]
fn child() {
    child::run(CASES);
}

#[test]
fn no_callback_hangs_or_ends_the_process() {
    child::assert_all_end_well(module_path!(), CASES);
}

fn lora() -> PathBuf {
    Tuned::Lora.path()
}

fn prompt(model: &Model) -> Batch {
    let mut batch = Batch::new();
    batch.push_prompt(&tokens(model, "Hello world"), SEQ, Pos::new(0)).unwrap();
    batch
}

/// Writes a model that llama.cpp refuses with an exception that it catches itself: its output matrix has a wrong
/// size.
fn bad_model() -> (tempfile::TempDir, PathBuf) {
    let bytes = Tiny::Llama.bytes();
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    let mut writer = Writer::new();
    *writer.metadata_mut() = gguf.metadata().clone();
    writer.set("llama.block_count", 0_u32);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.gguf");
    writer.write_file(&path).unwrap();
    (folder, path)
}

/// Whether a call inside a callback succeeded or was refused for being inside one.
fn is_allowed_or_refused<T>(result: Result<T, Error>) -> bool {
    match result {
        Ok(_) => true,
        Err(error) => match error.kind() {
            ErrorKind::InCallback { .. } => false,
            other => panic!("{other:?}"),
        },
    }
}

#[track_caller]
fn assert_refused<T>(result: Result<T, Error>) {
    assert!(!is_allowed_or_refused(result));
}

/// Sets a function that is called during each operation of a computation.
type SetCallback = fn(&Model, Box<dyn FnMut() + Send>) -> Context;

fn with_observer(model: &Model, mut callback: Box<dyn FnMut() + Send>) -> Context {
    let observer = move |_: &TensorData<'_>| {
        callback();
        ControlFlow::Continue(())
    };
    Context::with_observer(model, &params().n_threads(2), observer).unwrap()
}

fn with_abort(model: &Model, mut callback: Box<dyn FnMut() + Send>) -> Context {
    let mut context = Context::new(model, &params().n_threads(2)).unwrap();
    let callback = move || {
        callback();
        false
    };
    context.set_abort_callback(callback).unwrap();
    context
}

/// Decodes with a callback that once announces itself, waits for `go_on`, and creates a context.
fn decode_and_create(set: SetCallback, model: &Model, begun: Sender<()>, go_on: Receiver<()>) {
    let mut is_first = true;
    let inner = model.clone();
    let callback = move || {
        if std::mem::take(&mut is_first) {
            begun.send(()).unwrap();
            let _ = go_on.recv_timeout(Duration::from_secs(60));
            is_allowed_or_refused(Context::new(&inner, &params()));
        }
    };
    let mut context = set(model, Box::new(callback));
    context.decode(&prompt(model)).unwrap();
}

fn while_an_adapter_is_loaded(set: SetCallback) {
    let model = load(Tiny::Llama);
    let (begun, has_begun) = mpsc::channel();
    let (go_on, waits) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| decode_and_create(set, &model, begun, waits));
        has_begun.recv().unwrap();
        let loader = scope.spawn(|| LoraAdapter::load(&model, lora()).unwrap());
        // Until it waits for the computation.
        thread::sleep(Duration::from_millis(300));
        assert!(!loader.is_finished());
        go_on.send(()).unwrap();
        loader.join().unwrap();
    });
}

fn while_an_adapter_is_dropped(set: SetCallback) {
    let model = load(Tiny::Llama);
    let adapter = LoraAdapter::load(&model, lora()).unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (go_on, waits) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| decode_and_create(set, &model, begun, waits));
        has_begun.recv().unwrap();
        // Not waiting for the computation, which waits for this.
        drop(adapter);
        go_on.send(()).unwrap();
    });
    // It was freed, and the set is as before.
    let adapter = LoraAdapter::load(&model, lora()).unwrap();
    Context::new(&model, &params()).unwrap().set_adapters(&[(&adapter, 1.0)]).unwrap();
}

/// The calls that are tried inside a callback; counts the refused ones.
struct Calls {
    model: Model,
    adapter: Option<LoraAdapter>,
    other: Context,
    dropped: Option<(Model, Context, SamplerChain)>,
    bad: PathBuf,
    folder: tempfile::TempDir,
}

impl Calls {
    fn new(model: &Model) -> Self {
        let (folder, bad) = bad_model();
        let second = load(Tiny::Mamba);
        let context = Context::new(&second, &params()).unwrap();
        let chain = SamplerChain::builder().greedy().build().unwrap();
        Self {
            model: model.clone(),
            adapter: Some(LoraAdapter::load(model, lora()).unwrap()),
            other: Context::new(model, &params()).unwrap(),
            dropped: Some((second, context, chain)),
            bad,
            folder,
        }
    }

    /// Makes each call and returns the names of the refused ones.
    fn make(&mut self) -> Vec<&'static str> {
        let Self { model, adapter, other, dropped, bad, folder } = self;
        let mut refused = Vec::new();
        let mut note = |name, allowed: bool| {
            if !allowed {
                refused.push(name);
            }
        };
        note("load", is_allowed_or_refused(Model::load(Tiny::Mamba.path(), &ModelParams::default())));
        match Model::load(bad, &ModelParams::default()).unwrap_err().kind() {
            ErrorKind::InCallback { .. } => note("load bad", false),
            ErrorKind::Load { .. } | ErrorKind::Hyperparameter { .. } => {}
            other => panic!("{other:?}"),
        }
        note("create", is_allowed_or_refused(Context::new(model, &params())));
        note("decode", is_allowed_or_refused(other.decode(&prompt_of(&[5, 6]))));
        note("threads", is_allowed_or_refused(other.set_n_threads(1, 1)));
        note("clear", is_allowed_or_refused(other.memory().clear(true)));
        note("save", is_allowed_or_refused(other.save_state(folder.path().join("state"), &[])));
        note("tokenise", is_allowed_or_refused(model.vocab().tokenize("hello", TokenizeOptions::default())));
        note("sampler", is_allowed_or_refused(SamplerChain::builder().top_k(3).greedy().build()));
        note("adapter", is_allowed_or_refused(LoraAdapter::load(model, lora())));
        note("model save", is_allowed_or_refused(save(model, &folder.path().join("model"))));
        assert!(!other.is_poisoned());
        drop(adapter.take());
        drop(dropped.take());
        refused
    }
}

fn prompt_of(ids: &[i32]) -> Batch {
    let mut batch = Batch::new();
    let tokens: Vec<Token> = ids.iter().copied().map(Token::new).collect();
    batch.push_prompt(&tokens, SEQ, Pos::new(0)).unwrap();
    batch
}

fn save(model: &Model, path: &Path) -> Result<(), Error> {
    match model.save(path) {
        // It was loaded with weights that may be rearranged.
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported { .. }) => Ok(()),
        other => other,
    }
}

/// Decodes with a callback that makes all calls once, and returns the refused ones. The computation continues.
fn calls_in(set: SetCallback) -> Vec<&'static str> {
    let model = load(Tiny::Llama);
    let hello = tokens(&model, "Hello world");
    let expected = fresh_continuation(&model, &hello, 4);
    let calls = Arc::new(Mutex::new((Calls::new(&model), None)));
    let inner = Arc::clone(&calls);
    let callback = move || {
        let (calls, refused) = &mut *inner.lock().unwrap();
        if refused.is_none() {
            *refused = Some(calls.make());
        }
    };
    let mut context = set(&model, Box::new(callback));
    assert_eq!(greedy::continuation(&mut context, &hello, SEQ, 4), expected);
    let (calls, refused) = &mut *calls.lock().unwrap();
    calls.other.memory().clear(true).unwrap();
    assert_eq!(greedy::continuation(&mut calls.other, &hello, SEQ, 4), expected);
    LoraAdapter::load(&model, lora()).unwrap();
    refused.take().unwrap()
}

fn observer_calls_everything() {
    assert_eq!(calls_in(with_observer), ["adapter"]);
}

fn abort_callback_calls_everything() {
    let all = [
        "load", "load bad", "create", "decode", "threads", "clear", "save", "tokenise", "sampler", "adapter",
    ];
    assert_eq!(calls_in(with_abort), all);
    let error = Arc::new(Mutex::new(None));
    let inner = Arc::clone(&error);
    let model = load(Tiny::Llama);
    let mut context = with_abort(
        &model.clone(),
        Box::new(move || *inner.lock().unwrap() = Context::new(&model, &params()).err()),
    );
    let batch = prompt_of(&[5]);
    context.decode(&batch).unwrap();
    assert_eq!(
        error.lock().unwrap().take().unwrap().to_string(),
        "calling llama.cpp is not possible inside a callback: an abort callback runs in the middle of a computation, \
         where a failure cannot be contained: return true to stop, and call when decode or encode has returned"
    );
}

fn pool(n_threads: u32) -> Threadpool {
    Threadpool::new(&ThreadpoolParams::new(n_threads)).unwrap()
}

fn context_with(model: &Model, pool: &Threadpool) -> Context {
    let mut context = Context::new(model, &params().n_threads(2)).unwrap();
    context.attach_threadpool(pool, None).unwrap();
    context
}

fn observer_uses_its_own_pool() {
    let model = load(Tiny::Llama);
    let (own, free) = (pool(2), pool(2));
    let (mut same, mut other) = (context_with(&model, &own), context_with(&model, &free));
    let seen = Arc::new(Mutex::new(None));
    let inner = Arc::clone(&seen);
    let callback = move || {
        let mut seen = inner.lock().unwrap();
        if seen.is_none() {
            let error = same.decode(&prompt_of(&[5])).unwrap_err();
            assert_refused(same.set_n_threads(1, 1));
            assert!(!same.is_poisoned());
            other.decode(&prompt_of(&[5])).unwrap();
            *seen = Some(error);
        }
    };
    let mut context = with_observer(&model, Box::new(callback));
    context.attach_threadpool(&own, None).unwrap();
    context.decode(&prompt_of(&[5])).unwrap();
    assert_eq!(
        seen.lock().unwrap().take().unwrap().to_string(),
        "computing with this thread pool is not possible inside a callback: another computation, perhaps the one that \
         the callback is part of, uses the thread pool: give the context its own pool, or none"
    );
}

fn observers_use_each_others_pools() {
    let model = load(Tiny::Llama);
    let pools = [pool(2), pool(2)];
    let meet = Arc::new(Barrier::new(2));
    let ready = Barrier::new(2);
    thread::scope(|scope| {
        for own in 0..2 {
            let (model, pools, meet, ready) = (&model, &pools, Arc::clone(&meet), &ready);
            scope.spawn(move || {
                let mut inner = Some(context_with(model, &pools[1 - own]));
                let callback = move || {
                    if let Some(mut inner) = inner.take() {
                        meet.wait();
                        is_allowed_or_refused(inner.decode(&prompt_of(&[5])));
                    }
                };
                let mut context = with_observer(model, Box::new(callback));
                context.attach_threadpool(&pools[own], None).unwrap();
                // Attaching waits while a pool computes, and the observers wait for each other.
                ready.wait();
                context.decode(&prompt_of(&[5])).unwrap();
            });
        }
    });
}

fn log_subscriber_calls_everything() {
    let model = load(Tiny::Llama);
    let inner = model.clone();
    let called = Arc::new(Mutex::new(0));
    let count = Arc::clone(&called);
    let hook = move || {
        let line = {
            let mut count = count.lock().unwrap();
            *count += 1;
            *count
        };
        // There are hundreds.
        if line % 20 != 1 {
            return;
        }
        Model::load(Tiny::Llama.path(), &ModelParams::default()).unwrap();
        let mut context = Context::new(&inner, &params()).unwrap();
        context.decode(&prompt_of(&[5])).unwrap();
        // Refused while a context of the same model is created.
        if let Ok(adapter) = LoraAdapter::load(&inner, lora()) {
            context.set_adapters(&[(&adapter, 1.0)]).unwrap();
        }
        pool(2);
        assert!(!llama_core::system_info().is_empty());
    };
    tracing::subscriber::set_global_default(LogHook::new(hook)).unwrap();
    let mut context = Context::new(&model, &params()).unwrap();
    let before = *called.lock().unwrap();
    let adapter = LoraAdapter::load(&model, lora()).unwrap();
    assert!(*called.lock().unwrap() > before && before > 0);
    context.set_adapters(&[(&adapter, 0.5)]).unwrap();
    context.decode(&prompt_of(&[5])).unwrap();
    // The last of several threads that create and load at once.
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| Context::new(&model, &params()).unwrap());
            scope.spawn(|| LoraAdapter::load(&model, lora()).unwrap());
        }
    });
}

fn log_subscriber_while_initialising() {
    static LOADED: OnceLock<usize> = OnceLock::new();
    let hook = || {
        let model = load(Tiny::Llama);
        let _ = LOADED.set(model.n_layer() as usize);
        pool(2);
    };
    tracing::subscriber::set_global_default(LogHook::new(hook)).unwrap();
    pool(2);
    llama_core::init();
    RowSamplerPool::new(2).unwrap();
    load(Tiny::Mamba);
    assert!(LOADED.get().is_some());
}

fn progress_callback_calls_everything() {
    let model = load(Tiny::Llama);
    let mut refused = Vec::new();
    let mut left = 3;
    let progress = |_| {
        if left > 0 {
            left -= 1;
            refused.extend(Calls::new(&model).make());
        }
        ControlFlow::Continue(())
    };
    Model::load_with_progress(Tiny::Mamba.path(), &ModelParams::default(), progress).unwrap();
    assert!(refused.is_empty(), "{refused:?}");
}

fn tensor_callback_calls_everything() {
    let model = load(Tiny::Llama);
    let bytes = Tiny::Llama.bytes();
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    let types = gguf.tensors().iter().map(|info| (info.name().to_string(), info.tensor_type()));
    let mut calls = Some(Calls::new(&model));
    let made = Model::from_metadata(gguf.metadata(), types, &ModelParams::default(), |_, bytes| {
        if let Some(mut calls) = calls.take() {
            assert!(calls.make().is_empty());
        }
        bytes.fill(0);
        Ok::<(), Infallible>(())
    });
    made.unwrap();
}

/// Formats and compares its own sampler while it is copied and called.
#[derive(Default)]
struct Mirror(Arc<OnceLock<Custom>>);

impl Mirror {
    fn look(&self) -> String {
        self.0.get().map_or_else(String::new, |own| {
            assert!(own == &own.clone());
            format!("{own:?}")
        })
    }
}

impl Clone for Mirror {
    fn clone(&self) -> Self {
        self.look();
        Self(Arc::clone(&self.0))
    }
}

impl CustomSampler for Mirror {
    fn name(&self) -> &str {
        "mirror"
    }
    fn apply(&mut self, _: &mut CandidatesMut<'_>) {
        assert_eq!(self.look(), "Custom(\"mirror\")");
    }
    fn is_selecting(&self) -> bool {
        self.look();
        false
    }
}

fn custom_sampler_formats_itself() {
    let mirror = Mirror::default();
    let own = Arc::clone(&mirror.0);
    let custom = Custom::new(mirror);
    assert!(own.set(custom.clone()).is_ok());
    let sampler = llama_core::Sampler::Custom(custom.clone());
    assert_eq!(format!("{custom:?}"), "Custom(\"mirror\")");
    let build = || SamplerChain::builder().push(sampler.clone()).greedy().build().unwrap();
    let mut chain = build();
    assert_eq!(chain.sample_logits(&[0.0, 2.0, 1.0]).unwrap(), Token::new(1));
    let mut copy = chain.try_clone().unwrap();
    assert_eq!(copy.sample_logits(&[3.0, 2.0, 1.0]).unwrap(), Token::new(0));
    // Also from several threads at once.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| drop(build())));
        }
    });
}
