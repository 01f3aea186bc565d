//! Files of LoRA adapters: the refused ones, with the errors of this crate or of llama.cpp, and the accepted ones.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::adapter::{base, logits, prompt};
use crate::greedy::{SEQ, decode, difference, load, params, tokens};
use llama_core::{Context, Error, ErrorKind, LoraAdapter, Model, ModelParams};
use llama_gguf::{Gguf, TensorType, Writer};
use tempfile::TempDir;
use test_models::{Tiny, Tuned};

#[test]
fn what_is_no_adapter_for_the_model_is_refused_with_the_reason() {
    let model = base();
    let reason = |path: &Path| {
        let error = LoraAdapter::load(&model, path).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::AdapterLoad { path: failed, .. } if failed == path),
            "{error}"
        );
        error.to_string()
    };
    let wrong = reason(&Tuned::WrongArchitecture.path());
    assert!(wrong.contains("model arch and LoRA arch mismatch"), "{wrong}");
    let no_adapter = reason(&Tiny::Llama.path());
    assert!(no_adapter.contains("expect general.type to be 'adapter'"), "{no_adapter}");
    let vector = reason(&Tuned::ControlVector.path());
    assert!(vector.contains("expect general.type to be 'adapter'"), "{vector}");
    let error = LoraAdapter::load(&load(Tiny::Gemma3), Tuned::Lora.path()).unwrap_err();
    assert!(error.log().iter().any(|line| line.contains("arch mismatch")), "{error}");
    for (params, parameter) in [
        (ModelParams::default().vocab_only(true), "vocab_only"),
        (ModelParams::default().no_alloc(true), "no_alloc"),
    ] {
        let model = Model::load(Tuned::Base.path(), &params).unwrap();
        let error = LoraAdapter::load(&model, Tuned::Lora.path()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "loading an adapter is not possible with this model: it was loaded with {parameter} and has no weights"
            )
        );
    }
}

#[test]
fn files_that_are_not_whole_are_refused_before_llama_cpp_sees_them() {
    let model = base();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("lora.gguf");
    let bytes = Tuned::Lora.bytes();
    // The end is padding that nobody reads.
    for length in (0..bytes.len() - 64).step_by(97) {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let error = LoraAdapter::load(&model, &path).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::AdapterFile { .. }), "{length}: {error}");
        assert!(error.log().is_empty(), "{length}: {error}");
    }
    std::fs::write(&path, &bytes[..3000]).unwrap();
    let error = LoraAdapter::load(&model, &path).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot load the adapter {}: truncated: tensor \"blk.0.ffn_down.weight.lora_a\" takes bytes 2880 to 4928, \
             but the file ends at byte 3000; download or copy the file again",
            path.display()
        )
    );
}

#[test]
fn paths_that_are_no_file_are_refused() {
    let model = base();
    let of = |path: &str| LoraAdapter::load(&model, path).unwrap_err().to_string();
    assert_eq!(of("no/such.gguf"), "cannot load the adapter no/such.gguf: no such file; check the path");
    assert!(of(".").contains("is a directory"));
    assert!(of("a\0b").contains("NUL byte at position 1"));
}

/// Changes every byte of the head, one after the other. The result is an error or an adapter.
#[test]
fn corrupt_heads_are_survived() {
    let model = base();
    let bytes = Tuned::SecondLora.bytes();
    let head = usize::try_from(Gguf::from_bytes(&bytes).unwrap().data_offset()).unwrap();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("lora.gguf");
    let mut outcomes = [0, 0];
    for at in 0..head {
        for flip in [0x01, 0x80] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            std::fs::write(&path, bytes).unwrap();
            let loaded = LoraAdapter::load(&model, &path);
            outcomes[usize::from(loaded.is_ok())] += 1;
            if let Ok(lora) = loaded {
                let mut context = Context::new(&model, &params().n_ctx(32)).unwrap();
                context.set_adapters(&[(&lora, 1.0)]).unwrap();
                decode(&mut context, &prompt(&model)[..2], SEQ, 0);
            } else if let Err(error) = loaded {
                assert!(!matches!(error.kind(), ErrorKind::Internal { .. }), "{at} {flip}: {error}");
            }
        }
    }
    assert!(outcomes[0] > 500 && outcomes[1] > 50, "{outcomes:?}");
}

/// An adapter file for the base, correct except for the test's changes.
struct Forged {
    folder: TempDir,
    writer: Writer<'static>,
}

impl Forged {
    fn new() -> Self {
        let mut writer = Writer::new();
        writer
            .set("general.architecture", "llama")
            .set("general.type", "adapter")
            .set("adapter.type", "lora")
            .set("adapter.lora.alpha", 4_f32);
        Self { folder: TempDir::new().unwrap(), writer }
    }

    /// Returns a tensor of zeros.
    fn tensor(mut self, name: &str, ty: TensorType, shape: &[u64]) -> Self {
        let elements: u64 = shape.iter().product();
        let bytes = elements / ty.block_size() * ty.block_bytes();
        self.writer.tensor(name, ty, shape, vec![0; usize::try_from(bytes).unwrap()]).unwrap();
        self
    }

    fn pair(self, name: &str, a: &[u64], b: &[u64]) -> Self {
        let (first, second) = (format!("{name}.lora_a"), format!("{name}.lora_b"));
        self.tensor(&first, TensorType::F32, a).tensor(&second, TensorType::F32, b)
    }

    fn write(self) -> (TempDir, PathBuf) {
        let path = self.folder.path().join("forged.gguf");
        self.writer.write_file(&path).unwrap();
        (self.folder, path)
    }

    fn refused_by(self, model: &Model) -> Error {
        let (_folder, path) = self.write();
        LoraAdapter::load(model, path).unwrap_err()
    }

    fn accepted_by(self, model: &Model) -> LoraAdapter {
        let (_folder, path) = self.write();
        LoraAdapter::load(model, path).unwrap()
    }
}

const QUERY: &str = "blk.0.attn_q.weight";

#[test]
fn values_of_the_wrong_type_are_refused_by_name() {
    let model = base();
    let mut forged = Forged::new();
    forged.writer.set("adapter.lora.alpha", 16_u32);
    let error = forged.refused_by(&model);
    assert!(matches!(error.kind(), ErrorKind::AdapterFile { .. }));
    assert!(
        error.to_string().ends_with("metadata key \"adapter.lora.alpha\" is of type u32, but must be f32"),
        "{error}"
    );
    for key in ["general.type", "general.architecture", "adapter.type"] {
        let mut forged = Forged::new();
        forged.writer.set(key, 1_u8);
        let error = forged.refused_by(&model);
        assert!(error.to_string().ends_with(&format!("\"{key}\" is of type u8, but must be str")), "{error}");
    }
    let mut forged = Forged::new();
    forged.writer.set("adapter.alora.invocation_tokens", "text");
    let error = forged.refused_by(&model);
    assert!(error.log().iter().any(|line| line.contains("invalid gguf type")), "{error}");
    let mut forged = Forged::new();
    forged.writer.set("adapter.lora.alpha", f32::NAN);
    assert!(forged.refused_by(&model).to_string().ends_with("alpha is NaN, but must be finite"));
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let model = base();
    let by_llama = |forged: Forged, reason: &str| {
        let error = forged.refused_by(&model);
        assert!(matches!(error.kind(), ErrorKind::AdapterLoad { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    };
    by_llama(Forged::new().pair(QUERY, &[32, 4], &[4, 64]), "incorrect shape");
    by_llama(Forged::new().pair(QUERY, &[64, 4], &[4, 32]), "incorrect shape");
    by_llama(Forged::new().pair(QUERY, &[64, 4], &[3, 64]), "not transposed");
    by_llama(Forged::new().pair("blk.9.attn_q.weight", &[64, 4], &[4, 64]), "does not exist in base model");
    by_llama(
        Forged::new().tensor("blk.0.attn_q.weight.lora_a", TensorType::F32, &[64, 4]),
        "missing one component",
    );
    by_llama(Forged::new().tensor("what.is.this", TensorType::F32, &[64]), "unexpected suffix");
    let here = |forged: Forged, reason: &str| {
        let error = forged.refused_by(&model);
        assert!(matches!(error.kind(), ErrorKind::Adapter { .. }), "{error}");
        assert!(error.to_string().ends_with(reason), "{error}");
    };
    here(
        Forged::new().pair(QUERY, &[64, 4, 3], &[4, 64]),
        "its tensor \"blk.0.attn_q.weight.lora_a\" with shape [64, 4, 3] is for 3 matrices, but the model's tensor has 1",
    );
    here(Forged::new().pair(QUERY, &[64, 0], &[0, 64]), "with shape [64, 0] is empty");
    here(
        Forged::new().pair("token_embd.weight", &[4, 507], &[3, 64]),
        "the matrices of \"token_embd.weight\" have ranks 4 and 3, but must have the same",
    );
    here(
        Forged::new().pair(QUERY, &[64, 4], &[4, 64]).tensor(
            "blk.0.lora_a.attn_q.weight.lora_a",
            TensorType::F32,
            &[64, 4],
        ),
        "the second is \"blk.0.lora_a.attn_q.weight.lora_a\"",
    );
    here(Forged::new().tensor("blk.0.attn_q.weight.lora_a\0", TensorType::F32, &[64, 4]), "is not text");
}

#[test]
fn types_that_are_not_multiplied_with_are_refused() {
    let model = base();
    let (a, b) = ("blk.0.ffn_down.weight.lora_a", "blk.0.ffn_down.weight.lora_b");
    for ty in [TensorType::I32, TensorType::F64, TensorType::I8, TensorType::Q8_1] {
        let error =
            Forged::new().tensor(a, ty, &[128, 32]).tensor(b, TensorType::F32, &[32, 64]).refused_by(&model);
        let expected = format!(
            "its tensor \"{a}\" has type {ty}, which cannot be multiplied: convert it to f32, f16, bf16 or q8_0"
        );
        assert!(error.to_string().ends_with(&expected), "{error}");
    }
    for ty in TensorType::ALL {
        let row = ty.block_size().max(128);
        if row != 128
            || !(ty.is_quantized() || matches!(ty, TensorType::F16 | TensorType::BF16))
            || *ty == TensorType::Q8_1
        {
            continue;
        }
        let lora = Forged::new()
            .tensor(a, *ty, &[128, 32])
            .tensor(b, TensorType::F16, &[32, 64])
            .accepted_by(&model);
        assert_eq!(logits(&model, &[(&lora, 1.0)]), logits(&model, &[]), "zeros of type {ty} add nothing");
    }
}

/// An adapter of experts needs as many matrices as the model, because experts are chosen by number.
#[test]
fn adapters_of_experts_have_as_many_matrices() {
    let model = load(Tiny::Qwen3Moe);
    let name = "blk.0.ffn_up_exps.weight";
    let file = llama_gguf::validate_file(Tiny::Qwen3Moe.path()).unwrap();
    let shape = file.tensor(name).unwrap().shape().to_vec();
    let forged = |experts: &[u64]| {
        let mut forged = Forged::new();
        forged.writer.set("general.architecture", "qwen3moe");
        let (a, b) = ([&[shape[0], 4], experts].concat(), [&[4, shape[1]], experts].concat());
        forged.pair(name, &a, &b)
    };
    for experts in [&[][..], &[1], &[3], &[5]] {
        let error = forged(experts).refused_by(&model);
        assert!(error.to_string().ends_with("but the model's tensor has 4"), "{error}");
    }
    let lora = forged(&[4]).accepted_by(&model);
    let zeros = logits(&model, &[(&lora, 1.0)]);
    assert!(difference(&logits(&model, &[]), &zeros) < 1e-6);
}

/// An adapter of the table of embeddings works, except where the table is also the output matrix.
#[test]
fn adapters_of_tied_embeddings_are_refused_when_attached() {
    let forged = || Forged::new().pair("token_embd.weight", &[4, 507], &[4, 64]);
    let model = base();
    let lora = forged().accepted_by(&model);
    assert_eq!(logits(&model, &[(&lora, 1.0)]), logits(&model, &[]));
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tied.gguf");
    let bytes = Tuned::Base.bytes();
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    let mut writer = Writer::new();
    *writer.metadata_mut() = gguf.metadata().clone();
    for info in gguf.tensors().iter().filter(|info| *info.name() != "output.weight") {
        let data = gguf.tensor_data(&bytes, &info.name().to_string()).unwrap().to_vec();
        writer.tensor(info.name().clone(), info.tensor_type(), info.shape(), data).unwrap();
    }
    writer.write_file(&path).unwrap();
    let tied = Model::load(&path, &ModelParams::default()).unwrap();
    let lora = forged().accepted_by(&tied);
    let mut context = Context::new(&tied, &params()).unwrap();
    let error = context.set_adapters(&[(&lora, 1.0)]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("uses its embedding table as output matrix too"), "{error}");
    decode(&mut context, &prompt(&tied), SEQ, 0);
    // Others fit.
    let other = LoraAdapter::load(&tied, Tuned::Lora.path()).unwrap();
    context.set_adapters(&[(&other, 1.0)]).unwrap();
    decode(&mut context, &prompt(&tied), SEQ, prompt(&tied).len());
}

#[test]
fn an_encoder_takes_adapters() {
    let model = load(Tiny::Bert);
    let mut forged = Forged::new();
    forged.writer.set("general.architecture", "bert");
    let lora = forged.pair(QUERY, &[64, 4], &[4, 64]).accepted_by(&model);
    let mut context = Context::new(&model, &params().embeddings(true)).unwrap();
    let prompt = tokens(&model, "hello");
    let embed = |context: &mut Context| {
        decode(context, &prompt, SEQ, 0);
        context.embeddings_seq(SEQ).unwrap().to_vec()
    };
    let plain = embed(&mut context);
    context.set_adapters(&[(&lora, 1.0)]).unwrap();
    assert_eq!(embed(&mut context), plain);
}

/// Returns a file with the adapter at `offset`, and other bytes before and behind it.
fn larger(offset: usize) -> (TempDir, PathBuf) {
    let mut bytes = vec![b'x'; offset];
    bytes.extend_from_slice(&Tuned::Lora.bytes());
    bytes.extend_from_slice(&[0xee; 100]);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("larger");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn an_adapter_is_read_from_anywhere_in_a_file() {
    let model = base();
    let adapter = LoraAdapter::load(&model, Tuned::Lora.path()).unwrap();
    let (expected, without) = (logits(&model, &[(&adapter, 1.0)]), logits(&model, &[]));
    assert!(difference(&expected, &without) > 1e-3);
    for offset in [0, 1, 32, 5000] {
        let (_folder, path) = larger(offset);
        let embedded = LoraAdapter::load_embedded(&model, &path, offset as u64).unwrap();
        assert_eq!(embedded.path(), Some(path.as_path()));
        let file = File::open(&path).unwrap();
        let opened = LoraAdapter::load_from_file_handle(&model, file, offset as u64).unwrap();
        assert_eq!(opened.path(), None);
        for it in [embedded, opened] {
            assert_eq!(logits(&model, &[(&it, 1.0)]), expected, "{it:?}");
            assert_eq!((it.alpha(), it.metadata().unwrap()), (adapter.alpha(), adapter.metadata().unwrap()));
        }
    }
}

#[test]
fn no_adapter_at_the_offset_is_refused_with_it() {
    let model = base();
    let (folder, path) = larger(32);
    let text = |offset| {
        let error = LoraAdapter::load_embedded(&model, &path, offset).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::AdapterFile { .. }), "{error}");
        error.to_string()
    };
    assert!(text(31).starts_with(&format!("cannot load the adapter byte 31 of {}: ", path.display())));
    assert!(text(31).contains("not a GGUF file"), "{}", text(31));
    for past in [path.metadata().unwrap().len(), u64::MAX] {
        assert!(text(past).contains("empty"), "{}", text(past));
    }
    let of_folder = LoraAdapter::load_embedded(&model, folder.path(), 0).unwrap_err();
    assert!(of_folder.to_string().contains("is a directory"), "{of_folder}");
    let write_only = File::options().write(true).open(&path).unwrap();
    let error = LoraAdapter::load_from_file_handle(&model, write_only, 32).unwrap_err().to_string();
    assert!(error.starts_with("cannot load the adapter byte 32 of an open file: cannot read"), "{error}");
}
