//! The candidates that llama.cpp is working on, as a custom sampler sees them.

use core::cmp::Ordering;

use crate::sampler::candidates::Candidate;

/// Candidates inside a running chain: an array that belongs to llama.cpp, which can be changed, reordered and shortened
/// but not lengthened. Corresponds to `llama_token_data_array`.
///
/// Logits that are not numbers and tokens that are not in the vocabulary make the chain's call fail with an error; the
/// candidate is masked.
#[derive(Debug)]
pub struct CandidatesMut<'a> {
    array: &'a mut llama_sys::llama_token_data_array,
    flaw: Option<String>,
}

impl<'a> CandidatesMut<'a> {
    /// # Safety
    ///
    /// The array points to as many elements as it says, which nobody else uses meanwhile.
    pub(super) unsafe fn new(array: &'a mut llama_sys::llama_token_data_array) -> Self {
        Self { array, flaw: None }
    }

    /// The candidates, in their present order.
    #[must_use]
    pub fn as_slice(&self) -> &[Candidate] {
        if self.array.size == 0 {
            return &[];
        }
        // SAFETY: the array has that many elements by the promise to `new`, and `Candidate` has their layout
        // (sampler/candidates.rs).
        unsafe { core::slice::from_raw_parts(self.array.data.cast::<Candidate>(), self.array.size) }
    }

    /// The candidates, to change. Forgets the selection and the order.
    pub fn as_mut_slice(&mut self) -> &mut [Candidate] {
        self.forget();
        self.array.sorted = false;
        self.slice_mut()
    }

    fn slice_mut(&mut self) -> &mut [Candidate] {
        if self.array.size == 0 {
            return &mut [];
        }
        // SAFETY: as in `as_slice`, and `self` is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.array.data.cast::<Candidate>(), self.array.size) }
    }

    /// How many there are, at least one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.array.size
    }

    /// Whether there are none, which is never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.array.size == 0
    }

    /// Whether they are in falling order of their logits.
    #[must_use]
    pub fn is_sorted(&self) -> bool {
        self.array.sorted
    }

    /// Puts them in falling order of their logits, of equal ones the one that was first. Forgets the selection.
    pub fn sort(&mut self) {
        self.forget();
        if !self.array.sorted {
            let by_logit =
                |a: &Candidate, b: &Candidate| b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal);
            self.slice_mut().sort_by(by_logit);
            self.array.sorted = true;
        }
    }

    /// Keeps the first `len`, and at least one. Forgets the selection.
    pub fn truncate(&mut self, len: usize) {
        self.forget();
        self.array.size = self.array.size.min(len.max(1));
    }

    /// Keeps the candidates that `keep` says, in their order. When it keeps none, the first one stays and is masked, so
    /// that selecting ends in [`ErrorKind::DeadEnd`](crate::ErrorKind::DeadEnd). Forgets the selection.
    pub fn retain(&mut self, mut keep: impl FnMut(&Candidate) -> bool) {
        self.forget();
        let candidates = self.slice_mut();
        let mut kept = 0;
        for index in 0..candidates.len() {
            if keep(&candidates[index]) {
                candidates[kept] = candidates[index];
                kept += 1;
            }
        }
        if kept == 0 && !candidates.is_empty() {
            candidates[0].logit = f32::NEG_INFINITY;
            kept = 1;
        }
        self.array.size = kept;
    }

    /// Selects the candidate at an index. One that is past the end makes the chain's call fail with an error.
    pub fn select(&mut self, index: usize) {
        match i64::try_from(index) {
            Ok(selected) if index < self.array.size => self.array.selected = selected,
            _ => {
                let size = self.array.size;
                self.flaw = Some(format!("it selected the candidate at {index}, and there are {size}"));
            }
        }
    }

    /// The index of the candidate that is selected.
    #[must_use]
    pub fn selected(&self) -> Option<usize> {
        usize::try_from(self.array.selected).ok()
    }

    fn forget(&mut self) {
        self.array.selected = -1;
    }

    /// Masks what llama.cpp's samplers must not see: sorting NaN is undefined behaviour, and ids are indices. What was
    /// found.
    pub(super) fn settle(mut self, end: i32) -> Option<String> {
        let mut flaw = self.flaw.take();
        for candidate in self.slice_mut() {
            if candidate.logit.is_nan() || !(0..end).contains(&candidate.token.get()) {
                flaw = Some(format!(
                    "it left the candidate of token {} with the logit {}",
                    candidate.token, candidate.logit
                ));
                *candidate = Candidate { token: crate::Token::new(0), logit: f32::NEG_INFINITY, p: 0.0 };
            }
        }
        flaw
    }
}
