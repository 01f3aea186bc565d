//! The blocking driver: one generation, on the caller's thread.

use std::sync::Arc;

use llama_core::Token;

use super::{Begun, now};
use crate::error::Result;
use crate::event::{Event, Shortened};
use crate::finish::MemoryReport;
use crate::generation::{Generation, Opening};
use crate::generation_builder::GenerationBuilder;
use crate::memory::{Lease, ONLY};
use crate::sequence::Sequence;
use crate::step::step;

/// A running generation: an iterator over its events. The last event is [`Event::Finish`], or an error. Dropping it
/// ends the generation.
#[derive(Debug)]
pub struct Generator {
    /// `None` once the generation has ended.
    board: Option<Lease>,
    generation: Generation,
    prompt: Arc<[Token]>,
}

impl Generator {
    pub(crate) fn start(builder: &GenerationBuilder) -> Result<Self> {
        let begun = Begun::new(builder)?;
        let GenerationBuilder { llama, request, pool } = builder;
        let (n_given, prompt) = (begun.prompt.count(), &begun.prompt.tokens);
        let text = Sequence::new(request, &request.params, prompt, llama.model(), llama.tokenizer())?;
        let cached = if request.cache_prompt { prompt.as_slice() } else { &[] };
        let mut board = pool.as_ref().unwrap_or(llama.idle()).take_with(cached, &request.adapters)?;
        let n_ctx = board.limits().n_ctx;
        request.when_full.check(board.cells(ONLY).shift_refusal(), n_ctx)?;
        if !request.cache_prompt {
            board.forget(ONLY)?;
        }
        let given: Arc<[Token]> = prompt[..n_given].into();
        let from = prompt.len();
        let prompt = request.when_full.shorten(prompt.clone(), n_ctx, llama.model().vocab())?;
        let to = prompt.len();
        begun.watch(&mut board)?;
        let opening = Opening {
            sequence: ONLY,
            n_reused: board.prepare(ONLY, &prompt)?,
            prompt,
            n_given,
            shortened: (to != from).then_some(Shortened { from, to }),
            took: begun.start.elapsed(),
        };
        let generation = Generation::new(llama, request, text, opening, begun.interrupt);
        Ok(Self { board: Some(board), generation, prompt: given })
    }

    /// Returns the tokens of the prompt, special ones included, before [`WhenFull`](crate::WhenFull) has shortened it.
    #[must_use]
    pub fn prompt(&self) -> &[Token] {
        &self.prompt
    }

    /// Returns the prompt for whoever keeps it longer than the generation.
    pub(crate) fn shared_prompt(&self) -> Arc<[Token]> {
        Arc::clone(&self.prompt)
    }
}

impl Iterator for Generator {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.generation.next_event() {
                return Some(Ok(event));
            }
            // It goes back to its pool unless it is put here again, also when a callback panics.
            let mut board = self.board.take()?;
            let ended = step(&mut board, core::slice::from_mut(&mut self.generation), &now);
            let Some(ended) = ended.into_iter().next() else {
                self.board = Some(board);
                continue;
            };
            match ended.result {
                Ok(reason) => {
                    let checkpoints = board.cells(ONLY).checkpoint_bytes();
                    let memory = MemoryReport { devices: board.memory_use(), checkpoints };
                    self.generation.finish(now(), reason, memory);
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
