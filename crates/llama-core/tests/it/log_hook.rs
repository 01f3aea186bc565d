//! A log subscriber that calls a function with each line of llama.cpp's log.

use std::cell::Cell;

use tracing::{Event, Metadata, Subscriber, span};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Calls the function once for each line, but not for lines that are logged inside it.
pub(crate) struct LogHook(Box<dyn Fn() + Send + Sync>);

impl LogHook {
    pub(crate) fn new(hook: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Box::new(hook))
    }
}

impl Subscriber for LogHook {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "llama_cpp"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        if !INSIDE.replace(true) {
            (self.0)();
            INSIDE.set(false);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
