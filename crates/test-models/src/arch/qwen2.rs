//! `qwen2`: a decoder with biases on query, key and value.

use llama_gguf::{TensorType, Writer};

use crate::model::{HEAD, Model, N_EMBD, N_FF, N_HEAD, N_HEAD_KV};
use crate::vocab::Vocab;

const LAYERS: u64 = 2;

pub(crate) fn f16() -> Writer<'static> {
    let mut model = Model::new("qwen2", "qwen2", TensorType::F16);
    model.keys(&[
        ("block_count", LAYERS),
        ("feed_forward_length", N_FF),
        ("attention.head_count", N_HEAD),
        ("attention.head_count_kv", N_HEAD_KV),
    ]);
    model.key("attention.layer_norm_rms_epsilon", 1e-6f32);
    model.key("rope.freq_base", 10_000f32);
    model.vocabulary(&Vocab::bpe().with_chat_template(), 1.0);
    model.norm("output_norm.weight", N_EMBD);
    for layer in 0..LAYERS {
        let block = format!("blk.{layer}");
        model.norm(&format!("{block}.attn_norm.weight"), N_EMBD);
        model.attention(&format!("{block}.attn_"), N_HEAD_KV, "output");
        model.vector(&format!("{block}.attn_q.bias"), &[HEAD * N_HEAD], 0.0, 0.5);
        model.vector(&format!("{block}.attn_k.bias"), &[HEAD * N_HEAD_KV], 0.0, 0.5);
        model.vector(&format!("{block}.attn_v.bias"), &[HEAD * N_HEAD_KV], 0.0, 0.1);
        model.norm(&format!("{block}.ffn_norm.weight"), N_EMBD);
        model.feed_forward(&block);
    }
    model.finish()
}
