//! Control vectors: their effect, reading them, and refusals.

use std::path::PathBuf;

use crate::greedy::{SEQ, decode, difference, load, logits_after, params, tokens};
use llama_core::{Context, ControlVector, Error, ErrorKind, Model};
use llama_gguf::{TensorType, Writer};
use tempfile::TempDir;
use test_models::{Tiny, Tuned};

/// Computes the logits after a prompt, with an empty memory.
fn logits(context: &mut Context) -> Vec<f32> {
    context.memory().clear(true).unwrap();
    let prompt = tokens(context.model(), "Hello world");
    logits_after(context, &prompt, SEQ, 0)
}

fn context(model: &Model) -> Context {
    Context::new(model, &params()).unwrap()
}

/// Returns a vector of the tiny models' width with these constants for layers 1, 2 and so on.
fn constant(layers: &[f32]) -> ControlVector {
    let data: Vec<f32> = layers.iter().flat_map(|value| [*value; 64]).collect();
    ControlVector::from_slice(64, &data).unwrap()
}

#[test]
fn a_vector_shifts_the_logits_and_clearing_restores_them() {
    let model = load(Tiny::Llama);
    let mut context = context(&model);
    let plain = logits(&mut context);
    let vector = ControlVector::load(Tuned::ControlVector.path(), 1.0).unwrap();
    context.set_control_vector(&vector, ..).unwrap();
    let shifted = logits(&mut context);
    assert!(difference(&plain, &shifted) > 0.05);
    assert_eq!(logits(&mut context), shifted);
    context.clear_control_vector().unwrap();
    assert_eq!(logits(&mut context), plain);
    // Once more, now that C has its buffers.
    context.set_control_vector(&vector, ..).unwrap();
    assert_eq!(logits(&mut context), shifted);
    context.clear_control_vector().unwrap();
    context.clear_control_vector().unwrap();
    assert_eq!(logits(&mut context), plain);
}

#[test]
fn zero_adds_nothing() {
    let model = load(Tiny::Llama);
    let mut context = context(&model);
    let plain = logits(&mut context);
    let silent = ControlVector::load(Tuned::ControlVector.path(), 0.0).unwrap();
    context.set_control_vector(&silent, ..).unwrap();
    assert!(difference(&plain, &logits(&mut context)) < 1e-6);
}

/// Layers 1 and 2 of three can have a direction.
#[test]
fn layers_are_chosen_by_a_range() {
    let model = load(Tiny::Gemma3);
    let vector = constant(&[1.0, -2.0]);
    let with = |data: &[f32], layers: std::ops::RangeInclusive<u32>| {
        let mut context = context(&model);
        context.set_control_vector(&constant(data), layers).unwrap();
        logits(&mut context)
    };
    let mut context = context(&model);
    let plain = logits(&mut context);
    context.set_control_vector(&vector, ..).unwrap();
    let both = logits(&mut context);
    assert_eq!(both, with(&[1.0, -2.0], 1..=2));
    context.set_control_vector(&vector, 2..).unwrap();
    let second = logits(&mut context);
    assert_eq!(second, with(&[0.0, -2.0], 2..=2));
    context.set_control_vector(&vector, ..2).unwrap();
    let first = logits(&mut context);
    assert_eq!(first, with(&[1.0], 1..=1));
    let all = [plain, both, second, first];
    for (index, one) in all.iter().enumerate() {
        for other in &all[..index] {
            assert!(difference(one, other) > 1e-3);
        }
    }
}

/// Setting a shorter vector removes all of a longer one. C would keep the layers that new data does not reach.
#[test]
fn a_shorter_vector_leaves_nothing_of_a_longer_one() {
    let model = load(Tiny::Gemma3);
    let mut fresh = context(&model);
    fresh.set_control_vector(&constant(&[1.0]), ..).unwrap();
    let expected = logits(&mut fresh);
    let mut used = context(&model);
    used.set_control_vector(&constant(&[3.0, -2.0]), ..).unwrap();
    assert!(difference(&expected, &logits(&mut used)) > 1e-3);
    used.set_control_vector(&constant(&[1.0]), ..).unwrap();
    assert_eq!(logits(&mut used), expected);
}

#[test]
fn only_later_tokens_are_shifted() {
    let model = load(Tiny::Llama);
    let vector = ControlVector::load(Tuned::ControlVector.path(), 1.0).unwrap();
    let prompt = tokens(&model, "Hello world");
    let (head, tail) = prompt.split_at(5);
    let run = |at_head: bool, at_tail: bool| {
        let mut context = context(&model);
        let set = |context: &mut Context, on: bool| match on {
            true => context.set_control_vector(&vector, ..).unwrap(),
            false => context.clear_control_vector().unwrap(),
        };
        set(&mut context, at_head);
        decode(&mut context, head, SEQ, 0);
        let before = context.logits(head.len() - 1).unwrap().to_vec();
        set(&mut context, at_tail);
        assert_eq!(context.logits(head.len() - 1).unwrap().to_vec(), before);
        logits_after(&mut context, tail, SEQ, head.len())
    };
    let (without, later, always) = (run(false, false), run(false, true), run(true, true));
    assert!(difference(&without, &later) > 1e-3);
    // Behind layer 1, the last, nothing of the hidden state is remembered any more.
    assert_eq!(later, always);
    // A vector for one context is nothing to another.
    assert_eq!(run(false, false), without);
}

#[test]
fn directions_are_read_as_they_stand_in_the_file() {
    let bytes = Tuned::ControlVector.bytes();
    let gguf = llama_gguf::Gguf::from_bytes(&bytes).unwrap();
    let (numbers, _) = gguf.tensor_data(&bytes, "direction.1").unwrap().as_chunks::<4>();
    let values: Vec<f32> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
    let vector = ControlVector::load(Tuned::ControlVector.path(), 1.0).unwrap();
    assert_eq!((vector.n_embd(), vector.last_layer()), (64, 1));
    assert_eq!(vector.direction(1), Some(values.as_slice()));
    assert_eq!((vector.direction(0), vector.direction(2), vector.direction(u32::MAX)), (None, None, None));
    assert_eq!(vector, ControlVector::from_slice(64, &values).unwrap());
    let half = ControlVector::load(Tuned::ControlVector.path(), 0.5).unwrap();
    let halves: Vec<f32> = values.iter().map(|value| value * 0.5).collect();
    assert_eq!(half.direction(1), Some(halves.as_slice()));
}

#[test]
fn vectors_add_up_with_their_strengths() {
    let mut sum = constant(&[1.0]);
    sum.add(&constant(&[10.0, 20.0, 30.0]), 0.5).unwrap();
    assert_eq!(sum, constant(&[6.0, 10.0, 15.0]));
    sum.add(&constant(&[1.0]), -6.0).unwrap();
    assert_eq!(sum, constant(&[0.0, 10.0, 15.0]));
    let error = sum.add(&ControlVector::from_slice(32, &[0.0; 32]).unwrap(), 1.0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the control vector cannot be used: directions of 32 floats cannot be added to directions of 64 floats: they are for \
         different models"
    );
    assert!(sum.add(&constant(&[f32::MAX]), 2.0).is_err() && sum.add(&constant(&[1.0]), f32::NAN).is_err());
    assert_eq!(sum, constant(&[0.0, 10.0, 15.0]));
}

/// Adding two files equals one of twice the strength.
#[test]
fn several_files_are_the_sum_of_them() {
    let model = load(Tiny::Llama);
    let path = Tuned::ControlVector.path();
    let mut twice = ControlVector::load(&path, 0.25).unwrap();
    twice.add(&ControlVector::load(&path, 0.5).unwrap(), 0.5).unwrap();
    assert_eq!(twice, ControlVector::load(&path, 0.5).unwrap());
    let mut context = context(&model);
    context.set_control_vector(&twice, ..).unwrap();
    let found = logits(&mut context);
    context.set_control_vector(&ControlVector::load(&path, 0.5).unwrap(), 1..=1).unwrap();
    assert_eq!(logits(&mut context), found);
}

fn reason(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ControlVector { reason, .. } => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn data_that_is_no_vector_is_refused() {
    let of = |n_embd, data: &[f32]| reason(&ControlVector::from_slice(n_embd, data).unwrap_err());
    let whole = |n: usize, n_embd| {
        format!("{n} floats are not a whole number of layers of {n_embd} floats each, from layer 1 on")
    };
    assert_eq!(of(64, &[]), whole(0, 64));
    assert_eq!(of(64, &[0.0; 65]), whole(65, 64));
    assert_eq!(of(0, &[0.0; 64]), whole(64, 0));
    assert_eq!(of(u32::MAX, &[0.0; 64]), whole(64, u32::MAX));
    let mut data = [0.0; 192];
    data[130] = f32::NAN;
    assert_eq!(of(64, &data), "the direction of layer 3 has NaN at index 2, but all values must be finite");
    data[130] = f32::NEG_INFINITY;
    assert_eq!(of(64, &data), "the direction of layer 3 has -inf at index 2, but all values must be finite");
}

#[test]
fn vectors_of_other_models_are_refused_and_the_one_before_stays() {
    let model = load(Tiny::Gemma3);
    let mut context = context(&model);
    let good = constant(&[1.0, -2.0]);
    context.set_control_vector(&good, ..).unwrap();
    let expected = logits(&mut context);
    let mut refused = |vector: &ControlVector| reason(&context.set_control_vector(vector, ..).unwrap_err());
    assert_eq!(
        refused(&ControlVector::from_slice(32, &[1.0; 64]).unwrap()),
        "its directions have 32 floats, but the model's hidden state has 64, so it is for another model"
    );
    assert_eq!(
        refused(&constant(&[1.0; 4])),
        "it has a direction for layer 4, but the model has 3 layers, so it is for another model"
    );
    assert_eq!(logits(&mut context), expected);
    // One more than has a place, as files of llama.cpp's tools may have; it is passed over.
    context.set_control_vector(&constant(&[1.0, -2.0, 5.0]), ..).unwrap();
    assert_eq!(logits(&mut context), expected);
}

#[test]
fn layers_that_are_not_there_are_refused() {
    let model = load(Tiny::Gemma3);
    let mut context = context(&model);
    let vector = constant(&[1.0, -2.0]);
    let mut refused = |start, end: u32| {
        let error = context.set_control_vector(&vector, start..=end).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::InvalidParameter(problem) if problem.name == "layers"),
            "{error}"
        );
        error.to_string()
    };
    assert_eq!(
        refused(0, 2),
        "layers is Included(0)..Included(2), but must be within the layers that can have a direction, 1 to 2, of which `..` is \
         all"
    );
    for (start, end) in [(1, 3), (2, 1), (3, 3), (1, u32::MAX), (u32::MAX, u32::MAX), (1, 0)] {
        refused(start, end);
    }
    assert!(
        context.set_control_vector(&vector, ..0).is_err()
            && context.set_control_vector(&vector, 1..1).is_err()
    );
    let plain = Context::new(&model, &params()).map(|mut context| logits(&mut context)).unwrap();
    assert_eq!(logits(&mut context), plain);
}

/// Writes a file of tensors of these names, types and shapes, filled with a value.
fn forged(tensors: &[(&str, TensorType, &[u64])], value: f32) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("vector.gguf");
    let mut writer = Writer::new();
    for (name, ty, shape) in tensors {
        let elements = usize::try_from(shape.iter().product::<u64>()).unwrap();
        let data = match ty {
            TensorType::F32 => value.to_le_bytes().repeat(elements),
            _ => vec![0; elements * 2],
        };
        writer.tensor(*name, *ty, shape, data).unwrap();
    }
    writer.write_file(&path).unwrap();
    (folder, path)
}

#[test]
fn files_that_are_no_vector_are_refused() {
    use TensorType::{F16, F32};
    let of = |tensors: &[(&str, TensorType, &[u64])], value| {
        let (_folder, path) = forged(tensors, value);
        let reason = reason(&ControlVector::load(&path, 1.0).unwrap_err());
        reason.strip_prefix(&format!("{}: ", path.display())).unwrap().to_owned()
    };
    let name = |name: &str| format!("the tensor name {name:?} must be direction.1 to direction.512");
    assert_eq!(of(&[], 0.0), "there is no tensor direction.1, direction.2 and so on in the file");
    for bad in [
        "direction.0",
        "direction.513",
        "direction.-1",
        "direction.x",
        "direction.",
        "blk.0.x",
        "direction.99999999999",
    ] {
        assert_eq!(of(&[(bad, F32, &[4])], 0.0), name(bad));
    }
    assert_eq!(
        of(&[("direction.1", F16, &[4])], 0.0),
        "the tensor \"direction.1\" has type f16, but must have type f32"
    );
    assert_eq!(
        of(&[("direction.1", F32, &[4, 2])], 0.0),
        "the tensor \"direction.1\" with shape [4, 2] must be one row of floats"
    );
    assert_eq!(
        of(&[("direction.1", F32, &[0])], 0.0),
        "the tensor \"direction.1\" with shape [0] must be one row of floats"
    );
    assert_eq!(
        of(&[("direction.1", F32, &[4]), ("direction.2", F32, &[5])], 0.0),
        "the tensor \"direction.2\" has 5 floats, but \"direction.1\" has 4"
    );
    assert_eq!(
        of(&[("direction.3", F32, &[4])], f32::NAN),
        "the control vector cannot be used: the direction of layer 3 has NaN at index 0, but all values must be finite"
    );
    assert_eq!(
        of(&[("direction.512", F32, &[(1 << 20) + 1])], 0.0),
        "directions of 1048577 floats are wider than the limit of 1048576"
    );
}

#[test]
fn layers_of_a_file_may_come_in_any_order() {
    let (_folder, path) =
        forged(&[("direction.3", TensorType::F32, &[4]), ("direction.1", TensorType::F32, &[4])], 2.0);
    let vector = ControlVector::load(path, 0.5).unwrap();
    assert_eq!(vector.last_layer(), 3);
    let layers = [1, 2, 3].map(|layer| vector.direction(layer).unwrap());
    assert_eq!(layers, [[1.0; 4], [0.0; 4], [1.0; 4]]);
}

#[test]
fn broken_files_are_refused_with_the_place() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("vector.gguf");
    let bytes = Tuned::ControlVector.bytes();
    for length in (0..bytes.len()).step_by(7) {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let error = ControlVector::load(&path, 1.0).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ControlVectorFile { .. }), "{length}: {error}");
    }
    let error = ControlVector::load("no/such.gguf", 1.0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot load the control vector no/such.gguf: no such file; check the path"
    );
    let error = ControlVector::load(Tiny::Llama.path(), 1.0).unwrap_err();
    assert!(reason(&error).contains("must be direction.1"), "{error}");
    let error = ControlVector::load(Tuned::ControlVector.path(), f32::INFINITY).unwrap_err();
    assert!(reason(&error).contains("the direction of layer 1 has"), "{error}");
}

/// The graph of BERT ignores control vectors; setting one is not an error.
#[test]
fn models_that_ignore_vectors_go_on_as_before() {
    let model = load(Tiny::Bert);
    let mut context = Context::new(&model, &params().embeddings(true)).unwrap();
    let prompt = tokens(&model, "hello");
    let embed = |context: &mut Context| {
        decode(context, &prompt, SEQ, 0);
        context.embeddings_seq(SEQ).unwrap().to_vec()
    };
    let plain = embed(&mut context);
    context.set_control_vector(&constant(&[1.0]), ..).unwrap();
    assert_eq!(embed(&mut context), plain);
}

/// Vectors and adapters work together without affecting each other.
#[test]
fn vectors_and_adapters_go_together() {
    let model = load(Tiny::Llama);
    let lora = llama_core::LoraAdapter::load(&model, Tuned::Lora.path()).unwrap();
    let vector = ControlVector::load(Tuned::ControlVector.path(), 1.0).unwrap();
    let mut context = context(&model);
    let plain = logits(&mut context);
    context.set_control_vector(&vector, ..).unwrap();
    let shifted = logits(&mut context);
    context.set_adapters(&[(&lora, 1.0)]).unwrap();
    let both = logits(&mut context);
    context.clear_control_vector().unwrap();
    let tuned = logits(&mut context);
    let all = [&plain, &shifted, &both, &tuned];
    for (index, one) in all.iter().enumerate() {
        assert!(all[..index].iter().all(|other| difference(one, other) > 1e-3));
    }
    context.set_adapters(&[]).unwrap();
    assert_eq!(logits(&mut context), plain);
}
