//! A text of any length: divided where it is long, on a stack that is large enough.

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

/// The stack for a character of a match. The executor of libstdc++ takes 321 bytes (GCC 12 to 14, counted by the pages
/// touched); other libraries keep their state elsewhere, or have a limit of their own.
const PER_CHARACTER: usize = 512;
/// A match of so many bytes fits on any thread.
const INLINE: usize = 512;
/// The stack for all else: compiling an expression, merging.
const BASE: usize = 4 << 20;
/// The largest stack. Only what is touched of it becomes memory.
const LARGEST: usize = 1 << 30;

/// What is known of a model's vocabulary, found out when it is first needed.
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

    /// The token that is an ordinary result for text outside the vocabulary.
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

/// The tokens that are added before and behind a text.
fn added(vocab: Vocab<'_>, options: TokenizeOptions) -> Result<(Vec<Token>, Option<Token>)> {
    let mut before = if options.add_special { vocab.tokenize_raw("", options)? } else { Vec::new() };
    let begins = vocab.kind() == VocabKind::Wpm || vocab.adds_bos();
    let last = if before.len() > usize::from(begins) { before.pop() } else { None };
    Ok((before, last))
}

/// Runs `body` where there is stack enough for a piece.
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
            "{length} characters have no place at which this model's pre-tokenizer divides a text, but can be at most \
             {most}: put line breaks into the text"
        );
        return Err(tokenize_error(TOKENIZING, reason));
    }
    stack::run("llama-tokenize", "tokenising a long text", bytes, body)?
}

/// Groups of three digits, each of which is a word: there are a thousand at most.
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

/// Into how many pieces a text is divided.
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
