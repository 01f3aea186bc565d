//! Refusing what cannot fit, before the system ends the process.

use llama_gguf::TensorInfo;

use super::guess;
use crate::context::ContextParams;
use crate::device::DeviceKind;
use crate::device::host_memory::HostMemory;
use crate::error::{Error, ErrorKind, ParameterProblem, Result};
use crate::model::{Model, ModelParams, ModelSource};
use crate::plan::{Bytes, LoadPlan};

/// Texts that llama.cpp and ggml log when memory could not be allocated.
const FAILURES: &[&str] = &[
    "failed to allocate",
    "unable to allocate",
    "insufficient memory",
    "bad_alloc",
    "out of memory",
    "failed to reserve initial output buffer",
];

/// Refuses to load more weights into the system's memory than it can hold. Linux grants such memory and ends the
/// process when it is written to.
pub(crate) fn refuse_weights(
    source: &ModelSource,
    params: &ModelParams,
    tensors: &[TensorInfo],
) -> Result<()> {
    if params.is_vocab_only() || params.is_no_alloc() {
        return Ok(());
    }
    let room = HostMemory::now().room();
    let bytes = tensors.iter().map(TensorInfo::bytes).fold(0, u64::saturating_add);
    if bytes <= room {
        return Ok(());
    }
    match super::weights(source, params) {
        Ok(plan) if on_host(&plan) > room => Err(plan.does_not_fit("model")),
        Ok(_) => Ok(()),
        Err(error) => {
            // The loading itself returns the better error.
            tracing::debug!("no plan for {source}: {error}");
            Ok(())
        }
    }
}

/// Refuses a context that the system's memory cannot hold. A plan is only computed for contexts that may be too
/// large.
pub(crate) fn refuse_context(model: &Model, params: &ContextParams) -> Result<()> {
    let room = HostMemory::now().room();
    if guess::upper_bound(model, params) <= u128::from(room / 4) {
        return Ok(());
    }
    match model.plan_context(params) {
        Ok(plan) if on_host(&plan) > room => Err(plan.does_not_fit("context")),
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::debug!("no plan for a context of {model:?}: {error}");
            refuse_overhead(model, params, room)
        }
    }
}

/// Refuses a context by its bookkeeping alone, when there is no plan. llama.cpp writes to that memory at once in
/// every model.
fn refuse_overhead(model: &Model, params: &ContextParams, room: u64) -> Result<()> {
    let overhead = guess::overhead(model, params);
    if overhead <= room {
        return Ok(());
    }
    let reason =
        format!("smaller: the bookkeeping alone takes {}, and {} are free", Bytes(overhead), Bytes(room));
    Err(ParameterProblem::new("n_ctx", params.n_ctx, reason).into())
}

/// Returns the bytes of the system's memory that a plan takes and that cannot be read again from a file.
fn on_host(plan: &LoadPlan) -> u64 {
    let host = plan.devices().iter().filter(|device| device.device.kind() == DeviceKind::Cpu);
    host.map(|device| device.required() - device.mapped).fold(0, u64::saturating_add)
}

/// Returns whether a call failed for lack of memory.
fn is_out_of_memory(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::OutOfMemory { .. })
        || error.log().iter().any(|line| FAILURES.iter().any(|failure| line.contains(failure)))
}

/// Adds the plan to the error of a context that could not be created for lack of memory.
pub(crate) fn explain_context(model: &Model, params: &ContextParams, error: Error) -> Error {
    explain("context", error, || model.plan_context(params))
}

/// Adds the plan to the error of a model whose weights could not be loaded for lack of memory.
pub(crate) fn explain_weights(source: &ModelSource, params: &ModelParams, error: Error) -> Error {
    explain("model", error, || super::weights(source, params))
}

fn explain(what: &'static str, error: Error, plan: impl FnOnce() -> Result<LoadPlan>) -> Error {
    if !is_out_of_memory(&error) {
        return error;
    }
    match plan() {
        Ok(plan) => plan.does_not_fit(what).with_log(error.log().to_vec()),
        Err(reason) => {
            tracing::debug!("no plan for the {what} that memory cannot hold: {reason}");
            error
        }
    }
}
