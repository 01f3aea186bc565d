//! JSON schemas as grammars.

use core::ffi::c_char;

use crate::backend;
use crate::error::{ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::ffi::string::take_from_shim;

/// Makes a GBNF grammar that accepts the JSON documents of a JSON schema, for
/// [`SamplerChainBuilder::grammar`](crate::SamplerChainBuilder::grammar).
///
/// ```
/// let grammar = llama_core::json_schema_to_grammar(r#"{"type": "boolean"}"#)?;
/// assert!(grammar.contains("root ::= "));
/// # Ok::<(), llama_core::Error>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::JsonSchema`] for a text that is no JSON, that is nested more than 128 levels deep, or that asks for what
/// a grammar cannot do: references that lead nowhere or to the network, unknown types, patterns without `^` and `$`
/// or with more than groups, classes and repetitions.
///
/// Corresponds to `llama_shim_json_schema_to_grammar`.
pub fn json_schema_to_grammar(schema: &str) -> Result<String> {
    backend::init();
    // SAFETY: the schema has that many bytes.
    let grammar = unsafe {
        guarded!(llama_shim_json_schema_to_grammar(schema.as_ptr().cast::<c_char>(), schema.len()))
    };
    let grammar = grammar.map_err(|error| {
        error.map_kind(|kind| match kind {
            ErrorKind::Exception { message } => ErrorKind::JsonSchema { reason: message },
            other => other,
        })
    })?;
    // SAFETY: the shim's function returned it.
    unsafe { take_from_shim(grammar) }
        .ok_or_else(|| ErrorKind::JsonSchema { reason: "llama.cpp gave no grammar".to_owned() }.into())
}
