//! How a context is made.

use crate::error::{Error, ErrorKind, Result};

/// The most threads that ggml can work with (`GGML_MAX_N_THREADS` of its CPU backend).
pub(crate) const MAX_THREADS: u32 = 512;

/// How embeddings of a sequence's tokens become one. Corresponds to `llama_pooling_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoolingType {
    /// One embedding for each token.
    None,
    /// The mean of all tokens.
    Mean,
    /// That of the first token.
    Cls,
    /// That of the last token.
    Last,
    /// The scores of a reranker.
    Rank,
}

/// Whether a token sees those after it. Corresponds to `llama_attention_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttentionType {
    /// Only those before.
    Causal,
    /// All of its batch.
    NonCausal,
}

/// When to use flash attention. Corresponds to `llama_flash_attn_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FlashAttention {
    /// Where the devices can.
    #[default]
    Auto,
    /// Never.
    Disabled,
    /// Always.
    Enabled,
}

/// The type of the cached keys or values. Corresponds to `ggml_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    #[default]
    F16,
    /// 16-bit brain floats.
    Bf16,
    /// 8 bits, blocks of 32.
    Q8_0,
    /// 5 bits with an offset, blocks of 32.
    Q5_1,
    /// 5 bits, blocks of 32.
    Q5_0,
    /// 4 bits with an offset, blocks of 32.
    Q4_1,
    /// 4 bits, blocks of 32.
    Q4_0,
}

/// How a context is made. The defaults are llama.cpp's, but for the threads: as many as this process can really
/// run at once. Corresponds to `llama_context_params`.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextParams {
    pub(crate) n_ctx: u32,
    pub(crate) n_batch: u32,
    pub(crate) n_ubatch: u32,
    pub(crate) n_seq_max: u32,
    n_threads: Option<u32>,
    n_threads_batch: Option<u32>,
    pooling_type: Option<PoolingType>,
    attention_type: Option<AttentionType>,
    flash_attention: FlashAttention,
    rope_freq_base: f32,
    rope_freq_scale: f32,
    type_k: CacheType,
    type_v: CacheType,
    embeddings: bool,
    offload_kqv: bool,
    op_offload: bool,
    swa_full: bool,
    kv_unified: bool,
    perf: bool,
}

impl Default for ContextParams {
    fn default() -> Self {
        Self {
            n_ctx: 512,
            n_batch: 2048,
            n_ubatch: 512,
            n_seq_max: 1,
            n_threads: None,
            n_threads_batch: None,
            pooling_type: None,
            attention_type: None,
            flash_attention: FlashAttention::default(),
            rope_freq_base: 0.0,
            rope_freq_scale: 0.0,
            type_k: CacheType::default(),
            type_v: CacheType::default(),
            embeddings: false,
            offload_kqv: true,
            op_offload: true,
            swa_full: true,
            kv_unified: false,
            perf: false,
        }
    }
}

/// A builder's setters: each sets the field of its name.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        impl ContextParams {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = $name.into();
                    self
                }
            )*
        }
    };
}

setters! {
    /// The size in tokens, of all sequences together; llama.cpp rounds it up to a multiple of 256 for each sequence, see
    /// [`Context::n_ctx`](crate::Context::n_ctx). 0: what the model was trained with. Default: 512.
    n_ctx: u32;
    /// The most tokens in one batch, at least `n_seq_max`. Default: 2048, at most `n_ctx`.
    n_batch: u32;
    /// The most tokens that are computed at once; a batch is divided into such parts. Models that see the whole
    /// text at once (encoders, non-causal attention) need it as large as the text. Rounded to a multiple of
    /// `n_seq_max`. Default: 512.
    n_ubatch: u32;
    /// The number of sequences, 1..=256. Default: 1.
    n_seq_max: u32;
    /// Threads for one token at a time, 1..=512. Default: the processors that this process may use.
    n_threads: u32;
    /// Threads for several tokens at a time, 1..=512. Default: as `n_threads`.
    n_threads_batch: u32;
    /// How embeddings are pooled. Default: the model's own.
    pooling_type: PoolingType;
    /// Whether tokens see those after them. Default: the model's own.
    attention_type: AttentionType;
    /// When to use flash attention. Default: where the devices can.
    flash_attention: FlashAttention;
    /// `RoPE`'s base frequency. 0: the model's own, the default.
    rope_freq_base: f32;
    /// The factor that `RoPE` frequencies are scaled by. 0: the model's own, the default.
    rope_freq_scale: f32;
    /// The type of cached keys. Default: f16.
    type_k: CacheType;
    /// The type of cached values. Default: f16. Quantised types need flash attention.
    type_v: CacheType;
    /// Whether embeddings are computed too. Default: false.
    embeddings: bool;
    /// Whether attention and its cache are on the GPU. Default: true.
    offload_kqv: bool;
    /// Whether large operations on the CPU's tensors are done on the GPU. Default: true.
    op_offload: bool;
    /// Whether sliding-window layers keep the whole context, so that positions before the window can be gone back
    /// to. Default: true.
    swa_full: bool;
    /// Whether all sequences share one buffer: better when they have a long common prefix. Always so for models with
    /// an encoder and a decoder. Default: false.
    kv_unified: bool;
    /// Whether to keep the times of [`Context::perf`](crate::Context::perf). Default: false.
    perf: bool;
}

impl ContextParams {
    pub(crate) fn to_raw(&self) -> Result<llama_sys::llama_context_params> {
        self.check()?;
        let n_threads = self.n_threads.unwrap_or_else(available_threads);
        let n_threads_batch = self.n_threads_batch.unwrap_or(n_threads);
        // SAFETY: takes no arguments and returns a struct of constants.
        let mut raw = unsafe { llama_sys::llama_context_default_params() };
        raw.n_ctx = self.n_ctx;
        raw.n_batch = self.n_batch;
        raw.n_ubatch = self.divisible_ubatch();
        raw.n_seq_max = self.n_seq_max;
        raw.n_threads = check_threads("n_threads", n_threads)?;
        raw.n_threads_batch = check_threads("n_threads_batch", n_threads_batch)?;
        raw.pooling_type = pooling_to_raw(self.pooling_type);
        raw.attention_type = attention_to_raw(self.attention_type);
        raw.flash_attn_type = flash_to_raw(self.flash_attention);
        raw.rope_freq_base = self.rope_freq_base;
        raw.rope_freq_scale = self.rope_freq_scale;
        raw.type_k = cache_to_raw(self.type_k);
        raw.type_v = cache_to_raw(self.type_v);
        raw.embeddings = self.embeddings;
        raw.offload_kqv = self.offload_kqv;
        raw.op_offload = self.op_offload;
        raw.swa_full = self.swa_full;
        raw.kv_unified = self.kv_unified;
        raw.no_perf = !self.perf;
        Ok(raw)
    }

    /// `n_ubatch`, or what is left of it when it is made a multiple of `n_seq_max`. llama.cpp lays out its largest
    /// computation with as many tokens of each sequence, and rounds their number up but not that of the results, so
    /// that pooling fails with an assertion (llama-context.cpp, `graph_reserve`).
    fn divisible_ubatch(&self) -> u32 {
        let mut n_ubatch = self.n_ubatch.min(self.n_batch);
        if self.n_ctx != 0 {
            n_ubatch = n_ubatch.min(self.n_ctx.next_multiple_of(256));
        }
        // Not below one token for each sequence; `check` has seen to it that a batch has that many.
        (n_ubatch - n_ubatch % self.n_seq_max).max(self.n_seq_max)
    }

    /// The types of cached keys and values.
    pub(crate) fn cache_types(&self) -> [CacheType; 2] {
        [self.type_k, self.type_v]
    }

    /// `RoPE`'s base frequency and scale.
    pub(crate) fn rope(&self) -> (f32, f32) {
        (self.rope_freq_base, self.rope_freq_scale)
    }

    pub(crate) fn is_swa_full(&self) -> bool {
        self.swa_full
    }

    fn check(&self) -> Result<()> {
        // SAFETY: takes no arguments and returns a constant.
        let most = unsafe { llama_sys::llama_max_parallel_sequences() };
        if self.n_seq_max == 0 || self.n_seq_max as usize > most {
            return Err(invalid("n_seq_max", self.n_seq_max, format!("a context has 1 to {most} sequences")));
        }
        for (name, value) in [("n_batch", self.n_batch), ("n_ubatch", self.n_ubatch)] {
            if value == 0 || i32::try_from(value).is_err() {
                return Err(invalid(name, value, format!("it is a number of tokens, 1 to {}", i32::MAX)));
            }
        }
        if self.n_batch < self.n_seq_max {
            let reason = format!("a batch has to hold a token of each of the {} sequences", self.n_seq_max);
            return Err(invalid("n_batch", self.n_batch, reason));
        }
        if i32::try_from(self.n_ctx).is_err() {
            return Err(invalid(
                "n_ctx",
                self.n_ctx,
                format!("it is a number of tokens, at most {}", i32::MAX),
            ));
        }
        for (name, value) in
            [("rope_freq_base", self.rope_freq_base), ("rope_freq_scale", self.rope_freq_scale)]
        {
            if !value.is_finite() || value < 0.0 {
                let reason = "it is a positive number, or 0 for the model's own".to_owned();
                return Err(invalid(name, value, reason));
            }
        }
        Ok(())
    }
}

/// Refuses thread counts that ggml cannot work with, and warns about those that it should not work with.
pub(crate) fn check_threads(name: &'static str, threads: u32) -> Result<i32> {
    if threads == 0 || threads > MAX_THREADS {
        let reason = format!("ggml works with 1 to {MAX_THREADS} threads");
        return Err(invalid(name, threads, reason));
    }
    let available = available_threads();
    if threads > available {
        tracing::warn!(
            "{name} is {threads} and this process can run {available} threads at once: ggml's threads wait by \
             spinning, so more of them than processors make it many times slower"
        );
    }
    Ok(i32::try_from(threads).unwrap_or(1))
}

/// The processors that this process may use: affinity and control groups counted.
fn available_threads() -> u32 {
    let available = std::thread::available_parallelism().map_or(1, core::num::NonZero::get);
    u32::try_from(available).unwrap_or(MAX_THREADS).min(MAX_THREADS)
}

fn invalid(name: &'static str, value: impl core::fmt::Display, reason: String) -> Error {
    ErrorKind::InvalidParameter { name, value: format!("{value}"), reason }.into()
}

fn pooling_to_raw(pooling: Option<PoolingType>) -> llama_sys::llama_pooling_type {
    use llama_sys::llama_pooling_type as Raw;
    match pooling {
        None => Raw::LLAMA_POOLING_TYPE_UNSPECIFIED,
        Some(PoolingType::None) => Raw::LLAMA_POOLING_TYPE_NONE,
        Some(PoolingType::Mean) => Raw::LLAMA_POOLING_TYPE_MEAN,
        Some(PoolingType::Cls) => Raw::LLAMA_POOLING_TYPE_CLS,
        Some(PoolingType::Last) => Raw::LLAMA_POOLING_TYPE_LAST,
        Some(PoolingType::Rank) => Raw::LLAMA_POOLING_TYPE_RANK,
    }
}

/// The pooling of a context, as llama.cpp resolved it.
pub(crate) fn pooling_from_raw(raw: llama_sys::llama_pooling_type) -> PoolingType {
    use llama_sys::llama_pooling_type as Raw;
    match raw {
        Raw::LLAMA_POOLING_TYPE_MEAN => PoolingType::Mean,
        Raw::LLAMA_POOLING_TYPE_CLS => PoolingType::Cls,
        Raw::LLAMA_POOLING_TYPE_LAST => PoolingType::Last,
        Raw::LLAMA_POOLING_TYPE_RANK => PoolingType::Rank,
        _ => PoolingType::None,
    }
}

fn attention_to_raw(attention: Option<AttentionType>) -> llama_sys::llama_attention_type {
    use llama_sys::llama_attention_type as Raw;
    match attention {
        None => Raw::LLAMA_ATTENTION_TYPE_UNSPECIFIED,
        Some(AttentionType::Causal) => Raw::LLAMA_ATTENTION_TYPE_CAUSAL,
        Some(AttentionType::NonCausal) => Raw::LLAMA_ATTENTION_TYPE_NON_CAUSAL,
    }
}

fn flash_to_raw(flash: FlashAttention) -> llama_sys::llama_flash_attn_type {
    use llama_sys::llama_flash_attn_type as Raw;
    match flash {
        FlashAttention::Auto => Raw::LLAMA_FLASH_ATTN_TYPE_AUTO,
        FlashAttention::Disabled => Raw::LLAMA_FLASH_ATTN_TYPE_DISABLED,
        FlashAttention::Enabled => Raw::LLAMA_FLASH_ATTN_TYPE_ENABLED,
    }
}

fn cache_to_raw(cache: CacheType) -> llama_sys::ggml_type {
    use llama_sys::ggml_type as Raw;
    match cache {
        CacheType::F32 => Raw::GGML_TYPE_F32,
        CacheType::F16 => Raw::GGML_TYPE_F16,
        CacheType::Bf16 => Raw::GGML_TYPE_BF16,
        CacheType::Q8_0 => Raw::GGML_TYPE_Q8_0,
        CacheType::Q5_1 => Raw::GGML_TYPE_Q5_1,
        CacheType::Q5_0 => Raw::GGML_TYPE_Q5_0,
        CacheType::Q4_1 => Raw::GGML_TYPE_Q4_1,
        CacheType::Q4_0 => Raw::GGML_TYPE_Q4_0,
    }
}
