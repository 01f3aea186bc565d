//! Several answers to one prompt.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use llama_core::{Seed, Token};

use crate::branches::Branches;
use crate::clock::Clock;
use crate::error::{ErrorKind, ParameterProblem, Result};
use crate::event::{Event, FinishReason, Progress};
use crate::finish::{Finish, MemoryReport, Usage};
use crate::generate::{Completion, Generate, Parts, Wanted};
use crate::interrupt::Interrupt;
use crate::model::Llama;
use crate::sequence::Sequence;
use crate::when_full::WhenFull;

impl Generate {
    /// Begins `n` generations of this prompt, 1 to 256, that are computed together: the prompt once, and then a token of
    /// each at a time, for which the weights are read once. The first has the seed that was given or drawn, the second the
    /// next number, and so on, with 0 after `u32::MAX`: [`Finish::seed`] tells each.
    ///
    /// They have a context of their own, with room for the prompt and `n` answers: give
    /// [`max_tokens`](Self::max_tokens), or it is as large as `n` contexts. When the context is full they stop, or it is
    /// an error; the other choices of [`when_full`](Self::when_full) are refused, and so is
    /// [`checkpoint_at`](Self::checkpoint_at), since nothing goes back in their memory. Events of
    /// [`progress`](Self::progress) come with the number 0.
    ///
    /// They are the texts of `n` single generations with these seeds, as far as tokens that are computed together have
    /// the same results as alone: the last bits of logits may differ.
    ///
    /// ```
    /// use llama_gen::Llama;
    ///
    /// # fn main() -> Result<(), llama_gen::Error> {
    /// # let path = test_models::Tiny::Llama.path();
    /// let llm = Llama::load(path)?;
    /// let three = llm.generate("Once upon a time").max_tokens(8).seed(1).completions(3)?.complete()?;
    /// assert_eq!(three.len(), 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`stream`](Self::stream), and [`ErrorKind::InvalidParameters`] for another number of them.
    pub fn completions(self, n: usize) -> Result<Completions> {
        Completions::start(self, n)
    }
}

/// Several generations of one prompt: an iterator over their events, each with the number of its generation. Each ends
/// with its own [`Event::Finish`]; after an error there is nothing more. Made by [`Generate::completions`].
#[derive(Debug)]
pub struct Completions {
    llama: Llama,
    prompt: Arc<[Token]>,
    /// How many tokens of the prompt have been computed.
    done: usize,
    answers: Vec<Answer>,
    /// `None` when all have ended.
    branches: Option<Branches>,
    events: VecDeque<(usize, Event)>,
    wanted: Wanted,
    fails_when_full: bool,
    likeliest: Vec<(Token, f32)>,
}

/// One of the generations.
#[derive(Debug)]
struct Answer {
    sequence: Sequence,
    /// The token that was chosen last, and its place.
    last: Option<(Token, usize)>,
    usage: Usage,
    clock: Clock,
    is_running: bool,
}

impl Completions {
    fn start(generate: Generate, n: usize) -> Result<Self> {
        let start = Instant::now();
        if !(1..=256).contains(&n) {
            return Err(ParameterProblem::new("completions", n, "from 1 to 256").into());
        }
        generate.params.validate()?;
        let interrupt = Interrupt::begun(&generate, start);
        let prompt = generate.tokenize(&interrupt)?;
        let prompt_tokens = prompt.count();
        let prompt = prompt.tokens;
        let branches = Branches::new(&generate, &interrupt, n, prompt.len())?;
        let seed = Seed::from(generate.params.sampling.seed).number();
        let answers = (0..n).map(|index| Answer::new(&generate, seed, index, &prompt, start));
        let mut answers = answers.collect::<Result<Vec<_>>>()?;
        if prompt_tokens == 0 {
            answers.iter_mut().for_each(|answer| answer.usage = Usage::default());
        }
        let Generate { llama, wanted, when_full, .. } = generate;
        Ok(Self {
            llama,
            prompt: prompt[..prompt_tokens].into(),
            done: 0,
            answers,
            branches: Some(branches),
            events: VecDeque::new(),
            wanted,
            fails_when_full: matches!(when_full, WhenFull::Error),
            likeliest: Vec::new(),
        })
    }

    /// Runs all to their ends and returns them in the order of their numbers, each with its tokens.
    ///
    /// # Errors
    ///
    /// What an event may bring. [`ErrorKind::InvalidParameters`] for [`progress`](Generate::progress), which only events
    /// tell.
    pub fn complete(self) -> Result<Vec<Completion>> {
        let prompt = Arc::clone(&self.prompt);
        let mut parts = vec![(Parts::default(), None); self.answers.len()];
        for event in self.collected()? {
            let (index, event) = event?;
            let (part, finish) = &mut parts[index];
            *finish = part.take(event).or(finish.take());
        }
        let whole = |(part, finish): (Parts, Option<Finish>)| Some(part.whole(&prompt, finish?));
        Ok(parts.into_iter().filter_map(whole).collect())
    }

    /// These generations with the events that completions are made of.
    fn collected(mut self) -> Result<Self> {
        if self.wanted.progress {
            let expected = "false for `complete`, which returns no events: iterate over the completions";
            return Err(ParameterProblem::new("progress", true, expected).into());
        }
        self.wanted.tokens = true;
        Ok(self)
    }

    /// The tokens of the prompt, special ones included.
    #[must_use]
    pub fn prompt(&self) -> &[Token] {
        &self.prompt
    }

    /// Goes on by a part of the prompt, or by a token of each.
    fn work(&mut self, branches: &mut Branches) -> Result<()> {
        self.running().for_each(|(_, answer)| answer.clock.resume());
        let result = if self.done < self.prompt.len() { self.begin(branches) } else { self.step(branches) };
        self.answers.iter_mut().for_each(|answer| answer.clock.pause());
        if let Some(reason) = result? {
            for index in self.indices() {
                self.end_early(branches, index, reason.clone());
            }
        }
        Ok(())
    }

    fn running(&mut self) -> impl Iterator<Item = (usize, &mut Answer)> {
        self.answers.iter_mut().enumerate().filter(|(_, answer)| answer.is_running)
    }

    /// The numbers of those that have not ended.
    fn indices(&mut self) -> Vec<usize> {
        self.running().map(|(index, _)| index).collect()
    }

    /// Computes a part of the prompt and, after the last one, chooses the first token of each. `Some` when that was
    /// interrupted.
    fn begin(&mut self, branches: &mut Branches) -> Result<Option<FinishReason>> {
        let start = Instant::now();
        let prompt = Arc::clone(&self.prompt);
        if let Some(reason) = branches.prompt_part(&prompt, &mut self.done)? {
            return Ok(Some(reason));
        }
        branches.context().synchronize()?;
        self.answers.iter_mut().for_each(|answer| answer.clock.add_prompt(start.elapsed()));
        if self.wanted.progress {
            let progress = Progress { done: self.done, total: prompt.len() };
            self.events.push_back((0, Event::Progress(progress)));
        }
        if self.done < prompt.len() {
            return Ok(None);
        }
        for index in self.indices() {
            if index > 0 {
                branches.share(0, index)?;
            }
        }
        let mut ended = Vec::new();
        for index in self.indices() {
            let finish = self.choose(branches, index, None, prompt.len())?;
            ended.extend(finish.map(|reason| (index, reason)));
        }
        self.end(branches, ended)?;
        Ok(None)
    }

    /// Computes and chooses a token of each. `Some` when that was interrupted.
    fn step(&mut self, branches: &mut Branches) -> Result<Option<FinishReason>> {
        if let Some(reason) = branches.interrupted() {
            return Ok(Some(reason));
        }
        let n_ctx = branches.n_ctx();
        for index in self.indices() {
            if self.answers[index].last.is_some_and(|(_, place)| place >= n_ctx) {
                if self.fails_when_full {
                    return Err(ErrorKind::ContextFull { n_ctx }.into());
                }
                self.end_early(branches, index, FinishReason::ContextFull);
            }
        }
        let tokens: Vec<_> = self
            .running()
            .filter_map(|(index, answer)| answer.last.map(|(token, place)| (index, place, token)))
            .collect();
        if tokens.is_empty() {
            return Ok(None);
        }
        if let Some(reason) = branches.decode(tokens.iter().copied())? {
            return Ok(Some(reason));
        }
        let mut ended = Vec::new();
        for (row, (index, place, _)) in tokens.into_iter().enumerate() {
            let finish = self.choose(branches, index, Some(row), place + 1)?;
            ended.extend(finish.map(|reason| (index, reason)));
        }
        self.end(branches, ended)?;
        Ok(None)
    }

    /// Chooses the next token of a generation from a row of results, the prompt's without, and makes its events. `Some`
    /// when it was the last.
    fn choose(
        &mut self,
        branches: &mut Branches,
        index: usize,
        row: Option<usize>,
        place: usize,
    ) -> Result<Option<FinishReason>> {
        let logits = match row {
            Some(row) => branches.logits(row)?,
            None => branches.prompt_logits()?,
        };
        let answer = &mut self.answers[index];
        let before = Instant::now();
        let token = answer.sequence.choose(&logits)?;
        answer.clock.chosen(before);
        if self.wanted.describes_tokens() {
            let before = Instant::now();
            let event = self.wanted.describe(&self.llama, &logits, token, &mut self.likeliest)?;
            self.events.push_back((index, Event::Token(event)));
            answer.clock.described(self.wanted, before);
        }
        let step = answer.sequence.step(self.llama.model().vocab(), self.llama.tokenizer(), token)?;
        self.events.extend(step.text.map(|text| (index, Event::Text(text))));
        answer.last = Some((token, place));
        Ok(step.finish)
    }

    /// Ends generations by their own reasons, and makes room for the others.
    fn end(&mut self, branches: &mut Branches, ended: Vec<(usize, FinishReason)>) -> Result<()> {
        for (index, reason) in ended {
            branches.forget(index)?;
            self.finish(branches, index, reason);
        }
        Ok(())
    }

    /// Ends a generation by a reason from outside.
    fn end_early(&mut self, branches: &mut Branches, index: usize, reason: FinishReason) {
        let rest = self.answers[index].sequence.flush();
        self.events.extend(rest.map(|text| (index, Event::Text(text))));
        self.finish(branches, index, reason);
    }

    fn finish(&mut self, branches: &mut Branches, index: usize, reason: FinishReason) {
        let answer = &mut self.answers[index];
        answer.is_running = false;
        answer.clock.pause();
        answer.usage.completion_tokens = answer.sequence.n_generated();
        // A prebuilt library may not be able to tell.
        let devices = branches.context().memory_use().unwrap_or_default();
        let memory = MemoryReport { devices, checkpoints: 0 };
        let finish = Finish {
            reason,
            usage: answer.usage,
            timings: answer.clock.timings(),
            memory,
            seed: answer.sequence.seed(),
            shortened: Vec::new(),
        };
        self.events.push_back((index, Event::Finish(finish)));
    }
}

impl Answer {
    fn new(generate: &Generate, seed: u32, index: usize, prompt: &[Token], start: Instant) -> Result<Self> {
        let mut params = generate.params.clone();
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        params.sampling.seed = Some(seed.wrapping_add(number));
        let mut sequence = Sequence::new(&params, generate.llama.model(), generate.llama.tokenizer())?;
        sequence.stop_when(generate.criterion.clone());
        sequence.show(generate.shown.clone());
        sequence.accept_prompt(prompt)?;
        let prompt_tokens = prompt.len();
        let (reused_tokens, evaluated_tokens) =
            if index == 0 { (0, prompt_tokens) } else { (prompt_tokens, 0) };
        let usage = Usage { prompt_tokens, reused_tokens, evaluated_tokens, completion_tokens: 0 };
        Ok(Self { sequence, last: None, usage, clock: Clock::started(start), is_running: true })
    }
}

impl Iterator for Completions {
    type Item = Result<(usize, Event)>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.events.is_empty() {
            let mut branches = self.branches.take()?;
            if let Err(error) = self.work(&mut branches) {
                return Some(Err(error));
            }
            if self.answers.iter().any(|answer| answer.is_running) {
                self.branches = Some(branches);
            }
        }
        self.events.pop_front().map(Ok)
    }
}
