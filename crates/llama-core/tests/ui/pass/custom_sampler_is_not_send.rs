use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use llama_core::sampler::{CandidatesMut, CustomSampler};
use llama_core::SamplerChain;

#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl CustomSampler for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn apply(&mut self, candidates: &mut CandidatesMut<'_>) {
        self.0.fetch_add(candidates.len(), Ordering::Relaxed);
    }
}

fn main() {
    let counting = Counting::default();
    let mut chain = SamplerChain::builder().custom(counting.clone()).greedy().build().unwrap();
    std::thread::spawn(move || chain.sample_logits(&[0.0, 1.0]).unwrap()).join().unwrap();
    assert_eq!(counting.0.load(Ordering::Relaxed), 2);
}
