//! Ways to go on, or to end, when the context is full.

use core::fmt;
use std::sync::Arc;

use llama_core::{Token, Vocab};

use crate::error::{Error, ErrorKind, ParameterProblem, Result};
use crate::memory::Gap;

/// The reaction to a full context: when a generation has as many tokens as its context takes.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// Ends the text with [`FinishReason::ContextFull`](crate::FinishReason::ContextFull).
    #[default]
    Stop,
    /// Returns the error [`ErrorKind::ContextFull`].
    Error,
    /// Drops the older half of the tokens after the first `keep`, and goes on. The rest is moved down without being computed
    /// again, so it still depends on the dropped tokens.
    ///
    /// A prompt that is longer than the context loses its middle before anything is computed.
    ///
    /// Not every memory can do that: recurrent and hybrid ones cannot, and sliding windows only with `swa_full`. Then it
    /// is refused before the generation begins.
    Shift {
        /// The number of first tokens to keep, for example a system prompt. A token that marks the beginning of the text is
        /// always kept and does not count.
        keep: usize,
    },
    /// Calls a [`Compactor`], which returns a shorter text: cut, filtered or summarised. Its common prefix with the old text
    /// is reused, and the rest computed again.
    Compact(Arc<dyn Compactor>),
}

impl WhenFull {
    /// Returns [`WhenFull::Compact`] with a closure.
    ///
    /// ```
    /// use llama_gen::{Full, Llama, WhenFull};
    ///
    /// # fn main() -> Result<(), llama_gen::Error> {
    /// # let llm = Llama::builder(test_models::Tiny::Llama.path()).n_ctx(256).load()?;
    /// // The beginning of the prompt, and the last hundred tokens.
    /// let when_full = WhenFull::compact(|full: &Full<'_>| {
    ///     let (beginning, end) = (&full.tokens[..10], &full.tokens[full.tokens.len() - 100..]);
    ///     Ok([beginning, end].concat())
    /// });
    /// let generate = llm.generate("Once upon a time").max_tokens(300).ignore_eos(true);
    /// assert_eq!(generate.when_full(when_full).complete()?.finish.usage.completion_tokens, 300);
    /// # Ok(())
    /// # }
    /// ```
    pub fn compact<F>(compactor: F) -> Self
    where
        F: Fn(&Full<'_>) -> core::result::Result<Vec<Token>, CompactError> + Send + Sync + 'static,
    {
        Self::Compact(Arc::new(compactor))
    }
}

/// The error of a compactor.
pub type CompactError = Box<dyn std::error::Error + Send + Sync>;

/// Shortens a text that fills a context. Closures with the same arguments are compactors.
///
/// A compactor may take long, and may use the same [`Llama`](crate::Llama) for another generation, for example of a summary:
/// that one has a context of its own.
pub trait Compactor: Send + Sync {
    /// Returns the tokens to go on from: at least one, and fewer than [`Full::n_ctx`]. The common prefix with the old tokens
    /// is not computed again.
    ///
    /// # Errors
    ///
    /// Any error; it ends the generation with [`ErrorKind::Compactor`].
    fn compact(&self, full: &Full<'_>) -> core::result::Result<Vec<Token>, CompactError>;
}

impl<F> Compactor for F
where
    F: Fn(&Full<'_>) -> core::result::Result<Vec<Token>, CompactError> + Send + Sync,
{
    fn compact(&self, full: &Full<'_>) -> core::result::Result<Vec<Token>, CompactError> {
        self(full)
    }
}

/// The argument of a [`Compactor`]: a text that fills its context.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Full<'f> {
    /// All tokens of the prompt and the answer. The last one has not been computed.
    pub tokens: &'f [Token],
    /// The number of leading tokens that are the prompt and unchanged by earlier compactions.
    pub n_prompt: usize,
    /// The most tokens of the context.
    pub n_ctx: usize,
    /// The vocabulary, to convert between text and tokens.
    pub vocab: Vocab<'f>,
}

impl fmt::Debug for WhenFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop => f.write_str("Stop"),
            Self::Error => f.write_str("Error"),
            Self::Shift { keep } => f.debug_struct("Shift").field("keep", keep).finish(),
            Self::Compact(_) => f.debug_tuple("Compact").finish_non_exhaustive(),
        }
    }
}

/// Returns the part of a text that a shift drops: half of what may go.
pub(crate) fn gap(tokens: &[Token], keep: usize, vocab: Vocab<'_>, n_ctx: usize) -> Gap {
    let begins = vocab.bos().is_some_and(|bos| tokens.first() == Some(&bos));
    let keep = keep.saturating_add(usize::from(begins));
    Gap { keep, discard: n_ctx.saturating_sub(keep) / 2 }
}

impl WhenFull {
    /// Refuses a shift that a sequence cannot do, or that would leave nothing to drop.
    pub(crate) fn check(&self, shift_refusal: Option<&'static str>, n_ctx: usize) -> Result<()> {
        let Self::Shift { keep } = self else { return Ok(()) };
        if let Some(reason) = shift_refusal {
            return Err(ErrorKind::CannotShift { reason }.into());
        }
        // A token for the beginning, and two that can go.
        let most = n_ctx.saturating_sub(3);
        if *keep > most {
            let expected = format!("at most {most} in a context of {n_ctx} tokens");
            return Err(ParameterProblem::new("when_full.keep", keep, expected).into());
        }
        Ok(())
    }

    /// Shortens a prompt that does not fit, or refuses it.
    pub(crate) fn shorten(&self, prompt: Vec<Token>, n_ctx: usize, vocab: Vocab<'_>) -> Result<Vec<Token>> {
        if prompt.len() < n_ctx {
            return Ok(prompt);
        }
        match self {
            Self::Stop | Self::Error => {
                Err(ErrorKind::PromptTooLong { n_prompt: prompt.len(), n_ctx }.into())
            }
            Self::Shift { keep } => {
                let Gap { keep, discard } = gap(&prompt, *keep, vocab, n_ctx);
                let end = n_ctx - keep - discard;
                Ok([&prompt[..keep], &prompt[prompt.len() - end..]].concat())
            }
            Self::Compact(compactor) => {
                let full = Full { tokens: &prompt, n_prompt: prompt.len(), n_ctx, vocab };
                compact(compactor.as_ref(), &full)
            }
        }
    }
}

/// Calls the compactor and checks its result.
pub(crate) fn compact(compactor: &dyn Compactor, full: &Full<'_>) -> Result<Vec<Token>> {
    let refuse = |reason: String| Error::from(ErrorKind::Compactor { cause: reason.into() });
    let tokens = compactor.compact(full).map_err(|cause| ErrorKind::Compactor { cause })?;
    if tokens.is_empty() {
        return Err(refuse("it left no tokens: at least one is needed to go on from".to_owned()));
    }
    if tokens.len() >= full.n_ctx {
        let (left, most) = (tokens.len(), full.n_ctx - 1);
        return Err(refuse(format!("it left {left} tokens: at most {most} leave room for another one")));
    }
    if let Some(token) = tokens.iter().find(|token| full.vocab.attributes(**token).is_err()) {
        return Err(refuse(format!("it made a token {token}, which is not in the vocabulary")));
    }
    Ok(tokens)
}
