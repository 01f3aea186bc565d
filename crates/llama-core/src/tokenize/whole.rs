//! Tokenising a text of any length: long texts are divided, on a stack that is large enough.

use core::ops::ControlFlow;
use std::collections::HashMap;

use once_cell::sync::OnceCell;

use super::facts::{self, Facts, Traits};
use super::pieces::{Piece, Sizes, pieces};
use super::pre::Quirk;
use super::{TOKENIZING, TokenizeOptions};
use crate::error::{ErrorKind, Result};
use crate::ffi::stack;
use crate::token::Token;
use crate::vocab::{Vocab, VocabKind, tokenize_error};

/// Stack per character of a match. The executor of libstdc++ takes 321 bytes (GCC 12 to 14, measured by touched
/// pages); other libraries keep their state elsewhere or have their own limit.
const PER_CHARACTER: usize = 512;
/// Number of bytes of a match that fits on the stack of any thread.
const INLINE: usize = 512;
/// Stack for everything else: compiling an expression, merging.
const BASE: usize = 4 << 20;
/// Largest stack. Only touched pages use memory.
const LARGEST: usize = 1 << 30;

/// Facts about a model's vocabulary, computed when they are first needed.
#[derive(Default)]
pub(crate) struct TextFacts {
    traits: OnceCell<Traits>,
    facts: OnceCell<Facts>,
    unknown: OnceCell<Option<Token>>,
}

impl TextFacts {
    fn traits(&self, vocab: Vocab<'_>) -> Result<Traits> {
        self.traits.get_or_try_init(|| Traits::of(vocab)).copied()
    }

    fn facts(&self, vocab: Vocab<'_>) -> Result<&Facts> {
        self.facts.get_or_try_init(|| Facts::of(vocab))
    }

    /// Returns the token that is an ordinary result for text outside of the vocabulary.
    pub(super) fn unknown(&self, vocab: Vocab<'_>) -> Result<Option<Token>> {
        self.unknown.get_or_try_init(|| facts::unknown(vocab)).copied()
    }
}

type GoOn<'g> = dyn FnMut() -> ControlFlow<()> + 'g;

pub(super) fn tokenize(
    vocab: Vocab<'_>,
    text: &str,
    options: TokenizeOptions,
    sizes: Sizes,
    go_on: &mut GoOn<'_>,
) -> Result<Vec<Token>> {
    ask(go_on, 0, text)?;
    if text.len() <= sizes.short {
        return vocab.tokenize_piece(text, options);
    }
    let known = vocab.model().text_facts();
    let traits = known.traits(vocab)?;
    let is_divided = text.len() > sizes.undivided || traits.rules.quirk != Quirk::None;
    let facts = if is_divided { Some(known.facts(vocab)?) } else { None };
    let pieces = pieces(text, &traits, facts, options.parse_special, sizes)?;
    let recurses = traits.rules.recurses;
    if let [piece] = pieces.as_slice() {
        return on_stack(text, piece, recurses, || vocab.tokenize_piece(text, options));
    }
    let (mut tokens, last) = added(vocab, options)?;
    let mut groups = Groups::new(vocab);
    for piece in pieces {
        ask(go_on, piece.range.start, text)?;
        let part = &text[piece.range.clone()];
        if piece.is_digits {
            groups.append(part, &mut tokens)?;
        } else {
            let options = options.add_special(false);
            let made = on_stack(text, &piece, recurses, || vocab.tokenize_piece(part, options))?;
            let added = if piece.adds_space { known.facts(vocab)?.tokens_of_mark() } else { 0 };
            tokens.extend_from_slice(&made[added..]);
        }
    }
    tokens.extend(last);
    Ok(tokens)
}

fn ask(go_on: &mut GoOn<'_>, done: usize, text: &str) -> Result<()> {
    match go_on() {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(ErrorKind::TokenizeCancelled { done, total: text.len() }.into()),
    }
}

/// Returns the tokens that are added before and after a text.
fn added(vocab: Vocab<'_>, options: TokenizeOptions) -> Result<(Vec<Token>, Option<Token>)> {
    let mut before = if options.add_special { vocab.tokenize_raw("", options)? } else { Vec::new() };
    let begins = vocab.kind() == VocabKind::Wpm || vocab.adds_bos();
    let last = if before.len() > usize::from(begins) { before.pop() } else { None };
    Ok((before, last))
}

/// Runs `body` with enough stack for a piece.
fn on_stack<R: Send>(
    text: &str,
    piece: &Piece,
    recurses: bool,
    body: impl FnOnce() -> Result<R> + Send,
) -> Result<R> {
    if !recurses || piece.longest.len() <= INLINE {
        return body();
    }
    let length = text[piece.longest.clone()].chars().count();
    let bytes = length.saturating_mul(PER_CHARACTER).saturating_add(BASE);
    if bytes > LARGEST {
        let most = (LARGEST - BASE) / PER_CHARACTER;
        let reason = format!(
            "this model's pre-tokenizer cannot divide a run of {length} characters, but the run must have at most \
             {most}: put line breaks into the text"
        );
        return Err(tokenize_error(TOKENIZING, reason));
    }
    stack::run("llama-tokenize", "tokenising a long text", bytes, body)?
}

/// Cached tokens of groups of three digits, of which there are at most a thousand.
struct Groups<'m> {
    vocab: Vocab<'m>,
    known: HashMap<String, Vec<Token>>,
}

impl<'m> Groups<'m> {
    fn new(vocab: Vocab<'m>) -> Self {
        Self { vocab, known: HashMap::new() }
    }

    fn append(&mut self, digits: &str, tokens: &mut Vec<Token>) -> Result<()> {
        for group in digits.as_bytes().chunks(3) {
            let group = str::from_utf8(group).unwrap_or_default();
            if let Some(known) = self.known.get(group) {
                tokens.extend(known);
                continue;
            }
            let options = TokenizeOptions::default().add_special(false);
            let made = self.vocab.tokenize_piece(group, options)?;
            tokens.extend(&made);
            self.known.insert(group.to_owned(), made);
        }
        Ok(())
    }
}

/// Returns the number of pieces into which a text is divided.
#[cfg(test)]
pub(super) fn count_pieces(
    known: &TextFacts,
    vocab: Vocab<'_>,
    text: &str,
    options: TokenizeOptions,
    sizes: Sizes,
) -> usize {
    let (traits, facts) = (known.traits(vocab).unwrap(), known.facts(vocab).unwrap());
    pieces(text, &traits, Some(facts), options.parse_special, sizes).map_or(0, |pieces| pieces.len())
}
