//! `bert`: an encoder, as embedder and as reranker.

use llama_gguf::{TensorType, Writer};

use crate::model::{Model, N_CTX, N_EMBD, N_FF, N_HEAD};
use crate::vocab::Vocab;

const LAYERS: u64 = 2;

/// `LLAMA_POOLING_TYPE_MEAN`.
const POOL_MEAN: u32 = 1;
/// `LLAMA_POOLING_TYPE_RANK`.
const POOL_RANK: u32 = 4;

pub(crate) fn embedder() -> Writer<'static> {
    encoder("bert", POOL_MEAN).finish()
}

pub(crate) fn reranker() -> Writer<'static> {
    let mut model = encoder("bert-reranker", POOL_RANK);
    model.matrix("cls.weight", &[N_EMBD, N_EMBD], 1.0);
    model.vector("cls.bias", &[N_EMBD], 0.0, 0.1);
    model.matrix("cls.output.weight", &[N_EMBD, 1], 3.0);
    model.vector("cls.output.bias", &[1], 0.0, 0.1);
    model.finish()
}

fn encoder(name: &'static str, pooling: u32) -> Model {
    let mut model = Model::new(name, "bert", TensorType::F32);
    model.keys(&[("block_count", LAYERS), ("feed_forward_length", N_FF), ("attention.head_count", N_HEAD)]);
    model.key("attention.layer_norm_epsilon", 1e-12f32);
    model.key("attention.causal", false);
    model.key("pooling_type", pooling);
    model.embedding(&Vocab::wpm(), 1.0);
    model.vector("token_types.weight", &[N_EMBD, 2], 0.0, 0.1);
    model.vector("position_embd.weight", &[N_EMBD, N_CTX.into()], 0.0, 0.3);
    layer_norm(&mut model, "token_embd_norm");
    for layer in 0..LAYERS {
        let block = format!("blk.{layer}");
        model.attention(&format!("{block}.attn_"), N_HEAD, "output");
        for part in ["q", "k", "v", "output"] {
            model.vector(&format!("{block}.attn_{part}.bias"), &[N_EMBD], 0.0, 0.1);
        }
        layer_norm(&mut model, &format!("{block}.attn_output_norm"));
        model.matrix(&format!("{block}.ffn_up.weight"), &[N_EMBD, N_FF], 1.0);
        model.vector(&format!("{block}.ffn_up.bias"), &[N_FF], 0.0, 0.1);
        model.matrix(&format!("{block}.ffn_down.weight"), &[N_FF, N_EMBD], 2.0);
        model.vector(&format!("{block}.ffn_down.bias"), &[N_EMBD], 0.0, 0.1);
        layer_norm(&mut model, &format!("{block}.layer_output_norm"));
    }
    model
}

fn layer_norm(model: &mut Model, name: &str) {
    model.norm(&format!("{name}.weight"), N_EMBD);
    model.vector(&format!("{name}.bias"), &[N_EMBD], 0.0, 0.1);
}
