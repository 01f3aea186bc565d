//! `jamba`: a hybrid of recurrent layers and attention.

use llama_gguf::{TensorType, Writer};

use crate::arch::mamba;
use crate::model::{Model, N_EMBD, N_FF, N_HEAD, N_HEAD_KV};
use crate::vocab::Vocab;

/// The heads of keys and values for each layer. A layer without heads is recurrent.
const HEADS_KV: [u64; 3] = [0, N_HEAD_KV, 0];

pub(crate) fn f16() -> Writer<'static> {
    let mut model = Model::new("jamba", "jamba", TensorType::F16);
    model.keys(&mamba::KEYS);
    model.keys(&[
        ("block_count", HEADS_KV.len() as u64),
        ("feed_forward_length", N_FF),
        ("attention.head_count", N_HEAD),
    ]);
    let heads: Vec<u32> = HEADS_KV.map(|n| n.try_into().expect("it is small")).into();
    model.key("attention.head_count_kv", heads);
    model.key("attention.layer_norm_rms_epsilon", 1e-6f32);
    model.vocabulary(&Vocab::spm(), 1.0);
    model.norm("output_norm.weight", N_EMBD);
    for (layer, n_head_kv) in HEADS_KV.into_iter().enumerate() {
        let block = format!("blk.{layer}");
        model.norm(&format!("{block}.attn_norm.weight"), N_EMBD);
        if n_head_kv == 0 {
            mamba::recurrence(&mut model, &block);
            mamba::recurrence_norms(&mut model, &block);
        } else {
            model.attention(&format!("{block}.attn_"), n_head_kv, "output");
        }
        model.norm(&format!("{block}.ffn_norm.weight"), N_EMBD);
        model.feed_forward(&block);
    }
    model.finish()
}
