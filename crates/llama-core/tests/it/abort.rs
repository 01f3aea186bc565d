//! Stopping a computation: by a flag, by a callback, by a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use crate::greedy::{SEQ, decode, difference, load, load_smollm2, logits_after, params, tokens};
use llama_core::{AbortFlag, Batch, Context, DecodeError, Error, ErrorKind, Model, Pos, Token};
use test_models::Tiny;

fn batch_of(prompt: &[Token], first: i32) -> Batch {
    let mut batch = Batch::new();
    batch.push_prompt(prompt, SEQ, Pos::new(first)).unwrap();
    batch
}

#[track_caller]
fn assert_aborted(result: Result<(), Error>) {
    let error = result.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Decode(DecodeError::Aborted)), "{error:?}");
    assert!(!DecodeError::Aborted.memory_is_restored());
    assert!(error.to_string().starts_with("decoding was aborted by the abort callback"), "{error}");
}

fn fresh(model: &Model, prompt: &[Token]) -> Vec<f32> {
    logits_after(&mut Context::new(model, &params()).unwrap(), prompt, SEQ, 0)
}

#[test]
fn a_raised_flag_stops_what_begins() {
    for tiny in [Tiny::Llama, Tiny::Mamba, Tiny::Jamba] {
        let model = load(tiny);
        let prompt = tokens(&model, "Hello world");
        let mut context = Context::new(&model, &params()).unwrap();
        let flag = AbortFlag::new();
        context.set_abort_flag(&flag).unwrap();
        assert!(!flag.is_aborted());
        decode(&mut context, &prompt[..3], SEQ, 0);
        flag.clone().abort();
        assert!(flag.is_aborted());
        // Twice: it stays on, and the memory stays what it was.
        for _ in 0..2 {
            assert_aborted(context.decode(&batch_of(&prompt[3..], 3)));
            assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), Some(Pos::new(2)), "{tiny}");
        }
        flag.reset();
        let found = logits_after(&mut context, &prompt[3..], SEQ, 3);
        assert!(difference(&fresh(&model, &prompt), &found) < 1e-3, "{tiny}");
        // Without the flag, nobody looks at it.
        flag.abort();
        context.clear_abort_callback().unwrap();
        context.memory().clear(false).unwrap();
        assert!(logits_after(&mut context, &prompt, SEQ, 0) == fresh(&model, &prompt), "{tiny}");
    }
}

#[test]
fn encoders_stop_too() {
    for tiny in [Tiny::Bert, Tiny::T5] {
        let model = load(tiny);
        let prompt = tokens(&model, "hello world");
        let mut context = Context::new(&model, &params().embeddings(true)).unwrap();
        let mut answer = true;
        context
            .set_abort_callback(move || {
                // Once.
                std::mem::take(&mut answer)
            })
            .unwrap();
        assert_aborted(context.encode(&batch_of(&prompt, 0)));
        if tiny == Tiny::T5 {
            let error = context.decode(&batch_of(&[Token::new(0)], 0)).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "nothing was encoded: {error:?}");
        }
        context.encode(&batch_of(&prompt, 0)).unwrap();
    }
}

/// Stops a prompt from another thread. The prompt takes many times longer than raising the flag.
#[test]
fn another_thread_stops_a_long_prompt() {
    let model = load_smollm2();
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(80);
    let prompt = tokens(&model, &text);
    let n_ctx = u32::try_from(prompt.len()).unwrap() + 256;
    let mut context = Context::new(&model, &params().n_ctx(n_ctx).n_ubatch(64)).unwrap();
    let flag = AbortFlag::new();
    // The callback says when the computation has begun.
    let (begun, wait) = mpsc::channel();
    let asked = flag.clone();
    context
        .set_abort_callback(move || {
            let _ = begun.send(());
            asked.is_aborted()
        })
        .unwrap();
    let stopper = thread::spawn(move || {
        wait.recv().unwrap();
        flag.abort();
    });
    assert_aborted(context.decode(&batch_of(&prompt, 0)));
    stopper.join().unwrap();
    let last = context.memory().seq_pos_max(SEQ).unwrap().map_or(-1, Pos::get);
    assert!((last + 1) % 64 == 0 && last + 1 < i32::try_from(prompt.len()).unwrap(), "{last}");
    // What is left is good.
    context.clear_abort_callback().unwrap();
    let done = usize::try_from(last + 1).unwrap();
    logits_after(&mut context, &prompt[done..done + 8], SEQ, done);
}

#[test]
fn one_flag_stops_several_contexts() {
    let model = load(Tiny::Llama);
    let flag = AbortFlag::new();
    let contexts: Vec<Context> = (0..2)
        .map(|_| {
            let mut context = Context::new(&model, &params()).unwrap();
            context.set_abort_flag(&flag).unwrap();
            context
        })
        .collect();
    flag.abort();
    let threads = contexts.into_iter().map(|mut context| {
        thread::spawn(move || assert_aborted(context.decode(&batch_of(&[Token::new(5)], 0))))
    });
    threads.for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_panic_of_the_callback_arrives() {
    for tiny in [Tiny::Llama, Tiny::Mamba] {
        let model = load(tiny);
        let prompt = tokens(&model, "Hello world");
        let mut context = Context::new(&model, &params()).unwrap();
        let mut calls = 0;
        context
            .set_abort_callback(move || {
                calls += 1;
                assert!(calls != 5, "the fifth time");
                false
            })
            .unwrap();
        let caught = catch_unwind(AssertUnwindSafe(|| context.decode(&batch_of(&prompt, 0)))).unwrap_err();
        assert_eq!(*caught.downcast_ref::<&str>().unwrap(), "the fifth time");
        // As after an abort, and the callback is asked again.
        assert!(!context.is_poisoned());
        assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), None, "{tiny}");
        assert!(context.logits(0).is_err());
        assert!(logits_after(&mut context, &prompt, SEQ, 0) == fresh(&model, &prompt), "{tiny}");
    }
}

/// Moving keys to new positions is completed, because otherwise the next batches would see some of them twice.
#[test]
fn moving_of_positions_is_not_stopped() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world, here it is");
    let shifted = |stop: bool| {
        let mut context = Context::new(&model, &params()).unwrap();
        decode(&mut context, &prompt, SEQ, 0);
        context.memory().seq_rm(SEQ, ..4).unwrap();
        context.memory().seq_add(SEQ, .., -4).unwrap();
        let next = prompt.len() - 4;
        if stop {
            context.set_abort_callback(|| true).unwrap();
            // It is not asked, and the batch is computed.
            decode(&mut context, &prompt[..2], SEQ, next);
            // Nothing is to be moved any more.
            assert_aborted(context.decode(&batch_of(&prompt[2..4], i32::try_from(next).unwrap() + 2)));
            context.clear_abort_callback().unwrap();
        } else {
            decode(&mut context, &prompt[..2], SEQ, next);
        }
        logits_after(&mut context, &prompt[2..4], SEQ, next + 2)
    };
    assert!(shifted(true) == shifted(false));
    // A flag that is up already keeps all of it waiting.
    let mut context = Context::new(&model, &params()).unwrap();
    decode(&mut context, &prompt, SEQ, 0);
    context.memory().seq_rm(SEQ, ..4).unwrap();
    context.memory().seq_add(SEQ, .., -4).unwrap();
    let flag = AbortFlag::new();
    flag.abort();
    context.set_abort_flag(&flag).unwrap();
    let next = prompt.len() - 4;
    assert_aborted(context.decode(&batch_of(&prompt[..2], i32::try_from(next).unwrap())));
    flag.reset();
    decode(&mut context, &prompt[..2], SEQ, next);
    assert!(logits_after(&mut context, &prompt[2..4], SEQ, next + 2) == shifted(false));
}

#[test]
fn callbacks_are_dropped_with_the_context_or_replaced() {
    let model = load(Tiny::Llama);
    let alive = std::sync::Arc::new(());
    let mut context = Context::new(&model, &params()).unwrap();
    for _ in 0..3 {
        let held = alive.clone();
        context.set_abort_callback(move || std::sync::Arc::strong_count(&held) == 0).unwrap();
        assert_eq!(std::sync::Arc::strong_count(&alive), 2);
        decode(&mut context, &[Token::new(5)], SEQ, 0);
        context.memory().clear(false).unwrap();
    }
    drop(context);
    assert_eq!(std::sync::Arc::strong_count(&alive), 1);
}
