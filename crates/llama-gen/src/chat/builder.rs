//! Settings of a conversation before it begins.

use serde_json::Value;

use super::history::History;
use super::memory::ChatMemory;
use super::message::Message;
use super::session::Chat;
use super::settings::Settings;
use super::template::ChatTemplate;
use super::tool::{Tool, ToolChoice};
use crate::error::Result;
use crate::model::Llama;
use crate::params::{GenerationParams, SamplingParams};

impl Llama {
    /// Creates a builder for a conversation; [`start`](ChatBuilder::start) begins it. [`Chat::load`] continues a saved one.
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

/// The settings of a conversation that has not begun yet. Created by [`Llama::chat`].
#[derive(Clone, Debug)]
#[must_use = "the conversation does not begin until `start` is called"]
pub struct ChatBuilder {
    llama: Llama,
    template: Option<ChatTemplate>,
    settings: Settings,
    messages: Vec<Message>,
}

impl ChatBuilder {
    /// Sets the system message. A template without a system role has it put in front of the first user message.
    pub fn system(mut self, system: impl Into<String>) -> Self {
        self.settings.system = Some(system.into());
        self
    }

    /// Sets a template instead of the model's own.
    pub fn template(mut self, template: &ChatTemplate) -> Self {
        self.settings.template = Some(template.source().to_owned());
        self.template = Some(template.clone());
        self
    }

    /// Sets the messages that the conversation begins with: examples, or a history from elsewhere. They are not turns and
    /// cannot be undone.
    pub fn messages(mut self, messages: impl Into<Vec<Message>>) -> Self {
        self.messages = messages.into();
        self
    }

    /// Sets the tools that the model may call. Calls are part of its answers; results are sent as messages.
    pub fn tools(mut self, tools: impl Into<Vec<Tool>>) -> Self {
        self.settings.tools = tools.into();
        self
    }

    /// Sets whether the model may, must or must not call tools.
    pub fn tool_choice(mut self, choice: ToolChoice) -> Self {
        self.settings.tool_choice = choice;
        self
    }

    /// Sets whether the model reasons before it answers, if it can. Default: true.
    pub fn thinking(mut self, thinking: bool) -> Self {
        self.settings.thinking = thinking;
        self
    }

    /// Sets a variable of the template: see [`ChatRequest::template_arg`](super::ChatRequest::template_arg).
    pub fn template_arg(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.settings.template_args.insert(name.into(), value.into());
        self
    }

    /// Sets the parameters that answers are generated with. Parameters that were set before, and that are open here, stay
    /// set: see [`GenerationParams::or`].
    pub fn params(mut self, params: GenerationParams) -> Self {
        self.settings.params = params.or(&self.settings.params);
        self
    }

    /// Sets how tokens are chosen. Parameters that were set before, and that are open here, stay set: see
    /// [`SamplingParams::or`].
    pub fn sampling(mut self, sampling: SamplingParams) -> Self {
        self.settings.params.sampling = sampling.or(&self.settings.params.sampling);
        self
    }

    /// Sets the temperature: see [`SamplingParams::temperature`].
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.settings.params.sampling.temperature = Some(temperature);
        self
    }

    /// Sets the seed of the random numbers: see [`SamplingParams::seed`].
    pub fn seed(mut self, seed: u32) -> Self {
        self.settings.params.sampling.seed = Some(seed);
        self
    }

    /// Sets the most tokens of an answer, including its reasoning.
    pub fn max_tokens(mut self, max_tokens: u32) -> Self {
        self.settings.params.max_tokens = Some(max_tokens);
        self
    }

    /// Begins the conversation. Nothing is decoded before the first turn.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoChatTemplate`](crate::ErrorKind::NoChatTemplate),
    /// [`ErrorKind::InvalidParameters`](crate::ErrorKind::InvalidParameters),
    /// [`ErrorKind::Core`](crate::ErrorKind::Core) for a template that cannot be parsed.
    pub fn start(self) -> Result<Chat> {
        self.settings.params.validate()?;
        let template = match self.template {
            Some(template) => template,
            None => self.settings.make_template(self.llama.model())?,
        };
        let memory = ChatMemory::new(&self.llama);
        Ok(Chat::new(self.llama, template, self.settings, History::new(self.messages), memory))
    }
}
