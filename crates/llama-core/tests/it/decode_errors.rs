//! Provokes each of llama.cpp's return codes and checks the memory afterwards.

use crate::greedy::{SEQ, decode, difference, load, logits_after, params, tokens};
use llama_core::{Batch, Context, ContextParams, DecodeError, Error, ErrorKind, Model, Pos, SeqId, Token};
use test_models::Tiny;

const OTHER: SeqId = SeqId::new(1);
const MODELS: [Tiny; 4] = [Tiny::Llama, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba];

fn place(length: usize) -> Pos {
    Pos::new(i32::try_from(length).unwrap())
}

fn prompt_batch(prompt: &[Token], seq_id: SeqId, first: usize) -> Batch {
    let mut batch = Batch::new();
    batch.push_prompt(prompt, seq_id, place(first)).unwrap();
    batch
}

fn last(context: &mut Context, seq_id: SeqId) -> Option<i32> {
    context.memory().seq_pos_max(seq_id).unwrap().map(Pos::get)
}

#[track_caller]
fn assert_code(error: &Error, expected: DecodeError) {
    match error.kind() {
        ErrorKind::Decode(found) => assert_eq!(*found, expected),
        other => panic!("{other:?}"),
    }
}

/// Returns a text of exactly this many tokens.
fn long(model: &Model, n: usize) -> Vec<Token> {
    let text = tokens(model, "Hello world, this is a test of the model and of what it remembers");
    text.iter().copied().cycle().take(n).collect()
}

#[test]
fn no_slot_restores_memory() {
    for unified in [true, false] {
        let model = load(Tiny::Llama);
        let params = params().n_ctx(512).n_seq_max(2).kv_unified(unified).n_ubatch(64);
        let mut context = Context::new(&model, &params).unwrap();
        let room = if unified { 512 } else { 256 };
        let text = long(&model, room + 1);
        decode(&mut context, &text[..100], SEQ, 0);
        decode(&mut context, &text[..20], OTHER, 0);
        let before = room - if unified { 120 } else { 100 };
        // The first parts of the batch would fit, the last does not.
        let error = context.decode(&prompt_batch(&text[..=before], SEQ, 100)).unwrap_err();
        assert_code(&error, DecodeError::NoSlot);
        assert!(error.log().iter().any(|line| line.contains("failed to find a memory slot")), "{error:?}");
        assert_eq!((last(&mut context, SEQ), last(&mut context, OTHER)), (Some(99), Some(19)));
        assert!(context.logits(before).is_err());

        // As if nothing had happened: the same bits as without the batch that did not fit.
        let mut fresh = Context::new(&model, &params).unwrap();
        decode(&mut fresh, &text[..100], SEQ, 0);
        decode(&mut fresh, &text[..20], OTHER, 0);
        for (seq_id, first) in [(SEQ, 100), (OTHER, 20)] {
            let expected = logits_after(&mut fresh, &text[..3], seq_id, first);
            assert!(logits_after(&mut context, &text[..3], seq_id, first) == expected, "{unified} {seq_id}");
        }
        // And what is left is just what was said to be left.
        let rest = before - if unified { 6 } else { 3 };
        context.decode(&prompt_batch(&text[..rest], SEQ, 103)).unwrap();
        assert_code(
            &context.decode(&prompt_batch(&text[..1], SEQ, 103 + rest)).unwrap_err(),
            DecodeError::NoSlot,
        );
    }
}

#[test]
fn no_slot_restores_the_state_of_a_hybrid_model() {
    let model = load(Tiny::Jamba);
    let mut context = Context::new(&model, &params().n_ubatch(32)).unwrap();
    let text = long(&model, 257);
    decode(&mut context, &text[..100], SEQ, 0);
    let expected = {
        let mut fresh = Context::new(&model, &params().n_ubatch(32)).unwrap();
        decode(&mut fresh, &text[..100], SEQ, 0);
        logits_after(&mut fresh, &text[100..103], SEQ, 100)
    };
    assert_code(&context.decode(&prompt_batch(&text[100..], SEQ, 100)).unwrap_err(), DecodeError::NoSlot);
    assert_eq!(last(&mut context, SEQ), Some(99));
    assert!(logits_after(&mut context, &text[100..103], SEQ, 100) == expected);
}

/// Sets a callback that stops the computation after this many calls.
fn stop_after(context: &mut Context, mut times: usize) {
    context
        .set_abort_callback(move || {
            times = times.saturating_sub(1);
            times == 0
        })
        .unwrap();
}

/// Returns how often a batch asks whether to stop.
fn questions(model: &Model, params: &ContextParams, batch: &Batch) -> usize {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let mut context = Context::new(model, params).unwrap();
    context.set_abort_callback(move || counter.fetch_add(1, Ordering::Relaxed) == usize::MAX).unwrap();
    context.decode(batch).unwrap();
    count.load(Ordering::Relaxed)
}

#[test]
fn abort_keeps_the_parts_that_were_computed() {
    for tiny in [Tiny::Llama, Tiny::Gemma3] {
        let model = load(tiny);
        let params = params().n_ubatch(16);
        let text = long(&model, 64);
        let batch = prompt_batch(&text, SEQ, 0);
        let all = questions(&model, &params, &batch);
        assert!(all >= 4 * 10, "{tiny}: {all}");
        let expected = logits_after(&mut Context::new(&model, &params).unwrap(), &text, SEQ, 0);
        for times in [1, all / 8, all / 2 + 3, all * 7 / 8, all - 1] {
            let mut context = Context::new(&model, &params).unwrap();
            stop_after(&mut context, times);
            let error = context.decode(&batch).unwrap_err();
            assert_code(&error, DecodeError::Aborted);
            assert!(!context.is_poisoned());
            assert!(context.logits(63).is_err());
            // Four parts of 16 tokens, which ask equally often.
            let done = times * 4 / (all + 1) * 16;
            assert_eq!(
                last(&mut context, SEQ),
                (done > 0).then(|| place(done).get() - 1),
                "{tiny} {times} of {all}"
            );
            // They are good to go on with.
            context.clear_abort_callback().unwrap();
            let found = logits_after(&mut context, &text[done..], SEQ, done);
            assert!(found == expected, "{tiny} {times} of {all}: {}", difference(&expected, &found));
        }
    }
}

#[test]
fn abort_removes_sequences_whose_state_is_lost() {
    for tiny in [Tiny::Mamba, Tiny::Jamba] {
        let model = load(tiny);
        let params = params().n_ctx(512).n_ubatch(16).n_seq_max(2);
        let text = long(&model, 64);
        let mut context = Context::new(&model, &params).unwrap();
        decode(&mut context, &text[..20], SEQ, 0);
        decode(&mut context, &text[..10], OTHER, 0);
        let continued = {
            let mut fresh = Context::new(&model, &params).unwrap();
            decode(&mut fresh, &text[..10], OTHER, 0);
            logits_after(&mut fresh, &text[10..12], OTHER, 10)
        };
        stop_after(&mut context, 100);
        let error = context.decode(&prompt_batch(&text[20..], SEQ, 20)).unwrap_err();
        assert_code(&error, DecodeError::Aborted);
        // What was in the middle of being computed is gone, and the other sequence is as it was.
        assert_eq!((last(&mut context, SEQ), last(&mut context, OTHER)), (None, Some(9)), "{tiny}");
        context.clear_abort_callback().unwrap();
        let found = logits_after(&mut context, &text[10..12], OTHER, 10);
        assert!(difference(&continued, &found) < 1e-3, "{tiny}");
        let expected = logits_after(&mut Context::new(&model, &params).unwrap(), &text, SEQ, 0);
        let found = logits_after(&mut context, &text, SEQ, 0);
        assert!(difference(&expected, &found) < 1e-3, "{tiny}");
    }
}

#[test]
fn abort_removes_shared_tokens_from_all_their_sequences() {
    let model = load(Tiny::Llama);
    let params = params().n_seq_max(3).kv_unified(true).n_ubatch(9);
    let text = long(&model, 36);
    let mut batch = Batch::new();
    let all = [2, 0, 1].map(SeqId::new);
    for (index, token) in text.iter().enumerate() {
        batch.push(*token, place(index), &all, index == 35).unwrap();
    }
    let count = questions(&model, &params, &batch);
    let mut context = Context::new(&model, &params).unwrap();
    stop_after(&mut context, count / 2 + 3);
    assert_code(&context.decode(&batch).unwrap_err(), DecodeError::Aborted);
    context.clear_abort_callback().unwrap();
    let expected = logits_after(&mut Context::new(&model, &params).unwrap(), &text, SEQ, 0);
    for seq_id in all {
        assert_eq!(last(&mut context, seq_id), Some(17), "{seq_id}");
        let found = logits_after(&mut context, &text[18..], seq_id, 18);
        assert!(difference(&expected, &found) < 1e-3, "{seq_id}");
    }
}

#[test]
fn invalid_batch_restores_memory() {
    for tiny in MODELS {
        let model = load(tiny);
        let prompt = tokens(&model, "Hello world");
        let row = vec![0.5; model.n_embd_inp() as usize];
        let mut context = Context::new(&model, &params()).unwrap();
        decode(&mut context, &prompt, SEQ, 0);
        // A token, and then a token with an embedding: of the second kind are all entries, or none.
        let mut batch = Batch::new();
        batch.push(Token::new(5), place(prompt.len()), &[SEQ], false).unwrap();
        let next = place(prompt.len() + 1);
        batch.push_token_and_embedding(Token::new(5), &row, next, &[SEQ], true).unwrap();
        let error = context.decode(&batch).unwrap_err();
        assert_code(&error, DecodeError::InvalidBatch);
        assert!(DecodeError::InvalidBatch.memory_is_restored());
        let words = "entries with both a token id and an embedding cannot be mixed";
        assert!(error.log().iter().any(|line| line.contains(words)), "{error:?}");
        assert_eq!(last(&mut context, SEQ), Some(place(prompt.len()).get() - 1), "{tiny}");
        assert!(!context.is_poisoned());
        let mut fresh = Context::new(&model, &params()).unwrap();
        decode(&mut fresh, &prompt, SEQ, 0);
        let expected = logits_after(&mut fresh, &prompt[..2], SEQ, prompt.len());
        assert!(logits_after(&mut context, &prompt[..2], SEQ, prompt.len()) == expected, "{tiny}");
    }
}

#[test]
fn positions_of_the_wrong_order_are_refused_here() {
    for tiny in MODELS {
        let model = load(tiny);
        let mut context = Context::new(&model, &params().n_ctx(512).n_seq_max(2)).unwrap();
        decode(&mut context, &long(&model, 8), SEQ, 0);
        let expected = {
            let mut fresh = Context::new(&model, &params().n_ctx(512).n_seq_max(2)).unwrap();
            decode(&mut fresh, &long(&model, 8), SEQ, 0);
            logits_after(&mut fresh, &[Token::new(5)], SEQ, 8)
        };
        // (positions of sequence 0, the wrong one, what is said of it)
        let cases: [(&[i32], i32, &str); 6] = [
            (&[7], 7, "ends at 7 in memory: the next position must be 8"),
            (&[9], 9, "ends at 7 in memory: the next position must be 8"),
            (&[0], 0, "remove the end with Memory::seq_rm"),
            (&[8, 10], 10, "the token before it is at 8: positions must not have gaps"),
            (&[8, 9, 8], 8, "the token before it is at 9: positions must not go back"),
            (
                &[8, 9, 10, 2147483646],
                2147483646,
                "the token before it is at 10: positions must not have gaps",
            ),
        ];
        for (positions, wrong, words) in cases {
            let mut batch = Batch::new();
            // Another sequence may begin anywhere.
            batch.push(Token::new(5), Pos::new(100), &[OTHER], false).unwrap();
            for pos in positions {
                batch.push(Token::new(5), Pos::new(*pos), &[SEQ], true).unwrap();
            }
            let error = context.decode(&batch).unwrap_err();
            let ErrorKind::InvalidPosition { pos, seq_id: 0, .. } = error.kind() else { panic!("{error:?}") };
            assert_eq!(*pos, wrong, "{tiny}");
            assert!(error.to_string().contains(words), "{error}");
            assert!(error.log().is_empty(), "{error}");
        }
        assert_eq!((last(&mut context, SEQ), last(&mut context, OTHER)), (Some(7), None), "{tiny}");
        assert!(logits_after(&mut context, &[Token::new(5)], SEQ, 8) == expected, "{tiny}");
    }
}

#[test]
fn shared_tokens_need_what_the_memory_can_do() {
    let refused = |tiny: Tiny, params: &ContextParams| {
        let mut context = Context::new(&load(tiny), params).unwrap();
        let mut batch = Batch::new();
        batch.push(Token::new(5), Pos::new(0), &[SEQ, OTHER], true).unwrap();
        let error = context.decode(&batch).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error:?}");
        // The same sequence twice is one.
        batch.clear();
        batch.push(Token::new(5), Pos::new(0), &[SEQ, SEQ], true).unwrap();
        context.decode(&batch).unwrap();
        error.to_string()
    };
    let two = params().n_ctx(512).n_seq_max(2);
    for tiny in MODELS {
        let words = |has_states| if has_states { "a state for each sequence" } else { "kv_unified(true)" };
        let (recurrent, hybrid) = (tiny == Tiny::Mamba, tiny == Tiny::Jamba);
        assert!(refused(tiny, &two).contains(words(recurrent)), "{tiny}");
        // With embeddings batches are divided by sequences: C would look for one sequence and abort.
        let embeddings = two.clone().embeddings(true);
        assert!(refused(tiny, &embeddings).contains(words(recurrent || hybrid)), "{tiny}");
    }
    let unified = two.kv_unified(true);
    assert!(refused(Tiny::Mamba, &unified).contains("a state for each sequence"));
    for tiny in [Tiny::Llama, Tiny::Gemma3, Tiny::Jamba] {
        let model = load(tiny);
        let mut context = Context::new(&model, &unified).unwrap();
        let mut batch = Batch::new();
        batch.push(Token::new(5), Pos::new(0), &[SEQ, OTHER], true).unwrap();
        context.decode(&batch).unwrap();
        assert_eq!((last(&mut context, SEQ), last(&mut context, OTHER)), (Some(0), Some(0)), "{tiny}");
    }
}

#[test]
fn more_results_than_there_is_room_for() {
    let model = load(Tiny::Llama);
    let mut context = Context::new(&model, &params().n_outputs_max(2)).unwrap();
    let batch = |n_outputs| {
        let mut batch = Batch::new();
        for index in 0..4 {
            batch.push(Token::new(5), place(index), &[SEQ], index < n_outputs).unwrap();
        }
        batch
    };
    let error = context.decode(&batch(3)).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::InvalidParameter(problem) if problem.name == "n_outputs_max"),
        "{error:?}"
    );
    assert!(
        error.to_string().contains(
            "n_outputs_max is 2, but must be at least 3, the number of tokens whose results the batch wants"
        ),
        "{error}"
    );
    context.decode(&batch(2)).unwrap();
    let expected = {
        let mut all = Context::new(&model, &params()).unwrap();
        all.decode(&batch(2)).unwrap();
        all.logits(1).unwrap().to_vec()
    };
    assert!(context.logits(1).unwrap().as_slice() == expected);
}
