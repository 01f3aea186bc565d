//! The form of a chain that a context runs: on the device where its output is computed, as far as that does the same.

use core::ffi::c_char;

use super::chain::SamplerChain;
use super::create;
use super::kind::Sampler;
use super::params::{DynamicTemperature, Penalties, Xtc};
use super::raw::RawChain;
use crate::error::{ErrorKind, Result};
use crate::log;

/// The candidates that llama.cpp tries samplers with when it plans their buffers (llama-sampler.cpp,
/// `llama_sampler_chain_backend_init`).
const PROBE: usize = 128 * 1024;
/// Above, the threshold may be rounded to the largest logit, and the device, which keeps what is above it, would keep
/// nothing.
const MAX_MIN_P: f32 = 0.9;

/// The samplers at the beginning of a chain that a device can run, and their values for it.
pub(super) struct Plan {
    /// With several results for one sequence in a batch, later ones do not know of earlier ones.
    several: bool,
    /// The candidates that are left.
    n: usize,
    /// Whether they are in an array of their own: before, a token's place is its id.
    listed: Option<Listed>,
    /// Whether some of them have been masked rather than removed.
    masked: bool,
    /// Whether they would be sorted on the CPU by now, though they have no list here.
    sorted: bool,
    samplers: Vec<Sampler>,
}

/// The shape of the array of candidates, on which it depends what can be added to the graph.
#[derive(Clone, Copy, PartialEq)]
enum Listed {
    Row,
    Column,
}

impl Plan {
    pub(super) fn new(samplers: &[Sampler], n_vocab: usize, outputs_per_seq: u32) -> Self {
        let several = outputs_per_seq > 1;
        let mut plan =
            Self { several, n: n_vocab, listed: None, masked: false, sorted: false, samplers: Vec::new() };
        // With one token, nothing is to be chosen, and the probe's arrays would have other shapes.
        for sampler in samplers.iter().filter(|_| n_vocab > 1) {
            let Some(sampler) = plan.take(sampler) else { break };
            plan.samplers.push(sampler);
        }
        plan
    }

    /// How many samplers it has.
    pub(super) fn len(&self) -> usize {
        self.samplers.len()
    }

    /// The sampler with values for the device; `None` when llama.cpp's graph for it would do something else than its
    /// function for the CPU, or fail with an assertion.
    fn take(&mut self, sampler: &Sampler) -> Option<Sampler> {
        let fits = match sampler {
            Sampler::Greedy | Sampler::Dist { .. } => true,
            Sampler::TopK { k } => return self.take_top_k(*k),
            Sampler::TopP { p, min_keep } => *p >= 1.0 || self.take_top_p(*min_keep),
            Sampler::MinP { p, min_keep } => *p <= 0.0 || self.take_min_p(*p, *min_keep),
            Sampler::Typical { p, .. } => *p >= 1.0,
            Sampler::Temperature { temperature } => self.take_temperature(*temperature),
            Sampler::DynamicTemperature(params) => self.take_dynamic(params),
            Sampler::Xtc(Xtc { probability, threshold, .. }) => *probability <= 0.0 || *threshold > 0.5,
            Sampler::TopNSigma { n } => *n <= 0.0,
            Sampler::Penalties(params) => !self.several || is_off(params),
            // Goes by the place of a candidate; and on the CPU leaves them sorted, which they may not be any more.
            Sampler::LogitBias { biases, .. } => biases.is_empty() || (self.listed.is_none() && !self.sorted),
            Sampler::Mirostat(_)
            | Sampler::MirostatV2(_)
            | Sampler::AdaptiveP(_)
            | Sampler::Dry { .. }
            | Sampler::Infill { .. }
            | Sampler::Grammar(_)
            | Sampler::Custom(_) => false,
        };
        fits.then(|| sampler.clone())
    }

    /// `GGML_ASSERT(a->ne[0] >= k)` in `ggml_top_k`, also for the probe.
    fn take_top_k(&mut self, k: u32) -> Option<Sampler> {
        if k == 0 {
            return Some(Sampler::TopK { k });
        }
        let kept = self.n.min(k as usize);
        // The list is read as a row: as many as its first dimension.
        if kept > PROBE || self.listed == Some(Listed::Column) {
            return None;
        }
        self.list(kept);
        u32::try_from(kept).ok().map(|k| Sampler::TopK { k })
    }

    fn take_top_p(&mut self, min_keep: usize) -> bool {
        if min_keep > 1 || self.listed == Some(Listed::Column) {
            return false;
        }
        self.list(self.n);
        self.masked = true;
        true
    }

    fn take_min_p(&mut self, p: f32, min_keep: usize) -> bool {
        let fits = p <= MAX_MIN_P && min_keep <= 1;
        self.masked |= fits;
        fits
    }

    fn take_temperature(&mut self, temperature: f32) -> bool {
        if temperature <= 0.0 {
            self.list(1);
        }
        true
    }

    /// Divides by the logarithm of the number of candidates, those that are masked included. It counts a probability of 0
    /// as 1e-10, and so does not come below an entropy of about 1e-9 for each candidate, of which an exponent below 1
    /// makes much.
    fn take_dynamic(&mut self, params: &DynamicTemperature) -> bool {
        if params.delta <= 0.0 {
            return self.take_temperature(params.temperature);
        }
        let fits = !self.masked && self.n > 1 && params.exponent >= 1.0;
        self.sorted |= fits;
        fits
    }

    /// The first list is a row, those made from it are columns; of one candidate there is no difference.
    fn list(&mut self, n: usize) {
        self.n = n;
        let is_column = self.listed.is_some() && n > 1;
        self.listed = Some(if is_column { Listed::Column } else { Listed::Row });
    }
}

fn is_off(params: &Penalties) -> bool {
    #[allow(clippy::float_cmp, reason = "llama.cpp compares them so (llama_sampler_penalties::is_disabled)")]
    let neutral = params.repeat == 1.0 && params.frequency == 0.0 && params.presence == 0.0;
    neutral || params.last_n == 0
}

impl SamplerChain {
    /// How many samplers from the first one on a context with such a vocabulary can run on its device.
    pub(crate) fn n_for_device(&self, n_vocab: usize, outputs_per_seq: u32) -> usize {
        Plan::new(self.samplers(), n_vocab, outputs_per_seq).len()
    }

    /// The chain in the form for a context, in the same state.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sampler`] for a chain of another vocabulary, one that has accepted tokens outside of this one, and
    /// as [`SamplerChain::try_clone`].
    pub(crate) fn for_device(&self, n_vocab: usize, outputs_per_seq: u32) -> Result<Self> {
        self.check_poison()?;
        self.check_not_pending()?;
        self.check_vocabulary(n_vocab)?;
        let plan = Plan::new(&self.drawn, n_vocab, outputs_per_seq);
        let raw = self.rebuilt(Some(&plan), n_vocab)?;
        Ok(self.with_raw(raw, Some(n_vocab), Some(plan.len())))
    }

    /// The chain in its ordinary form, in the same state.
    pub(crate) fn detached(&self) -> Result<Self> {
        self.check_poison()?;
        self.check_not_pending()?;
        let n_vocab = self.n_vocab();
        Ok(self.with_raw(self.rebuilt(None, n_vocab.unwrap_or(0))?, n_vocab, None))
    }

    /// A new C chain with the states of this one's samplers.
    fn rebuilt(&self, plan: Option<&Plan>, n_vocab: usize) -> Result<RawChain> {
        let planned = plan.map_or(&[][..], |plan| &plan.samplers);
        let rest = &self.drawn[planned.len()..];
        let mut raw = RawChain::new(self.has_perf())?;
        log::explain(|| {
            planned.iter().try_for_each(|sampler| create::add(&mut raw, sampler, Some(n_vocab)))?;
            if plan.is_some() && !rest.is_empty() {
                raw.add_fence(&FENCE, planned.len())?;
            }
            rest.iter().try_for_each(|sampler| create::add(&mut raw, sampler, Some(n_vocab)))
        })?;
        self.copy_state_to(&raw)?;
        Ok(raw)
    }

    /// Refuses ids that the device would index with: on threads where a failed assertion cannot be contained.
    fn check_vocabulary(&self, n_vocab: usize) -> Result<()> {
        let reason = match (self.n_vocab(), self.highest_token()) {
            (Some(own), _) if own != n_vocab => format!(
                "it was made for a vocabulary of {own} tokens and the context's model has {n_vocab}: use the same model"
            ),
            (_, Some(token)) if usize::try_from(token.get()).is_ok_and(|token| token >= n_vocab) => format!(
                "it has accepted token {token} and the context's model has {n_vocab} tokens: reset it, or use the same model"
            ),
            _ => return Ok(()),
        };
        Err(ErrorKind::Sampler { name: "chain", reason }.into())
    }
}

/// Stands in a chain before the first sampler that is to run on the CPU: llama.cpp runs those from the first without
/// functions for the device on there. It does nothing itself.
static FENCE: llama_sys::llama_sampler_i = llama_sys::llama_sampler_i {
    name: Some(fence_name),
    accept: None,
    apply: Some(fence_apply),
    reset: None,
    clone: None,
    free: None,
    backend_init: None,
    backend_accept: None,
    backend_apply: None,
    backend_set_input: None,
    backend_reset: None,
    copy_state: None,
};

unsafe extern "C-unwind" fn fence_name(_: *const llama_sys::llama_sampler) -> *const c_char {
    c"cpu".as_ptr()
}

unsafe extern "C-unwind" fn fence_apply(
    _: *mut llama_sys::llama_sampler,
    _: *mut llama_sys::llama_token_data_array,
) {
}
