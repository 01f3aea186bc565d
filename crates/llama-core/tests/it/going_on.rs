//! Contexts that have read a text, and their continuations.

use llama_core::context::FlashAttention;
use llama_core::{Batch, Context, ContextParams, Model, Pos, SeqId, Token};
use test_models::Tiny;

use crate::greedy::{SEQ, decode, difference, go_on, ids, logits_after, params, tokens};

const PROMPT: &str = "The quick brown fox jumps over the lazy dog and runs away from here";

/// The tiny models that generate.
pub(crate) const GENERATIVE: [Tiny; 8] = [
    Tiny::Llama,
    Tiny::LlamaQ8,
    Tiny::Qwen2,
    Tiny::Qwen3Moe,
    Tiny::Gemma3,
    Tiny::Mamba,
    Tiny::Jamba,
    Tiny::T5,
];

/// Creates a context that has read a prompt of at most `length` tokens, and returns it with the tokens in its memory.
pub(crate) fn started(model: &Model, params: &ContextParams, length: usize) -> (Context, Vec<Token>) {
    let mut context = Context::new(model, params).unwrap();
    let mut prompt = read_input(&mut context);
    prompt.truncate(length);
    decode(&mut context, &prompt, SEQ, 0);
    (context, prompt)
}

/// Decodes the input and returns its tokens. Encoders have read a text before.
pub(crate) fn read_input(context: &mut Context) -> Vec<Token> {
    let model = context.model().clone();
    let prompt = tokens(&model, PROMPT);
    let Some(start) = model.decoder_start_token() else {
        return prompt;
    };
    let mut batch = Batch::new();
    batch.push_prompt(&prompt, SEQ, Pos::new(0)).unwrap();
    context.encode(&batch).unwrap();
    vec![start, prompt[0], prompt[1], prompt[2]]
}

/// Creates a new context. An encoder's output is not part of a state.
pub(crate) fn fresh(model: &Model, params: &ContextParams) -> Context {
    let mut context = Context::new(model, params).unwrap();
    read_input(&mut context);
    context
}

/// The continuation of a context: the logits after one more token, and the greedy text from there.
#[derive(Debug, PartialEq)]
pub(crate) struct Future {
    pub(crate) logits: Vec<f32>,
    pub(crate) text: Vec<i32>,
}

impl Future {
    pub(crate) fn of(context: &mut Context, seq_id: SeqId, at: usize) -> Self {
        let logits = logits_after(context, &[Token::new(5)], seq_id, at);
        let next = context.logits(0).unwrap().argmax();
        Self { logits, text: ids(&go_on(context, seq_id, at + 1, next, 12)) }
    }

    /// Asserts equal texts, and logits as close as sums in another order are.
    #[track_caller]
    pub(crate) fn assert_close(&self, other: &Self, what: impl std::fmt::Display) {
        assert_eq!(self.text, other.text, "{what}");
        let difference = difference(&self.logits, &other.logits);
        assert!(difference < 2e-3, "{what}: {difference}");
    }
}

/// Returns the possible layouts of the memory.
pub(crate) fn shapes(tiny: Tiny) -> Vec<ContextParams> {
    let mut shapes = vec![
        params(),
        params().flash_attention(FlashAttention::Disabled),
        params().n_ctx(768).n_seq_max(3).kv_unified(true),
    ];
    // llama.cpp has no T5 with a buffer for each sequence.
    if tiny != Tiny::T5 {
        shapes.push(params().n_ctx(768).n_seq_max(3));
    }
    shapes
}

pub(crate) fn pos(position: usize) -> Pos {
    Pos::new(i32::try_from(position).unwrap())
}
