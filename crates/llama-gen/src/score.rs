//! Log-probabilities of a given text.

use std::time::Instant;

use llama_core::{Batch, Context, Pos, SeqId, Token, TokenizeOptions};
use serde::Serialize;

use crate::error::{ErrorKind, Result};
use crate::event::TokenProbability;
use crate::finish::Timings;
use crate::memory::ONLY;
use crate::model::Llama;
use crate::prompt::Prompt;

/// The most bytes of logits that are computed at once.
const LOGITS: usize = 64 << 20;

/// The log-probability of each token of a text after the tokens before it. Made by [`Llama::score`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Score {
    /// The tokens in order. The first has no probability, because no token is before it.
    pub tokens: Vec<TokenProbability>,
    /// The times: `prompt` for computing the tokens, `probabilities` for their log-probabilities, and `total`. The others are
    /// 0, because nothing is generated.
    pub timings: Timings,
}

impl Score {
    /// Returns the number of tokens with a probability.
    #[must_use]
    pub fn n_scored(&self) -> usize {
        self.probabilities().count()
    }

    /// Returns the natural logarithm of the text's probability: the sum over its tokens.
    #[must_use]
    pub fn log_probability(&self) -> f64 {
        self.probabilities().sum()
    }

    /// Returns the text's perplexity: the exponential of the mean negative log-probability of a token. It is 1 for a
    /// certain text, and the size of the vocabulary when all tokens are equally likely. `None` without a token that has a
    /// probability.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
    pub fn perplexity(&self) -> Option<f64> {
        let n = self.n_scored();
        (n > 0).then(|| (-self.log_probability() / n as f64).exp())
    }

    fn probabilities(&self) -> impl Iterator<Item = f64> {
        self.tokens.iter().filter_map(|token| token.log_probability).map(f64::from)
    }
}

impl Llama {
    /// Computes the log-probability of each token of a text, by the model itself and before any sampler.
    ///
    /// A text that is longer than the context is scored in windows of the context's size, each half a window after the one
    /// before. Every token is scored once, in the first window that has it, after at least half a window of other tokens.
    /// Where the model begins texts with a special token, every window begins with it.
    ///
    /// ```
    /// use llama_gen::Llama;
    ///
    /// # fn main() -> Result<(), llama_gen::Error> {
    /// # let path = test_models::smollm2();
    /// let llm = Llama::builder(path).n_ctx(256).load()?;
    /// let likely = llm.score("The capital of France is Paris.")?;
    /// let unlikely = llm.score("The capital of France is parsley.")?;
    /// assert!(likely.perplexity() < unlikely.perplexity());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPrompt`] for a text without tokens, [`ErrorKind::Core`].
    pub fn score(&self, text: impl Into<Prompt>) -> Result<Score> {
        let start = Instant::now();
        let tokens = match text.into() {
            Prompt::Tokens(tokens) => tokens,
            Prompt::Text(text) => self.tokenizer().tokenize(&text, TokenizeOptions::default())?,
        };
        if tokens.is_empty() {
            let reason = "it has no tokens: give it at least one character".to_owned();
            return Err(ErrorKind::InvalidPrompt { reason }.into());
        }
        let mut board = self.idle().take_for_outputs(self.rows_at_once())?;
        let mut timings = Timings::default();
        board.forget(ONLY)?;
        let scored = self.log_probabilities(board.context(), &tokens, &mut timings);
        // The ledger does not know of the text, so nothing of it may stay in memory.
        let forgotten = board.forget(ONLY);
        let log_probabilities = scored?;
        forgotten?;
        let with_bytes = |(id, log_probability): (Token, Option<f32>)| -> Result<TokenProbability> {
            let mut bytes = Vec::new();
            self.tokenizer().append_token_bytes(id, false, &mut bytes)?;
            Ok(TokenProbability { id, bytes, log_probability })
        };
        let tokens = tokens.into_iter().zip(log_probabilities).map(with_bytes).collect::<Result<_>>()?;
        timings.total = start.elapsed();
        Ok(Score { tokens, timings })
    }

    /// Returns how many rows of logits are computed at once: as many as fit into [`LOGITS`], and at most one for each token
    /// of a context.
    fn rows_at_once(&self) -> u32 {
        let n_vocab = self.model().vocab().n_tokens().max(1);
        let rows = (LOGITS / (n_vocab * size_of::<f32>())).max(1).min(self.n_ctx());
        u32::try_from(rows).unwrap_or(u32::MAX)
    }

    /// Returns the log-probability of each token; `None` for the first.
    fn log_probabilities(
        &self,
        context: &mut Context,
        tokens: &[Token],
        timings: &mut Timings,
    ) -> Result<Vec<Option<f32>>> {
        let vocab = self.model().vocab();
        let bos = vocab.bos().filter(|bos| tokens.first() == Some(bos));
        let size = context.n_ctx_seq() as usize;
        let mut result = vec![None];
        let mut start = 0;
        while result.len() < tokens.len() {
            let mut window = Vec::new();
            window.extend(bos.filter(|_| start > 0));
            // The place in the window of the next token to score.
            let next = window.len() + result.len() - start;
            let end = tokens.len().min(start + size - window.len());
            window.extend_from_slice(&tokens[start..end]);
            context.memory().clear(false)?;
            score_window(context, &window, next, &mut result, timings)?;
            start = end.saturating_sub(size / 2);
        }
        Ok(result)
    }
}

/// Appends the log-probabilities of a window's tokens from `next` on.
fn score_window(
    context: &mut Context,
    window: &[Token],
    next: usize,
    result: &mut Vec<Option<f32>>,
    timings: &mut Timings,
) -> Result<()> {
    let sequence = SeqId::new(0);
    let part = context.n_batch().min(context.params().n_outputs_max).max(1) as usize;
    let mut batch = Batch::new();
    // The logits after the last token would be for a token that is not in the window.
    let window_end = window.len() - 1;
    for first in (0..window_end).step_by(part) {
        let end = window_end.min(first + part);
        batch.clear();
        for (place, token) in (first..end).zip(&window[first..end]) {
            let pos = Pos::new(i32::try_from(place).unwrap_or(i32::MAX));
            batch.push(*token, pos, &[sequence], place + 1 >= next)?;
        }
        let start = Instant::now();
        context.decode(&batch)?;
        context.synchronize()?;
        timings.prompt += start.elapsed();
        let start = Instant::now();
        for (index, logits) in context.logits_rows()? {
            result.push(logits.log_probability(window[first + index + 1]));
        }
        timings.probabilities += start.elapsed();
    }
    Ok(())
}
