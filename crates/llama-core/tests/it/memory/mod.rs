//! The memory of sequences: each operation is compared with a plain model of cells, for each kind of memory.

mod cells;

use std::collections::BTreeSet;

use crate::greedy::{decode, difference, fresh_continuation, load, logits_after, params, tokens};
use llama_core::{Batch, Context, ContextParams, Error, ErrorKind, Model, Pos, SeqId, Token};
use proptest::prelude::*;
use test_models::Tiny;

const A: SeqId = SeqId::new(0);
const B: SeqId = SeqId::new(1);
const C: SeqId = SeqId::new(2);

/// The largest difference of logits when the same tokens were computed in other batches; see tests/decode.rs.
const TOLERANCE: f32 = 5e-3;

/// The kinds of memory: a cache, the window of a sliding-window model beside it, a recurrent state, and both.
const KINDS: [Tiny; 4] = [Tiny::Llama, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba];

fn is_recurrent(tiny: Tiny) -> bool {
    matches!(tiny, Tiny::Mamba | Tiny::Jamba)
}

fn four_sequences(unified: bool) -> ContextParams {
    params().n_ctx(1024).n_seq_max(4).kv_unified(unified)
}

/// Creates contexts of four sequences with a common buffer and with one each.
fn contexts(model: &Model) -> [Context; 2] {
    [true, false].map(|unified| Context::new(model, &four_sequences(unified)).unwrap())
}

/// Computes the logits after tokens in a new context.
fn fresh(model: &Model, tokens: &[Token]) -> Vec<f32> {
    logits_after(&mut Context::new(model, &params()).unwrap(), tokens, A, 0)
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    let difference = difference(expected, found);
    assert!(difference < tolerance, "off by {difference}");
}

/// Returns the first and last position of a sequence.
fn span(context: &mut Context, seq_id: SeqId) -> Option<(i32, i32)> {
    let first = context.memory().seq_pos_min(seq_id).unwrap();
    let last = context.memory().seq_pos_max(seq_id).unwrap();
    assert_eq!(first.is_some(), last.is_some());
    first.zip(last).map(|(first, last)| (first.get(), last.get()))
}

fn place(length: usize) -> i32 {
    i32::try_from(length).unwrap()
}

#[track_caller]
fn assert_unsupported(result: Result<(), Error>, words: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error:?}");
    assert!(error.to_string().contains(words), "{words:?} is not in: {error}");
}

#[test]
fn positions_grow_with_what_is_decoded() {
    for tiny in KINDS {
        let model = load(tiny);
        let prompt = tokens(&model, "Hello world, here it is");
        for mut context in contexts(&model) {
            assert_eq!(span(&mut context, A), None, "{tiny}");
            decode(&mut context, &prompt[..4], A, 0);
            decode(&mut context, &prompt[..2], B, 0);
            decode(&mut context, &prompt[4..], A, 4);
            let last = place(prompt.len()) - 1;
            // A state has no earlier positions.
            let first = |last| if is_recurrent(tiny) { last } else { 0 };
            assert_eq!(span(&mut context, A), Some((first(last), last)), "{tiny}");
            assert_eq!(span(&mut context, B), Some((first(1), 1)), "{tiny}");
            assert_eq!(span(&mut context, C), None, "{tiny}");
            context.memory().clear(false).unwrap();
            assert_eq!(span(&mut context, A), None, "{tiny}");
        }
    }
}

#[test]
fn removed_end_is_decoded_again() {
    for tiny in [Tiny::Llama, Tiny::Gemma3] {
        let model = load(tiny);
        let prompt = tokens(&model, "Hello world, here it is");
        for mut context in contexts(&model) {
            decode(&mut context, &prompt, A, 0);
            decode(&mut context, &tokens(&model, "another text"), B, 0);
            context.memory().seq_rm(A, 3..).unwrap();
            assert_eq!(span(&mut context, A), Some((0, 2)), "{tiny}");
            // Other tokens than before.
            let other = [&prompt[..3], &prompt[5..]].concat();
            assert_close(&logits_after(&mut context, &other[3..], A, 3), &fresh(&model, &other), TOLERANCE);
        }
    }
}

#[test]
fn removed_beginning_and_middle_are_gone() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world, here it is");
    for mut context in contexts(&model) {
        decode(&mut context, &prompt, A, 0);
        let last = place(prompt.len()) - 1;
        context.memory().seq_rm(A, ..2).unwrap();
        assert_eq!(span(&mut context, A), Some((2, last)));
        context.memory().seq_rm(A, Pos::new(4)..=Pos::new(5)).unwrap();
        assert_eq!(span(&mut context, A), Some((2, last)));
        context.memory().seq_rm(A, 2..4).unwrap();
        assert_eq!(span(&mut context, A), Some((6, last)));
        // Nothing is there, nothing happens.
        context.memory().seq_rm(A, 100..).unwrap();
        context.memory().seq_rm(A, 7..7).unwrap();
        context.memory().seq_rm(B, ..).unwrap();
        assert_eq!(span(&mut context, A), Some((6, last)));
    }
}

#[test]
fn removed_sequence_starts_anew() {
    for tiny in KINDS {
        let model = load(tiny);
        let (first, second) = (tokens(&model, "Hello world"), tokens(&model, "The test of it all"));
        for mut context in contexts(&model) {
            decode(&mut context, &first, A, 0);
            decode(&mut context, &first, B, 0);
            context.memory().seq_rm(A, ..).unwrap();
            assert_eq!(span(&mut context, A), None, "{tiny}");
            assert_close(&logits_after(&mut context, &second, A, 0), &fresh(&model, &second), TOLERANCE);
            // The whole by its positions.
            context.memory().seq_rm(A, 0..place(second.len())).unwrap();
            assert_eq!(span(&mut context, A), None, "{tiny}");
            // The other one is as it was.
            let both = [&first[..], &second[..3]].concat();
            let found = logits_after(&mut context, &second[..3], B, first.len());
            assert_close(&found, &fresh(&model, &both), TOLERANCE);
        }
    }
}

#[test]
fn a_state_does_not_forget_a_part() {
    for tiny in [Tiny::Mamba, Tiny::Jamba] {
        let model = load(tiny);
        let prompt = tokens(&model, "Hello world, here it is");
        let last = place(prompt.len()) - 1;
        for mut context in contexts(&model) {
            decode(&mut context, &prompt, A, 0);
            for (from, to) in [(0, 1), (0, last), (2, 3), (last - 1, last)] {
                assert_unsupported(context.memory().seq_rm(A, from..to), "cannot forget a part");
            }
            assert_unsupported(context.memory().seq_rm(A, 3..), "remove the whole sequence with `..`");
            assert_unsupported(context.memory().seq_rm(A, last..), "cannot forget a part");
            // What is not there can be forgotten.
            context.memory().seq_rm(A, last + 1..).unwrap();
            context.memory().seq_rm(A, 3..3).unwrap();
            context.memory().seq_rm(B, ..5).unwrap();
            assert_eq!(span(&mut context, A), Some((last, last)), "{tiny}");
            assert!(!context.is_poisoned());
            let more = [&prompt[..], &prompt[1..3]].concat();
            let found = logits_after(&mut context, &prompt[1..3], A, prompt.len());
            assert_close(&found, &fresh(&model, &more), TOLERANCE);
        }
    }
}

#[test]
fn copied_sequences_diverge() {
    for tiny in KINDS {
        let model = load(tiny);
        let prompt = tokens(&model, "Hello world");
        let (left, right) = (tokens(&model, "one two"), tokens(&model, "another thing"));
        for mut context in contexts(&model) {
            // Something to overwrite.
            decode(&mut context, &left, B, 0);
            context.memory().seq_rm(B, ..).unwrap();
            decode(&mut context, &prompt, A, 0);
            context.memory().seq_cp(A, B, ..).unwrap();
            context.memory().seq_cp(A, C, 0..).unwrap();
            context.memory().seq_cp(A, A, ..).unwrap();
            assert_eq!(span(&mut context, A), span(&mut context, B), "{tiny}");
            let after = |context: &mut Context, tokens: &[Token], seq_id| {
                let found = logits_after(context, tokens, seq_id, prompt.len());
                assert_close(&found, &fresh(&model, &[&prompt[..], tokens].concat()), TOLERANCE);
            };
            after(&mut context, &left, B);
            after(&mut context, &right, A);
            context.memory().seq_rm(A, ..).unwrap();
            context.memory().seq_rm(B, ..).unwrap();
            after(&mut context, &right, C);
        }
    }
}

#[test]
fn part_of_a_sequence_is_copied_inside_one_buffer() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world, here it is");
    let [mut unified, mut separate] = contexts(&model);
    decode(&mut unified, &prompt, A, 0);
    unified.memory().seq_cp(A, B, ..4).unwrap();
    assert_eq!(span(&mut unified, B), Some((0, 3)));
    let other = [&prompt[..4], &prompt[6..]].concat();
    assert_close(&logits_after(&mut unified, &other[4..], B, 4), &fresh(&model, &other), TOLERANCE);

    decode(&mut separate, &prompt, A, 0);
    assert_unsupported(separate.memory().seq_cp(A, B, ..4), "create the context with kv_unified(true)");
    assert_unsupported(separate.memory().seq_cp(A, B, 1..), "copying a part of a sequence");
    assert_eq!(span(&mut separate, B), None);
    for tiny in [Tiny::Mamba, Tiny::Jamba] {
        let model = load(tiny);
        for mut context in contexts(&model) {
            decode(&mut context, &tokens(&model, "Hello"), A, 0);
            assert_unsupported(context.memory().seq_cp(A, B, 1..), "copy the whole sequence with `..`");
            assert_eq!(span(&mut context, B), None);
        }
    }
}

#[test]
fn kept_sequence_is_the_only_one() {
    for tiny in KINDS {
        let model = load(tiny);
        let prompt = tokens(&model, "Hello world");
        for mut context in contexts(&model) {
            for seq_id in [A, B, C] {
                decode(&mut context, &prompt, seq_id, 0);
            }
            context.memory().seq_keep(B).unwrap();
            assert_eq!((span(&mut context, A), span(&mut context, C)), (None, None), "{tiny}");
            assert_eq!(span(&mut context, B).unwrap().1, place(prompt.len()) - 1, "{tiny}");
            let more = [&prompt[..], &prompt[1..3]].concat();
            let found = logits_after(&mut context, &prompt[1..3], B, prompt.len());
            assert_close(&found, &fresh(&model, &more), TOLERANCE);
            assert_close(&logits_after(&mut context, &prompt, A, 0), &fresh(&model, &prompt), TOLERANCE);
        }
    }
}

#[test]
fn moved_sequence_goes_on_at_its_new_place() {
    for tiny in [Tiny::Llama, Tiny::Gemma3, Tiny::Qwen2] {
        let model = load(tiny);
        let prompt = tokens(&model, "Hello world, here it is");
        let more = &prompt[1..3];
        let expected = fresh(&model, &[&prompt[..], more].concat());
        for mut context in contexts(&model) {
            assert!(context.memory().can_shift().unwrap(), "{tiny}");
            decode(&mut context, &prompt, A, 0);
            context.memory().seq_add(A, .., 7).unwrap();
            assert_eq!(span(&mut context, A), Some((7, place(prompt.len()) + 6)), "{tiny}");
            // Attention only sees distances; the keys are turned once more and rounded to 16 bits again.
            let found = logits_after(&mut context, more, A, prompt.len() + 7);
            assert_close(&found, &expected, 0.02);
            context.memory().seq_add(A, 7.., -7).unwrap();
            assert_eq!(span(&mut context, A), Some((0, place(prompt.len()) + 1)), "{tiny}");
        }
    }
}

#[test]
fn context_shift_frees_room() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world, here it is");
    let outcomes = [true, false].map(|unified| {
        let mut context = Context::new(&model, &params().n_seq_max(1).kv_unified(unified)).unwrap();
        let n_ctx = context.n_ctx_seq() as usize;
        let long: Vec<Token> = prompt.iter().copied().cycle().take(n_ctx).collect();
        decode(&mut context, &long, A, 0);
        let mut one_more = Batch::new();
        one_more.push_prompt(&prompt[..1], A, Pos::new(place(n_ctx))).unwrap();
        context.decode(&one_more).unwrap_err();
        let mut memory = context.memory();
        memory.seq_rm(A, 4..104).unwrap();
        memory.seq_add(A, 104.., -100).unwrap();
        assert_eq!(span(&mut context, A), Some((0, place(n_ctx) - 101)));
        logits_after(&mut context, &prompt[..50.min(prompt.len())], A, n_ctx - 100)
    });
    assert_close(&outcomes[0], &outcomes[1], 1e-6);
}

#[test]
fn moves_out_of_range_are_refused() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world");
    let last = place(prompt.len()) - 1;
    for mut context in contexts(&model) {
        decode(&mut context, &prompt, A, 0);
        for delta in [-1, i32::MIN, i32::MAX] {
            let error = context.memory().seq_add(A, .., delta).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::InvalidPosition { seq_id: 0, .. }), "{error:?}");
            assert!(error.to_string().contains("position 0 "), "{error}");
            assert!(error.to_string().contains(&format!("moved by {delta}")), "{error}");
        }
        assert_eq!(span(&mut context, A), Some((0, last)));
        // Only what is in the range counts.
        context.memory().seq_add(A, 3.., -1).unwrap();
        context.memory().seq_add(A, .., 0).unwrap();
        context.memory().seq_add(A, 2..2, -100).unwrap();
        context.memory().seq_add(B, .., -100).unwrap();
        assert_eq!(span(&mut context, A), Some((0, last - 1)));
    }
}

#[test]
fn divided_positions() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world, here it is");
    for mut context in contexts(&model) {
        decode(&mut context, &prompt, A, 0);
        let last = place(prompt.len()) - 1;
        context.memory().seq_div(A, .., 1).unwrap();
        assert_eq!(span(&mut context, A), Some((0, last)));
        context.memory().seq_div(A, 8.., 4).unwrap();
        assert_eq!(span(&mut context, A), Some((0, 7)));
        context.memory().seq_div(A, .., 2).unwrap();
        assert_eq!(span(&mut context, A).unwrap().0, 0);
        for divisor in [0, -1, i32::MIN] {
            let error = context.memory().seq_div(A, .., divisor).unwrap_err();
            assert_eq!(error.to_string(), format!("divisor is {divisor}, but must be at least 1"));
        }
    }
}

#[test]
fn ranges_that_are_none() {
    let model = load(Tiny::Llama);
    let mut context = Context::new(&model, &four_sequences(true)).unwrap();
    decode(&mut context, &tokens(&model, "Hello world"), A, 0);
    let before = span(&mut context, A);
    let mut memory = context.memory();
    #[allow(clippy::reversed_empty_ranges, reason = "it is what is tested")]
    let errors = [
        (
            memory.seq_rm(A, -1..).unwrap_err(),
            "positions -1..2147483647",
            "it must start at position 0 or later",
        ),
        (memory.seq_rm(A, ..-5).unwrap_err(), "positions 0..-5", "it must start at position 0 or later"),
        (memory.seq_rm(A, 5..3).unwrap_err(), "positions 5..3", "the start must not be after the end"),
        (memory.seq_cp(A, B, 5..3).unwrap_err(), "positions 5..3", "the start must not be after the end"),
        (memory.seq_add(A, -2..3, 1).unwrap_err(), "positions -2..3", "it must start at position 0 or later"),
        (memory.seq_div(A, -2..3, 2).unwrap_err(), "positions -2..3", "it must start at position 0 or later"),
    ];
    // All that there is, as `..` says it.
    memory.seq_rm(B, ..=i32::MAX).unwrap();
    for (error, values, reason) in errors {
        assert!(matches!(error.kind(), ErrorKind::InvalidRange { .. }), "{error:?}");
        assert!(error.to_string().contains(values) && error.to_string().contains(reason), "{error}");
    }
    assert_eq!(span(&mut context, A), before);
}

#[test]
fn sequences_that_are_none() {
    for tiny in KINDS {
        let model = load(tiny);
        for mut context in contexts(&model) {
            for id in [-1, 4, 256, 9999, i32::MAX] {
                let none = SeqId::new(id);
                let mut memory = context.memory();
                let errors = [
                    memory.seq_rm(none, ..).unwrap_err(),
                    memory.seq_cp(none, A, ..).unwrap_err(),
                    memory.seq_cp(A, none, ..).unwrap_err(),
                    memory.seq_keep(none).unwrap_err(),
                    memory.seq_add(none, .., 1).unwrap_err(),
                    memory.seq_div(none, .., 2).unwrap_err(),
                    memory.seq_pos_min(none).unwrap_err(),
                    memory.seq_pos_max(none).unwrap_err(),
                ];
                for error in errors {
                    assert!(
                        matches!(error.kind(), ErrorKind::InvalidSeqId { n_seq_max: 4, .. }),
                        "{error:?}"
                    );
                    let text = format!(
                        "sequence id {id} is out of range: the context was created for 4 sequences (0..4)"
                    );
                    assert_eq!(error.to_string(), text);
                }
            }
            assert!(!context.is_poisoned(), "{tiny}");
        }
    }
}

#[test]
fn models_without_memory_say_so() {
    let model = load(Tiny::Bert);
    let mut context = Context::new(&model, &params().n_seq_max(2)).unwrap();
    assert!(!context.has_memory());
    let mut memory = context.memory();
    let results = [
        memory.clear(true),
        memory.seq_rm(A, ..),
        memory.seq_rm(A, 3..3),
        memory.seq_cp(A, B, ..),
        memory.seq_cp(A, A, ..),
        memory.seq_keep(A),
        memory.seq_add(A, .., 1),
        memory.seq_div(A, .., 2),
        memory.seq_pos_min(A).map(drop),
        memory.seq_pos_max(A).map(drop),
        memory.can_shift().map(drop),
    ];
    for result in results {
        assert_unsupported(result, "it keeps no memory between batches");
    }
    assert!(!context.is_poisoned());
}

/// Returns a prompt far longer than the window of 16 tokens.
fn long_prompt(model: &Model) -> Vec<Token> {
    tokens(model, "Hello world, here it is").into_iter().cycle().take(600).collect()
}

#[test]
fn full_window_goes_back_to_any_position() {
    let model = load(Tiny::Gemma3);
    let prompt = long_prompt(&model);
    let params = params().n_ctx(1024).swa_full(true);
    let mut context = Context::new(&model, &params).unwrap();
    decode(&mut context, &prompt, A, 0);
    assert_eq!(span(&mut context, A), Some((0, 599)));
    context.memory().seq_rm(A, 20..).unwrap();
    let other = [&prompt[..20], &prompt[3..9]].concat();
    assert_close(&logits_after(&mut context, &other[20..], A, 20), &fresh(&model, &other), TOLERANCE);
}

#[test]
fn small_window_says_how_far_it_goes_back() {
    let model = load(Tiny::Gemma3);
    let prompt = long_prompt(&model);
    let mut context = Context::new(&model, &params().n_ctx(1024).n_ubatch(16).swa_full(false)).unwrap();
    decode(&mut context, &prompt, A, 0);
    let (first, last) = span(&mut context, A).unwrap();
    assert_eq!(last, 599);
    assert!((1..=599 - 16).contains(&first), "{first}");
    // Going on needs no more than the window.
    let full = Context::new(&model, &params().n_ctx(1024).n_ubatch(16)).unwrap();
    let [small, full] = [context, full].map(|mut context| {
        if span(&mut context, A).is_none() {
            decode(&mut context, &prompt, A, 0);
        }
        logits_after(&mut context, &prompt[..3], A, 600)
    });
    assert_close(&small, &full, TOLERANCE);
}

#[test]
fn one_buffer_holds_as_much_as_all_together() {
    let model = load(Tiny::Llama);
    let prompt = long_prompt(&model);
    let [mut unified, mut separate] =
        [true, false].map(|unified| Context::new(&model, &four_sequences(unified)).unwrap());
    assert_eq!((unified.n_ctx(), unified.n_ctx_seq()), (1024, 1024));
    assert_eq!((separate.n_ctx(), separate.n_ctx_seq()), (1024, 256));
    decode(&mut unified, &prompt, A, 0);
    let mut batch = Batch::new();
    batch.push_prompt(&prompt[..257], A, Pos::new(0)).unwrap();
    assert!(matches!(separate.decode(&batch).unwrap_err().kind(), ErrorKind::Decode(_)));
    assert_eq!(span(&mut separate, A), None);
    for seq_id in [A, B, C] {
        decode(&mut separate, &prompt[..256], seq_id, 0);
    }
}

#[test]
fn many_sequences_generate_what_each_would_alone() {
    for tiny in KINDS {
        let model = load(tiny);
        let prompts = ["Hello world", "The test of it all", "one two"].map(|text| tokens(&model, text));
        let alone = prompts.each_ref().map(|prompt| fresh_continuation(&model, prompt, 8));
        for mut context in contexts(&model) {
            let mut found = [Vec::new(), Vec::new(), Vec::new()];
            for (seq_id, prompt) in [A, B, C].into_iter().zip(&prompts) {
                let row = logits_after(&mut context, prompt, seq_id, 0);
                let best = (0..).zip(&row).max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
                found[usize::try_from(seq_id.get()).unwrap()].push(Token::new(best));
            }
            for step in 0..7 {
                let mut batch = Batch::new();
                for (index, seq_id) in [A, B, C].into_iter().enumerate() {
                    let pos = Pos::new(place(prompts[index].len() + step));
                    batch.push(found[index][step], pos, &[seq_id], true).unwrap();
                }
                context.decode(&batch).unwrap();
                for (index, found) in found.iter_mut().enumerate() {
                    found.push(context.logits(index).unwrap().argmax());
                }
            }
            assert_eq!(found, alone, "{tiny}");
        }
    }
}
