//! An answer while it comes.

use std::collections::VecDeque;

use llama_core::Token;

use super::answer::{AnswerParser, Delta, ToolCallDelta};
use super::history::Transcript;
use super::message::Message;
use super::reply::Reply;
use super::session::{Chat, Ready};
use crate::drivers::Generator;
use crate::error::Result;
use crate::event::{ChosenToken, Event, FinishReason, Progress, Shortened};
use crate::finish::Finish;

/// One step of an answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ChatEvent {
    /// A part of the prompt has been computed. Only when [`Turn::progress`](super::Turn::progress) asks for it.
    Progress(Progress),
    /// The context was full, and [`WhenFull`](crate::WhenFull) has made room.
    Shortened(Shortened),
    /// More of what the model thinks.
    Reasoning(String),
    /// More of what it says.
    Text(String),
    /// A tool call, or more of one.
    ToolCall(ToolCallDelta),
    /// The end. It comes once, and last. The answer is part of the conversation now.
    Finish(Box<Reply>),
}

impl ChatEvent {
    /// The text of a text event; empty for others.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }
}

impl From<Delta> for ChatEvent {
    fn from(delta: Delta) -> Self {
        match delta {
            Delta::Reasoning(text) => Self::Reasoning(text),
            Delta::Content(text) => Self::Text(text),
            Delta::ToolCall(call) => Self::ToolCall(call),
        }
    }
}

/// A running turn: an iterator over its events. The last event is [`ChatEvent::Finish`], or an error.
///
/// When it is dropped before that, or ends with an error, the conversation is as it was before the turn. To end an answer
/// and keep what there is of it, cancel it: [`Turn::cancel_token`](super::Turn::cancel_token).
#[derive(Debug)]
pub struct ChatStream<'c> {
    chat: &'c mut Chat,
    messages: Vec<Message>,
    parser: AnswerParser,
    ready: Option<Ready>,
    generator: Generator,
    /// The tokens of the answer; `None` once the context was shortened.
    answer: Option<Vec<Token>>,
    tokens: Vec<ChosenToken>,
    events: VecDeque<ChatEvent>,
}

impl<'c> ChatStream<'c> {
    pub(super) fn new(
        chat: &'c mut Chat,
        messages: Vec<Message>,
        parser: AnswerParser,
        ready: Ready,
        generator: Generator,
    ) -> Self {
        let (answer, tokens) = (Some(Vec::new()), Vec::new());
        Self {
            chat,
            messages,
            parser,
            ready: Some(ready),
            generator,
            answer,
            tokens,
            events: VecDeque::new(),
        }
    }

    /// The tokens of the prompt, special ones included: the conversation as the model reads it.
    #[must_use]
    pub fn prompt(&self) -> &[Token] {
        self.generator.prompt()
    }

    fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Progress(progress) => self.events.push_back(ChatEvent::Progress(progress)),
            Event::Shortened(shortened) => {
                self.answer = None;
                self.events.push_back(ChatEvent::Shortened(shortened));
            }
            Event::Token(chosen) => {
                if let Some(answer) = &mut self.answer {
                    answer.push(chosen.token.id);
                }
                self.tokens.push(chosen);
            }
            Event::Text(text) => {
                let deltas = self.parser.push(&text.text);
                self.events.extend(deltas.into_iter().map(ChatEvent::from));
            }
            Event::Finish(finish) => {
                let reply = self.finish(finish)?;
                self.events.push_back(ChatEvent::Finish(Box::new(reply)));
            }
        }
        Ok(())
    }

    /// Reads the whole answer and makes the turn a part of the conversation.
    fn finish(&mut self, finish: Finish) -> Result<Reply> {
        let (answer, rest) = self.parser.finish();
        self.events.extend(rest.into_iter().map(ChatEvent::from));
        let mut answer = answer?;
        let problem = answer.problem.take();
        if let Some(problem) = &problem {
            tracing::warn!("there is a problem with an answer: {problem}");
        }
        let message = Message::from(answer);
        let mut messages = core::mem::take(&mut self.messages);
        messages.push(message.clone());
        if let Some(Ready { transcript, went_on }) = self.ready.take() {
            let transcript = self.with_answer(transcript, &finish.reason)?;
            self.chat.history.push(messages, transcript, went_on);
        }
        let mut reply = Reply::new(message, self.parser.text().to_owned(), finish, problem);
        reply.prompt = self.generator.prompt().to_vec();
        reply.tokens = core::mem::take(&mut self.tokens);
        Ok(reply)
    }

    /// The transcript with the tokens of the answer, without the one that ended it: the template has its own.
    fn with_answer(&mut self, transcript: Transcript, reason: &FinishReason) -> Result<Option<Transcript>> {
        let Some(mut answer) = self.answer.take() else { return Ok(None) };
        if let FinishReason::EndOfGeneration(end) | FinishReason::StopToken(end) = reason
            && answer.last() == Some(end)
        {
            answer.pop();
        }
        transcript.with_answer(self.chat.llama.model().vocab(), &answer)
    }
}

impl Iterator for ChatStream<'_> {
    type Item = Result<ChatEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.events.is_empty() {
            let event = match self.generator.next()? {
                Ok(event) => event,
                Err(error) => return Some(Err(error)),
            };
            if let Err(error) = self.take(event) {
                return Some(Err(error));
            }
        }
        self.events.pop_front().map(Ok)
    }
}
