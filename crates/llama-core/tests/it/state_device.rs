//! States on the device are restored unchanged, and cannot be confused.

use crate::going_on::{Future, pos, started};
use crate::greedy::{SEQ, decode, load, params};
use llama_core::context::{CacheType, FlashAttention};
use llama_core::state::{StateError, StatePart};
use llama_core::{Context, ContextParams, ErrorKind, SeqId, Token};
use test_models::Tiny;

/// Returns parameters with flash attention, which stores values row by row.
fn rows() -> ContextParams {
    params().n_ctx(768).n_seq_max(3).flash_attention(FlashAttention::Enabled)
}

#[test]
fn sequences_go_back_to_them() {
    let parts = |tiny| match tiny {
        Tiny::Llama | Tiny::Qwen3Moe => vec![StatePart::All],
        _ => vec![StatePart::All, StatePart::Partial],
    };
    for tiny in [Tiny::Llama, Tiny::Qwen3Moe, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba] {
        for (part, unified) in parts(tiny).into_iter().flat_map(|part| [(part, true), (part, false)]) {
            let (mut context, prompt) = started(&load(tiny), &rows().kv_unified(unified), usize::MAX);
            let state = context.keep_seq_state(SEQ, part).unwrap();
            assert_eq!(
                (state.seq_id(), state.part(), state.end()),
                (SEQ, part, Some(pos(prompt.len() - 1))),
                "{tiny}"
            );
            let expected = Future::of(&mut context, SEQ, prompt.len());
            for _ in 0..3 {
                context.restore_seq_state(SEQ, &state).unwrap();
                assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), state.end(), "{tiny} {part:?}");
                Future::of(&mut context, SEQ, prompt.len())
                    .assert_close(&expected, format_args!("{tiny} {part:?}"));
            }
            if part == StatePart::All {
                let other = SeqId::new(2);
                context.restore_seq_state(other, &state).unwrap();
                Future::of(&mut context, other, prompt.len())
                    .assert_close(&expected, format_args!("{tiny} moved"));
            }
        }
    }
}

/// Restores equal bytes into other cells: llama.cpp reuses the memory of the first state.
#[test]
fn cells_may_come_to_lie_differently() {
    for part in [StatePart::All, StatePart::Partial] {
        let model = load(Tiny::Gemma3);
        let (mut context, prompt) = started(&model, &rows().kv_unified(true), 10);
        drop(context.keep_seq_state(SEQ, part).unwrap());
        context.memory().clear(true).unwrap();
        for (at, token) in prompt.iter().enumerate() {
            decode(&mut context, &[*token], SEQ, at);
            decode(&mut context, &[*token], SeqId::new(1), at);
        }
        let state = context.keep_seq_state(SEQ, part).unwrap();
        let expected = Future::of(&mut context, SEQ, prompt.len());
        context.restore_seq_state(SEQ, &state).unwrap();
        Future::of(&mut context, SEQ, prompt.len()).assert_close(&expected, format_args!("{part:?}"));
    }
}

#[test]
fn a_later_one_takes_the_place_of_an_earlier() {
    let (mut context, prompt) = started(&load(Tiny::Mamba), &rows(), 12);
    let first = context.keep_seq_state(SEQ, StatePart::Partial).unwrap();
    decode(&mut context, &[Token::new(5)], SEQ, prompt.len());
    let second = context.keep_seq_state(SEQ, StatePart::All).unwrap();
    let error = context.restore_seq_state(SEQ, &first).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::State(StateError::Superseded { seq_id: 0, .. })), "{error}");
    assert_eq!(
        error.to_string(),
        "the state was not saved or restored: a later state of sequence 0 has replaced it on the device: a \
         context keeps one for each sequence"
    );
    // That of another sequence has its own place, and an empty one takes it too.
    drop(context.keep_seq_state(SeqId::new(1), StatePart::All).unwrap());
    context.restore_seq_state(SEQ, &second).unwrap();
    assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), second.end());
    context.memory().clear(true).unwrap();
    context.restore_seq_state(SeqId::new(2), &second).unwrap();
    assert_eq!(context.memory().seq_pos_max(SeqId::new(2)).unwrap(), second.end());
    let empty = context.keep_seq_state(SEQ, StatePart::All).unwrap();
    assert_eq!(empty.end(), None);
    context.restore_seq_state(SEQ, &second).unwrap_err();
    context.restore_seq_state(SeqId::new(2), &empty).unwrap();
    assert_eq!(context.memory().seq_pos_max(SeqId::new(2)).unwrap(), None);
}

#[test]
fn it_stays_with_its_context() {
    let model = load(Tiny::Jamba);
    let (mut context, _) = started(&model, &rows(), 12);
    let state = context.keep_seq_state(SEQ, StatePart::All).unwrap();
    for mut other in [context.try_clone().unwrap(), Context::new(&model, &rows()).unwrap()] {
        let error = other.restore_seq_state(SEQ, &state).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::State(StateError::OtherContext)), "{error}");
    }
    let error = context.restore_seq_state(SeqId::new(3), &state).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidSeqId { seq_id: 3, .. }), "{error}");
    drop(context);
    assert_eq!(state.seq_id(), SEQ);
}

#[test]
fn what_llama_cpp_does_wrong_is_refused() {
    let refuse = |context: &mut Context, part, reason: &str| {
        for _ in 0..2 {
            let error = context.keep_seq_state(SEQ, part).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
            assert!(error.to_string().ends_with(reason), "{error}");
        }
    };
    let model = load(Tiny::Llama);
    let (mut quantised, _) = started(&model, &rows().type_k(CacheType::Q8_0), 12);
    refuse(&mut quantised, StatePart::All, "the cache of keys or values is quantised: use seq_state_data");
    let columns = rows().flash_attention(FlashAttention::Disabled).kv_unified(true);
    let (mut transposed, prompt) = started(&model, &columns, 12);
    let reason = "values are stored column by column: use flash attention, or seq_state_data";
    refuse(&mut transposed, StatePart::All, reason);
    // The second of as many bytes in more pieces would end the process.
    transposed.memory().clear(true).unwrap();
    for (at, token) in prompt.iter().enumerate() {
        decode(&mut transposed, &[*token], SEQ, at);
        decode(&mut transposed, &[*token], SeqId::new(1), at);
    }
    refuse(&mut transposed, StatePart::All, reason);
    // Neither matters to recurrent states.
    let (mut hybrid, prompt) = started(&load(Tiny::Jamba), &rows().type_k(CacheType::Q8_0), 12);
    refuse(&mut hybrid, StatePart::All, "the cache of keys or values is quantised: use seq_state_data");
    let state = hybrid.keep_seq_state(SEQ, StatePart::Partial).unwrap();
    let expected = Future::of(&mut hybrid, SEQ, prompt.len());
    hybrid.restore_seq_state(SEQ, &state).unwrap();
    Future::of(&mut hybrid, SEQ, prompt.len()).assert_close(&expected, "hybrid");
}

#[test]
fn a_partial_one_goes_back_only() {
    let (mut context, _) = started(&load(Tiny::Gemma3), &rows(), 12);
    let state = context.keep_seq_state(SEQ, StatePart::Partial).unwrap();
    context.memory().seq_rm(SEQ, 8..).unwrap();
    for seq_id in [SEQ, SeqId::new(1)] {
        let error = context.restore_seq_state(seq_id, &state).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidPosition { pos: 11, .. }), "{error}");
    }
    assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), Some(pos(7)));
}

#[test]
fn without_room_the_sequence_is_empty_and_the_rest_is_there() {
    let model = load(Tiny::Llama);
    let params = params().n_ctx(256).n_seq_max(3).kv_unified(true).flash_attention(FlashAttention::Enabled);
    let mut context = Context::new(&model, &params).unwrap();
    let tokens: Vec<Token> = (0..100).map(|n| Token::new(300 + n)).collect();
    decode(&mut context, &tokens, SEQ, 0);
    decode(&mut context, &tokens, SeqId::new(1), 0);
    let state = context.keep_seq_state(SEQ, StatePart::All).unwrap();
    let mut data = Vec::new();
    context.seq_state_data(SEQ, StatePart::All, &mut data).unwrap();
    decode(&mut context, &[tokens[0]], SeqId::new(2), 0);
    let to = SeqId::new(2);
    for on_device in [true, false] {
        let result = match on_device {
            true => context.restore_seq_state(to, &state),
            false => context.set_seq_state_data(to, StatePart::All, &data),
        };
        let error = result.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::State(StateError::Refused { .. })), "{error}");
        let text = error.to_string();
        assert!(text.starts_with(
            "the state was not saved or restored: llama.cpp could not restore it; sequence 2 is empty now"
        ));
        assert!(text.contains("failed to find 100 available cells in kv cache"), "{text}");
        assert!(!context.is_poisoned());
        assert_eq!(context.memory().seq_pos_max(to).unwrap(), None);
        assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), Some(pos(99)));
    }
    context.memory().seq_rm(SeqId::new(1), ..).unwrap();
    context.restore_seq_state(to, &state).unwrap();
    let expected = Future::of(&mut context, SEQ, 100);
    Future::of(&mut context, to, 100).assert_close(&expected, "with room");
}
