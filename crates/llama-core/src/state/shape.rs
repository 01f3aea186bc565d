//! Comparison of a context with the one in which a state was made.

use super::fingerprint::fingerprint;
use super::header::StateKind;
use crate::backend;
use crate::context::{CacheType, Context};
use crate::error::{Result, StateError};

/// Returns the properties of a context that are saved with its states: names and values.
pub(crate) fn facts(context: &Context) -> Result<[(&'static str, String); 11]> {
    let (model, params) = (context.model(), context.given_params());
    let [type_k, type_v] = params.cache_types().map(cache_name);
    let (base, scale) = params.rope();
    Ok([
        ("llama.cpp version", backend::version()),
        ("byte order", if cfg!(target_endian = "little") { "little" } else { "big" }.to_owned()),
        ("model", format!("{} (fingerprint {:016x})", model.description(), fingerprint(model)?)),
        ("n_ctx", context.n_ctx().to_string()),
        ("n_seq_max", context.n_seq_max().to_string()),
        ("kv_unified", context.is_unified().to_string()),
        ("swa_full", params.is_swa_full().to_string()),
        ("type_k", type_k.to_owned()),
        ("type_v", type_v.to_owned()),
        ("rope_freq_base", base.to_string()),
        ("rope_freq_scale", scale.to_string()),
    ])
}

/// Refuses saved properties that differ from those of the context.
pub(crate) fn check(saved: &[(String, String)], kind: StateKind, context: &Context) -> Result<()> {
    let separate = !context.is_unified();
    for (name, expected) in facts(context)? {
        let matters = match name {
            // A single sequence needs only room, for which llama.cpp searches.
            "n_ctx" => kind == StateKind::All,
            "n_seq_max" => kind == StateKind::All || separate,
            _ => true,
        };
        let found = saved.iter().find(|(saved, _)| *saved == name).map(|(_, value)| value);
        if matters && found != Some(&expected) {
            let saved = found.cloned().unwrap_or_else(|| "not given".to_owned());
            return Err(StateError::Mismatch { field: name, saved, expected }.into());
        }
    }
    Ok(())
}

fn cache_name(cache: CacheType) -> &'static str {
    match cache {
        CacheType::F32 => "f32",
        CacheType::F16 => "f16",
        CacheType::Bf16 => "bf16",
        CacheType::Q8_0 => "q8_0",
        CacheType::Q5_1 => "q5_1",
        CacheType::Q5_0 => "q5_0",
        CacheType::Q4_1 => "q4_1",
        CacheType::Q4_0 => "q4_0",
    }
}
