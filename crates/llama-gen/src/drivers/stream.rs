//! The asynchronous driver: a generation on a thread of its own, which sleeps while nobody takes its events.

use core::any::Any;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::panic::resume_unwind;
use std::process;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use flume::r#async::RecvStream;
use futures_core::Stream;
use llama_core::Token;

use crate::cancel::CancelToken;
use crate::error::{ErrorKind, Result};
use crate::event::Event;
use crate::generation_builder::GenerationBuilder;

/// How many events the generation may be ahead of whoever takes them.
const AHEAD: usize = 16;

/// A running generation: an asynchronous stream of its events, for any runtime. The last event is
/// [`Event::Finish`], or an error. Made by [`GenerationBuilder::stream_async`].
///
/// The generation runs on a thread of its own, at most a few events ahead; then the thread sleeps.
///
/// Dropping the stream cancels the generation and waits for its thread, so that the context is there for the next one, and
/// nothing computes any more when a program ends. On the CPU that takes as long as the operation that is being computed, a
/// millisecond or so; on other devices as long as a token or, while the prompt is read, a part of `n_ubatch` tokens; and
/// until a [`Compactor`](crate::Compactor) is done.
///
/// In a forked child of the process, which does not have that thread, a stream of the parent yields one error,
/// [`Forked`](llama_core::ErrorKind::Forked), and dropping it does nothing.
#[derive(Debug)]
#[must_use = "dropping it cancels the generation"]
pub struct EventStream {
    events: Events,
    /// Cancelled when nobody wants the events any more.
    dropped: CancelToken,
    /// Set when the generation has begun.
    prompt: Arc<OnceLock<Arc<[Token]>>>,
    /// `None` once it has been waited for.
    worker: Option<JoinHandle<()>>,
    /// The process that has the thread.
    process: u32,
}

/// The receiving end, which has no `Debug` of its own.
struct Events(RecvStream<'static, Result<Event>>);

impl core::fmt::Debug for Events {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl EventStream {
    pub(crate) fn start(mut builder: GenerationBuilder) -> Result<Self> {
        builder.request.params.validate()?;
        let dropped = CancelToken::new();
        builder.request.interrupt.dropped = Some(dropped.clone());
        let (sender, receiver) = flume::bounded(AHEAD);
        // The thread's log goes where the caller's goes, and its span belongs to the caller's.
        let (dispatch, span) = (tracing::dispatcher::get_default(Clone::clone), tracing::Span::current());
        let prompt = Arc::default();
        let told = Arc::clone(&prompt);
        let work = move || {
            tracing::dispatcher::with_default(&dispatch, || {
                span.in_scope(|| drive(builder, &told, &sender));
            });
        };
        let worker = thread::Builder::new()
            .name("llama-gen".to_owned())
            .spawn(work)
            .map_err(|cause| ErrorKind::Thread { cause })?;
        let events = Events(receiver.into_stream());
        Ok(Self { events, dropped, prompt, worker: Some(worker), process: process::id() })
    }

    /// Returns the tokens of the prompt, special ones included, before [`WhenFull`](crate::WhenFull) has shortened it. `None`
    /// until the generation has begun, which it has when there is an event.
    #[must_use]
    pub fn prompt(&self) -> Option<&[Token]> {
        self.prompt.get().map(AsRef::as_ref)
    }

    /// Whether the thread belongs to another process, which has forked this one.
    fn is_forked(&self) -> bool {
        self.process != process::id()
    }

    /// Returns the only event in a forked process.
    fn forked(&mut self) -> Option<Result<Event>> {
        // It was the parent's: there is nothing to join here.
        core::mem::forget(self.worker.take()?);
        let reason = "the thread that generates is in the parent process: start a generation of this process";
        let (operation, reason) = ("streaming a generation", reason.to_owned());
        Some(Err(llama_core::Error::from(llama_core::ErrorKind::Forked { operation, reason }).into()))
    }

    /// Waits for the thread, which has nothing left to do. Returns its panic, if it has ended by one.
    fn join(&mut self) -> Option<Box<dyn Any + Send>> {
        self.worker.take()?.join().err()
    }
}

impl Stream for EventStream {
    type Item = Result<Event>;

    /// # Panics
    ///
    /// Goes on with a panic of the generation's thread: that of a [`Compactor`](crate::Compactor).
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_forked() {
            return Poll::Ready(self.forked());
        }
        let event = Pin::new(&mut self.events.0).poll_next(context);
        if matches!(event, Poll::Ready(None))
            && let Some(panic) = self.join()
        {
            resume_unwind(panic);
        }
        event
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        if self.is_forked() {
            core::mem::forget(self.worker.take());
            return;
        }
        self.dropped.cancel();
        // The thread may be waiting for room.
        self.events = Events(flume::bounded(0).1.into_stream());
        if self.join().is_some() {
            tracing::error!("the thread of a generation that was dropped has panicked");
        }
    }
}

/// Runs the generation and sends its events.
fn drive(builder: GenerationBuilder, prompt: &OnceLock<Arc<[Token]>>, sender: &flume::Sender<Result<Event>>) {
    match builder.stream() {
        Ok(mut events) => {
            prompt.get_or_init(|| events.shared_prompt());
            while events.next().is_some_and(|event| sender.send(event).is_ok()) {}
        }
        // Nobody listens who could be told of the error.
        Err(error) => drop(sender.send(Err(error))),
    }
}

#[cfg(test)]
mod tests {
    use core::task::Waker;

    use test_models::Tiny;

    use super::*;
    use crate::Llama;

    /// As a child of the process sees a stream: its thread is not there. Here it is, and is left alone.
    #[test]
    fn a_stream_of_another_process_yields_one_error_and_waits_for_nothing() {
        let llm = Llama::builder(Tiny::Llama.path()).n_ctx(256).n_threads(1).load().unwrap();
        let mut stream = llm.generate("x").max_tokens(4).ignore_eos(true).stream_async().unwrap();
        stream.process = stream.process.wrapping_add(1);
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(Err(error))) = Pin::new(&mut stream).poll_next(&mut context) else {
            panic!("no error")
        };
        assert_eq!(
            error.to_string(),
            "streaming a generation is not possible in a forked process: the thread that generates is in the parent \
             process: start a generation of this process"
        );
        assert!(matches!(Pin::new(&mut stream).poll_next(&mut context), Poll::Ready(None)));
        drop(stream);
    }
}
