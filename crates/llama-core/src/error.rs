//! The errors of this crate. Each states the value, the limit, and the remedy.

mod contained;
mod decode;
mod parameter;
mod samplers;
mod state;
#[cfg(feature = "common")]
mod template;

use std::fmt;

pub use decode::DecodeError;
pub use parameter::ParameterProblem;
use samplers::List;
pub use samplers::{GrammarPosition, SamplerProblem};
pub use state::{Removed, StateError};
#[cfg(feature = "common")]
pub use template::TemplateLimit;

/// The result of this crate's functions.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// An error, with the lines that llama.cpp logged while the call failed.
///
/// The text contains every reason, so there is no [`source`](std::error::Error::source). [`kind`](Error::kind) contains the
/// errors of other crates and of the system as values.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    log: Vec<String>,
}

impl Error {
    pub(crate) fn from_kind(kind: ErrorKind) -> Self {
        Self(Box::new(Inner { kind, log: Vec::new() }))
    }

    /// Adds the lines that llama.cpp logged while the failed call ran.
    pub(crate) fn with_log(mut self, log: Vec<String>) -> Self {
        if self.0.log.is_empty() {
            self.0.log = log;
        }
        self
    }

    /// Replaces the kind and keeps the log.
    pub(crate) fn map_kind(mut self, map: impl FnOnce(ErrorKind) -> ErrorKind) -> Self {
        self.0.kind = map(self.0.kind);
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The warnings and errors that llama.cpp logged during the failed call, oldest first.
    #[must_use]
    pub fn log(&self) -> &[String] {
        &self.0.log
    }
}

impl From<StateError> for ErrorKind {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl From<ParameterProblem> for Error {
    fn from(problem: ParameterProblem) -> Self {
        ErrorKind::from(problem).into()
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::from_kind(kind)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.kind)?;
        for line in &self.0.log {
            write!(f, "\n  llama.cpp: {line}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("kind", &self.0.kind).field("log", &self.0.log).finish()
    }
}

// The text contains every reason, including those of other crates and of the system. `source` would repeat them.
impl std::error::Error for Error {}

/// The kinds of errors. New kinds are added in minor releases.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file is missing, is no GGUF file, or is not complete; refused before llama.cpp sees it.
    #[error("cannot load the model {}: {}", path.display(), cause.without_path())]
    #[non_exhaustive]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        cause: llama_gguf::Error,
    },
    /// llama.cpp could not load the model; the log says why.
    #[error("llama.cpp could not load the model {}", path.display())]
    #[non_exhaustive]
    Load {
        /// The file.
        path: PathBuf,
    },
    /// The progress callback asked to stop.
    #[error("loading the model {} was cancelled by the progress callback", path.display())]
    #[non_exhaustive]
    LoadCancelled {
        /// The file.
        path: PathBuf,
    },
    /// A context could not be made; the log says why.
    #[error(
        "llama.cpp could not create a context with n_ctx {n_ctx}, n_batch {n_batch}, n_seq_max {n_seq_max}"
    )]
    #[non_exhaustive]
    ContextCreation {
        /// Requested size in tokens, 0 for the model's own.
        n_ctx: u32,
        /// Requested tokens per batch.
        n_batch: u32,
        /// Requested number of sequences.
        n_seq_max: u32,
    },
    /// A parameter is outside its range.
    #[error(transparent)]
    InvalidParameter(#[from] ParameterProblem),
    /// The model has no weights or no vocabulary for what is asked of it.
    #[error("{operation} is not possible with this model: {reason}")]
    #[non_exhaustive]
    Unsupported {
        /// What was asked.
        operation: &'static str,
        /// Why the model or its memory cannot do it.
        reason: String,
    },
    /// A token id is not in the vocabulary.
    #[error("token {token} is out of range: the vocabulary has {n_vocab} tokens (0..{n_vocab})")]
    #[non_exhaustive]
    InvalidToken {
        /// The id.
        token: i32,
        /// The size of the vocabulary.
        n_vocab: i32,
    },
    /// A sequence id is not one of the context's.
    #[error(
        "sequence id {seq_id} is out of range: the context was created for {n_seq_max} sequences \
             (0..{n_seq_max})"
    )]
    #[non_exhaustive]
    InvalidSeqId {
        /// The id.
        seq_id: i32,
        /// The number of sequences.
        n_seq_max: u32,
    },
    /// A position is negative, or does not follow the one before.
    #[error("position {pos} of sequence {seq_id} is not valid: {reason}")]
    #[non_exhaustive]
    InvalidPosition {
        /// The position.
        pos: i32,
        /// The sequence.
        seq_id: i32,
        /// What would be valid.
        reason: String,
    },
    /// A range of positions is empty the wrong way round, or negative.
    #[error("positions {start}..{end} are not a range of sequence positions: {reason}")]
    #[non_exhaustive]
    InvalidRange {
        /// First position.
        start: i64,
        /// Position after the last.
        end: i64,
        /// What would be valid.
        reason: &'static str,
    },
    /// A batch without tokens.
    #[error("the batch is empty: push at least one token before decoding")]
    EmptyBatch,
    /// More tokens than the context takes at once.
    #[error(
        "the batch has {n_tokens} tokens and the context takes {limit} ({which}): decode it in parts or create \
             the context with a larger {which}"
    )]
    #[non_exhaustive]
    BatchTooLarge {
        /// Tokens in the batch.
        n_tokens: usize,
        /// The most that the context takes.
        limit: u32,
        /// The parameter that sets the limit.
        which: &'static str,
    },
    /// The text is longer than what is left of the context.
    #[error(
        "{n_tokens} tokens do not fit into the context of {n_ctx} tokens per sequence: shorten the text or \
             create the context with a larger n_ctx"
    )]
    #[non_exhaustive]
    ContextFull {
        /// Tokens needed.
        n_tokens: usize,
        /// Tokens per sequence.
        n_ctx: u32,
    },
    /// Decoding or encoding did not succeed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// There is no row of logits or embeddings for this token of the last batch.
    #[error("token {index} of the last batch has no {what}: {reason}")]
    #[non_exhaustive]
    NoOutput {
        /// Index of the token in the batch.
        index: usize,
        /// `logits` or `embeddings`.
        what: &'static str,
        /// What to do.
        reason: &'static str,
    },
    /// Tokens could not be made of a text, or text of tokens.
    #[error("{operation} failed: {reason}")]
    #[non_exhaustive]
    Tokenize {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        reason: String,
    },
    /// Tokenising a text was stopped by the caller.
    #[error("tokenising a text was cancelled after {done} of {total} bytes")]
    // Exhaustive: tokenizers of other crates report it too.
    TokenizeCancelled {
        /// How many bytes had been tokenised.
        done: usize,
        /// The length of the text in bytes.
        total: usize,
    },
    /// The samplers cannot make a chain: everything that is wrong with them, in the order of the chain.
    #[error("{}", List(problems))]
    #[non_exhaustive]
    InvalidSamplers {
        /// At least one.
        problems: Vec<SamplerProblem>,
    },
    /// The samplers have masked every candidate, as a grammar does that no candidate fits. The chain is as before.
    #[error("sampler {name}: {reason}")]
    #[non_exhaustive]
    DeadEnd {
        /// `grammar` when the chain has one, otherwise `chain`, or `row` for a sampler for rows.
        name: &'static str,
        /// What to do.
        reason: &'static str,
    },
    /// What was given to a sampler, or what came of it, is not usable.
    #[error("sampler {name}: {reason}")]
    #[non_exhaustive]
    Sampler {
        /// llama.cpp's name of the sampler.
        name: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A text with a NUL byte where C needs a string.
    #[error("the {what} has a NUL byte at position {position}, which a C string cannot hold: remove it")]
    #[non_exhaustive]
    InteriorNul {
        /// The argument.
        what: &'static str,
        /// Offset of the byte.
        position: usize,
    },
    /// A path that is not Unicode, on a platform where llama.cpp needs it to be.
    #[error("the path {} is not valid Unicode, which llama.cpp needs on this platform: rename the file", path.display())]
    #[non_exhaustive]
    PathNotUnicode {
        /// The path.
        path: PathBuf,
    },
    /// An assertion inside llama.cpp failed and was contained. This is a bug: in llama.cpp, or in this crate
    /// for letting the call through.
    #[error("an assertion inside llama.cpp failed at {file}:{line}: {message}")]
    #[non_exhaustive]
    Internal {
        /// llama.cpp's source file.
        file: String,
        /// The line.
        line: u32,
        /// The assertion.
        message: String,
    },
    /// A C++ exception arrived from llama.cpp.
    #[error("llama.cpp failed: {message}")]
    #[non_exhaustive]
    Exception {
        /// The exception's text.
        message: String,
    },
    /// Memory could not be allocated.
    #[error("out of memory inside llama.cpp ({message}): use a smaller model, context or batch")]
    #[non_exhaustive]
    OutOfMemory {
        /// llama.cpp's text.
        message: String,
    },
    /// An earlier call on this object failed in a way that leaves it unusable.
    #[error(
        "this {object} cannot be used any more: an earlier call failed inside llama.cpp ({cause}). Make a new one; \
         models and other objects are not affected"
    )]
    #[non_exhaustive]
    Poisoned {
        /// `context` or `sampler chain`.
        object: &'static str,
        /// The earlier failure.
        cause: String,
    },
    /// A state was not saved or restored.
    #[error("the state was not saved or restored: {0}")]
    State(StateError),
    /// A state file was not written, read or restored.
    #[error("the state file {} was not written, read or restored: {cause}", path.display())]
    #[non_exhaustive]
    StateFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, or with what it was to be restored into.
        cause: StateError,
    },
    /// The adapter's file is missing, is no GGUF file, or is not complete; refused before llama.cpp sees it.
    #[error("cannot load the adapter {}: {}", path.display(), cause.without_path())]
    #[non_exhaustive]
    AdapterFile {
        /// The file, with the offset in it when there is one.
        path: PathBuf,
        /// What is wrong with it, and where.
        cause: llama_gguf::Error,
    },
    /// The adapter's file is whole, but what it says cannot be computed with.
    #[error("the adapter {} cannot be used with this model: {reason}", path.display())]
    #[non_exhaustive]
    Adapter {
        /// The file, with the offset in it when there is one.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// llama.cpp could not load the adapter: it is of another kind or for another model; the log says why.
    #[error("llama.cpp could not load the adapter {} for this model", path.display())]
    #[non_exhaustive]
    AdapterLoad {
        /// The file, with the offset in it when there is one.
        path: PathBuf,
    },
    /// An adapter was given to a context of another model than the one it was loaded for.
    #[error(
        "the adapter {} was loaded for another model than the context's: load it again with the context's model",
        path.display()
    )]
    #[non_exhaustive]
    OtherModel {
        /// The adapter's file.
        path: PathBuf,
    },
    /// A control vector's file is missing, is no GGUF file, or is not complete.
    #[error("cannot load the control vector {}: {}", path.display(), cause.without_path())]
    #[non_exhaustive]
    ControlVectorFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        cause: llama_gguf::Error,
    },
    /// The numbers of a control vector are not usable, or not for this model.
    #[error("the control vector cannot be used: {reason}")]
    #[non_exhaustive]
    ControlVector {
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A model could not be written.
    #[error("cannot save the model as {}: {}", path.display(), cause.without_path())]
    #[non_exhaustive]
    Save {
        /// The file that was to be written.
        path: PathBuf,
        /// What went wrong.
        cause: llama_gguf::Error,
    },
    /// The metadata that a model was to be made of is none that llama.cpp reads.
    #[error("cannot make a model of this metadata: {cause}")]
    #[non_exhaustive]
    Metadata {
        /// What is wrong.
        cause: llama_gguf::Error,
    },
    /// The data of a tensor of a model that is made in memory is missing or not usable.
    #[error("cannot make the model: tensor \"{tensor}\" has no usable data: {cause}")]
    #[non_exhaustive]
    TensorData {
        /// The tensor.
        tensor: String,
        /// What the callback said, or what is wrong with what it gave.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// llama.cpp could not make a model of metadata and tensors.
    #[error("llama.cpp could not make a model of the metadata and the tensors' types: {reason}")]
    #[non_exhaustive]
    FromMetadata {
        /// Why, or that the log says why.
        reason: String,
    },
    /// A chat template, a conversation for it, or an answer that it should read is not usable.
    #[error("{operation} failed: {reason}")]
    #[non_exhaustive]
    Chat {
        /// What was being done.
        operation: &'static str,
        /// What is wrong, in llama.cpp's words where it found it.
        reason: String,
    },
    /// A chat template took more than it may.
    #[cfg(feature = "common")]
    #[error(
        "{operation} failed: the chat template takes more than {value} {}. If it is one that you trust, raise \
             TemplateLimits::{limit}",
        limit.unit()
    )]
    #[non_exhaustive]
    TemplateLimit {
        /// What was being done.
        operation: &'static str,
        /// The limit.
        limit: TemplateLimit,
        /// Its value; of [`TemplateLimit::Time`] in milliseconds.
        value: u64,
    },
    /// A chat template was ended by its caller.
    #[cfg(feature = "common")]
    #[error("{operation} was cancelled")]
    #[non_exhaustive]
    TemplateCancelled {
        /// What was being done.
        operation: &'static str,
    },
    /// A JSON schema that no grammar can be made of.
    #[error("no grammar can be made of the JSON schema: {reason}")]
    #[non_exhaustive]
    JsonSchema {
        /// What is wrong, in llama.cpp's words where it found it.
        reason: String,
    },
    /// Something that has to be done earlier, or only once.
    #[error("{operation} is not possible any more: {reason}")]
    #[non_exhaustive]
    TooLate {
        /// What was asked.
        operation: &'static str,
        /// What was before it, and what to do.
        reason: &'static str,
    },
    /// A file of a split model is missing from the others, out of order, or of another model.
    #[error("cannot load the split model {}: {reason}", path.display())]
    #[non_exhaustive]
    Split {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no complete GGUF file at that place of a larger file, or it cannot be read. Places count from there.
    #[error("cannot load the model at {model}: {cause}")]
    #[non_exhaustive]
    Embedded {
        /// The place and the file.
        model: String,
        /// What is wrong with it, and where.
        cause: llama_gguf::Error,
    },
    /// The weights of a model, or a context, take more memory than there is.
    #[error("the {what} does not fit into memory, it takes {plan}. Use a smaller one, or {}", way_out(what))]
    #[non_exhaustive]
    DoesNotFit {
        /// `model` or `context`.
        what: &'static str,
        /// Bytes of weights, on all devices together, as all the numbers here.
        weights: u64,
        /// Bytes of the sequences' memory.
        memory: u64,
        /// Bytes of intermediate results.
        compute: u64,
        /// Bytes of everything.
        required: u64,
        /// Bytes that are free.
        free: u64,
        /// Whether the numbers are a lower bound, computed from those of a smaller context.
        estimated: bool,
        /// The [`LoadPlan`](crate::LoadPlan) as text: the need and the free memory of each device.
        plan: String,
    },
    /// The vocabulary is one that llama.cpp's tokenizers do not work with; refused before llama.cpp sees it.
    #[error("cannot use the vocabulary of {model}: {reason}")]
    #[non_exhaustive]
    Vocabulary {
        /// The file, and where in it.
        model: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A number or a tensor's type is one that llama.cpp takes and cannot compute with; refused before llama.cpp sees it.
    #[error("cannot compute {model}: {reason}")]
    #[non_exhaustive]
    Hyperparameter {
        /// The file, and where in it.
        model: String,
        /// The key or tensor, and what it can be.
        reason: String,
    },
    /// A call that a callback must not make: it would wait for the call that the callback is part of, or could end the
    /// process if it failed. Nothing has changed.
    #[error("{operation} is not possible inside a callback: {reason}")]
    #[non_exhaustive]
    InCallback {
        /// What was asked.
        operation: &'static str,
        /// Why, and when it is possible.
        reason: &'static str,
    },
    /// The process is a fork of the one that used llama.cpp, and does not have the threads or devices for this. Nothing has
    /// changed.
    #[error("{operation} is not possible in a forked process: {reason}")]
    // Exhaustive: what runs threads on top of this crate reports it too.
    Forked {
        /// What was asked.
        operation: &'static str,
        /// What is missing, and what to do.
        reason: String,
    },
    /// A file was replaced or written to while the model in it was being loaded, so that it is not the one that was checked.
    #[error("the file {} changed while it was being loaded: load it again when nothing writes to it any more", path.display())]
    #[non_exhaustive]
    FileChanged {
        /// The file.
        path: PathBuf,
    },
    /// The model's graph has an operation on tensors that ggml's CPU backend cannot compute with: it would end the process,
    /// or never end. Nothing of the graph was computed.
    #[error(
        "the model cannot be computed: {operation} of tensor \"{tensor}\": {condition}. The file's tensors or \
             hyperparameters do not fit its architecture: convert or quantise the model again"
    )]
    #[non_exhaustive]
    UnsupportedGraph {
        /// The tensor that was to be computed, as llama.cpp names it.
        tensor: String,
        /// ggml's name of the operation.
        operation: String,
        /// What it needs, and what it has.
        condition: String,
    },
    /// The process ends: `main` has returned, or `exit` was called, and C++ takes itself apart.
    #[error("the process ends: llama.cpp is not called any more")]
    ProcessEnds,
}

/// What else helps against the lack of memory.
fn way_out(what: &str) -> &'static str {
    match what {
        "context" => {
            "fewer tokens (n_ctx, n_ubatch) or sequences (n_seq_max), or a quantised cache (type_k, type_v)"
        }
        _ => "LoadMode::Mmap, or other devices",
    }
}
