//! Chat templates: conversations as prompts, and answers as messages.
//!
//! [`builtin_templates`] and [`apply_builtin_template`] are llama.cpp's own functions: a fixed list of formats, without
//! tools. [`ChatTemplates`], with feature `common`, runs the Jinja template of a model and
//! reads tool calls and reasoning out of its answers.

mod builtin;
#[cfg(feature = "common")]
mod templates;

pub use builtin::{apply_builtin_template, builtin_templates};
#[cfg(feature = "common")]
pub use templates::{ChatTemplates, ChatTurn, TemplateLimits};

#[cfg(feature = "common")]
pub use crate::error::TemplateLimit;
