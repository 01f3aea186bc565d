//! One turn before it begins.

use core::time::Duration;
use std::time::Instant;

use llama_core::Token;

use super::message::Message;
use super::reply::Reply;
use super::session::Chat;
use super::stream::{ChatEvent, ChatStream};
use crate::cancel::CancelToken;
use crate::error::{ErrorKind, ParameterProblem, Result};
use crate::generate::Generate;
use crate::params::GenerationParams;
use crate::when_full::WhenFull;

/// A turn of a conversation that has been described and not begun. Made by [`Chat::turn`].
#[derive(Debug)]
#[must_use = "nothing is said until `stream` or `complete` is called"]
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

    /// Other parameters than the conversation's, for this turn.
    pub fn params(mut self, params: GenerationParams) -> Self {
        self.params = Some(params);
        self
    }

    /// Lets `token` cancel the answer: what there is of it by then becomes part of the conversation.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// Ends the answer at this time.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Ends the answer that much later than the turn begins.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What happens when the context is full. Default: the answer ends. What [`WhenFull`] drops it drops from memory, for
    /// this turn: the messages stay, and the next turn begins with all of them.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Whether there are events of the prompt's progress. Default: no.
    pub fn progress(mut self, progress: bool) -> Self {
        self.progress = progress;
        self
    }

    /// Adds log-probabilities to the tokens of the [reply](Reply::tokens), and the `alternatives` likeliest tokens in the
    /// place of each.
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

    /// Begins: renders the conversation and checks the parameters. The events are computed as they are asked for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Core`] for messages that the template refuses, [`ErrorKind::InvalidPrompt`] as
    /// [`ChatPrompt::tokens`](super::ChatPrompt::tokens), [`ErrorKind::PromptTooLong`] when the conversation has become
    /// longer than the context, and as [`Generate::stream`].
    pub fn stream(self) -> Result<ChatStream<'c>> {
        if self.messages.is_empty() {
            return Err(ErrorKind::Chat { reason: "a turn needs at least one message".to_owned() }.into());
        }
        let chat = &*self.chat;
        let prompt = chat.render(&self.messages, self.cancel.as_ref())?;
        let ready = chat.tokens(&prompt)?;
        let mut generate = chat.llama.generate(ready.transcript.tokens.as_slice());
        generate.params = self.params.unwrap_or_else(|| chat.settings.params.clone());
        generate.params.stop.extend_from_slice(prompt.stops());
        generate.home = Some(chat.memory.home());
        generate.shown = prompt.shown_tokens()?;
        let mut generate = generate.tokens(true);
        generate.wanted.alternatives = self.alternatives;
        let generate = generate.progress(self.progress).when_full(self.when_full);
        let generate = limited(generate, self.cancel.as_ref(), self.deadline, self.timeout);
        Ok(ChatStream::new(self.chat, self.messages, prompt.parser(), ready, generate.stream()?))
    }

    /// Runs to the end of the answer.
    ///
    /// # Errors
    ///
    /// As [`stream`](Self::stream), and what an event may bring. [`ErrorKind::InvalidParameters`] for
    /// [`progress`](Self::progress), which only events tell.
    pub fn complete(self) -> Result<Reply> {
        if self.progress {
            let expected = "false for `complete`, which returns no events: use `stream`";
            return Err(ParameterProblem::new("progress", true, expected).into());
        }
        for event in self.stream()? {
            if let ChatEvent::Finish(reply) = event? {
                return Ok(*reply);
            }
        }
        unreachable!("a turn without an error ends with a finish event")
    }
}

fn limited(
    mut generate: Generate,
    cancel: Option<&CancelToken>,
    deadline: Option<Instant>,
    timeout: Option<Duration>,
) -> Generate {
    if let Some(token) = cancel {
        generate = generate.cancel(token);
    }
    if let Some(deadline) = deadline {
        generate = generate.deadline(deadline);
    }
    if let Some(timeout) = timeout {
        generate = generate.timeout(timeout);
    }
    generate
}
