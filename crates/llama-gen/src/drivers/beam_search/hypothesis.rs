//! A beginning of a text that beam search may continue.

use core::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use llama_core::{Logits, Token};
use tracing::Span;

use crate::error::Result;
use crate::event::FinishReason;
use crate::interrupt::Interrupt;
use crate::memory::SequenceIndex;
use crate::model::Llama;
use crate::step::{Clock, Member, Part, Pending, Plan, View};
use crate::text_state::{Pushed, TextState};

/// The part of a search that all hypotheses share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) llama: Llama,
    pub(super) interrupt: Interrupt,
    /// Added to logits.
    pub(super) biases: Vec<(Token, f32)>,
    /// How many of the likeliest next tokens are looked at: enough when all that end a text are among them.
    pub(super) n_candidates: usize,
    /// A row of logits with the biases, kept so that it is not allocated anew.
    pub(super) row: RefCell<Vec<f32>>,
    pub(super) span: Span,
}

impl Shared {
    /// Fills `top` with the likeliest tokens and their log-probabilities.
    fn top_k(&self, logits: &Logits<'_>, top: &mut Vec<(Token, f32)>) {
        if self.biases.is_empty() {
            logits.top_k(self.n_candidates, top);
            return;
        }
        let mut row = self.row.borrow_mut();
        row.clear();
        row.extend_from_slice(logits);
        for (token, bias) in &self.biases {
            let logit = usize::try_from(token.get()).ok().and_then(|index| row.get_mut(index));
            logit.into_iter().for_each(|logit| *logit += bias);
        }
        Logits::from_slice(&row).top_k(self.n_candidates, top);
    }
}

/// A beginning of a text.
#[derive(Clone, Debug)]
pub(super) struct Hypothesis {
    shared: Rc<Shared>,
    pub(super) sequence: SequenceIndex,
    pending: Pending,
    state: TextState,
    pub(super) text: String,
    pub(super) tokens: Vec<Token>,
    pub(super) token_log_probabilities: Vec<f32>,
    pub(super) log_probability: f64,
    /// The likeliest next tokens and their log-probabilities.
    pub(super) next: Vec<(Token, f32)>,
    /// Whether the next tokens are known.
    pub(super) is_computed: bool,
    is_running: bool,
}

impl Hypothesis {
    /// Creates the empty text after a prompt.
    pub(super) fn new(shared: Rc<Shared>, prompt: Vec<Token>, state: TextState) -> Self {
        Self {
            shared,
            sequence: 0,
            pending: Pending::new(prompt),
            state,
            text: String::new(),
            tokens: Vec::new(),
            token_log_probabilities: Vec::new(),
            log_probability: 0.0,
            next: Vec::new(),
            is_computed: false,
            is_running: true,
        }
    }

    /// Returns the hypothesis with one more token, and why that ends the text, if it does.
    pub(super) fn with(&self, token: Token, log_probability: f32) -> Result<(Self, Option<FinishReason>)> {
        let mut longer = Self { next: Vec::new(), is_computed: false, ..self.clone() };
        longer.tokens.push(token);
        longer.token_log_probabilities.push(log_probability);
        longer.log_probability += f64::from(log_probability);
        longer.pending.set(token);
        let llama = &self.shared.llama;
        let (shown, reason) = match longer.state.push(llama.model().vocab(), llama.tokenizer(), token)? {
            Pushed::Text { shown, .. } => (shown, None),
            Pushed::EndToken { reason, shown } | Pushed::StopString { reason, shown } => {
                (shown, Some(reason))
            }
        };
        longer.text.push_str(&shown);
        Ok((longer, reason))
    }

    /// Adds the text that was held back.
    pub(super) fn flush(&mut self) {
        let rest = self.state.flush();
        self.text.push_str(&rest);
    }
}

impl Member for Hypothesis {
    fn sequence(&self) -> SequenceIndex {
        self.sequence
    }

    fn is_running(&self) -> bool {
        self.is_running
    }

    fn set_ended(&mut self) {
        self.is_running = false;
    }

    fn span(&self) -> &Span {
        &self.shared.span
    }

    fn interrupt(&mut self, now: Instant) -> Option<FinishReason> {
        self.shared.interrupt.reason(now)
    }

    fn pending(&mut self) -> &mut Pending {
        &mut self.pending
    }

    fn plan(&mut self, view: &View<'_>) -> Result<Plan> {
        let n = self.pending.len().min(view.n_chunk);
        let is_last = n == self.pending.len();
        let waits = self.tokens.is_empty() && (is_last || self.shared.interrupt.is_possible());
        Ok(Plan::Decode(Part { n, is_last, keeps_checkpoint: false, waits }))
    }

    fn take_row(&mut self, logits: &Logits<'_>, _: Clock<'_>) -> Result<Option<FinishReason>> {
        self.shared.top_k(logits, &mut self.next);
        // Forbidden tokens are no text.
        self.next.retain(|(_, log_probability)| *log_probability > f32::NEG_INFINITY);
        self.is_computed = true;
        Ok(None)
    }
}
