//! Tests that a context is unusable after a contained failure, and that the model and other contexts are not
//! affected.

use test_models::Tiny;

use super::{Context, ContextParams};
use crate::error::{Error, ErrorKind};
use crate::ffi::guard::guarded;
use crate::model::{Model, ModelParams};
use crate::token::{Pos, SeqId, Token};
use crate::{Batch, TokenizeOptions};

const SEQ: SeqId = SeqId::new(0);

fn params() -> ContextParams {
    ContextParams::default().n_ctx(256).n_threads(1)
}

fn prompt(model: &Model) -> Batch {
    let tokens = model.vocab().tokenize("Hello world", TokenizeOptions::default()).unwrap();
    let mut batch = Batch::new();
    batch.push_prompt(&tokens, SEQ, Pos::new(0)).unwrap();
    batch
}

fn logits(context: &mut Context) -> Vec<f32> {
    let batch = prompt(&context.model().clone());
    context.decode(&batch).unwrap();
    context.logits(batch.last_output()).unwrap().to_vec()
}

/// Passes a sequence id to the memory that the checks of `Memory` would refuse.
fn fail(context: &mut Context) -> Error {
    context
        .call(|raw| {
            // SAFETY: the context is valid; the sequence id is invalid on purpose.
            unsafe { guarded!(llama_memory_seq_rm(llama_sys::llama_get_memory(raw), 9999, 0, -1)) }
        })
        .unwrap_err()
}

#[track_caller]
fn assert_poisoned<T>(result: Result<T, Error>) {
    let Err(error) = result else { panic!("a poisoned context worked") };
    let ErrorKind::Poisoned { cause, .. } = error.kind() else { panic!("{error:?}") };
    assert!(
        cause.contains("src/llama-kv-cache.cpp:") && cause.contains("GGML_ASSERT(seq_id == -1"),
        "{cause}"
    );
    let text = error.to_string();
    assert!(
        text.starts_with("this context cannot be used any more") && text.contains("Make a new one"),
        "{text}"
    );
}

#[test]
fn contained_assertion_poisons_the_context() {
    let model = Model::load(Tiny::Llama.path(), &ModelParams::default()).unwrap();
    let expected = logits(&mut Context::new(&model, &params()).unwrap());
    let mut context = Context::new(&model, &params()).unwrap();
    let mut other = Context::new(&model, &params()).unwrap();
    let batch = prompt(&model);
    context.decode(&batch).unwrap();
    assert!(!context.is_poisoned());

    let error = fail(&mut context);
    let ErrorKind::Internal { file, line, message } = error.kind() else { panic!("{error:?}") };
    assert!(file.ends_with("src/llama-kv-cache.cpp") && !file.starts_with('/'), "{file}");
    assert!(*line > 0);
    assert!(message.starts_with("GGML_ASSERT(seq_id == -1"), "{message}");

    assert!(context.is_poisoned());
    assert!(format!("{context:?}").contains("GGML_ASSERT"));
    assert_poisoned(context.decode(&batch));
    assert_poisoned(context.encode(&batch));
    assert_poisoned(context.logits(batch.last_output()).map(drop));
    assert_poisoned(context.logits(None).map(drop));
    assert_poisoned(context.embeddings(0).map(drop));
    assert_poisoned(context.synchronize());
    assert_poisoned(context.set_n_threads(1, 1));
    assert_poisoned(context.set_embeddings(true));
    assert_poisoned(context.set_causal_attention(false));
    assert_poisoned(context.perf());
    assert_poisoned(context.reset_perf());
    let mut memory = context.memory();
    assert_poisoned(memory.clear(true));
    assert_poisoned(memory.seq_rm(SEQ, ..));
    assert_poisoned(memory.seq_rm(SEQ, 1..1));
    assert_poisoned(memory.seq_cp(SEQ, SEQ, ..));
    assert_poisoned(memory.seq_keep(SEQ));
    assert_poisoned(memory.seq_add(SEQ, .., 1));
    assert_poisoned(memory.seq_div(SEQ, .., 2));
    assert_poisoned(memory.seq_pos_min(SEQ));
    assert_poisoned(memory.seq_pos_max(SEQ));
    assert_poisoned(memory.can_shift());

    assert!(logits(&mut other) == expected);
    drop(context);
    assert!(logits(&mut Context::new(&model, &params()).unwrap()) == expected);
}

#[test]
fn poisoned_pooling_context_gives_no_embeddings() {
    let model = Model::load(Tiny::Gemma3.path(), &ModelParams::default()).unwrap();
    let params = params().embeddings(true).pooling_type(super::PoolingType::Mean);
    let mut context = Context::new(&model, &params).unwrap();
    context.decode(&prompt(&model)).unwrap();
    assert_eq!(context.embeddings_seq(SEQ).unwrap().len(), 64);
    fail(&mut context);
    assert_poisoned(context.embeddings_seq(SEQ).map(drop));
}

#[test]
fn refused_arguments_do_not_poison() {
    let model = Model::load(Tiny::Llama.path(), &ModelParams::default()).unwrap();
    let mut context = Context::new(&model, &params()).unwrap();
    let mut batch = Batch::new();
    batch.push(Token::new(-1), Pos::new(0), &[SEQ], true).unwrap();
    context.decode(&batch).unwrap_err();
    context.memory().seq_rm(SeqId::new(9999), ..).unwrap_err();
    assert!(!context.is_poisoned());
    context.synchronize().unwrap();
}

#[test]
fn many_contexts_may_fail() {
    let model = Model::load(Tiny::Llama.path(), &ModelParams::default()).unwrap();
    let expected = logits(&mut Context::new(&model, &params()).unwrap());
    for _ in 0..50 {
        let mut context = Context::new(&model, &params()).unwrap();
        logits(&mut context);
        fail(&mut context);
    }
    assert!(logits(&mut Context::new(&model, &params()).unwrap()) == expected);
}
