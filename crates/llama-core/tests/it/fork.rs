//! Children of a process that has used llama.cpp never hang.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{self, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::greedy::{SEQ, continuation, load, params, tokens};
#[cfg(feature = "rpc")]
use llama_core::ModelParams;
use llama_core::sampler::{RowSampler, RowSamplerPool};
use llama_core::threadpool::ThreadpoolParams;
use llama_core::{Context, ErrorKind, LoraAdapter, Model, SamplerChain, Threadpool, Token};
use test_models::child::{self, Case};
use test_models::{Tiny, Tuned};

const CASES: &[Case] = &[
    ("several threads after computing", several_threads_after_computing),
    ("several threads before computing", several_threads_before_computing),
    ("a new thread", a_new_thread),
    ("a model of its own", a_model_of_its_own),
    ("a thread pool of the parent", a_thread_pool_of_the_parent),
    ("a pool of row samplers", a_pool_of_row_samplers),
    ("dropping everything", dropping_everything),
    #[cfg(feature = "rpc")]
    ("devices of other machines", devices_of_other_machines),
    ("a child of a child", a_child_of_a_child),
    ("while other threads compute", while_other_threads_compute),
    ("a program", a_program),
];

#[test]
fn child() {
    child::run(CASES);
}

#[test]
fn no_forked_process_hangs() {
    child::assert_all_end_well(module_path!(), CASES);
}

/// The numbers of `WNOHANG` and `SIGKILL` on every Unix.
const WITHOUT_WAITING: c_int = 1;
const KILL: c_int = 9;

unsafe extern "C" {
    fn fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
}

/// Runs a function in a forked child, which then ends by `exit`, and waits for it.
fn in_child(body: impl FnOnce()) {
    // SAFETY: the child has a copy of this thread only. Its code is the subject of the test: locks of other threads
    // are those of the allocator, which glibc and macOS release in children, and those of this crate.
    let pid = unsafe { fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let result = catch_unwind(AssertUnwindSafe(body));
        process::exit(i32::from(result.is_err()));
    }
    let begin = Instant::now();
    let mut status = 0;
    // SAFETY: the status is a valid place for a number, and the process is a child that was not waited for.
    while unsafe { waitpid(pid, &raw mut status, WITHOUT_WAITING) } == 0 {
        if begin.elapsed() > Duration::from_secs(60) {
            // SAFETY: as above.
            unsafe { kill(pid, KILL) };
            panic!("the forked process hangs");
        }
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(status, 0, "the forked process failed");
}

struct Started {
    model: Model,
    prompt: Vec<Token>,
    context: Context,
    expected: Vec<Token>,
}

impl Started {
    /// Creates a context that has computed with two threads.
    fn new() -> Self {
        let mut started = Self::unused();
        started.expected = started.generate();
        started
    }

    /// Creates a context that has not computed.
    fn unused() -> Self {
        let model = load(Tiny::Llama);
        let prompt = tokens(&model, "Hello world");
        let context = Context::new(&model, &params().n_threads(2)).unwrap();
        Self { model, prompt, context, expected: Vec::new() }
    }

    fn generate(&mut self) -> Vec<Token> {
        self.context.memory().clear(true).unwrap();
        continuation(&mut self.context, &self.prompt, SEQ, 6)
    }
}

fn several_threads_after_computing() {
    let mut started = Started::new();
    in_child(|| {
        started.context.memory().clear(true).unwrap();
        let mut batch = llama_core::Batch::new();
        batch.push_prompt(&started.prompt, SEQ, llama_core::Pos::new(0)).unwrap();
        // Without OpenMP, ggml starts threads for each computation.
        if cfg!(feature = "openmp") {
            let error = started.context.decode(&batch).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Forked { .. }), "{error:?}");
            assert_eq!(
                error.to_string(),
                "computing a batch is not possible in a forked process: the thread that forked had computed with several \
                 threads, which are in the parent process, but the context is to use 2: call \
                 Context::set_n_threads(1, 1), use the context in a new thread, or fork before computing"
            );
            assert!(!started.context.is_poisoned());
        }
        started.context.set_n_threads(1, 1).unwrap();
        assert_eq!(started.generate(), started.expected);
    });
    // Nothing has changed here.
    assert_eq!(started.generate(), started.expected);
}

fn several_threads_before_computing() {
    let mut started = Started::unused();
    // The child computes with two threads, which this thread has not.
    in_child(|| {
        let first = started.generate();
        assert_eq!(started.generate(), first);
        started.context.set_n_threads(1, 1).unwrap();
        assert_eq!(started.generate(), first);
    });
    started.generate();
}

fn a_new_thread() {
    let mut started = Started::new();
    in_child(|| {
        let Started { model, prompt, expected, .. } = &started;
        thread::scope(|scope| {
            let work = || {
                let mut context = Context::new(model, &params().n_threads(2)).unwrap();
                assert_eq!(continuation(&mut context, prompt, SEQ, 6), *expected);
            };
            scope.spawn(work).join().unwrap();
            scope.spawn(work).join().unwrap();
        });
        // One that was made before, too.
        let moved = thread::spawn(move || started.generate() == started.expected);
        assert!(moved.join().unwrap());
    });
}

fn a_model_of_its_own() {
    let started = Started::new();
    in_child(|| {
        let model = load(Tiny::Llama);
        let adapter = LoraAdapter::load(&model, Tuned::Lora.path()).unwrap();
        let mut context = Context::new(&model, &params().n_threads(1)).unwrap();
        assert_eq!(continuation(&mut context, &started.prompt, SEQ, 6), started.expected);
        context.set_adapters(&[(&adapter, 1.0)]).unwrap();
    });
}

fn a_thread_pool_of_the_parent() {
    let mut started = Started::unused();
    let pool = Threadpool::new(&ThreadpoolParams::new(2)).unwrap();
    started.context.attach_threadpool(&pool, None).unwrap();
    started.expected = started.generate();
    let in_fork = |mut started: Started, pool: Threadpool| {
        started.context.set_n_threads(1, 1).unwrap_err();
        let mut batch = llama_core::Batch::new();
        batch.push_prompt(&started.prompt, SEQ, llama_core::Pos::new(0)).unwrap();
        // In a new thread, which may use several.
        thread::scope(|scope| {
            let context = &mut started.context;
            let decode = move || {
                let error = context.decode(&batch).unwrap_err();
                assert!(!context.is_poisoned());
                error
            };
            let error = scope.spawn(decode).join().unwrap();
            assert_eq!(
                error.to_string(),
                "computing with this thread pool is not possible in a forked process: the 2 threads of the thread pool are \
                 in the parent process: create a new pool with Threadpool::new, or compute without one in a new context"
            );
            let (model, prompt, expected) = (&started.model, &started.prompt, &started.expected);
            let own = move || {
                let pool = Threadpool::new(&ThreadpoolParams::new(2)).unwrap();
                let mut context = Context::new(model, &params().n_threads(2)).unwrap();
                context.attach_threadpool(&pool, None).unwrap();
                assert_eq!(continuation(&mut context, prompt, SEQ, 6), *expected);
            };
            scope.spawn(own).join().unwrap();
        });
        drop(started);
        drop(pool);
    };
    in_child(|| in_fork(started, pool));
}

fn a_pool_of_row_samplers() {
    let rows: Vec<Vec<f32>> = (0..4_u8)
        .map(|row| (0..=250_u8).cycle().take(300_000).map(|token| f32::from(token ^ row)).collect())
        .collect();
    let samplers = || -> Vec<RowSampler> {
        (0..4).map(|seed| SamplerChain::builder().top_k(40).dist(seed).build_row().unwrap()).collect()
    };
    let pool = RowSamplerPool::new(2).unwrap();
    let sample = |pool: &RowSamplerPool| -> Vec<Token> {
        let mut samplers = samplers();
        let mut jobs: Vec<_> = samplers.iter_mut().zip(rows.iter().map(Vec::as_slice)).collect();
        pool.sample(&mut jobs).into_iter().map(Result::unwrap).collect()
    };
    let expected = sample(&pool);
    in_child(|| {
        assert_eq!(sample(&pool), expected);
        assert_eq!(sample(&RowSamplerPool::new(2).unwrap()), expected);
        drop(pool);
    });
}

fn dropping_everything() {
    let mut started = Started::new();
    let adapter = LoraAdapter::load(&started.model, Tuned::Lora.path()).unwrap();
    started.context.set_adapters(&[(&adapter, 1.0)]).unwrap();
    let pool = Threadpool::new(&ThreadpoolParams::new(2)).unwrap();
    let chain = SamplerChain::builder().top_k(3).dist(1).build().unwrap();
    in_child(|| {
        drop((chain, adapter));
        drop(started);
        drop(pool);
    });
}

#[cfg(feature = "rpc")]
fn devices_of_other_machines() {
    use llama_core::rpc::{RpcEndpoint, RpcServer, RpcServerParams};

    let server = RpcServer::start(&RpcServerParams::default().n_threads(1)).unwrap();
    let end = RpcEndpoint::connect(&server.address().to_string()).unwrap();
    let devices = end.devices().iter().copied();
    let model = Model::load(Tiny::Llama.path(), &ModelParams::default().devices(devices)).unwrap();
    let mut context = Context::new(&model, &params()).unwrap();
    let prompt = tokens(&model, "Hello there");
    let expected = continuation(&mut context, &prompt, SEQ, 4);
    context.memory().seq_rm(SEQ, ..).unwrap();
    in_child(|| {
        let failures = [
            end.check().unwrap_err(),
            context.memory().seq_rm(SEQ, ..).unwrap_err(),
            Context::new(&model, &params()).unwrap_err(),
        ];
        assert!(
            failures.iter().all(|error| matches!(error.kind(), ErrorKind::Forked { .. })),
            "{failures:?}"
        );
        // SAFETY: only this child uses the copies; it ends without dropping the originals.
        unsafe { drop((std::ptr::read(&raw const context), std::ptr::read(&raw const model))) };
        server.stop();
    });
    // The parent has lost nothing.
    assert_eq!(continuation(&mut context, &prompt, SEQ, 4), expected);
}

fn a_child_of_a_child() {
    let mut started = Started::new();
    in_child(|| {
        started.context.set_n_threads(1, 1).unwrap();
        assert_eq!(started.generate(), started.expected);
        in_child(|| {
            assert_eq!(started.generate(), started.expected);
            started.context.set_n_threads(2, 2).unwrap();
            let mut batch = llama_core::Batch::new();
            batch.push_prompt(&started.prompt, SEQ, llama_core::Pos::new(0)).unwrap();
            if cfg!(feature = "openmp") {
                assert!(matches!(
                    started.context.decode(&batch).unwrap_err().kind(),
                    ErrorKind::Forked { .. }
                ));
            }
        });
        assert_eq!(started.generate(), started.expected);
    });
}

/// Computes and creates contexts on two threads until the body has finished.
fn while_computing(body: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    let (begun, has_begun) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..2 {
            let (begun, stop) = (begun.clone(), &stop);
            scope.spawn(move || {
                let mut other = Started::new();
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(other.generate(), other.expected);
                    Context::new(&other.model, &params()).unwrap();
                    let _ = begun.send(());
                }
            });
        }
        has_begun.recv().unwrap();
        let result = catch_unwind(AssertUnwindSafe(body));
        stop.store(true, Ordering::Relaxed);
        result.unwrap();
    });
}

fn while_other_threads_compute() {
    let mut started = Started::new();
    while_computing(|| {
        for _ in 0..20 {
            in_child(|| {
                started.context.set_n_threads(1, 1).unwrap();
                assert_eq!(started.generate(), started.expected);
            });
        }
    });
}

fn a_program() {
    let mut started = Started::new();
    while_computing(|| {
        for _ in 0..20 {
            let said = Command::new("/bin/sh").args(["-c", "echo yes"]).output().unwrap();
            assert_eq!(said.stdout, b"yes\n");
            let mut forked = Command::new("/bin/sh");
            let status = forked.args(["-c", "exit 3"]).current_dir("/").env("A", "b").status().unwrap();
            assert_eq!(status.code(), Some(3));
        }
    });
    assert_eq!(started.generate(), started.expected);
}
