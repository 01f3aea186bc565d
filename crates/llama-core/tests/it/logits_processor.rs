//! Processors of logits: their changes, and sampling afterwards.

use crate::greedy::{self, SEQ, load, params, tokens};
use llama_core::logits::{LogitsProcessor, LogitsProcessors};
use llama_core::{Batch, Context, ErrorKind, Pos, SamplerChain, SeqId, Token};
use test_models::Tiny;

/// Returns a context with results of two sequences, at 0 and 1, and the most likely tokens there.
fn two() -> (Context, [Token; 2]) {
    let model = load(Tiny::Llama);
    let mut context = Context::new(&model, &params().n_seq_max(2)).unwrap();
    let mut batch = Batch::new();
    for (id, token) in [(0, 77), (1, 99)] {
        batch.push(Token::new(token), Pos::new(0), &[SeqId::new(id)], true).unwrap();
    }
    context.decode(&batch).unwrap();
    let best = [0, 1].map(|index| context.logits(index).unwrap().argmax());
    (context, best)
}

#[test]
fn row_is_changed_in_place_and_others_are_not() {
    let (mut context, best) = two();
    let other = context.logits(1).unwrap().to_vec();
    let place = usize::try_from(best[0].get()).unwrap();
    let address = context.logits(0).unwrap().as_ptr();
    context.process_logits(0, &mut |row: &mut [f32]| row[place] = f32::NEG_INFINITY).unwrap();
    assert_eq!(context.logits(0).unwrap().as_ptr(), address);
    assert_eq!(context.logits(0).unwrap().get(best[0]), Some(f32::NEG_INFINITY));
    assert_eq!(context.logits(1).unwrap().as_slice(), other);
    let second = context.logits(0).unwrap().argmax();
    assert_ne!(second, best[0]);
    let mut chain = SamplerChain::builder().greedy().build().unwrap();
    let mut row_sampler = SamplerChain::builder().greedy().build_row().unwrap();
    assert_eq!(chain.sample(&context, 0).unwrap(), second);
    assert_eq!(row_sampler.sample(&context, 0).unwrap(), second);
    assert_eq!(chain.sample(&context, 1).unwrap(), best[1]);
    context.logits_mut(0).unwrap()[place] = 1e9;
    assert_eq!(chain.sample(&context, 0).unwrap(), best[0]);
}

/// Adds to every logit, in an order-dependent way, and counts.
struct Counter {
    factor: f32,
    accepted: Vec<Token>,
}

impl LogitsProcessor for Counter {
    fn process(&mut self, logits: &mut [f32]) {
        logits.iter_mut().for_each(|logit| *logit = *logit * self.factor + self.accepted.len() as f32);
    }

    fn accept(&mut self, token: Token) {
        self.accepted.push(token);
    }

    fn reset(&mut self) {
        self.accepted.clear();
    }
}

#[test]
fn processors_work_in_order_and_keep_a_state() {
    let mut all = LogitsProcessors::new();
    assert!(all.is_empty());
    all.push(Counter { factor: 2.0, accepted: Vec::new() });
    all.push(|row: &mut [f32]| row.iter_mut().for_each(|logit| *logit += 1.0));
    all.push(Counter { factor: 10.0, accepted: Vec::new() });
    assert_eq!((all.len(), format!("{all:?}").as_str()), (3, "LogitsProcessors(3)"));
    let processed = |all: &mut dyn LogitsProcessor| {
        let mut row = [1.0, -1.0];
        all.process(&mut row);
        row
    };
    assert_eq!(processed(&mut all), [30.0, -10.0]);
    all.accept(Token::new(5));
    assert_eq!(processed(&mut all), [41.0, 1.0]);
    all.reset();
    assert_eq!(processed(&mut all), [30.0, -10.0]);
    let moved = std::thread::spawn(move || all.len());
    assert_eq!(moved.join().unwrap(), 3);
}

#[test]
fn what_processors_leave_is_checked_when_it_is_sampled() {
    let mut chain = SamplerChain::builder().top_k(4).dist(1).build().unwrap();
    let (mut context, best) = two();
    context.process_logits(0, &mut |row: &mut [f32]| row[3] = f32::NAN).unwrap();
    let error = chain.sample(&context, 0).unwrap_err();
    assert!(error.to_string().contains("are NaN"), "{error}");
    context.process_logits(0, &mut |row: &mut [f32]| row.fill(f32::NEG_INFINITY)).unwrap();
    let error = chain.sample(&context, 0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::DeadEnd { .. }), "{error:?}");
    // A panic leaves the row half changed and the context as it is.
    let panic = std::panic::AssertUnwindSafe(|| {
        context.process_logits(1, &mut |row: &mut [f32]| {
            row[0] = 1e6;
            panic!("in the middle");
        })
    });
    assert!(std::panic::catch_unwind(panic).is_err());
    assert_eq!(chain.sample(&context, 1).unwrap(), Token::new(0));
    assert_ne!(best[1], Token::new(0));
    assert!(!context.is_poisoned());
}

#[test]
fn rows_that_are_not_there_are_refused() {
    let (mut context, _) = two();
    let mut never = |_: &mut [f32]| panic!("called");
    for index in [None, Some(2), Some(usize::MAX)] {
        let error = context.process_logits(index, &mut never).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NoOutput { .. }), "{error:?}");
        assert!(context.logits_mut(index).is_err());
    }
    let model = context.model().clone();
    context.set_sampler(SEQ, SamplerChain::builder().greedy().build().unwrap()).unwrap();
    context.memory().seq_rm(SEQ, ..).unwrap();
    let prompt = tokens(&model, "Hello");
    greedy::decode(&mut context, &prompt, SEQ, 0);
    assert!(context.process_logits(prompt.len() - 1, &mut never).is_err());
}
