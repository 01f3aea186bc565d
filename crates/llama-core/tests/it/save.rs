//! Models written to files, and models made in memory.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::greedy::{self, SEQ, logits_after, params, tokens};
use llama_core::model::TensorView;
use llama_core::{Batch, Context, Error, ErrorKind, Model, ModelParams, Pos, TokenizeOptions};
use llama_gguf::{Gguf, Metadata, TensorType, Writer};
use tempfile::TempDir;
use test_models::{Tiny, Tuned};

/// Returns parameters for models that can be saved.
fn plain() -> ModelParams {
    ModelParams::default().use_extra_bufts(false)
}

fn load(path: impl AsRef<Path>) -> Model {
    Model::load(path, &plain()).unwrap()
}

fn logits(model: &Model) -> Vec<f32> {
    let prompt = tokens(model, "Hello world, how are you?");
    logits_after(&mut Context::new(model, &params()).unwrap(), &prompt, SEQ, 0)
}

/// Returns an encoder's embedding of a text.
fn embedding(model: &Model) -> Vec<f32> {
    let mut context = Context::new(model, &params().embeddings(true)).unwrap();
    let prompt = tokens(model, "hello world");
    let mut batch = Batch::new();
    batch.push_prompt(&prompt, SEQ, Pos::new(0)).unwrap();
    context.encode(&batch).unwrap();
    context.embeddings_seq(SEQ).unwrap().to_vec()
}

/// Returns the names of the files in a folder.
fn names(folder: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const DECODERS: [Tiny; 7] =
    [Tiny::Llama, Tiny::LlamaQ8, Tiny::Qwen2, Tiny::Qwen3Moe, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba];

#[test]
fn a_saved_model_gives_the_same_logits() {
    let folder = TempDir::new().unwrap();
    for tiny in DECODERS {
        let model = load(tiny.path());
        let path = folder.path().join(format!("{tiny}.gguf"));
        model.save(&path).unwrap();
        let saved = load(&path);
        assert_eq!(logits(&saved), logits(&model), "{tiny}");
        assert_eq!(
            (saved.n_params(), saved.size(), saved.n_ctx_train()),
            (model.n_params(), model.size(), model.n_ctx_train()),
            "{tiny}"
        );
        let tensors = |path: &Path| -> BTreeSet<String> {
            let gguf = llama_gguf::validate_file(path).unwrap();
            gguf.tensors()
                .iter()
                .map(|info| format!("{} {} {:?}", info.name(), info.tensor_type(), info.shape()))
                .collect()
        };
        assert_eq!(tensors(&path), tensors(&tiny.path()), "{tiny}");
    }
    assert_eq!(names(&folder).len(), DECODERS.len(), "nothing else is left: {:?}", names(&folder));
}

/// Remarks and chat templates are kept, although llama.cpp's writer drops them.
#[test]
fn remarks_and_chat_templates_are_kept() {
    let folder = TempDir::new().unwrap();
    let (first, second) = (folder.path().join("first.gguf"), folder.path().join("second.gguf"));
    let bytes = Tiny::Llama.bytes();
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    let mut writer = Writer::new();
    *writer.metadata_mut() = gguf.metadata().clone();
    writer
        .set("general.license", "mit")
        .set("general.sampling.top_k", 17_i32)
        .set("tokenizer.chat_template.tools", "t");
    for info in gguf.tensors() {
        let data = gguf.tensor_data(&bytes, &info.name().to_string()).unwrap();
        writer.tensor(info.name().clone(), info.tensor_type(), info.shape(), data).unwrap();
    }
    writer.write_file(&first).unwrap();
    let model = load(&first);
    model.save(&second).unwrap();
    let saved = load(&second);
    assert_eq!(saved.chat_template(None).unwrap(), model.chat_template(None).unwrap());
    assert!(saved.chat_template(None).unwrap().unwrap().contains("<|im_start|>"));
    assert_eq!(saved.chat_template(Some("tools")).unwrap().as_deref(), Some("t"));
    let metadata = Gguf::open(&second).unwrap().metadata().clone();
    assert_eq!(metadata.get::<&str>("general.license").unwrap(), "mit");
    assert_eq!(metadata.get::<i32>("general.sampling.top_k").unwrap(), 17);
    assert_eq!(metadata.get::<u32>("general.quantization_version").unwrap(), 2);
    assert_eq!(metadata.get::<&str>("general.name").unwrap(), "tiny llama");
    let special = TokenizeOptions::default().parse_special(true);
    let text = "<|im_start|>user\nHi<|im_end|>";
    assert_eq!(
        saved.vocab().tokenize(text, special).unwrap(),
        model.vocab().tokenize(text, special).unwrap()
    );
}

#[test]
fn a_model_replaces_its_own_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    fs::copy(Tiny::Qwen2.path(), &path).unwrap();
    let model = load(&path);
    let expected = logits(&model);
    model.save(&path).unwrap();
    // The loaded one has the old file mapped.
    assert_eq!(logits(&model), expected);
    assert_eq!(logits(&load(&path)), expected);
    assert_eq!(names(&folder), ["model.gguf"]);
}

#[test]
fn what_cannot_be_saved_is_refused_and_the_target_stays() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, "what was there").unwrap();
    let refused = |model: &Model, reason: &str| {
        let error = model.save(&path).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported { operation: "saving", .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"what was there");
        assert_eq!(names(&folder), ["model.gguf"]);
    };
    let rearranged = Model::load(Tiny::LlamaQ8.path(), &ModelParams::default()).unwrap();
    refused(&rearranged, "load it with ModelParams::use_extra_bufts(false)");
    let vocabulary = Model::load(Tiny::Llama.path(), &plain().vocab_only(true)).unwrap();
    refused(&vocabulary, "it was loaded with vocab_only and has no weights");
    let unallocated = Model::load(Tiny::Llama.path(), &plain().no_alloc(true)).unwrap();
    refused(&unallocated, "it was loaded with no_alloc and has no weights");
    // `llama_arch_supports_save`.
    let t5 = load(Tiny::T5.path());
    refused(&t5, "llama.cpp's writer does not support all of the architecture `t5`");
    // The writer takes the table of embeddings along with the output matrix only, which encoders do not have.
    let bert = load(Tiny::Bert.path());
    refused(&bert, "does not write all of it");
    assert!(bert.save(&path).unwrap_err().to_string().contains("token_embd.weight"));
    // They are as good as before.
    assert_eq!(embedding(&bert), embedding(&load(Tiny::Bert.path())));
    assert_eq!(tokens(&t5, "hello"), tokens(&load(Tiny::T5.path()), "hello"));
}

#[test]
fn paths_that_cannot_be_written_are_refused() {
    let folder = TempDir::new().unwrap();
    let model = load(Tiny::Llama.path());
    let refused = |path: &Path| -> Error {
        let error = model.save(path).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Save { path: failed, .. } if failed == path), "{error}");
        error
    };
    let error = refused(&folder.path().join("no/such/folder.gguf"));
    assert!(error.to_string().contains("folder.gguf: cannot write: "), "{error}");
    refused(Path::new("/"));
    refused(Path::new(""));
    refused(folder.path());
    assert!(names(&folder).is_empty());
    let parent = folder.path().parent().unwrap();
    let stem = folder.path().file_name().unwrap().to_str().unwrap();
    let left = fs::read_dir(parent).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_str().is_some_and(|name| name.contains(stem) && name != stem)
    });
    assert_eq!(left.count(), 0);
}

/// Fills a model from the bytes of a file. Without an output matrix it uses the table of embeddings.
fn made(file: &[u8], params: &ModelParams) -> Result<Model, Error> {
    let gguf = Gguf::from_bytes(file).unwrap();
    let source = |name: &str| match gguf.tensor(name) {
        None if name == "output.weight" => gguf.tensor("token_embd.weight"),
        found => found,
    };
    let names = gguf.tensors().iter().map(|info| info.name().to_string()).chain(["output.weight".to_owned()]);
    let types = names.map(|name| {
        let ty = source(&name).unwrap().tensor_type();
        (name, ty)
    });
    Model::from_metadata(gguf.metadata(), types, params, |tensor, bytes| {
        if let Some(info) = source(tensor.name()) {
            assert_eq!((tensor.shape(), tensor.tensor_type()), (info.shape(), info.tensor_type()));
            assert_eq!(tensor.elements(), info.elements());
            bytes.copy_from_slice(gguf.tensor_data(file, &info.name().to_string()).unwrap());
        }
        Ok::<(), Infallible>(())
    })
}

#[test]
fn a_model_made_in_memory_gives_the_logits_of_its_file() {
    for tiny in DECODERS {
        let (model, file) = (made(&tiny.bytes(), &ModelParams::default()).unwrap(), load(tiny.path()));
        assert_eq!(logits(&model), logits(&file), "{tiny}");
        assert_eq!(model.metadata().unwrap(), file.metadata().unwrap(), "{tiny}");
        assert_eq!(model.vocab().n_tokens(), file.vocab().n_tokens());
        assert_eq!((model.path(), model.size(), model.n_params()), (None, 0, 0));
        assert!(model.source().is_none() && model.tensors().is_empty());
    }
    let (model, file) = (made(&Tiny::Bert.bytes(), &plain()).unwrap(), load(Tiny::Bert.path()));
    assert_eq!(embedding(&model), embedding(&file));
}

/// Uses a real vocabulary, and the table of embeddings as the output matrix.
#[test]
fn a_real_model_is_saved_and_made_in_memory() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    let model = load(test_models::smollm2());
    let expected = logits(&model);
    model.save(&path).unwrap();
    let saved = load(&path);
    assert_eq!(logits(&saved), expected);
    assert_eq!((saved.size(), saved.n_params()), (96_576_768, 134_515_008));
    assert_eq!(saved.chat_template(None).unwrap(), model.chat_template(None).unwrap());
    assert_eq!(saved.metadata_value("general.basename").unwrap().as_deref(), Some("smollm2"));
    let text = "Tokenizers 123 \u{1f980} d\u{e9}j\u{e0} vu";
    assert_eq!(tokens(&saved, text), tokens(&model, text));
    drop(saved);
    assert_eq!(logits(&made(&fs::read(&path).unwrap(), &ModelParams::default()).unwrap()), expected);
}

#[test]
fn a_model_made_in_memory_cannot_be_planned_and_is_not_read_lazily() {
    let lazy = ModelParams::default().lazy_mode(llama_core::model::LazyMode::On);
    for tiny in [Tiny::Llama, Tiny::Gemma3] {
        let model = made(&tiny.bytes(), &lazy).unwrap();
        assert_eq!(logits(&model), logits(&load(tiny.path())), "{tiny}");
        let error = model.plan_context(&params()).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Unsupported { operation: "planning memory", .. }),
            "{error}"
        );
    }
    let empty = made(&Tiny::Llama.bytes(), &ModelParams::default().no_alloc(true)).unwrap();
    assert!(!empty.has_weights() && Context::new(&empty, &params()).is_err());
    let wrong = ModelParams::default().kv_override("llama.block_count", "two");
    let error = made(&Tiny::Llama.bytes(), &wrong).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::InvalidParameter(problem) if problem.name == "kv_override"),
        "{error}"
    );
}

#[test]
fn a_model_made_in_memory_is_a_model_like_others() {
    let model = made(&Tuned::Base.bytes(), &ModelParams::default()).unwrap();
    let file = load(Tuned::Base.path());
    // Adapters know its shapes.
    let tuned = |model: &Model| {
        let lora = llama_core::LoraAdapter::load(model, Tuned::Lora.path()).unwrap();
        let mut context = Context::new(model, &params()).unwrap();
        context.set_adapters(&[(&lora, 1.0)]).unwrap();
        logits_after(&mut context, &tokens(model, "Hello"), SEQ, 0)
    };
    assert_eq!(tuned(&model), tuned(&file));
    // It can be saved, with all that was made up for it, and has its chat template.
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    model.save(&path).unwrap();
    let saved = load(&path);
    assert_eq!(logits(&saved), logits(&file));
    assert_eq!(saved.chat_template(None).unwrap(), file.chat_template(None).unwrap());
    assert!(Gguf::open(&path).unwrap().tensor("blk.1.attn_q.bias").is_some());
}

#[test]
fn tensors_are_in_f32_unless_told_otherwise() {
    let bytes = Tiny::Llama.bytes();
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    let types = [
        ("output.weight", TensorType::BF16),
        ("blk.0.ffn_up.weight", TensorType::Q4_0),
        ("no.such", TensorType::F16),
    ];
    let mut seen = Vec::new();
    let model = Model::from_metadata(gguf.metadata(), types, &ModelParams::default(), |tensor, bytes| {
        let (elements, ty) = (tensor.elements(), tensor.tensor_type());
        assert_eq!(bytes.len() as u64, elements / ty.block_size() * ty.block_bytes(), "{}", tensor.name());
        let prepared = if tensor.name().ends_with("scale") || tensor.name() == "rope_freqs.weight" {
            1.0
        } else {
            0_f32
        };
        let (numbers, _) = bytes.as_chunks::<4>();
        assert!(numbers.iter().all(|number| f32::from_le_bytes(*number).to_bits() == prepared.to_bits()));
        seen.push((tensor.name().to_owned(), ty));
        Ok::<(), Infallible>(())
    })
    .unwrap();
    // Weights of zero: every logit is zero.
    assert!(logits(&model).iter().all(|logit| logit.to_bits() == 0));
    let of = |name: &str| seen.iter().find(|(seen, _)| seen == name).map(|(_, ty)| *ty);
    assert_eq!(of("output.weight"), Some(TensorType::BF16));
    assert_eq!(of("blk.0.ffn_up.weight"), Some(TensorType::Q4_0));
    assert_eq!(of("blk.1.ffn_up.weight"), Some(TensorType::F32));
    assert_eq!((of("blk.0.attn_q.scale"), of("no.such")), (Some(TensorType::F32), None));
}

#[test]
fn an_error_of_the_function_ends_it() {
    let bytes = Tiny::Llama.bytes();
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    let mut calls = 0;
    let error = Model::from_metadata(gguf.metadata(), [("", TensorType::F16); 0], &plain(), |_, _| {
        calls += 1;
        if calls == 3 { Err("the disk is on fire") } else { Ok(()) }
    })
    .unwrap_err();
    assert_eq!(calls, 3);
    let ErrorKind::TensorData { tensor, cause, .. } = error.kind() else { panic!("{error}") };
    assert_eq!(cause.to_string(), "the disk is on fire");
    assert_eq!(
        error.to_string(),
        format!("cannot create the model: tensor \"{tensor}\" has no usable data: the disk is on fire")
    );
}

#[test]
fn a_panic_of_the_function_is_resumed() {
    let bytes = Tiny::Llama.bytes();
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    let mut calls = 0;
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let made = Model::from_metadata(gguf.metadata(), [("", TensorType::F16); 0], &plain(), |_, _| {
            calls += 1;
            if calls == 2 {
                panic!("the function's own words");
            }
            Ok::<(), Infallible>(())
        });
        drop(made);
    }));
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"the function's own words"));
    assert_eq!(calls, 2);
    assert!(made(&bytes, &plain()).is_ok());
}

fn nothing(_: &TensorView<'_>, _: &mut [u8]) -> Result<(), Infallible> {
    Ok(())
}

/// Makes a model of zeros.
fn empty(metadata: &Metadata, types: &[(&str, TensorType)]) -> Result<Model, Error> {
    Model::from_metadata(metadata, types.iter().copied(), &plain(), nothing)
}

#[test]
fn metadata_of_no_model_is_refused_with_the_reason() {
    let metadata = Gguf::from_bytes(&Tiny::Llama.bytes()).unwrap().metadata().clone();
    let refused = |metadata: &Metadata, reason: &str| {
        let error = empty(metadata, &[]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::FromMetadata { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    };
    refused(&Metadata::new(), "unknown model architecture");
    let without = |key: &str| {
        let mut metadata = metadata.clone();
        metadata.remove(key).unwrap();
        metadata
    };
    refused(&without("general.architecture"), "unknown model architecture");
    refused(&without("llama.block_count"), "key not found in model: llama.block_count");
    refused(&without("tokenizer.ggml.tokens"), "cannot find tokenizer vocab");
    let with = |key: &str, value: llama_gguf::Value| {
        let mut metadata = metadata.clone();
        metadata.set(key, value);
        metadata
    };
    refused(&with("general.architecture", "no-such".into()), "unknown model architecture: 'no-such'");
    refused(&with("llama.embedding_length", "64".into()), "wrong type");
    let error = empty(&with("llama.block_count", 1_000_000_u32.into()), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot compute the given metadata: llama.block_count is 1000000, but must be between 0 and 512"
    );
    let error = empty(&with("general.alignment", 3_u32.into()), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot create a model from this metadata: cannot write this as GGUF: \"general.alignment\" is 3, but must be a power \
         of two"
    );
}

#[test]
fn types_that_a_tensor_cannot_have_are_refused() {
    let metadata = Gguf::from_bytes(&Tiny::Llama.bytes()).unwrap().metadata().clone();
    let refused = |name: &str, ty: TensorType, reason: &str| {
        let error = empty(&metadata, &[(name, ty)]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TensorData { tensor, .. } if tensor == name), "{error}");
        assert!(error.to_string().ends_with(reason), "{error}");
    };
    refused("output_norm.weight", TensorType::F16, "it is a vector in f16, but must be in f32");
    refused("output.weight", TensorType::I32, "its type is i32, but must be a type of weights");
    refused("output.weight", TensorType::F64, "its type is f64, but must be a type of weights");
    // Here C is first, with an assertion; where less than a row is missing it says nothing.
    let error = empty(&metadata, &[("output.weight", TensorType::Q4_K)]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::FromMetadata { .. }), "{error}");
    let mut narrow = metadata.clone();
    narrow.set("llama.feed_forward_length", 100_u32);
    let error = empty(&narrow, &[("blk.0.ffn_down.weight", TensorType::Q8_0)]).unwrap_err();
    let reason = "a row has 100 elements, but must have a multiple of 32, the size of a block of q8_0";
    assert!(error.to_string().ends_with(reason), "{error}");
    let long = "x".repeat(64);
    let error = empty(&metadata, &[(&long, TensorType::F16)]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Metadata { .. }), "{error}");
}

#[test]
fn values_that_are_no_numbers_are_found_when_asked_for() {
    let metadata = Gguf::from_bytes(&Tiny::Llama.bytes()).unwrap().metadata().clone();
    let make = |check: bool| {
        Model::from_metadata(
            &metadata,
            [("", TensorType::F16); 0],
            &plain().check_tensors(check),
            |tensor, bytes| {
                if tensor.name() == "blk.1.ffn_up.weight" {
                    bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
                }
                Ok::<(), Infallible>(())
            },
        )
    };
    let error = make(true).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TensorData { tensor, .. } if tensor == "blk.1.ffn_up.weight"));
    assert!(make(false).is_ok());
}

#[test]
fn a_vocabulary_alone_needs_no_tensors() {
    let metadata = Gguf::from_bytes(&Tiny::Qwen2.bytes()).unwrap().metadata().clone();
    let params = ModelParams::default().vocab_only(true);
    let model =
        Model::from_metadata(&metadata, [("", TensorType::F16); 0], &params, |_, _| Err("not called"))
            .unwrap();
    assert_eq!(tokens(&model, "Hello"), tokens(&load(Tiny::Qwen2.path()), "Hello"));
    assert!(Context::new(&model, &greedy::params()).is_err());
}

#[cfg(unix)]
#[test]
fn a_file_that_is_replaced_keeps_its_mode_and_a_link_stays() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("model"), folder.path().join("link"));
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("model", &link).unwrap();
    let model = load(Tiny::Llama.path());
    model.save(&link).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(names(&folder), ["link", "model"]);
    assert_eq!(logits(&load(&path)), logits(&model));
}

/// Returns the metadata of a small drafting model, which may use its target's embeddings: the tiny Llama's metadata
/// under another architecture.
fn eagle3() -> Metadata {
    let gguf = Gguf::from_bytes(&Tiny::Llama.bytes()).unwrap();
    let mut metadata = Metadata::new();
    for (key, value) in gguf.metadata().iter() {
        let key = key.to_str_lossy();
        metadata.set(
            key.strip_prefix("llama.").map_or(key.to_string(), |key| format!("eagle3.{key}")),
            value.clone(),
        );
    }
    metadata.set("general.architecture", "eagle3");
    metadata.set("eagle3.block_count", 1_u32);
    metadata.set("eagle3.target_layers", vec![0_i32, 1, 2]);
    metadata.set("eagle3.target_hidden_size", 32_u32);
    metadata
}

#[test]
fn a_model_with_an_output_matrix_and_no_embeddings_is_refused() {
    let none = [("token_embd.weight", TensorType::F32); 0];
    let made = Model::from_metadata(&eagle3(), none, &plain(), |_, bytes| {
        bytes.fill(0);
        Ok::<(), Infallible>(())
    });
    let model = made.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = model.save(folder.path().join("model")).unwrap_err();
    assert_eq!(
        error.kind().to_string(),
        "saving is not possible with this model: llama.cpp's writer needs the tensor token_embd.weight, which the model does \
         not have: copy its file instead"
    );
    assert!(names(&folder).is_empty());
}
