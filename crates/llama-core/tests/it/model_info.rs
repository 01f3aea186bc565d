//! The properties of a model: kind, classifier, templates, sampling, tensors.

use std::collections::BTreeMap;

use crate::greedy::{self, load, load_smollm2};
use llama_core::model::{ModelKind, RopeType, SamplingKey};
use llama_core::{ErrorKind, Model, ModelParams};
use llama_gguf::TensorType;
use test_models::Tiny;
use test_models::rewritten::{saved, with_metadata};

#[test]
fn every_architecture_has_its_kind() {
    let expected = [
        (Tiny::Llama, "llama", ModelKind::Decoder, RopeType::Norm),
        (Tiny::LlamaQ8, "llama", ModelKind::Decoder, RopeType::Norm),
        (Tiny::Qwen2, "qwen2", ModelKind::Decoder, RopeType::Neox),
        (Tiny::Qwen3Moe, "qwen3moe", ModelKind::Decoder, RopeType::Neox),
        (Tiny::Gemma3, "gemma3", ModelKind::Decoder, RopeType::Neox),
        (Tiny::Mamba, "mamba", ModelKind::Recurrent, RopeType::None),
        (Tiny::Jamba, "jamba", ModelKind::Hybrid, RopeType::None),
        (Tiny::Bert, "bert", ModelKind::Encoder, RopeType::Neox),
        (Tiny::BertReranker, "bert", ModelKind::Encoder, RopeType::Neox),
        (Tiny::T5, "t5", ModelKind::EncoderDecoder, RopeType::None),
    ];
    assert_eq!(expected.len(), Tiny::ALL.len());
    for (tiny, architecture, kind, rope) in expected {
        for params in [ModelParams::default(), ModelParams::default().no_alloc(true)] {
            let model = Model::load(tiny.path(), &params).unwrap();
            assert_eq!(model.architecture().unwrap(), architecture);
            assert_eq!(model.kind().unwrap(), kind, "{tiny}");
            assert_eq!(model.rope_type().unwrap(), rope, "{tiny}");
            assert_eq!(model.n_layer_nextn(), 0);
        }
        let vocabulary = Model::load(tiny.path(), &ModelParams::default().vocab_only(true)).unwrap();
        assert_eq!(vocabulary.kind().unwrap(), kind, "{tiny}");
        assert_eq!(vocabulary.rope_type().unwrap(), rope, "{tiny}");
    }
}

#[test]
fn a_vocabulary_alone_describes_the_model() {
    for tiny in Tiny::ALL {
        let whole = load(*tiny);
        let vocabulary = Model::load(tiny.path(), &ModelParams::default().vocab_only(true)).unwrap();
        let numbers = |model: &Model| {
            [
                model.n_ctx_train(),
                model.n_embd(),
                model.n_embd_inp(),
                model.n_embd_out(),
                model.n_layer(),
                model.n_layer_nextn(),
                model.n_swa(),
            ]
        };
        assert_eq!(numbers(&vocabulary), numbers(&whole), "{tiny}");
        assert!(vocabulary.n_embd() > 0 && vocabulary.n_layer() > 0, "{tiny}");
        assert_eq!(vocabulary.n_params(), whole.n_params(), "{tiny}");
        assert_eq!(vocabulary.size(), whole.size(), "{tiny}");
        assert_eq!(vocabulary.decoder_start_token(), whole.decoder_start_token(), "{tiny}");
        assert_eq!(
            vocabulary.n_classifier_outputs().unwrap(),
            whole.n_classifier_outputs().unwrap(),
            "{tiny}"
        );
        assert!((vocabulary.rope_freq_scale_train() - whole.rope_freq_scale_train()).abs() < 1e-9, "{tiny}");
        // For each layer another number, or none that there is a key for: refused.
        for (stated, real) in
            [(vocabulary.n_head(), whole.n_head()), (vocabulary.n_head_kv(), whole.n_head_kv())]
        {
            match stated {
                Ok(stated) => assert_eq!(stated, real.unwrap(), "{tiny}"),
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{tiny}: {error}");
                    assert!(matches!(tiny, Tiny::Mamba | Tiny::Jamba), "{tiny}: {error}");
                }
            }
        }
    }
}

#[test]
fn a_vocabulary_alone_knows_the_file_type_that_its_file_states() {
    let vocabulary =
        |path: &std::path::Path| Model::load(path, &ModelParams::default().vocab_only(true)).unwrap();
    let smollm2 = vocabulary(&test_models::smollm2());
    assert_eq!(smollm2.file_type().as_deref(), Some("Q4_1"));
    assert_eq!(smollm2.description(), "llama Q4_1, vocabulary only");
    assert_eq!((smollm2.n_embd(), smollm2.n_layer(), smollm2.n_head().unwrap()), (576, 30, 9));
    let file = |file_type: Option<u32>| {
        let bytes = with_metadata(Tiny::Llama, |metadata| {
            metadata.remove("general.file_type");
            if let Some(file_type) = file_type {
                metadata.set("general.file_type", file_type);
            }
        });
        let (_folder, path) = saved(&bytes);
        vocabulary(&path)
    };
    assert_eq!(file(None).file_type(), None);
    assert_eq!(file(None).description(), "llama, vocabulary only");
    assert_eq!(file(Some(7)).file_type().as_deref(), Some("Q8_0"));
}

#[test]
fn kinds_follow_what_contexts_have() {
    for tiny in Tiny::ALL {
        let model = load(*tiny);
        let context = llama_core::Context::new(&model, &greedy::params()).unwrap();
        let none = matches!(model.kind().unwrap(), ModelKind::Encoder | ModelKind::Diffusion);
        assert_eq!(context.has_memory(), !none, "{tiny}");
    }
}

#[test]
fn only_classifiers_have_outputs() {
    for tiny in Tiny::ALL {
        let outputs = (*tiny == Tiny::BertReranker).then_some(1);
        let model = load(*tiny);
        assert_eq!(model.n_classifier_outputs().unwrap(), outputs, "{tiny}");
        assert!(model.classifier_labels().is_empty());
    }
}

#[test]
fn outputs_can_have_names() {
    let labels = ["good", "bad", "ügly"].map(llama_gguf::Text::from);
    let bytes = with_metadata(Tiny::Bert, |metadata| {
        metadata.set("bert.classifier.output_labels", labels.to_vec());
    });
    let (_folder, path) = saved(&bytes);
    let model = Model::load(path, &ModelParams::default()).unwrap();
    assert_eq!(model.classifier_labels(), ["good", "bad", "ügly"]);
    assert_eq!(model.n_classifier_outputs().unwrap(), Some(3));
}

#[test]
fn named_chat_templates_are_listed() {
    let bytes = with_metadata(Tiny::Llama, |metadata| {
        let names = ["tool_use", "rag"].map(llama_gguf::Text::from);
        metadata
            .set("tokenizer.chat_templates", names.to_vec())
            .set("tokenizer.chat_template.tool_use", "{{ tools }}")
            .set("tokenizer.chat_template.rag", "{{ documents }}");
    });
    let (_folder, path) = saved(&bytes);
    let model = Model::load(path, &ModelParams::default()).unwrap();
    assert_eq!(model.chat_template_names().unwrap(), ["rag", "tool_use"]);
    let template = |name| model.chat_template(name).unwrap();
    assert_eq!(template(Some("tool_use")).as_deref(), Some("{{ tools }}"));
    assert_eq!(template(Some("rag")).as_deref(), Some("{{ documents }}"));
    assert_eq!(template(Some("none")), None);
    assert_eq!(template(Some("%s%n")), None);
    assert!(template(None).unwrap().contains("<|im_start|>"));
    assert!(model.chat_template(Some("a\0")).is_err());
    assert!(load(Tiny::Llama).chat_template_names().unwrap().is_empty());
}

#[test]
fn recommended_sampling_is_read_by_parameter() {
    let bytes = with_metadata(Tiny::Llama, |metadata| {
        metadata
            .set("general.sampling.top_k", 20i32)
            .set("general.sampling.temp", 0.6f32)
            .set("general.sampling.sequence", "top_k;temperature");
    });
    let (_folder, path) = saved(&bytes);
    let model = Model::load(path, &ModelParams::default()).unwrap();
    let value = |key| model.recommended_sampling(key).unwrap();
    assert_eq!(value(SamplingKey::TopK).as_deref(), Some("20"));
    assert_eq!(value(SamplingKey::Temperature).as_deref(), Some("0.600000"));
    assert_eq!(value(SamplingKey::Sequence).as_deref(), Some("top_k;temperature"));
    assert_eq!(value(SamplingKey::MinP), None);
}

#[test]
fn sampling_parameters_have_keys() {
    let keys: Vec<String> = SamplingKey::ALL.iter().map(|key| key.metadata_key()).collect();
    let names = [
        "sequence",
        "top_k",
        "top_p",
        "min_p",
        "xtc_probability",
        "xtc_threshold",
        "temp",
        "penalty_last_n",
        "penalty_repeat",
        "mirostat",
        "mirostat_tau",
        "mirostat_eta",
    ];
    assert_eq!(keys, names.map(|name| format!("general.sampling.{name}")));
}

#[test]
fn tensors_say_how_they_are_quantised() {
    let model = load_smollm2();
    let mut types: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for tensor in model.tensors() {
        let entry = types.entry(tensor.tensor_type().name()).or_default();
        *entry = (entry.0 + 1, entry.1 + tensor.bytes());
    }
    let counts: Vec<_> = types.iter().map(|(name, (count, _))| (*name, *count)).collect();
    assert_eq!(counts, [("f32", 61), ("q4_1", 210), ("q8_0", 1)]);
    assert_eq!(types.values().map(|(_, bytes)| bytes).sum::<u64>(), model.size());
    let embedding = model.tensors().iter().find(|tensor| *tensor.name() == "token_embd.weight").unwrap();
    assert_eq!((embedding.tensor_type(), embedding.shape()), (TensorType::Q8_0, &[576, 49152][..]));
    assert_eq!(model.tensors().iter().map(llama_gguf::TensorInfo::elements).sum::<u64>(), model.n_params());
}
