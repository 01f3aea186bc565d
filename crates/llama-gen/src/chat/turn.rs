//! One turn before it begins.

use core::future::poll_fn;
use core::pin::Pin;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use futures_core::Stream as _;
use llama_core::Token;

use super::answering::{Answering, ChatEvent};
use super::message::Message;
use super::reply::Reply;
use super::session::Chat;
use super::stream::{ChatEventStream, ChatStream};
use crate::cancel::CancelToken;
use crate::error::{ErrorKind, ParameterProblem, Result};
use crate::generation_builder::GenerationBuilder;
use crate::params::GenerationParams;
use crate::when_full::WhenFull;

/// A turn of a conversation that has not begun yet. Created by [`Chat::turn`].
#[derive(Debug)]
#[must_use = "the turn does not begin until `stream` or `complete` is called"]
pub struct Turn<'c> {
    chat: &'c mut Chat,
    messages: Vec<Message>,
    params: Option<GenerationParams>,
    cancel: Option<CancelToken>,
    deadline: Option<Instant>,
    timeout: Option<Duration>,
    when_full: WhenFull,
    progress: bool,
    alternatives: Option<usize>,
}

impl<'c> Turn<'c> {
    pub(super) fn new(chat: &'c mut Chat, messages: Vec<Message>) -> Self {
        Self {
            chat,
            messages,
            params: None,
            cancel: None,
            deadline: None,
            timeout: None,
            when_full: WhenFull::default(),
            progress: false,
            alternatives: None,
        }
    }

    /// Sets the parameters of this turn, instead of the [conversation's](Chat::params). Parameters that an earlier call
    /// has set, and that are open here, stay set: see [`GenerationParams::or`].
    pub fn params(mut self, params: GenerationParams) -> Self {
        self.params = Some(match self.params {
            Some(before) => params.or(&before),
            None => params,
        });
        self
    }

    /// Lets `token` cancel the answer. The text up to then becomes part of the conversation.
    pub fn cancel_token(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// Ends the answer at this time.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Ends the answer when this time has passed since the turn began.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets what happens when the context is full. Default: the answer ends. [`WhenFull`] drops text from memory, and only
    /// for this turn: the messages stay, and the next turn begins with all of them.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Adds events for the progress of the prompt. Default: false.
    pub fn progress(mut self, progress: bool) -> Self {
        self.progress = progress;
        self
    }

    /// Adds log-probabilities to the tokens of the [reply](Reply::tokens), and for each the `alternatives` likeliest tokens
    /// at its position.
    pub fn log_probabilities(mut self, alternatives: usize) -> Self {
        self.alternatives = Some(alternatives);
        self
    }

    /// Returns the tokens of the prompt as the model would read it: the whole conversation with this turn, special tokens
    /// included.
    ///
    /// # Errors
    ///
    /// As [`stream`](Self::stream) for a conversation that cannot be rendered.
    pub fn prompt_tokens(&self) -> Result<Vec<Token>> {
        let prompt = self.chat.render(&self.messages, self.cancel.as_ref())?;
        Ok(self.chat.tokens(&prompt)?.transcript.tokens)
    }

    /// Begins the turn: renders the conversation and checks the parameters. The events are computed when they are asked
    /// for, on the thread that asks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Core`] for messages that the template refuses, [`ErrorKind::InvalidPrompt`] as
    /// [`ChatPrompt::tokens`](super::ChatPrompt::tokens), [`ErrorKind::PromptTooLong`] when the conversation is longer than
    /// the context, and as [`GenerationBuilder::stream`].
    pub fn stream(self) -> Result<ChatStream<'c>> {
        let (generate, answering) = self.begin()?;
        Ok(ChatStream::new(answering, generate.stream()?))
    }

    /// Begins the turn as [`stream`](Self::stream) does, for asynchronous code. The conversation is rendered here, on the
    /// calling thread; the events are computed on a thread of their own.
    ///
    /// ```
    /// use futures::{StreamExt as _, executor::block_on};
    ///
    /// # fn main() -> Result<(), llama_gen::Error> {
    /// # let llm = llama_gen::Llama::builder(test_models::smollm2()).n_ctx(512).load()?;
    /// let mut chat = llm.chat().max_tokens(8).start()?;
    /// block_on(async {
    ///     let mut events = chat.turn("Name a river.").stream_async()?;
    ///     while let Some(event) = events.next().await {
    ///         print!("{}", event?.text());
    ///     }
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// At once: errors of rendering and of [`GenerationBuilder::stream_async`]. Other errors of [`stream`](Self::stream) are the only
    /// item of the stream.
    pub fn stream_async(self) -> Result<ChatEventStream<'c>> {
        let (generate, answering) = self.begin()?;
        Ok(ChatEventStream::new(answering, generate.stream_async()?))
    }

    /// Runs the turn and returns the whole answer.
    ///
    /// # Errors
    ///
    /// As [`stream`](Self::stream), and the errors of its events. [`ErrorKind::InvalidParameters`] for
    /// [`progress`](Self::progress), which needs events.
    pub fn complete(self) -> Result<Reply> {
        self.check_without_events()?;
        for event in self.stream()? {
            if let ChatEvent::Finish(reply) = event? {
                return Ok(*reply);
            }
        }
        unreachable!("a turn without an error ends with a finish event")
    }

    /// Runs the turn as [`complete`](Self::complete) does, for asynchronous code. Dropping the future cancels the turn, and
    /// the conversation is as it was before.
    ///
    /// # Errors
    ///
    /// As [`complete`](Self::complete), and [`ErrorKind::Thread`].
    pub async fn complete_async(self) -> Result<Reply> {
        self.check_without_events()?;
        let mut events = self.stream_async()?;
        while let Some(event) = poll_fn(|context| Pin::new(&mut events).poll_next(context)).await {
            if let ChatEvent::Finish(reply) = event? {
                return Ok(*reply);
            }
        }
        unreachable!("a turn without an error ends with a finish event")
    }

    /// Refuses parameters that only have an effect on events.
    fn check_without_events(&self) -> Result<()> {
        if self.progress {
            let expected = "false for `complete`, which returns no events: use `stream` or `stream_async`";
            return Err(ParameterProblem::new("progress", true, expected).into());
        }
        Ok(())
    }

    /// Renders the conversation and describes the generation of the answer.
    fn begin(self) -> Result<(GenerationBuilder, Answering<'c>)> {
        if self.messages.is_empty() {
            let reason = "a turn has no messages, but must have at least one";
            return Err(ErrorKind::Chat { reason: reason.to_owned() }.into());
        }
        let chat = &*self.chat;
        let prompt = chat.render(&self.messages, self.cancel.as_ref())?;
        let ready = chat.tokens(&prompt)?;
        let mut generate = chat.llama.generate(ready.transcript.tokens.as_slice());
        let request = &mut generate.request;
        request.params = self.params.unwrap_or_else(|| chat.settings.params.clone());
        request.params.stop.extend_from_slice(prompt.stops());
        request.shown_tokens = prompt.shown_tokens()?;
        request.wanted.alternatives = self.alternatives;
        generate.pool = Some(Arc::clone(chat.memory.pool()));
        let generate = generate.tokens(true);
        let generate = generate.progress(self.progress).when_full(self.when_full);
        let generate = limited(generate, self.cancel.as_ref(), self.deadline, self.timeout);
        Ok((generate, Answering::new(self.chat, self.messages, prompt.parser(), ready)))
    }
}

fn limited(
    mut generate: GenerationBuilder,
    cancel: Option<&CancelToken>,
    deadline: Option<Instant>,
    timeout: Option<Duration>,
) -> GenerationBuilder {
    if let Some(token) = cancel {
        generate = generate.cancel_token(token);
    }
    if let Some(deadline) = deadline {
        generate = generate.deadline(deadline);
    }
    if let Some(timeout) = timeout {
        generate = generate.timeout(timeout);
    }
    generate
}
