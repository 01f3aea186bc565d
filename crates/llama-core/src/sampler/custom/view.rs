//! A custom sampler's view of llama.cpp's candidates.

use core::cmp::Ordering;

use crate::sampler::candidates::Candidate;

/// The candidates of a running chain: an array owned by llama.cpp, which can be changed, reordered and shortened but
/// not lengthened. Corresponds to `llama_token_data_array`.
///
/// A logit that is NaN or a token outside of the vocabulary makes the chain's call fail with an error; the candidate
/// is masked.
#[derive(Debug)]
pub struct CandidatesMut<'a> {
    array: &'a mut llama_sys::llama_token_data_array,
    flaw: Option<String>,
}

impl<'a> CandidatesMut<'a> {
    /// Wraps C's array.
    ///
    /// # Safety
    ///
    /// The array points to as many elements as it says, and nobody else uses them meanwhile.
    pub(super) unsafe fn new(array: &'a mut llama_sys::llama_token_data_array) -> Self {
        Self { array, flaw: None }
    }

    /// Returns the candidates in their current order.
    #[must_use]
    pub fn as_slice(&self) -> &[Candidate] {
        if self.array.size == 0 {
            return &[];
        }
        // SAFETY: the array has that many elements by the promise to `new`, and `Candidate` has their layout
        // (sampler/candidates.rs).
        unsafe { core::slice::from_raw_parts(self.array.data.cast::<Candidate>(), self.array.size) }
    }

    /// Returns the candidates for modification. Resets the selection and the sorted flag.
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

    /// Returns the number of candidates, at least one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.array.size
    }

    /// Returns whether there are no candidates, which is never the case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.array.size == 0
    }

    /// Returns whether the candidates are sorted by logit, in descending order.
    #[must_use]
    pub fn is_sorted(&self) -> bool {
        self.array.sorted
    }

    /// Sorts the candidates by logit, in descending order; equal ones keep their order. Resets the selection.
    pub fn sort(&mut self) {
        self.forget();
        if !self.array.sorted {
            let by_logit =
                |a: &Candidate, b: &Candidate| b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal);
            self.slice_mut().sort_by(by_logit);
            self.array.sorted = true;
        }
    }

    /// Keeps the first `len` candidates, at least one. Resets the selection.
    pub fn truncate(&mut self, len: usize) {
        self.forget();
        self.array.size = self.array.size.min(len.max(1));
    }

    /// Keeps the candidates for which `keep` returns true, in their order. If there are none, the first candidate
    /// stays and is masked, so that selecting fails with [`ErrorKind::DeadEnd`](crate::ErrorKind::DeadEnd). Resets
    /// the selection.
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

    /// Selects the candidate at an index. An index past the end makes the chain's call fail with an error.
    pub fn select(&mut self, index: usize) {
        match i64::try_from(index) {
            Ok(selected) if index < self.array.size => self.array.selected = selected,
            _ => {
                let size = self.array.size;
                self.flaw = Some(format!("it selected candidate {index}, but there are only {size}"));
            }
        }
    }

    /// Returns the index of the selected candidate.
    #[must_use]
    pub fn selected(&self) -> Option<usize> {
        usize::try_from(self.array.selected).ok()
    }

    fn forget(&mut self) {
        self.array.selected = -1;
    }

    /// Masks candidates that llama.cpp's samplers must not see: sorting NaN is undefined behaviour, and ids are
    /// indices. Returns the problem found, if any.
    pub(super) fn settle(mut self, end: i32) -> Option<String> {
        let mut flaw = self.flaw.take();
        for candidate in self.slice_mut() {
            if candidate.logit.is_nan() || !(0..end).contains(&candidate.token.get()) {
                flaw = Some(format!(
                    "it left the candidate with token {} and logit {}",
                    candidate.token, candidate.logit
                ));
                *candidate = Candidate { token: crate::Token::new(0), logit: f32::NEG_INFINITY, p: 0.0 };
            }
        }
        flaw
    }
}
