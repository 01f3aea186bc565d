//! The steps of a row sampler.

use std::sync::Arc;

use super::history::History;
use super::random::Random;
use crate::error::SamplerProblem;
use crate::sampler::kind::Sampler;
use crate::sampler::params::Xtc;
use crate::token::Token;

/// A sampler that does not select, with its state.
#[derive(Clone, Debug)]
pub(super) enum Step {
    TopK(usize),
    TopP {
        p: f32,
        min_keep: usize,
    },
    MinP {
        p: f32,
        min_keep: usize,
    },
    Temperature(f32),
    TopNSigma(f32),
    Xtc {
        params: Xtc,
        random: Random,
    },
    Penalties(History),
    /// Indices of tokens, sorted, and their biases.
    LogitBias(Arc<[(usize, f32)]>),
}

/// The sampler that selects, with its state.
#[derive(Clone, Debug)]
pub(super) enum End {
    Greedy,
    Dist(Random),
}

/// All samplers of a row sampler. Samplers that their values switch off are left out, as in llama.cpp.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) end: End,
}

impl Plan {
    /// Creates the plan for checked samplers, or names each sampler that has no form for rows.
    pub(super) fn new(samplers: &[Sampler]) -> Result<Self, Vec<SamplerProblem>> {
        let mut steps = Vec::new();
        let mut end = End::Greedy;
        let mut problems = Vec::new();
        for (index, sampler) in samplers.iter().enumerate() {
            match part(sampler) {
                Some(Part::Nothing) => {}
                Some(Part::Step(step)) => steps.push(step),
                Some(Part::End(selecting)) => end = selecting,
                None => problems.push(without_form(index, sampler)),
            }
        }
        if problems.is_empty() { Ok(Self { steps, end }) } else { Err(problems) }
    }

    /// Tells the samplers that the sequence continues with this token.
    pub(super) fn accept(&mut self, token: Token) {
        for step in &mut self.steps {
            if let Step::Penalties(history) = step {
                history.accept(token);
            }
        }
    }

    /// Restores the initial state of the samplers.
    pub(super) fn reset(&mut self) {
        for step in &mut self.steps {
            match step {
                Step::Penalties(history) => history.clear(),
                Step::Xtc { random, .. } => random.restart(),
                _ => {}
            }
        }
        if let End::Dist(random) = &mut self.end {
            random.restart();
        }
    }

    /// Returns the seed of the last sampler that uses random numbers.
    pub(super) fn seed(&self) -> Option<u32> {
        match &self.end {
            End::Dist(random) => Some(random.seed()),
            End::Greedy => self.steps.iter().rev().find_map(|step| match step {
                Step::Xtc { random, .. } => Some(random.seed()),
                _ => None,
            }),
        }
    }
}

fn without_form(index: usize, sampler: &Sampler) -> SamplerProblem {
    let reason = "it cannot work on rows: make a chain with `build` instead";
    SamplerProblem::new(index, sampler.name(), reason.to_owned())
}

/// The part of a sampler in a plan.
enum Part {
    /// A sampler that its values disable.
    Nothing,
    Step(Step),
    End(End),
}

/// Returns the sampler's part, or `None` if it has no form for rows.
fn part(sampler: &Sampler) -> Option<Part> {
    let step = match sampler {
        Sampler::Greedy => return Some(Part::End(End::Greedy)),
        Sampler::Dist { seed } => return Some(Part::End(End::Dist(Random::new(*seed)))),
        Sampler::TopK { k } => (*k > 0).then_some(Step::TopK(*k as usize)),
        Sampler::TopP { p, min_keep } => (*p < 1.0).then_some(Step::TopP { p: *p, min_keep: *min_keep }),
        Sampler::MinP { p, min_keep } => (*p > 0.0).then_some(Step::MinP { p: *p, min_keep: *min_keep }),
        Sampler::Temperature { temperature } => {
            (*temperature != 1.0).then_some(Step::Temperature(*temperature))
        }
        Sampler::TopNSigma { n } => (*n > 0.0).then_some(Step::TopNSigma(*n)),
        Sampler::Xtc(params) => (params.probability > 0.0 && params.threshold <= 0.5)
            .then(|| Step::Xtc { params: *params, random: Random::new(params.seed) }),
        Sampler::Penalties(params) => {
            let changes = params.repeat != 1.0 || params.frequency != 0.0 || params.presence != 0.0;
            (params.last_n > 0 && changes).then(|| Step::Penalties(History::new(*params)))
        }
        Sampler::LogitBias { biases, .. } => {
            let index = |token: i32| usize::try_from(token).unwrap_or(usize::MAX);
            let mut biases: Vec<_> = biases.iter().map(|(token, bias)| (index(token.get()), *bias)).collect();
            biases.sort_unstable_by_key(|(index, _)| *index);
            (!biases.is_empty()).then(|| Step::LogitBias(biases.into()))
        }
        Sampler::Typical { .. }
        | Sampler::DynamicTemperature(_)
        | Sampler::Mirostat(_)
        | Sampler::MirostatV2(_)
        | Sampler::AdaptiveP(_)
        | Sampler::Dry { .. }
        | Sampler::Infill { .. }
        | Sampler::Grammar(_)
        | Sampler::Custom(_) => return None,
    };
    Some(step.map_or(Part::Nothing, Part::Step))
}
