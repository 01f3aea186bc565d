//! The part of a running turn that the blocking and the asynchronous stream share.

use std::collections::VecDeque;
use std::sync::Arc;

use llama_core::Token;
use serde::Serialize;

use super::answer::{AnswerParser, Delta, ToolCallDelta};
use super::history::Transcript;
use super::message::Message;
use super::reply::Reply;
use super::session::{Chat, Ready};
use crate::error::Result;
use crate::event::{ChosenToken, Event, FinishReason, Progress, Shortened};
use crate::finish::Finish;

/// One step of an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChatEvent {
    /// A part of the prompt has been decoded. Sent only if [`Turn::progress`](super::Turn::progress) is on.
    Progress(Progress),
    /// The context was full, and [`WhenFull`](crate::WhenFull) has made room.
    Shortened(Shortened),
    /// More of the model's reasoning.
    Reasoning(String),
    /// More of the answer's text.
    Text(String),
    /// A new tool call, or more of the last one.
    ToolCall(ToolCallDelta),
    /// The end: sent once, as the last event. The answer is now part of the conversation.
    Finish(Box<Reply>),
}

impl ChatEvent {
    /// Returns the text of a [`Text`](Self::Text) event, an empty text for other events.
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

/// A running turn: converts the events of its generation to chat events, and adds the finished turn to the conversation. It
/// has no generator and no thread.
#[derive(Debug)]
pub(super) struct Answering<'c> {
    chat: &'c mut Chat,
    messages: Vec<Message>,
    parser: AnswerParser,
    prompt: Arc<[Token]>,
    /// `None` once the turn is part of the conversation.
    ready: Option<Ready>,
    /// The tokens of the answer; `None` once the context was shortened.
    answer: Option<Vec<Token>>,
    tokens: Vec<ChosenToken>,
    events: VecDeque<ChatEvent>,
}

impl<'c> Answering<'c> {
    pub(super) fn new(
        chat: &'c mut Chat,
        messages: Vec<Message>,
        parser: AnswerParser,
        ready: Ready,
    ) -> Self {
        Self {
            chat,
            messages,
            parser,
            prompt: ready.transcript.tokens.as_slice().into(),
            ready: Some(ready),
            answer: Some(Vec::new()),
            tokens: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// Returns the tokens of the prompt.
    pub(super) fn prompt(&self) -> &[Token] {
        &self.prompt
    }

    /// Removes the oldest event that was not handed out yet.
    pub(super) fn next_event(&mut self) -> Option<ChatEvent> {
        self.events.pop_front()
    }

    /// Takes an event of the generation. The last one makes the turn part of the conversation.
    pub(super) fn take(&mut self, event: Event) -> Result<()> {
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

    /// Parses the whole answer and adds the turn to the conversation.
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
        reply.prompt = self.prompt.to_vec();
        reply.tokens = core::mem::take(&mut self.tokens);
        Ok(reply)
    }

    /// Appends the answer's tokens to the transcript, without the token that ended it: the template writes its own end.
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
