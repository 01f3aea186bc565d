//! Contexts and their results.

use llama_core::context::{AttentionType, CacheType, FlashAttention, PoolingType};
use llama_core::{Context, ContextParams, SeqId, Token};

use crate::Case;
use crate::batch::batches;
use crate::subjects::{Subjects, each_context, fill, try_fill};
use crate::values::{BOOLS, F32, I32, U32, USIZE};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Context::new", new),
    ("Context::decode", decode),
    ("Context::encode", encode),
    ("Context::logits", logits),
    ("Logits::as_slice", as_slice),
    ("Logits::get", get),
    ("Logits::argmax", argmax),
    ("Context::embeddings", embeddings),
    ("Context::embeddings_seq", embeddings_seq),
    ("Context::set_n_threads", set_n_threads),
    ("Context::set_embeddings", set_embeddings),
    ("Context::set_causal_attention", set_causal_attention),
    ("Context::synchronize", |walk, subjects| {
        each_context(walk, subjects, |walk, context| _ = walk.call("", || context.synchronize()));
    }),
    ("Context::perf", |walk, subjects| {
        each_context(walk, subjects, |walk, context| _ = walk.call("", || context.perf()));
    }),
    ("Context::reset_perf", |walk, subjects| {
        each_context(walk, subjects, |walk, context| _ = walk.call("", || context.reset_perf()));
    }),
    ("Context::memory", |walk, subjects| plain(walk, subjects, |context| _ = context.memory())),
    ("Context::model", |walk, subjects| plain(walk, subjects, |context| _ = context.model().clone())),
    ("Context::as_ptr", |walk, subjects| {
        plain(walk, subjects, |context| assert!(!context.as_ptr().is_null()));
    }),
    ("Context::n_ctx", |walk, subjects| plain(walk, subjects, |context| _ = context.n_ctx())),
    ("Context::n_ctx_seq", |walk, subjects| plain(walk, subjects, |context| _ = context.n_ctx_seq())),
    ("Context::n_batch", |walk, subjects| plain(walk, subjects, |context| _ = context.n_batch())),
    ("Context::n_ubatch", |walk, subjects| plain(walk, subjects, |context| _ = context.n_ubatch())),
    ("Context::n_seq_max", |walk, subjects| plain(walk, subjects, |context| _ = context.n_seq_max())),
    ("Context::n_threads", |walk, subjects| plain(walk, subjects, |context| _ = context.n_threads())),
    ("Context::n_threads_batch", |walk, subjects| {
        plain(walk, subjects, |context| _ = context.n_threads_batch());
    }),
    ("Context::pooling_type", |walk, subjects| plain(walk, subjects, |context| _ = context.pooling_type())),
    ("Context::causal_attention", |walk, subjects| {
        plain(walk, subjects, |context| _ = context.causal_attention());
    }),
    ("Context::has_memory", |walk, subjects| plain(walk, subjects, |context| _ = context.has_memory())),
    ("Context::is_poisoned", |walk, subjects| plain(walk, subjects, |context| _ = format!("{context:?}"))),
];

/// Calls a function that cannot fail, also on a poisoned context.
pub(crate) fn plain(walk: &mut Walk, subjects: &mut Subjects, run: impl Fn(&mut Context)) {
    each_context(walk, subjects, |walk, context| walk.run("", || run(context)));
}

fn small() -> ContextParams {
    ContextParams::default().n_ctx(256).n_threads(1)
}

/// Returns parameters that no model, or only some, can have.
pub(crate) fn odd_params() -> Vec<(String, ContextParams)> {
    let mut all = Vec::new();
    let mut add = |name: String, params: ContextParams| all.push((name, params));
    for value in U32 {
        // Contexts of so many tokens would really take the memory, and there may be so much.
        if value < 1 << 20 || value > i32::MAX as u32 {
            add(format!("n_ctx {value}"), small().n_ctx(value));
            add(format!("n_ctx {value}, 4 sequences"), small().n_ctx(value).n_seq_max(4));
            add(format!("n_batch {value}"), small().n_batch(value));
            add(format!("n_batch {value}, 4 sequences"), small().n_batch(value).n_seq_max(4));
        }
        add(format!("n_ubatch {value}"), small().n_ubatch(value));
        add(format!("n_ubatch {value}, 3 sequences"), small().n_ubatch(value).n_seq_max(3).embeddings(true));
        add(format!("n_seq_max {value}"), small().n_seq_max(value));
        add(format!("n_seq_max {value}, n_ctx 1"), small().n_seq_max(value).n_ctx(1).kv_unified(true));
        add(format!("n_threads {value}"), small().n_threads(value));
        add(format!("n_threads_batch {value}"), small().n_threads_batch(value));
    }
    for value in F32 {
        add(format!("rope_freq_base {value}"), small().rope_freq_base(value));
        add(format!("rope_freq_scale {value}"), small().rope_freq_scale(value));
    }
    all.extend(odd_kinds());
    all
}

/// Returns every type of keys and of values, and every combination of poolings with kinds of attention.
fn odd_kinds() -> Vec<(String, ContextParams)> {
    let types = [
        CacheType::F32,
        CacheType::F16,
        CacheType::Bf16,
        CacheType::Q8_0,
        CacheType::Q5_1,
        CacheType::Q5_0,
        CacheType::Q4_1,
        CacheType::Q4_0,
    ];
    let flash = [FlashAttention::Auto, FlashAttention::Disabled, FlashAttention::Enabled];
    let mut all = Vec::new();
    let pairs = types.into_iter().flat_map(|one| [(one, one), (one, CacheType::F16), (CacheType::F16, one)]);
    for (key, value) in pairs {
        let flash = flash[all.len() % 3];
        let params = small().type_k(key).type_v(value).flash_attention(flash);
        all.push((format!("types {key:?} {value:?} {flash:?}"), params));
    }
    for pooling in
        [PoolingType::None, PoolingType::Mean, PoolingType::Cls, PoolingType::Last, PoolingType::Rank]
    {
        for attention in [AttentionType::Causal, AttentionType::NonCausal] {
            for embeddings in BOOLS {
                let params = small().n_seq_max(3).pooling_type(pooling).attention_type(attention);
                all.push((format!("{pooling:?} {attention:?} {embeddings}"), params.embeddings(embeddings)));
            }
        }
    }
    for (swa_full, unified, offload) in BOOLS.into_iter().flat_map(|a| [(a, false, a), (a, true, !a)]) {
        let params = small().swa_full(swa_full).kv_unified(unified).offload_kqv(offload).op_offload(offload);
        all.push((format!("switches {swa_full} {unified} {offload}"), params.perf(swa_full)));
    }
    all
}

/// Whether the context has at most as many threads as there are processors. More would spin for minutes.
pub(crate) fn is_quick(context: &Context) -> bool {
    context.n_threads().max(context.n_threads_batch()) <= 2
}

fn new(walk: &mut Walk, subjects: &mut Subjects) {
    let models: Vec<_> =
        subjects.models().iter().map(|model| (model.name.clone(), model.it.clone())).collect();
    for (name, model) in models {
        walk.on(&name, false);
        // Without weights all are refused alike.
        let n = if model.has_weights() { usize::MAX } else { 9 };
        for (params_name, params) in odd_params().into_iter().take(n) {
            let made = walk.call(&params_name, || Context::new(&model, &params));
            let Some(mut context) = made.filter(is_quick) else { continue };
            // What could be made must work.
            walk.call(format!("{params_name}, used"), || try_fill(&mut context));
            walk.run(format!("{params_name}, read"), || {
                let _ = (context.logits(2).map(|row| row.argmax()), context.embeddings(2).map(<[f32]>::len));
                let _ = context.embeddings_seq(SeqId::new(0)).map(<[f32]>::len);
            });
        }
    }
}

fn decode(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        for (name, batch) in batches() {
            walk.call(name, || context.decode(&batch));
        }
    });
}

fn encode(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        for (name, batch) in batches() {
            walk.call(name, || context.encode(&batch));
        }
    });
}

fn logits(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        let n_vocab = context.model().vocab().n_tokens();
        walk.call("none", || context.logits(None).map(|row| row.to_vec()));
        for index in USIZE {
            let row = walk.call(index, || context.logits(index).map(|row| row.to_vec()));
            assert!(row.is_none_or(|row| row.len() == n_vocab));
        }
    });
}

/// Calls a function with a row of logits, if there is one.
fn rows(walk: &mut Walk, subjects: &mut Subjects, with: impl Fn(&mut Walk, llama_core::Logits<'_>)) {
    each_context(walk, subjects, |walk, context| {
        if !walk.is_poisoned()
            && let Ok(row) = context.logits(2)
        {
            with(walk, row);
        }
    });
}

fn as_slice(walk: &mut Walk, subjects: &mut Subjects) {
    rows(walk, subjects, |walk, row| {
        let sum: f32 = walk.run("", || row.as_slice().iter().sum());
        assert!(sum.is_finite());
    });
}

fn get(walk: &mut Walk, subjects: &mut Subjects) {
    rows(walk, subjects, |walk, row| {
        for token in I32 {
            let found = walk.run(token, || row.get(Token::new(token)));
            assert_eq!(found.is_some(), usize::try_from(token).is_ok_and(|token| token < row.len()));
        }
    });
}

fn argmax(walk: &mut Walk, subjects: &mut Subjects) {
    rows(walk, subjects, |walk, row| {
        let token = walk.run("", || row.argmax());
        assert!(row.get(token).is_some());
    });
}

fn embeddings(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        let width = context.model().n_embd_out() as usize;
        walk.call("none", || context.embeddings(None).map(<[f32]>::to_vec));
        for index in USIZE {
            let row = walk.call(index, || context.embeddings(index).map(<[f32]>::to_vec));
            assert!(row.is_none_or(|row| row.len() == width));
        }
    });
}

fn embeddings_seq(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        for seq_id in I32 {
            walk.call(seq_id, || context.embeddings_seq(SeqId::new(seq_id)).map(<[f32]>::to_vec));
        }
    });
}

fn set_n_threads(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        for (one, many) in U32.into_iter().flat_map(|one| [(one, 1), (1, one), (one, one)]) {
            walk.call(format!("{one} {many}"), || context.set_n_threads(one, many));
        }
        if !walk.is_poisoned() {
            context.set_n_threads(1, 1).unwrap();
        }
    });
}

fn set_embeddings(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        let before = context.params().embeddings;
        for value in [true, false, true, true, false, before] {
            walk.call(value, || context.set_embeddings(value));
            read_everything(walk, context);
        }
    });
}

fn set_causal_attention(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        let before = context.causal_attention();
        for value in [true, false, true, true, before] {
            walk.call(value, || context.set_causal_attention(value));
            read_everything(walk, context);
        }
    });
}

/// Reads everything before a batch and after it.
fn read_everything(walk: &mut Walk, context: &mut Context) {
    if walk.is_poisoned() {
        return;
    }
    for when in ["before", "after"] {
        walk.call(format!("logits {when}"), || context.logits(2).map(|row| row.argmax()));
        walk.call(format!("embeddings {when}"), || context.embeddings(2).map(<[f32]>::len));
        walk.call(format!("pooled {when}"), || context.embeddings_seq(SeqId::new(0)).map(<[f32]>::len));
        if when == "before" {
            walk.run("a batch", || fill(context));
        }
    }
}
