use std::cell::Cell;
use std::rc::Rc;

use llama_core::sampler::{CandidatesMut, CustomSampler};

#[derive(Clone)]
struct Counting(Rc<Cell<usize>>);

impl CustomSampler for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn apply(&mut self, candidates: &mut CandidatesMut<'_>) {
        self.0.set(self.0.get() + candidates.len());
    }
}

fn main() {}
