//! Plans, compared with llama.cpp's real use. Models that do not fit are refused without an attempt.

use crate::greedy::{load, load_smollm2, params};
use llama_core::context::{CacheType, FlashAttention, PoolingType};
use llama_core::model::LoadMode;
use llama_core::plan::LoadPlan;
use llama_core::{Context, ContextParams, ErrorKind, Model, ModelParams};
use test_models::{Tiny, rewritten};

/// Returns weights, memory and compute of a plan.
fn planned(plan: &LoadPlan) -> [u64; 3] {
    [plan.weights(), plan.memory(), plan.compute()]
}

/// Returns the memory that a real context takes.
fn taken(context: &Context) -> [u64; 3] {
    let uses = context.memory_use().unwrap();
    let sum = |bytes: fn(&llama_core::plan::MemoryUse) -> u64| uses.iter().map(bytes).sum();
    [sum(|used| used.weights), sum(|used| used.memory), sum(|used| used.compute)]
}

/// Asserts that a plan is within a hundredth of the memory that is really taken.
#[track_caller]
fn assert_accurate(tiny: Tiny, model: &ModelParams, context: &ContextParams) {
    let plan = Model::plan(tiny.path(), model, context)
        .unwrap_or_else(|error| panic!("{tiny} {context:?}: {error}"));
    let loaded = Model::load(tiny.path(), model).unwrap();
    let made = Context::new(&loaded, context).unwrap_or_else(|error| panic!("{tiny} {context:?}: {error}"));
    let real = taken(&made);
    for (planned, real) in planned(&plan).into_iter().zip(real) {
        assert!(planned.abs_diff(real) * 100 <= real, "{tiny} {context:?}: planned {planned}, took {real}");
    }
    assert!(plan.fits() && !plan.is_estimated(), "{plan}");
    let [weights, memory, compute] = real;
    assert!(plan.required() >= weights + memory + compute - weights / 100);
    let again = loaded.plan_context(context).unwrap();
    assert_eq!(planned(&again), [0, plan.memory(), plan.compute()]);
}

#[test]
fn plans_are_what_is_taken() {
    for tiny in Tiny::ALL {
        for mode in [LoadMode::Auto, LoadMode::Read] {
            assert_accurate(*tiny, &ModelParams::default().load_mode(mode), &params());
        }
        assert_accurate(*tiny, &ModelParams::default().use_extra_bufts(false), &params().n_ctx(0));
        // llama.cpp makes no T5 of several sequences with buffers of their own.
        let unified = *tiny == Tiny::T5;
        let four = params().n_ctx(2048).n_seq_max(4).n_ubatch(128).kv_unified(unified);
        assert_accurate(*tiny, &ModelParams::default(), &four);
        assert_accurate(*tiny, &ModelParams::default(), &params().n_ctx(1024).n_seq_max(3).kv_unified(true));
        assert_accurate(*tiny, &ModelParams::default(), &params().embeddings(true).swa_full(false));
        let plain = params().flash_attention(FlashAttention::Disabled).type_k(CacheType::F32);
        assert_accurate(*tiny, &ModelParams::default(), &plain);
        assert_accurate(
            *tiny,
            &ModelParams::default(),
            // T5 takes no quantised values.
            &params().type_k(CacheType::Q8_0).type_v(if unified { CacheType::F16 } else { CacheType::Q4_0 }),
        );
    }
}

#[test]
fn the_plan_of_a_real_model_is_what_is_taken() {
    let context = params().n_ctx(4096);
    let plan = Model::plan(test_models::smollm2(), &ModelParams::default(), &context).unwrap();
    let model = load_smollm2();
    assert_eq!(planned(&plan), taken(&Context::new(&model, &context).unwrap()));
    // 30 layers, keys and values of three heads of 64 numbers of two bytes.
    assert_eq!(plan.memory(), 4096 * 30 * 2 * 3 * 64 * 2);
    assert!(plan.weights() >= model.size());
}

#[test]
fn a_plan_follows_the_outputs() {
    let compute = |path: &std::path::Path, context: &ContextParams| {
        Model::plan(path, &ModelParams::default(), context).unwrap().compute()
    };
    for path in [Tiny::Llama.path(), test_models::smollm2()] {
        let context = params().n_ctx(2048).n_batch(2048);
        let all = compute(&path, &context);
        let [one, hundred] = [1, 100].map(|n| compute(&path, &context.clone().plan_outputs(n)));
        assert!(one <= hundred && hundred <= all, "{one} {hundred} {all}");
        assert_eq!(compute(&path, &context.clone().plan_outputs(u32::MAX)), all);
    }
    // 512 tokens are computed at once; rows of logits are 49,152 floats of 32 bits. What else is computed takes the memory of
    // the rows as long as they are not there, less than a quarter of it.
    let context = params().n_ctx(2048).n_batch(2048);
    let path = test_models::smollm2();
    let rise = |n: u32| {
        compute(&path, &context.clone().plan_outputs(n)) - compute(&path, &context.clone().plan_outputs(1))
    };
    assert!(rise(512) > 511 * 49_152 * 4 / 4 * 3, "{}", rise(512));
    assert!(rise(512) - rise(256) >= 256 * 49_152 * 4);
    let real = params().n_ctx(4096);
    let plan = |context: ContextParams| {
        Model::plan(test_models::smollm2(), &ModelParams::default(), &context).unwrap()
    };
    let (all, one) = (plan(real.clone()), plan(real.clone().plan_outputs(1)));
    assert_eq!((one.weights(), one.memory()), (all.weights(), all.memory()));
    let taken = taken(&Context::new(&load_smollm2(), &real.plan_outputs(1)).unwrap());
    assert_eq!(planned(&one), taken);
}

#[test]
fn outputs_are_for_every_sequence_and_for_embeddings_of_every_token() {
    let model = load(Tiny::Llama);
    let outputs = |context: ContextParams| Context::new(&model, &context).unwrap().params().n_outputs_max;
    let context = || params().n_ctx(1024).n_batch(600);
    assert_eq!(outputs(context()), 600);
    assert_eq!(outputs(context().plan_outputs(1)), 1);
    assert_eq!(outputs(context().plan_outputs(0)), 1);
    assert_eq!(outputs(context().n_seq_max(4).plan_outputs(1)), 4);
    assert_eq!(outputs(context().n_outputs_max(9).plan_outputs(1)), 9);
    assert_eq!(outputs(context().n_outputs_max(9).plan_outputs(30)), 30);
    assert_eq!(outputs(context().embeddings(true).plan_outputs(1)), 600);
}

#[test]
fn a_plan_is_about_devices() {
    let plan = Model::plan(Tiny::Llama.path(), &ModelParams::default().devices([]), &params()).unwrap();
    let [cpu] = plan.devices() else { panic!("{plan}") };
    assert_eq!(cpu.device, llama_core::Device::cpu().unwrap());
    assert!(cpu.fits() && cpu.free <= cpu.total && cpu.overhead > 0);
    assert_eq!(cpu.required(), plan.required());
    assert_eq!(cpu.required(), cpu.weights + cpu.memory + cpu.compute + cpu.overhead);
    assert!(cpu.mapped > 0 && cpu.mapped <= cpu.weights);
    let read = ModelParams::default().load_mode(LoadMode::Read);
    assert_eq!(Model::plan(Tiny::Llama.path(), &read, &params()).unwrap().devices()[0].mapped, 0);
    let as_it_is = ModelParams::default().use_extra_bufts(false);
    let plan = Model::plan(Tiny::Llama.path(), &as_it_is, &params()).unwrap();
    assert_eq!(plan.devices()[0].mapped, plan.weights());
    let text = plan.to_string();
    assert!(text.contains(" MiB on CPU (weights 272.0 KiB, memory 64.0 KiB, compute "), "{text}");
    assert!(text.ends_with(" are free"), "{text}");
}

#[test]
fn plans_need_weights_and_files() {
    let context = params();
    let error =
        Model::plan(Tiny::Llama.path(), &ModelParams::default().vocab_only(true), &context).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { operation: "planning memory", .. }), "{error}");
    let error = Model::plan("no/such.gguf", &ModelParams::default(), &context).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::File { .. }));
    let error =
        Model::plan(Tiny::Llama.path(), &ModelParams::default(), &context.clone().n_seq_max(0)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidParameter(problem) if problem.name == "n_seq_max"));
    let impossible = context.type_v(CacheType::Q8_0).flash_attention(FlashAttention::Disabled);
    let error = Model::plan(Tiny::Llama.path(), &ModelParams::default(), &impossible).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ContextCreation { .. }), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gone.gguf");
    std::fs::copy(Tiny::Llama.path(), &path).unwrap();
    let model = Model::load(&path, &ModelParams::default()).unwrap();
    drop(folder);
    let error = model.plan_context(&params()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::File { path: gone, .. } if *gone == path));
    // The model is good all the same, and even absurd contexts are refused.
    Context::new(&model, &params()).unwrap();
    let error = Context::new(&model, &params().n_ctx(i32::MAX.unsigned_abs())).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("n_ctx is 2147483647, but must be smaller: the bookkeeping alone takes 104.0 GiB"),
        "{error}"
    );
}

#[test]
fn a_model_without_weights_is_planned_like_one_with() {
    let without = Model::load(Tiny::Llama.path(), &ModelParams::default().no_alloc(true)).unwrap();
    let plan = without.plan_context(&params()).unwrap();
    let real = taken(&Context::new(&load(Tiny::Llama), &params()).unwrap());
    assert_eq!([plan.memory(), plan.compute()], real[1..]);
}

#[test]
fn beyond_a_million_tokens_memory_goes_on_growing_by_the_same() {
    let plan = |n_ctx: u32| {
        Model::plan(Tiny::Llama.path(), &ModelParams::default(), &params().n_ctx(n_ctx).n_ubatch(64)).unwrap()
    };
    let (million, three) = (plan(1 << 20), plan(3 << 20));
    assert!(!million.is_estimated() && three.is_estimated());
    assert_eq!(three.memory(), 3 * million.memory());
    assert_eq!(three.weights(), million.weights());
    let rise = million.compute() - plan(1 << 19).compute();
    assert_eq!(three.compute(), million.compute() + 4 * rise);
    assert!(three.to_string().starts_with("at least "), "{three}");
}

/// A context of two thousand million tokens is refused where tokens take memory, and created where they take none.
#[test]
fn absurd_contexts_are_refused_with_figures() {
    for tiny in Tiny::ALL {
        let model = load(*tiny);
        let result = Context::new(&model, &params().n_ctx(i32::MAX.unsigned_abs()));
        if matches!(tiny, Tiny::Mamba | Tiny::Bert | Tiny::BertReranker) {
            assert_eq!(result.unwrap().n_ctx(), 1 << 31, "{tiny}");
            continue;
        }
        let error = result.unwrap_err();
        let ErrorKind::DoesNotFit { what: "context", weights, memory, required, free, estimated, .. } =
            *error.kind()
        else {
            panic!("{tiny}: {error}")
        };
        assert!(estimated && required > free && weights == 0, "{tiny}: {error}");
        assert!(memory > 100 << 30, "{tiny}: {error}");
        let text = error.to_string();
        assert!(text.starts_with("the context does not fit into memory: it takes at least "), "{text}");
        assert!(
            text.contains(" on CPU (memory ") && text.contains("Use a smaller one, or fewer tokens"),
            "{text}"
        );
        // The model is as good as before.
        Context::new(&model, &params()).unwrap();
    }
}

#[test]
fn absurd_parameters_are_errors_or_contexts() {
    for tiny in Tiny::ALL {
        let model = load(*tiny);
        // Models that see a whole text at once keep a number for each token of a batch, however large the context is.
        let whole = matches!(tiny, Tiny::Bert | Tiny::BertReranker);
        let huge = if whole { 1 << 20 } else { i32::MAX.unsigned_abs() };
        let variants = [
            params().n_batch(huge).n_ubatch(huge),
            params().n_ctx(huge).n_batch(huge).n_ubatch(huge),
            params().n_ctx(huge).n_batch(huge).n_ubatch(huge).n_seq_max(256).embeddings(true),
            params().n_ctx(huge).n_seq_max(256).kv_unified(true),
            params().n_ctx(huge).swa_full(false).type_k(CacheType::Q4_0),
            params().n_ctx(0).n_batch(huge).pooling_type(PoolingType::None),
            params().n_ctx(1).n_batch(256).n_ubatch(1).n_seq_max(256),
        ];
        for variant in variants {
            match Context::new(&model, &variant) {
                Ok(context) => drop(context),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

#[test]
fn a_trained_context_can_be_absurd_too() {
    let params_of_model = ModelParams::default().kv_override("llama.context_length", i64::from(i32::MAX));
    let model = Model::load(Tiny::Llama.path(), &params_of_model).unwrap();
    let error = Context::new(&model, &params().n_ctx(0)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::DoesNotFit { what: "context", .. }), "{error}");
}

/// Models in sparse files, which some systems make by setting a length, and limits of address space that only
/// llama.cpp sees.
#[cfg(target_os = "linux")]
mod limited {
    use std::fs::File;
    use std::io::Write as _;
    use std::process::Command;

    use llama_gguf::{Gguf, Writer};
    use test_models::child::test_name;

    use super::*;

    /// Writes a model with a very wide feed-forward layer, 768 bytes for each unit of `width`. It takes no place on
    /// disk, because it is all zeros.
    fn sparse_model(width: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let bytes = Tiny::Llama.bytes();
        let gguf = Gguf::from_bytes(&bytes).unwrap();
        let mut writer = Writer::new();
        *writer.metadata_mut() = gguf.metadata().clone();
        writer.set("llama.feed_forward_length", width);
        for info in gguf.tensors() {
            let shape: Vec<u64> =
                info.shape().iter().map(|n| if *n == 128 { width.into() } else { *n }).collect();
            let stop = |_: &mut dyn std::io::Write| Err(std::io::Error::other("the head is enough"));
            writer.tensor_with(info.name().to_string(), info.tensor_type(), &shape, stop).unwrap();
        }
        let mut head = Vec::new();
        writer.write_to(&mut head).unwrap_err();
        let whole = Gguf::from_bytes(&head).unwrap();
        let (folder, path) = rewritten::saved(&head);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(whole.data_offset() + whole.data_bytes()).unwrap();
        (folder, path)
    }

    #[test]
    fn a_model_that_memory_cannot_hold_is_refused_with_figures() {
        let (_folder, path) = sparse_model(1 << 30);
        let read = ModelParams::default().load_mode(LoadMode::Read);
        let error = Model::load(&path, &read).unwrap_err();
        let ErrorKind::DoesNotFit { what: "model", weights, memory, compute, required, free, .. } =
            *error.kind()
        else {
            panic!("{error}")
        };
        assert!(required > free && memory == 0 && compute == 0, "{error}");
        // Six matrices of 64 times 2^30 numbers of two bytes.
        assert!(weights > 768 << 30 && weights < 769 << 30, "{error}");
        assert!(
            error.to_string().starts_with("the model does not fit into memory: it takes 768.0 GiB on CPU"),
            "{error}"
        );
        let embedded = Model::load_embedded(&path, 0, &read).unwrap_err();
        assert!(matches!(embedded.kind(), ErrorKind::DoesNotFit { what: "model", .. }), "{embedded}");
        let mapped = ModelParams::default().use_extra_bufts(false);
        let plan = Model::plan(&path, &mapped, &params()).unwrap();
        assert!(!plan.fits() && plan.devices()[0].mapped == plan.weights());
        assert_eq!(Model::load(&path, &ModelParams::default().no_alloc(true)).unwrap().n_layer(), 2);
    }

    /// Runs a test of this file in a process with little address space.
    fn run(test: &str) {
        let program = std::env::current_exe().unwrap();
        let test = test_name(module_path!(), test);
        let script = format!("ulimit -v 700000; exec '{}' --exact {test} --nocapture", program.display());
        let output = Command::new("sh").args(["-c", &script]).env("LIMITED", "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("was refused"), "{text}");
    }

    fn is_limited() -> bool {
        std::env::var_os("LIMITED").is_some()
    }

    #[test]
    fn failed_allocations_of_contexts_carry_the_plan() {
        if !is_limited() {
            return run("failed_allocations_of_contexts_carry_the_plan");
        }
        let model = load(Tiny::Llama);
        let error = Context::new(&model, &params().n_ctx(1 << 20).n_ubatch(512)).unwrap_err();
        let ErrorKind::DoesNotFit { what: "context", memory, compute, .. } = *error.kind() else {
            panic!("{error}")
        };
        assert!(memory == 256 << 20 && compute > 1 << 29, "{error}");
        assert!(error.log().iter().any(|line| line.contains("allocate")), "{error}");
        writeln!(std::io::stdout(), "was refused: {error}").unwrap();
    }

    #[test]
    fn failed_allocations_of_models_carry_the_plan() {
        if !is_limited() {
            return run("failed_allocations_of_models_carry_the_plan");
        }
        let (_folder, path) = sparse_model(3 << 20);
        let error = Model::load(path, &ModelParams::default().load_mode(LoadMode::Read)).unwrap_err();
        let ErrorKind::DoesNotFit { what: "model", weights, .. } = *error.kind() else { panic!("{error}") };
        assert!(weights > 2304 << 20 && weights < 2305 << 20, "{error}");
        assert!(error.log().iter().any(|line| line.contains("allocate")), "{error}");
        writeln!(std::io::stdout(), "was refused: {error}").unwrap();
    }
}
