//! Thread pools, and contexts that compute with them.

use llama_core::threadpool::{ThreadPriority, ThreadpoolParams};
use llama_core::{Context, Threadpool};

use crate::Case;
use crate::memory::go_on;
use crate::subjects::{Subjects, each_context};
use crate::values::{BOOLS, U32};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("ThreadpoolParams::new", |walk, _| {
        U32.iter().for_each(|n| start(walk, &ThreadpoolParams::new(*n).poll(0)));
    }),
    ("ThreadpoolParams::priority", |walk, _| {
        let all = [
            ThreadPriority::Low,
            ThreadPriority::Normal,
            ThreadPriority::Medium,
            ThreadPriority::High,
            ThreadPriority::Realtime,
        ];
        all.iter().for_each(|priority| start(walk, &small().priority(*priority)));
    }),
    ("ThreadpoolParams::poll", |walk, _| {
        U32.into_iter().chain([100, 101]).for_each(|poll| start(walk, &small().poll(poll)));
    }),
    ("ThreadpoolParams::cpus", |walk, _| {
        for cpus in U32.into_iter().flat_map(|cpu| [vec![cpu], vec![0, cpu], vec![cpu; 1000]]) {
            start(walk, &small().cpus(cpus.clone()).strict_cpu(true));
            start(walk, &small().cpus(cpus));
        }
        start(walk, &small().cpus([]).strict_cpu(true));
    }),
    ("ThreadpoolParams::strict_cpu", |walk, _| {
        BOOLS.iter().for_each(|strict| start(walk, &small().strict_cpu(*strict)));
    }),
    ("ThreadpoolParams::paused", |walk, _| {
        BOOLS.iter().for_each(|paused| start(walk, &small().paused(*paused)));
    }),
    ("Threadpool::new", |walk, _| {
        for _ in 0..20 {
            start(walk, &small());
        }
    }),
    ("Threadpool::params", |walk, _| walk.run("", || assert_eq!(*pool(2).params(), small()))),
    ("Threadpool::as_ptr", |walk, _| walk.run("", || assert!(!pool(2).as_ptr().is_null()))),
    ("Threadpool::n_threads", |walk, _| walk.run("", || assert_eq!(pool(2).n_threads(), 2))),
    ("Threadpool::is_same", |walk, _| walk.run("", || assert!(!pool(1).is_same(&pool(1))))),
    ("Context::attach_threadpool", attach),
    ("Context::detach_threadpool", |walk, subjects| {
        each_context(walk, subjects, |walk, context| {
            (0..2).for_each(|_| _ = walk.call("without", || context.detach_threadpool()));
            walk.call("attached", || context.attach_threadpool(&pool(1), None));
            (0..2).for_each(|_| _ = walk.call("at once", || context.detach_threadpool()));
            walk.call("attached again", || context.attach_threadpool(&pool(1), None));
            go_on(walk, context);
            walk.call("after a batch", || context.detach_threadpool());
            go_on(walk, context);
        });
    }),
];

/// Returns parameters without spinning, because other programs run at the same time.
fn small() -> ThreadpoolParams {
    ThreadpoolParams::new(2).poll(0)
}

fn pool(n_threads: u32) -> Threadpool {
    Threadpool::new(&ThreadpoolParams::new(n_threads).poll(0)).unwrap()
}

/// Starts a pool, if possible, and ends it.
fn start(walk: &mut Walk, params: &ThreadpoolParams) {
    walk.call(format!("{params:.80?}"), || Threadpool::new(params));
}

/// Attaches pools that are too small, equal ones, different ones after each batch and without one between, and pools
/// shared with another context.
fn attach(walk: &mut Walk, subjects: &mut Subjects) {
    let shared = pool(1);
    each_context(walk, subjects, |walk, context| {
        for (one, many) in [(1, None), (2, Some(1)), (1, Some(2))] {
            let many = many.map(pool);
            walk.call(format!("{one} {many:.40?}"), || context.attach_threadpool(&pool(one), many.as_ref()));
            go_on(walk, context);
        }
        walk.call("shared", || context.attach_threadpool(&shared, Some(&shared)));
        threads(walk, context);
        go_on(walk, context);
        for _ in 0..6 {
            walk.call("another", || context.attach_threadpool(&pool(1), Some(&pool(1))));
        }
        go_on(walk, context);
        walk.call("detached", || context.detach_threadpool());
        walk.call("two threads", || context.set_n_threads(2, 2));
        walk.call("too small", || context.attach_threadpool(&shared, None));
        walk.call("one thread", || context.set_n_threads(1, 1));
        go_on(walk, context);
    });
}

/// Uses more threads than the pool has.
fn threads(walk: &mut Walk, context: &mut Context) {
    for n in U32 {
        walk.call(format!("{n} threads"), || context.set_n_threads(n, n));
    }
    walk.call("one thread", || context.set_n_threads(1, 1));
}
