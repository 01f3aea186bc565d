//! Parameters of contexts.

use crate::error::{Error, ParameterProblem, Result};
use crate::ffi::guard::guarded;
use crate::model::Model;

/// Maximum number of ggml's threads (`GGML_MAX_N_THREADS` of its CPU backend).
pub(crate) const MAX_THREADS: u32 = 512;

/// The method of combining the embeddings of a sequence's tokens. Corresponds to `llama_pooling_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum PoolingType {
    /// No pooling: one embedding for each token.
    None,
    /// Mean of all tokens.
    Mean,
    /// Embedding of the first token.
    Cls,
    /// Embedding of the last token.
    Last,
    /// Scores of a reranker.
    Rank,
}

/// The attention of tokens to later tokens. Corresponds to `llama_attention_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum AttentionType {
    /// Tokens only attend to earlier ones.
    Causal,
    /// Tokens attend to all tokens of their batch.
    NonCausal,
}

/// The use of flash attention. Corresponds to `llama_flash_attn_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum FlashAttention {
    /// Use it where the devices support it.
    #[default]
    Auto,
    /// Never use it.
    Disabled,
    /// Always use it.
    Enabled,
}

/// Type of the cached keys or values. Corresponds to `ggml_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum CacheType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    #[default]
    F16,
    /// 16-bit brain floats.
    Bf16,
    /// 8 bits, in blocks of 32.
    Q8_0,
    /// 5 bits with an offset, in blocks of 32.
    Q5_1,
    /// 5 bits, in blocks of 32.
    Q5_0,
    /// 4 bits with an offset, in blocks of 32.
    Q4_1,
    /// 4 bits, in blocks of 32.
    Q4_0,
}

/// The part of a model that a context computes. Corresponds to `llama_context_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum ContextType {
    /// The model itself.
    #[default]
    Default,
    /// The layers that predict several tokens at once (MTP, `nextn`) from hidden states of the model: each entry of
    /// a batch needs such a state, see [`Batch::push_state`](crate::Batch::push_state). Requires a model that was
    /// loaded with [`ModelParams::load_mtp`](crate::ModelParams::load_mtp).
    ///
    /// llama.h has no function that reads such states from a context of the model, and those of `llama-ext.h` are
    /// C++. An [`Observer`](crate::Observer) can read them, in most models as the tensor `h_nextn`, with a row for
    /// each output.
    Mtp,
}

/// The method of scaling `RoPE` to more positions than the model was trained with. Corresponds to
/// `llama_rope_scaling_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum RopeScaling {
    /// No scaling, whatever the value of `rope_freq_scale`.
    None,
    /// Scales all frequencies by `rope_freq_scale`.
    Linear,
    /// Scales each frequency differently, see the parameters `yarn_*`.
    Yarn,
    /// Scales each frequency by a factor stored in the model.
    LongRope,
}

/// Parameters of a context. The defaults are llama.cpp's, except the number of threads, which is the number that
/// this process can really run at once. Corresponds to `llama_context_params`.
///
/// Three fields are missing: `defrag_thold`, which llama.cpp no longer reads; `samplers`, which
/// [`Context::set_sampler`](crate::Context::set_sampler) replaces; and `ctx_other`, a context whose memory and
/// weights are shared. Only draft models (Gemma 4's assistant, EAGLE-3, `DFlash`) use `ctx_other`. The first of them
/// reads and writes the other context's memory without protection against concurrent computation, and the others
/// also need functions of `llama-ext.h`, which are C++.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextParams {
    pub(crate) n_ctx: u32,
    pub(crate) n_batch: u32,
    pub(crate) n_ubatch: u32,
    pub(crate) n_seq_max: u32,
    n_rs_seq: u32,
    n_outputs_max: u32,
    n_outputs_max_per_seq: u32,
    n_threads: Option<u32>,
    n_threads_batch: Option<u32>,
    ctx_type: ContextType,
    rope_scaling_type: Option<RopeScaling>,
    pub(super) pooling_type: Option<PoolingType>,
    attention_type: Option<AttentionType>,
    flash_attention: FlashAttention,
    rope_freq_base: f32,
    pub(super) rope_freq_scale: f32,
    yarn_ext_factor: Option<f32>,
    yarn_attn_factor: Option<f32>,
    yarn_beta_fast: Option<f32>,
    yarn_beta_slow: Option<f32>,
    pub(super) yarn_orig_ctx: u32,
    type_k: CacheType,
    type_v: CacheType,
    moe_cache_size: usize,
    pub(super) embeddings: bool,
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
            n_rs_seq: 0,
            n_outputs_max: 0,
            n_outputs_max_per_seq: 1,
            n_threads: None,
            n_threads_batch: None,
            ctx_type: ContextType::default(),
            rope_scaling_type: None,
            pooling_type: None,
            attention_type: None,
            flash_attention: FlashAttention::default(),
            rope_freq_base: 0.0,
            rope_freq_scale: 0.0,
            yarn_ext_factor: None,
            yarn_attn_factor: None,
            yarn_beta_fast: None,
            yarn_beta_slow: None,
            yarn_orig_ctx: 0,
            type_k: CacheType::default(),
            type_v: CacheType::default(),
            moe_cache_size: 0,
            embeddings: false,
            offload_kqv: true,
            op_offload: true,
            swa_full: true,
            kv_unified: false,
            perf: false,
        }
    }
}

/// Defines setters of a builder: each sets the field of its name.
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
    /// Sets the size in tokens, of all sequences together; llama.cpp rounds it up to a multiple of 256 for each
    /// sequence, see [`Context::n_ctx`](crate::Context::n_ctx). 0: the size that the model was trained with.
    /// Default: 512.
    n_ctx: u32;
    /// Sets the maximum number of tokens in one batch, at least `n_seq_max`. Default: 2048, at most `n_ctx`.
    n_batch: u32;
    /// Sets the maximum number of tokens that are computed at once; larger batches are divided. Models that see the
    /// whole text at once (encoders, non-causal attention), and embeddings that are pooled otherwise than by the
    /// last token, need it to be as large as the text. Rounded to a multiple of `n_seq_max`. Default: 512.
    n_ubatch: u32;
    /// Sets the maximum number of sequences, 1..=256. Default: 1.
    n_seq_max: u32;
    /// Sets by how many tokens [`Memory::seq_rm`](crate::Memory::seq_rm) can rewind a recurrent sequence: that many
    /// snapshots of its state are kept. Must be less than `n_ubatch` - 1. Only for models that llama.cpp supports
    /// (`Qwen3.5`, `LFM2`, `Nemotron-H`, ...); for others it is 0, see [`ResolvedParams`](crate::context::ResolvedParams).
    /// Default: 0.
    n_rs_seq: u32;
    /// Sets the maximum number of outputs of a batch, at least `n_seq_max`, for which buffers are allocated. 0 means
    /// all of `n_batch`, which is the default, and what encoders use in any case. Contexts with embeddings need at
    /// least `n_ubatch`.
    n_outputs_max: u32;
    /// Sets the maximum number of outputs for one sequence, for samplers that run on a device. 0: `n_outputs_max`.
    /// Default: 1.
    n_outputs_max_per_seq: u32;
    /// Sets the number of threads for one token at a time, 1..=512. Default: the processors that this process may
    /// use.
    n_threads: u32;
    /// Sets the number of threads for several tokens at a time, 1..=512. Default: `n_threads`.
    n_threads_batch: u32;
    /// Sets the part of the model that is computed. Default: the model itself.
    ctx_type: ContextType;
    /// Sets how `RoPE` is scaled. Default: the model's value.
    rope_scaling_type: RopeScaling;
    /// Sets how embeddings are pooled. Default: the model's value.
    pooling_type: PoolingType;
    /// Sets whether tokens attend to later ones. Default: the model's value.
    attention_type: AttentionType;
    /// Sets whether to use flash attention. Default: where the devices support it.
    flash_attention: FlashAttention;
    /// Sets `RoPE`'s base frequency. 0: the model's value, the default.
    rope_freq_base: f32;
    /// Sets the factor by which `RoPE` frequencies are scaled: 0.25 for four times the context. 0: the model's
    /// value, the default.
    rope_freq_scale: f32;
    /// `YaRN`: sets how much of each frequency is kept rather than interpolated, from 0 (linear scaling) to 1.
    /// Default: the model's value.
    yarn_ext_factor: f32;
    /// `YaRN`: sets the factor of the attention's magnitude; if `yarn_ext_factor` is not 0 it is computed from
    /// `rope_freq_scale`. Default: the model's value.
    yarn_attn_factor: f32;
    /// `YaRN`: sets the number of rotations over the original context above which frequencies are not interpolated.
    /// Default: the model's value, mostly 32.
    yarn_beta_fast: f32;
    /// `YaRN`: sets the number of rotations over the original context below which frequencies are fully
    /// interpolated. Default: the model's value, mostly 1.
    yarn_beta_slow: f32;
    /// `YaRN`: sets the context in tokens that the model was trained with before it was scaled. 0: the model's
    /// value, the default.
    yarn_orig_ctx: u32;
    /// Sets the type of cached keys. Default: f16.
    type_k: CacheType;
    /// Sets the type of cached values. Default: f16. Quantised types require flash attention.
    type_v: CacheType;
    /// Sets the size in bytes of a cache on the GPUs for experts that are kept in the CPU's memory. Requires a
    /// mixture-of-experts model and a GPU. Default: 0, no cache.
    moe_cache_size: usize;
    /// Sets whether embeddings are computed too. Default: false.
    embeddings: bool;
    /// Sets whether attention and its cache are on the GPU. Default: true.
    offload_kqv: bool;
    /// Sets whether large operations on the CPU's tensors run on the GPU. Default: true.
    op_offload: bool;
    /// Sets whether sliding-window layers keep the whole context, so that sequences can be rewound to positions
    /// before the window. Default: true.
    swa_full: bool;
    /// Sets whether all sequences share one buffer, which is better if they have a long common prefix. Always true
    /// for models with an encoder and a decoder. Default: false.
    kv_unified: bool;
    /// Sets whether to measure the times for [`Context::perf`](crate::Context::perf). Default: false.
    perf: bool;
}

impl ContextParams {
    /// Plans for batches with at most `n` outputs, rather than `n_batch`: the buffers have fewer rows of logits,
    /// which take most of their memory for a large vocabulary. A larger [`n_outputs_max`](Self::n_outputs_max) is
    /// kept, and there is always at least one output for each sequence. This has no effect on encoders and on
    /// contexts that compute embeddings, which are outputs of every token.
    #[must_use]
    pub fn plan_outputs(mut self, n: u32) -> Self {
        if !self.embeddings {
            self.n_outputs_max = self.n_outputs_max.max(n).max(self.n_seq_max);
        }
        self
    }

    /// Returns the maximum number of outputs of a batch for which buffers are allocated.
    pub(crate) fn outputs_at_most(&self) -> u32 {
        if self.n_outputs_max == 0 { self.n_batch } else { self.n_outputs_max.min(self.n_batch) }
    }

    /// Returns the maximum number of outputs for one sequence with a sampler, out of `n_outputs_max` for all.
    pub(super) fn outputs_per_seq(&self, n_outputs_max: u32) -> u32 {
        if self.n_outputs_max_per_seq == 0 {
            return n_outputs_max;
        }
        self.n_outputs_max_per_seq.min(n_outputs_max)
    }

    /// Returns the parameters with the size of context that llama.cpp will use. llama.cpp limits batches to the
    /// given size and rounds it afterwards, and asserts that a batch has room for a token of each sequence
    /// (llama-context.cpp, `output_reserve`).
    pub(crate) fn resolved_for(&self, model: &Model) -> Self {
        let n_ctx = if self.n_ctx == 0 { model.n_ctx_train() } else { self.n_ctx };
        let rounded = n_ctx.checked_next_multiple_of(256).filter(|n_ctx| i32::try_from(*n_ctx).is_ok());
        Self { n_ctx: rounded.unwrap_or(n_ctx), ..self.clone() }
    }

    /// Returns the pooling for a model. A decoder needs its encoder's output for each token, but llama.cpp would use
    /// pooled rows instead, of which there may be more than tokens (llama-context.cpp, `encode`; llama-graph.cpp,
    /// `llm_graph_input_attn_cross`).
    pub(crate) fn pooling_for(&self, model: &Model) -> Result<llama_sys::llama_pooling_type> {
        if !(model.has_encoder() && model.has_decoder()) {
            self.check_ranks(model)?;
            return Ok(pooling_to_raw(self.pooling_type));
        }
        match self.pooling_type {
            None | Some(PoolingType::None) => Ok(pooling_to_raw(Some(PoolingType::None))),
            Some(other) => {
                let expected = "None: the model's decoder needs the embedding of each token".to_owned();
                Err(invalid("pooling_type", format_args!("{other:?}"), expected))
            }
        }
    }

    pub(crate) fn to_raw(&self) -> Result<llama_sys::llama_context_params> {
        self.check()?;
        let n_threads = self.n_threads.unwrap_or_else(available_threads);
        let n_threads_batch = self.n_threads_batch.unwrap_or(n_threads);
        // SAFETY: takes no arguments.
        let mut raw = unsafe { guarded!(llama_context_default_params()) }?;
        raw.n_ctx = self.n_ctx;
        raw.n_batch = self.n_batch;
        raw.n_ubatch = self.divisible_ubatch();
        raw.n_seq_max = self.n_seq_max;
        raw.n_rs_seq = self.n_rs_seq;
        raw.n_outputs_max = self.n_outputs_max;
        raw.n_outputs_max_per_seq = self.n_outputs_max_per_seq;
        raw.ctx_type = match self.ctx_type {
            ContextType::Default => llama_sys::llama_context_type::LLAMA_CONTEXT_TYPE_DEFAULT,
            ContextType::Mtp => llama_sys::llama_context_type::LLAMA_CONTEXT_TYPE_MTP,
        };
        raw.n_threads = check_threads("n_threads", n_threads)?;
        raw.n_threads_batch = check_threads("n_threads_batch", n_threads_batch)?;
        raw.pooling_type = pooling_to_raw(self.pooling_type);
        raw.attention_type = attention_to_raw(self.attention_type);
        raw.flash_attn_type = flash_to_raw(self.flash_attention);
        raw.rope_freq_base = self.rope_freq_base;
        raw.rope_freq_scale = self.rope_freq_scale;
        self.set_scaling(&mut raw);
        raw.moe_cache_size = self.moe_cache_size;
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

    fn set_scaling(&self, raw: &mut llama_sys::llama_context_params) {
        use llama_sys::llama_rope_scaling_type as Raw;
        raw.rope_scaling_type = match self.rope_scaling_type {
            None => Raw::LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED,
            Some(RopeScaling::None) => Raw::LLAMA_ROPE_SCALING_TYPE_NONE,
            Some(RopeScaling::Linear) => Raw::LLAMA_ROPE_SCALING_TYPE_LINEAR,
            Some(RopeScaling::Yarn) => Raw::LLAMA_ROPE_SCALING_TYPE_YARN,
            Some(RopeScaling::LongRope) => Raw::LLAMA_ROPE_SCALING_TYPE_LONGROPE,
        };
        // Below 0 means the model's value (llama-context.cpp).
        raw.yarn_ext_factor = self.yarn_ext_factor.unwrap_or(-1.0);
        raw.yarn_attn_factor = self.yarn_attn_factor.unwrap_or(-1.0);
        raw.yarn_beta_fast = self.yarn_beta_fast.unwrap_or(-1.0);
        raw.yarn_beta_slow = self.yarn_beta_slow.unwrap_or(-1.0);
        raw.yarn_orig_ctx = self.yarn_orig_ctx;
    }

    /// Returns whether the context type is [`ContextType::Mtp`].
    pub(super) fn is_mtp(&self) -> bool {
        self.ctx_type == ContextType::Mtp
    }

    /// Returns `n_ubatch` rounded down to a multiple of `n_seq_max`. llama.cpp plans its largest computation with
    /// equally many tokens of each sequence, and rounds their number up but not that of the outputs, so that pooling
    /// fails with an assertion (llama-context.cpp, `graph_reserve`).
    fn divisible_ubatch(&self) -> u32 {
        let mut n_ubatch = self.n_ubatch.min(self.n_batch);
        if self.n_ctx != 0 {
            n_ubatch = n_ubatch.min(self.n_ctx.next_multiple_of(256));
        }
        // At least one token for each sequence; `check` has verified that a batch has room for them.
        (n_ubatch - n_ubatch % self.n_seq_max).max(self.n_seq_max)
    }

    /// Returns the types of cached keys and values.
    pub(crate) fn cache_types(&self) -> [CacheType; 2] {
        [self.type_k, self.type_v]
    }

    /// Returns `RoPE`'s base frequency and scale.
    pub(crate) fn rope(&self) -> (f32, f32) {
        (self.rope_freq_base, self.rope_freq_scale)
    }

    pub(crate) fn is_swa_full(&self) -> bool {
        self.swa_full
    }

    fn check(&self) -> Result<()> {
        // SAFETY: takes no arguments.
        let most = unsafe { guarded!(llama_max_parallel_sequences()) }?;
        if self.n_seq_max == 0 || self.n_seq_max as usize > most {
            return Err(invalid("n_seq_max", self.n_seq_max, format!("from 1 to {most}")));
        }
        for (name, value) in [("n_batch", self.n_batch), ("n_ubatch", self.n_ubatch)] {
            if value == 0 || i32::try_from(value).is_err() {
                return Err(invalid(name, value, format!("from 1 to {}", i32::MAX)));
            }
        }
        if self.n_batch < self.n_seq_max {
            let reason = format!(
                "at least n_seq_max, {}: a batch has room for a token of each sequence",
                self.n_seq_max
            );
            return Err(invalid("n_batch", self.n_batch, reason));
        }
        for (name, value) in [("n_ctx", self.n_ctx), ("yarn_orig_ctx", self.yarn_orig_ctx)] {
            if i32::try_from(value).is_err() {
                return Err(invalid(name, value, format!("at most {}", i32::MAX)));
            }
        }
        self.check_results()?;
        self.check_floats()
    }

    fn check_results(&self) -> Result<()> {
        let n_ubatch = self.divisible_ubatch();
        // GGML_ASSERT(n_ubatch > n_keep_tail) in llama-batch.cpp, split_equal.
        if self.n_rs_seq > 0 && n_ubatch.saturating_sub(1) <= self.n_rs_seq {
            let reason = format!(
                "smaller than n_ubatch by 2 or more: a recurrent sequence goes back in one step, and n_ubatch is {n_ubatch}"
            );
            return Err(invalid("n_rs_seq", self.n_rs_seq, reason));
        }
        if self.n_outputs_max == 0 {
            return Ok(());
        }
        if self.n_outputs_max < self.n_seq_max {
            let reason = format!("at least n_seq_max, {}: each sequence needs a result", self.n_seq_max);
            return Err(invalid("n_outputs_max", self.n_outputs_max, reason));
        }
        check_outputs(self.n_outputs_max, n_ubatch, self.embeddings)
    }

    fn check_floats(&self) -> Result<()> {
        let rope = [("rope_freq_base", self.rope_freq_base), ("rope_freq_scale", self.rope_freq_scale)];
        if let Some((name, value)) = rope.iter().find(|(_, value)| !value.is_finite() || *value < 0.0) {
            let reason = "a positive number, or 0 for the model's own".to_owned();
            return Err(invalid(name, value, reason));
        }
        let yarn = [
            ("yarn_ext_factor", self.yarn_ext_factor),
            ("yarn_attn_factor", self.yarn_attn_factor),
            ("yarn_beta_fast", self.yarn_beta_fast),
            ("yarn_beta_slow", self.yarn_beta_slow),
        ];
        for (name, value) in yarn {
            if let Some(value) = value.filter(|value| !value.is_finite() || *value < 0.0) {
                return Err(invalid(name, value, "finite and at least 0".to_owned()));
            }
        }
        Ok(())
    }
}

/// Refuses fewer outputs than embeddings need, which is one for each token. llama.cpp plans its largest computation
/// with `n_ubatch` tokens and `n_outputs_max` outputs, and pooling asserts that there are as many.
pub(super) fn check_outputs(n_outputs_max: u32, n_ubatch: u32, embeddings: bool) -> Result<()> {
    if !embeddings || n_outputs_max >= n_ubatch {
        return Ok(());
    }
    let reason = format!(
        "at least n_ubatch, {n_ubatch}: embeddings are results of all tokens that are computed at once"
    );
    Err(invalid("n_outputs_max", n_outputs_max, reason))
}

/// Refuses numbers of threads that ggml does not support, and warns about numbers that are slow.
pub(crate) fn check_threads(name: &'static str, threads: u32) -> Result<i32> {
    if threads == 0 || threads > MAX_THREADS {
        let reason = format!("from 1 to {MAX_THREADS}");
        return Err(invalid(name, threads, reason));
    }
    let available = available_threads();
    if threads > available {
        tracing::warn!(
            "{name} is {threads}, but this process can only run {available} threads at once: ggml's threads wait by \
             spinning, so more threads than processors make it many times slower"
        );
    }
    Ok(i32::try_from(threads).unwrap_or(1))
}

/// Returns the number of processors that this process may use, given its affinity and control groups.
fn available_threads() -> u32 {
    let available = std::thread::available_parallelism().map_or(1, core::num::NonZero::get);
    u32::try_from(available).unwrap_or(MAX_THREADS).min(MAX_THREADS)
}

pub(super) fn invalid(name: &'static str, value: impl core::fmt::Display, expected: String) -> Error {
    ParameterProblem::new(name, value, expected).into()
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

/// Converts the pooling of a context, as resolved by llama.cpp.
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
