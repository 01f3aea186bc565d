//! Conversations: messages, templates, answers, and sessions with a memory.
//!
//! - [`Chat`], from [`Llama::chat`](crate::Llama::chat), is a conversation that keeps its memory between turns.
//! - [`ChatTemplate`] renders [`Message`]s to prompts and parses the answers, for programs that keep their own history.
//!
//! The content of a message is text. A message that contains `<|im_end|>` does not end its turn: see
//! [`ChatPrompt::tokens`].

mod answer;
mod answering;
mod builder;
mod continue_answer;
mod file;
mod history;
mod left_out;
mod memory;
mod message;
mod prompt;
mod reply;
mod request;
mod session;
mod settings;
mod special;
mod stream;
mod template;
mod template_builder;
mod tool;
mod turn;
mod untrusted;

use serde::de::DeserializeOwned;

use crate::error::{ErrorKind, Result};

pub use answer::{Answer, AnswerParser, Delta, ToolCallDelta};
pub use answering::ChatEvent;
pub use builder::ChatBuilder;
pub use continue_answer::ContinueAnswer;
pub use left_out::LeftOut;
pub(crate) use left_out::List as LeftOutList;
pub use llama_core::chat::{TemplateLimit, TemplateLimits};
pub use message::{Content, Message, Part, Role, ToolCall};
pub use prompt::{ChatGrammar, ChatPrompt, ChatTrigger};
pub use reply::Reply;
pub use request::ChatRequest;
pub use session::Chat;
pub use stream::{ChatEventStream, ChatStream};
pub use template::{ChatTemplate, TemplateCaps};
pub use template_builder::ChatTemplateBuilder;
pub use tool::{Tool, ToolChoice};
pub use turn::Turn;

/// Reads JSON that the shim has written.
fn from_shim<T: DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| {
        ErrorKind::Chat { reason: format!("the JSON from llama.cpp's side has another form: {error}") }.into()
    })
}
