//! States in memory: what is restored goes on as if it had never stopped.

mod greedy;

use greedy::{SEQ, decode, difference, go_on, ids, load, logits_after, params, tokens};
use llama_core::{
    Batch, Context, ContextParams, ErrorKind, FlashAttention, Memory, Model, Pos, SeqId, StateError,
    StatePart, Token,
};
use test_models::Tiny;

const PROMPT: &str = "The quick brown fox jumps over the lazy dog and runs away from here";

/// Every tiny model that generates.
const GENERATIVE: [Tiny; 8] = [
    Tiny::Llama,
    Tiny::LlamaQ8,
    Tiny::Qwen2,
    Tiny::Qwen3Moe,
    Tiny::Gemma3,
    Tiny::Mamba,
    Tiny::Jamba,
    Tiny::T5,
];

/// A context that has read a prompt of at most `length` tokens, and the tokens in its memory.
fn started(model: &Model, params: &ContextParams, length: usize) -> (Context, Vec<Token>) {
    let mut context = Context::new(model, params).unwrap();
    let mut prompt = read_input(&mut context);
    prompt.truncate(length);
    decode(&mut context, &prompt, SEQ, 0);
    (context, prompt)
}

/// What is decoded; encoders have read something before.
fn read_input(context: &mut Context) -> Vec<Token> {
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

/// A context as fresh as can be: an encoder's output is no part of a state.
fn fresh(model: &Model, params: &ContextParams) -> Context {
    let mut context = Context::new(model, params).unwrap();
    read_input(&mut context);
    context
}

/// What a context says next: the logits after one more token, and the greedy text from there.
#[derive(Debug, PartialEq)]
struct Future {
    logits: Vec<f32>,
    text: Vec<i32>,
}

impl Future {
    fn of(context: &mut Context, seq_id: SeqId, at: usize) -> Self {
        let logits = logits_after(context, &[Token::new(5)], seq_id, at);
        let next = context.logits(0).unwrap().argmax();
        Self { logits, text: ids(&go_on(context, seq_id, at + 1, next, 12)) }
    }

    /// The same text, and logits as close as sums in another order are.
    #[track_caller]
    fn assert_close(&self, other: &Self, what: impl std::fmt::Display) {
        assert_eq!(self.text, other.text, "{what}");
        let difference = difference(&self.logits, &other.logits);
        assert!(difference < 2e-3, "{what}: {difference}");
    }
}

/// Ways to lay the memory out.
fn shapes(tiny: Tiny) -> Vec<ContextParams> {
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

#[test]
fn a_fresh_context_goes_on_with_the_same_logits() {
    for (tiny, params) in
        GENERATIVE.into_iter().flat_map(|tiny| shapes(tiny).into_iter().map(move |params| (tiny, params)))
    {
        let model = load(tiny);
        // Longer than the window, llama.cpp puts the next token into another cell after a restore.
        let length = if tiny == Tiny::Gemma3 { 12 } else { usize::MAX };
        let (mut context, prompt) = started(&model, &params, length);
        let mut state = Vec::new();
        context.state_data(&mut state).unwrap();
        assert_eq!(state.len(), context.state_size().unwrap(), "{tiny}");
        let expected = Future::of(&mut context, SEQ, prompt.len());
        let mut other = fresh(&model, &params);
        other.set_state_data(&state).unwrap();
        assert_eq!(Future::of(&mut other, SEQ, prompt.len()), expected, "{tiny}");
        // And back in the context that it was made of.
        context.set_state_data(&state).unwrap();
        assert_eq!(Future::of(&mut context, SEQ, prompt.len()), expected, "{tiny}");
    }
}
