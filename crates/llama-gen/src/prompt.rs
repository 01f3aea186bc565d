//! Prompts, and how they become tokens.

use core::ops::ControlFlow;

use llama_core::{Token, TokenizeOptions};

use crate::error::{Error, ErrorKind, Result};
use crate::tokenizer::Tokenizer;

/// The beginning of the text that a generation continues: a text, or tokens. Both convert into it with `into()`.
///
/// ```
/// use llama_gen::{Llama, Prompt};
/// use llama_core::TokenizeOptions;
///
/// # fn main() -> Result<(), llama_gen::Error> {
/// # let llm = Llama::load(test_models::Tiny::Llama.path())?;
/// let tokens = llm.model().vocab().tokenize("Once upon a time", TokenizeOptions::default())?;
/// let of_tokens = llm.generate(tokens).max_tokens(8).temperature(0.0).complete()?;
/// let of_text = llm.generate("Once upon a time").max_tokens(8).temperature(0.0).complete()?;
/// assert_eq!(of_tokens.text(), of_text.text());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prompt {
    /// A text, which is tokenised with the model's tokenizer.
    Text(String),
    /// Tokens. None are added, not even the one that marks the beginning of a text.
    Tokens(Vec<Token>),
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Prompt {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Vec<Token>> for Prompt {
    fn from(tokens: Vec<Token>) -> Self {
        Self::Tokens(tokens)
    }
}

impl From<&[Token]> for Prompt {
    fn from(tokens: &[Token]) -> Self {
        Self::Tokens(tokens.to_vec())
    }
}

/// The tokens of a prompt.
#[derive(Clone, Debug)]
pub(crate) struct PromptTokens {
    /// At least one.
    pub(crate) tokens: Vec<Token>,
    /// Whether tokenising was interrupted. The only token is a placeholder then.
    is_cut_off: bool,
}

impl PromptTokens {
    /// Returns the number of tokens of the prompt; 0 when it was not tokenised to its end.
    pub(crate) fn count(&self) -> usize {
        if self.is_cut_off { 0 } else { self.tokens.len() }
    }
}

impl Prompt {
    /// Tokenises the prompt, unless `is_over` says that this is no longer wanted.
    pub(crate) fn tokenize(
        &self,
        tokenizer: &dyn Tokenizer,
        parse_special: bool,
        is_over: &mut dyn FnMut() -> bool,
    ) -> Result<PromptTokens> {
        match self.tokenize_whole(tokenizer, parse_special, is_over) {
            Err(error) if is_cancelled(&error) => {
                Ok(PromptTokens { tokens: vec![Token::new(0)], is_cut_off: true })
            }
            tokens => Ok(PromptTokens { tokens: tokens?, is_cut_off: false }),
        }
    }

    /// Tokenises the prompt. An interruption is an error.
    pub(crate) fn tokenize_whole(
        &self,
        tokenizer: &dyn Tokenizer,
        parse_special: bool,
        is_over: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Token>> {
        let invalid = |reason: &str| ErrorKind::InvalidPrompt { reason: reason.to_owned() };
        let tokens = match self {
            Self::Tokens(_) if parse_special => {
                let reason = "its tokens cannot be changed by parse_special: leave parse_special false";
                return Err(invalid(reason).into());
            }
            Self::Tokens(tokens) => tokens.clone(),
            Self::Text(text) => tokenize_text(text, tokenizer, parse_special, is_over)?,
        };
        if tokens.is_empty() {
            let reason =
                "it has no tokens, and this model adds none of its own: give it at least one character";
            return Err(invalid(reason).into());
        }
        Ok(tokens)
    }
}

fn tokenize_text(
    text: &str,
    tokenizer: &dyn Tokenizer,
    parse_special: bool,
    is_over: &mut dyn FnMut() -> bool,
) -> Result<Vec<Token>> {
    if let Some(position) = text.find('\0') {
        let reason =
            format!("it has a NUL byte at position {position}, which no model was trained on: remove it");
        return Err(ErrorKind::InvalidPrompt { reason }.into());
    }
    let options = TokenizeOptions::default().parse_special(parse_special);
    // The first part of a text is always tokenised, so that a short prompt is counted in the usage.
    let mut is_first = true;
    let mut go_on = || {
        let is_over = !core::mem::replace(&mut is_first, false) && is_over();
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    tokenizer.tokenize_with(text, options, &mut go_on)
}

fn is_cancelled(error: &Error) -> bool {
    let ErrorKind::Core(error) = error.kind() else { return false };
    matches!(error.kind(), llama_core::ErrorKind::TokenizeCancelled { .. })
}
