//! Tokenizers: the model's own vocabulary, or another tokenizer with the same ids.

mod agreement;
#[cfg(feature = "tokenizers")]
mod hugging_face;

use core::fmt;
use core::ops::ControlFlow;

use llama_core::{Model, Token, TokenizeOptions, Vocab};

use crate::error::Result;

pub use agreement::check_agreement;
#[cfg(feature = "tokenizers")]
pub use hugging_face::HfTokenizer;

/// Converts text to tokens and tokens to bytes.
///
/// [`Model`] and [`Vocab`] implement it with the model's own vocabulary. With feature `tokenizers`, `HfTokenizer` implements it
/// with a Hugging Face `tokenizer.json`, for models whose file has no vocabulary, or whose original tokenizer differs from
/// llama.cpp's. [`LlamaBuilder::tokenizer`](crate::LlamaBuilder::tokenizer) takes any tokenizer.
///
/// ```
/// use llama_core::{Model, ModelParams, TokenizeOptions};
/// use llama_gen::Tokenizer;
///
/// # fn main() -> Result<(), llama_gen::Error> {
/// # let path = test_models::Tiny::Llama.path();
/// let model = Model::load(path, &ModelParams::default())?;
/// let tokenizer: &dyn Tokenizer = &model;
/// let tokens = tokenizer.tokenize("hello world", TokenizeOptions::default().add_special(false))?;
/// let mut bytes = Vec::new();
/// for token in tokens {
///     tokenizer.append_token_bytes(token, false, &mut bytes)?;
/// }
/// assert_eq!(bytes, b" hello world");
/// # Ok(())
/// # }
/// ```
pub trait Tokenizer: fmt::Debug + Send + Sync {
    /// Returns the number of tokens. Ids are in `0..n_tokens`.
    fn n_tokens(&self) -> usize;

    /// Tokenises a text.
    ///
    /// # Errors
    ///
    /// An error of the tokenizer.
    fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<Token>>;

    /// Tokenises a text, and calls `go_on` from time to time to ask whether to continue. The default implementation calls it
    /// once, at the beginning.
    ///
    /// # Errors
    ///
    /// [`TokenizeCancelled`](llama_core::ErrorKind::TokenizeCancelled) when `go_on` breaks, or an error of the tokenizer.
    fn tokenize_with(
        &self,
        text: &str,
        options: TokenizeOptions,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Vec<Token>> {
        if go_on().is_break() {
            let cancelled = llama_core::ErrorKind::TokenizeCancelled { done: 0, total: text.len() };
            return Err(llama_core::Error::from(cancelled).into());
        }
        self.tokenize(text, options)
    }

    /// Appends the bytes of a token, which may be a part of a character, or empty. A control token appends its name with
    /// `special`, and nothing without.
    ///
    /// # Errors
    ///
    /// An error for a token outside the vocabulary.
    fn append_token_bytes(&self, token: Token, special: bool, bytes: &mut Vec<u8>) -> Result<()>;
}

impl Tokenizer for Vocab<'_> {
    fn n_tokens(&self) -> usize {
        Vocab::n_tokens(self)
    }

    fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<Token>> {
        Ok(Vocab::tokenize(self, text, options)?)
    }

    fn tokenize_with(
        &self,
        text: &str,
        options: TokenizeOptions,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Vec<Token>> {
        Ok(Vocab::tokenize_with(self, text, options, go_on)?)
    }

    fn append_token_bytes(&self, token: Token, special: bool, bytes: &mut Vec<u8>) -> Result<()> {
        Ok(Vocab::append_token_bytes(self, token, special, bytes)?)
    }
}

impl Tokenizer for Model {
    fn n_tokens(&self) -> usize {
        self.vocab().n_tokens()
    }

    fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<Token>> {
        Tokenizer::tokenize(&self.vocab(), text, options)
    }

    fn tokenize_with(
        &self,
        text: &str,
        options: TokenizeOptions,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Vec<Token>> {
        Tokenizer::tokenize_with(&self.vocab(), text, options, go_on)
    }

    fn append_token_bytes(&self, token: Token, special: bool, bytes: &mut Vec<u8>) -> Result<()> {
        Tokenizer::append_token_bytes(&self.vocab(), token, special, bytes)
    }
}
