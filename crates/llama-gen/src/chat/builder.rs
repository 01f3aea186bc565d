//! Describing a conversation before it begins.

use std::path::Path;

use serde_json::Value;

use super::history::History;
use super::memory::Memory;
use super::message::Message;
use super::session::Chat;
use super::settings::Settings;
use super::template::ChatTemplate;
use super::tool::{Tool, ToolChoice};
use crate::error::Result;
use crate::model::Llama;
use crate::params::{GenerationParams, SamplingParams};

impl Llama {
    /// Begins to describe a conversation; [`start`](ChatBuilder::start) begins it.
    ///
    /// ```
    /// # fn main() -> Result<(), llama_gen::Error> {
    /// # let llm = llama_gen::Llama::builder(test_models::smollm2()).n_ctx(512).load()?;
    /// let mut chat = llm.chat().system("You are terse.").start()?;
    /// println!("{}", chat.send("Name three rivers.")?.text());
    /// # Ok(())
    /// # }
    /// ```
    pub fn chat(&self) -> ChatBuilder {
        ChatBuilder {
            llama: self.clone(),
            template: None,
            settings: Settings::default(),
            messages: Vec::new(),
        }
    }
}

/// A conversation that has been described and not begun. Made by [`Llama::chat`].
#[derive(Clone, Debug)]
#[must_use = "nothing begins until `start` is called"]
pub struct ChatBuilder {
    llama: Llama,
    template: Option<ChatTemplate>,
    settings: Settings,
    messages: Vec<Message>,
}

impl ChatBuilder {
    /// What the model is told before the conversation. Where a template knows no role for that, it goes in front of the
    /// first question.
    pub fn system(mut self, system: impl Into<String>) -> Self {
        self.settings.system = Some(system.into());
        self
    }

    /// Another template than the model's own.
    pub fn template(mut self, template: &ChatTemplate) -> Self {
        self.settings.template = Some(template.source().to_owned());
        self.template = Some(template.clone());
        self
    }

    /// Messages that the conversation begins with: examples, or a history from elsewhere. They are not turns: they cannot
    /// be undone.
    pub fn messages(mut self, messages: impl Into<Vec<Message>>) -> Self {
        self.messages = messages.into();
        self
    }

    /// Tools that the model may call. Its calls come with its answers; their results are sent as messages.
    pub fn tools(mut self, tools: impl Into<Vec<Tool>>) -> Self {
        self.settings.tools = tools.into();
        self
    }

    /// Whether the model calls tools.
    pub fn tool_choice(mut self, choice: ToolChoice) -> Self {
        self.settings.tool_choice = choice;
        self
    }

    /// Whether the model thinks before it answers, if it can. Default: true.
    pub fn thinking(mut self, thinking: bool) -> Self {
        self.settings.thinking = thinking;
        self
    }

    /// Sets a variable that the template knows: see [`ChatRequest::template_arg`](super::ChatRequest::template_arg).
    pub fn template_arg(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.settings.template_args.insert(name.into(), value.into());
        self
    }

    /// How answers are generated.
    pub fn params(mut self, params: GenerationParams) -> Self {
        self.settings.params = params;
        self
    }

    /// How tokens are chosen.
    pub fn sampling(mut self, sampling: SamplingParams) -> Self {
        self.settings.params.sampling = sampling;
        self
    }

    /// See [`SamplingParams::temperature`].
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.settings.params.sampling.temperature = Some(temperature);
        self
    }

    /// See [`SamplingParams::seed`].
    pub fn seed(mut self, seed: u32) -> Self {
        self.settings.params.sampling.seed = Some(seed);
        self
    }

    /// The most tokens of an answer, thoughts included.
    pub fn max_tokens(mut self, max_tokens: u32) -> Self {
        self.settings.params.max_tokens = Some(max_tokens);
        self
    }

    /// Begins the conversation. Nothing is computed before the first question.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoChatTemplate`](crate::ErrorKind::NoChatTemplate),
    /// [`ErrorKind::InvalidParameters`](crate::ErrorKind::InvalidParameters),
    /// [`ErrorKind::Core`](crate::ErrorKind::Core) for a template that cannot be read.
    pub fn start(self) -> Result<Chat> {
        self.settings.params.validate()?;
        let template = match self.template {
            Some(template) => template,
            None => self.settings.make_template(self.llama.model())?,
        };
        let memory = Memory::new(&self.llama);
        Ok(Chat::new(self.llama, template, self.settings, History::new(self.messages), memory))
    }

    /// Goes on with a conversation that [`Chat::save`] has saved: with its messages, its settings and, when that was saved
    /// by the same model, its memory, so that nothing of it is computed again. What was set here does not count.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ChatFile`](crate::ErrorKind::ChatFile) for a file that is none of a conversation, and as
    /// [`start`](Self::start).
    pub fn load(self, path: impl AsRef<Path>) -> Result<Chat> {
        Chat::load(self.llama, path.as_ref())
    }
}
