//! Tokenizers: the model's own vocabulary, or another one with the same ids.

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

/// Makes tokens of text and bytes of tokens.
///
/// A [`Model`] is one, by its own vocabulary, and so is a [`Vocab`]. With feature `tokenizers` there is `HfTokenizer`, a
/// Hugging Face `tokenizer.json`: for models whose file has no vocabulary, and where llama.cpp's tokenizer is not
/// exactly the one that the model was trained with. [`LlamaBuilder::tokenizer`](crate::LlamaBuilder::tokenizer) takes
/// any.
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
    /// The number of tokens; ids are `0..n_tokens`.
    fn n_tokens(&self) -> usize;

    /// Makes tokens of a text.
    ///
    /// # Errors
    ///
    /// When the tokenizer fails.
    fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<Token>>;

    /// Makes tokens of a text, and asks `go_on` now and then whether to go on. What there is by default asks once, at the
    /// beginning.
    ///
    /// # Errors
    ///
    /// [`TokenizeCancelled`](llama_core::ErrorKind::TokenizeCancelled) when `go_on` breaks, and when the tokenizer fails.
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

    /// Appends the bytes that a token stands for: possibly a part of a character, or nothing. With `special`, a control
    /// token is written out by its name; without, it gives nothing.
    ///
    /// # Errors
    ///
    /// For a token that there is not.
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
