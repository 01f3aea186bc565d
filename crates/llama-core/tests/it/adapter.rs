//! LoRA adapters: their effects, and who keeps whom alive. `adapter_file.rs` tests the files that are refused.

use crate::greedy::{SEQ, decode, difference, load, logits_after, params, tokens};
use llama_core::{Context, ErrorKind, LoraAdapter, Model, ModelParams, Token};
use llama_gguf::{Gguf, Writer};
use tempfile::TempDir;
use test_models::{Tiny, Tuned};

pub(crate) fn base() -> Model {
    load_file(Tuned::Base)
}

fn load_file(tuned: Tuned) -> Model {
    Model::load(tuned.path(), &ModelParams::default()).unwrap()
}

fn adapter(model: &Model, tuned: Tuned) -> LoraAdapter {
    LoraAdapter::load(model, tuned.path()).unwrap()
}

pub(crate) fn prompt(model: &Model) -> Vec<Token> {
    tokens(model, "Hello world, how are you?")
}

/// Returns the logits after the prompt in a new context with these adapters.
pub(crate) fn logits(model: &Model, adapters: &[(&LoraAdapter, f32)]) -> Vec<f32> {
    let mut context = Context::new(model, &params()).unwrap();
    context.set_adapters(adapters).unwrap();
    logits_after(&mut context, &prompt(model), SEQ, 0)
}

/// Computes the logits in an existing context, whose memory is cleared before.
fn logits_in(context: &mut Context) -> Vec<f32> {
    context.memory().clear(true).unwrap();
    let prompt = prompt(context.model());
    logits_after(context, &prompt, SEQ, 0)
}

#[test]
fn scale_zero_changes_nothing() {
    for model in [base(), load(Tiny::Llama), load(Tiny::LlamaQ8)] {
        let lora = adapter(&model, Tuned::Lora);
        let plain = logits(&model, &[]);
        assert_eq!(logits(&model, &[(&lora, 0.0)]), plain);
        assert_eq!(logits(&model, &[(&lora, -0.0)]), plain);
        assert!(difference(&plain, &logits(&model, &[(&lora, 1.0)])) > 0.1);
    }
}

#[test]
fn scale_one_equals_merged_weights() {
    let model = base();
    let lora = adapter(&model, Tuned::Lora);
    let (found, merged) = (logits(&model, &[(&lora, 1.0)]), logits(&load_file(Tuned::Merged), &[]));
    let worst = difference(&merged, &found);
    assert!(worst < 1e-4, "{worst}");
    assert!(difference(&merged, &logits(&model, &[])) > 0.1);
}

#[test]
fn two_adapters_add_up() {
    let model = base();
    let (first, second) = (adapter(&model, Tuned::Lora), adapter(&model, Tuned::SecondLora));
    let merged = logits(&load_file(Tuned::MergedBoth), &[]);
    for list in [[(&first, 1.0), (&second, 0.5)], [(&second, 0.5), (&first, 1.0)]] {
        let worst = difference(&merged, &logits(&model, &list));
        assert!(worst < 1e-4, "{worst}");
    }
    assert!(difference(&merged, &logits(&model, &[(&first, 1.0)])) > 0.02);
    assert!(difference(&merged, &logits(&model, &[(&first, 1.0), (&second, 1.0)])) > 0.02);
}

/// A given list replaces the active one.
#[test]
fn a_list_replaces_the_one_before() {
    let model = base();
    let (first, second) = (adapter(&model, Tuned::Lora), adapter(&model, Tuned::SecondLora));
    let mut context = Context::new(&model, &params()).unwrap();
    let lists: [&[(&LoraAdapter, f32)]; 7] = [
        &[],
        &[(&first, 1.0)],
        &[(&second, 1.0)],
        &[(&first, 1.0), (&second, 0.5)],
        &[(&second, 1.0), (&first, 0.0)],
        &[(&first, -0.5)],
        &[],
    ];
    for list in lists {
        context.set_adapters(list).unwrap();
        assert_eq!(context.adapters().count(), list.len());
        for ((found, scale), (set, set_scale)) in context.adapters().zip(list) {
            assert!(found.is_same(set) && scale.to_bits() == set_scale.to_bits());
        }
        assert_eq!(logits_in(&mut context), logits(&model, list), "{list:?}");
    }
}

/// Decodes one position after the other, each with the adapters that were set before it.
#[test]
fn adapters_are_swapped_between_decodes() {
    let model = base();
    let lora = adapter(&model, Tuned::Lora);
    let prompt = prompt(&model);
    let (head, tail) = prompt.split_at(4);
    let run = |at_head: f32, at_tail: f32| {
        let mut context = Context::new(&model, &params()).unwrap();
        context.set_adapters(&[(&lora, at_head)]).unwrap();
        decode(&mut context, head, SEQ, 0);
        context.set_adapters(&[(&lora, at_tail)]).unwrap();
        logits_after(&mut context, tail, SEQ, head.len())
    };
    // Memory keeps what it was computed with, so that all four differ.
    let all = [run(0.0, 0.0), run(0.0, 1.0), run(1.0, 0.0), run(1.0, 1.0)];
    for (index, one) in all.iter().enumerate() {
        for other in &all[..index] {
            assert!(difference(one, other) > 1e-3);
        }
    }
    assert!(difference(&all[0], &logits(&model, &[])) < 1e-4);
    assert!(difference(&all[3], &logits(&model, &[(&lora, 1.0)])) < 1e-4);
}

#[test]
fn results_stay_when_adapters_change() {
    let model = base();
    let lora = adapter(&model, Tuned::Lora);
    let mut context = Context::new(&model, &params()).unwrap();
    let before = logits_in(&mut context);
    context.set_adapters(&[(&lora, 1.0)]).unwrap();
    assert_eq!(context.logits(prompt(&model).len() - 1).unwrap().to_vec(), before);
}

/// Loads adapters after a context has planned its buffers for the existing ones; later adapters need more.
#[test]
fn many_adapters_of_which_most_are_loaded_later() {
    let model = base();
    let mut context = Context::new(&model, &params()).unwrap();
    let plain = logits_in(&mut context);
    let loaded: Vec<LoraAdapter> = (0..64).map(|_| adapter(&model, Tuned::Lora)).collect();
    let list: Vec<(&LoraAdapter, f32)> = loaded.iter().map(|adapter| (adapter, 1.0 / 64.0)).collect();
    context.set_adapters(&list).unwrap();
    let merged = logits(&load_file(Tuned::Merged), &[]);
    assert!(difference(&merged, &logits_in(&mut context)) < 1e-4);
    context.set_adapters(&[]).unwrap();
    assert_eq!(logits_in(&mut context), plain);
}

#[test]
fn an_adapter_outlives_the_handles_it_came_from() {
    let model = base();
    let expected = logits(&model, &[(&adapter(&model, Tuned::Lora), 1.0)]);
    let lora = adapter(&model, Tuned::Lora);
    let mut context = Context::new(&model, &params()).unwrap();
    context.set_adapters(&[(&lora, 1.0)]).unwrap();
    drop((context, model));
    assert_eq!(lora.model().n_layer(), 2);
    assert_eq!(logits(&lora.model().clone(), &[(&lora, 1.0)]), expected);
}

#[test]
fn an_adapter_is_dropped_while_attached() {
    let model = base();
    let mut context = Context::new(&model, &params()).unwrap();
    let plain = logits_in(&mut context);
    let expected = logits(&model, &[(&adapter(&model, Tuned::Lora), 1.0)]);
    context.set_adapters(&[(&adapter(&model, Tuned::Lora), 1.0)]).unwrap();
    drop(model);
    // Whatever is allocated now would lie where the adapter was.
    let others: Vec<LoraAdapter> = (0..4).map(|_| adapter(context.model(), Tuned::SecondLora)).collect();
    assert_eq!(logits_in(&mut context), expected);
    assert_eq!(context.adapters().next().unwrap().0.path(), Some(Tuned::Lora.path().as_path()));
    drop(others);
    assert_eq!(logits_in(&mut context), expected);
    context.set_adapters(&[]).unwrap();
    assert_eq!(logits_in(&mut context), plain);
}

#[test]
fn an_attached_adapter_is_freed_with_its_context() {
    let model = base();
    let lora = adapter(&model, Tuned::Lora);
    for _ in 0..3 {
        let mut context = Context::new(&model, &params()).unwrap();
        context.set_adapters(&[(&lora.clone(), 1.0)]).unwrap();
        decode(&mut context, &prompt(&model), SEQ, 0);
    }
    let mut last = Context::new(&model, &params()).unwrap();
    last.set_adapters(&[(&lora, 1.0)]).unwrap();
    drop((lora, model));
    drop(last);
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let (model, twin) = (base(), base());
    let (lora, foreign) = (adapter(&model, Tuned::Lora), adapter(&twin, Tuned::Lora));
    let mut context = Context::new(&model, &params()).unwrap();
    context.set_adapters(&[(&lora, 1.0)]).unwrap();
    let error = context.set_adapters(&[(&lora, 0.5), (&foreign, 1.0)]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::OtherModel { path, .. } if *path == Tuned::Lora.path()));
    assert!(
        error.to_string().ends_with(
            "was loaded for another model than the context's: load it again for the context's model"
        ),
        "{error}"
    );
    // The list is as it was.
    assert_eq!(context.adapters().map(|(_, scale)| scale).collect::<Vec<_>>(), [1.0]);
    assert_eq!(logits_in(&mut context), logits(&model, &[(&lora, 1.0)]));
}

#[test]
fn scales_that_are_no_numbers_are_refused() {
    let model = base();
    let lora = adapter(&model, Tuned::Lora);
    let mut context = Context::new(&model, &params()).unwrap();
    for scale in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        let error = context.set_adapters(&[(&lora, scale)]).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::InvalidParameter(problem) if problem.name == "scale"),
            "{error}"
        );
    }
    let error = context.set_adapters(&[(&lora, 1.0), (&lora.clone(), 0.5)]).unwrap_err();
    assert!(
        error.to_string().ends_with(
            "must be a list without duplicates: give the adapter once, with the sum of the scales"
        )
    );
    assert_eq!(context.adapters().len(), 0);
    assert_eq!(logits_in(&mut context), logits(&model, &[]));
}

#[test]
fn metadata_is_text_sorted_by_key() {
    let model = base();
    let lora = adapter(&model, Tuned::Lora);
    let metadata = lora.metadata().unwrap();
    assert_eq!(
        metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<Vec<_>>(),
        [
            ("adapter.lora.alpha", "8.000000"),
            ("adapter.lora.task_name", "test"),
            ("adapter.type", "lora"),
            ("general.architecture", "llama"),
            ("general.name", "tiny lora"),
            ("general.type", "adapter"),
        ]
    );
    assert_eq!(lora.metadata_value("adapter.lora.task_name").unwrap().as_deref(), Some("test"));
    assert_eq!(lora.metadata_value("adapter.lora.prompt_prefix").unwrap(), None);
    assert!(matches!(
        lora.metadata_value("a\0b").unwrap_err().kind(),
        ErrorKind::InteriorNul { position: 1, .. }
    ));
    assert_eq!((lora.alpha(), adapter(&model, Tuned::SecondLora).alpha()), (8.0, 0.0));
    assert!(format!("{lora:?}").contains("lora-v1.gguf"));
    assert!(lora.is_same(&lora.clone()) && !lora.is_same(&adapter(&model, Tuned::Lora)));
}

#[test]
fn an_activated_lora_has_its_invocation_tokens() {
    let model = base();
    let activated = adapter(&model, Tuned::ActivatedLora);
    assert_eq!(activated.alora_invocation_tokens(), [1, 260, 261].map(Token::new));
    assert_eq!(adapter(&model, Tuned::Lora).alora_invocation_tokens(), []);
    // llama.cpp does no more with them.
    assert_eq!(logits(&model, &[(&activated, 1.0)]), logits(&model, &[(&adapter(&model, Tuned::Lora), 1.0)]));
}

/// Computes the prompt up to the invocation without the adapter and the rest with it, as the documentation says.
#[test]
fn an_activated_lora_is_switched_on_at_its_invocation() {
    let model = base();
    let activated = adapter(&model, Tuned::ActivatedLora);
    let invocation = activated.alora_invocation_tokens();
    let mut text = prompt(&model);
    text.extend(invocation);
    let at = text.windows(invocation.len()).rposition(|window| window == invocation).unwrap();
    let mut context = Context::new(&model, &params()).unwrap();
    decode(&mut context, &text[..at], SEQ, 0);
    context.set_adapters(&[(&activated, 1.0)]).unwrap();
    let found = logits_after(&mut context, &text[at..], SEQ, at);
    let mut whole = Context::new(&model, &params()).unwrap();
    whole.set_adapters(&[(&activated, 1.0)]).unwrap();
    assert!(difference(&logits_after(&mut whole, &text, SEQ, 0), &found) > 1e-3);
}

#[test]
fn a_model_in_parts_takes_adapters() {
    let folder = TempDir::new().unwrap();
    let bytes = Tuned::Base.bytes();
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    let total = i32::try_from(gguf.tensors().len()).unwrap();
    let path = |number: u16| folder.path().join(format!("model-{number:05}-of-00002.gguf"));
    for (number, tensors) in [(1_u16, &gguf.tensors()[..5]), (2, &gguf.tensors()[5..])] {
        let mut writer = Writer::new();
        if number == 1 {
            *writer.metadata_mut() = gguf.metadata().clone();
        }
        writer.set("split.no", number - 1).set("split.count", 2_u16).set("split.tensors.count", total);
        for info in tensors {
            let data = gguf.tensor_data(&bytes, &info.name().to_string()).unwrap().to_vec();
            writer.tensor(info.name().clone(), info.tensor_type(), info.shape(), data).unwrap();
        }
        writer.write_file(path(number)).unwrap();
    }
    let model = Model::load(path(1), &ModelParams::default()).unwrap();
    let lora = adapter(&model, Tuned::Lora);
    let whole = base();
    assert_eq!(logits(&model, &[(&lora, 1.0)]), logits(&whole, &[(&adapter(&whole, Tuned::Lora), 1.0)]));
}

/// Decodes on several threads with and without adapters while others load and free them, with one model.
#[test]
fn adapters_come_and_go_while_other_threads_decode() {
    fn shared<T: Send + Sync>(value: T) -> T {
        value
    }
    let model = base();
    let lora = shared(adapter(&model, Tuned::Lora));
    let (plain, tuned) = (logits(&model, &[]), logits(&model, &[(&lora, 1.0)]));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut context = Context::new(&model, &params()).unwrap();
            for round in 0..20 {
                let on = round % 2 == 1;
                context.set_adapters(&[(&lora, if on { 1.0 } else { 0.0 })]).unwrap();
                assert_eq!(&logits_in(&mut context), if on { &tuned } else { &plain });
            }
        });
        scope.spawn(|| {
            for _ in 0..60 {
                let other = adapter(&model, Tuned::SecondLora);
                assert_eq!(other.metadata().unwrap().len(), 5);
            }
        });
    });
    assert_eq!(logits(&model, &[(&lora, 1.0)]), tuned);
}
