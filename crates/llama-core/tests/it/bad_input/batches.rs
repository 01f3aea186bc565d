//! Batches that cannot be computed are refused and leave the context unchanged.

use llama_core::{Batch, Context, ContextParams, DecodeError, Error, ErrorKind, Model, Pos, SeqId, Token};
use test_models::Tiny;

use super::{assert_llama_cpp_says, assert_says};
use crate::greedy::{SEQ, load, logits_after, params, tokens};

const N_CTX: usize = 256;

/// A context with a prompt in memory, and the expected logits of the next token.
struct Ready {
    context: Context,
    next: Token,
    length: usize,
    expected: Vec<f32>,
}

impl Ready {
    fn new(tiny: Tiny, params: &ContextParams) -> Self {
        let model = load(tiny);
        let prompt = tokens(&model, "Hello world");
        let next = prompt[1];
        let prepared = |model: &Model| {
            let mut context = Context::new(model, params).unwrap();
            logits_after(&mut context, &prompt, SEQ, 0);
            context
        };
        let expected = logits_after(&mut prepared(&model), &[next], SEQ, prompt.len());
        Self { context: prepared(&model), next, length: prompt.len(), expected }
    }

    fn refused(&mut self, batch: &Batch) -> Error {
        let error = self.context.decode(batch).unwrap_err();
        assert!(!self.context.is_poisoned(), "{error:?}");
        error
    }

    /// Asserts that the memory is unchanged, and that the next token gives exactly the expected logits.
    #[track_caller]
    fn assert_untouched(mut self) {
        let last = self.context.memory().seq_pos_max(SEQ).unwrap().unwrap();
        assert_eq!(usize::try_from(last.get()).unwrap() + 1, self.length);
        assert!(logits_after(&mut self.context, &[self.next], SEQ, self.length) == self.expected);
    }
}

fn ready() -> Ready {
    Ready::new(Tiny::Llama, &params().n_seq_max(2).kv_unified(true))
}

fn one(token: i32, pos: i32, seq_id: i32) -> Batch {
    let mut batch = Batch::new();
    batch.push(Token::new(token), Pos::new(pos), &[SeqId::new(seq_id)], true).unwrap();
    batch
}

fn many(n: usize, seq_id: SeqId, first: usize) -> Batch {
    let mut batch = Batch::new();
    batch.push_prompt(&vec![Token::new(300); n], seq_id, Pos::new(i32::try_from(first).unwrap())).unwrap();
    batch
}

#[test]
fn empty() {
    let mut ready = ready();
    let mut cleared = one(5, 5, 0);
    cleared.clear();
    for batch in [Batch::new(), Batch::with_capacity(8), cleared] {
        let error = ready.refused(&batch);
        assert!(matches!(error.kind(), ErrorKind::EmptyBatch));
        assert_eq!(error.to_string(), "the batch is empty: push at least one token before decoding");
    }
    ready.assert_untouched();
}

#[test]
fn tokens_outside_the_vocabulary() {
    let mut ready = ready();
    for token in [-1, 507, i32::MAX, i32::MIN] {
        let error = ready.refused(&one(token, 4, 0));
        assert!(matches!(error.kind(), ErrorKind::InvalidToken { n_vocab: 507, .. }), "{error:?}");
        assert_says(&error, &[&format!("token {token} is out of range"), "507 tokens (0..507)"]);
    }
    ready.assert_untouched();
}

#[test]
fn sequences_outside_the_context() {
    let mut ready = ready();
    for seq_id in [-1, 2, 255, 256, i32::MAX, i32::MIN] {
        let error = ready.refused(&one(5, 4, seq_id));
        assert!(matches!(error.kind(), ErrorKind::InvalidSeqId { n_seq_max: 2, .. }), "{error:?}");
        assert_says(&error, &[&format!("sequence id {seq_id} is out of range"), "2 sequences (0..2)"]);
    }
    let mut batch = Batch::new();
    batch.push(Token::new(5), Pos::new(4), &[SEQ, SeqId::new(1), SeqId::new(2)], true).unwrap();
    assert_says(&ready.refused(&batch), &["sequence id 2"]);
    ready.assert_untouched();
}

#[test]
fn no_sequence_at_all() {
    let error = Batch::new().push(Token::new(5), Pos::new(0), &[], true).unwrap_err();
    assert_says(&error, &["seq_ids is [], but must be a list of at least one sequence"]);
}

#[test]
fn more_sequences_than_there_are() {
    let mut ready = ready();
    let mut batch = Batch::new();
    let ids: Vec<SeqId> = (0..1000).map(SeqId::new).collect();
    batch.push(Token::new(5), Pos::new(4), &ids, true).unwrap();
    assert_says(&ready.refused(&batch), &["sequence id 2 is out of range"]);
    ready.assert_untouched();
}

#[test]
fn positions_outside_their_range() {
    let mut ready = ready();
    for pos in [-1, i32::MIN] {
        let error = ready.refused(&one(5, pos, 0));
        assert!(matches!(error.kind(), ErrorKind::InvalidPosition { seq_id: 0, .. }), "{error:?}");
        assert_says(&error, &[&format!("position {pos} of sequence 0"), "it must be at least 0"]);
    }
    // The position after it would be negative.
    assert_says(&ready.refused(&one(5, i32::MAX, 1)), &["position 2147483647 of sequence 1"]);
    let error = Batch::new().push_prompt(&[Token::new(5); 3], SEQ, Pos::new(i32::MAX - 1)).unwrap_err();
    assert_says(&error, &["position 2147483646", "with 3 tokens from there"]);
    ready.assert_untouched();
}

#[test]
fn positions_that_do_not_follow() {
    let mut ready = ready();
    let next = i32::try_from(ready.length).unwrap();
    for pos in [next + 1, next - 1, 0, 1000] {
        let error = ready.refused(&one(5, pos, 0));
        assert!(matches!(error.kind(), ErrorKind::InvalidPosition { seq_id: 0, .. }), "{error:?}");
        let last = format!("ends at {} in memory: the next position must be {next}", next - 1);
        assert_says(&error, &[&format!("position {pos} of sequence 0"), &last]);
    }
    ready.assert_untouched();
}

#[test]
fn positions_with_a_gap() {
    let mut ready = ready();
    let mut batch = many(2, SEQ, ready.length);
    batch.push(Token::new(5), Pos::new(20), &[SEQ], true).unwrap();
    let error = ready.refused(&batch);
    assert!(matches!(error.kind(), ErrorKind::InvalidPosition { pos: 20, seq_id: 0, .. }), "{error:?}");
    assert_says(&error, &["positions must not have gaps"]);
    ready.assert_untouched();
}

#[test]
fn more_tokens_than_n_batch() {
    let mut ready = Ready::new(Tiny::Llama, &params().n_batch(16).n_ubatch(8));
    for n in [17, 10_000] {
        let error = ready.refused(&many(n, SEQ, ready.length));
        assert!(matches!(error.kind(), ErrorKind::BatchTooLarge { limit: 16, which: "n_batch", .. }));
        assert_says(
            &error,
            &[&format!("the batch has {n} tokens"), "must have at most 16 (n_batch)", "decode it in parts"],
        );
    }
    ready.assert_untouched();
}

#[test]
fn prompt_longer_than_the_context() {
    let mut ready = Ready::new(Tiny::Llama, &params());
    let error = ready.refused(&many(N_CTX + 1, SEQ, ready.length));
    assert!(matches!(error.kind(), ErrorKind::BatchTooLarge { limit: 256, .. }), "{error:?}");
    assert_says(&error, &["257 tokens", "256"]);
    // In parts it is the memory that is full, and what was there stays.
    let room = N_CTX - ready.length;
    let error = ready.refused(&many(room + 1, SEQ, ready.length));
    assert!(matches!(error.kind(), ErrorKind::Decode(DecodeError::NoSlot)), "{error:?}");
    assert_says(&error, &["no room in the context's memory", "memory is as before the call", "larger n_ctx"]);
    assert_llama_cpp_says(&error, &format!("failed to find a memory slot for batch of size {}", room + 1));
    ready.assert_untouched();
}

#[test]
fn full_context_takes_tokens_again_when_some_are_removed() {
    let mut ready = Ready::new(Tiny::Llama, &params());
    let length = ready.length;
    ready.context.decode(&many(N_CTX - length, SEQ, length)).unwrap();
    let error = ready.refused(&one(5, 256, 0));
    assert!(matches!(error.kind(), ErrorKind::Decode(DecodeError::NoSlot)), "{error:?}");
    assert_eq!(ready.context.memory().seq_pos_max(SEQ).unwrap(), Some(Pos::new(255)));
    ready.context.memory().seq_rm(SEQ, i32::try_from(length).unwrap()..).unwrap();
    ready.assert_untouched();
}

#[test]
fn sequences_that_have_gone_apart() {
    let mut ready = ready();
    let mut batch = Batch::new();
    let pos = Pos::new(i32::try_from(ready.length).unwrap());
    batch.push(Token::new(5), pos, &[SEQ, SeqId::new(1)], true).unwrap();
    let error = ready.refused(&batch);
    assert!(matches!(error.kind(), ErrorKind::InvalidPosition { seq_id: 1, .. }), "{error:?}");
    assert_says(&error, &["it shares a token with sequence 0", "sequence 0 has 0..=", "sequence 1 is empty"]);
    ready.assert_untouched();
}

#[test]
fn token_of_two_sequences_with_buffers_of_their_own() {
    let mut ready = Ready::new(Tiny::Llama, &params().n_seq_max(2).kv_unified(false));
    ready.context.memory().seq_cp(SEQ, SeqId::new(1), ..).unwrap();
    let mut batch = Batch::new();
    let pos = Pos::new(i32::try_from(ready.length).unwrap());
    batch.push(Token::new(5), pos, &[SEQ, SeqId::new(1)], true).unwrap();
    let error = ready.refused(&batch);
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error:?}");
    assert_says(
        &error,
        &["a token of several sequences", "its sequences have separate buffers", "kv_unified(true)"],
    );
    ready.assert_untouched();
}

#[test]
fn rows_that_are_not_there() {
    let model = load(Tiny::Llama);
    let mut context = Context::new(&model, &params()).unwrap();
    assert_says(
        &context.logits(0).unwrap_err(),
        &["token 0 of the last batch has no logits", "there is none"],
    );
    let mut batch = many(3, SEQ, 0);
    context.decode(&batch).unwrap();
    assert_eq!(context.logits(batch.last_output()).unwrap().len(), 507);
    for index in [3, 4, usize::MAX] {
        let error = context.logits(index).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NoOutput { what: "logits", .. }), "{error:?}");
        assert_says(&error, &[&format!("token {index} of the last batch"), "fewer tokens"]);
    }
    assert_says(&context.logits(1).unwrap_err(), &["token 1", "did not ask for results", "output true"]);
    assert_says(&context.embeddings(2).unwrap_err(), &["token 2", "no embeddings", "embeddings(true)"]);
    assert_says(&context.embeddings_seq(SEQ).unwrap_err(), &["does not pool"]);
    assert_says(
        &context.embeddings_seq(SeqId::new(1)).unwrap_err(),
        &["sequence id 1", "1 sequences (0..1)"],
    );
    // A batch that fails takes the results with it.
    context.decode(&one(5, 77, 0)).unwrap_err();
    assert_says(&context.logits(2).unwrap_err(), &["fewer tokens, or there is none"]);
    // A batch that wants no results has none.
    batch = one(5, 3, 0);
    batch.set_output(0, false).unwrap();
    context.decode(&batch).unwrap();
    assert_eq!(batch.last_output(), None);
    assert_says(
        &context.logits(batch.last_output()).unwrap_err(),
        &["no token of the batch asked for results"],
    );
    assert_says(
        &batch.set_output(1, true).unwrap_err(),
        &["index is 1, but must be an index of the batch's 1 tokens"],
    );
    assert!(!context.is_poisoned());
}

#[test]
fn learned_positions_end() {
    let model = load(Tiny::Bert);
    let mut context = Context::new(&model, &params().embeddings(true)).unwrap();
    context.decode(&one(5, 511, 0)).unwrap();
    let expected = context.embeddings_seq(SEQ).unwrap().to_vec();
    for pos in [512, 100_000] {
        let error = context.decode(&one(5, pos, 0)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidPosition { seq_id: 0, .. }), "{error:?}");
        assert_says(
            &error,
            &[&format!("position {pos}"), "it must be in 0..512, the positions that the model has learned"],
        );
    }
    context.decode(&one(5, 511, 0)).unwrap();
    assert_eq!(context.embeddings_seq(SEQ).unwrap(), expected);
}

#[test]
fn encoders_need_the_whole_text_at_once() {
    let model = load(Tiny::Bert);
    let mut context = Context::new(&model, &params().n_batch(64).n_ubatch(16)).unwrap();
    let error = context.decode(&many_of(5, 17)).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::BatchTooLarge { limit: 16, which: "n_ubatch", .. }),
        "{error:?}"
    );
    assert_says(&error, &["17 tokens", "at most 16 (n_ubatch)"]);
    let error = context.encode(&many_of(5, 65)).unwrap_err();
    assert_says(&error, &["65 tokens"]);
    context.encode(&many_of(5, 16)).unwrap();
}

fn many_of(token: i32, n: usize) -> Batch {
    let mut batch = Batch::new();
    batch.push_prompt(&vec![Token::new(token); n], SEQ, Pos::new(0)).unwrap();
    batch
}

#[test]
fn non_causal_attention_needs_the_whole_text_at_once() {
    let model = load(Tiny::Llama);
    let mut context = Context::new(&model, &params().n_ubatch(8)).unwrap();
    context.set_causal_attention(false).unwrap();
    assert!(!context.causal_attention());
    assert_says(&context.decode(&many(9, SEQ, 0)).unwrap_err(), &["9 tokens", "at most 8 (n_ubatch)"]);
    context.decode(&many(8, SEQ, 0)).unwrap();
    context.set_causal_attention(true).unwrap();
    context.decode(&many(9, SEQ, 8)).unwrap();
}

#[test]
fn encoding_without_an_encoder() {
    let mut ready = ready();
    let error = ready.context.encode(&one(5, 4, 0)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { operation: "encoding", .. }), "{error:?}");
    assert_says(&error, &["it has no encoder: use decode"]);
    ready.assert_untouched();
}

#[test]
fn decoding_before_encoding() {
    let model = load(Tiny::T5);
    let mut context = Context::new(&model, &params()).unwrap();
    let error = context.decode(&one(0, 0, 0)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error:?}");
    assert_says(&error, &["call encode first"]);
    context.encode(&many_of(5, 4)).unwrap();
    context.decode(&one(0, 0, 0)).unwrap();
    assert!(context.logits(0).unwrap().iter().all(|value| value.is_finite()));
}
