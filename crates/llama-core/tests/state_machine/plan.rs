//! The parts of a sequence of calls: a model, the parameters of a context, and calls with values of every kind.
//!
//! Values are numbers that are interpreted by the context's state at the time of the call (the next position, a
//! sequence that the context has). Most calls are therefore valid, and a plan stays meaningful when proptest removes
//! calls from it.

use llama_core::ContextParams;
use llama_core::context::{AttentionType, CacheType, FlashAttention, PoolingType};
use proptest::prelude::*;
use test_models::Tiny;

/// A whole run: a context, and the calls on it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) tiny: Tiny,
    pub(crate) shape: Shape,
    pub(crate) calls: Vec<Call>,
}

/// The parameters of a context.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) n_ctx: u32,
    pub(crate) n_batch: u32,
    pub(crate) n_ubatch: u32,
    pub(crate) n_seq_max: u32,
    pub(crate) unified: bool,
    pub(crate) swa_full: bool,
    pub(crate) embeddings: bool,
    pub(crate) pooling: Option<PoolingType>,
    pub(crate) attention: Option<AttentionType>,
    pub(crate) flash: FlashAttention,
    pub(crate) types: (CacheType, CacheType),
}

impl Shape {
    pub(crate) fn params(&self) -> ContextParams {
        let mut params = ContextParams::default()
            .n_ctx(self.n_ctx)
            .n_batch(self.n_batch)
            .n_ubatch(self.n_ubatch)
            .n_seq_max(self.n_seq_max)
            .kv_unified(self.unified)
            .swa_full(self.swa_full)
            .embeddings(self.embeddings)
            .flash_attention(self.flash)
            .type_k(self.types.0)
            .type_v(self.types.1)
            .n_threads(1);
        if let Some(pooling) = self.pooling {
            params = params.pooling_type(pooling);
        }
        if let Some(attention) = self.attention {
            params = params.attention_type(attention);
        }
        params
    }
}

/// A sequence: one of the context's, or any number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seq {
    Of(u32),
    Wild(i32),
}

/// A position: an offset from the sequence's next one (0 is right), or any number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    After(i32),
    Wild(i32),
}

/// A token: one of the vocabulary, or any number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Id {
    Of(u32),
    Wild(i32),
}

/// A token of the last batch: one of those with results, or any.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Row {
    Output(usize),
    At(Option<usize>),
}

/// A range of positions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Range {
    All,
    From(i32),
    Part(i32, i32),
    /// The last positions of the sequence, this many.
    Last(i32),
}

/// The samplers of a chain.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Samplers {
    Greedy,
    Usual(f32, f32),
    Penalised(u32, f32),
    Mirostat(f32),
    Adaptive(f32),
    Grammar,
}

/// One call of a safe function, or a few related ones.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Clear,
    Push {
        token: Id,
        place: Place,
        seqs: Vec<Seq>,
        output: bool,
    },
    Prompt {
        n: usize,
        seq: Seq,
        place: Place,
    },
    SetOutput {
        index: usize,
        output: bool,
    },
    Decode,
    Encode,
    /// A separate batch: this many tokens of one sequence, at its next positions.
    Continue {
        n: usize,
        seq: u32,
    },
    /// Several sequences at once, with alternating tokens.
    Together {
        n: usize,
        seqs: u32,
    },
    /// Two sequences that share each token.
    Shared {
        n: usize,
        first: u32,
        second: u32,
    },
    MemoryClear(bool),
    Remove(Seq, Range),
    Copy(Seq, Seq, Range),
    Keep(Seq),
    Add(Seq, Range, i32),
    Divide(Seq, Range, i32),
    CanShift,
    Logits(Row),
    Embeddings(Row),
    EmbeddingsSeq(Seq),
    Sample(Row),
    /// Replaces the chain.
    Chain(Samplers),
    Accept(Id),
    AcceptPrompt(Vec<Id>),
    ResetChain,
    /// Continues with a copy of the chain.
    CloneChain,
    SetEmbeddings(bool),
    SetCausal(bool),
    SetThreads(u32, u32),
    Synchronize,
    Perf,
    PerfReset,
    /// Replaces the context.
    Anew(Box<Shape>),
}

/// Generates numbers that C code often handles wrongly.
fn wild() -> BoxedStrategy<i32> {
    prop_oneof![
        Just(-1),
        Just(i32::MIN),
        Just(i32::MAX),
        Just(i32::MAX - 1),
        Just(256),
        -4..600_i32,
        any::<i32>(),
    ]
    .boxed()
}

fn seq() -> BoxedStrategy<Seq> {
    prop_oneof![12 => (0..4_u32).prop_map(Seq::Of), 1 => wild().prop_map(Seq::Wild)].boxed()
}

fn place() -> BoxedStrategy<Place> {
    prop_oneof![
        10 => Just(Place::After(0)),
        2 => (-3..4_i32).prop_map(Place::After),
        1 => wild().prop_map(Place::Wild),
    ]
    .boxed()
}

fn id() -> BoxedStrategy<Id> {
    prop_oneof![20 => (0..300_u32).prop_map(Id::Of), 1 => wild().prop_map(Id::Wild)].boxed()
}

fn range() -> BoxedStrategy<Range> {
    let small = 0..40_i32;
    prop_oneof![
        4 => Just(Range::All),
        3 => small.clone().prop_map(Range::From),
        3 => (small.clone(), small.clone()).prop_map(|(start, end)| Range::Part(start, end)),
        4 => (0..40_i32).prop_map(Range::Last),
        1 => (wild(), wild()).prop_map(|(start, end)| Range::Part(start, end)),
        1 => wild().prop_map(Range::From),
    ]
    .boxed()
}

fn row() -> BoxedStrategy<Row> {
    let wild = prop_oneof![Just(usize::MAX), Just(1 << 31), Just(1 << 32), 0..300_usize];
    prop_oneof![
        6 => (0..12_usize).prop_map(Row::Output),
        1 => Just(Row::At(None)),
        2 => wild.prop_map(|index| Row::At(Some(index))),
    ]
    .boxed()
}

fn samplers() -> BoxedStrategy<Samplers> {
    let number = || {
        let wild = prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(-1.0), Just(0.0), Just(f32::MAX)];
        prop_oneof![6 => 0.0..1.0_f32, 1 => wild]
    };
    prop_oneof![
        Just(Samplers::Greedy),
        (number(), number()).prop_map(|(p, temperature)| Samplers::Usual(p, temperature)),
        (prop_oneof![0..9_u32, Just(u32::MAX)], number())
            .prop_map(|(n, repeat)| Samplers::Penalised(n, repeat)),
        number().prop_map(Samplers::Mirostat),
        number().prop_map(Samplers::Adaptive),
        Just(Samplers::Grammar),
    ]
    .boxed()
}

fn delta() -> BoxedStrategy<i32> {
    prop_oneof![6 => -20..20_i32, 1 => wild()].boxed()
}

pub(crate) fn shape() -> BoxedStrategy<Shape> {
    let sizes = (
        prop_oneof![Just(0_u32), Just(1), Just(256), Just(512), Just(700)],
        prop_oneof![2 => 1..9_u32, 1 => Just(32), 3 => Just(200), 3 => Just(2048)],
        prop_oneof![2 => 1..9_u32, 2 => Just(16), 2 => Just(64), 3 => Just(512)],
        1..5_u32,
    );
    let switches = (any::<bool>(), any::<bool>(), any::<bool>());
    let cache = || {
        prop_oneof![
            6 => Just(CacheType::F16),
            1 => Just(CacheType::F32),
            1 => Just(CacheType::Bf16),
            1 => Just(CacheType::Q8_0),
            1 => Just(CacheType::Q4_0),
        ]
    };
    let kinds = (
        proptest::option::weighted(
            0.4,
            prop_oneof![
                2 => Just(PoolingType::None),
                1 => Just(PoolingType::Mean),
                1 => Just(PoolingType::Cls),
                1 => Just(PoolingType::Last),
                1 => Just(PoolingType::Rank),
            ],
        ),
        proptest::option::weighted(
            0.2,
            prop_oneof![Just(AttentionType::Causal), Just(AttentionType::NonCausal)],
        ),
        prop_oneof![
            Just(FlashAttention::Auto),
            Just(FlashAttention::Disabled),
            Just(FlashAttention::Enabled)
        ],
        (cache(), cache()),
    );
    (sizes, switches, kinds)
        .prop_map(
            |(
                (n_ctx, n_batch, n_ubatch, n_seq_max),
                (unified, swa_full, embeddings),
                (pooling, attention, flash, types),
            )| {
                Shape {
                    n_ctx,
                    n_batch,
                    n_ubatch,
                    n_seq_max,
                    unified,
                    swa_full,
                    embeddings,
                    pooling,
                    attention,
                    flash,
                    types,
                }
            },
        )
        .boxed()
}

fn of_batches() -> BoxedStrategy<Call> {
    prop_oneof![
        1 => Just(Call::Clear),
        4 => (id(), place(), proptest::collection::vec(seq(), 0..3), any::<bool>())
            .prop_map(|(token, place, seqs, output)| Call::Push { token, place, seqs, output }),
        1 => (0..12_usize, seq(), place()).prop_map(|(n, seq, place)| Call::Prompt { n, seq, place }),
        1 => (0..6_usize, any::<bool>()).prop_map(|(index, output)| Call::SetOutput { index, output }),
        3 => Just(Call::Decode),
        2 => Just(Call::Encode),
        8 => (1..24_usize, 0..4_u32).prop_map(|(n, seq)| Call::Continue { n, seq }),
        3 => (24..250_usize, 0..4_u32).prop_map(|(n, seq)| Call::Continue { n, seq }),
        4 => (1..8_usize, 2..5_u32).prop_map(|(n, seqs)| Call::Together { n, seqs }),
        2 => (1..8_usize, 0..4_u32, 0..4_u32)
            .prop_map(|(n, first, second)| Call::Shared { n, first, second }),
    ]
    .boxed()
}

fn of_memory() -> BoxedStrategy<Call> {
    prop_oneof![
        1 => any::<bool>().prop_map(Call::MemoryClear),
        4 => (seq(), range()).prop_map(|(seq, range)| Call::Remove(seq, range)),
        4 => (seq(), seq(), range()).prop_map(|(from, to, range)| Call::Copy(from, to, range)),
        1 => seq().prop_map(Call::Keep),
        3 => (seq(), range(), delta()).prop_map(|(seq, range, delta)| Call::Add(seq, range, delta)),
        2 => (seq(), range(), prop_oneof![1..5_i32, wild()])
            .prop_map(|(seq, range, divisor)| Call::Divide(seq, range, divisor)),
        1 => Just(Call::CanShift),
    ]
    .boxed()
}

fn of_results() -> BoxedStrategy<Call> {
    prop_oneof![
        3 => row().prop_map(Call::Logits),
        3 => row().prop_map(Call::Embeddings),
        2 => seq().prop_map(Call::EmbeddingsSeq),
        3 => row().prop_map(Call::Sample),
        1 => samplers().prop_map(Call::Chain),
        1 => id().prop_map(Call::Accept),
        1 => proptest::collection::vec(id(), 0..5).prop_map(Call::AcceptPrompt),
        1 => prop_oneof![Just(Call::ResetChain), Just(Call::CloneChain)],
    ]
    .boxed()
}

fn of_contexts() -> BoxedStrategy<Call> {
    let threads = || prop_oneof![4 => Just(1_u32), 1 => Just(0), 1 => Just(513), 1 => Just(u32::MAX)];
    prop_oneof![
        3 => any::<bool>().prop_map(Call::SetEmbeddings),
        2 => any::<bool>().prop_map(Call::SetCausal),
        1 => (threads(), threads()).prop_map(|(one, many)| Call::SetThreads(one, many)),
        1 => Just(Call::Synchronize),
        1 => Just(Call::Perf),
        1 => Just(Call::PerfReset),
        1 => shape().prop_map(|shape| Call::Anew(Box::new(shape))),
    ]
    .boxed()
}

pub(crate) fn plan() -> impl Strategy<Value = Plan> {
    let call = prop_oneof![8 => of_batches(), 5 => of_memory(), 4 => of_results(), 1 => of_contexts()];
    let calls = proptest::collection::vec(call, 1..50);
    (proptest::sample::select(Tiny::ALL), shape(), calls).prop_map(|(tiny, shape, calls)| Plan {
        tiny,
        shape,
        calls,
    })
}
