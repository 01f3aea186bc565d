//! States move between the device and the CPU, and stay on the device.

use super::{assert_close, gpu, on, on_cpu};
use crate::going_on::{fresh, started};
use crate::greedy::{SEQ, logits_after, params};
use llama_core::context::{CacheType, FlashAttention};
use llama_core::state::StatePart;
use llama_core::{Context, ContextParams, Model, Token};
use test_models::Tiny;

fn exact() -> ContextParams {
    params().type_k(CacheType::F32).type_v(CacheType::F32).flash_attention(FlashAttention::Disabled)
}

/// Returns the logits after one more token.
fn next(context: &mut Context, at: usize) -> Vec<f32> {
    logits_after(context, &[Token::new(5)], SEQ, at)
}

/// Saves the state of a context of `from`, restores it in one of `to`, and compares the logits after the next token.
#[track_caller]
fn assert_moves(from: &Model, to: &Model, what: impl std::fmt::Display) {
    let (mut saved, prompt) = started(from, &exact(), 12);
    let mut data = Vec::new();
    saved.seq_state_data(SEQ, StatePart::All, &mut data).unwrap();
    let mut restored = fresh(to, &exact());
    restored.set_seq_state_data(SEQ, StatePart::All, &data).unwrap();
    let mut again = Vec::new();
    restored.seq_state_data(SEQ, StatePart::All, &mut again).unwrap();
    assert_eq!(data, again, "{what}: the bytes went there and back");
    assert_close(&next(&mut saved, prompt.len()), &next(&mut restored, prompt.len()), what);
}

#[test]
fn states_move_to_the_device_and_back() {
    let Some(device) = gpu() else { return };
    for tiny in [Tiny::Llama, Tiny::Qwen3Moe, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba] {
        let (there, here) = (on(device, tiny.path()), on_cpu(tiny.path()));
        assert_moves(&here, &there, format_args!("{tiny} from the CPU"));
        assert_moves(&there, &here, format_args!("{tiny} from the device"));
        assert_moves(&there, &there, format_args!("{tiny} on the device"));
    }
}

#[test]
fn states_are_kept_on_the_device() {
    let Some(device) = gpu() else { return };
    let rows = params().n_ctx(768).n_seq_max(3).flash_attention(FlashAttention::Enabled);
    for tiny in [Tiny::Llama, Tiny::Mamba] {
        let (mut context, prompt) = started(&on(device, tiny.path()), &rows, 12);
        let state = context.keep_seq_state(SEQ, StatePart::All).unwrap();
        let expected = next(&mut context, prompt.len());
        for _ in 0..2 {
            context.restore_seq_state(SEQ, &state).unwrap();
            assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), state.end(), "{tiny}");
            assert_close(&expected, &next(&mut context, prompt.len()), tiny);
        }
    }
}
