//! Loading models: each parameter has its effect, or is refused with a reason.

use crate::greedy::{self, fresh_continuation, ids, load, logits_after, params, tokens};
use crate::logged::log_of;
use llama_core::device::{devices, max_devices};
use llama_core::model::{KvValue, LazyMode, LoadMode, SplitMode, TensorPlace, max_tensor_overrides};
use llama_core::{Context, Device, ErrorKind, Model, ModelParams};
use test_models::Tiny;
use test_models::child::alone;

fn answer(model: &Model) -> Vec<i32> {
    ids(&fresh_continuation(model, &tokens(model, "Hello world"), 8))
}

/// Returns the error of loading a tiny model with these parameters.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "each caller builds the parameters for this call")]
fn refused(params: ModelParams) -> String {
    let error = Model::load(Tiny::Llama.path(), &params).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidParameter(_)), "{error}");
    error.to_string()
}

#[test]
fn parameters_that_change_no_result_change_no_result() {
    let expected = answer(&load(Tiny::LlamaQ8));
    let variants = [
        ModelParams::default().devices([]),
        ModelParams::default().use_extra_bufts(false),
        ModelParams::default().no_host(true),
        ModelParams::default().load_mtp(true),
        ModelParams::default().lazy_mode(LazyMode::Off),
        ModelParams::default().lazy_mode(LazyMode::On),
        ModelParams::default().lazy_mode(LazyMode::On).load_mode(LoadMode::Read),
        ModelParams::default().tensor_split([0.5, 0.5]).split_mode(SplitMode::Layer),
        ModelParams::default().tensor_split(vec![0.0; 16]),
        ModelParams::default().split_mode(SplitMode::Row),
        ModelParams::default().n_gpu_layers(Some(u32::MAX)),
        ModelParams::default().tensor_override(".*", TensorPlace::Cpu),
    ];
    for variant in variants {
        let model = Model::load(Tiny::LlamaQ8.path(), &variant).unwrap();
        assert_eq!(model.params(), &variant);
        let found = answer(&model);
        // Kernels for rearranged weights round differently; the beginning is the same all the same.
        assert_eq!(found[..4], expected[..4], "{variant:?}");
    }
}

#[test]
fn devices_are_named_once_and_are_gpus() {
    let cpu = Device::cpu().unwrap();
    let text = refused(ModelParams::default().devices([cpu]));
    assert_eq!(text, "devices is CPU, but must be a list of GPUs only: CPU always takes part");
    assert!(
        refused(ModelParams::default().devices([cpu, cpu])).starts_with("devices is CPU, CPU, but must be")
    );
    let text = refused(ModelParams::default().devices(vec![cpu; max_devices() + 1]));
    assert!(text.ends_with("must be at most 16 devices"), "{text}");
    for gpu in devices().into_iter().filter(|device| *device != cpu) {
        assert!(refused(ModelParams::default().devices([gpu, gpu])).contains(", but must be a list"));
    }
}

#[test]
fn proportions_are_numbers() {
    let text = |split: &[f32]| refused(ModelParams::default().tensor_split(split));
    assert_eq!(text(&[f32::NAN]), "tensor_split is [NaN], but must be finite numbers of at least 0");
    for wrong in [f32::INFINITY, f32::NEG_INFINITY, -1.0, -f32::MIN_POSITIVE] {
        assert!(text(&[1.0, wrong]).ends_with("must be finite numbers of at least 0"), "{wrong}");
    }
    assert!(text(&[f32::MAX, f32::MAX]).contains("must be proportions with a finite sum"));
    assert!(text(&[1.0; 17]).ends_with("must be at most 16 parts, one for each device"));
    for right in [vec![], vec![0.0], vec![1.0; 16], vec![f32::MAX], vec![1e-45, 0.0], vec![-0.0]] {
        Model::load(Tiny::Llama.path(), &ModelParams::default().tensor_split(right)).unwrap();
    }
}

#[test]
fn a_main_gpu_is_an_index() {
    let text = refused(ModelParams::default().main_gpu(u32::MAX));
    assert_eq!(text, "main_gpu is 4294967295, but must be an index of a GPU (0..2147483647)");
}

#[test]
fn llama_cpp_says_why_it_cannot_divide_by_tensors_without_gpus() {
    if devices().len() > 1 {
        return;
    }
    let params = ModelParams::default().split_mode(SplitMode::Tensor);
    let error = Model::load(Tiny::Llama.path(), &params).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Load { .. }));
    assert!(error.to_string().contains("LLAMA_SPLIT_MODE_TENSOR needs >= 1 devices"), "{error}");
}

#[test]
fn an_architecture_that_cannot_be_divided_by_tensors_is_refused() {
    let params = ModelParams::default().split_mode(SplitMode::Tensor);
    let error = Model::load(Tiny::Jamba.path(), &params).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::InvalidParameter(problem) if problem.name == "split_mode"),
        "{error}"
    );
    let text = "must be SplitMode::Layer or SplitMode::None: llama.cpp cannot divide models of the architecture `jamba` by tensors";
    assert!(error.to_string().contains(text), "{error}");
    // What counts is what llama.cpp takes it for.
    let called_jamba = params.kv_override("general.architecture", "jamba");
    let error = Model::load(Tiny::Llama.path(), &called_jamba).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::InvalidParameter(problem) if problem.name == "split_mode"),
        "{error}"
    );
}

#[test]
fn a_pattern_decides_where_tensors_go() {
    alone(module_path!(), "a_pattern_decides_where_tensors_go", || {
        let placed = |params: ModelParams| {
            let (model, log) = log_of(|| Model::load(Tiny::Qwen3Moe.path(), &params).unwrap());
            let names = log.lines().filter_map(|line| {
                let (before, _) = line.split_once(" buffer type overridden to ")?;
                Some(before.rsplit_once("tensor ")?.1.split_once(' ')?.0.to_owned())
            });
            let mut names: Vec<String> = names.collect();
            names.sort();
            (answer(&model), names)
        };
        let (expected, none) = placed(ModelParams::default());
        assert!(none.is_empty());
        let (same, experts) = placed(ModelParams::default().experts_on_cpu());
        assert_eq!(same, expected);
        let all: Vec<_> = (0..2)
            .flat_map(|layer| {
                ["down", "gate", "up"].map(|part| format!("blk.{layer}.ffn_{part}_exps.weight"))
            })
            .collect();
        assert_eq!(experts, all);
        let cpu = Device::cpu().unwrap();
        let (same, one) = placed(ModelParams::default().tensor_override(r"^blk\.1\.attn_[qk]\.weight$", cpu));
        assert_eq!(same, expected);
        assert_eq!(one, ["blk.1.attn_k.weight", "blk.1.attn_q.weight"]);
    });
}

#[test]
fn patterns_that_cpp_cannot_read_are_refused_with_its_reason() {
    let text = |pattern: &str| refused(ModelParams::default().tensor_override(pattern, TensorPlace::Cpu));
    for pattern in ["[", "(", ")", "*a", "a{2,1}", "\\", "[z-a]", "(?<name>a)", "[[:nonsense:]]", "\\1"] {
        let text = text(pattern);
        let start = format!("tensor_override is {pattern}, but must be a regular expression: ");
        assert!(text.starts_with(&start) && text.len() > start.len(), "{text}");
    }
    let error =
        Model::load(Tiny::Llama.path(), &ModelParams::default().tensor_override("a\0b", TensorPlace::Cpu));
    let error = error.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InteriorNul { position: 1, .. }), "{error}");
}

#[test]
fn patterns_do_not_exhaust_the_stack() {
    // On a small stack, as that of a thread may be.
    let run = || {
        let nested = |depth| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
        let patterns = [
            nested(127),
            "a|".repeat(127),
            "(a|".repeat(80),
            "[".repeat(256),
            "a{9999}".to_owned(),
            ".*".repeat(128),
            "(.*)*".repeat(51),
            nested(120) + "*",
        ];
        for pattern in patterns {
            assert!(pattern.len() <= 256);
            let params = ModelParams::default().tensor_override(pattern, TensorPlace::Cpu);
            drop(Model::load(Tiny::Llama.path(), &params));
        }
        let text = refused(ModelParams::default().tensor_override(nested(128), TensorPlace::Cpu));
        assert!(text.ends_with("(((((…, but must be at most 256 bytes long (it has 257)"), "{text}");
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(run).unwrap().join().unwrap();
}

#[test]
fn there_can_be_many_patterns_and_too_many() {
    let many = |count: usize| {
        let add = |params: ModelParams, index| {
            params.tensor_override(format!("no_tensor_{index}"), TensorPlace::Cpu)
        };
        (0..count).fold(ModelParams::default(), add)
    };
    let model = Model::load(Tiny::Llama.path(), &many(1000)).unwrap();
    assert_eq!(answer(&model), answer(&load(Tiny::Llama)));
    assert_eq!(max_tensor_overrides(), 4096);
    let text = refused(many(4097));
    assert_eq!(text, "tensor_override is set 4097 times, but must be set at most 4096 times");
}

#[test]
fn metadata_can_be_overridden() {
    let with = |tiny: Tiny, key: &str, value: KvValue| {
        Model::load(tiny.path(), &ModelParams::default().kv_override(key, value))
    };
    let plain = load(Tiny::Llama);
    assert_eq!((plain.n_ctx_train(), plain.vocab().adds_bos()), (512, true));
    let longer = with(Tiny::Llama, "llama.context_length", 4096.into()).unwrap();
    assert_eq!(longer.n_ctx_train(), 4096);
    // What the file says is still to be seen.
    assert_eq!(longer.metadata_value("llama.context_length").unwrap().as_deref(), Some("512"));
    assert_eq!(answer(&longer), answer(&plain));
    let without_bos = with(Tiny::Llama, "tokenizer.ggml.add_bos_token", false.into()).unwrap();
    assert!(!without_bos.vocab().adds_bos());
    let logits = |model: &Model| {
        let prompt = tokens(&plain, "Hello world, hello");
        logits_after(&mut Context::new(model, &params()).unwrap(), &prompt, greedy::SEQ, 0)
    };
    let other_base = with(Tiny::Llama, "llama.rope.freq_base", 500_000.0.into()).unwrap();
    assert!(greedy::difference(&logits(&plain), &logits(&other_base)) > 0.001);
    let error = with(Tiny::Llama, "general.architecture", "nonsense".into()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Load { .. }));
    assert!(error.to_string().contains("unknown model architecture: 'nonsense'"), "{error}");
}

#[test]
fn of_two_overrides_the_first_counts() {
    let params = ModelParams::default()
        .kv_override("llama.context_length", 1024)
        .kv_override("llama.context_length", 2);
    assert_eq!(Model::load(Tiny::Llama.path(), &params).unwrap().n_ctx_train(), 1024);
}

#[test]
fn overrides_have_the_type_of_the_value() {
    let text = |key: &str, value: KvValue| refused(ModelParams::default().kv_override(key, value));
    assert_eq!(
        text("llama.context_length", 1.5.into()),
        "kv_override is llama.context_length, but must be of the type of the file's value, which is an integer: the override is \
         a float"
    );
    assert!(
        text("llama.rope.freq_base", 10.into()).ends_with("which is a float: the override is an integer")
    );
    assert!(text("general.name", true.into()).ends_with("which is a text: the override is a boolean"));
    assert!(
        text("tokenizer.ggml.add_bos_token", "yes".into())
            .ends_with("which is a boolean: the override is a text")
    );
    assert!(
        text("tokenizer.ggml.tokens", "a".into())
            .contains("the file's value, which is an array, which cannot be overridden: ")
    );
}

#[test]
fn keys_and_texts_have_127_bytes() {
    let with = |key: &str, value: KvValue| {
        Model::load(Tiny::Llama.path(), &ModelParams::default().kv_override(key, value))
    };
    let (fits, too_long) = ("k".repeat(127), "k".repeat(128));
    with(&fits, 1.into()).unwrap();
    with("some.key", fits.as_str().into()).unwrap();
    let error = with(&too_long, 1.into()).unwrap_err();
    assert!(error.to_string().ends_with(", but must be at most 127 bytes long (it has 128)"), "{error}");
    let error = with("some.key", too_long.as_str().into()).unwrap_err();
    assert!(error.to_string().starts_with("text of a kv_override is kkk"), "{error}");
    let error = with("some.key", "ä".repeat(64).into()).unwrap_err();
    assert!(error.to_string().contains("(it has 128)"), "{error}");
    for (key, value) in [("a\0", 1.into()), ("some.key", KvValue::from("\0a"))] {
        let error = with(key, value).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InteriorNul { .. }), "{error}");
    }
    let error = with("", 1.into()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "kv_override is \"\", but must be a key: an empty one ends the list for llama.cpp"
    );
    for key in ["split.count", "split.no", "split.tensors.count"] {
        let error = with(key, 2.into()).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("the parts of a split model follow from its files: use Model::load_splits")
        );
    }
}

#[test]
fn there_can_be_many_overrides() {
    let add = |params: ModelParams, index: i32| params.kv_override(format!("no.such.key.{index}"), index);
    let params = (0..1000).fold(ModelParams::default(), add).kv_override("llama.context_length", 77);
    assert_eq!(Model::load(Tiny::Llama.path(), &params).unwrap().n_ctx_train(), 77);
}

/// Absurd overrides, many of which llama.cpp asserts on, give errors or models and do not end the process.
#[test]
fn absurd_overrides_are_errors_or_models() {
    let keys = [
        "block_count",
        "embedding_length",
        "attention.head_count",
        "attention.head_count_kv",
        "context_length",
        "feed_forward_length",
        "expert_count",
        "expert_used_count",
        "vocab_size",
        "pooling_type",
        "attention.key_length",
    ];
    let (mut failed, mut loaded) = (0, 0);
    for key in keys {
        for value in [0, 1, 3, -1, 1 << 31, i64::MAX, i64::MIN] {
            let params = ModelParams::default().kv_override(format!("qwen3moe.{key}"), value);
            let context = Model::load(Tiny::Qwen3Moe.path(), &params)
                .and_then(|model| Context::new(&model, &greedy::params()).map(|context| (model, context)));
            match context {
                Ok((model, mut context)) => {
                    greedy::decode(&mut context, &tokens(&model, "Hello"), greedy::SEQ, 0);
                    loaded += 1;
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    failed += 1;
                }
            }
        }
    }
    assert!(failed > 30 && loaded > 10, "{failed} {loaded}");
}

#[test]
fn a_model_without_weights_knows_everything_else() {
    let params = ModelParams::default().no_alloc(true);
    for tiny in Tiny::ALL {
        let (without, with) = (Model::load(tiny.path(), &params).unwrap(), load(*tiny));
        assert!(with.has_weights() && !without.has_weights() && without.params().is_no_alloc());
        assert_eq!(without.n_layer(), with.n_layer(), "{tiny}");
        assert_eq!((without.n_params(), without.size()), (with.n_params(), with.size()), "{tiny}");
        assert_eq!(tokens(&without, "Hello world"), tokens(&with, "Hello world"), "{tiny}");
        assert_eq!(without.metadata().unwrap(), with.metadata().unwrap(), "{tiny}");
        assert_eq!(without.tensors(), with.tensors(), "{tiny}");
        let error = Context::new(&without, &greedy::params()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "creating a context is not possible with this model: it was loaded with no_alloc and has no weights"
        );
    }
    for mode in [LoadMode::Auto, LoadMode::Mmap, LoadMode::MmapMlock, LoadMode::Mlock, LoadMode::DirectIo] {
        let model =
            Model::load(Tiny::Llama.path(), &params.clone().load_mode(mode).lazy_mode(LazyMode::On)).unwrap();
        assert_eq!(model.n_layer(), 2);
    }
    assert!(!Model::load(Tiny::Llama.path(), &params.vocab_only(true)).unwrap().has_weights());
}

#[test]
fn modes_have_llama_cpps_names() {
    let names = ["auto", "none", "mmap", "mlock", "mmap+mlock", "dio"];
    let modes = names.map(|name| name.parse::<LoadMode>().unwrap());
    assert_eq!(modes[1], LoadMode::Read);
    assert_eq!(modes.map(|mode| mode.to_string()), names);
    assert_eq!(format!("{:>6}", LoadMode::DirectIo), "   dio");
    for wrong in ["", "Mmap", "mmap ", "read"] {
        let error = wrong.parse::<LoadMode>().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("load_mode is {wrong}, but must be one of auto, none, mmap, mlock, mmap+mlock, dio")
        );
    }
}
