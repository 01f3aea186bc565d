//! Several answers to one prompt.

use std::sync::Arc;

use llama_core::Token;
use llama_core::sampler::Seed;

use super::{Begun, now};
use crate::completion::{Completion, Parts};
use crate::error::{Error, ParameterProblem, Result};
use crate::event::{Event, FinishReason};
use crate::finish::{Finish, MemoryReport};
use crate::generation::{Generation, Opening};
use crate::generation_builder::GenerationBuilder;
use crate::memory::Board;
use crate::sequence::Sequence;
use crate::step::{Member as _, step};

/// Several generations of one prompt: an iterator over their events, each with the number of its generation. Each ends
/// with its own [`Event::Finish`]; after an error there is nothing more. Made by
/// [`GenerationBuilder::completions`].
#[derive(Debug)]
pub struct Completions {
    prompt: Arc<[Token]>,
    generations: Vec<Generation>,
    /// `None` when all have ended.
    board: Option<Board>,
    /// The error that comes after all events.
    error: Option<Error>,
}

impl Completions {
    pub(crate) fn start(builder: &GenerationBuilder, n: usize) -> Result<Self> {
        if !(1..=256).contains(&n) {
            return Err(ParameterProblem::new("completions", n, "from 1 to 256").into());
        }
        let begun = Begun::new(builder)?;
        let board = begun.shared_board(builder, n)?;
        let seed = Seed::from(builder.request.params.sampling.seed).number();
        let generation = |index| {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            generation(builder, &begun, index, seed.wrapping_add(number))
        };
        let generations = (0..n).map(generation).collect::<Result<_>>()?;
        let prompt = begun.prompt.tokens[..begun.prompt.count()].into();
        Ok(Self { prompt, generations, board: Some(board), error: None })
    }

    /// Runs all generations to their ends and returns them in the order of their numbers, each with its tokens.
    ///
    /// # Errors
    ///
    /// The errors of the events. [`ErrorKind::InvalidParameters`](crate::ErrorKind::InvalidParameters) for
    /// [`progress`](GenerationBuilder::progress), which only events tell.
    pub fn complete(mut self) -> Result<Vec<Completion>> {
        for generation in &mut self.generations {
            let way_out = "iterate over the completions";
            generation.wanted = generation.wanted.collected(way_out)?;
        }
        let prompt = Arc::clone(&self.prompt);
        let mut parts = vec![(Parts::default(), None); self.generations.len()];
        for event in self {
            let (index, event) = event?;
            let (part, finish) = &mut parts[index];
            *finish = part.take(event).or(finish.take());
        }
        let whole = |(part, finish): (Parts, Option<Finish>)| Some(part.whole(&prompt, finish?));
        Ok(parts.into_iter().filter_map(whole).collect())
    }

    /// Returns the tokens of the prompt, special ones included.
    #[must_use]
    pub fn prompt(&self) -> &[Token] {
        &self.prompt
    }

    fn next_event(&mut self) -> Option<(usize, Event)> {
        let mut generations = self.generations.iter_mut().enumerate();
        generations.find_map(|(index, generation)| Some((index, generation.next_event()?)))
    }

    /// Makes all go on by a part of the prompt or by a token.
    fn work(&mut self, board: &mut Board) -> Result<()> {
        for ended in step(board, &mut self.generations, &now) {
            self.finish(board, ended.member, ended.result?)?;
        }
        Ok(())
    }

    /// Ends a generation and makes room for the others.
    fn finish(&mut self, board: &mut Board, index: usize, reason: FinishReason) -> Result<()> {
        board.forget(index)?;
        let memory = MemoryReport { devices: board.memory_use(), checkpoints: 0 };
        self.generations[index].finish(now(), reason, memory);
        Ok(())
    }
}

/// Creates one of the generations. All but the first leave the prompt to the first.
fn generation(builder: &GenerationBuilder, begun: &Begun, index: usize, seed: u32) -> Result<Generation> {
    let GenerationBuilder { llama, request, .. } = builder;
    let mut params = request.params.clone();
    params.sampling.seed = Some(seed);
    let prompt = begun.prompt.tokens.clone();
    let text = Sequence::new(request, &params, &prompt, llama.model(), llama.tokenizer())?;
    let n_given = begun.prompt.count();
    let took = begun.start.elapsed();
    let opening = Opening { sequence: index, prompt, n_reused: 0, n_given, shortened: None, took };
    let mut generation = Generation::new(llama, request, text, opening, begun.interrupt.clone());
    if index > 0 {
        generation.follow(0);
    }
    Ok(generation)
}

impl Iterator for Completions {
    type Item = Result<(usize, Event)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.next_event() {
                return Some(Ok(event));
            }
            if let Some(error) = self.error.take() {
                return Some(Err(error));
            }
            let mut board = self.board.take()?;
            self.error = self.work(&mut board).err();
            if self.error.is_none() && self.generations.iter().any(Generation::is_running) {
                self.board = Some(board);
            }
        }
    }
}
