//! The form of a chain that a context runs: samplers run on the device that computes the output as long as their
//! result is the same there.

use core::ffi::c_char;

use super::chain::SamplerChain;
use super::create;
use super::kind::Sampler;
use super::params::{DynamicTemperature, Penalties, Xtc};
use super::raw::RawChain;
use crate::error::{ErrorKind, Result};
use crate::log;

/// Number of candidates with which llama.cpp tries the samplers when it plans their buffers (llama-sampler.cpp,
/// `llama_sampler_chain_backend_init`).
const PROBE: usize = 128 * 1024;
/// Largest `p` of min-p on a device. Above it, the threshold may be rounded to the largest logit, and the device,
/// which keeps only logits above the threshold, would keep nothing.
const MAX_MIN_P: f32 = 0.9;

/// The leading samplers of a chain that a device can run, with their values for the device.
pub(super) struct Plan {
    /// Whether a sequence may have several outputs in a batch, where later ones do not know the earlier ones.
    several: bool,
    /// Number of candidates that are left.
    n: usize,
    /// Shape of the list of candidates. `None`: there is no list yet, and a candidate's index is its token id.
    listed: Option<Listed>,
    /// Whether some candidates have been masked rather than removed.
    masked: bool,
    /// Whether the candidates would be sorted on the CPU by now, although there is no list here.
    sorted: bool,
    samplers: Vec<Sampler>,
}

/// The shape of the array of candidates, which decides which samplers can be added to the graph.
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
        // With one token there is no choice, and the arrays of the probe would have other shapes.
        for sampler in samplers.iter().filter(|_| n_vocab > 1) {
            let Some(sampler) = plan.take(sampler) else { break };
            plan.samplers.push(sampler);
        }
        plan
    }

    /// Returns the number of samplers.
    pub(super) fn len(&self) -> usize {
        self.samplers.len()
    }

    /// Returns the sampler with values for the device, or `None` if llama.cpp's graph for it would differ from its
    /// CPU function or fail an assertion.
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
            // Indexes candidates by position. On the CPU it leaves them sorted, which they may no longer be.
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

    /// Adds a top-k, which must not violate `GGML_ASSERT(a->ne[0] >= k)` in `ggml_top_k`, for the probe either.
    fn take_top_k(&mut self, k: u32) -> Option<Sampler> {
        if k == 0 {
            return Some(Sampler::TopK { k });
        }
        let kept = self.n.min(k as usize);
        // The list is read as a row: its first dimension is its length.
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

    /// Adds a dynamic temperature. The device divides by the logarithm of the number of candidates, masked ones
    /// included. It treats a probability of 0 as 1e-10, so its entropy never falls below about 1e-9 per candidate,
    /// which an exponent below 1 would amplify.
    fn take_dynamic(&mut self, params: &DynamicTemperature) -> bool {
        if params.delta <= 0.0 {
            return self.take_temperature(params.temperature);
        }
        let fits = !self.masked && self.n > 1 && params.exponent >= 1.0;
        self.sorted |= fits;
        fits
    }

    /// Records a list of `n` candidates. The first list is a row and lists made from it are columns; with one
    /// candidate there is no difference.
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
    /// Returns how many leading samplers a context with this vocabulary can run on its device.
    pub(crate) fn n_for_device(&self, n_vocab: usize, outputs_per_seq: u32) -> usize {
        Plan::new(self.samplers(), n_vocab, outputs_per_seq).len()
    }

    /// Returns the chain in the form for a context, with the same state.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sampler`] for a chain with another vocabulary or one that has accepted tokens outside of this
    /// vocabulary, and the errors of [`SamplerChain::try_clone`].
    pub(crate) fn for_device(&self, n_vocab: usize, outputs_per_seq: u32) -> Result<Self> {
        self.check_poison()?;
        self.check_not_pending()?;
        self.check_vocabulary(n_vocab)?;
        let plan = Plan::new(&self.drawn, n_vocab, outputs_per_seq);
        let raw = self.rebuilt(Some(&plan), n_vocab)?;
        Ok(self.with_raw(raw, Some(n_vocab), Some(plan.len())))
    }

    /// Returns the chain in its ordinary form, with the same state.
    pub(crate) fn detached(&self) -> Result<Self> {
        self.check_poison()?;
        self.check_not_pending()?;
        let n_vocab = self.n_vocab();
        Ok(self.with_raw(self.rebuilt(None, n_vocab.unwrap_or(0))?, n_vocab, None))
    }

    /// Creates a new C chain with the states of this chain's samplers.
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

    /// Refuses ids that the device would use as indices, on threads where a failed assertion cannot be contained.
    fn check_vocabulary(&self, n_vocab: usize) -> Result<()> {
        let reason = match (self.n_vocab(), self.highest_token()) {
            (Some(own), _) if own != n_vocab => format!(
                "it was made for a vocabulary of {own} tokens, but the context's model has {n_vocab}: use the same model"
            ),
            (_, Some(token)) if usize::try_from(token.get()).is_ok_and(|token| token >= n_vocab) => format!(
                "it has accepted token {token}, but the context's model has {n_vocab} tokens: reset it, or use the same model"
            ),
            _ => return Ok(()),
        };
        Err(ErrorKind::Sampler { name: "chain", reason }.into())
    }
}

/// Separates the samplers that run on the device from those that run on the CPU: llama.cpp runs all samplers on the
/// CPU from the first one without device functions on. It does nothing itself.
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
