//! A Hugging Face `tokenizer.json`.

mod check;

use core::any::Any;
use core::fmt;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use llama_core::{Token, TokenizeOptions};
use tokenizers::DecoderWrapper;

use super::Tokenizer;
use crate::error::{ErrorKind, Result};

/// A tokenizer from a Hugging Face `tokenizer.json`, with the crate `tokenizers`. Truncation and padding in the file are
/// switched off.
///
/// That crate panics on some damaged files, when it reads them or when it tokenises. A panic becomes an error of kind
/// [`ErrorKind::Tokenizer`], after Rust's message on stderr. With `panic = "abort"` it ends the process: then read only files
/// that you trust. Time and stack of the file's regular expressions are those of the crate `fancy-regex`, without a limit.
pub struct HfTokenizer {
    /// Treats names of special tokens in a text as text.
    plain: tokenizers::Tokenizer,
    /// Turns names of special tokens in a text into these tokens.
    parsing: tokenizers::Tokenizer,
    /// The tokens by id; ids may have gaps.
    tokens: HashMap<u32, Piece>,
    n_tokens: usize,
}

/// The bytes of a token.
#[derive(Clone, Default)]
struct Piece {
    bytes: Box<[u8]>,
    is_special: bool,
}

impl HfTokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Tokenizer`] when the file cannot be read, is not a `tokenizer.json`, has ids above 2147483647, states a wrong
    /// size of a table, or has a decoder that cannot convert single tokens to bytes.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let named = |reason: String| ErrorKind::Tokenizer { reason: format!("{}: {reason}", path.display()) };
        let json = std::fs::read(path).map_err(|error| named(error.to_string()))?;
        Self::new(&json).map_err(|reason| named(reason).into())
    }

    /// Creates a tokenizer from the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file).
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self> {
        Self::new(json.as_ref()).map_err(|reason| ErrorKind::Tokenizer { reason }.into())
    }

    fn new(json: &[u8]) -> Result<Self, String> {
        check::check(json)?;
        caught("reading it", || Self::read(json))?
    }

    fn read(json: &[u8]) -> Result<Self, String> {
        let mut parsing = tokenizers::Tokenizer::from_bytes(json).map_err(|error| error.to_string())?;
        parsing.with_padding(None);
        parsing.with_truncation(None).map_err(|error| error.to_string())?;
        let spelling = Spelling::of(parsing.get_decoder())?;
        let tokens = pieces(&parsing, &spelling)?;
        let n_tokens = tokens.keys().max().map_or(0, |last| *last as usize + 1);
        let mut plain = parsing.clone();
        plain.set_encode_special_tokens(true);
        Ok(Self { plain, parsing, tokens, n_tokens })
    }
}

/// Runs `body`, and converts a panic to an error.
fn caught<R>(doing: &str, body: impl FnOnce() -> R) -> Result<R, String> {
    // The crate's caches are only lookups, so a panic cannot leave a wrong result there. A half-built tokenizer is dropped.
    catch_unwind(AssertUnwindSafe(body))
        .map_err(|panic| format!("the crate tokenizers panicked while {doing}: {}", message(panic.as_ref())))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// Collects the bytes of all tokens.
fn pieces(tokenizer: &tokenizers::Tokenizer, spelling: &Spelling) -> Result<HashMap<u32, Piece>, String> {
    let added = tokenizer.get_added_tokens_decoder();
    let piece = |(text, id): (String, u32)| {
        if i32::try_from(id).is_err() {
            return Err(format!("the id of {text:?} is {id}, but must be at most {}", i32::MAX));
        }
        let piece = match added.get(&id) {
            Some(added) => Piece { bytes: added.content.as_bytes().into(), is_special: added.special },
            None => Piece { bytes: spelling.bytes(&text).into(), is_special: false },
        };
        Ok((id, piece))
    };
    tokenizer.get_vocab(true).into_iter().map(piece).collect()
}

/// The way in which a vocabulary writes spaces, bytes and parts of words.
enum Spelling {
    /// GPT-2's: a character for each byte.
    Bytes(HashMap<char, u8>),
    /// `SentencePiece`'s: a mark for spaces, `<0x0A>` for bytes.
    Mark(char),
    /// BERT's: words after a space, and parts of words with this prefix.
    Words(String),
}

impl Spelling {
    fn of(decoder: Option<&DecoderWrapper>) -> Result<Self, String> {
        let known = decoder.and_then(|decoder| match decoder {
            DecoderWrapper::Sequence(sequence) => sequence.get_decoders().iter().find_map(Self::of_one),
            one => Self::of_one(one),
        });
        known.ok_or_else(|| {
            "its decoder cannot convert single tokens to bytes, but must be ByteLevel, Metaspace, WordPiece, or a Sequence with \
             ByteFallback: use the model's own vocabulary"
                .to_owned()
        })
    }

    fn of_one(decoder: &DecoderWrapper) -> Option<Self> {
        match decoder {
            DecoderWrapper::ByteLevel(_) => Some(Self::Bytes(characters_of_bytes())),
            DecoderWrapper::Metaspace(metaspace) => Some(Self::Mark(metaspace.get_replacement())),
            DecoderWrapper::ByteFallback(_) => Some(Self::Mark('▁')),
            DecoderWrapper::WordPiece(pieces) => Some(Self::Words(pieces.prefix.clone())),
            _ => None,
        }
    }

    fn bytes(&self, text: &str) -> Vec<u8> {
        match self {
            // Other characters are themselves.
            Self::Bytes(bytes) => text
                .chars()
                .map(|character| bytes.get(&character).copied())
                .collect::<Option<Vec<u8>>>()
                .unwrap_or_else(|| text.into()),
            Self::Mark(mark) => match byte_token(text) {
                Some(byte) => vec![byte],
                None => text.replace(*mark, " ").into_bytes(),
            },
            Self::Words(prefix) => match text.strip_prefix(prefix.as_str()) {
                Some(part) => part.into(),
                None => format!(" {text}").into_bytes(),
            },
        }
    }
}

/// Returns the byte of a token such as `<0x0A>`.
fn byte_token(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// Returns the characters that GPT-2 writes for bytes: the byte itself if it is printable in Latin-1, and otherwise a
/// character from U+0100 on.
fn characters_of_bytes() -> HashMap<char, u8> {
    let is_printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=u8::MAX).filter(|byte| !is_printable(*byte));
    let printable = (0..=u8::MAX).filter(|byte| is_printable(*byte)).map(|byte| (char::from(byte), byte));
    ('\u{100}'..).zip(others).chain(printable).collect()
}

impl Tokenizer for HfTokenizer {
    fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<Token>> {
        let tokenizer = if options.parses_special() { &self.parsing } else { &self.plain };
        let failed = |reason: String| ErrorKind::Tokenizer { reason };
        let encoding = caught("tokenising a text", || tokenizer.encode_fast(text, options.adds_special()))
            .map_err(failed)?
            .map_err(|error| failed(format!("the text could not be tokenised: {error}")))?;
        let token = |id: &u32| {
            let token = i32::try_from(*id).ok().filter(|_| self.tokens.contains_key(id));
            // A post-processor may add ids of its own.
            token
                .map(Token::new)
                .ok_or_else(|| failed(format!("it made token {id}, which its vocabulary does not have")))
        };
        Ok(encoding.get_ids().iter().map(token).collect::<Result<_, _>>()?)
    }

    fn append_token_bytes(&self, token: Token, special: bool, bytes: &mut Vec<u8>) -> Result<()> {
        let id = u32::try_from(token.get()).ok().filter(|id| (*id as usize) < self.n_tokens);
        let Some(id) = id else {
            let n_tokens = self.n_tokens;
            let reason = format!(
                "the token is {token}, but must be in its vocabulary of {n_tokens} tokens (0..{n_tokens})"
            );
            return Err(ErrorKind::Tokenizer { reason }.into());
        };
        // Unused ids have no bytes.
        if let Some(piece) = self.tokens.get(&id).filter(|piece| special || !piece.is_special) {
            bytes.extend_from_slice(&piece.bytes);
        }
        Ok(())
    }
}

impl fmt::Debug for HfTokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HfTokenizer").field("n_tokens", &self.n_tokens).finish_non_exhaustive()
    }
}
