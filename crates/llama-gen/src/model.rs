//! The front door: a model that is ready to generate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use llama_core::{ContextParams, Model, ModelParams};

use crate::error::{ErrorKind, Result};
use crate::generation_builder::GenerationBuilder;
use crate::memory::Idle;
use crate::request::Request;
use crate::tokenizer::{Tokenizer, check_agreement};

/// The context size, unless the user sets one or the model was trained with a smaller one.
const DEFAULT_N_CTX: u32 = 4096;

/// The most bytes of checkpoints of one context.
const DEFAULT_CHECKPOINT_BYTES: usize = 128 << 20;

/// A model that is ready to generate. Cheap to clone, and usable from many threads: each generation has a context of its
/// own.
///
/// The context of an ended generation is kept with its memory. The next generation reuses the common prefix of its prompt
/// and computes only the rest.
///
/// ```
/// use llama_gen::Llama;
///
/// # fn main() -> Result<(), llama_gen::Error> {
/// # let path = test_models::Tiny::Llama.path();
/// let llm = Llama::load(path)?;
/// for event in llm.generate("Once upon a time").max_tokens(8).temperature(0.7).seed(1).stream()? {
///     print!("{}", event?.text());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Llama {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    model: Model,
    idle: Arc<Idle>,
    tokenizer: Option<Arc<dyn Tokenizer>>,
    n_ctx: usize,
    n_batch: usize,
}

impl Llama {
    /// Loads a model from a GGUF file with the defaults: all layers on the GPU if there is one, and a context of 4,096
    /// tokens, or of the size that the model was trained with if that is smaller.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Core`] when the file cannot be loaded, [`ErrorKind::NotGenerative`] for a model that only computes
    /// embeddings.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder(path).load()
    }

    /// Returns a builder that loads a model with other settings than the defaults.
    #[must_use]
    pub fn builder(path: impl AsRef<Path>) -> LlamaBuilder {
        LlamaBuilder {
            path: path.as_ref().to_owned(),
            model_params: ModelParams::default(),
            n_gpu_layers: None,
            n_ctx: None,
            n_threads: None,
            context_params: ContextParams::default(),
            idle_contexts: 1,
            checkpoint_bytes: DEFAULT_CHECKPOINT_BYTES,
            tokenizer: None,
        }
    }

    /// Begins to describe a generation that continues a text, tokens, or a whole [`Request`].
    /// [`stream`](GenerationBuilder::stream) or [`complete`](GenerationBuilder::complete) runs it.
    pub fn generate(&self, request: impl Into<Request>) -> GenerationBuilder {
        GenerationBuilder::new(self.clone(), request.into())
    }

    /// Returns the model as `llama-core` has it.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.inner.model
    }

    /// Returns the most tokens of a generation, prompt and answer together.
    #[must_use]
    pub fn n_ctx(&self) -> usize {
        self.inner.n_ctx
    }

    /// Returns the most tokens of a batch.
    pub(crate) fn n_batch(&self) -> usize {
        self.inner.n_batch
    }

    /// Returns the tokenizer: the model's own vocabulary, unless another one was set.
    #[must_use]
    pub fn tokenizer(&self) -> &dyn Tokenizer {
        self.inner.tokenizer.as_deref().unwrap_or(&self.inner.model)
    }

    /// Returns the pool of contexts that no generation uses now.
    pub(crate) fn idle(&self) -> &Arc<Idle> {
        &self.inner.idle
    }
}

/// Settings for loading a [`Llama`]. Made by [`Llama::builder`].
#[derive(Clone, Debug)]
pub struct LlamaBuilder {
    path: PathBuf,
    model_params: ModelParams,
    n_gpu_layers: Option<Option<u32>>,
    n_ctx: Option<u32>,
    n_threads: Option<u32>,
    context_params: ContextParams,
    idle_contexts: usize,
    checkpoint_bytes: usize,
    tokenizer: Option<Arc<dyn Tokenizer>>,
}

impl LlamaBuilder {
    /// Sets the context size in tokens, prompt and answer together. llama.cpp rounds it up to a multiple of 256.
    #[must_use]
    pub fn n_ctx(mut self, n_ctx: u32) -> Self {
        self.n_ctx = Some(n_ctx);
        self
    }

    /// Sets the number of CPU threads. Default: the processors that this process may use.
    #[must_use]
    pub fn n_threads(mut self, n_threads: u32) -> Self {
        self.n_threads = Some(n_threads);
        self
    }

    /// Sets the number of layers on GPUs; `None` for all. Takes precedence over [`model_params`](Self::model_params).
    #[must_use]
    pub fn n_gpu_layers(mut self, layers: Option<u32>) -> Self {
        self.n_gpu_layers = Some(layers);
        self
    }

    /// Sets all other parameters of loading.
    #[must_use]
    pub fn model_params(mut self, params: ModelParams) -> Self {
        self.model_params = params;
        self
    }

    /// Sets all other parameters of contexts. [`n_ctx`](Self::n_ctx) and [`n_threads`](Self::n_threads) take precedence.
    #[must_use]
    pub fn context_params(mut self, params: ContextParams) -> Self {
        self.context_params = params;
        self
    }

    /// Sets how many contexts of ended generations are kept with their memory, for prompts with a common prefix. Several
    /// are useful for conversations that take turns; each uses as much memory as the context of a running generation.
    /// Default: 1.
    #[must_use]
    pub fn idle_contexts(mut self, n: usize) -> Self {
        self.idle_contexts = n;
        self
    }

    /// Sets the most bytes of checkpoints that each context keeps in the system's memory. Models whose memory cannot be cut
    /// (recurrent, hybrid, sliding window) need them to go back in a text; others have none. 0 disables them. Default: 128
    /// MiB.
    #[must_use]
    pub fn checkpoint_bytes(mut self, bytes: usize) -> Self {
        self.checkpoint_bytes = bytes;
        self
    }

    /// Sets a tokenizer to use in place of the model's own vocabulary. Its ids must be the model's: see
    /// [`check_agreement`]. The tokens that end a generation are still those of the model.
    #[must_use]
    pub fn tokenizer(mut self, tokenizer: impl Tokenizer + 'static) -> Self {
        self.tokenizer = Some(Arc::new(tokenizer));
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    ///
    /// The errors of [`Llama::load`], [`ErrorKind::TokenizerMismatch`], and [`ErrorKind::Core`] for parameters out of range.
    pub fn load(self) -> Result<Llama> {
        let mut model_params = self.model_params;
        if let Some(layers) = self.n_gpu_layers {
            model_params = model_params.n_gpu_layers(layers);
        }
        let model = Model::load(&self.path, &model_params)?;
        let not_generative = |reason| ErrorKind::NotGenerative { path: self.path.clone(), reason }.into();
        if model.params().is_vocab_only() {
            return Err(not_generative("it was loaded with vocab_only and has no weights"));
        }
        if !model.has_decoder() {
            return Err(not_generative("it is an encoder, which gives embeddings"));
        }
        if model.has_encoder() {
            return Err(not_generative("it is an encoder-decoder model: use llama-core's encode and decode"));
        }
        if let Some(tokenizer) = &self.tokenizer {
            check_agreement(tokenizer.as_ref(), model.vocab())?;
        }
        let n_ctx = self.n_ctx.unwrap_or_else(|| model.n_ctx_train().min(DEFAULT_N_CTX));
        let mut context_params = self.context_params.n_ctx(n_ctx);
        if let Some(n_threads) = self.n_threads {
            context_params = context_params.n_threads(n_threads);
        }
        let idle = Idle::new(model.clone(), context_params, self.idle_contexts, self.checkpoint_bytes);
        let idle = Arc::new(idle);
        // The first context is created now, so that wrong parameters and too little memory are errors of loading.
        let board = idle.take_for_outputs(1)?;
        if !board.has_memory() {
            return Err(not_generative("it has no memory of what it has read, as encoders have none"));
        }
        let (n_ctx, n_batch) = (board.limits().n_ctx, board.limits().n_batch);
        drop(board);
        let inner = Inner { model, idle, tokenizer: self.tokenizer, n_ctx, n_batch };
        Ok(Llama { inner: Arc::new(inner) })
    }
}
