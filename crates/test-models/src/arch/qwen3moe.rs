//! `qwen3moe`: a decoder whose feed-forward layers are mixtures of experts.

use llama_gguf::{TensorType, Writer};

use crate::model::{HEAD, Model, N_EMBD, N_HEAD, N_HEAD_KV};
use crate::vocab::Vocab;

const LAYERS: u64 = 2;
const EXPERTS: u64 = 4;
const EXPERT_FF: u64 = 64;

pub(crate) fn f16() -> Writer<'static> {
    let mut model = Model::new("qwen3moe", "qwen3moe", TensorType::F16);
    model.keys(&[
        ("block_count", LAYERS),
        ("feed_forward_length", EXPERT_FF),
        ("expert_feed_forward_length", EXPERT_FF),
        ("expert_count", EXPERTS),
        ("expert_used_count", 2),
        ("attention.head_count", N_HEAD),
        ("attention.head_count_kv", N_HEAD_KV),
        ("attention.key_length", HEAD),
        ("attention.value_length", HEAD),
    ]);
    model.key("attention.layer_norm_rms_epsilon", 1e-6f32);
    model.key("rope.freq_base", 10_000f32);
    model.vocabulary(&Vocab::bpe().with_chat_template(), 1.0);
    model.norm("output_norm.weight", N_EMBD);
    for layer in 0..LAYERS {
        let block = format!("blk.{layer}");
        model.norm(&format!("{block}.attn_norm.weight"), N_EMBD);
        model.attention(&format!("{block}.attn_"), N_HEAD_KV, "output");
        model.norm(&format!("{block}.attn_q_norm.weight"), HEAD);
        model.norm(&format!("{block}.attn_k_norm.weight"), HEAD);
        model.norm(&format!("{block}.ffn_norm.weight"), N_EMBD);
        model.vector(&format!("{block}.ffn_gate_inp.weight"), &[N_EMBD, EXPERTS], 0.0, 0.2);
        model.matrix(&format!("{block}.ffn_gate_exps.weight"), &[N_EMBD, EXPERT_FF, EXPERTS], 1.0);
        model.matrix(&format!("{block}.ffn_up_exps.weight"), &[N_EMBD, EXPERT_FF, EXPERTS], 1.0);
        model.matrix(&format!("{block}.ffn_down_exps.weight"), &[EXPERT_FF, N_EMBD, EXPERTS], 2.0);
    }
    model.finish()
}
