//! Stopping computations, at every moment.

use std::panic::{AssertUnwindSafe, catch_unwind};

use llama_core::{AbortFlag, Context};

use crate::Case;
use crate::memory::go_on;
use crate::subjects::{Subjects, each_context, fill, try_fill};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("AbortFlag::new", |walk, _| walk.run("", || assert!(!AbortFlag::new().is_aborted()))),
    ("AbortFlag::abort", |walk, _| walk.run("", || (0..2).for_each(|_| AbortFlag::new().abort()))),
    ("AbortFlag::is_aborted", |walk, _| walk.run("", || assert!(!AbortFlag::default().is_aborted()))),
    ("AbortFlag::reset", |walk, _| walk.run("", || AbortFlag::new().reset())),
    ("Context::set_abort_flag", set_flag),
    ("Context::set_abort_callback", set_callback),
    ("Context::clear_abort_callback", |walk, subjects| {
        each_context(walk, subjects, |walk, context| {
            (0..2).for_each(|_| _ = walk.call("", || context.clear_abort_callback()));
        });
    }),
];

fn set_flag(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        let flag = AbortFlag::new();
        for _ in 0..2 {
            walk.call("off", || context.set_abort_flag(&flag));
            go_on(walk, context);
            flag.abort();
            walk.call("on", || context.set_abort_flag(&flag));
            let computed = walk.call("a batch", || try_fill(context));
            assert!(computed.is_none());
            flag.reset();
        }
        drop(flag);
        go_on(walk, context);
        walk.call("cleared", || context.clear_abort_callback());
    });
}

/// Sets callbacks that stop or panic at each of their first calls.
fn set_callback(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        for after in [0, 1, 2, 7, 40, u32::MAX] {
            let mut left = after;
            walk.call(after, || {
                context.set_abort_callback(move || {
                    left = left.saturating_sub(1);
                    left == 0
                })
            });
            batches(walk, context);
        }
        for after in [0, 3, 30] {
            let mut left = after;
            walk.call(format!("panics after {after}"), || {
                context.set_abort_callback(move || {
                    assert!(left > 0, "on purpose");
                    left -= 1;
                    false
                })
            });
            batches(walk, context);
        }
        walk.call("cleared", || context.clear_abort_callback());
        if !walk.is_poisoned() {
            fill(context);
        }
    });
}

/// Computes batches that may be stopped, and reads their results.
fn batches(walk: &mut Walk, context: &mut Context) {
    for _ in 0..2 {
        // It is the walk that fails with what is found, and not the thread.
        let filled = walk.run("a batch", || catch_unwind(AssertUnwindSafe(|| try_fill(context))));
        walk.call("what came of it", || filled.unwrap_or(Ok(())).and(context.synchronize()));
        let _ = context.logits(2).map(|row| row.argmax());
    }
}
