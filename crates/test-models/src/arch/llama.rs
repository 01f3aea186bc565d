//! `llama`: the plain decoder.

use llama_gguf::{TensorType, Writer};

use crate::lora::Lora;
use crate::model::{HEAD, Model, N_EMBD, N_FF, N_HEAD, N_HEAD_KV};
use crate::vocab::Vocab;

const LAYERS: u64 = 2;

pub(crate) fn f16() -> Writer<'static> {
    write("llama", TensorType::F16)
}

pub(crate) fn q8_0() -> Writer<'static> {
    write("llama-q8_0", TensorType::Q8_0)
}

/// Returns the model in F32, with adapters of these scales merged into its matrices.
pub(crate) fn merged(adapters: &[(Lora, f32)]) -> Writer<'static> {
    let mut model = Model::new("llama-f32", "llama", TensorType::F32);
    for (adapter, scale) in adapters {
        adapter.merge(&mut model, *scale);
    }
    fill(model)
}

fn write(name: &'static str, matrices: TensorType) -> Writer<'static> {
    fill(Model::new(name, "llama", matrices))
}

fn fill(mut model: Model) -> Writer<'static> {
    model.keys(&[
        ("block_count", LAYERS),
        ("feed_forward_length", N_FF),
        ("attention.head_count", N_HEAD),
        ("attention.head_count_kv", N_HEAD_KV),
        ("rope.dimension_count", HEAD),
    ]);
    model.key("attention.layer_norm_rms_epsilon", 1e-5f32);
    model.key("rope.freq_base", 10_000f32);
    model.vocabulary(&Vocab::spm().with_chat_template(), 1.0);
    model.norm("output_norm.weight", N_EMBD);
    for layer in 0..LAYERS {
        let block = format!("blk.{layer}");
        model.norm(&format!("{block}.attn_norm.weight"), N_EMBD);
        model.attention(&format!("{block}.attn_"), N_HEAD_KV, "output");
        model.norm(&format!("{block}.ffn_norm.weight"), N_EMBD);
        model.feed_forward(&block);
    }
    model.finish()
}
