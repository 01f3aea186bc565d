//! Contexts made from contexts, and functions of a whole context.

use llama_core::{AbortFlag, Context};

use crate::Case;
use crate::context::plain;
use crate::memory::go_on;
use crate::subjects::{Subjects, each_context, try_fill};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Context::try_clone", try_clone),
    ("Context::warm_up", warm_up),
    ("Context::params", |walk, subjects| plain(walk, subjects, |context| _ = context.params())),
    ("Context::n_rs_seq", |walk, subjects| plain(walk, subjects, |context| _ = context.n_rs_seq())),
];

fn try_clone(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        let Some(mut clone) = walk.call("", || context.try_clone()) else { return };
        go_on(walk, context);
        walk.call("the clone", || try_fill(&mut clone));
        let again = walk.call("of the clone", || clone.try_clone());
        drop(clone);
        if let Some(mut again) = again {
            walk.call("the clone's clone", || try_fill(&mut again));
        }
    });
}

/// Warms up contexts in use and new ones, twice, and stopped.
fn warm_up(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        let warm_up = |walk: &mut Walk, what, context: &mut Context| {
            walk.call(what, || context.warm_up());
        };
        warm_up(walk, "as it is", context);
        if walk.is_poisoned() {
            return;
        }
        if context.has_memory() {
            context.memory().clear(true).unwrap();
        }
        warm_up(walk, "empty", context);
        warm_up(walk, "again", context);
        let flag = AbortFlag::new();
        flag.abort();
        context.set_abort_flag(&flag).unwrap();
        warm_up(walk, "stopped", context);
        context.clear_abort_callback().unwrap();
        walk.call("used", || try_fill(context));
    });
}
