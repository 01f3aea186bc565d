//! Beam search: the likeliest texts, looked for along several at once.

use core::cmp::Ordering;
use std::time::Instant;

use llama_core::{Logits, Model, Token};

use crate::branches::Branches;
use crate::detokenize::Detokenizer;
use crate::error::{ErrorKind, ParameterProblem, Result};
use crate::event::FinishReason;
use crate::generate::Generate;
use crate::interrupt::Interrupt;
use crate::sampler;
use crate::stop::StopMatcher;
use crate::when_full::WhenFull;

/// How [`Generate::beam_search`] searches.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BeamParams {
    /// How many texts are gone on with at once, 1 to 256, and how many are returned. Default: 4.
    pub width: usize,
    /// Texts are compared by the logarithm of their probability, divided by their number of tokens to this power: 0 is
    /// the likeliest text, which is a short one; above, longer ones are favoured. Default: 1.
    pub length_penalty: f32,
    /// Whether to end as soon as `width` texts have ended; otherwise when no other one can become better than these.
    /// Default: true.
    pub early_stopping: bool,
}

impl Default for BeamParams {
    fn default() -> Self {
        Self { width: 4, length_penalty: 1.0, early_stopping: true }
    }
}

impl BeamParams {
    /// See [`width`](Self::width).
    #[must_use]
    pub fn width(mut self, width: usize) -> Self {
        self.width = width;
        self
    }

    /// See [`length_penalty`](Self::length_penalty).
    #[must_use]
    pub fn length_penalty(mut self, penalty: f32) -> Self {
        self.length_penalty = penalty;
        self
    }

    /// See [`early_stopping`](Self::early_stopping).
    #[must_use]
    pub fn early_stopping(mut self, early: bool) -> Self {
        self.early_stopping = early;
        self
    }

    fn validate(&self) -> Result<()> {
        let mut problems = Vec::new();
        if !(1..=256).contains(&self.width) {
            problems.push(ParameterProblem::new("width", self.width, "from 1 to 256"));
        }
        if !(0.0..=100.0).contains(&self.length_penalty) {
            problems.push(ParameterProblem::new("length_penalty", self.length_penalty, "from 0 to 100"));
        }
        ParameterProblem::refuse(problems)
    }

    /// What texts are compared by.
    #[allow(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
    fn score(&self, log_probability: f64, n_tokens: usize) -> f64 {
        log_probability / (n_tokens.max(1) as f64).powf(f64::from(self.length_penalty))
    }
}

/// A text that beam search has found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Beam {
    /// The text.
    pub text: String,
    /// Its tokens, the one that ended it included.
    pub tokens: Vec<Token>,
    /// The natural logarithm of the probability of each token after those before it.
    pub token_log_probabilities: Vec<f32>,
    /// The natural logarithm of its probability: the sum of those of its tokens.
    pub log_probability: f64,
    /// What texts were compared by: see [`BeamParams::length_penalty`].
    pub score: f64,
    /// Why it ended.
    pub reason: FinishReason,
}

impl Generate {
    /// Searches for likely texts: goes on with the `width` best beginnings at once, each with every token, and returns as
    /// many texts, the best first, or fewer when there are no more. With a width of 1 it is the greedy text.
    ///
    /// Probabilities are the model's own, with `logit_bias` and `ignore_eos`. Every beam has its tokens and their
    /// log-probabilities.
    ///
    /// What cannot be done is refused: samplers, which choose by chance or change with what was chosen (a temperature of 0
    /// is what a beam search is), a seed, a grammar, a criterion of one's own, a repetition guard, alternatives to
    /// tokens, events of progress, and checkpoints.
    ///
    /// The texts share the memory of what they have in common, in a context of their own: see
    /// [`completions`](Self::completions).
    ///
    /// ```
    /// use llama_gen::{BeamParams, Llama};
    ///
    /// # fn main() -> Result<(), llama_gen::Error> {
    /// # let path = test_models::Tiny::Llama.path();
    /// let llm = Llama::load(path)?;
    /// let beams = llm.generate("Once upon a time").max_tokens(8).beam_search(&BeamParams::default().width(3))?;
    /// assert_eq!(beams.len(), 3);
    /// assert!(beams[0].score >= beams[1].score);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`complete`](Self::complete). A generation that was cancelled, or whose time is over, returns the best texts so
    /// far.
    pub fn beam_search(self, params: &BeamParams) -> Result<Vec<Beam>> {
        let start = Instant::now();
        params.validate()?;
        self.params.validate()?;
        self.check_for_beams()?;
        let interrupt = Interrupt::begun(&self, start);
        let prompt = self.tokenize(&interrupt)?.tokens;
        let branches = Branches::new(&self, &interrupt, params.width, prompt.len())?;
        let n_ctx = branches.n_ctx();
        let beams = Search::new(&self, params, branches, prompt.len())?.run(&prompt)?;
        let is_full = beams.iter().any(|beam| beam.reason == FinishReason::ContextFull);
        if is_full && matches!(self.when_full, WhenFull::Error) {
            return Err(ErrorKind::ContextFull { n_ctx }.into());
        }
        Ok(beams)
    }

    /// Refuses what was asked for and beam search does not do.
    fn check_for_beams(&self) -> Result<()> {
        let sampling = &self.params.sampling;
        let is_greedy = sampling.temperature == Some(0.0);
        let is_used = |name: &str| match name {
            "logit_bias" => true,
            "temperature" => is_greedy,
            _ => false,
        };
        let refused = sampling.set_names().into_iter().filter(|name| !is_used(name));
        let others = [
            ("stop_when", self.criterion.is_some()),
            ("repetition_guard", self.params.repetition_guard.is_some()),
            ("progress", self.wanted.progress),
        ];
        let others = others.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name);
        let expected = "left out of a beam search: use `complete` or `completions` with it";
        let problems = refused.chain(others).map(|name| ParameterProblem::new(name, "set", expected));
        let alternatives = self.wanted.alternatives.filter(|n| *n > 0);
        let alternatives =
            alternatives.map(|n| ParameterProblem::new("log_probabilities", n, "0 in a beam search"));
        ParameterProblem::refuse(problems.chain(alternatives).collect())
    }
}

/// A beginning of a text that is gone on with.
#[derive(Clone, Debug)]
struct Live {
    /// Its sequence.
    branch: usize,
    tokens: Vec<Token>,
    token_log_probabilities: Vec<f32>,
    log_probability: f64,
    detokenizer: Detokenizer,
    stop: StopMatcher,
    text: String,
}

/// A beginning with one more token.
struct Candidate {
    /// Which of the beginnings.
    parent: usize,
    token: Token,
    /// The token's own, and that of the whole.
    of_token: f32,
    log_probability: f64,
}

struct Search<'g> {
    generate: &'g Generate,
    params: &'g BeamParams,
    branches: Branches,
    /// What is added to logits.
    biases: Vec<(Token, f32)>,
    /// The most tokens of a text, and why it ends then.
    most: usize,
    at_most: FinishReason,
    /// How many of the likeliest tokens of each beginning are looked at: enough when all that end a text are among them.
    n_candidates: usize,
    n_prompt: usize,
    live: Vec<Live>,
    ended: Vec<Beam>,
    row: Vec<f32>,
    top: Vec<(Token, f32)>,
}

impl<'g> Search<'g> {
    fn new(
        generate: &'g Generate,
        params: &'g BeamParams,
        branches: Branches,
        n_prompt: usize,
    ) -> Result<Self> {
        let (llama, wanted) = (&generate.llama, &generate.params);
        let sampling = wanted.sampling.resolve(llama.model())?;
        let biases = sampler::biases(&sampling, llama.model(), llama.tokenizer(), wanted.ignore_eos)?;
        // The last token is chosen by the results of the one that fills the context.
        let room = branches.n_ctx() - n_prompt + 1;
        let wanted_most = wanted.max_tokens.map_or(usize::MAX, |tokens| tokens as usize);
        let at_most = if wanted_most <= room { FinishReason::MaxTokens } else { FinishReason::ContextFull };
        let first = Live {
            branch: 0,
            tokens: Vec::new(),
            token_log_probabilities: Vec::new(),
            log_probability: 0.0,
            detokenizer: Detokenizer::default(),
            stop: StopMatcher::new(&wanted.stop),
            text: String::new(),
        };
        let n_vocab = i32::try_from(llama.model().vocab().n_tokens()).unwrap_or(i32::MAX);
        let ends = |token: Token| llama.model().vocab().is_eog(token) || wanted.stop_tokens.contains(&token);
        let n_ends = (0..n_vocab).map(Token::new).filter(|token| ends(*token)).count();
        Ok(Self {
            generate,
            params,
            branches,
            biases,
            most: wanted_most.min(room),
            at_most,
            n_candidates: params.width + n_ends,
            n_prompt,
            live: vec![first],
            ended: Vec::new(),
            row: Vec::new(),
            top: Vec::new(),
        })
    }

    fn run(mut self, prompt: &[Token]) -> Result<Vec<Beam>> {
        if let Some(reason) = self.branches.prompt(prompt)? {
            return Ok(self.finish(&reason));
        }
        let mut candidates = Vec::new();
        self.add_candidates(&mut candidates, 0, None)?;
        loop {
            self.choose(candidates)?;
            if self.is_done() {
                let reason = self.at_most.clone();
                return Ok(self.finish(&reason));
            }
            let n_prompt = self.n_prompt;
            let place = |live: &Live| n_prompt + live.tokens.len() - 1;
            let tokens = self
                .live
                .iter()
                .filter_map(|live| live.tokens.last().map(|token| (live.branch, place(live), *token)));
            if let Some(reason) = self.branches.decode(tokens)? {
                return Ok(self.finish(&reason));
            }
            candidates = Vec::new();
            for parent in 0..self.live.len() {
                self.add_candidates(&mut candidates, parent, Some(parent))?;
            }
        }
    }

    /// Adds what a beginning may go on with.
    fn add_candidates(
        &mut self,
        candidates: &mut Vec<Candidate>,
        parent: usize,
        row: Option<usize>,
    ) -> Result<()> {
        let logits = match row {
            Some(row) => self.branches.logits(row)?,
            None => self.branches.prompt_logits()?,
        };
        let k = self.n_candidates;
        if self.biases.is_empty() {
            logits.top_k(k, &mut self.top);
        } else {
            self.row.clear();
            self.row.extend_from_slice(&logits);
            for (token, bias) in &self.biases {
                let logit = usize::try_from(token.get()).ok().and_then(|index| self.row.get_mut(index));
                logit.into_iter().for_each(|logit| *logit += bias);
            }
            Logits::from_slice(&self.row).top_k(k, &mut self.top);
        }
        let before = self.live[parent].log_probability;
        // What is forbidden is no text.
        let possible = self.top.iter().filter(|(_, log_probability)| *log_probability > f32::NEG_INFINITY);
        candidates.extend(possible.map(|(token, log_probability)| Candidate {
            parent,
            token: *token,
            of_token: *log_probability,
            log_probability: before + f64::from(*log_probability),
        }));
        Ok(())
    }

    /// Takes the best candidates: those that end a text, while they are among the first `width`, and as many others as
    /// are gone on with.
    fn choose(&mut self, mut candidates: Vec<Candidate>) -> Result<()> {
        candidates.sort_by(|left, right| {
            let likelier = right.log_probability.partial_cmp(&left.log_probability);
            likelier
                .unwrap_or(Ordering::Equal)
                .then_with(|| (left.parent, left.token).cmp(&(right.parent, right.token)))
        });
        let mut next: Vec<(usize, Live)> = Vec::new();
        for (rank, candidate) in candidates.into_iter().enumerate() {
            if next.len() == self.params.width {
                break;
            }
            let mut live = self.live[candidate.parent].clone();
            let reason = live.push(&candidate, self.generate)?;
            match reason {
                None => next.push((candidate.parent, live)),
                Some(reason) if rank < self.params.width => self.end(live, reason),
                Some(_) => {}
            }
        }
        self.ended.sort_by(|left, right| right.score.partial_cmp(&left.score).unwrap_or(Ordering::Equal));
        self.ended.truncate(self.params.width);
        self.place(next)
    }

    fn end(&mut self, live: Live, reason: FinishReason) {
        let Live { tokens, token_log_probabilities, log_probability, text, .. } = live;
        let score = self.params.score(log_probability, tokens.len());
        self.ended.push(Beam { text, tokens, token_log_probabilities, log_probability, score, reason });
    }

    /// Gives every beginning a sequence that holds what it goes on from: the first of each parent has its parent's, the
    /// others have those that nobody goes on from.
    fn place(&mut self, next: Vec<(usize, Live)>) -> Result<()> {
        let used: Vec<usize> = next.iter().map(|(parent, _)| self.live[*parent].branch).collect();
        let mut free = (0..self.params.width).filter(|branch| !used.contains(branch));
        let mut taken = Vec::new();
        self.live.clear();
        for (mut live, from) in next.into_iter().map(|(_, live)| live).zip(used.iter().copied()) {
            live.branch = from;
            if taken.contains(&from) {
                // There are as many sequences as beginnings.
                let Some(to) = free.next() else { break };
                self.branches.forget(to)?;
                self.branches.share(from, to)?;
                live.branch = to;
            }
            taken.push(live.branch);
            self.live.push(live);
        }
        // Others are gone.
        for branch in free {
            self.branches.forget(branch)?;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let length = self.live.first().map_or(self.most, |live| live.tokens.len());
        if length >= self.most {
            return true;
        }
        let Some(worst) = self.ended.last().filter(|_| self.ended.len() == self.params.width) else {
            return false;
        };
        // A logarithm of a probability only falls, and is divided by the most for the longest text.
        let longest = if self.params.length_penalty > 0.0 { self.most } else { length };
        let best = self.live.iter().map(|live| self.params.score(live.log_probability, longest));
        self.params.early_stopping || best.fold(f64::NEG_INFINITY, f64::max) <= worst.score
    }

    /// The best texts; those that have not ended, end by this reason.
    fn finish(mut self, reason: &FinishReason) -> Vec<Beam> {
        let width = self.params.width;
        let is_at_most = self.live.iter().any(|live| live.tokens.len() >= self.most);
        // Texts that are gone on with count when there is no going on, and where too few have ended.
        if is_at_most || self.ended.len() < width {
            for mut live in core::mem::take(&mut self.live) {
                live.flush();
                self.end(live, reason.clone());
            }
        }
        self.ended.sort_by(|left, right| right.score.partial_cmp(&left.score).unwrap_or(Ordering::Equal));
        self.ended.truncate(width);
        self.ended
    }
}

impl Live {
    /// Takes a token; `Some` when it ends the text.
    fn push(&mut self, candidate: &Candidate, generate: &Generate) -> Result<Option<FinishReason>> {
        let token = candidate.token;
        self.tokens.push(token);
        self.token_log_probabilities.push(candidate.of_token);
        self.log_probability = candidate.log_probability;
        let (params, llama) = (&generate.params, &generate.llama);
        let is_end = |model: &Model| !params.ignore_eos && model.vocab().is_eog(token);
        let reason = if is_end(llama.model()) {
            Some(FinishReason::EndOfGeneration(token))
        } else {
            params.stop_tokens.contains(&token).then_some(FinishReason::StopToken(token))
        };
        if reason.is_some() {
            self.flush();
            return Ok(reason);
        }
        let is_shown = generate.shown.contains(&token);
        llama.tokenizer().append_token_bytes(token, is_shown, self.detokenizer.buffer())?;
        let mut text = String::new();
        self.detokenizer.take(&mut text);
        let stop = self.stop.push(&text, &mut self.text);
        Ok(stop.map(|stop| FinishReason::StopString(stop.to_owned())))
    }

    /// Shows what was kept back.
    fn flush(&mut self) {
        let mut text = String::new();
        self.detokenizer.finish(&mut text);
        if self.stop.push(&text, &mut self.text).is_none() {
            self.stop.finish(&mut self.text);
        }
    }
}
