//! What a generation goes on from.

use llama_core::Token;

/// What a generation goes on from: a text, or tokens as they are. Made from either by `into()`.
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
    /// A text, which the model's tokenizer makes tokens of.
    Text(String),
    /// Tokens. None are added, not even one for the beginning of the text.
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
