//! The two drivers of a turn: on the caller's thread, and on a thread of its own.

use core::pin::Pin;
use core::task::{Context, Poll, ready};

use futures_core::Stream;
use llama_core::Token;

use super::answering::{Answering, ChatEvent};
use crate::drivers::{EventStream, Generator};
use crate::error::Result;

/// A running turn: an iterator over its events, computed on the thread that asks for them. The last event is
/// [`ChatEvent::Finish`], or an error. Created by [`Turn::stream`](super::Turn::stream).
///
/// If it is dropped before the last event, or ends with an error, the conversation is as it was before the turn. To end
/// an answer and keep what it has so far, cancel it: [`Turn::cancel_token`](super::Turn::cancel_token).
#[derive(Debug)]
pub struct ChatStream<'c> {
    answering: Answering<'c>,
    generator: Generator,
}

impl<'c> ChatStream<'c> {
    pub(super) fn new(answering: Answering<'c>, generator: Generator) -> Self {
        Self { answering, generator }
    }

    /// Returns the tokens of the prompt, special ones included: the conversation as the model reads it.
    #[must_use]
    pub fn prompt(&self) -> &[Token] {
        self.answering.prompt()
    }
}

impl Iterator for ChatStream<'_> {
    type Item = Result<ChatEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.answering.next_event() {
                return Some(Ok(event));
            }
            let event = self.generator.next()?;
            if let Err(error) = event.and_then(|event| self.answering.take(event)) {
                return Some(Err(error));
            }
        }
    }
}

/// A running turn: an asynchronous stream of its events, for any runtime. The last event is [`ChatEvent::Finish`], or an
/// error. Created by [`Turn::stream_async`](super::Turn::stream_async).
///
/// The generation runs on a thread of its own, as that of an [`EventStream`] does. Dropping the stream cancels it and waits
/// for the thread. If it is dropped before the last event, or ends with an error, the conversation is as it was before the
/// turn. To end an answer and keep what it has so far, cancel it: [`Turn::cancel_token`](super::Turn::cancel_token).
#[derive(Debug)]
#[must_use = "dropping it cancels the answer"]
pub struct ChatEventStream<'c> {
    answering: Answering<'c>,
    events: EventStream,
}

impl<'c> ChatEventStream<'c> {
    pub(super) fn new(answering: Answering<'c>, events: EventStream) -> Self {
        Self { answering, events }
    }

    /// Returns the tokens of the prompt, special ones included: the conversation as the model reads it.
    #[must_use]
    pub fn prompt(&self) -> &[Token] {
        self.answering.prompt()
    }
}

impl Stream for ChatEventStream<'_> {
    type Item = Result<ChatEvent>;

    /// # Panics
    ///
    /// Resumes a panic of the generation's thread, as [`EventStream`] does.
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.answering.next_event() {
                return Poll::Ready(Some(Ok(event)));
            }
            let Some(event) = ready!(Pin::new(&mut self.events).poll_next(context)) else {
                return Poll::Ready(None);
            };
            if let Err(error) = event.and_then(|event| self.answering.take(event)) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}
