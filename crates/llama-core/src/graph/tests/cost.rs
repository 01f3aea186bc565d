//! What the check of a graph costs: less than a millisecond for each that is planned, and nothing for those that are not.
//!
//! `cargo test --release -p llama-core --lib graph::tests::cost -- --nocapture` prints the numbers of docs/benchmarks.md.

use core::cell::RefCell;
use std::time::{Duration, Instant};

use test_models::Tiny;

use crate::batch::Batch;
use crate::context::{Context, ContextParams};
use crate::model::{Model, ModelParams};
use crate::token::{Pos, SeqId, Token};

thread_local! {
    /// The nodes and the time of each graph that this thread has looked through.
    static SEEN: RefCell<Vec<(usize, Duration)>> = const { RefCell::new(Vec::new()) };
}

/// Notes the time until it is dropped.
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

/// The graphs of a context's creation, of a prompt, and of steps after it.
fn looked_at(path: &std::path::Path) -> [Vec<(usize, Duration)>; 3] {
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
fn graphs_are_looked_at_when_they_are_planned() {
    let mut paths = vec![("tiny llama", Tiny::Llama.path())];
    // Where it was downloaded.
    let real = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/models");
    let entries = std::fs::read_dir(real).into_iter().flatten().flatten().map(|entry| entry.path());
    paths.extend(
        entries.filter(|path| path.extension().is_some_and(|ext| ext == "gguf")).map(|path| ("real", path)),
    );
    for (name, path) in paths {
        let [created, first, steps] = looked_at(&path);
        println!("{name} {}: {created:?}, first step {first:?}, 19 steps {steps:?}", path.display());
        assert!((2..=8).contains(&created.len()), "{created:?}");
        assert_eq!((first.len(), steps.len()), (1, 0), "{first:?} {steps:?}");
        let least = created.iter().chain(&first).map(|(_, time)| *time).min().unwrap();
        let limit = Duration::from_millis(if cfg!(debug_assertions) { 100 } else { 1 });
        assert!(least < limit, "{least:?}");
    }
}
