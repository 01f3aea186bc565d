//! Processors that change a row of logits before a token is sampled from it.

use core::fmt;

use crate::context::Context;
use crate::error::Result;
use crate::token::Token;

/// A processor that changes a row of logits before a token is sampled from it. Every `FnMut(&mut [f32])` that is
/// `Send` is a processor.
///
/// It works on the row itself: with [`Context::process_logits`], on the context's row without a copy. A
/// [`CustomSampler`](crate::sampler::CustomSampler) instead works inside a chain, on an array of candidates.
///
/// ```
/// use llama_core::logits::LogitsProcessor;
/// use llama_core::{Batch, Context, ContextParams, Model, ModelParams, Pos, SamplerChain, SeqId, Token};
///
/// /// No token twice.
/// #[derive(Default)]
/// struct Once(Vec<Token>);
///
/// impl LogitsProcessor for Once {
///     fn process(&mut self, logits: &mut [f32]) {
///         for token in &self.0 {
///             logits[token.get() as usize] = f32::NEG_INFINITY;
///         }
///     }
///
///     fn accept(&mut self, token: Token) {
///         self.0.push(token);
///     }
/// }
///
/// # fn main() -> Result<(), llama_core::Error> {
/// # let model = Model::load(test_models::Tiny::Llama.path(), &ModelParams::default())?;
/// # let mut context = Context::new(&model, &ContextParams::default())?;
/// # let (mut batch, mut pos) = (Batch::new(), 0);
/// let (mut once, mut sampler) = (Once::default(), SamplerChain::builder().greedy().build()?);
/// # let mut token = Token::new(5);
/// # while pos < 3 {
/// # batch.clear();
/// # batch.push_prompt(&[token], SeqId::new(0), Pos::new(pos))?;
/// # pos += 1;
/// context.decode(&batch)?;
/// context.process_logits(batch.last_output(), &mut once)?;
/// token = sampler.sample(&context, batch.last_output())?;
/// once.accept(token);
/// # }
/// # assert!(once.0[0] != once.0[1] && once.0[1] != once.0[2] && once.0[0] != once.0[2]);
/// # Ok(())
/// # }
/// ```
pub trait LogitsProcessor: Send {
    /// Changes the row, whose first logit belongs to token 0. Negative infinity forbids a token. NaN makes sampling
    /// fail.
    fn process(&mut self, logits: &mut [f32]);

    /// Records a token that the sequence continues with. Default: does nothing.
    fn accept(&mut self, token: Token) {
        let _ = token;
    }

    /// Restores the initial state. Default: does nothing.
    fn reset(&mut self) {}
}

impl<F: FnMut(&mut [f32]) + Send> LogitsProcessor for F {
    fn process(&mut self, logits: &mut [f32]) {
        self(logits);
    }
}

/// Several [`LogitsProcessor`]s, which run one after the other.
///
/// ```
/// use llama_core::logits::{LogitsProcessor, LogitsProcessors};
///
/// let mut all = LogitsProcessors::new();
/// all.push(|row: &mut [f32]| row[0] = f32::NEG_INFINITY);
/// all.push(|row: &mut [f32]| row.iter_mut().for_each(|logit| *logit *= 2.0));
/// let mut row = [3.0, 1.0];
/// all.process(&mut row);
/// assert_eq!(row, [f32::NEG_INFINITY, 2.0]);
/// ```
#[derive(Default)]
pub struct LogitsProcessors(Vec<Box<dyn LogitsProcessor>>);

impl LogitsProcessors {
    /// Creates an empty list, which changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a processor.
    pub fn push(&mut self, processor: impl LogitsProcessor + 'static) {
        self.0.push(Box::new(processor));
    }

    /// Returns the number of processors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no processors.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl LogitsProcessor for LogitsProcessors {
    fn process(&mut self, logits: &mut [f32]) {
        self.0.iter_mut().for_each(|processor| processor.process(logits));
    }

    fn accept(&mut self, token: Token) {
        self.0.iter_mut().for_each(|processor| processor.accept(token));
    }

    fn reset(&mut self) {
        self.0.iter_mut().for_each(|processor| processor.reset());
    }
}

impl fmt::Debug for LogitsProcessors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogitsProcessors({})", self.0.len())
    }
}

impl Context {
    /// Returns the [`logits`](Context::logits) at `index` for modification in place.
    /// [Sampling](crate::SamplerChain::sample) uses the modified row. The next batch has new rows.
    ///
    /// # Errors
    ///
    /// The errors of [`Context::logits`].
    ///
    /// Corresponds to `llama_get_logits_ith`.
    pub fn logits_mut(&mut self, index: impl Into<Option<usize>>) -> Result<&mut [f32]> {
        let n_vocab = self.n_vocab();
        let row = self.logits_row(index.into())?;
        // SAFETY: the row has n_vocab floats in the context's output buffer (llama-context.cpp, get_logits_ith), which is
        // in the CPU's memory and nobody else's while the context is borrowed mutably.
        Ok(unsafe { core::slice::from_raw_parts_mut(row, n_vocab) })
    }

    /// Applies a processor to the logits of the token at `index` in the last batch, in place. Call this once per
    /// row, since a second call works on the changed row. Pass the sampled token to
    /// [`accept`](LogitsProcessor::accept) yourself.
    ///
    /// # Errors
    ///
    /// The errors of [`Context::logits`].
    pub fn process_logits(
        &mut self,
        index: impl Into<Option<usize>>,
        processor: &mut (impl LogitsProcessor + ?Sized),
    ) -> Result<()> {
        processor.process(self.logits_mut(index)?);
        Ok(())
    }
}
