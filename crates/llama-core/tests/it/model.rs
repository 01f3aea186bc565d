//! Models: their properties, loading, and sharing.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::greedy::{self, fresh_continuation, ids, load, load_smollm2, params, text, tokens};
use llama_core::model::LoadMode;
use llama_core::vocab::VocabKind;
use llama_core::{Context, ErrorKind, Model, ModelParams, Token};
use test_models::Tiny;

struct Facts {
    n_embd: u32,
    n_layer: u32,
    n_vocab: usize,
    n_swa: u32,
    kind: VocabKind,
    architecture: &'static str,
    bos: Option<i32>,
    eos: Option<i32>,
}

fn facts(tiny: Tiny) -> Facts {
    use VocabKind::{Bpe, Spm, Ugm, Wpm};
    let facts = |architecture, n_layer, n_vocab, n_swa, kind, bos, eos| Facts {
        n_embd: 64,
        n_layer,
        n_vocab,
        n_swa,
        kind,
        architecture,
        bos,
        eos,
    };
    match tiny {
        Tiny::Llama | Tiny::LlamaQ8 => facts("llama", 2, 507, 0, Spm, Some(1), Some(2)),
        Tiny::Qwen2 => facts("qwen2", 2, 404, 0, Bpe, Some(401), Some(403)),
        Tiny::Qwen3Moe => facts("qwen3moe", 2, 404, 0, Bpe, Some(401), Some(403)),
        Tiny::Gemma3 => facts("gemma3", 3, 507, 16, Spm, Some(1), Some(2)),
        Tiny::Mamba => facts("mamba", 2, 404, 0, Bpe, Some(401), Some(403)),
        Tiny::Jamba => facts("jamba", 3, 507, 0, Spm, Some(1), Some(2)),
        Tiny::Bert | Tiny::BertReranker => facts("bert", 2, 163, 0, Wpm, Some(2), Some(3)),
        Tiny::T5 => facts("t5", 2, 148, 0, Ugm, None, Some(1)),
    }
}

#[test]
fn tiny_models_say_what_they_are() {
    for &tiny in Tiny::ALL {
        let (model, facts) = (load(tiny), facts(tiny));
        let vocab = model.vocab();
        assert_eq!(model.n_embd(), facts.n_embd, "{tiny}");
        assert_eq!((model.n_embd_inp(), model.n_embd_out()), (facts.n_embd, facts.n_embd), "{tiny}");
        assert_eq!(model.n_layer(), facts.n_layer, "{tiny}");
        assert_eq!(model.n_ctx_train(), 512, "{tiny}");
        assert_eq!(model.n_swa(), facts.n_swa, "{tiny}");
        assert_eq!((vocab.n_tokens(), vocab.kind()), (facts.n_vocab, facts.kind), "{tiny}");
        assert_eq!(vocab.bos().map(Token::get), facts.bos, "{tiny}");
        assert_eq!(vocab.eos().map(Token::get), facts.eos, "{tiny}");
        let architecture = model.metadata_value("general.architecture").unwrap();
        assert_eq!(architecture.as_deref(), Some(facts.architecture), "{tiny}");
        assert_eq!(model.is_recurrent(), tiny == Tiny::Mamba, "{tiny}");
        assert_eq!(model.is_hybrid(), tiny == Tiny::Jamba, "{tiny}");
        assert_eq!(model.has_encoder(), tiny == Tiny::T5, "{tiny}");
        assert!(model.has_decoder() && !model.is_diffusion(), "{tiny}");
        assert_eq!(model.decoder_start_token().map(Token::get), (tiny == Tiny::T5).then_some(0), "{tiny}");
        assert_eq!(model.path(), Some(tiny.path().as_path()), "{tiny}");
        let file = llama_gguf::validate_file(tiny.path()).unwrap();
        let bytes: u64 = file.tensors().iter().map(llama_gguf::TensorInfo::bytes).sum();
        let elements: u64 = file.tensors().iter().map(llama_gguf::TensorInfo::elements).sum();
        assert_eq!((model.size(), model.n_params()), (bytes, elements), "{tiny}");
    }
}

#[test]
fn heads_are_those_of_the_first_layer() {
    let heads = |tiny| {
        let model = load(tiny);
        (model.n_head().unwrap(), model.n_head_kv().unwrap())
    };
    assert_eq!(heads(Tiny::Llama), (2, 1));
    assert_eq!(heads(Tiny::Bert), (2, 2));
    assert_eq!(heads(Tiny::Mamba), (0, 0));
}

#[test]
fn smollm2_says_what_it_is() {
    let model = load_smollm2();
    assert_eq!((model.n_embd(), model.n_layer(), model.n_ctx_train()), (576, 30, 8192));
    assert_eq!((model.n_head().unwrap(), model.n_head_kv().unwrap()), (9, 3));
    assert_eq!((model.n_params(), model.size()), (134_515_008, 96_576_768));
    assert_eq!(model.file_type().as_deref(), Some("Q4_1"));
    assert_eq!(model.description(), "llama 256M Q4_1");
    assert!(format!("{model:?}").contains("llama 256M Q4_1"));
    assert!((model.rope_freq_scale_train() - 1.0).abs() < f32::EPSILON);
    assert_eq!((model.has_encoder(), model.has_decoder()), (false, true));
    assert_eq!(model.decoder_start_token(), None);
}

#[test]
fn smollm2_has_its_special_tokens() {
    let model = load_smollm2();
    let vocab = model.vocab();
    assert_eq!((vocab.n_tokens(), vocab.kind()), (49152, VocabKind::Bpe));
    let special = [vocab.bos(), vocab.eos(), vocab.eot(), vocab.pad(), vocab.sep(), vocab.mask()];
    assert_eq!(special.map(|token| token.map(Token::get)), [Some(1), Some(2), Some(2), Some(2), None, None]);
    assert_eq!((vocab.adds_bos(), vocab.adds_eos(), vocab.adds_sep()), (false, false, false));
    let end = Token::new(2);
    assert_eq!(vocab.text(end).unwrap(), "<|im_end|>");
    assert!(
        vocab.is_eog(end) && vocab.is_control(end).unwrap() && vocab.attributes(end).unwrap().is_control()
    );
    let paris = Token::new(7042);
    assert_eq!(vocab.text(paris).unwrap(), "\u{120}Paris");
    assert!(!vocab.is_eog(paris) && vocab.attributes(paris).unwrap().is_normal());
    assert!(!vocab.is_eog(Token::new(-1)) && !vocab.is_eog(Token::new(i32::MAX)));
}

#[test]
fn metadata_is_text_sorted_by_key() {
    let model = load_smollm2();
    let metadata = model.metadata().unwrap();
    let value = |key: &str| model.metadata_value(key).unwrap();
    assert_eq!(value("general.name").as_deref(), Some("Smollm2 135M 8k Lc100K Mix1 Ep2"));
    assert_eq!(value("llama.block_count").as_deref(), Some("30"));
    assert_eq!(value("tokenizer.ggml.add_bos_token").as_deref(), Some("false"));
    // An array is no scalar.
    assert_eq!((value("tokenizer.ggml.tokens"), value("no.such.key")), (None, None));
    assert!(metadata.is_sorted());
    for (key, text) in &metadata {
        assert_eq!(value(key).as_ref(), Some(text), "{key}");
    }
    let error = model.metadata_value("a\0b").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the metadata key has a NUL byte at position 1, which a C string cannot hold: remove it"
    );
}

#[test]
fn chat_templates_are_found_by_name() {
    let model = load_smollm2();
    let template = model.chat_template(None).unwrap().unwrap();
    // Longer than any fixed buffer that one would think of.
    assert_eq!(Some(&template), model.metadata_value("tokenizer.chat_template").unwrap().as_ref());
    assert!(
        template.starts_with("{% for message in messages %}") && template.contains("<|im_start|>assistant")
    );
    assert_eq!(model.chat_template(Some("tool_use")).unwrap(), None);
    assert_eq!(load(Tiny::Mamba).chat_template(None).unwrap(), None);
}

#[test]
fn progress_grows_to_one() {
    let mut seen = Vec::new();
    let model = Model::load_with_progress(test_models::smollm2(), &ModelParams::default(), |progress| {
        seen.push(progress);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(model.n_layer(), 30);
    assert!(seen.len() > 2 && seen.is_sorted(), "{seen:?}");
    assert_eq!((seen[0], seen[seen.len() - 1]), (0.0, 1.0));
}

#[test]
fn progress_can_stop_the_loading() {
    for stop_at in [1, 2, 5] {
        let mut calls = 0;
        let error = Model::load_with_progress(test_models::smollm2(), &ModelParams::default(), |_| {
            calls += 1;
            if calls == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::LoadCancelled { path, .. } if *path == test_models::smollm2())
        );
        assert!(error.to_string().ends_with(".gguf was cancelled by the progress callback"), "{error}");
        assert_eq!(calls, stop_at);
    }
}

#[test]
fn panic_of_the_callback_is_resumed() {
    let mut calls = 0;
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let load = Model::load_with_progress(test_models::smollm2(), &ModelParams::default(), |_| {
            calls += 1;
            panic!("the callback's own words")
        });
        drop(load);
    }));
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"the callback's own words"));
    assert_eq!(calls, 1);
    assert_eq!(load_smollm2().n_layer(), 30);
}

#[test]
fn vocabulary_alone_tokenises_and_makes_no_context() {
    let model = Model::load(test_models::smollm2(), &ModelParams::default().vocab_only(true)).unwrap();
    assert!(model.params().is_vocab_only());
    assert_eq!(ids(&tokens(&model, "The capital of France is")), [504, 3575, 282, 4649, 314]);
    assert_eq!(model.metadata_value("general.basename").unwrap().as_deref(), Some("smollm2"));
    let error = Context::new(&model, &params()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }));
    assert_eq!(
        error.to_string(),
        "creating a context is not possible with this model: it was loaded with vocab_only and has no weights"
    );
}

#[test]
fn ways_to_load_give_the_same_model() {
    let path = Tiny::Llama.path();
    let answers = [LoadMode::Auto, LoadMode::Read, LoadMode::Mmap, LoadMode::DirectIo].map(|mode| {
        let params = ModelParams::default().load_mode(mode).check_tensors(true).n_gpu_layers(Some(0));
        let model = Model::load(&path, &params).unwrap();
        assert_eq!(model.params(), &params);
        ids(&fresh_continuation(&model, &tokens(&model, "Hello world"), 8))
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[test]
fn several_models_live_side_by_side() {
    let models: Vec<Model> =
        [Tiny::Llama, Tiny::Qwen2, Tiny::Mamba, Tiny::Llama].into_iter().map(load).collect();
    let alone: Vec<Vec<Token>> = models
        .iter()
        .map(|model| {
            let model = Model::load(model.path().unwrap(), &ModelParams::default()).unwrap();
            fresh_continuation(&model, &tokens(&model, "Hello"), 6)
        })
        .collect();
    let mut contexts: Vec<Context> =
        models.iter().map(|model| Context::new(model, &params()).unwrap()).collect();
    for ((model, context), alone) in models.iter().zip(&mut contexts).zip(&alone) {
        let found = greedy::continuation(context, &tokens(model, "Hello"), greedy::SEQ, 6);
        assert_eq!(text(model, &found), text(model, alone));
    }
    assert!(!models[0].is_same(&models[3]));
}

#[test]
fn clones_share_and_outlive_each_other() {
    let model = load(Tiny::Llama);
    let clone = model.clone();
    assert!(model.is_same(&clone));
    let prompt = tokens(&model, "Hello world");
    let expected = fresh_continuation(&model, &prompt, 8);
    let mut context = Context::new(&model, &params()).unwrap();
    assert!(context.model().is_same(&clone));
    drop(model);
    drop(clone);
    assert_eq!(greedy::continuation(&mut context, &prompt, greedy::SEQ, 8), expected);
}

#[test]
fn a_model_is_used_from_many_threads() {
    let model = load_smollm2();
    let expected = tokens(&model, "one model, many threads");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(tokens(&model, "one model, many threads"), expected);
                    assert_eq!(text(&model, &expected), "one model, many threads");
                }
            });
        }
    });
}
