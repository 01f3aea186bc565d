//! One model on many threads: each has a context of its own, and contexts move between threads.

use std::sync::{Condvar, Mutex, mpsc};
use std::thread;

use crate::greedy::{
    self, SEQ, continuation, decode, fresh_continuation, load, load_smollm2, params, tokens,
};
use llama_core::{Batch, Context, Logits, Memory, Model, SamplerChain, Token, Vocab};
use test_models::Tiny;

/// Lets two threads compute at once, because ggml's threads wait by spinning and there are two processors.
struct Two {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Two {
    fn new() -> Self {
        Self { free: Mutex::new(2), freed: Condvar::new() }
    }

    fn with<R>(&self, run: impl FnOnce() -> R) -> R {
        let mut free = self.freed.wait_while(self.free.lock().unwrap(), |free| *free == 0).unwrap();
        *free -= 1;
        drop(free);
        let result = run();
        *self.free.lock().unwrap() += 1;
        self.freed.notify_one();
        result
    }
}

/// Returns the continuations of eight threads, each with its own prompt, a few tokens at a time so that they
/// interleave.
fn eight_threads(model: &Model, prompts: &[Vec<Token>]) -> Vec<Vec<Token>> {
    let two = Two::new();
    thread::scope(|scope| {
        let threads: Vec<_> = prompts
            .iter()
            .map(|prompt| {
                let (two, model) = (&two, model.clone());
                scope.spawn(move || {
                    let mut context = two.with(|| Context::new(&model, &params()).unwrap());
                    let mut found = two.with(|| continuation(&mut context, prompt, SEQ, 1));
                    while found.len() < 12 {
                        two.with(|| {
                            let last = found[found.len() - 1];
                            decode(&mut context, &[last], SEQ, prompt.len() + found.len() - 1);
                            found.push(context.logits(0).unwrap().argmax());
                        });
                    }
                    found
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn assert_same_as_alone(model: &Model) {
    let prompts: Vec<Vec<Token>> =
        (0..8).map(|n| tokens(model, &format!("Once upon a time there were {n} of them"))).collect();
    let alone: Vec<Vec<Token>> = prompts.iter().map(|prompt| fresh_continuation(model, prompt, 12)).collect();
    assert_eq!(eight_threads(model, &prompts), alone);
}

#[test]
fn eight_contexts_in_eight_threads() {
    assert_same_as_alone(&load(Tiny::Llama));
    assert_same_as_alone(&load(Tiny::Mamba));
}

#[test]
fn eight_contexts_of_smollm2_in_eight_threads() {
    assert_same_as_alone(&load_smollm2());
}

#[test]
fn context_moves_between_threads_while_it_generates() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world");
    let expected = fresh_continuation(&model, &prompt, 10);
    let mut context = Context::new(&model, &params()).unwrap();
    decode(&mut context, &prompt, SEQ, 0);
    let mut found = vec![context.logits(prompt.len() - 1).unwrap().argmax()];
    drop(model);
    while found.len() < 10 {
        let (last, place) = (found[found.len() - 1], prompt.len() + found.len() - 1);
        // A new thread for each token, which ends before the next begins.
        let (moved, token) = thread::spawn(move || {
            decode(&mut context, &[last], SEQ, place);
            let token = context.logits(0).unwrap().argmax();
            (context, token)
        })
        .join()
        .unwrap();
        context = moved;
        found.push(token);
    }
    assert_eq!(found, expected);
}

#[test]
fn context_is_made_here_used_there_and_dropped_elsewhere() {
    let model = load(Tiny::Jamba);
    let prompt = tokens(&model, "Hello world");
    let expected = fresh_continuation(&model, &prompt, 6);
    let context = Context::new(&model, &params()).unwrap();
    let (sender, receiver) = mpsc::channel();
    let worker = thread::spawn(move || {
        let mut context = context;
        sender.send(continuation(&mut context, &prompt, SEQ, 6)).unwrap();
        context
    });
    assert_eq!(receiver.recv().unwrap(), expected);
    let context = worker.join().unwrap();
    thread::spawn(move || drop(context)).join().unwrap();
    drop(model);
}

#[test]
fn two_threads_of_ggml_give_what_one_gives() {
    let model = load_smollm2();
    let prompt = tokens(&model, "The capital of France is");
    let mut context = Context::new(&model, &params().n_threads(2)).unwrap();
    assert_eq!(continuation(&mut context, &prompt, SEQ, 8), fresh_continuation(&model, &prompt, 8));
    // And a context changes its mind on the way.
    context.memory().clear(false).unwrap();
    let first = continuation(&mut context, &prompt, SEQ, 4);
    context.set_n_threads(1, 1).unwrap();
    let rest = greedy::go_on(&mut context, SEQ, prompt.len() + 3, first[3], 5);
    assert_eq!([&first[..3], &rest[..]].concat(), fresh_continuation(&model, &prompt, 8));
}

#[test]
fn what_may_go_to_other_threads() {
    const fn send<T: Send>() {}
    const fn sync<T: Sync>() {}
    send::<Model>();
    sync::<Model>();
    send::<Vocab<'_>>();
    sync::<Vocab<'_>>();
    send::<Context>();
    send::<Memory<'_>>();
    send::<Logits<'_>>();
    sync::<Logits<'_>>();
    send::<Batch>();
    sync::<Batch>();
    send::<SamplerChain>();
    send::<llama_core::Error>();
    sync::<llama_core::Error>();
}

/// Checks types that must not be shared: for a type that is `Sync` the call below is ambiguous and does not compile.
/// tests/ui/context_is_not_sync.rs checks this too, but depends on the compiler's messages.
#[test]
fn what_may_not_be_shared_with_other_threads() {
    trait NotSync<Which> {
        fn assert() {}
    }
    struct IsSync;
    impl<T: ?Sized> NotSync<()> for T {}
    impl<T: ?Sized + Sync> NotSync<IsSync> for T {}
    <Context as NotSync<_>>::assert();
    <SamplerChain as NotSync<_>>::assert();
}
