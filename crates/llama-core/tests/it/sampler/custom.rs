//! Samplers written in Rust, well-behaved and misbehaving.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use llama_core::sampler::{CandidatesMut, Custom, CustomSampler};

use super::*;

/// The function in which a sampler panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Panics {
    Never,
    Apply,
    Accept,
    Reset,
    Clone,
    Drop,
}

/// Forbids the last accepted token, and counts its living copies.
struct Probe {
    last: Option<Token>,
    panics: Panics,
    alive: Arc<AtomicUsize>,
}

impl Probe {
    fn new(panics: Panics, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self { last: None, panics, alive: Arc::clone(alive) }
    }

    fn reach(&self, place: Panics) {
        assert!(self.panics != place, "panic in {place:?}");
    }
}

impl Clone for Probe {
    fn clone(&self) -> Self {
        // The first copy is the chain's own.
        if self.alive.load(Ordering::SeqCst) > 1 {
            self.reach(Panics::Clone);
        }
        let mut copy = Self::new(self.panics, &self.alive);
        copy.last = self.last;
        copy
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
        self.reach(Panics::Drop);
    }
}

impl CustomSampler for Probe {
    fn name(&self) -> &str {
        "probe"
    }

    fn apply(&mut self, candidates: &mut CandidatesMut<'_>) {
        self.reach(Panics::Apply);
        candidates.retain(|candidate| Some(candidate.token) != self.last);
    }

    fn accept(&mut self, token: Token) {
        self.reach(Panics::Accept);
        self.last = Some(token);
    }

    fn reset(&mut self) {
        self.reach(Panics::Reset);
        self.last = None;
    }
}

const ROW: [f32; 3] = [0.0, 2.0, 1.0];

fn probing(panics: Panics) -> (SamplerChain, Arc<AtomicUsize>) {
    let alive = Arc::default();
    let chain = SamplerChain::builder().custom(Probe::new(panics, &alive)).greedy().build().unwrap();
    (chain, alive)
}

/// Returns the message with which a call panicked.
fn panic_of<R>(call: impl FnOnce() -> R) -> String {
    let payload = catch_unwind(AssertUnwindSafe(call)).err().expect("a panic");
    payload.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn custom_sampler_has_a_state_that_is_reset_copied_and_dropped() {
    let (mut chain, alive) = probing(Panics::Never);
    assert_eq!(chain.names(), ["probe", "greedy"]);
    assert_eq!(chain.samplers()[0].name(), "custom");
    assert_eq!(format!("{:?}", chain.samplers()[0]), r#"Custom(Custom("probe"))"#);
    let draw = |chain: &mut SamplerChain| chain.sample_logits(&ROW).unwrap().get();
    assert_eq!([draw(&mut chain), draw(&mut chain), draw(&mut chain)], [1, 2, 1]);
    let mut copy = chain.try_clone().unwrap();
    chain.reset().unwrap();
    assert_eq!([draw(&mut chain), draw(&mut copy)], [1, 2]);
    chain.accept_prompt(&[token(1)]).unwrap();
    assert_eq!(draw(&mut chain), 2);
    // The value and two chains.
    assert_eq!(alive.load(Ordering::SeqCst), 3);
    let moved = std::thread::spawn(move || copy.sample_logits(&ROW).unwrap().get());
    assert_eq!(moved.join().unwrap(), 1);
    drop(chain);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn panics_go_on_after_the_call_and_leave_the_chain_usable() {
    let (mut chain, alive) = probing(Panics::Apply);
    for _ in 0..2 {
        assert_eq!(panic_of(|| chain.sample_logits(&ROW)), "panic in Apply");
        assert_eq!(panic_of(|| chain.apply(&mut Candidates::from_logits(&ROW))), "panic in Apply");
    }
    chain.accept(token(1)).unwrap();
    assert!(!chain.is_poisoned());
    drop(chain);
    assert_eq!(alive.load(Ordering::SeqCst), 0);

    let (mut chain, _) = probing(Panics::Accept);
    assert_eq!(panic_of(|| chain.sample_logits(&ROW)), "panic in Accept");
    assert_eq!(panic_of(|| chain.accept(token(0))), "panic in Accept");
    assert_eq!(panic_of(|| chain.accept_prompt(&[token(0), token(1)])), "panic in Accept");
    chain.apply(&mut Candidates::from_logits(&ROW)).unwrap();

    let (mut chain, _) = probing(Panics::Reset);
    assert_eq!(panic_of(|| chain.reset()), "panic in Reset");
    assert_eq!(chain.sample_logits(&ROW).unwrap(), token(1));
}

#[test]
fn panics_of_copying_and_dropping_stay_contained() {
    let (mut chain, alive) = probing(Panics::Clone);
    assert_eq!(panic_of(|| chain.try_clone()), "panic in Clone");
    assert_eq!(chain.sample_logits(&ROW).unwrap(), token(1));
    let custom = chain.samplers()[0].clone();
    assert_eq!(panic_of(|| chain.insert(0, custom.clone())), "panic in Clone");
    assert_eq!(panic_of(|| chain.replace(0, custom.clone())), "panic in Clone");
    assert_eq!((chain.len(), chain.names()), (2, vec!["probe".to_owned(), "greedy".to_owned()]));
    assert_eq!(chain.sample_logits(&ROW).unwrap(), token(2));
    drop((chain, custom));
    assert_eq!(alive.load(Ordering::SeqCst), 0);

    let (chain, alive) = probing(Panics::Drop);
    let value = chain.samplers()[0].clone();
    drop(chain);
    assert_eq!(alive.load(Ordering::SeqCst), 1);
    assert_eq!(panic_of(|| drop(value)), "panic in Drop");
}

/// Applies a function to the candidates.
#[derive(Clone)]
struct Does(fn(&mut CandidatesMut<'_>), bool);

impl CustomSampler for Does {
    fn name(&self) -> &str {
        "do\0es"
    }

    fn apply(&mut self, candidates: &mut CandidatesMut<'_>) {
        self.0(candidates);
    }

    fn is_selecting(&self) -> bool {
        self.1
    }
}

fn doing(does: fn(&mut CandidatesMut<'_>)) -> SamplerChain {
    SamplerChain::builder().custom(Does(does, false)).greedy().build().unwrap()
}

#[test]
fn candidates_are_changed_in_place() {
    let mut chain = doing(|candidates| {
        assert_eq!((candidates.len(), candidates.is_empty(), candidates.is_sorted()), (3, false, false));
        candidates.sort();
        assert!(candidates.is_sorted());
        let order: Vec<i32> = candidates.as_slice().iter().map(|candidate| candidate.token.get()).collect();
        assert_eq!(order, [1, 2, 0]);
        candidates.truncate(2);
        candidates.as_mut_slice()[1].logit = 5.0;
        assert!(!candidates.is_sorted());
    });
    let candidates = applied(&mut chain, &ROW);
    assert_eq!((candidates.len(), selected(&candidates)), (2, 2));
    assert_eq!(chain.names()[0], "does");
    // Never none.
    let mut chain = doing(|candidates| candidates.truncate(0));
    assert_eq!(chain.sample_logits(&ROW).unwrap(), token(0));
    let mut chain = doing(|candidates| candidates.retain(|_| false));
    let error = chain.sample_logits(&ROW).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::DeadEnd { name: "chain", .. }), "{error:?}");
}

#[test]
fn custom_sampler_can_select() {
    let least = |candidates: &mut CandidatesMut<'_>| {
        let logits = candidates.as_slice().iter().map(|candidate| candidate.logit).enumerate();
        let least = logits.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
        candidates.select(least);
        assert_eq!(candidates.selected(), Some(least));
    };
    let mut chain = SamplerChain::builder().top_k(2).custom(Does(least, true)).build().unwrap();
    assert_eq!(chain.sample_logits(&ROW).unwrap(), token(2));
    let text = sampler_error(SamplerChain::builder().custom(Does(least, true)).greedy().build());
    assert_eq!(text, "sampler custom: it selects the token, so it must be the last of the chain");
    assert!(SamplerChain::builder().custom(Does(least, false)).build().is_err());
    // It says that it selects, and does not.
    let mut chain = SamplerChain::builder().custom(Does(|_| {}, true)).build().unwrap();
    assert!(chain.sample_logits(&ROW).is_err());
}

#[test]
fn what_other_samplers_cannot_take_is_masked_and_an_error() {
    type Does = fn(&mut CandidatesMut<'_>);
    let cases: [(Does, &str); 3] = [
        (
            |candidates| candidates.as_mut_slice()[1].logit = f32::NAN,
            "sampler custom: `does`: it left the candidate with token 1 and logit NaN",
        ),
        (
            |candidates| candidates.as_mut_slice()[0].token = token(-7),
            "sampler custom: `does`: it left the candidate with token -7 and logit 0",
        ),
        (
            |candidates| candidates.select(3),
            "sampler custom: `does`: it selected candidate 3, but there are only 3",
        ),
    ];
    for (does, expected) in cases {
        let mut chain = doing(does);
        for _ in 0..2 {
            let error = chain.sample_logits(&ROW).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        assert!(!chain.is_poisoned());
    }
}

/// Tokens outside the vocabulary do not reach grammars and other samplers, which look tokens up and would throw.
#[test]
fn tokens_outside_the_vocabulary_do_not_reach_other_samplers() {
    let model = tiny();
    let n_vocab = model.vocab().n_tokens();
    let row = vec![0.0; n_vocab];
    let foreign = |candidates: &mut CandidatesMut<'_>| candidates.as_mut_slice()[0].token = token(507);
    assert_eq!(n_vocab, 507);
    let start = || SamplerChain::builder().custom(Does(foreign, false));
    let mut later = start().greedy().build().unwrap();
    later.sample_logits(&row).unwrap();
    let grammar = || Sampler::Grammar(Grammar::new(&model, "root ::= [a-z]*", "root"));
    later.insert(1, grammar()).unwrap();
    let first = start().push(grammar()).greedy().build().unwrap();
    for mut chain in [first.try_clone().unwrap(), first, later] {
        let error = chain.sample_logits(&row).unwrap_err();
        let expected = "sampler custom: `does`: it left the candidate with token 507 and logit 0";
        assert_eq!(error.to_string(), expected);
        assert!(!chain.is_poisoned());
    }
}

/// Uses a custom sampler also on the grammar's thread with a large stack.
#[test]
fn custom_sampler_beside_a_lazy_grammar() {
    let model = tiny();
    let [x, open] = ["x", "{"].map(|text| letter(&model, text));
    let triggers = LazyTriggers::default().patterns(["[^]*(\\{)"]);
    let mut chain = grammar::lazy(&model, triggers);
    let alive = Arc::default();
    chain.insert(0, Sampler::Custom(Custom::new(Probe::new(Panics::Accept, &alive)))).unwrap();
    assert_eq!(panic_of(|| chain.sample_logits(&row_for(&model, &[x]))), "panic in Accept");
    assert_eq!(panic_of(|| chain.accept(open)), "panic in Accept");
    assert!(!chain.is_poisoned());
}
