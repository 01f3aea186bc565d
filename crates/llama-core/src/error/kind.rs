//! The kinds of errors.

use std::path::PathBuf;

#[cfg(feature = "common")]
use super::TemplateLimit;
use super::samplers::List;
use super::{DecodeError, ParameterProblem, SamplerProblem, StateError};
#[cfg(feature = "rpc")]
use crate::rpc::RpcError;

/// The kinds of errors. New kinds are added in minor releases.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file is missing, is not a GGUF file, or is not complete. Refused before llama.cpp sees it.
    #[error("cannot load the model {}: {}", path.display(), cause.without_path())]
    #[non_exhaustive]
    File {
        /// The file.
        path: PathBuf,
        /// The fault and its place in the file.
        cause: llama_gguf::Error,
    },
    /// llama.cpp could not load the model. The log says why.
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
    /// A context could not be created. The log says why.
    #[error(
        "llama.cpp could not create a context with n_ctx {n_ctx}, n_batch {n_batch}, n_seq_max {n_seq_max}"
    )]
    #[non_exhaustive]
    ContextCreation {
        /// The requested size in tokens. 0 means the model's own size.
        n_ctx: u32,
        /// The requested tokens per batch.
        n_batch: u32,
        /// The requested number of sequences.
        n_seq_max: u32,
    },
    /// A parameter is outside its range.
    #[error(transparent)]
    InvalidParameter(#[from] ParameterProblem),
    /// The model has no weights or no vocabulary, which the operation needs.
    #[error("{operation} is not possible with this model: {reason}")]
    #[non_exhaustive]
    Unsupported {
        /// The operation that was requested.
        operation: &'static str,
        /// The reason why the model or its memory cannot do it.
        reason: String,
    },
    /// A token id is not in the vocabulary.
    #[error("token {token} is out of range: the vocabulary has {n_vocab} tokens (0..{n_vocab})")]
    #[non_exhaustive]
    InvalidToken {
        /// The id.
        token: i32,
        /// The size of the vocabulary.
        n_vocab: usize,
    },
    /// A sequence id is out of the context's range.
    #[error(
        "sequence id {seq_id} is out of range: the context was created for {n_seq_max} sequences \
             (0..{n_seq_max})"
    )]
    #[non_exhaustive]
    InvalidSeqId {
        /// The id.
        seq_id: i32,
        /// Maximum number of sequences.
        n_seq_max: u32,
    },
    /// A position is negative, or does not follow the preceding one.
    #[error("position {pos} of sequence {seq_id} is not valid: {reason}")]
    #[non_exhaustive]
    InvalidPosition {
        /// The position.
        pos: i32,
        /// The sequence.
        seq_id: i32,
        /// The positions that would be valid.
        reason: String,
    },
    /// A range of positions ends before it starts, or is negative.
    #[error("positions {start}..{end} are not a range of sequence positions: {reason}")]
    #[non_exhaustive]
    InvalidRange {
        /// The first position.
        start: i64,
        /// The position after the last.
        end: i64,
        /// The ranges that would be valid.
        reason: &'static str,
    },
    /// A batch without tokens.
    #[error("the batch is empty: push at least one token before decoding")]
    EmptyBatch,
    /// A batch has more tokens than the context takes at once.
    #[error(
        "the batch has {n_tokens} tokens, but must have at most {limit} ({which}): decode it in parts, or create \
             the context with a larger {which}"
    )]
    #[non_exhaustive]
    BatchTooLarge {
        /// The number of tokens in the batch.
        n_tokens: usize,
        /// The largest number of tokens that the context takes.
        limit: usize,
        /// The parameter that sets the limit.
        which: &'static str,
    },
    /// A batch was not decoded or encoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// This token of the last batch has no row of logits or embeddings.
    #[error("token {index} of the last batch has no {what}: {reason}")]
    #[non_exhaustive]
    NoOutput {
        /// The index of the token in the batch.
        index: usize,
        /// `logits` or `embeddings`.
        what: &'static str,
        /// The remedy.
        reason: &'static str,
    },
    /// A text could not be tokenised, or tokens could not be converted to text.
    #[error("{operation} failed: {reason}")]
    #[non_exhaustive]
    Tokenize {
        /// The operation that failed.
        operation: &'static str,
        /// The reason for the failure.
        reason: String,
    },
    /// The caller cancelled the tokenising of a text.
    #[error("tokenising a text was cancelled after {done} of {total} bytes")]
    // Exhaustive because tokenizers of other crates also report it.
    TokenizeCancelled {
        /// The number of bytes that had been tokenised.
        done: usize,
        /// The length of the text in bytes.
        total: usize,
    },
    /// The samplers cannot form a chain. Contains all problems, in the order of the chain.
    #[error("{}", List(problems))]
    #[non_exhaustive]
    InvalidSamplers {
        /// The problems, at least one.
        problems: Vec<SamplerProblem>,
    },
    /// The samplers have masked every candidate, for example by a grammar that no candidate fits. The chain is
    /// unchanged.
    #[error("sampler {name}: {reason}")]
    #[non_exhaustive]
    DeadEnd {
        /// `grammar` when the chain has one, `row` for a [`RowSampler`](crate::sampler::RowSampler), otherwise `chain`.
        name: &'static str,
        /// The remedy.
        reason: &'static str,
    },
    /// The input or the result of a sampler is not usable.
    #[error("sampler {name}: {reason}")]
    #[non_exhaustive]
    Sampler {
        /// llama.cpp's name of the sampler.
        name: &'static str,
        /// The fault, and what would be valid.
        reason: String,
    },
    /// A text has a NUL byte where C needs a string.
    #[error("the {what} has a NUL byte at position {position}, which a C string cannot hold: remove it")]
    #[non_exhaustive]
    InteriorNul {
        /// The name of the argument.
        what: &'static str,
        /// The offset of the byte.
        position: usize,
    },
    /// A path is not Unicode, on a platform where llama.cpp needs Unicode paths.
    #[error("the path {} is not valid Unicode, which llama.cpp needs on this platform: rename the file", path.display())]
    #[non_exhaustive]
    PathNotUnicode {
        /// The path.
        path: PathBuf,
    },
    /// An assertion inside llama.cpp failed and was contained. This is a bug in llama.cpp, or in this crate because
    /// it let the call through.
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
    /// llama.cpp threw a C++ exception.
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
        /// llama.cpp's message.
        message: String,
    },
    /// An earlier call on this object failed in a way that leaves it unusable.
    #[error(
        "this {object} cannot be used any more: an earlier call failed inside llama.cpp ({cause}). Create a new one; \
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
        /// The fault of the file, or of the context into which it was to be restored.
        cause: StateError,
    },
    /// The adapter's file is missing, is not a GGUF file, or is not complete. Refused before llama.cpp sees it.
    #[error("cannot load the adapter {}: {}", path.display(), cause.without_path())]
    #[non_exhaustive]
    AdapterFile {
        /// The file, with the offset in it if there is one.
        path: PathBuf,
        /// The fault and its place in the file.
        cause: llama_gguf::Error,
    },
    /// The adapter's file is complete, but its contents cannot be used for a computation.
    #[error("the adapter {} cannot be used with this model: {reason}", path.display())]
    #[non_exhaustive]
    Adapter {
        /// The file, with the offset in it if there is one.
        path: PathBuf,
        /// The fault, and what would be valid.
        reason: String,
    },
    /// llama.cpp could not load the adapter, because it is of another kind or for another model. The log says why.
    #[error("llama.cpp could not load the adapter {} for this model", path.display())]
    #[non_exhaustive]
    AdapterLoad {
        /// The file, with the offset in it if there is one.
        path: PathBuf,
    },
    /// An adapter was given to a context of a model for which it was not loaded.
    #[error(
        "the adapter {} was loaded for another model than the context's: load it again for the context's model",
        path.display()
    )]
    #[non_exhaustive]
    OtherModel {
        /// The adapter's file.
        path: PathBuf,
    },
    /// A control vector's file is missing, is not a GGUF file, or is not complete.
    #[error("cannot load the control vector {}: {}", path.display(), cause.without_path())]
    #[non_exhaustive]
    ControlVectorFile {
        /// The file.
        path: PathBuf,
        /// The fault and its place in the file.
        cause: llama_gguf::Error,
    },
    /// The values of a control vector are not usable, or do not fit this model.
    #[error("the control vector cannot be used: {reason}")]
    #[non_exhaustive]
    ControlVector {
        /// The fault, and what would be valid.
        reason: String,
    },
    /// A model could not be saved.
    #[error("cannot save the model as {}: {}", path.display(), cause.without_path())]
    #[non_exhaustive]
    Save {
        /// The file that was to be written.
        path: PathBuf,
        /// The reason for the failure.
        cause: llama_gguf::Error,
    },
    /// llama.cpp cannot create a model from the metadata.
    #[error("cannot create a model from this metadata: {cause}")]
    #[non_exhaustive]
    Metadata {
        /// The fault of the metadata.
        cause: llama_gguf::Error,
    },
    /// The data of a tensor of a model that is created in memory is missing or not usable.
    #[error("cannot create the model: tensor \"{tensor}\" has no usable data: {cause}")]
    #[non_exhaustive]
    TensorData {
        /// The name of the tensor.
        tensor: String,
        /// The error of the callback, or the fault of the data that it returned.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// llama.cpp could not create a model from metadata and tensors.
    #[error("llama.cpp could not create a model from the metadata and the tensor types: {reason}")]
    #[non_exhaustive]
    FromMetadata {
        /// The reason, or a note that the log contains it.
        reason: String,
    },
    /// A chat template, a conversation for it, or an answer to be parsed with it is not usable.
    #[error("{operation} failed: {reason}")]
    #[non_exhaustive]
    Chat {
        /// The operation that failed.
        operation: &'static str,
        /// The fault, in llama.cpp's words where it was found by llama.cpp.
        reason: String,
    },
    /// A chat template exceeded a limit.
    #[cfg(feature = "common")]
    #[error(
        "{operation} failed: the chat template takes more than {value} {}. If you trust the template, raise \
             TemplateLimits::{limit}",
        limit.unit()
    )]
    #[non_exhaustive]
    TemplateLimit {
        /// The operation that failed.
        operation: &'static str,
        /// The limit.
        limit: TemplateLimit,
        /// The value of the limit. For [`TemplateLimit::Time`] it is in milliseconds.
        value: u64,
    },
    /// The caller cancelled a chat template.
    #[cfg(feature = "common")]
    #[error("{operation} was cancelled")]
    #[non_exhaustive]
    TemplateCancelled {
        /// The operation that was cancelled.
        operation: &'static str,
    },
    /// A JSON schema cannot be converted to a grammar.
    #[error("the JSON schema cannot be converted to a grammar: {reason}")]
    #[non_exhaustive]
    JsonSchema {
        /// The fault, in llama.cpp's words where it was found by llama.cpp.
        reason: String,
    },
    /// An operation was requested too late: it must be done earlier, or only once.
    #[error("{operation} is not possible any more: {reason}")]
    #[non_exhaustive]
    TooLate {
        /// The operation that was requested.
        operation: &'static str,
        /// The event that makes it too late, and the remedy.
        reason: &'static str,
    },
    /// A file of a split model is missing, out of order, or belongs to another model.
    #[error("cannot load the split model {}: {reason}", path.display())]
    #[non_exhaustive]
    Split {
        /// The file.
        path: PathBuf,
        /// The fault of the file.
        reason: String,
    },
    /// There is no complete GGUF file at that offset of a larger file, or it cannot be read. Offsets in it count
    /// from there.
    #[error("cannot load the model at {model}: {cause}")]
    #[non_exhaustive]
    Embedded {
        /// The offset and the file.
        model: String,
        /// The fault and its place.
        cause: llama_gguf::Error,
    },
    /// The weights of a model, or a context, take more memory than there is.
    #[error("the {what} does not fit into memory: it takes {plan}. Use a smaller one, or {}", remedy(what))]
    #[non_exhaustive]
    DoesNotFit {
        /// `model` or `context`.
        what: &'static str,
        /// The bytes of weights on all devices together, like all numbers here.
        weights: u64,
        /// The bytes of the sequences' memory.
        memory: u64,
        /// The bytes of intermediate results.
        compute: u64,
        /// The sum of all bytes.
        required: u64,
        /// The bytes that are free.
        free: u64,
        /// Whether the numbers are a lower bound, computed from the sizes of a smaller context.
        estimated: bool,
        /// The [`LoadPlan`](crate::plan::LoadPlan) as text: the need and the free memory of each device.
        plan: String,
    },
    /// llama.cpp's tokenizers cannot work with the vocabulary. Refused before llama.cpp sees it.
    #[error("cannot use the vocabulary of {model}: {reason}")]
    #[non_exhaustive]
    Vocabulary {
        /// The file and the place in it.
        model: String,
        /// The fault of the vocabulary.
        reason: String,
    },
    /// llama.cpp accepts a number or a tensor's type with which it cannot compute. Refused before llama.cpp sees it.
    #[error("cannot compute {model}: {reason}")]
    #[non_exhaustive]
    Hyperparameter {
        /// The file and the place in it.
        model: String,
        /// The key or tensor, and its valid values.
        reason: String,
    },
    /// A callback made a call that it must not make. The call would wait for the call that the callback is part of,
    /// or could end the process if it failed. Nothing has changed.
    #[error("{operation} is not possible inside a callback: {reason}")]
    #[non_exhaustive]
    InCallback {
        /// The operation that was requested.
        operation: &'static str,
        /// The reason, and when the operation is possible.
        reason: &'static str,
    },
    /// The process is a fork of the process that used llama.cpp, and lacks the threads or devices for this
    /// operation. Nothing has changed.
    #[error("{operation} is not possible in a forked process: {reason}")]
    // Exhaustive: what runs threads on top of this crate reports it too.
    Forked {
        /// The operation that was requested.
        operation: &'static str,
        /// The missing part, and the remedy.
        reason: String,
    },
    /// A file was replaced or written to while its model was being loaded. The loaded file is not the one that was
    /// checked.
    #[error("the file {} changed while it was being loaded: load it again when nothing writes to it", path.display())]
    #[non_exhaustive]
    FileChanged {
        /// The file.
        path: PathBuf,
    },
    /// The model's graph has an operation that ggml's CPU backend cannot compute with the given tensors. The
    /// computation would end the process or never end. Nothing of the graph was computed.
    #[error(
        "the model cannot be computed: {operation} of tensor \"{tensor}\": {condition}. The file's tensors or \
             hyperparameters do not fit its architecture: convert or quantise the model again"
    )]
    #[non_exhaustive]
    UnsupportedGraph {
        /// The tensor that was to be computed, by llama.cpp's name.
        tensor: String,
        /// The operation, by ggml's name.
        operation: String,
        /// The requirement of the operation, and the actual value.
        condition: String,
    },
    /// A server that lends devices of another machine cannot be used, or not any more.
    #[cfg(feature = "rpc")]
    #[error(transparent)]
    Rpc(RpcError),
    /// A server that lends the devices of this machine was not started, or has failed.
    #[cfg(feature = "rpc")]
    #[error("the RPC server failed: {reason}")]
    #[non_exhaustive]
    RpcServer {
        /// The reason of the system or of ggml.
        reason: String,
    },
    /// llama.cpp's library could not be loaded. The text lists every place where it was looked for, with all that is wrong
    /// with the file there. Nothing was called.
    #[cfg(feature = "dynamic")]
    #[error(transparent)]
    Library(#[from] crate::library::LoadError),
    /// The process is ending: `main` has returned or `exit` was called, and C++ destroys its static objects.
    #[error("the process is ending: llama.cpp is not called any more")]
    ProcessEnds,
}

impl From<StateError> for ErrorKind {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// Returns further remedies for the lack of memory.
fn remedy(what: &str) -> &'static str {
    match what {
        "context" => {
            "fewer tokens (n_ctx, n_ubatch) or sequences (n_seq_max), or a quantised cache (type_k, type_v)"
        }
        _ => "LoadMode::Mmap, or other devices",
    }
}
