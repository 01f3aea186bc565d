//! Limits of chat templates.

use core::ffi::c_void;
use core::time::Duration;

use llama_sys::llama_shim_template_breach as Breach;

use crate::error::{Error, ErrorKind, TemplateLimit};
use crate::ffi::callback::Callback;

/// Limits for one call that runs a chat template, which is a program that comes with a model.
///
/// Creating a template renders some dozens of short conversations, and rendering a conversation does so up to three
/// times; the limits apply to all of them together, except [`output_bytes`](Self::output_bytes), which applies to
/// each. 71 templates in use were rendered with conversations of 1,000 messages and 100 tools, and 72 of the 142
/// renderings finished. The highest values among those were 12.7 million steps, 58 levels, 74 MB of text and 217 MB
/// of values: the defaults are far above that. Limits only hold in a common library that was built with this crate:
/// see [`TemplateLimits::hold`].
///
/// ```
/// use llama_core::chat::{ChatTemplates, TemplateLimit, TemplateLimits};
/// use llama_core::ErrorKind;
///
/// let looping = r#"{"template": "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"}"#;
/// let limits = TemplateLimits::default().steps(1_000_000);
/// let error = ChatTemplates::new_within(None, looping, &limits, || false).unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::TemplateLimit { limit: TemplateLimit::Steps, .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TemplateLimits {
    /// Number of executed parts of the template; an operation on large values counts as several. Default:
    /// 500,000,000.
    pub steps: u64,
    /// Depth of nested execution. Each level needs up to 16 KiB of stack. Default: 2,000.
    pub depth: u32,
    /// Bytes of one rendered prompt. Default: 512 MiB.
    pub output_bytes: u64,
    /// Estimated bytes of values in use at the same time, including the conversation. Default: 1 GiB.
    pub memory_bytes: u64,
    /// Wall-clock time. Default: five minutes.
    pub time: Duration,
}

impl Default for TemplateLimits {
    fn default() -> Self {
        Self {
            steps: 500_000_000,
            depth: 2_000,
            output_bytes: 512 << 20,
            memory_bytes: 1 << 30,
            time: Duration::from_secs(300),
        }
    }
}

impl TemplateLimits {
    /// Sets [`steps`](Self::steps).
    #[must_use]
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// Sets [`depth`](Self::depth).
    #[must_use]
    pub fn depth(mut self, depth: u32) -> Self {
        self.depth = depth;
        self
    }

    /// Sets [`output_bytes`](Self::output_bytes).
    #[must_use]
    pub fn output_bytes(mut self, bytes: u64) -> Self {
        self.output_bytes = bytes;
        self
    }

    /// Sets [`memory_bytes`](Self::memory_bytes).
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Sets [`time`](Self::time).
    #[must_use]
    pub fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Returns whether limits are enforced. A prebuilt common library does not enforce them: there, a template with
    /// an endless loop never ends, and only one template is rendered at a time.
    ///
    /// Corresponds to `llama_shim_template_budget_holds`.
    #[must_use]
    pub fn hold() -> bool {
        // SAFETY: the function returns a constant (shim/common_chat.cpp).
        unsafe { llama_sys::llama_shim_template_budget_holds() }
    }

    /// Returns the stack for the depth and for the common library's own frames.
    pub(super) fn stack(&self) -> usize {
        let depth = usize::try_from(self.depth).unwrap_or(usize::MAX);
        depth.saturating_mul(16 << 10).saturating_add(16 << 20)
    }
}

/// Runs `call` with a budget of these limits, and explains its failure. Resumes a panic of `cancelled` afterwards.
pub(super) fn within<R, F: FnMut() -> bool>(
    limits: &TemplateLimits,
    operation: &'static str,
    cancelled: F,
    call: impl FnOnce(*mut llama_sys::llama_shim_template_budget) -> Result<R, Error>,
) -> Result<R, Error> {
    let mut callback = Callback::new(cancelled);
    let mut budget = llama_sys::llama_shim_template_budget {
        steps: limits.steps,
        depth: u64::from(limits.depth),
        output_bytes: limits.output_bytes,
        memory_bytes: limits.memory_bytes,
        time_ms: u64::try_from(limits.time.as_millis()).unwrap_or(u64::MAX),
        cancelled: Some(ask::<F>),
        cancelled_data: (&raw mut callback).cast::<c_void>(),
        used_steps: 0,
        used_depth: 0,
        used_output_bytes: 0,
        used_memory_bytes: 0,
        breach: Breach::LLAMA_SHIM_TEMPLATE_BREACH_NONE,
    };
    let result = call(&raw mut budget);
    tracing::trace!(
        operation,
        steps = budget.used_steps,
        depth = budget.used_depth,
        output_bytes = budget.used_output_bytes,
        memory_bytes = budget.used_memory_bytes,
        "a chat template has run"
    );
    callback.resume();
    result.map_err(|error| explained(error, limits, operation, budget.breach))
}

/// The callback for C.
unsafe extern "C-unwind" fn ask<F: FnMut() -> bool>(data: *mut c_void) -> bool {
    // SAFETY: `within` passes this callback with its data, which outlives the call; jinja_budget.cpp calls it on the
    // thread of the call, and nobody else uses the data meanwhile.
    let callback = unsafe { &mut *data.cast::<Callback<F>>() };
    // A panic ends the template.
    callback.call(true, |cancelled| cancelled())
}

fn explained(error: Error, limits: &TemplateLimits, operation: &'static str, breach: Breach) -> Error {
    let limit = match breach {
        Breach::LLAMA_SHIM_TEMPLATE_BREACH_STEPS => (TemplateLimit::Steps, limits.steps),
        Breach::LLAMA_SHIM_TEMPLATE_BREACH_DEPTH => (TemplateLimit::Depth, u64::from(limits.depth)),
        Breach::LLAMA_SHIM_TEMPLATE_BREACH_OUTPUT => (TemplateLimit::OutputBytes, limits.output_bytes),
        Breach::LLAMA_SHIM_TEMPLATE_BREACH_MEMORY => (TemplateLimit::MemoryBytes, limits.memory_bytes),
        Breach::LLAMA_SHIM_TEMPLATE_BREACH_TIME => {
            (TemplateLimit::Time, u64::try_from(limits.time.as_millis()).unwrap_or(u64::MAX))
        }
        Breach::LLAMA_SHIM_TEMPLATE_BREACH_CANCELLED => {
            return error.map_kind(|_| ErrorKind::TemplateCancelled { operation });
        }
        _ => return error,
    };
    let (limit, value) = limit;
    error.map_kind(|_| ErrorKind::TemplateLimit { operation, limit, value })
}
