//! Tests that graphs are checked when they are planned, and not when they are computed again.
//!
//! `cargo test --release -p llama-core --lib graph::tests::cost -- --nocapture` prints the time of each check, for
//! docs/benchmarks.md.

use core::cell::RefCell;
use std::time::{Duration, Instant};

use test_models::Tiny;

use crate::batch::Batch;
use crate::context::{Context, ContextParams};
use crate::model::{Model, ModelParams};
use crate::token::{Pos, SeqId, Token};

thread_local! {
    /// Number of nodes and checking time of each graph that this thread has checked.
    static SEEN: RefCell<Vec<(usize, Duration)>> = const { RefCell::new(Vec::new()) };
}

/// Records the time until it is dropped.
pub(in crate::graph) struct Timer(usize, Instant);

impl Timer {
    pub(in crate::graph) fn start(nodes: usize) -> Self {
        Self(nodes, Instant::now())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        SEEN.with_borrow_mut(|seen| seen.push((self.0, self.1.elapsed())));
    }
}

fn step(context: &mut Context, pos: i32) {
    let mut batch = Batch::new();
    batch.push(Token::new(5), Pos::new(pos), &[SeqId::new(0)], true).unwrap();
    context.decode(&batch).unwrap();
}

/// Returns the graphs checked while a context was created, for a prompt, and for the steps after it.
fn checked(path: &std::path::Path) -> [Vec<(usize, Duration)>; 3] {
    let take = || SEEN.with_borrow_mut(core::mem::take);
    let model = Model::load(path, &ModelParams::default()).unwrap();
    take();
    let mut context = Context::new(&model, &ContextParams::default().n_ctx(256).n_threads(1)).unwrap();
    let created = take();
    step(&mut context, 0);
    let first = take();
    (1..20).for_each(|pos| step(&mut context, pos));
    [created, first, take()]
}

#[test]
#[allow(clippy::print_stdout, reason = "figures for the documentation")]
fn graphs_are_checked_when_they_are_planned() {
    for path in [Tiny::Llama.path(), test_models::smollm2()] {
        let [created, first, steps] = checked(&path);
        println!("{}: {created:?}, first step {first:?}, 19 steps {steps:?}", path.display());
        assert!((2..=8).contains(&created.len()), "{created:?}");
        assert_eq!((first.len(), steps.len()), (1, 0), "{first:?} {steps:?}");
    }
}
