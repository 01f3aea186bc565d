//! The chains that are measured, in both forms.

use llama_core::sampler::{Penalties, RowSampler, SamplerChainBuilder};
use llama_core::{Sampler, SamplerChain};
use llama_sys as sys;

/// A chain to measure.
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    /// Whether the logits are rounded to half precision, so that many are equal.
    pub(crate) rounded: bool,
    samplers: fn(SamplerChainBuilder) -> SamplerChainBuilder,
}

const SEED: u32 = 42;

/// All measured chains. The first two have a goal.
pub(crate) const CHAINS: &[Chain] = &[
    Chain { name: "greedy", rounded: false, samplers: SamplerChainBuilder::greedy },
    Chain {
        name: "top-k 40, top-p, min-p, temperature, dist",
        rounded: false,
        samplers: |it| it.top_k(40).top_p(0.95).min_p(0.05).temperature(0.8).dist(SEED),
    },
    Chain {
        name: "the same, from logits of half precision",
        rounded: true,
        samplers: |it| it.top_k(40).top_p(0.95).min_p(0.05).temperature(0.8).dist(SEED),
    },
    Chain {
        name: "penalties, top-k 40, top-p, min-p, temperature, dist",
        rounded: false,
        samplers: |it| {
            it.penalties(Penalties::default().repeat(1.1))
                .top_k(40)
                .top_p(0.95)
                .min_p(0.05)
                .temperature(0.8)
                .dist(SEED)
        },
    },
    Chain {
        name: "min-p, temperature, dist",
        rounded: false,
        samplers: |it| it.min_p(0.05).temperature(0.8).dist(SEED),
    },
    Chain {
        name: "temperature, top-p, dist",
        rounded: false,
        samplers: |it| it.temperature(0.8).top_p(0.95).dist(SEED),
    },
    Chain {
        name: "top-n-sigma, temperature, dist",
        rounded: false,
        samplers: |it| it.top_n_sigma(1.0).temperature(0.8).dist(SEED),
    },
    Chain { name: "temperature, dist", rounded: false, samplers: |it| it.temperature(0.8).dist(SEED) },
];

impl Chain {
    pub(crate) fn row_sampler(&self) -> RowSampler {
        (self.samplers)(SamplerChain::builder()).build_row().expect("the chain has a form for rows")
    }

    /// Returns llama.cpp's samplers, which the caller must free.
    pub(crate) fn raw(&self) -> Vec<*mut sys::llama_sampler> {
        self.row_sampler().samplers().iter().map(raw).collect()
    }
}

fn raw(sampler: &Sampler) -> *mut sys::llama_sampler {
    // SAFETY: the functions take plain numbers and return a new sampler.
    unsafe {
        match *sampler {
            Sampler::Greedy => sys::llama_sampler_init_greedy(),
            Sampler::Dist { seed } => sys::llama_sampler_init_dist(seed.number()),
            Sampler::TopK { k } => sys::llama_sampler_init_top_k(i32::try_from(k).expect("a small number")),
            Sampler::TopP { p, min_keep } => sys::llama_sampler_init_top_p(p, min_keep),
            Sampler::MinP { p, min_keep } => sys::llama_sampler_init_min_p(p, min_keep),
            Sampler::Temperature { temperature } => sys::llama_sampler_init_temp(temperature),
            Sampler::TopNSigma { n } => sys::llama_sampler_init_top_n_sigma(n),
            Sampler::Penalties(Penalties { last_n, repeat, frequency, presence, .. }) => {
                let last_n = i32::try_from(last_n).expect("a small number");
                sys::llama_sampler_init_penalties(i32::MAX, last_n, repeat, frequency, presence)
            }
            _ => unreachable!("{} is in no chain that is measured", sampler.name()),
        }
    }
}
