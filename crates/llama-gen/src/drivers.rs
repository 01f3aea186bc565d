//! Whoever runs generations: they own threads, read clocks, and call [`step`](crate::step::step).

mod beam_search;
mod completions;
mod generator;
mod stream;

use std::time::Instant;

pub use beam_search::{Beam, BeamParams};
pub use completions::Completions;
pub use generator::Generator;
pub use stream::EventStream;

pub(crate) use beam_search::beam_search;

use llama_core::Token;

use crate::error::{ErrorKind, Result};
use crate::generation_builder::GenerationBuilder;
use crate::interrupt::Interrupt;
use crate::memory::Board;
use crate::prompt::PromptTokens;

fn now() -> Instant {
    Instant::now()
}

/// A generation whose parameters are checked and whose prompt is tokenised.
#[derive(Debug)]
struct Begun {
    start: Instant,
    interrupt: Interrupt,
    prompt: PromptTokens,
}

impl Begun {
    fn new(builder: &GenerationBuilder) -> Result<Self> {
        let start = now();
        let request = &builder.request;
        request.params.validate()?;
        let interrupt = request.interrupt.begun(request.params.max_time, start);
        let parse_special = request.params.parse_special;
        let prompt = request
            .prompt
            .tokenize(builder.llama.tokenizer(), parse_special, &mut || interrupt.reason(now()).is_some())?;
        Ok(Self { start, interrupt, prompt })
    }

    /// Lets the interrupt stop a computation of the board.
    fn watch(&self, board: &mut Board) -> Result<()> {
        if self.interrupt.is_possible() {
            let interrupt = self.interrupt.clone();
            board.watch(move || interrupt.reason(now()).is_some())?;
        }
        Ok(())
    }

    /// Creates a context in which `n` texts share the memory of this prompt.
    fn shared_board(&self, builder: &GenerationBuilder, n: usize) -> Result<Board> {
        let GenerationBuilder { llama, request, .. } = builder;
        request.check_for_shared_memory()?;
        let (n_ctx, n_prompt) = (llama.n_ctx(), self.prompt.tokens.len());
        if n_prompt >= n_ctx {
            return Err(ErrorKind::PromptTooLong { n_prompt, n_ctx }.into());
        }
        let n_answer = request.params.max_tokens.map_or(usize::MAX, |tokens| tokens as usize);
        let n_cells = n.saturating_mul(n_answer.min(n_ctx - n_prompt)).saturating_add(n_prompt);
        let mut board = llama.idle().new_shared(n, n_cells, &request.adapters)?;
        board.limit_sequences(n_ctx);
        self.watch(&mut board)?;
        Ok(board)
    }
}

/// Tokenises the prompt of a generation. A deadline in the past, or a cancelled token, is an error here.
pub(crate) fn tokenize_whole(builder: &GenerationBuilder) -> Result<Vec<Token>> {
    let request = &builder.request;
    let interrupt = request.interrupt.begun(request.params.max_time, now());
    let is_over = &mut || interrupt.reason(now()).is_some();
    request.prompt.tokenize_whole(builder.llama.tokenizer(), request.params.parse_special, is_over)
}
