//! Errors of generating.

use std::fmt;

pub use llama_core::ParameterProblem;

/// The result of this crate's functions.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// An error of this crate. [`kind`](Error::kind) tells its cause.
///
/// Its text names every reason, so that there is no [`source`](std::error::Error::source); [`kind`](Error::kind) has the errors
/// of other crates and of the system as values.
pub struct Error(Box<ErrorKind>);

/// The kinds of errors. New kinds are added in minor releases.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An error of `llama-core`: loading, decoding, sampling.
    #[error(transparent)]
    Core(#[from] llama_core::Error),
    /// Parameters are out of range, contradict each other, or do not apply.
    ///
    /// ```
    /// use llama_gen::{ErrorKind, GenerationParams, SamplingParams};
    ///
    /// let params = GenerationParams::default().sampling(SamplingParams::default().top_p(2.0));
    /// let error = params.validate().unwrap_err();
    /// let ErrorKind::InvalidParameters { problems, .. } = error.kind() else { unreachable!() };
    /// assert_eq!(problems[0].name, "top_p");
    /// assert_eq!(problems[0].to_string(), "top_p is 2, but must be above 0 and at most 1");
    /// ```
    #[error("the parameters are not valid: {}", ProblemList(problems))]
    #[non_exhaustive]
    InvalidParameters {
        /// Every problem that was found: at least one.
        problems: Vec<ParameterProblem>,
    },
    /// The prompt cannot be used.
    #[error("the prompt is not valid: {reason}")]
    #[non_exhaustive]
    InvalidPrompt {
        /// The cause, and how to avoid it.
        reason: String,
    },
    /// The prompt leaves no room for an answer.
    #[error(
        "the prompt has {n_prompt} tokens, but must be shorter than the context of {n_ctx}, to leave room for an answer: \
             shorten the prompt, or load the model with a larger n_ctx"
    )]
    #[non_exhaustive]
    PromptTooLong {
        /// Tokens of the prompt.
        n_prompt: usize,
        /// The most tokens of one sequence.
        n_ctx: usize,
    },
    /// The context is full, and [`WhenFull::Error`](crate::WhenFull::Error) is set.
    #[error(
        "the context of {n_ctx} tokens is full: load the model with a larger n_ctx, or choose another WhenFull"
    )]
    #[non_exhaustive]
    ContextFull {
        /// The most tokens of one sequence.
        n_ctx: usize,
    },
    /// [`WhenFull::Shift`](crate::WhenFull::Shift) is set, but the memory of this model cannot be shifted.
    #[error(
        "a full context cannot be shifted with this model: {reason}. WhenFull::Compact works with any model"
    )]
    #[non_exhaustive]
    CannotShift {
        /// The cause.
        reason: &'static str,
    },
    /// A [`Compactor`](crate::Compactor) failed.
    #[error("the compactor could not shorten the text: {cause}")]
    #[non_exhaustive]
    Compactor {
        /// The compactor's own error, or the problem with its tokens.
        cause: crate::CompactError,
    },
    /// The system could not start a thread for an asynchronous generation.
    #[error("no thread could be started for the generation: {cause}")]
    #[non_exhaustive]
    Thread {
        /// The system's reason.
        cause: std::io::Error,
    },
    /// The model has no chat template.
    #[error(
        "the model has no chat template: create one with ChatTemplate::from_jinja, or use generate for a model \
             that was not trained to chat"
    )]
    NoChatTemplate,
    /// A conversation, its template or its file cannot be used.
    #[error("the chat cannot be used: {reason}")]
    #[non_exhaustive]
    Chat {
        /// The cause, and how to avoid it.
        reason: String,
    },
    /// The chat template drops the content of a message, or every tool although a call is required.
    #[cfg(feature = "chat")]
    #[error(
        "the chat template does not show {}: use another template or model, or leave it out of the conversation",
        crate::chat::LeftOutList(lost)
    )]
    #[non_exhaustive]
    LostByTemplate {
        /// The dropped parts: at least one, in the order of the conversation.
        lost: Vec<crate::chat::LeftOut>,
    },
    /// A conversation could not be saved to a file, or loaded from it.
    #[error("the conversation {} could not be saved or loaded: {cause}", path.display())]
    #[non_exhaustive]
    ChatFile {
        /// The file.
        path: std::path::PathBuf,
        /// The system's reason, or the problem with the file's content.
        cause: std::io::Error,
    },
    /// The model cannot generate text.
    #[error("{} cannot generate text: {reason}", path.display())]
    #[non_exhaustive]
    NotGenerative {
        /// The model's file.
        path: std::path::PathBuf,
        /// The cause.
        reason: &'static str,
    },
    /// The model cannot fill in the middle.
    #[error(
        "the model cannot fill in the middle: its vocabulary has no {missing}. Use a model that was trained for it, or \
             set the tokens with overrides of `tokenizer.ggml.fim_pre_token_id` and the like"
    )]
    #[non_exhaustive]
    NoInfill {
        /// The names of the missing tokens.
        missing: String,
    },
    /// A tokenizer could not be created, or failed.
    #[error("the tokenizer cannot be used: {reason}")]
    #[non_exhaustive]
    Tokenizer {
        /// The cause.
        reason: String,
    },
    /// The token ids of a tokenizer differ from those of the model.
    #[error("the tokenizer does not match the model: {reason}")]
    #[non_exhaustive]
    TokenizerMismatch {
        /// The tokens that differ.
        reason: String,
    },
}

/// Returns an error with these problems, or nothing when there are none.
pub(crate) fn refuse(problems: Vec<ParameterProblem>) -> Result<()> {
    if problems.is_empty() { Ok(()) } else { Err(ErrorKind::InvalidParameters { problems }.into()) }
}

impl From<ParameterProblem> for ErrorKind {
    fn from(problem: ParameterProblem) -> Self {
        Self::InvalidParameters { problems: vec![problem] }
    }
}

/// The problems of one error, separated by semicolons.
struct ProblemList<'p>(&'p [ParameterProblem]);

impl fmt::Display for ProblemList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl Error {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }
}

impl<K: Into<ErrorKind>> From<K> for Error {
    fn from(kind: K) -> Self {
        Self(Box::new(kind.into()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Error").field(&self.0).finish()
    }
}

// The text has every reason in it, those of other crates and of the system too: `source` would say them once more.
impl std::error::Error for Error {}
