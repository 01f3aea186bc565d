//! Conversion of JSON schemas to grammars.

use core::ffi::c_char;

use crate::backend;
use crate::error::{ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::ffi::string::take_from_shim;

/// Converts a JSON schema to a GBNF grammar that accepts its JSON documents, for
/// [`SamplerChainBuilder::grammar`](crate::sampler::SamplerChainBuilder::grammar).
///
/// ```
/// let grammar = llama_core::sampler::json_schema_to_grammar(r#"{"type": "boolean"}"#)?;
/// assert!(grammar.contains("root ::= "));
/// # Ok::<(), llama_core::Error>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::JsonSchema`] for a text that is not JSON, that has more than 128 nested levels, or that asks for
/// something that a grammar cannot express: references to nothing or to the network, unknown types, patterns without
/// `^` and `$` or with more than groups, classes and repetitions.
///
/// Corresponds to `llama_shim_json_schema_to_grammar`.
pub fn json_schema_to_grammar(schema: &str) -> Result<String> {
    backend::init();
    // SAFETY: the schema has the length that is passed.
    let grammar = unsafe {
        guarded!(llama_shim_json_schema_to_grammar(schema.as_ptr().cast::<c_char>(), schema.len()))
    };
    let grammar = grammar.map_err(|error| {
        error.map_kind(|kind| match kind {
            ErrorKind::Exception { message } => ErrorKind::JsonSchema { reason: message },
            other => other,
        })
    })?;
    // SAFETY: the text was returned by a function of the shim.
    unsafe { take_from_shim(grammar) }
        .ok_or_else(|| ErrorKind::JsonSchema { reason: "llama.cpp returned no grammar".to_owned() }.into())
}
