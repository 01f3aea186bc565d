//! The properties of each tiny model that its calls depend on.

use llama_core::Context;
use llama_core::context::{AttentionType, CacheType, PoolingType};
use test_models::Tiny;

use crate::memory::{Cache, Memory, State};
use crate::plan::Shape;

/// The width of the sliding window of the one model with a window.
const WINDOW: u32 = 16;
/// The number of positions of the models that look them up in a table.
pub(crate) const LEARNED_POSITIONS: i32 = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Decoder,
    Window,
    Recurrent,
    Hybrid,
    Encoder,
    EncoderDecoder,
}

fn kind(tiny: Tiny) -> Kind {
    match tiny {
        Tiny::Llama | Tiny::LlamaQ8 | Tiny::Qwen2 | Tiny::Qwen3Moe => Kind::Decoder,
        Tiny::Gemma3 => Kind::Window,
        Tiny::Mamba => Kind::Recurrent,
        Tiny::Jamba => Kind::Hybrid,
        Tiny::Bert | Tiny::BertReranker => Kind::Encoder,
        Tiny::T5 => Kind::EncoderDecoder,
    }
}

/// Whether the model has an encoder before its decoder.
pub(crate) fn has_encoder(tiny: Tiny) -> bool {
    kind(tiny) == Kind::EncoderDecoder
}

/// Whether the model gives logits.
pub(crate) fn has_logits(tiny: Tiny) -> bool {
    kind(tiny) != Kind::Encoder
}

/// Whether the model has a learned embedding for each position.
pub(crate) fn has_learned_positions(tiny: Tiny) -> bool {
    kind(tiny) == Kind::Encoder
}

/// Whether cached keys can be rotated to other positions; those of models without `RoPE` need no rotation. The heads
/// of all models are too short for quantised keys.
pub(crate) fn can_rotate(tiny: Tiny, shape: &Shape) -> bool {
    matches!(shape.types.0, CacheType::F16 | CacheType::F32)
        || !matches!(kind(tiny), Kind::Decoder | Kind::Window)
}

/// Returns the pooling of a context of this shape.
pub(crate) fn pooling(tiny: Tiny, shape: &Shape) -> PoolingType {
    shape.pooling.unwrap_or(match tiny {
        Tiny::Bert => PoolingType::Mean,
        Tiny::BertReranker => PoolingType::Rank,
        _ => PoolingType::None,
    })
}

/// Whether tokens of a context of this shape see only the tokens before them.
pub(crate) fn is_causal(tiny: Tiny, shape: &Shape) -> bool {
    match shape.attention {
        Some(attention) => attention == AttentionType::Causal,
        None => kind(tiny) != Kind::Encoder,
    }
}

/// Returns the memory of a new context.
pub(crate) fn memory(tiny: Tiny, shape: &Shape, context: &Context) -> Memory {
    let n_seq_max = shape.n_seq_max;
    let unified = shape.unified || n_seq_max == 1 || has_encoder(tiny);
    let buffers = if unified { 1 } else { n_seq_max as usize };
    let size = context.n_ctx_seq();
    let cache = |size: u32| Cache::new(buffers, size as usize);
    match kind(tiny) {
        Kind::Encoder => Memory::Nothing,
        Kind::Decoder | Kind::EncoderDecoder => Memory::Cache(cache(size)),
        Kind::Recurrent => Memory::State(State::default()),
        Kind::Hybrid => Memory::Both { cache: cache(size), state: State::default() },
        Kind::Window => {
            let windows = WINDOW * if unified { n_seq_max } else { 1 };
            let small = (windows + context.n_ubatch()).min(size).next_multiple_of(256);
            let window = cache(if shape.swa_full { size } else { small });
            Memory::Window { base: cache(size), window, width: i64::from(WINDOW) }
        }
    }
}
