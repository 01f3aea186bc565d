//! A steady decode step allocates nothing in Rust: batches, checks and results reuse memory.
//!
//! The program has an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use llama_core::sampler::{Choice, Penalties};
use llama_core::{
    AbortFlag, Batch, Context, ContextParams, Model, ModelParams, Pos, SamplerChain, SeqId, Token,
    TokenizeOptions,
};
use test_models::Tiny;

thread_local! {
    /// The number of allocations of this thread since the last query.
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator with a counter. C++ has its own allocator.
struct Counting;

fn count() {
    // Nothing is counted while the thread ends and the counter is gone.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: everything is the system allocator's; counting touches a constant-initialised cell without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(run: impl FnOnce()) -> usize {
    COUNT.set(0);
    run();
    COUNT.get()
}

const SEQ: SeqId = SeqId::new(0);

fn load(tiny: Tiny) -> Model {
    Model::load(tiny.path(), &ModelParams::default()).unwrap()
}

/// Returns the parameters of a small context with one thread.
fn params() -> ContextParams {
    ContextParams::default().n_ctx(256).n_threads(1)
}

/// Runs a step of one token for each sequence and returns the most likely next tokens.
fn step(context: &mut Context, batch: &mut Batch, next: &mut [Token], pos: i32) {
    batch.clear();
    for (seq_id, token) in (0..).zip(next.iter()) {
        batch.push(*token, Pos::new(pos), &[SeqId::new(seq_id)], true).unwrap();
    }
    context.decode(batch).unwrap();
    for (index, token) in next.iter_mut().enumerate() {
        *token = context.logits(index).unwrap().argmax();
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(vec![1_u8; 100])), 1);
    assert_eq!(allocations(|| drop(Vec::<u8>::new())), 0);
}

#[test]
fn steps_of_one_token() {
    for tiny in
        [Tiny::Llama, Tiny::LlamaQ8, Tiny::Qwen2, Tiny::Qwen3Moe, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba]
    {
        let model = load(tiny);
        let mut context = Context::new(&model, &params()).unwrap();
        let (mut batch, mut next) = (Batch::new(), [Token::new(5)]);
        (0..3).for_each(|pos| step(&mut context, &mut batch, &mut next, pos));
        let found = allocations(|| (3..103).for_each(|pos| step(&mut context, &mut batch, &mut next, pos)));
        assert_eq!(found, 0, "{tiny}");
    }
}

#[test]
fn steps_of_several_sequences() {
    let model = load(Tiny::Llama);
    for unified in [false, true] {
        let params = params().n_ctx(1024).n_seq_max(4).kv_unified(unified);
        let mut context = Context::new(&model, &params).unwrap();
        context.set_abort_flag(&AbortFlag::new()).unwrap();
        let (mut batch, mut next) = (Batch::new(), [5, 6, 7, 8].map(Token::new));
        (0..3).for_each(|pos| step(&mut context, &mut batch, &mut next, pos));
        let found = allocations(|| (3..53).for_each(|pos| step(&mut context, &mut batch, &mut next, pos)));
        assert_eq!(found, 0);
    }
}

#[test]
fn steps_that_are_sampled() {
    let model = load(Tiny::Llama);
    let chain = || SamplerChain::builder().penalties(Penalties::default().repeat(1.1));
    let mut context = Context::new(&model, &params().n_ctx(1024).n_seq_max(3)).unwrap();
    context.set_sampler(SeqId::new(0), chain().dist(1).build().unwrap()).unwrap();
    context.set_sampler(SeqId::new(1), chain().top_k(40).typical_p(0.9).dist(1).build().unwrap()).unwrap();
    let mut own = chain().top_k(40).top_p(0.9).dist(1).build().unwrap();
    let (mut batch, mut next) = (Batch::new(), [5, 6, 7].map(Token::new));
    let mut step = |pos: i32| {
        batch.clear();
        for (seq_id, token) in (0..).zip(&next) {
            batch.push(*token, Pos::new(pos), &[SeqId::new(seq_id)], true).unwrap();
        }
        context.decode(&batch).unwrap();
        next[0] = context.sample(0).unwrap();
        next[1] = context.sample(1).unwrap();
        next[2] = own.sample(&context, 2).unwrap();
    };
    (0..3).for_each(&mut step);
    assert_eq!(allocations(|| (3..53).for_each(step)), 0);
}

#[test]
fn prompts_and_probabilities_of_the_size_before() {
    let model = load(Tiny::Llama);
    let mut context = Context::new(&model, &params()).unwrap();
    let prompt = model.vocab().tokenize("Hello world, this is a test", TokenizeOptions::default()).unwrap();
    let mut batch = Batch::with_capacity(prompt.len());
    let (mut top, mut all) = (Vec::new(), Vec::new());
    let mut run = || {
        batch.clear();
        batch.push_prompt(&prompt, SEQ, Pos::new(0)).unwrap();
        context.memory().clear(false).unwrap();
        context.decode(&batch).unwrap();
        let row = context.logits(batch.last_output()).unwrap();
        row.top_k(40, &mut top);
        row.log_softmax(&mut all);
        assert_eq!((top.len(), all.len()), (40, 507));
        assert_eq!(context.logits_rows().unwrap().count(), 1);
    };
    run();
    assert_eq!(allocations(run), 0);
}

#[test]
fn embeddings_of_the_size_before() {
    let model = load(Tiny::Llama);
    let mut context = Context::new(&model, &params()).unwrap();
    let row = vec![0.5; model.n_embd_inp() as usize];
    let mut batch = Batch::new();
    let mut run = || {
        batch.clear();
        for pos in 0..10 {
            batch.push_embedding(&row, Pos::new(pos), &[SEQ], true).unwrap();
        }
        context.memory().seq_rm(SEQ, ..).unwrap();
        context.decode(&batch).unwrap();
        assert!(context.logits(9).unwrap().as_slice()[0].is_finite());
    };
    run();
    assert_eq!(allocations(run), 0);
}

#[test]
fn sampling_from_rows_of_the_length_before() {
    let new = SamplerChain::builder;
    let penalties = Penalties::default().last_n(32).repeat(1.1).frequency(0.1).presence(0.1);
    let row: Vec<f32> = (0..10_000_u16).map(|id| (f32::from(id) * 0.37).sin() * 9.0).collect();
    let mut choice = Choice::default();
    for builder in [
        new().greedy(),
        new().top_k(40).top_p(0.95).min_p(0.05).temperature(0.8).dist(1),
        new()
            .penalties(penalties)
            .top_k(40)
            .top_p(0.95)
            .min_p(0.05)
            .xtc(0.5, 0.1, 2)
            .temperature(0.8)
            .dist(1),
        new().temperature(0.7).top_p(0.9).dist(1),
        new().top_n_sigma(1.0).dist(1),
        new().top_k(300).top_p(0.9).dist(1),
        new().dist(1),
    ] {
        let mut sampler = builder.build_row().unwrap();
        let mut run = |count: usize| {
            for _ in 0..count {
                sampler.sample_row(&row).unwrap();
                sampler.choose(&row, 5, &mut choice).unwrap();
            }
        };
        run(40);
        assert_eq!(allocations(|| run(40)), 0);
    }
}
