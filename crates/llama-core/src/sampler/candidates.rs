//! The candidates that a chain chooses from.

use crate::token::Token;

/// A token that may be selected. Corresponds to `llama_token_data`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[repr(C)]
pub struct Candidate {
    /// The token.
    pub token: Token,
    /// The logit; negative infinity if the candidate is masked.
    pub logit: f32,
    /// The probability; 0 until a sampler computes it, then the value of the last sampler that did.
    pub p: f32,
}

// The layout of `llama_token_data`, so that C can work on the same array.
const _: () = {
    use core::mem::{align_of, offset_of, size_of};
    use llama_sys::llama_token_data as Raw;
    assert!(size_of::<Candidate>() == size_of::<Raw>() && align_of::<Candidate>() == align_of::<Raw>());
    assert!(offset_of!(Candidate, token) == offset_of!(Raw, id));
    assert!(offset_of!(Candidate, logit) == offset_of!(Raw, logit));
    assert!(offset_of!(Candidate, p) == offset_of!(Raw, p));
};

/// An array of candidate tokens, which samplers shorten, reorder and select from. It is reusable: refilling it
/// allocates only when it grows. Corresponds to `llama_token_data_array`.
///
/// ```
/// use llama_core::sampler::Candidates;
/// use llama_core::{SamplerChain, Token};
///
/// # fn main() -> Result<(), llama_core::Error> {
/// let mut candidates = Candidates::from_logits(&[1.0, 3.0, 2.0, 0.0]);
/// let mut chain = SamplerChain::builder().top_k(2).greedy().build()?;
/// chain.apply(&mut candidates)?;
/// assert_eq!(candidates.len(), 2);
/// assert_eq!(candidates.selected().map(|candidate| candidate.token), Some(Token::new(1)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidates {
    array: Vec<Candidate>,
    selected: Option<usize>,
    sorted: bool,
}

/// The reason why a row of logits cannot be sampled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Some logits are NaN.
    NotANumber,
    /// No logit is above negative infinity.
    AllMasked,
}

impl Candidates {
    /// Creates an empty array.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates one candidate per logit; the first logit belongs to token 0.
    #[must_use]
    pub fn from_logits(logits: &[f32]) -> Self {
        let mut candidates = Self::new();
        candidates.set_logits(logits);
        candidates
    }

    /// Replaces the candidates by one candidate per logit.
    pub fn set_logits(&mut self, logits: &[f32]) {
        self.fill(logits);
    }

    /// Replaces the candidates like `set_logits`, and checks the logits in the same pass.
    pub(super) fn fill(&mut self, logits: &[f32]) -> Option<Flaw> {
        let (mut not_a_number, mut above) = (false, false);
        self.array.clear();
        self.array.extend(logits.iter().zip(0_i32..).map(|(logit, id)| {
            not_a_number |= logit.is_nan();
            above |= *logit > f32::NEG_INFINITY;
            Candidate { token: Token::new(id), logit: *logit, p: 0.0 }
        }));
        self.forget();
        flaw(not_a_number, above)
    }

    /// Replaces the candidates by the given ones that are not masked, and checks their logits.
    pub(super) fn fill_from(&mut self, candidates: impl Iterator<Item = Candidate>) -> Option<Flaw> {
        self.array.clear();
        self.array.extend(candidates.filter(|candidate| candidate.logit != f32::NEG_INFINITY));
        self.forget();
        self.check()
    }

    /// Adds a candidate.
    pub fn push(&mut self, token: Token, logit: f32) {
        self.array.push(Candidate { token, logit, p: 0.0 });
        self.forget();
    }

    /// Removes all candidates but keeps the allocated memory.
    pub fn clear(&mut self) {
        self.array.clear();
        self.forget();
    }

    /// Returns the candidates in their current order.
    #[must_use]
    pub fn as_slice(&self) -> &[Candidate] {
        &self.array
    }

    /// Returns the candidates for modification. Resets the selection and the sorted flag.
    pub fn as_mut_slice(&mut self) -> &mut [Candidate] {
        self.forget();
        &mut self.array
    }

    /// Returns the number of candidates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.array.len()
    }

    /// Returns whether there are no candidates.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.array.is_empty()
    }

    /// Returns whether a sampler has sorted the candidates by logit, in descending order.
    #[must_use]
    pub fn is_sorted(&self) -> bool {
        self.sorted
    }

    /// Returns the selected candidate, or `None` if no selecting sampler has run.
    #[must_use]
    pub fn selected(&self) -> Option<Candidate> {
        self.array.get(self.selected?).copied()
    }

    fn forget(&mut self) {
        self.selected = None;
        self.sorted = false;
    }

    pub(super) fn check(&self) -> Option<Flaw> {
        let (mut not_a_number, mut above) = (false, false);
        for candidate in &self.array {
            not_a_number |= candidate.logit.is_nan();
            above |= candidate.logit > f32::NEG_INFINITY;
        }
        flaw(not_a_number, above)
    }

    /// Returns the array in C's form. It is valid until the candidates are used in another way.
    pub(super) fn raw_array(&mut self) -> llama_sys::llama_token_data_array {
        llama_sys::llama_token_data_array {
            data: self.array.as_mut_ptr().cast::<llama_sys::llama_token_data>(),
            size: self.array.len(),
            selected: -1,
            sorted: self.sorted,
        }
    }

    /// Takes over the array after C has changed it. C shortens it at the end and (XTC) at the beginning.
    pub(super) fn take_raw(&mut self, raw: &llama_sys::llama_token_data_array) {
        let first = (raw.data.addr() - self.array.as_ptr().addr()) / size_of::<Candidate>();
        self.array.truncate(first + raw.size);
        self.array.drain(..first);
        self.selected = usize::try_from(raw.selected).ok().filter(|index| *index < self.array.len());
        self.sorted = raw.sorted;
    }
}

fn flaw(not_a_number: bool, above: bool) -> Option<Flaw> {
    match (not_a_number, above) {
        (true, _) => Some(Flaw::NotANumber),
        (false, false) => Some(Flaw::AllMasked),
        (false, true) => None,
    }
}

impl FromIterator<(Token, f32)> for Candidates {
    /// Collects candidates from tokens and logits.
    fn from_iter<I: IntoIterator<Item = (Token, f32)>>(pairs: I) -> Self {
        let array = pairs.into_iter().map(|(token, logit)| Candidate { token, logit, p: 0.0 }).collect();
        Self { array, selected: None, sorted: false }
    }
}
