//! Chat templates of llama.cpp's common library: conversations to prompts, answers to messages.
//!
//! What goes in and comes out is JSON: formats of tools and of reasoning change every month, and `shim/common_chat.h`
//! follows them. `llama-gen` has types for it.

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

/// A chat template with what it can do found out. Cheap to use, not to make: making renders some dozens of trial
/// conversations.
///
/// ```
/// use llama_core::ChatTemplates;
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

// SAFETY: the templates are a value on the heap that belongs to no thread (common_chat_templates in chat.cpp: texts and
// syntax trees); freeing it needs none.
unsafe impl Send for ChatTemplates {}
// SAFETY: the functions over it take it as const. Rendering keeps what it changes in a context of its own (chat.cpp,
// common_chat_template_direct_apply_impl) and executes syntax trees that are const (jinja/runtime.h, statement); the date,
// which std::localtime would keep in one buffer for all threads, has one for each (shim/common_time.h). A prebuilt common
// library renders one at a time (shim/common_chat.cpp, `within`).
unsafe impl Sync for ChatTemplates {}

impl ChatTemplates {
    /// Makes the template of a model, or, when the options have one, that of a text with the tokens of the model. Within
    /// the default [`TemplateLimits`].
    ///
    /// `options` are a JSON object: `{"template": text, "bos_token": text, "eos_token": text}`, all of which may be
    /// missing when there is a model; the tokens of a model win. A model without a template gets ChatML:
    /// [`describe`](Self::describe) says so.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Chat`] for options that are no such object, for a text that is no Jinja template, with the place,
    /// for one of more than 256 KiB, and for neither a model nor a text; [`ErrorKind::TemplateLimit`].
    ///
    /// Corresponds to `llama_shim_chat_templates_init`.
    pub fn new(model: Option<&Model>, options: impl AsRef<str>) -> Result<Self> {
        Self::new_within(model, options, &TemplateLimits::default(), || false)
    }

    /// Makes a template as [`new`](Self::new) does, within other limits. Ends when `cancelled` says so, which is asked
    /// every few hundred microseconds, on another thread.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`ErrorKind::TemplateCancelled`].
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
                // SAFETY: the model is NULL or valid, the options have that many bytes, and the budget is valid. The
                // function keeps none of them.
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

    /// The template's text and abilities: `{"source": text, "tool_use": text or null, "is_explicit": bool, "caps": ..}`.
    /// `is_explicit` is false for a model without a template.
    ///
    /// # Errors
    ///
    /// None is expected; an exception inside llama.cpp is reported.
    ///
    /// Corresponds to `llama_shim_chat_templates_describe`.
    pub fn describe(&self) -> Result<String> {
        // SAFETY: the templates are valid.
        text_of("describing a chat template", || unsafe {
            guarded!(llama_shim_chat_templates_describe(self.raw.as_ptr()))
        })
    }

    /// Renders a conversation: a JSON object with `messages` as OpenAI's API has them. The header `common_chat.h` of
    /// `llama-sys` lists the other fields. Within the default [`TemplateLimits`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Chat`] for a request of another form, nested more than 128 levels deep, without messages, with a
    /// schema that [`json_schema_to_grammar`](crate::json_schema_to_grammar) refuses, or that the template itself
    /// refuses; [`ErrorKind::TemplateLimit`].
    ///
    /// Corresponds to `llama_shim_chat_templates_apply`.
    pub fn apply(&self, request: impl AsRef<str>) -> Result<ChatTurn> {
        self.apply_within(request, &TemplateLimits::default(), || false)
    }

    /// Renders a conversation as [`apply`](Self::apply) does, within other limits. Ends when `cancelled` says so, which
    /// is asked every few hundred microseconds, on another thread.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply), and [`ErrorKind::TemplateCancelled`].
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
                // SAFETY: the templates and the budget are valid and the request has that many bytes.
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

/// A conversation as a template renders it, and how the answer to it is to be read. It does not need the template any
/// more.
#[derive(Debug)]
pub struct ChatTurn {
    raw: NonNull<llama_sys::llama_shim_chat_turn>,
}

// SAFETY: a value on the heap that belongs to no thread (common_chat_params in chat.h).
unsafe impl Send for ChatTurn {}
// SAFETY: its functions take it as const; reading an answer keeps its state in a context of its own
// (peg-parser.h, common_peg_parse_context).
unsafe impl Sync for ChatTurn {}

impl ChatTurn {
    /// The prompt, and what is to be known for the answer: grammar, triggers, stops. The header `common_chat.h` of
    /// `llama-sys` lists the fields.
    ///
    /// # Errors
    ///
    /// None is expected; an exception inside llama.cpp is reported.
    ///
    /// Corresponds to `llama_shim_chat_turn_describe`.
    pub fn describe(&self) -> Result<String> {
        // SAFETY: the turn is valid.
        text_of("describing a rendered conversation", || unsafe {
            guarded!(llama_shim_chat_turn_describe(self.raw.as_ptr()))
        })
    }

    /// Reads an answer, or with `is_partial` the beginning of one: `{"content": text, "reasoning_content": text,
    /// "tool_calls": [{"name": text, "arguments": text, "id": text}]}`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Chat`] for an answer that is not of the template's format: tool calls that are broken off, or
    /// arguments nested more than 64 levels deep.
    ///
    /// Corresponds to `llama_shim_chat_turn_parse`.
    pub fn parse(&self, answer: &str, is_partial: bool) -> Result<String> {
        // SAFETY: the turn is valid and the answer has that many bytes.
        text_of("reading an answer", || unsafe {
            let text = answer.as_ptr().cast::<c_char>();
            guarded!(llama_shim_chat_turn_parse(self.raw.as_ptr(), text, answer.len(), is_partial))
        })
    }

    /// Returns the grammar that [`parse`](Self::parse) reads answers by, as JSON: `{"root": index or null, "nodes":
    /// [{"kind": text, ..}]}`. Whoever interprets it can read an answer while it streams without reading its beginning
    /// again. The header `common_chat.h` of `llama-sys` describes the nodes.
    ///
    /// # Errors
    ///
    /// None is expected; an exception inside llama.cpp is reported.
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

/// The object that a function of the shim returned.
fn made<T>(object: Result<Option<T>>, operation: &'static str) -> Result<T> {
    object.map_err(|error| explained(error, operation))?.ok_or_else(|| nothing(operation))
}

/// The text that `function` of the shim returns.
fn text_of(operation: &'static str, function: impl FnOnce() -> Result<*mut c_char>) -> Result<String> {
    let text = function().map_err(|error| explained(error, operation))?;
    // SAFETY: a function of the shim returned it.
    unsafe { take_from_shim(text) }.ok_or_else(|| nothing(operation))
}

/// What the common library throws is about what it was given.
fn explained(error: Error, operation: &'static str) -> Error {
    error.map_kind(|kind| match kind {
        ErrorKind::Exception { message } => ErrorKind::Chat { operation, reason: message },
        other => other,
    })
}

fn nothing(operation: &'static str) -> Error {
    ErrorKind::Chat { operation, reason: "llama.cpp gave nothing".to_owned() }.into()
}
