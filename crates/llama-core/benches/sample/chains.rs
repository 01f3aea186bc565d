//! The chains that are measured, in both forms.

use llama_core::{Penalties, RowSampler, SamplerChain, SamplerChainBuilder};
use llama_sys as sys;

/// What makes a sampler of a chain.
type Init = fn() -> *mut sys::llama_sampler;

/// A chain, as llama.cpp's samplers and as a builder.
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    pub(crate) theirs: &'static [Init],
    ours: fn(SamplerChainBuilder) -> SamplerChainBuilder,
}

impl Chain {
    pub(crate) fn row_sampler(&self) -> RowSampler {
        (self.ours)(SamplerChain::builder()).build_row().expect("the chain has a form for rows")
    }
}

const SEED: u32 = 42;
const PENALTIES: Penalties = Penalties { last_n: 64, repeat: 1.1, frequency: 0.0, presence: 0.0 };

// SAFETY of all: the functions take plain numbers and return a new sampler.
const GREEDY: Init = || unsafe { sys::llama_sampler_init_greedy() };
const DIST: Init = || unsafe { sys::llama_sampler_init_dist(SEED) };
const TOP_K: Init = || unsafe { sys::llama_sampler_init_top_k(40) };
const TOP_P: Init = || unsafe { sys::llama_sampler_init_top_p(0.95, 1) };
const MIN_P: Init = || unsafe { sys::llama_sampler_init_min_p(0.05, 1) };
const TEMPERATURE: Init = || unsafe { sys::llama_sampler_init_temp(0.8) };
const TOP_N_SIGMA: Init = || unsafe { sys::llama_sampler_init_top_n_sigma(1.0) };
const PENALISE: Init = || unsafe {
    let Penalties { repeat, frequency, presence, .. } = PENALTIES;
    sys::llama_sampler_init_penalties(i32::MAX, 64, repeat, frequency, presence)
};

/// All of them; the first two are the ones with a goal.
pub(crate) const CHAINS: &[Chain] = &[
    Chain { name: "greedy", theirs: &[GREEDY], ours: SamplerChainBuilder::greedy },
    Chain {
        name: "top-k 40, top-p, min-p, temperature, dist",
        theirs: &[TOP_K, TOP_P, MIN_P, TEMPERATURE, DIST],
        ours: |it| it.top_k(40).top_p(0.95).min_p(0.05).temperature(0.8).dist(SEED),
    },
    Chain {
        name: "penalties, top-k 40, top-p, min-p, temperature, dist",
        theirs: &[PENALISE, TOP_K, TOP_P, MIN_P, TEMPERATURE, DIST],
        ours: |it| it.penalties(PENALTIES).top_k(40).top_p(0.95).min_p(0.05).temperature(0.8).dist(SEED),
    },
    Chain {
        name: "min-p, temperature, dist",
        theirs: &[MIN_P, TEMPERATURE, DIST],
        ours: |it| it.min_p(0.05).temperature(0.8).dist(SEED),
    },
    Chain {
        name: "temperature, top-p, dist",
        theirs: &[TEMPERATURE, TOP_P, DIST],
        ours: |it| it.temperature(0.8).top_p(0.95).dist(SEED),
    },
    Chain {
        name: "top-n-sigma, temperature, dist",
        theirs: &[TOP_N_SIGMA, TEMPERATURE, DIST],
        ours: |it| it.top_n_sigma(1.0).temperature(0.8).dist(SEED),
    },
    Chain {
        name: "temperature, dist",
        theirs: &[TEMPERATURE, DIST],
        ours: |it| it.temperature(0.8).dist(SEED),
    },
];
