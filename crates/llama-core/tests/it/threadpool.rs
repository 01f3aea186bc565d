//! Thread pools: checked, counted, and never used by two threads at once.

use std::thread;

use crate::greedy::{SEQ, continuation, decode, difference, ids, load, logits_after, params, tokens};
use llama_core::threadpool::{ThreadPriority, ThreadpoolParams};
use llama_core::{AbortFlag, Context, DecodeError, Error, ErrorKind, Model, Threadpool};
use test_models::Tiny;

fn pool(n_threads: u32) -> Threadpool {
    // Without spinning: tests run side by side.
    Threadpool::new(&ThreadpoolParams::new(n_threads).poll(0)).unwrap()
}

fn two_threads(model: &Model) -> Context {
    Context::new(model, &params().n_threads(2).n_threads_batch(2)).unwrap()
}

#[track_caller]
fn assert_invalid<T: std::fmt::Debug>(result: Result<T, Error>, parameter: &str, words: &str) {
    let error = result.unwrap_err();
    match error.kind() {
        ErrorKind::InvalidParameter(problem) => assert_eq!(problem.name, parameter),
        other => panic!("{other:?}"),
    }
    assert!(error.to_string().contains(words), "{words:?} is not in: {error}");
}

/// Returns the online processors, as Linux lists them.
fn online() -> Option<String> {
    std::fs::read_to_string("/sys/devices/system/cpu/online").ok()
}

#[test]
fn parameters_outside_their_range() {
    for n_threads in [0, 513, u32::MAX] {
        let refused = Threadpool::new(&ThreadpoolParams::new(n_threads));
        assert_invalid(refused, "n_threads", "must be from 1 to 512");
    }
    for poll in [101, u32::MAX] {
        let refused = Threadpool::new(&ThreadpoolParams::new(1).poll(poll));
        assert_invalid(refused, "poll", ", but must be from 0 to 100");
    }
    for cpu in [512, u32::MAX] {
        let refused = Threadpool::new(&ThreadpoolParams::new(1).cpus([0, cpu]));
        assert_invalid(refused, "cpus", "0..512");
    }
    if online().is_some_and(|list| !list.contains("511")) {
        let refused = Threadpool::new(&ThreadpoolParams::new(1).cpus([0, 511]));
        assert_invalid(refused, "cpus", "must be one of the processors of this machine, 0");
    }
}

#[test]
fn pools_say_what_they_are() {
    let params = ThreadpoolParams::new(2).poll(0).cpus([0]).strict_cpu(true).priority(ThreadPriority::Low);
    let pool = Threadpool::new(&params).unwrap();
    assert_eq!((pool.n_threads(), pool.params()), (2, &params));
    assert!(pool.is_same(&pool.clone()) && !pool.is_same(&Threadpool::new(&params).unwrap()));
    assert!(format!("{pool:?}").contains("n_threads: 2"));
}

/// Higher priorities need permission. Without it, ggml would complain to stderr with every computation.
#[test]
fn higher_priorities_need_permission() {
    for priority in [ThreadPriority::Medium, ThreadPriority::High, ThreadPriority::Realtime] {
        match Threadpool::new(&ThreadpoolParams::new(2).poll(0).priority(priority)) {
            // It sleeps until it is used, and is not.
            Ok(pool) => assert_eq!(pool.params(), &ThreadpoolParams::new(2).poll(0).priority(priority)),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error:?}");
                assert!(error.to_string().contains("CAP_SYS_NICE"), "{error}");
            }
        }
    }
}

#[test]
fn pools_compute_what_contexts_compute_without() {
    for tiny in [Tiny::Llama, Tiny::LlamaQ8, Tiny::Mamba] {
        let model = load(tiny);
        let prompt = tokens(&model, "Hello world, this is a test");
        let expected = ids(&continuation(&mut two_threads(&model), &prompt, SEQ, 8));
        let mut context = two_threads(&model);
        let (one, two) = (pool(2), pool(2));
        for batch in [None, Some(&one), Some(&two)] {
            context.attach_threadpool(&one, batch).unwrap();
            context.memory().clear(false).unwrap();
            assert_eq!(ids(&continuation(&mut context, &prompt, SEQ, 8)), expected, "{tiny}");
        }
        context.detach_threadpool().unwrap();
        context.memory().clear(false).unwrap();
        assert_eq!(ids(&continuation(&mut context, &prompt, SEQ, 8)), expected, "{tiny}");
    }
}

#[test]
fn options_of_threads_change_no_result() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world");
    let expected = logits_after(&mut two_threads(&model), &prompt, SEQ, 0);
    let params = || ThreadpoolParams::new(2).poll(0);
    let options = [
        params().cpus([0]),
        params().cpus([0]).strict_cpu(true),
        params().priority(ThreadPriority::Low),
        params().paused(false),
        params().poll(100),
    ];
    for options in options {
        // In a thread of its own, which gets the pool's processors and priority.
        let model = model.clone();
        let prompt = prompt.clone();
        let found = thread::spawn(move || {
            let mut context = two_threads(&model);
            context.attach_threadpool(&Threadpool::new(&options).unwrap(), None).unwrap();
            logits_after(&mut context, &prompt, SEQ, 0)
        });
        assert!(difference(&expected, &found.join().unwrap()) < 1e-3);
    }
}

/// More threads than the pool has are refused. With OpenMP, ggml would look for the missing threads beyond the end of
/// the pool.
#[test]
fn more_threads_than_a_pool_has() {
    let model = load(Tiny::Llama);
    let mut context = two_threads(&model);
    let (one, two) = (pool(1), pool(2));
    assert_invalid(
        context.attach_threadpool(&one, None),
        "n_threads",
        "must be at most 1, the threads of the pool",
    );
    assert_invalid(context.attach_threadpool(&one, Some(&two)), "n_threads", "n_threads is 2");
    assert_invalid(context.attach_threadpool(&two, Some(&one)), "n_threads_batch", "n_threads_batch is 2");
    context.attach_threadpool(&two, None).unwrap();
    assert_invalid(context.set_n_threads(3, 1), "n_threads", "must be at most 2, the threads of the pool");
    assert_invalid(
        context.set_n_threads(1, 3),
        "n_threads_batch",
        "must be at most 2, the threads of the pool",
    );
    assert_eq!((context.n_threads(), context.n_threads_batch()), (2, 2));
    context.set_n_threads(1, 2).unwrap();
    decode(&mut context, &tokens(&model, "Hello world"), SEQ, 0);
    context.attach_threadpool(&one, Some(&two)).unwrap();
    decode(&mut context, &tokens(&model, "Hello world")[..1], SEQ, 8);
    context.detach_threadpool().unwrap();
    context.set_n_threads(3, 3).unwrap();
}

/// Pools outlive their handles: the CPU backend keeps the address of the last pool until it computes with another or
/// none.
#[test]
fn pools_outlive_their_handles() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world");
    let expected = logits_after(&mut two_threads(&model), &prompt, SEQ, 0);
    let mut context = two_threads(&model);
    let next = |context: &mut Context| {
        context.memory().clear(false).unwrap();
        assert!(difference(&expected, &logits_after(context, &prompt, SEQ, 0)) < 1e-3);
    };
    for _ in 0..3 {
        context.attach_threadpool(&pool(2), None).unwrap();
        next(&mut context);
        context.detach_threadpool().unwrap();
        next(&mut context);
        context.attach_threadpool(&pool(2), Some(&pool(2))).unwrap();
        next(&mut context);
        context.attach_threadpool(&pool(2), None).unwrap();
        // Exchanged before it was used.
        context.attach_threadpool(&pool(2), Some(&pool(2))).unwrap();
        next(&mut context);
    }
    // Attached until the end.
    drop(context);
    drop(two_threads(&model).attach_threadpool(&pool(2), None));
}

/// Exchanges pools while no computation ends, so that the backend may hold the address of any of them.
#[test]
fn pools_exchanged_between_aborts() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world");
    let mut context = two_threads(&model);
    context.set_abort_callback(|| true).unwrap();
    let mut attached = 0;
    let error = loop {
        if let Err(error) = context.attach_threadpool(&pool(2), None) {
            break error;
        }
        attached += 1;
        let mut batch = llama_core::Batch::new();
        batch.push_prompt(&prompt, SEQ, llama_core::Pos::new(0)).unwrap();
        let error = context.decode(&batch).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Decode(DecodeError::Aborted)), "{error:?}");
    };
    assert_eq!(attached, 4);
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error:?}");
    // Detaching is always possible, and the next whole computation lets go of all.
    context.detach_threadpool().unwrap();
    context.clear_abort_callback().unwrap();
    decode(&mut context, &prompt, SEQ, 0);
    context.attach_threadpool(&pool(2), None).unwrap();
    decode(&mut context, &prompt[..1], SEQ, prompt.len());
}

/// Two contexts of two threads use two pools in the opposite order: each waits for the other, and never for itself.
#[test]
fn contexts_of_several_threads_share_pools() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world");
    let expected = ids(&continuation(&mut two_threads(&model), &prompt, SEQ, 6));
    let (one, two) = (pool(2), pool(2));
    let pairs = [(one.clone(), two.clone()), (two.clone(), one.clone()), (one, two)];
    let threads: Vec<_> = pairs
        .into_iter()
        .map(|(generation, batch)| {
            let (model, prompt, expected) = (model.clone(), prompt.clone(), expected.clone());
            thread::spawn(move || {
                let mut context = two_threads(&model);
                context.attach_threadpool(&generation, Some(&batch)).unwrap();
                drop((generation, batch));
                for _ in 0..2 {
                    context.memory().clear(false).unwrap();
                    assert_eq!(ids(&continuation(&mut context, &prompt, SEQ, 6)), expected);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn aborts_leave_a_pool_ready() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world");
    let expected = logits_after(&mut two_threads(&model), &prompt, SEQ, 0);
    let mut context = two_threads(&model);
    context.attach_threadpool(&pool(2), None).unwrap();
    let flag = AbortFlag::new();
    for left in [1, 5, 20] {
        let (mut left, raise) = (left, flag.clone());
        context
            .set_abort_callback(move || {
                left -= 1;
                if left == 0 {
                    raise.abort();
                }
                raise.is_aborted()
            })
            .unwrap();
        let mut batch = llama_core::Batch::new();
        batch.push_prompt(&prompt, SEQ, llama_core::Pos::new(0)).unwrap();
        assert!(context.decode(&batch).is_err());
        flag.reset();
    }
    context.clear_abort_callback().unwrap();
    assert!(difference(&expected, &logits_after(&mut context, &prompt, SEQ, 0)) < 1e-3);
}
