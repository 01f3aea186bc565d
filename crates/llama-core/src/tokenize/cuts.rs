//! The positions between two special tokens at which a tokenizer is certain to divide a text.

use core::ops::Range;

use super::facts::{Facts, Traits};
use super::pre::Quirk;
use crate::error::Result;
use crate::vocab::tokenize_error;

/// A position at which a text can be divided.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    /// End of the part before the cut.
    pub(super) end: usize,
    /// Start of the part after the cut: later than `end` if the tokenizer adds the space between them.
    pub(super) next: usize,
    /// Whether to divide here regardless of the size of the piece.
    pub(super) is_needed: bool,
    /// Whether the tokenizer adds a space, which is not in the text, in front of the part after the cut.
    pub(super) adds_space: bool,
    /// Range of groups of three digits, which starts at `end`.
    pub(super) digits: Option<Range<usize>>,
}

impl Cut {
    fn at(place: usize) -> Self {
        Self { end: place, next: place, is_needed: false, adds_space: false, digits: None }
    }
}

/// The space of SentencePiece's tokenizers.
const SPACE: char = '\u{2581}';
/// Number of consecutive digits from which they are treated as groups.
const DIGITS: usize = 96;
/// Number of consecutive spaces from which they are divided, and size of the parts: a multiple of 512.
const SPACES: usize = 4096;
/// Budget for runs that take quadratic time: some tenths of a second.
const SQUARES: usize = 4_000_000;

pub(super) struct Cuts<'t> {
    text: &'t str,
    traits: &'t Traits,
    facts: Option<&'t Facts>,
    /// The sum of the squared lengths of such runs.
    squares: usize,
}

impl<'t> Cuts<'t> {
    pub(super) fn new(text: &'t str, traits: &'t Traits, facts: Option<&'t Facts>) -> Self {
        Self { text, traits, facts, squares: 0 }
    }

    /// Calls `found` for every cut inside a range of the text, in order.
    pub(super) fn each(&mut self, range: Range<usize>, found: &mut dyn FnMut(Cut)) -> Result<()> {
        let bytes = self.text.as_bytes();
        let rules = self.traits.rules;
        let mut index = range.start;
        while index < range.end {
            let byte = bytes[index];
            let run = match rules.quirk {
                Quirk::Digits | Quirk::OnlyDigits if byte.is_ascii_digit() || byte >= 0x80 => {
                    self.digits(index, &range, found)?
                }
                Quirk::TrailingSpace if is_space(self.text, index) => self.trailing(index, &range, found)?,
                Quirk::SpaceBlocks if is_space(self.text, index) => self.blocks(index, &range, found),
                Quirk::Bytes if index > range.start && self.text.is_char_boundary(index) => {
                    self.characters(index, &range, found);
                    0
                }
                _ => 0,
            };
            // A cut directly after a run is found below.
            index += run.saturating_sub(1);
            match bytes[index] {
                b' ' if rules.words && self.is_between_words(index, &range) => found(self.word(index)),
                b'\n' if rules.lines && self.is_between_lines(index, &range) => found(Cut::at(index + 1)),
                _ => {}
            }
            index += 1;
        }
        Ok(())
    }

    fn word(&self, space: usize) -> Cut {
        Cut { next: space + usize::from(self.traits.adds_space), ..Cut::at(space) }
    }

    /// Returns whether there is a letter on both sides of a space.
    fn is_between_words(&self, space: usize, range: &Range<usize>) -> bool {
        let before = self.text[range.start..space].chars().next_back();
        let is_joined = before.is_some_and(|before| self.may_merge(before, SPACE));
        before.is_some_and(is_letter) && self.is_letter_at(space + 1, range) && !is_joined
    }

    /// Returns whether a newline follows text and precedes a letter.
    fn is_between_lines(&self, newline: usize, range: &Range<usize>) -> bool {
        let before = self.text[range.start..newline].chars().next_back();
        before.is_some_and(|before| !before.is_whitespace()) && self.is_letter_at(newline + 1, range)
    }

    fn is_letter_at(&self, index: usize, range: &Range<usize>) -> bool {
        self.text.get(index..range.end).and_then(|text| text.chars().next()).is_some_and(is_letter)
    }

    /// Processes a run of digits, and returns its length in bytes.
    fn digits(&mut self, start: usize, range: &Range<usize>, found: &mut dyn FnMut(Cut)) -> Result<usize> {
        let only_ascii = self.traits.rules.quirk == Quirk::OnlyDigits;
        let text = &self.text[start..range.end];
        let is_digit = |character: char| {
            if only_ascii { character.is_ascii_digit() } else { character.is_numeric() }
        };
        let length = text.find(|character| !is_digit(character)).unwrap_or(text.len());
        if length == 0 {
            // Not a digit: skip the whole character.
            return Ok(text.chars().next().map_or(1, char::len_utf8));
        }
        let before = self.text[range.start..start].chars().next_back();
        if only_ascii && before.is_some_and(|before| before.is_ascii() || is_letter(before)) {
            found(Cut::at(start));
        }
        let run = &text[..length];
        if length <= DIGITS {
            return Ok(length);
        }
        let has_certain_end =
            text[length..].chars().next().is_none_or(|next| next.is_ascii() || is_letter(next));
        if !run.bytes().all(|byte| byte.is_ascii_digit()) || !has_certain_end || self.facts.is_none() {
            self.spend(run.chars().count(), "digits")?;
            return Ok(length);
        }
        // Groups are counted from the end; the first and the last stay with their neighbours.
        let first = start + if length % 3 == 0 { 3 } else { length % 3 };
        let groups = first..start + length - 3;
        found(Cut { digits: Some(groups), ..Cut::at(first) });
        Ok(length)
    }

    /// Processes a run of spaces that may be tried as trailing space, and returns its length in bytes.
    fn trailing(&mut self, start: usize, range: &Range<usize>, found: &mut dyn FnMut(Cut)) -> Result<usize> {
        let text = &self.text[start..range.end];
        let length = text.find(|character| !is_blank(character)).unwrap_or(text.len());
        let Some(next) = text[length..].chars().next() else { return Ok(length) };
        let takes_space = next.is_ascii() && !next.is_ascii_digit() && !next.is_ascii_control()
            || matches!(next, '\r' | '\n')
            || is_latin_greek_or_cyrillic(next);
        if length < 64 || takes_space {
            return Ok(length);
        }
        let before = self.text[range.start..start].chars().next_back();
        let has_certain_start = before.is_none_or(|before| before.is_ascii_graphic() || before == '\n');
        let has_certain_end = next.is_ascii_digit() || matches!(next, '\u{4e00}'..='\u{9fa5}');
        if has_certain_start && has_certain_end && self.facts.is_some() {
            found(Cut { is_needed: true, ..Cut::at(start + length) });
        } else {
            self.spend(text[..length].chars().count(), "spaces")?;
        }
        Ok(length)
    }

    /// Processes a run of spaces that is divided into blocks from its start, and returns its length in bytes.
    fn blocks(&self, start: usize, range: &Range<usize>, found: &mut dyn FnMut(Cut)) -> usize {
        let text = &self.text[start..range.end];
        let length = text.find(|character: char| !character.is_whitespace()).unwrap_or(text.len());
        let run = &text[..length];
        if run.contains(['\r', '\n']) {
            return length;
        }
        let n_spaces = run.chars().count();
        for (number, (place, _)) in run.char_indices().enumerate() {
            if number > 0 && number % SPACES == 0 && n_spaces - number > 512 {
                found(Cut { is_needed: true, ..Cut::at(start + place) });
            }
        }
        length
    }

    /// Reports a cut between two characters that are never merged.
    fn characters(&self, place: usize, range: &Range<usize>, found: &mut dyn FnMut(Cut)) {
        let before = self.text[range.start..place].chars().next_back();
        let Some((before, after)) = before.zip(self.text[place..range.end].chars().next()) else { return };
        let is_space = |character| matches!(character, ' ' | SPACE);
        let adds_space = self.traits.adds_space;
        let is_joined = self.may_merge(before, after) || adds_space && self.may_merge(SPACE, after);
        if self.facts.is_some() && !is_space(before) && !is_space(after) && !is_joined {
            found(Cut { adds_space, ..Cut::at(place) });
        }
    }

    /// Returns whether a merging tokenizer may merge two characters.
    fn may_merge(&self, left: char, right: char) -> bool {
        self.facts.is_some_and(|facts| facts.may_merge(left, right))
    }

    fn spend(&mut self, length: usize, what: &str) -> Result<()> {
        self.squares = self.squares.saturating_add(length.saturating_mul(length));
        if self.squares <= SQUARES {
            return Ok(());
        }
        let reason = format!(
            "{length} {what} in a row take this model's pre-tokenizer time that grows with the square of their number: \
             shorten such runs to 1000 characters, or put a line break into them"
        );
        Err(tokenize_error(super::TOKENIZING, reason))
    }
}

fn is_space(text: &str, index: usize) -> bool {
    text.get(index..).and_then(|text| text.chars().next()).is_some_and(is_blank)
}

/// Returns whether a character is white space other than a line break.
fn is_blank(character: char) -> bool {
    character.is_whitespace() && !matches!(character, '\r' | '\n')
}

fn is_latin_greek_or_cyrillic(character: char) -> bool {
    matches!(character,
        '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{1ba}'
        | '\u{391}'..='\u{3a1}' | '\u{3a3}'..='\u{3a9}' | '\u{3b1}'..='\u{3c9}'
        | '\u{400}'..='\u{481}' | '\u{48a}'..='\u{52f}')
}

/// Returns whether a character is a letter by all of llama.cpp's tables and expressions.
fn is_letter(character: char) -> bool {
    character.is_ascii_alphabetic()
        || is_latin_greek_or_cyrillic(character)
        || matches!(character,
            '\u{5d0}'..='\u{5ea}' | '\u{621}'..='\u{63a}' | '\u{641}'..='\u{64a}' | '\u{905}'..='\u{939}'
            | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{4e00}'..='\u{9fa5}'
            | '\u{ac00}'..='\u{d7a3}')
}
