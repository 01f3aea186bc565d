//! The search: which hypotheses are continued, and which texts are returned.

use core::cell::RefCell;
use core::cmp::Ordering;
use std::rc::Rc;

use llama_core::Token;

use super::hypothesis::{Hypothesis, Shared};
use super::{Beam, BeamParams};
use crate::drivers::{Begun, now};
use crate::error::Result;
use crate::event::FinishReason;
use crate::generation_builder::GenerationBuilder;
use crate::memory::Board;
use crate::sampler;
use crate::step::step;
use crate::text_state::TextState;

/// A hypothesis with one more token.
struct Candidate {
    /// The hypothesis that it continues.
    parent: usize,
    token: Token,
    of_token: f32,
    /// The log-probability of the whole.
    log_probability: f64,
}

pub(super) struct Search<'g> {
    params: &'g BeamParams,
    board: Board,
    /// The most tokens of a text, and why it ends then.
    most: usize,
    at_most: FinishReason,
    live: Vec<Hypothesis>,
    ended: Vec<Beam>,
}

impl<'g> Search<'g> {
    pub(super) fn new(
        builder: &GenerationBuilder,
        params: &'g BeamParams,
        begun: &Begun,
        board: Board,
    ) -> Result<Self> {
        let GenerationBuilder { llama, request, .. } = builder;
        let (wanted, vocab) = (&request.params, llama.model().vocab());
        let sampling = wanted.sampling.resolve(llama.model())?;
        let biases = sampler::biases(&sampling, llama.model(), llama.tokenizer(), wanted.ignore_eos)?;
        // The last token is chosen by the logits of the one that fills the context.
        let room = board.limits().n_ctx - begun.prompt.tokens.len() + 1;
        let wanted_most = wanted.max_tokens.map_or(usize::MAX, |tokens| tokens as usize);
        let at_most = if wanted_most <= room { FinishReason::MaxTokens } else { FinishReason::ContextFull };
        let state = TextState::new(wanted, &request.shown_tokens);
        let n_vocab = i32::try_from(vocab.n_tokens()).unwrap_or(i32::MAX);
        let n_ends = (0..n_vocab).filter(|id| state.end_reason(vocab, Token::new(*id)).is_some()).count();
        let shared = Shared {
            llama: llama.clone(),
            interrupt: begun.interrupt.clone(),
            biases,
            n_candidates: params.width + n_ends,
            row: RefCell::default(),
            span: tracing::info_span!(
                "beam_search",
                prompt_tokens = begun.prompt.count(),
                width = params.width
            ),
        };
        let first = Hypothesis::new(Rc::new(shared), begun.prompt.tokens.clone(), state);
        Ok(Self { params, board, most: wanted_most.min(room), at_most, live: vec![first], ended: Vec::new() })
    }

    pub(super) fn run(mut self) -> Result<Vec<Beam>> {
        loop {
            if let Some(reason) = self.compute()? {
                return Ok(self.finish(&reason));
            }
            self.choose()?;
            if self.is_done() {
                let reason = self.at_most.clone();
                return Ok(self.finish(&reason));
            }
        }
    }

    /// Computes the next tokens of all hypotheses. `Some` when that was interrupted.
    fn compute(&mut self) -> Result<Option<FinishReason>> {
        while !self.live.iter().all(|hypothesis| hypothesis.is_computed) {
            if let Some(ended) = step(&mut self.board, &mut self.live, &now).into_iter().next() {
                return ended.result.map(Some);
            }
        }
        Ok(None)
    }

    /// Takes the best candidates: those that end a text, while they are among the first `width`, and as many others as
    /// are continued.
    fn choose(&mut self) -> Result<()> {
        let mut next: Vec<(usize, Hypothesis)> = Vec::new();
        for (rank, candidate) in self.candidates().into_iter().enumerate() {
            if next.len() == self.params.width {
                break;
            }
            let (longer, reason) = self.live[candidate.parent].with(candidate.token, candidate.of_token)?;
            match reason {
                None => next.push((candidate.parent, longer)),
                Some(reason) if rank < self.params.width => self.end(longer, reason),
                Some(_) => {}
            }
        }
        self.keep_best();
        self.place(next)
    }

    /// All candidates, the likeliest first.
    fn candidates(&self) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for (parent, hypothesis) in self.live.iter().enumerate() {
            candidates.extend(hypothesis.next.iter().map(|(token, of_token)| Candidate {
                parent,
                token: *token,
                of_token: *of_token,
                log_probability: hypothesis.log_probability + f64::from(*of_token),
            }));
        }
        candidates.sort_by(|left, right| {
            let likelier = right.log_probability.partial_cmp(&left.log_probability);
            likelier
                .unwrap_or(Ordering::Equal)
                .then_with(|| (left.parent, left.token).cmp(&(right.parent, right.token)))
        });
        candidates
    }

    fn end(&mut self, hypothesis: Hypothesis, reason: FinishReason) {
        let Hypothesis { tokens, token_log_probabilities, log_probability, text, .. } = hypothesis;
        let score = self.params.score(log_probability, tokens.len());
        self.ended.push(Beam { text, tokens, token_log_probabilities, log_probability, score, reason });
    }

    /// Keeps the best `width` of the texts that have ended.
    fn keep_best(&mut self) {
        self.ended.sort_by(|left, right| right.score.partial_cmp(&left.score).unwrap_or(Ordering::Equal));
        self.ended.truncate(self.params.width);
    }

    /// Gives every hypothesis a sequence that holds the memory of its parent: the first child takes its parent's, the
    /// others get copies in sequences that are free.
    fn place(&mut self, next: Vec<(usize, Hypothesis)>) -> Result<()> {
        let used: Vec<usize> = next.iter().map(|(parent, _)| self.live[*parent].sequence).collect();
        let mut free = (0..self.params.width).filter(|sequence| !used.contains(sequence));
        let mut taken = Vec::new();
        self.live.clear();
        for (mut hypothesis, from) in next.into_iter().map(|(_, it)| it).zip(used.iter().copied()) {
            hypothesis.sequence = from;
            if taken.contains(&from) {
                // There are as many sequences as hypotheses.
                let Some(to) = free.next() else { break };
                self.board.fork(from, to)?;
                hypothesis.sequence = to;
            }
            taken.push(hypothesis.sequence);
            self.live.push(hypothesis);
        }
        for sequence in free {
            self.board.forget(sequence)?;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let Some(length) = self.live.first().map(|hypothesis| hypothesis.tokens.len()) else { return true };
        if length >= self.most {
            return true;
        }
        let Some(worst) = self.ended.last().filter(|_| self.ended.len() == self.params.width) else {
            return false;
        };
        // The log-probability of a text only falls, and is divided by the most for the longest one.
        let longest = if self.params.length_penalty > 0.0 { self.most } else { length };
        let best = self.live.iter().map(|it| self.params.score(it.log_probability, longest));
        self.params.early_stopping || best.fold(f64::NEG_INFINITY, f64::max) <= worst.score
    }

    /// Returns the best texts. Hypotheses end for this reason where they could not be continued, or where too few texts
    /// have ended.
    fn finish(mut self, reason: &FinishReason) -> Vec<Beam> {
        let is_at_most = self.live.iter().any(|hypothesis| hypothesis.tokens.len() >= self.most);
        if is_at_most || self.ended.len() < self.params.width {
            for mut hypothesis in core::mem::take(&mut self.live) {
                hypothesis.flush();
                self.end(hypothesis, reason.clone());
            }
        }
        self.keep_best();
        self.ended
    }
}
