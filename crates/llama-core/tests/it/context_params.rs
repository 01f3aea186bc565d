//! The parameters of contexts: the effect of each, and the values in effect.

use crate::greedy::{SEQ, decode, difference, load, load_smollm2, logits_after, params, tokens};
use llama_core::context::{ContextType, PoolingType, RopeScaling};
use llama_core::{Context, ContextParams, Error, ErrorKind, Model, ModelParams, SeqId};
use test_models::{Tiny, rewritten};

#[track_caller]
fn assert_invalid<T: std::fmt::Debug>(result: Result<T, Error>, parameter: &str, words: &str) {
    let error = result.unwrap_err();
    match error.kind() {
        ErrorKind::InvalidParameter(problem) => assert_eq!(problem.name, parameter, "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(error.to_string().contains(words), "{words:?} is not in: {error}");
}

#[test]
fn resolved_parameters() {
    let model = load(Tiny::Llama);
    let given = params().n_ctx(1000).n_seq_max(3).n_batch(700).n_ubatch(100).n_outputs_max(10);
    let mut context = Context::new(&model, &given.clone().n_threads(1).n_threads_batch(2)).unwrap();
    let found = context.params();
    // A third of 1000, rounded up to 512 (1024 is rounded to a multiple of 256 for each).
    assert_eq!((found.n_ctx, found.n_ctx_seq), (1536, 512));
    assert_eq!((found.n_batch, found.n_ubatch, found.n_seq_max), (700, 99, 3));
    assert_eq!((found.n_outputs_max, found.n_rs_seq), (10, 0));
    assert_eq!((found.n_threads, found.n_threads_batch), (1, 2));
    assert_eq!((found.pooling_type, found.causal_attention), (PoolingType::None, true));
    assert!(!found.embeddings && !found.kv_unified);
    context.set_n_threads(2, 1).unwrap();
    context.set_causal_attention(false).unwrap();
    let found = context.params();
    assert_eq!((found.n_threads, found.n_threads_batch, found.causal_attention), (2, 1, false));

    let bert = Context::new(&load(Tiny::Bert), &params().embeddings(true)).unwrap().params();
    assert_eq!((bert.pooling_type, bert.causal_attention, bert.embeddings), (PoolingType::Mean, false, true));
    assert_eq!(bert.n_outputs_max, bert.n_batch);
    // An encoder has room for the results of all.
    let t5 = Context::new(&load(Tiny::T5), &params().n_outputs_max(300)).unwrap().params();
    assert_eq!((t5.n_outputs_max, t5.kv_unified), (256, true));
}

#[test]
fn numbers_of_results() {
    let model = load(Tiny::Llama);
    let refused = |params: &ContextParams| Context::new(&model, params);
    let few = params().n_seq_max(4).n_outputs_max(3);
    assert_invalid(
        refused(&few),
        "n_outputs_max",
        "must be at least n_seq_max, 4: each sequence needs a result",
    );
    let pooled = params().n_ubatch(64).n_outputs_max(63).embeddings(true);
    assert_invalid(
        refused(&pooled),
        "n_outputs_max",
        "must be at least n_ubatch, 64: embeddings are results of all tokens",
    );
    let mut context = Context::new(&model, &params().n_ubatch(64).n_outputs_max(63)).unwrap();
    assert_invalid(context.set_embeddings(true), "n_outputs_max", "n_outputs_max is 63");
    decode(&mut context, &tokens(&model, "Hello"), SEQ, 0);
    let mut enough = Context::new(&model, &params().n_ubatch(64).n_outputs_max(64)).unwrap();
    enough.set_embeddings(true).unwrap();
    decode(&mut enough, &tokens(&model, "Hello"), SEQ, 0);
    assert_eq!(enough.embeddings(0).unwrap().len(), 64);
    // One result of a large batch is what a chat needs.
    let params = params().n_outputs_max(1).n_outputs_max_per_seq(0);
    let row =
        logits_after(&mut Context::new(&model, &params).unwrap(), &tokens(&model, "Hello world"), SEQ, 0);
    assert_eq!(row.len(), 507);
}

#[test]
fn snapshots_of_states() {
    // None of the tiny models' kinds can go back: llama.cpp counts it as 0.
    for tiny in [Tiny::Mamba, Tiny::Jamba, Tiny::Llama] {
        let context = Context::new(&load(tiny), &params().n_rs_seq(4)).unwrap();
        assert_eq!((context.n_rs_seq(), context.params().n_rs_seq), (0, 0), "{tiny}");
    }
    let model = load(Tiny::Mamba);
    for (n_ubatch, n_rs_seq) in [(8, 7), (8, 8), (1, 1), (8, u32::MAX)] {
        let refused = Context::new(&model, &params().n_ubatch(n_ubatch).n_rs_seq(n_rs_seq));
        assert_invalid(refused, "n_rs_seq", "n_ubatch is");
    }
    Context::new(&model, &params().n_ubatch(8).n_rs_seq(6)).unwrap();
}

#[test]
fn scaling_of_positions() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world, this is a test");
    let row =
        |params: ContextParams| logits_after(&mut Context::new(&model, &params).unwrap(), &prompt, SEQ, 0);
    let plain = row(params());
    let half = row(params().rope_freq_scale(0.5));
    assert!(difference(&plain, &half) > 1e-3);
    // The model does not scale, and with `None` nothing is scaled.
    assert!(row(params().rope_scaling_type(RopeScaling::None)) == plain);
    assert!(row(params().rope_scaling_type(RopeScaling::None).rope_freq_scale(0.5)) == plain);
    assert!(row(params().rope_scaling_type(RopeScaling::Linear).rope_freq_scale(0.5)) == half);

    let yarn = || params().rope_scaling_type(RopeScaling::Yarn).rope_freq_scale(0.5);
    let stretched = row(yarn());
    assert!(difference(&half, &stretched) > 1e-4);
    // With nothing left as it is, YaRN is linear scaling.
    assert!(difference(&half, &row(yarn().yarn_ext_factor(0.0))) < 1e-3);
    let changed = [
        yarn().yarn_ext_factor(0.5),
        yarn().yarn_ext_factor(0.0).yarn_attn_factor(2.0),
        yarn().yarn_beta_fast(4.0),
        yarn().yarn_beta_slow(3.0),
        yarn().yarn_orig_ctx(64),
    ];
    for changed in changed {
        assert!(difference(&stretched, &row(changed.clone())) > 1e-5, "{changed:?}");
    }
}

#[test]
fn what_a_context_does_to_the_model_is_not_the_model_s_training() {
    let model = load(Tiny::Llama);
    let trained = model.n_ctx_train();
    let yarn = params().rope_scaling_type(RopeScaling::Yarn).rope_freq_scale(0.5).yarn_orig_ctx(64);
    drop(Context::new(&model, &yarn).unwrap());
    assert_eq!(model.n_ctx_train(), trained);
    assert_eq!(Context::new(&model, &params().n_ctx(0)).unwrap().n_ctx(), trained);
}

#[test]
fn scaling_outside_its_range() {
    let model = load(Tiny::Llama);
    let refused = |params: &ContextParams| Context::new(&model, params);
    for value in [f32::NAN, f32::INFINITY, -0.5] {
        assert_invalid(
            refused(&params().yarn_ext_factor(value)),
            "yarn_ext_factor",
            "must be finite and at least 0",
        );
        assert_invalid(
            refused(&params().yarn_attn_factor(value)),
            "yarn_attn_factor",
            "must be finite and at least 0",
        );
        assert_invalid(
            refused(&params().yarn_beta_fast(value)),
            "yarn_beta_fast",
            "must be finite and at least 0",
        );
        assert_invalid(
            refused(&params().yarn_beta_slow(value)),
            "yarn_beta_slow",
            "must be finite and at least 0",
        );
    }
    assert_invalid(refused(&params().yarn_orig_ctx(1 << 31)), "yarn_orig_ctx", "at most 2147483647");
    assert_invalid(
        refused(&params().rope_freq_scale(1e-9)),
        "rope_freq_scale",
        "stretched beyond 4294967295",
    );
    let yarn =
        params().rope_scaling_type(RopeScaling::Yarn).rope_freq_scale(0.25).yarn_orig_ctx(i32::MAX as u32);
    assert_invalid(refused(&yarn), "rope_freq_scale", "contexts of 2147483647 tokens");
}

#[test]
fn contexts_that_this_model_cannot_have() {
    let model = load(Tiny::Llama);
    let error = Context::new(&model, &params().ctx_type(ContextType::Mtp)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error:?}");
    assert!(error.to_string().contains("no layers that predict several tokens"), "{error}");
    // Without a GPU there is nothing to cache experts on.
    if !llama_core::device::supports_gpu_offload() {
        for tiny in [Tiny::Qwen3Moe, Tiny::Llama] {
            let error = Context::new(&load(tiny), &params().moe_cache_size(1 << 20)).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::ContextCreation { .. }), "{error:?}");
            assert!(error.log().iter().any(|line| line.contains("requires a GPU")), "{error:?}");
        }
    }
}

#[test]
fn warmed_up_contexts_are_as_new() {
    for tiny in Tiny::ALL {
        let model = load(*tiny);
        let mut context = Context::new(&model, &params().n_seq_max(2).n_ctx(512).perf(true)).unwrap();
        context.warm_up().unwrap();
        context.warm_up().unwrap();
        assert!(context.logits(0).is_err(), "{tiny}");
        let counts = |context: &mut Context| {
            let perf = context.perf().unwrap();
            (perf.n_generation, perf.n_prompt, perf.generation, perf.prompt)
        };
        let mut new = Context::new(&model, &params().perf(true)).unwrap();
        assert_eq!(counts(&mut context), counts(&mut new), "{tiny}");
        if !context.has_memory() {
            continue;
        }
        assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), None, "{tiny}");
        if model.has_encoder() {
            // Nothing is encoded yet.
            let mut batch = llama_core::Batch::new();
            batch.push_prompt(&[llama_core::Token::new(0)], SEQ, llama_core::Pos::new(0)).unwrap();
            assert!(matches!(context.decode(&batch).unwrap_err().kind(), ErrorKind::Unsupported { .. }));
            continue;
        }
        let prompt = tokens(&model, "Hello world");
        // Another sequence in use does not matter.
        decode(&mut context, &prompt, SeqId::new(1), 0);
        context.warm_up().unwrap();
        let found = logits_after(&mut context, &prompt, SEQ, 0);
        let expected = logits_after(&mut Context::new(&model, &params()).unwrap(), &prompt, SEQ, 0);
        assert!(difference(&expected, &found) < 1e-3, "{tiny}");
        let error = context.warm_up().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error:?}");
    }
    let smollm2 = load_smollm2();
    let mut context = Context::new(&smollm2, &params()).unwrap();
    context.warm_up().unwrap();
    assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), None);
}

#[test]
fn scores_need_a_classifier() {
    for tiny in Tiny::ALL {
        let model = load(*tiny);
        for embeddings in [true, false] {
            let rank = params().embeddings(embeddings).pooling_type(PoolingType::Rank);
            match tiny {
                Tiny::BertReranker => drop(Context::new(&model, &rank).unwrap()),
                Tiny::T5 => assert_invalid(
                    Context::new(&model, &rank).map(drop),
                    "pooling_type",
                    "must be None: the model's decoder needs the embedding of each token",
                ),
                _ => assert_invalid(
                    Context::new(&model, &rank).map(drop),
                    "pooling_type",
                    "pooling_type is Rank, but must be another type: the model has no classifier (no tensor `cls` or \
                     `cls.output`) to give scores, as rerankers have",
                ),
            }
        }
    }
    // A file that wants scores without having what gives them.
    let bytes = rewritten::with_metadata(Tiny::Bert, |metadata| {
        metadata.set("bert.pooling_type", 4_u32);
    });
    let (_folder, path) = rewritten::saved(&bytes);
    let model = Model::load(path, &ModelParams::default()).unwrap();
    assert_invalid(
        Context::new(&model, &params().embeddings(true)).map(drop),
        "pooling_type",
        "pooling_type is the model's own, Rank, but must be another type: the model has no classifier",
    );
    Context::new(&model, &params().embeddings(true).pooling_type(PoolingType::Mean)).unwrap();
}
