//! `gemma3`: a decoder that sees only a window of the past in most layers.

use llama_gguf::{TensorType, Writer};

use crate::model::{HEAD, Model, N_EMBD, N_FF, N_HEAD, N_HEAD_KV};
use crate::vocab::Vocab;

/// The number of layers: two with the window, then one without, as `attention.sliding_window_pattern` says.
const LAYERS: u64 = 3;

pub(crate) fn f16() -> Writer<'static> {
    let mut model = Model::new("gemma3", "gemma3", TensorType::F16);
    model.keys(&[
        ("block_count", LAYERS),
        ("feed_forward_length", N_FF),
        ("attention.head_count", N_HEAD),
        ("attention.head_count_kv", N_HEAD_KV),
        ("attention.key_length", HEAD),
        ("attention.value_length", HEAD),
        ("attention.sliding_window", 16),
        ("attention.sliding_window_pattern", 3),
    ]);
    model.key("attention.layer_norm_rms_epsilon", 1e-6f32);
    model.key("rope.freq_base", 10_000f32);
    // The model multiplies embeddings by the root of their width, which makes this a deviation of about a half.
    model.vocabulary(&Vocab::spm(), 0.06);
    model.norm("output_norm.weight", N_EMBD);
    for layer in 0..LAYERS {
        let block = format!("blk.{layer}");
        model.norm(&format!("{block}.attn_norm.weight"), N_EMBD);
        model.attention(&format!("{block}.attn_"), N_HEAD_KV, "output");
        model.norm(&format!("{block}.attn_q_norm.weight"), HEAD);
        model.norm(&format!("{block}.attn_k_norm.weight"), HEAD);
        model.norm(&format!("{block}.post_attention_norm.weight"), N_EMBD);
        model.norm(&format!("{block}.ffn_norm.weight"), N_EMBD);
        model.feed_forward(&block);
        model.norm(&format!("{block}.post_ffw_norm.weight"), N_EMBD);
    }
    model.finish()
}
