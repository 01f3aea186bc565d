//! Processes that end while other threads compute.

use std::process::Command;
use std::time::Duration;
use std::{env, process, thread};

use llama_core::{Batch, Context, ContextParams, ErrorKind, Model, ModelParams, Pos, SeqId, Token};

const CHILD: &str = "LLAMA_EXIT_AFTER_MS";

/// Computes until it is not allowed to any more.
fn compute(model: &Model) {
    let params = ContextParams::default().n_ctx(64).n_batch(16).n_ubatch(16).n_threads(2);
    let mut context = Context::new(model, &params).unwrap();
    let mut batch = Batch::new();
    batch.push_prompt(&[Token::new(5); 16], SeqId::new(0), Pos::new(0)).unwrap();
    loop {
        match context.decode(&batch) {
            Ok(()) => context.memory().clear(false).unwrap(),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::ProcessEnds), "{error:?}");
                return;
            }
        }
    }
}

/// What a child does; nothing in the parent.
#[test]
fn child() {
    let Ok(delay) = env::var(CHILD) else { return };
    let model = Model::load(test_models::smollm2(), &ModelParams::default()).unwrap();
    for _ in 0..2 {
        let model = model.clone();
        thread::spawn(move || compute(&model));
    }
    thread::sleep(Duration::from_millis(delay.parse().unwrap()));
    process::exit(7);
}

#[test]
fn a_process_ends_as_it_should_while_threads_compute() {
    for delay in [0, 1, 10, 50, 100, 200, 300, 400] {
        let status = Command::new(env::current_exe().unwrap())
            .args(["child", "--exact", "--test-threads=1"])
            .env(CHILD, delay.to_string())
            .output()
            .unwrap()
            .status;
        assert_eq!(status.code(), Some(7), "after {delay} ms: {status}");
    }
}
