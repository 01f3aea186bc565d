//! Chains of samplers on the context's logits.

use llama_core::sampler::Penalties;
use llama_core::{Error, SamplerChain, Token};

use super::Machine;
use crate::outcome::Expected::{self, Fine, FineOr, Refused};
use crate::outcome::check;
use crate::plan::{Call, Id, Samplers};

/// A chain, and the facts known about it.
pub(super) struct Chain {
    chain: SamplerChain,
    /// Whether it knows its vocabulary, and therefore refuses other tokens.
    vocabulary: bool,
    /// Whether it can end, or forbid all tokens.
    ends: bool,
}

impl Chain {
    pub(super) fn new() -> Self {
        let chain = SamplerChain::builder().greedy().build().unwrap();
        Self { chain, vocabulary: false, ends: false }
    }
}

impl Machine {
    pub(super) fn make_chain(&mut self, call: &Call, samplers: Samplers) {
        let made = self.build(samplers);
        check("SamplerChainBuilder::build", call, &made, expect_chain(samplers));
        let Ok(chain) = made else { return };
        let vocabulary = matches!(samplers, Samplers::Mirostat(_) | Samplers::Grammar);
        self.chain = Chain { chain, vocabulary, ends: matches!(samplers, Samplers::Grammar) };
    }

    fn build(&self, samplers: Samplers) -> Result<SamplerChain, Error> {
        let (model, builder) = (&self.model, SamplerChain::builder());
        match samplers {
            Samplers::Greedy => builder.greedy(),
            Samplers::Usual(p, temperature) => builder.top_k(9).top_p(p).temperature(temperature).dist(3),
            Samplers::Penalised(last_n, repeat) => {
                builder.penalties(Penalties::default().last_n(last_n).repeat(repeat)).dist(5)
            }
            Samplers::Mirostat(eta) => builder.mirostat(model, 5.0, eta, 7),
            Samplers::Adaptive(target) => builder.adaptive_p(target, 0.9, 9),
            Samplers::Grammar => builder.grammar(model, "root ::= [a-z ]*", "root").greedy(),
        }
        .build()
    }

    pub(super) fn sample(&mut self, call: &Call, index: Option<usize>) {
        let expected = match self.expect_logits(index) {
            Fine if self.chain.ends => FineOr("Sampler"),
            expected => expected,
        };
        let context = self.context.as_mut().expect("there is a context");
        let token = self.chain.chain.sample(context, index);
        check("SamplerChain::sample", call, &token, expected);
        if let Ok(token) = token {
            assert!((0..self.model.vocab().n_tokens()).contains(&usize::try_from(token.get()).unwrap()));
        }
    }

    pub(super) fn accept(&mut self, call: &Call, token: Id) {
        let token = self.token(token);
        let expected = match self.expect_tokens(&[token]) {
            Fine if self.chain.ends => FineOr("Sampler"),
            expected => expected,
        };
        check("SamplerChain::accept", call, &self.chain.chain.accept(Token::new(token)), expected);
    }

    pub(super) fn accept_prompt(&mut self, call: &Call, tokens: &[Id]) {
        let ids: Vec<i32> = tokens.iter().map(|token| self.token(*token)).collect();
        let tokens: Vec<Token> = ids.iter().copied().map(Token::new).collect();
        let expected = self.expect_tokens(&ids);
        check("SamplerChain::accept_prompt", call, &self.chain.chain.accept_prompt(&tokens), expected);
    }

    fn expect_tokens(&self, tokens: &[i32]) -> Expected {
        let n_vocab = i32::try_from(self.model.vocab().n_tokens()).unwrap();
        let (end, error) =
            if self.chain.vocabulary { (n_vocab, "InvalidToken") } else { (i32::MAX, "Sampler") };
        if tokens.iter().all(|token| (0..end).contains(token)) { Fine } else { Refused(error) }
    }

    pub(super) fn reset_chain(&mut self, call: &Call) {
        check("SamplerChain::reset", call, &self.chain.chain.reset(), Fine);
    }

    pub(super) fn clone_chain(&mut self, call: &Call) {
        let copy = self.chain.chain.try_clone();
        check("SamplerChain::try_clone", call, &copy, Fine);
        if let Ok(copy) = copy {
            self.chain.chain = copy;
        }
    }
}

/// Returns the expected outcome for a chain of these samplers.
fn expect_chain(samplers: Samplers) -> Expected {
    let good = match samplers {
        Samplers::Greedy | Samplers::Grammar => true,
        Samplers::Usual(p, temperature) => {
            (0.0..=1.0).contains(&p) && (temperature == 0.0 || (1e-5..=f32::MAX).contains(&temperature))
        }
        Samplers::Penalised(last_n, repeat) => last_n <= 1 << 24 && (1e-3..=1e3).contains(&repeat),
        Samplers::Mirostat(eta) => (0.0..=1.0).contains(&eta),
        Samplers::Adaptive(target) => (0.0..=1.0).contains(&target),
    };
    if good { Fine } else { Refused("InvalidSamplers") }
}
