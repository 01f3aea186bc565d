//! Tests that a graph that is refused after the context was created leaves the context unchanged.

use test_models::Tiny;

use super::PRETENDED;
use crate::batch::Batch;
use crate::context::{Context, ContextParams};
use crate::error::{Error, ErrorKind};
use crate::model::{Model, ModelParams};
use crate::token::{Pos, SeqId, Token};

const SEQ: SeqId = SeqId::new(0);

fn context(tiny: Tiny) -> Context {
    let model = Model::load(tiny.path(), &ModelParams::default()).unwrap();
    Context::new(&model, &ContextParams::default().n_ctx(256).n_threads(1)).unwrap()
}

fn batch(first: i32, tokens: &[i32]) -> Batch {
    let tokens: Vec<Token> = tokens.iter().map(|token| Token::new(*token)).collect();
    let mut batch = Batch::new();
    batch.push_prompt(&tokens, SEQ, Pos::new(first)).unwrap();
    batch
}

fn logits(context: &mut Context, batch: &Batch) -> Vec<f32> {
    context.decode(batch).unwrap();
    context.logits(batch.last_output()).unwrap().to_vec()
}

#[track_caller]
fn assert_refused(error: &Error) {
    assert_eq!(
        error.kind().to_string(),
        "the model cannot be computed: ADD of tensor \"l_out-1\": pretended by a test. The file's tensors or hyperparameters \
         do not fit its architecture: convert or quantise the model again"
    );
    assert!(matches!(error.kind(), ErrorKind::UnsupportedGraph { .. }));
}

#[test]
fn before_the_context_is_created() {
    let model = Model::load(Tiny::Llama.path(), &ModelParams::default()).unwrap();
    PRETENDED.set(Some("l_out-1"));
    assert_refused(&Context::new(&model, &ContextParams::default()).err().unwrap());
    PRETENDED.set(None);
    Context::new(&model, &ContextParams::default()).unwrap();
}

#[test]
fn while_decoding_nothing_is_computed_and_memory_is_restored() {
    let first = batch(0, &[5, 6, 7]);
    let second = batch(3, &[8, 9]);
    let expected = {
        let mut context = context(Tiny::Llama);
        (logits(&mut context, &first), logits(&mut context, &second))
    };
    let mut context = context(Tiny::Llama);
    PRETENDED.set(Some("l_out-1"));
    for _ in 0..2 {
        assert_refused(&context.decode(&first).unwrap_err());
        assert!(!context.is_poisoned());
        assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), None);
    }
    PRETENDED.set(None);
    assert!(logits(&mut context, &first) == expected.0);
    PRETENDED.set(Some("l_out-1"));
    assert_refused(&context.decode(&second).unwrap_err());
    assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), Some(Pos::new(2)));
    PRETENDED.set(None);
    assert!(logits(&mut context, &second) == expected.1);
}

/// Tests that a checked graph is not checked again: the next step of a generation has the same graph.
#[test]
fn a_graph_is_checked_once() {
    let mut context = context(Tiny::Llama);
    logits(&mut context, &batch(0, &[5]));
    logits(&mut context, &batch(1, &[6]));
    PRETENDED.set(Some("l_out-1"));
    logits(&mut context, &batch(2, &[7]));
    // Another shape has another graph.
    assert_refused(&context.decode(&batch(3, &[8, 9])).unwrap_err());
    PRETENDED.set(None);
}

#[test]
fn encoders_too() {
    let mut context = context(Tiny::Bert);
    PRETENDED.set(Some("embd"));
    let error = context.encode(&batch(0, &[5, 6])).unwrap_err();
    let ErrorKind::UnsupportedGraph { tensor, .. } = error.kind() else { panic!("{error:?}") };
    assert_eq!(tensor, "embd");
    PRETENDED.set(None);
    context.encode(&batch(0, &[5, 6])).unwrap();
}
