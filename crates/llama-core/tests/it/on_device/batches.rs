//! Several sequences in one batch on the device.

use super::{assert_close, gpu, on, on_cpu};
use crate::greedy::{params, tokens};
use llama_core::{Batch, Context, Model, Pos, SeqId};
use test_models::Tiny;

const TEXTS: [&str; 3] = ["Hello world", "The quick brown fox jumps", "One, two, three, four, five and six"];

/// Decodes all texts in one batch, and returns the logits after each.
fn logits_of_all(model: &Model) -> Vec<Vec<f32>> {
    let mut context = Context::new(model, &params().n_ctx(768).n_seq_max(3)).unwrap();
    let mut batch = Batch::new();
    let mut last = Vec::new();
    for (seq, text) in (0..).zip(TEXTS) {
        batch.push_prompt(&tokens(model, text), SeqId::new(seq), Pos::new(0)).unwrap();
        last.push(batch.len() - 1);
    }
    context.decode(&batch).unwrap();
    last.into_iter().map(|index| context.logits(index).unwrap().to_vec()).collect()
}

#[test]
fn sequences_of_one_batch_are_those_of_the_cpu() {
    let Some(device) = gpu() else { return };
    for tiny in [Tiny::Llama, Tiny::LlamaQ8, Tiny::Qwen3Moe, Tiny::Gemma3, Tiny::Mamba] {
        let found = logits_of_all(&on(device, tiny.path()));
        let expected = logits_of_all(&on_cpu(tiny.path()));
        for (text, (found, expected)) in TEXTS.iter().zip(found.iter().zip(&expected)) {
            assert_close(expected, found, format_args!("{tiny} {text}"));
        }
    }
}
