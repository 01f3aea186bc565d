//! Chat templates of llama.cpp's common library: they convert conversations to prompts, and answers to messages.
//!
//! Inputs and outputs are JSON: formats of tools and reasoning change every month, and `shim/common_chat.h` follows
//! them. `llama-gen` has types for them.

mod limits;

use core::ffi::c_char;
use core::ptr::NonNull;

pub use limits::TemplateLimits;

use crate::backend;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::exit;
use crate::ffi::guard::{freed, guarded};
use crate::ffi::stack;
use crate::ffi::string::take_from_shim;
use crate::log;
use crate::model::Model;

const THREAD: &str = "llama-chat";
const PURPOSE: &str = "a chat template";

/// A parsed chat template and its capabilities. Cheap to use but expensive to create: some dozens of trial
/// conversations are rendered to determine the capabilities.
///
/// ```
/// use llama_core::chat::ChatTemplates;
///
/// # fn main() -> Result<(), llama_core::Error> {
/// let templates = ChatTemplates::new(
///     None,
///     r#"{"template": "{% for m in messages %}{{ m.role }}: {{ m.content }}. {% endfor %}"}"#,
/// )?;
/// let turn = templates.apply(r#"{"messages": [{"role": "user", "content": "Hello"}]}"#)?;
/// assert!(turn.describe()?.contains("Hello"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ChatTemplates {
    raw: NonNull<llama_sys::llama_shim_chat_templates>,
}

// SAFETY: the templates are a value on the heap that is not tied to a thread (common_chat_templates in chat.cpp:
// texts and syntax trees); any thread may free it.
unsafe impl Send for ChatTemplates {}
// SAFETY: the functions take it as const. Rendering keeps its changing state in its own context (chat.cpp,
// common_chat_template_direct_apply_impl) and executes const syntax trees (jinja/runtime.h, statement); the date,
// which std::localtime would keep in one buffer for all threads, has a buffer per thread (shim/common_time.h). A
// prebuilt common library renders one template at a time (shim/common_chat.cpp, `within`).
unsafe impl Sync for ChatTemplates {}

impl ChatTemplates {
    /// Creates the template of a model, or of the text in the options with the tokens of the model, within the
    /// default [`TemplateLimits`].
    ///
    /// `options` is a JSON object: `{"template": text, "bos_token": text, "eos_token": text}`. All fields are
    /// optional if there is a model, whose tokens take precedence. A model without a template gets ChatML, which
    /// [`describe`](Self::describe) reports.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Chat`] for options of another form, for a text that is not a Jinja template (with the position)
    /// or has more than 256 KiB, and for neither a model nor a text. [`ErrorKind::TemplateLimit`].
    ///
    /// Corresponds to `llama_shim_chat_templates_init`.
    pub fn new(model: Option<&Model>, options: impl AsRef<str>) -> Result<Self> {
        Self::new_within(model, options, &TemplateLimits::default(), || false)
    }

    /// Creates a template like [`new`](Self::new), but within other limits, and stops when `cancelled` returns true.
    /// `cancelled` is called every few hundred microseconds, on another thread.
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new), and [`ErrorKind::TemplateCancelled`].
    ///
    /// Corresponds to `llama_shim_chat_templates_init`.
    pub fn new_within(
        model: Option<&Model>,
        options: impl AsRef<str>,
        limits: &TemplateLimits,
        cancelled: impl FnMut() -> bool + Send,
    ) -> Result<Self> {
        const OPERATION: &str = "making a chat template";
        backend::init();
        let options = options.as_ref();
        let make = || {
            let model = model.map_or(core::ptr::null(), |model| model.raw().cast_const());
            limits::within(limits, OPERATION, cancelled, |budget| {
                // SAFETY: the model is NULL or valid, the options have the length that is passed, and the budget is
                // valid. The function keeps none of them.
                let init = || unsafe {
                    let text = options.as_ptr().cast::<c_char>();
                    let raw = guarded!(llama_shim_chat_templates_init(model, text, options.len(), budget))?;
                    Ok(NonNull::new(raw).map(|raw| Self { raw }))
                };
                log::explain(init)
            })
        };
        made(stack::run(THREAD, PURPOSE, limits.stack(), make)?, OPERATION)
    }

    /// Returns the template's text and capabilities: `{"source": text, "tool_use": text or null, "is_explicit":
    /// bool, "caps": ..}`. `is_explicit` is false for a model without a template.
    ///
    /// # Errors
    ///
    /// Only an exception inside llama.cpp, which is not expected.
    ///
    /// Corresponds to `llama_shim_chat_templates_describe`.
    pub fn describe(&self) -> Result<String> {
        // SAFETY: the templates are valid.
        text_of("describing a chat template", || unsafe {
            guarded!(llama_shim_chat_templates_describe(self.raw.as_ptr()))
        })
    }

    /// Renders a conversation: a JSON object with `messages` as in OpenAI's API. The header `common_chat.h` of
    /// `llama-sys` lists the other fields. The default [`TemplateLimits`] apply.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Chat`] for a request of another form, with more than 128 nested levels, without messages, with a
    /// schema that [`json_schema_to_grammar`](crate::sampler::json_schema_to_grammar) refuses, or that the template itself
    /// refuses. [`ErrorKind::TemplateLimit`].
    ///
    /// Corresponds to `llama_shim_chat_templates_apply`.
    pub fn apply(&self, request: impl AsRef<str>) -> Result<ChatTurn> {
        self.apply_within(request, &TemplateLimits::default(), || false)
    }

    /// Renders a conversation like [`apply`](Self::apply), but within other limits, and stops when `cancelled`
    /// returns true. `cancelled` is called every few hundred microseconds, on another thread.
    ///
    /// # Errors
    ///
    /// The errors of [`apply`](Self::apply), and [`ErrorKind::TemplateCancelled`].
    ///
    /// Corresponds to `llama_shim_chat_templates_apply`.
    pub fn apply_within(
        &self,
        request: impl AsRef<str>,
        limits: &TemplateLimits,
        cancelled: impl FnMut() -> bool + Send,
    ) -> Result<ChatTurn> {
        const OPERATION: &str = "rendering a conversation";
        let request = request.as_ref();
        let render = || {
            limits::within(limits, OPERATION, cancelled, |budget| {
                // SAFETY: the templates and the budget are valid and the request has the length that is passed.
                let apply = || unsafe {
                    let text = request.as_ptr().cast::<c_char>();
                    let raw = self.raw.as_ptr();
                    let raw = guarded!(llama_shim_chat_templates_apply(raw, text, request.len(), budget))?;
                    Ok(NonNull::new(raw).map(|raw| ChatTurn { raw }))
                };
                log::explain(apply)
            })
        };
        made(stack::run(THREAD, PURPOSE, limits.stack(), render)?, OPERATION)
    }
}

impl Drop for ChatTemplates {
    fn drop(&mut self) {
        let _freeing = exit::freeing();
        // SAFETY: valid, and nobody uses it any more.
        freed("chat templates", unsafe { guarded!(llama_shim_chat_templates_free(self.raw.as_ptr())) });
    }
}

/// A rendered conversation, with the format of its answer. It does not depend on the template any more.
#[derive(Debug)]
pub struct ChatTurn {
    raw: NonNull<llama_sys::llama_shim_chat_turn>,
}

// SAFETY: a value on the heap that is not tied to a thread (common_chat_params in chat.h).
unsafe impl Send for ChatTurn {}
// SAFETY: its functions take it as const; reading an answer keeps its state in its own context (peg-parser.h,
// common_peg_parse_context).
unsafe impl Sync for ChatTurn {}

impl ChatTurn {
    /// Returns the prompt and the parameters for the answer: grammar, triggers, stops. The header `common_chat.h` of
    /// `llama-sys` lists the fields.
    ///
    /// # Errors
    ///
    /// Only an exception inside llama.cpp, which is not expected.
    ///
    /// Corresponds to `llama_shim_chat_turn_describe`.
    pub fn describe(&self) -> Result<String> {
        // SAFETY: the turn is valid.
        text_of("describing a rendered conversation", || unsafe {
            guarded!(llama_shim_chat_turn_describe(self.raw.as_ptr()))
        })
    }

    /// Parses an answer, or with `is_partial` the beginning of one: `{"content": text, "reasoning_content": text,
    /// "tool_calls": [{"name": text, "arguments": text, "id": text}]}`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Chat`] for an answer that does not have the template's format: incomplete tool calls, or
    /// arguments with more than 64 nested levels.
    ///
    /// Corresponds to `llama_shim_chat_turn_parse`.
    pub fn parse(&self, answer: &str, is_partial: bool) -> Result<String> {
        // SAFETY: the turn is valid and the answer has the length that is passed.
        text_of("reading an answer", || unsafe {
            let text = answer.as_ptr().cast::<c_char>();
            guarded!(llama_shim_chat_turn_parse(self.raw.as_ptr(), text, answer.len(), is_partial))
        })
    }

    /// Returns the grammar with which [`parse`](Self::parse) reads answers, as JSON: `{"root": index or null,
    /// "nodes": [{"kind": text, ..}]}`. An interpreter of it can parse an answer while it streams, without starting
    /// over. The header `common_chat.h` of `llama-sys` describes the nodes.
    ///
    /// # Errors
    ///
    /// Only an exception inside llama.cpp, which is not expected.
    ///
    /// Corresponds to `llama_shim_chat_turn_grammar`.
    pub fn grammar(&self) -> Result<String> {
        // SAFETY: the turn is valid, and shim/chat_answer.cpp only reads its grammar.
        text_of("describing the grammar of an answer", || unsafe {
            guarded!(llama_shim_chat_turn_grammar(self.raw.as_ptr()))
        })
    }
}

impl Drop for ChatTurn {
    fn drop(&mut self) {
        let _freeing = exit::freeing();
        // SAFETY: valid, and nobody uses it any more.
        freed("a chat turn", unsafe { guarded!(llama_shim_chat_turn_free(self.raw.as_ptr())) });
    }
}

/// Returns the object that a function of the shim created.
fn made<T>(object: Result<Option<T>>, operation: &'static str) -> Result<T> {
    object.map_err(|error| explained(error, operation))?.ok_or_else(|| nothing(operation))
}

/// Returns the text that `function` of the shim returns.
fn text_of(operation: &'static str, function: impl FnOnce() -> Result<*mut c_char>) -> Result<String> {
    let text = function().map_err(|error| explained(error, operation))?;
    // SAFETY: a function of the shim returned it.
    unsafe { take_from_shim(text) }.ok_or_else(|| nothing(operation))
}

/// Converts exceptions of the common library, which are about its input.
fn explained(error: Error, operation: &'static str) -> Error {
    error.map_kind(|kind| match kind {
        ErrorKind::Exception { message } => ErrorKind::Chat { operation, reason: message },
        other => other,
    })
}

fn nothing(operation: &'static str) -> Error {
    ErrorKind::Chat { operation, reason: "llama.cpp returned nothing".to_owned() }.into()
}
