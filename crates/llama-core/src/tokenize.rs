//! Conversion of text to tokens and back.

mod cuts;
#[cfg(test)]
mod division_tests;
mod facts;
mod fragments;
mod pieces;
mod pre;
mod special_names;
mod whole;

use pieces::Sizes;
pub(crate) use whole::TextFacts;

use core::ffi::c_char;
use core::ops::ControlFlow;

use crate::error::{Error, ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::log;
use crate::token::Token;
use crate::vocab::{Vocab, VocabKind, tokenize_error};

/// Options for converting a text to tokens. The defaults suit a prompt written by a user: the model's own begin and
/// end tokens are added, and the names of special tokens are plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenizeOptions {
    add_special: bool,
    parse_special: bool,
    piece_size: usize,
}

impl Default for TokenizeOptions {
    fn default() -> Self {
        Self { add_special: true, parse_special: false, piece_size: 64 << 10 }
    }
}

impl TokenizeOptions {
    /// Sets whether to add the begin and end tokens that the model was trained with. Default: true. Switch it off
    /// for the later parts of a text that is tokenised in parts.
    #[must_use]
    pub fn add_special(mut self, add: bool) -> Self {
        self.add_special = add;
        self
    }

    /// Sets whether the name of a special token in the text, such as `<|im_end|>`, becomes that token. Default:
    /// false. Switch it on for text that you wrote yourself, such as a chat template. Never switch it on for a
    /// user's text, which could end the turn and speak for somebody else.
    #[must_use]
    pub fn parse_special(mut self, parse: bool) -> Self {
        self.parse_special = parse;
        self
    }

    /// Sets the number of bytes after which a piece of a long text ends, at the next position where this changes no
    /// token. Default: 65536. With smaller pieces [`Vocab::tokenize_with`] asks more often whether to continue, but
    /// they cost more: llama.cpp compiles its regular expressions for each piece. With `usize::MAX` a text is
    /// divided only where it could not be tokenised otherwise.
    #[must_use]
    pub fn piece_size(mut self, bytes: usize) -> Self {
        self.piece_size = bytes;
        self
    }

    /// Returns whether begin and end tokens are added.
    #[must_use]
    pub fn adds_special(&self) -> bool {
        self.add_special
    }

    /// Returns whether the names of special tokens become these tokens.
    #[must_use]
    pub fn parses_special(&self) -> bool {
        self.parse_special
    }
}

/// Options for converting tokens to text. The default leaves special tokens out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DetokenizeOptions {
    remove_special: bool,
    unparse_special: bool,
}

impl DetokenizeOptions {
    /// Sets whether to drop the begin and end tokens that [`TokenizeOptions::add_special`] adds. Default: false.
    #[must_use]
    pub fn remove_special(mut self, remove: bool) -> Self {
        self.remove_special = remove;
        self
    }

    /// Sets whether special tokens are written by name. Default: false.
    #[must_use]
    pub fn unparse_special(mut self, unparse: bool) -> Self {
        self.unparse_special = unparse;
        self
    }
}

const TOKENIZING: &str = "tokenising a text";

/// Converts the exception of a tokenizer that finds no token for a single byte (llama-vocab.cpp, byte_to_token) to
/// an error. The exception changes nothing.
fn missing_bytes(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Exception { message } => {
            let reason = format!("the vocabulary has no tokens for some bytes of it ({message})");
            tokenize_error(TOKENIZING, reason)
        }
        _ => error,
    }
}

impl Vocab<'_> {
    /// Converts a text to tokens. NUL bytes are ordinary text.
    ///
    /// A long text is tokenised in pieces, which give the same tokens as the whole text. The time is proportional to
    /// the length, except for merging within a single word, which grows slightly faster. Where llama.cpp's regular
    /// expressions need more stack than a thread has, a thread with a larger stack is used.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] for a model without a tokenizer.
    /// [`ErrorKind::Tokenize`] for a text of 2 GiB or more; if the vocabulary has no
    /// tokens for a part of the text or for the tokens to be added; and if the model's pre-tokenizer cannot process
    /// a part of the text: more than two million characters without a position to divide them, or long runs that
    /// take quadratic time.
    ///
    /// Corresponds to `llama_tokenize`.
    pub fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<Token>> {
        self.tokenize_with(text, options, &mut || ControlFlow::Continue(()))
    }

    /// Converts a text to tokens like [`tokenize`](Self::tokenize), and calls `go_on` before every piece to ask
    /// whether to continue (see [`TokenizeOptions::piece_size`]).
    ///
    /// For the tokenizers of RWKV, PLaMo and T5, and for a long text that cannot be divided, `go_on` is called once,
    /// at the start.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TokenizeCancelled`] if `go_on` breaks, and the errors of
    /// [`tokenize`](Self::tokenize).
    ///
    /// Corresponds to `llama_tokenize`.
    pub fn tokenize_with(
        &self,
        text: &str,
        options: TokenizeOptions,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Vec<Token>> {
        self.check_has_tokenizer(TOKENIZING)?;
        self.check_added(options)?;
        whole::tokenize(*self, text, options, Sizes::of(options.piece_size), go_on)
    }

    /// Converts a text that C receives as a whole.
    fn tokenize_piece(&self, text: &str, options: TokenizeOptions) -> Result<Vec<Token>> {
        let tokens = self.tokenize_raw(text, options)?;
        if tokens.iter().any(|token| token.get() < 0) {
            let reason =
                "it has characters for which the vocabulary has no token, not even one for unknown text";
            return Err(tokenize_error(TOKENIZING, reason));
        }
        special_names::spell(self, text, options, tokens)
    }

    /// Returns the tokens as C returns them.
    fn tokenize_raw(&self, text: &str, options: TokenizeOptions) -> Result<Vec<Token>> {
        let length = i32::try_from(text.len())
            .map_err(|_| tokenize_error(TOKENIZING, format!("{} bytes are more than 2 GiB", text.len())))?;
        // One token per byte and some for both ends: with too small a buffer, C would process the text twice.
        let mut tokens = vec![0; text.len() + 16];
        loop {
            let capacity = i32::try_from(tokens.len()).unwrap_or(i32::MAX);
            let count = log::explain(|| {
                // SAFETY: the vocabulary is valid, the text has `length` bytes and need not end in NUL
                // (llama-vocab.cpp makes a std::string of it), and the buffer takes `capacity` tokens.
                unsafe {
                    guarded!(llama_tokenize(
                        self.raw(),
                        text.as_ptr().cast::<c_char>(),
                        length,
                        tokens.as_mut_ptr(),
                        capacity,
                        options.add_special,
                        options.parse_special,
                    ))
                }
                .map_err(missing_bytes)
            })?;
            if count == i32::MIN {
                return Err(tokenize_error(TOKENIZING, "it has more than 2147483647 tokens"));
            }
            if let Ok(count) = usize::try_from(count) {
                tokens.truncate(count);
                return Ok(tokens.into_iter().map(Token::new).collect());
            }
            tokens.resize(count.unsigned_abs() as usize, 0);
        }
    }

    /// Checks that the tokens to be added exist, which llama.cpp asserts (llama-vocab.cpp, tokenize).
    fn check_added(&self, options: TokenizeOptions) -> Result<()> {
        if !options.add_special {
            return Ok(());
        }
        let is_wpm = self.kind() == VocabKind::Wpm;
        let needed = [
            (self.adds_bos() || is_wpm, self.bos(), "begin a text"),
            (self.adds_eos() && !is_wpm, self.eos(), "end a text"),
            (is_wpm, self.sep(), "separate texts"),
        ];
        let missing = needed.into_iter().find(|(is_needed, token, _)| *is_needed && token.is_none());
        missing.map_or(Ok(()), |(_, _, purpose)| {
            let reason = format!(
                "the vocabulary has no token to {purpose}, but asks to add one: use add_special(false)"
            );
            Err(tokenize_error(TOKENIZING, reason))
        })
    }

    /// Appends the bytes of a token: possibly a part of a UTF-8 character, or nothing.
    ///
    /// With `special`, a control token is written by name; without it, a control token has no bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidToken`],
    /// [`ErrorKind::Unsupported`] for a model without a tokenizer.
    ///
    /// Corresponds to `llama_token_to_piece`.
    pub fn append_token_bytes(&self, token: Token, special: bool, bytes: &mut Vec<u8>) -> Result<()> {
        self.check_has_tokenizer("the bytes of a token")?;
        self.check(token)?;
        let start = bytes.len();
        bytes.resize(start + 32, 0);
        loop {
            let room = i32::try_from(bytes.len() - start).unwrap_or(i32::MAX);
            // SAFETY: the vocabulary is valid, the token is in it, and the buffer has `room` bytes.
            let length = unsafe {
                let buffer = bytes.as_mut_ptr().add(start).cast::<c_char>();
                guarded!(llama_token_to_piece(self.raw(), token.get(), buffer, room, 0, special))
            };
            let length = match length {
                Ok(length) => length,
                Err(error) => {
                    bytes.truncate(start);
                    return Err(error);
                }
            };
            if let Ok(length) = usize::try_from(length) {
                bytes.truncate(start + length);
                return Ok(());
            }
            bytes.resize(start + length.unsigned_abs() as usize, 0);
        }
    }

    /// Returns the bytes of a token. [`Vocab::append_token_bytes`] avoids the allocation. Corresponds to
    /// `llama_token_to_piece`.
    ///
    /// # Errors
    ///
    /// The errors of [`Vocab::append_token_bytes`].
    pub fn token_to_bytes(&self, token: Token, special: bool) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.append_token_bytes(token, special, &mut bytes)?;
        Ok(bytes)
    }

    /// Converts tokens to bytes, which are UTF-8 if the tokens are those of a whole text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidToken`] for the first token outside of the vocabulary,
    /// [`ErrorKind::Unsupported`] for a model without a tokenizer.
    ///
    /// Corresponds to `llama_detokenize`.
    pub fn detokenize_bytes(&self, tokens: &[Token], options: DetokenizeOptions) -> Result<Vec<u8>> {
        const OPERATION: &str = "detokenising";
        self.check_has_tokenizer(OPERATION)?;
        tokens.iter().try_for_each(|token| self.check(*token))?;
        let count = i32::try_from(tokens.len())
            .map_err(|_| tokenize_error(OPERATION, format!("{} tokens are too many", tokens.len())))?;
        let mut bytes = vec![0_u8; tokens.len() * 6 + 16];
        loop {
            let room = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
            // SAFETY: the vocabulary is valid, all tokens are in it, `Token` is a transparent i32, and the
            // buffer has `room` bytes.
            let length = unsafe {
                guarded!(llama_detokenize(
                    self.raw(),
                    tokens.as_ptr().cast::<llama_sys::llama_token>(),
                    count,
                    bytes.as_mut_ptr().cast::<c_char>(),
                    room,
                    options.remove_special,
                    options.unparse_special,
                ))
            }?;
            if let Ok(length) = usize::try_from(length) {
                bytes.truncate(length);
                return Ok(bytes);
            }
            bytes.resize(length.unsigned_abs() as usize, 0);
        }
    }

    /// Converts tokens to text. Bytes that are not UTF-8 are replaced by U+FFFD. Corresponds to `llama_detokenize`.
    ///
    /// # Errors
    ///
    /// The errors of [`Vocab::detokenize_bytes`].
    pub fn detokenize(&self, tokens: &[Token], options: DetokenizeOptions) -> Result<String> {
        let bytes = self.detokenize_bytes(tokens, options)?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }
}
