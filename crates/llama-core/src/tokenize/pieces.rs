//! Division of a long text into pieces whose tokens, joined, are those of the whole text.

use core::ops::Range;

use super::cuts::{Cut, Cuts};
use super::facts::{Facts, Traits};
use super::fragments::{Fragment, fragments};
use super::pre::Quirk;
use crate::error::Result;

/// Sizes from which texts are divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Number of bytes up to which a text is tokenised directly: `std::regex` needs less than 200 KiB of stack for
    /// it.
    pub(super) short: usize,
    /// Number of bytes up to which a text is not divided: it takes milliseconds whatever it contains.
    pub(super) undivided: usize,
    /// Number of bytes after which a piece ends at the next cut. llama.cpp compiles its regular expressions for each
    /// piece.
    pub(super) piece: usize,
    /// Maximum number of special tokens in a piece.
    pub(super) tokens: usize,
}

impl Sizes {
    /// Returns the sizes for pieces of `piece` bytes.
    pub(super) fn of(piece: usize) -> Self {
        Self { short: piece.min(512), undivided: piece.min(4 << 10), piece, tokens: piece.min(512) }
    }
}

/// Size of a piece of a text whose characters may become bytes.
const BYTES_PIECE: usize = 4 << 10;

/// A part of a text that is tokenised by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) range: Range<usize>,
    /// Whether the tokenizer adds a space in front that is not in the text and is merged with nothing.
    pub(super) adds_space: bool,
    /// Whether it consists of groups of three digits, each of which is a word.
    pub(super) is_digits: bool,
    /// The longest part that may be a single match of a regular expression.
    pub(super) longest: Range<usize>,
}

/// Divides a text. Without `facts` it is not divided but only measured.
///
/// # Errors
///
/// Fails for a text on which the pre-tokenizer would take quadratic time.
pub(super) fn pieces(
    text: &str,
    traits: &Traits,
    facts: Option<&Facts>,
    parse_special: bool,
    sizes: Sizes,
) -> Result<Vec<Piece>> {
    let known = facts.and_then(|facts| fragments(text, facts, parse_special));
    let can_divide = known.is_some() && !traits.marks_first;
    let fragments = known.unwrap_or_else(|| vec![Fragment { range: 0..text.len(), is_token: false }]);
    // Small ones, since the output is copied again and again.
    let piece = if traits.rules.quirk == Quirk::Bytes { sizes.piece.min(BYTES_PIECE) } else { sizes.piece };
    let mut cutter = Cutter::new(can_divide, Sizes { piece, ..sizes });
    let mut cuts = Cuts::new(text, traits, facts);
    for (index, fragment) in fragments.iter().enumerate() {
        if let Some(before) = index.checked_sub(1).map(|before| &fragments[before]) {
            cutter.between(before, fragment, traits.marks_first);
        }
        if fragment.is_token {
            cutter.n_tokens += 1;
        } else {
            cuts.each(fragment.range.clone(), &mut |cut| cutter.at(cut))?;
            cutter.end_stretch(fragment.range.end);
        }
    }
    cutter.emit(text.len());
    Ok(cutter.pieces)
}

struct Cutter {
    pieces: Vec<Piece>,
    sizes: Sizes,
    /// Whether the text may be divided inside a fragment.
    can_divide: bool,
    /// Start of the current piece.
    start: usize,
    /// Whether a space is added to the current piece.
    adds_space: bool,
    /// Start of the current stretch, which a match cannot cross.
    stretch: usize,
    longest: Range<usize>,
    n_tokens: usize,
}

impl Cutter {
    fn new(can_divide: bool, sizes: Sizes) -> Self {
        Self {
            pieces: Vec::new(),
            sizes,
            can_divide,
            start: 0,
            adds_space: false,
            stretch: 0,
            longest: 0..0,
            n_tokens: 0,
        }
    }

    /// Handles the boundary between two fragments: tokenising starts afresh after a special token.
    fn between(&mut self, before: &Fragment, after: &Fragment, only_before_token: bool) {
        let place = after.range.start;
        self.stretch = place;
        let is_place = if only_before_token { after.is_token } else { before.is_token };
        // Absorbed white space belongs to its token.
        let is_place = is_place && before.range.end == place;
        if is_place && (self.n_tokens >= self.sizes.tokens || place - self.start >= self.sizes.piece) {
            self.emit(place);
        }
    }

    fn at(&mut self, cut: Cut) {
        let (end, next) = (cut.end, cut.next);
        self.end_stretch(end);
        self.stretch = next;
        if !self.can_divide {
            return;
        }
        if let Some(digits) = cut.digits {
            self.emit(end);
            let longest = digits.start..digits.start + 3;
            self.pieces.push(Piece { range: digits.clone(), adds_space: false, is_digits: true, longest });
            (self.start, self.stretch) = (digits.end, digits.end);
        } else if cut.is_needed || end - self.start >= self.sizes.piece {
            self.emit(end);
            (self.start, self.adds_space) = (next, cut.adds_space);
        }
    }

    fn end_stretch(&mut self, end: usize) {
        if end.saturating_sub(self.stretch) > self.longest.len() {
            self.longest = self.stretch..end;
        }
    }

    fn emit(&mut self, end: usize) {
        if end > self.start {
            let longest = std::mem::take(&mut self.longest);
            let (range, adds_space) = (self.start..end, self.adds_space);
            self.pieces.push(Piece { range, adds_space, is_digits: false, longest });
        }
        (self.start, self.adds_space, self.longest, self.n_tokens) = (end, false, 0..0, 0);
    }
}
