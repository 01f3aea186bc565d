//! A conversation with its memory.

use llama_core::Token;
use serde_json::Value;

use super::history::{History, Transcript};
use super::memory::ChatMemory;
use super::message::{Content, Message};
use super::prompt::ChatPrompt;
use super::reply::Reply;
use super::settings::Settings;
use super::stream::{ChatEventStream, ChatStream};
use super::template::ChatTemplate;
use super::turn::Turn;
use crate::cancel::CancelToken;
use crate::error::Result;
use crate::model::Llama;
use crate::params::GenerationParams;

/// A conversation with a model. Created by [`Llama::chat`].
///
/// It has a context of its own that keeps the conversation in memory, so that each turn decodes only its new part. Turns
/// can be undone and redone. A conversation can be copied, and saved to a file.
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
    pub(super) memory: ChatMemory,
}

/// A rendered and tokenised prompt.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) transcript: Transcript,
    /// Whether the prompt begins with the conversation's transcript.
    pub(super) went_on: bool,
}

impl Chat {
    pub(super) fn new(
        llama: Llama,
        template: ChatTemplate,
        settings: Settings,
        history: History,
        memory: ChatMemory,
    ) -> Self {
        Self { llama, template, settings, history, memory }
    }

    /// Sends a user message and returns the answer.
    ///
    /// # Errors
    ///
    /// As [`Turn::complete`]. The conversation is then as it was before.
    pub fn send(&mut self, content: impl Into<Content>) -> Result<Reply> {
        self.turn(content).complete()
    }

    /// Sends a user message as [`send`](Self::send) does, for asynchronous code. Dropping the future cancels the turn, and
    /// the conversation is as it was before.
    ///
    /// # Errors
    ///
    /// As [`Turn::complete_async`]. The conversation is then as it was before.
    pub async fn send_async(&mut self, content: impl Into<Content>) -> Result<Reply> {
        self.turn(content).complete_async().await
    }

    /// Sends a user message and returns an iterator over the events of the answer.
    ///
    /// # Errors
    ///
    /// As [`Turn::stream`].
    pub fn stream(&mut self, content: impl Into<Content>) -> Result<ChatStream<'_>> {
        self.turn(content).stream()
    }

    /// Sends a user message and returns an asynchronous stream of the events of the answer.
    ///
    /// # Errors
    ///
    /// As [`Turn::stream_async`].
    pub fn stream_async(&mut self, content: impl Into<Content>) -> Result<ChatEventStream<'_>> {
        self.turn(content).stream_async()
    }

    /// Creates a turn with a user message. Nothing is sent before [`Turn::stream`] or [`Turn::complete`].
    pub fn turn(&mut self, content: impl Into<Content>) -> Turn<'_> {
        self.turn_of([Message::user(content)])
    }

    /// Creates a turn with other messages: results of tools, or those of several speakers.
    pub fn turn_of(&mut self, messages: impl Into<Vec<Message>>) -> Turn<'_> {
        Turn::new(self, messages.into())
    }

    /// Returns the messages so far, without the system message.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.history.messages()
    }

    /// Returns the number of turns so far.
    #[must_use]
    pub fn n_turns(&self) -> usize {
        self.history.turns.len()
    }

    /// Undoes the last turn: its messages and its answer. Returns false when there is none.
    pub fn undo(&mut self) -> bool {
        self.history.undo()
    }

    /// Redoes the turn that was undone last, with its old answer. Returns false when there is none. A new turn discards the
    /// undone ones.
    pub fn redo(&mut self) -> bool {
        self.history.redo()
    }

    /// Returns the number of turns that [`redo`](Self::redo) can restore.
    #[must_use]
    pub fn n_undone(&self) -> usize {
        self.history.n_undone()
    }

    /// Copies the conversation, together with its memory, into a context of its own.
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

    /// Returns the system message.
    #[must_use]
    pub fn system(&self) -> Option<&str> {
        self.settings.system.as_deref()
    }

    /// Sets the system message. The next turn decodes the whole conversation again.
    pub fn set_system(&mut self, system: Option<String>) {
        self.settings.system = system;
    }

    /// Returns whether the model reasons before it answers, if it can.
    #[must_use]
    pub fn thinking(&self) -> bool {
        self.settings.thinking
    }

    /// Switches reasoning on or off, from the next turn on.
    pub fn set_thinking(&mut self, thinking: bool) {
        self.settings.thinking = thinking;
    }

    /// Sets a variable of the template, from the next turn on: see
    /// [`ChatRequest::template_arg`](super::ChatRequest::template_arg).
    pub fn set_template_arg(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.settings.template_args.insert(name.into(), value.into());
    }

    /// Returns the parameters that answers are generated with.
    #[must_use]
    pub fn params(&self) -> &GenerationParams {
        &self.settings.params
    }

    /// Mutable access to the parameters. Changes hold from the next turn on.
    #[must_use]
    pub fn params_mut(&mut self) -> &mut GenerationParams {
        &mut self.settings.params
    }

    /// Returns the template.
    #[must_use]
    pub fn template(&self) -> &ChatTemplate {
        &self.template
    }

    /// Returns the model.
    #[must_use]
    pub fn llama(&self) -> &Llama {
        &self.llama
    }

    /// Renders the conversation with further messages.
    pub(super) fn render(&self, messages: &[Message], cancel: Option<&CancelToken>) -> Result<ChatPrompt> {
        self.template.render_until(&self.settings.request(self.messages().chain(messages)), cancel)
    }

    /// Tokenises a prompt. A prompt that begins with the transcript keeps the transcript's tokens, which are in memory.
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
