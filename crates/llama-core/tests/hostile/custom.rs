//! Custom samplers that misbehave: they leave an invalid candidate, select a missing one, and panic in each of their
//! functions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use llama_core::sampler::{CandidatesMut, Custom, CustomSampler};
use llama_core::{Error, Sampler, SamplerChain, Token};

use crate::Case;
use crate::subjects::Subjects;
use crate::values::{F32, I32, USIZE};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Custom::new", custom),
    ("SamplerChainBuilder::custom", custom),
    ("CandidatesMut::as_slice", |walk, _| each(walk, |candidates| _ = candidates.as_slice().to_vec())),
    ("CandidatesMut::as_mut_slice", |walk, _| {
        for (value, id) in F32.into_iter().flat_map(|value| I32.map(|id| (value, id))) {
            each(walk, move |candidates| {
                for candidate in candidates.as_mut_slice() {
                    (candidate.logit, candidate.p, candidate.token) = (value, value, Token::new(id));
                }
            });
        }
    }),
    ("CandidatesMut::len", |walk, _| each(walk, |candidates| assert_ne!(candidates.len(), 0))),
    ("CandidatesMut::is_empty", |walk, _| each(walk, |candidates| assert!(!candidates.is_empty()))),
    ("CandidatesMut::is_sorted", |walk, _| each(walk, |candidates| _ = candidates.is_sorted())),
    ("CandidatesMut::sort", |walk, _| {
        each(walk, |candidates| {
            candidates.as_mut_slice().iter_mut().step_by(2).for_each(|candidate| candidate.logit = f32::NAN);
            (0..2).for_each(|_| candidates.sort());
        });
    }),
    ("CandidatesMut::truncate", |walk, _| {
        for n in USIZE {
            each(walk, move |candidates| (0..2).for_each(|_| candidates.truncate(n)));
        }
    }),
    ("CandidatesMut::retain", |walk, _| {
        each(walk, |candidates| (0..2).for_each(|_| candidates.retain(|_| false)));
        each(walk, |candidates| candidates.retain(|candidate| candidate.token.get() % 2 == 1));
        each(walk, |candidates| {
            let mut left = 3;
            candidates.retain(|_| {
                left -= 1;
                assert!(left > 0, "on purpose");
                false
            });
        });
    }),
    ("CandidatesMut::select", |walk, _| {
        for (first, second) in USIZE.into_iter().flat_map(|first| USIZE.map(|second| (first, second))) {
            each(walk, move |candidates| {
                candidates.select(first);
                candidates.select(second);
                candidates.truncate(second);
                candidates.select(first);
            });
        }
    }),
    ("CandidatesMut::selected", |walk, _| {
        each(walk, |candidates| {
            candidates.select(0);
            candidates.sort();
            assert_eq!(candidates.selected(), None);
        });
    }),
];

/// Applies a function to the candidates.
#[derive(Clone)]
struct Applies<F>(F, bool);

impl<F: FnMut(&mut CandidatesMut<'_>) + Clone + Send + 'static> CustomSampler for Applies<F> {
    fn name(&self) -> &str {
        "applies"
    }

    fn apply(&mut self, candidates: &mut CandidatesMut<'_>) {
        (self.0)(candidates);
    }

    fn is_selecting(&self) -> bool {
        self.1
    }
}

/// Samples from rows.
fn sample(walk: &mut Walk, what: &str, chain: &mut SamplerChain) {
    for row in [vec![0.0; 9], vec![0.5], F32.to_vec(), vec![f32::NEG_INFINITY; 3]] {
        let what = format!("{what}, {} of {}", row.len(), row[0]);
        calls(walk, &what, || chain.sample_logits(&row));
        calls(walk, &what, || chain.accept(Token::new(1)));
        calls(walk, &what, || chain.reset());
    }
}

/// Makes a call that may resume a panic of the sampler.
fn calls<T>(walk: &mut Walk, what: &str, call: impl FnOnce() -> Result<T, Error>) -> Option<T> {
    let result = walk.run(what, || catch_unwind(AssertUnwindSafe(call))).ok()?;
    walk.call(what, || result)
}

/// Tries the sampler alone, and before and after others.
fn each(walk: &mut Walk, apply: impl FnMut(&mut CandidatesMut<'_>) + Clone + Send + 'static) {
    let alone = SamplerChain::builder().custom(Applies(apply.clone(), true));
    let first = SamplerChain::builder().custom(Applies(apply.clone(), false)).top_k(2).min_p(0.1).dist(1);
    let later = SamplerChain::builder().top_k(3).temperature(0.7).custom(Applies(apply, false)).greedy();
    for (what, builder) in [("alone", alone), ("first", first), ("later", later)] {
        let mut chain = walk.call(what, || builder.build()).unwrap();
        sample(walk, what, &mut chain);
    }
}

/// The function in which a sampler panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Apply,
    Accept,
    Reset,
    Clone,
    Drop,
    Name,
    IsSelecting,
}

/// Panics, has a name that C cannot write, and answers differently each time.
struct Unruly {
    when: When,
    /// The number of calls before the panic, for all clones together.
    left: Arc<AtomicU32>,
    name: &'static str,
}

impl Unruly {
    fn pass(&self, when: When) {
        if self.when == when && !std::thread::panicking() {
            let left =
                self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            assert!(left.is_ok(), "on purpose");
        }
    }
}

impl Clone for Unruly {
    fn clone(&self) -> Self {
        self.pass(When::Clone);
        Self { when: self.when, left: Arc::clone(&self.left), name: self.name }
    }
}

impl Drop for Unruly {
    fn drop(&mut self) {
        self.pass(When::Drop);
    }
}

impl CustomSampler for Unruly {
    fn name(&self) -> &str {
        self.pass(When::Name);
        self.name
    }

    fn apply(&mut self, _: &mut CandidatesMut<'_>) {
        self.pass(When::Apply);
    }

    fn accept(&mut self, _: Token) {
        self.pass(When::Accept);
    }

    fn reset(&mut self) {
        self.pass(When::Reset);
    }

    fn is_selecting(&self) -> bool {
        self.pass(When::IsSelecting);
        self.left.load(Ordering::Relaxed) == 2
    }
}

fn custom(walk: &mut Walk, _: &mut Subjects) {
    let all =
        [When::Apply, When::Accept, When::Reset, When::Clone, When::Drop, When::Name, When::IsSelecting];
    for (when, left, name) in all
        .into_iter()
        .flat_map(|when| [0, 1, 2, 3, 5, 8].map(|left| (when, left)))
        .flat_map(|(when, left)| ["", "a\0b", "name"].map(|name| (when, left, name)))
    {
        let what = format!("{when:?} {left} {name:?}");
        let unruly = Unruly { when, left: Arc::new(AtomicU32::new(left)), name };
        // Also what is left behind by a panic is dropped inside, where it may panic again.
        let poisoned = walk.run(&what, || {
            catch_unwind(AssertUnwindSafe(|| {
                let custom = Custom::new(unruly);
                let _ = format!("{custom:?} {}", custom == custom.clone());
                let build = || {
                    SamplerChain::builder().push(Sampler::Custom(custom.clone())).top_k(3).greedy().build()
                };
                let Ok(Ok(mut chain)) = catch_unwind(AssertUnwindSafe(build)) else { return false };
                for _ in 0..3 {
                    let row = [0.0, 1.0, 2.0];
                    let _ = catch_unwind(AssertUnwindSafe(|| chain.sample_logits(&row).is_ok()));
                    let _ = catch_unwind(AssertUnwindSafe(|| chain.accept(Token::new(1)).is_ok()));
                    let _ = catch_unwind(AssertUnwindSafe(|| chain.reset().is_ok()));
                    let _ = catch_unwind(AssertUnwindSafe(|| chain.try_clone().is_ok()));
                    let _ = chain.names();
                }
                chain.is_poisoned()
            }))
        });
        assert!(!poisoned.unwrap_or(false), "{what}");
    }
}
