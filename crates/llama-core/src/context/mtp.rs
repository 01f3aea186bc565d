//! Which layers a model's file has: those of the model, those that predict further tokens, or both.

use crate::Model;
use crate::error::{ErrorKind, Result};

/// Refuses a context of layers that the model does not have.
pub(super) fn check(model: &Model, is_mtp: bool) -> Result<()> {
    if is_mtp { check_mtp(model) } else { check_trunk(model) }
}

/// Refuses models without the layers of an MTP context, whose graph asserts that they are there.
fn check_mtp(model: &Model) -> Result<()> {
    // SAFETY: the model is valid; the function reads a number.
    let has_layers =
        unsafe { llama_sys::llama_model_n_layer_nextn(model.raw()) } > 0 && has_mtp_tensors(model);
    let reason = match (has_layers, model.params().loads_mtp()) {
        (true, true) => return Ok(()),
        (true, false) => "its layers for it were not loaded: load it with ModelParams::load_mtp(true)",
        (false, _) => "it has no layers that predict several tokens (nextn)",
    };
    Err(ErrorKind::Unsupported { operation: "creating an MTP context", reason: reason.to_owned() }.into())
}

/// Whether the file has the layers that its metadata tells of. Of a model without a file llama.cpp makes them.
fn has_mtp_tensors(model: &Model) -> bool {
    let start = format!("blk.{}.", model.n_layer());
    let has = |start: &[u8]| model.tensors().iter().any(|tensor| tensor.name().as_bytes().starts_with(start));
    !has(b"blk.") || has(start.as_bytes())
}

/// Refuses files that have only the layers of an MTP context, of which llama.cpp would compute the others all the same.
fn check_trunk(model: &Model) -> Result<()> {
    let has = |start: &[u8]| model.tensors().iter().any(|tensor| tensor.name().as_bytes().starts_with(start));
    if model.n_layer_nextn() == 0 || model.n_layer() == 0 || !has(b"blk.") || has(b"blk.0.") {
        return Ok(());
    }
    let reason = "its file has only the layers that predict several tokens: load the model that they belong to, or make a \
                  context of ContextType::Mtp"
        .to_owned();
    Err(ErrorKind::Unsupported { operation: "creating a context", reason }.into())
}
