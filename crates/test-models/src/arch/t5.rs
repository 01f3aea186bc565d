//! `t5`: an encoder whose output a decoder attends to.

use llama_gguf::{TensorType, Writer};

use crate::model::{HEAD, Model, N_EMBD, N_FF, N_HEAD};
use crate::vocab::Vocab;

/// The number of layers of the encoder, and of the decoder.
const LAYERS: u64 = 2;
/// The number of buckets for distances between tokens; each has its own bias.
const BUCKETS: u64 = 32;

pub(crate) fn f16() -> Writer<'static> {
    let mut model = Model::new("t5", "t5", TensorType::F16);
    model.keys(&[
        ("block_count", LAYERS),
        ("decoder_block_count", LAYERS),
        ("decoder_start_token_id", 0),
        ("feed_forward_length", N_FF),
        ("attention.head_count", N_HEAD),
        ("attention.key_length", HEAD),
        ("attention.value_length", HEAD),
        ("attention.relative_buckets_count", BUCKETS),
    ]);
    model.key("attention.layer_norm_rms_epsilon", 1e-6f32);
    model.vocabulary(&Vocab::ugm(), 0.7);
    for side in ["enc", "dec"] {
        model.norm(&format!("{side}.output_norm.weight"), N_EMBD);
        // Only the first layer has biases; the other layers use them too.
        model.vector(&format!("{side}.blk.0.attn_rel_b.weight"), &[N_HEAD, BUCKETS], 0.0, 3.0);
        for layer in 0..LAYERS {
            let block = format!("{side}.blk.{layer}");
            model.norm(&format!("{block}.attn_norm.weight"), N_EMBD);
            attention(&mut model, &format!("{block}.attn_"));
            if side == "dec" {
                model.norm(&format!("{block}.cross_attn_norm.weight"), N_EMBD);
                attention(&mut model, &format!("{block}.cross_attn_"));
            }
            model.norm(&format!("{block}.ffn_norm.weight"), N_EMBD);
            model.feed_forward(&block);
        }
    }
    model.finish()
}

/// Adds attention. This architecture does not scale products of query and key, so the matrices are scaled.
fn attention(model: &mut Model, prefix: &str) {
    model.matrix(&format!("{prefix}q.weight"), &[N_EMBD, HEAD * N_HEAD], 0.7);
    model.matrix(&format!("{prefix}k.weight"), &[N_EMBD, HEAD * N_HEAD], 0.7);
    model.matrix(&format!("{prefix}v.weight"), &[N_EMBD, HEAD * N_HEAD], 1.0);
    model.matrix(&format!("{prefix}o.weight"), &[HEAD * N_HEAD, N_EMBD], 2.0);
}
