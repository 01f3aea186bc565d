//! Conversations that remember.

use llama_core::Token;
use serde_json::Value;

use super::history::{History, Transcript};
use super::memory::Memory;
use super::message::{Content, Message};
use super::prompt::ChatPrompt;
use super::reply::Reply;
use super::settings::Settings;
use super::stream::ChatStream;
use super::template::ChatTemplate;
use super::turn::Turn;
use crate::cancel::CancelToken;
use crate::error::Result;
use crate::model::Llama;
use crate::params::GenerationParams;

/// A conversation with a model. Made by [`Llama::chat`].
///
/// It has a context of its own, which keeps what was said: with each turn only what is new is computed. Turns can be
/// undone and redone, the whole can be copied, and saved to a file.
///
/// ```
/// # fn main() -> Result<(), llama_gen::Error> {
/// # let llm = llama_gen::Llama::builder(test_models::smollm2()).n_ctx(512).load()?;
/// let mut chat = llm.chat().system("You are terse.").max_tokens(16).start()?;
/// println!("{}", chat.send("Name a river.")?.text());
/// println!("{}", chat.send("Where does it begin?")?.text());
///
/// chat.undo();
/// for event in chat.stream("Where does it end?")? {
///     print!("{}", event?.text());
/// }
/// assert_eq!(chat.messages().count(), 4);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Chat {
    pub(super) llama: Llama,
    pub(super) template: ChatTemplate,
    pub(super) settings: Settings,
    pub(super) history: History,
    pub(super) memory: Memory,
}

/// A prompt as tokens, and what they go on from.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) transcript: Transcript,
    pub(super) went_on: bool,
}

impl Chat {
    pub(super) fn new(
        llama: Llama,
        template: ChatTemplate,
        settings: Settings,
        history: History,
        memory: Memory,
    ) -> Self {
        Self { llama, template, settings, history, memory }
    }

    /// Says something and waits for the answer.
    ///
    /// # Errors
    ///
    /// As [`Turn::complete`]. The conversation is then as it was before.
    pub fn send(&mut self, content: impl Into<Content>) -> Result<Reply> {
        self.turn(content).complete()
    }

    /// Says something; the answer comes piece by piece.
    ///
    /// # Errors
    ///
    /// As [`Turn::stream`].
    pub fn stream(&mut self, content: impl Into<Content>) -> Result<ChatStream<'_>> {
        self.turn(content).stream()
    }

    /// Begins to describe a turn in which something is said.
    pub fn turn(&mut self, content: impl Into<Content>) -> Turn<'_> {
        self.turn_of([Message::user(content)])
    }

    /// Begins to describe a turn of any messages: results of tools, several speakers.
    pub fn turn_of(&mut self, messages: impl Into<Vec<Message>>) -> Turn<'_> {
        Turn::new(self, messages.into())
    }

    /// The messages so far, without the system's.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.history.messages()
    }

    /// The number of turns so far.
    #[must_use]
    pub fn n_turns(&self) -> usize {
        self.history.turns.len()
    }

    /// Takes the last turn back, what was said and what the model answered. False when there is none.
    pub fn undo(&mut self) -> bool {
        self.history.undo()
    }

    /// Puts back the turn that was taken back last, with the answer that it had. False when there is none, or when
    /// something else was said since.
    pub fn redo(&mut self) -> bool {
        self.history.redo()
    }

    /// How many turns [`redo`](Self::redo) can put back.
    #[must_use]
    pub fn n_undone(&self) -> usize {
        self.history.n_undone()
    }

    /// A copy that goes its own way, with a context of its own and the same in its memory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Core`](crate::ErrorKind::Core) when there is no memory for another context.
    pub fn fork(&self) -> Result<Self> {
        Ok(Self {
            llama: self.llama.clone(),
            template: self.template.clone(),
            settings: self.settings.clone(),
            history: self.history.clone(),
            memory: self.memory.try_clone()?,
        })
    }

    /// What the model is told before the conversation.
    #[must_use]
    pub fn system(&self) -> Option<&str> {
        self.settings.system.as_deref()
    }

    /// Changes what the model is told before the conversation. The next turn computes all of it again.
    pub fn set_system(&mut self, system: Option<String>) {
        self.settings.system = system;
    }

    /// Whether the model thinks before it answers, if it can.
    #[must_use]
    pub fn thinking(&self) -> bool {
        self.settings.thinking
    }

    /// Switches thinking on or off, from the next turn on.
    pub fn set_thinking(&mut self, thinking: bool) {
        self.settings.thinking = thinking;
    }

    /// Sets a variable that the template knows, from the next turn on: see
    /// [`ChatRequest::template_arg`](super::ChatRequest::template_arg).
    pub fn set_template_arg(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.settings.template_args.insert(name.into(), value.into());
    }

    /// How answers are generated.
    #[must_use]
    pub fn params(&self) -> &GenerationParams {
        &self.settings.params
    }

    /// How answers are generated, to change it from the next turn on.
    #[must_use]
    pub fn params_mut(&mut self) -> &mut GenerationParams {
        &mut self.settings.params
    }

    /// The template.
    #[must_use]
    pub fn template(&self) -> &ChatTemplate {
        &self.template
    }

    /// The model.
    #[must_use]
    pub fn llama(&self) -> &Llama {
        &self.llama
    }

    /// Renders the conversation with further messages.
    pub(super) fn render(&self, messages: &[Message], cancel: Option<&CancelToken>) -> Result<ChatPrompt> {
        self.template.render_until(&self.settings.request(self.messages().chain(messages)), cancel)
    }

    /// The tokens of a prompt: those that are in memory, where it begins like them.
    pub(super) fn tokens(&self, prompt: &ChatPrompt) -> Result<Ready> {
        let before = &self.history.transcript;
        let went_on = !before.tokens.is_empty() && prompt.text().starts_with(&before.text);
        let mut tokens: Vec<Token>;
        if went_on {
            tokens = before.tokens.clone();
            prompt.append_tokens(self.llama.model().vocab(), before.text.len(), &mut tokens)?;
        } else {
            tokens = prompt.tokens()?;
        }
        Ok(Ready { transcript: Transcript { text: prompt.text().to_owned(), tokens }, went_on })
    }
}
