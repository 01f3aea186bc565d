//! Observing tensors while they are computed.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use crate::greedy::{SEQ, decode, difference, load, logits_after, params, tokens};
use llama_core::observer::{TensorData, TensorInfo};
use llama_core::{
    Batch, Context, ContextParams, DecodeError, ErrorKind, Model, Observer, Pos, TensorType, Token,
};
use test_models::Tiny;

/// The record of one tensor.
#[derive(Clone, Debug)]
struct Seen {
    name: String,
    op: String,
    shape: [usize; 4],
    tensor_type: Option<TensorType>,
    bytes: usize,
    values: Vec<f32>,
}

impl Seen {
    fn new(tensor: &TensorData<'_>) -> Self {
        let mut values = Vec::new();
        tensor.to_f32(&mut values).unwrap();
        let info = tensor.info();
        Self {
            name: info.name().into_owned(),
            op: info.op().into_owned(),
            shape: info.shape(),
            tensor_type: info.tensor_type(),
            bytes: tensor.bytes().len(),
            values,
        }
    }
}

type Log = Arc<Mutex<Vec<Seen>>>;

/// Records the tensors of these names, or all for an empty list.
struct Collect {
    names: &'static [&'static str],
    log: Log,
}

impl Observer for Collect {
    fn wants(&mut self, tensor: &TensorInfo<'_>) -> bool {
        self.names.is_empty() || self.names.contains(&&*tensor.name())
    }

    fn observe(&mut self, tensor: &TensorData<'_>) -> ControlFlow<()> {
        self.log.lock().unwrap().push(Seen::new(tensor));
        ControlFlow::Continue(())
    }
}

fn observed(model: &Model, params: &ContextParams, names: &'static [&'static str]) -> (Context, Log) {
    let log = Log::default();
    let collect = Collect { names, log: Arc::clone(&log) };
    (Context::with_observer(model, params, collect).unwrap(), log)
}

fn take(log: &Log) -> Vec<Seen> {
    std::mem::take(&mut log.lock().unwrap())
}

#[test]
fn layers_and_result_of_a_prompt() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world");
    let (mut context, log) = observed(&model, &params(), &["embd", "l_out-0", "l_out-1", "result_output"]);
    let row = logits_after(&mut context, &prompt, SEQ, 0);
    let seen = take(&log);
    let names: Vec<&str> = seen.iter().map(|seen| seen.name.as_str()).collect();
    assert_eq!(names, ["embd", "l_out-0", "l_out-1", "result_output"]);
    assert_eq!((seen[0].shape, seen[0].op.as_str()), ([64, prompt.len(), 1, 1], "GET_ROWS"));
    assert_eq!((seen[1].shape, seen[1].op.as_str()), ([64, prompt.len(), 1, 1], "ADD"));
    // Only the last token is computed to the end.
    assert_eq!((seen[2].shape, seen[3].shape), ([64, 1, 1, 1], [507, 1, 1, 1]));
    assert_eq!((seen[3].op.as_str(), seen[3].tensor_type), ("MUL_MAT", Some(TensorType::F32)));
    assert_eq!(seen[3].bytes, 507 * 4);
    // The very logits.
    assert!(seen[3].values == row);

    // And of the next token.
    let row = logits_after(&mut context, &[Token::new(5)], SEQ, prompt.len());
    let seen = take(&log);
    assert_eq!(seen.len(), 4);
    assert!(seen[3].values == row);
}

#[test]
fn observed_models_compute_the_same() {
    for tiny in
        [Tiny::Llama, Tiny::LlamaQ8, Tiny::Qwen2, Tiny::Qwen3Moe, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba]
    {
        let model = load(tiny);
        let prompt = tokens(&model, "Hello world");
        let expected = logits_after(&mut Context::new(&model, &params()).unwrap(), &prompt, SEQ, 0);
        let (mut context, log) = observed(&model, &params(), &[]);
        let row = logits_after(&mut context, &prompt, SEQ, 0);
        // One by one, operations are not joined.
        assert!(difference(&expected, &row) < 1e-3, "{tiny}");
        let seen = take(&log);
        assert!(seen.len() > 50, "{tiny}: {}", seen.len());
        for seen in &seen {
            let elements: usize = seen.shape.iter().product();
            assert_eq!(seen.values.len(), elements, "{tiny} {seen:?}");
            assert!(!seen.op.is_empty() && seen.tensor_type.is_some(), "{tiny} {seen:?}");
        }
        assert!(seen.last().unwrap().values == row, "{tiny}");
    }
}

/// Views are read by their strides: queries are computed as rows, and attention sees them with exchanged dimensions.
#[test]
fn views_are_read_by_their_strides() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world");
    let log = Log::default();
    let collected = Arc::clone(&log);
    let mut views = 0;
    let observer = move |tensor: &TensorData<'_>| {
        let info = tensor.info();
        if info.op() == "PERMUTE" {
            assert!(info.is_view());
            // The first is of the queries.
            assert!(views > 0 || info.strides() == [4, 256, 128, info.strides()[3]], "{info:?}");
            views += 1;
        }
        if views <= 1 {
            collected.lock().unwrap().push(Seen::new(tensor));
        }
        ControlFlow::Continue(())
    };
    let mut context = Context::with_observer(&model, &params(), observer).unwrap();
    decode(&mut context, &prompt, SEQ, 0);
    let seen = take(&log);
    let permuted = seen.iter().position(|seen| seen.op == "PERMUTE").unwrap();
    let (view, n) = (&seen[permuted], prompt.len());
    assert_eq!(view.shape, [32, n, 2, 1]);
    let source = seen[..permuted].iter().rev().find(|seen| seen.shape == [32, 2, n, 1]).unwrap();
    for token in 0..n {
        for head in 0..2 {
            let (a, b) = ((head * n + token) * 32, (token * 2 + head) * 32);
            assert!(view.values[a..a + 32] == source.values[b..b + 32], "token {token} head {head}");
        }
    }
}

#[test]
fn types_are_converted() {
    // Keys and values in memory are 16-bit floats, masks too; ids are integers.
    let model = load(Tiny::Llama);
    let (mut context, log) = observed(&model, &params(), &[]);
    decode(&mut context, &tokens(&model, "Hello world"), SEQ, 0);
    let seen = take(&log);
    let f16 = seen.iter().filter(|seen| seen.tensor_type == Some(TensorType::F16)).count();
    assert!(f16 > 0);
    for seen in seen.iter().filter(|seen| seen.op == "SET_ROWS") {
        assert!(seen.values.iter().all(|value| value.is_finite()), "{}", seen.name);
    }
    let moe = load(Tiny::Qwen3Moe);
    let (mut context, log) = observed(&moe, &params(), &[]);
    decode(&mut context, &tokens(&moe, "Hello world"), SEQ, 0);
    let ids = take(&log).into_iter().find(|seen| seen.tensor_type == Some(TensorType::I32)).unwrap();
    // Four experts.
    assert!(ids.values.iter().all(|id| [0.0, 1.0, 2.0, 3.0].contains(id)), "{ids:?}");
}

/// Stops once, at the named tensor.
struct Stop {
    name: &'static str,
    left: usize,
}

impl Observer for Stop {
    fn wants(&mut self, tensor: &TensorInfo<'_>) -> bool {
        tensor.name() == self.name
    }

    fn observe(&mut self, _: &TensorData<'_>) -> ControlFlow<()> {
        self.left = self.left.wrapping_sub(1);
        if self.left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn cancelling_leaves_nothing_of_the_batch() {
    // In the middle, and at the very last operation, after which llama.cpp reports success.
    for name in ["l_out-0", "result_output"] {
        for tiny in [Tiny::Llama, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba] {
            let model = load(tiny);
            let text = tokens(&model, "Hello world, this is a test of it all and more");
            let params = params().n_ubatch(4);
            // The first batch has one part, of the second it is the second part that is stopped.
            let stop = Stop { name, left: 3 };
            let mut context = Context::with_observer(&model, &params, stop).unwrap();
            decode(&mut context, &text[..4], SEQ, 0);
            let mut batch = Batch::new();
            for (pos, token) in (4..).zip(&text[4..12]) {
                batch.push(*token, Pos::new(pos), &[SEQ], true).unwrap();
            }
            let error = context.decode(&batch).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Decode(DecodeError::Cancelled)),
                "{tiny} {name} {error:?}"
            );
            assert!(error.to_string().starts_with("decoding was cancelled by the observer"), "{error}");
            assert!(!context.is_poisoned() && context.logits(7).is_err());
            let is_state = matches!(tiny, Tiny::Mamba | Tiny::Jamba);
            let left = context.memory().seq_pos_max(SEQ).unwrap();
            assert_eq!(left, (!is_state).then_some(Pos::new(3)), "{tiny} {name}");
            // On with it.
            let first = if is_state { 0 } else { 4 };
            let found = logits_after(&mut context, &text[first..], SEQ, first);
            let expected = logits_after(&mut Context::new(&model, &params).unwrap(), &text, SEQ, 0);
            assert!(difference(&expected, &found) < 1e-3, "{tiny} {name}");
        }
    }
}

#[test]
fn cancelling_while_positions_are_moved_loses_nothing() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world, here it is");
    let next = prompt.len() - 4;
    let prepared = |mut context: Context| {
        decode(&mut context, &prompt, SEQ, 0);
        context.memory().seq_rm(SEQ, ..4).unwrap();
        context.memory().seq_add(SEQ, .., -4).unwrap();
        context
    };
    let expected =
        logits_after(&mut prepared(Context::new(&model, &params()).unwrap()), &prompt[..2], SEQ, next);
    // The first operation that is seen after the prompt is one that moves keys.
    let stop = Arc::new(Mutex::new(false));
    let asked = Arc::clone(&stop);
    let observer = move |_: &TensorData<'_>| {
        if std::mem::take(&mut *asked.lock().unwrap()) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let mut context = prepared(Context::with_observer(&model, &params(), observer).unwrap());
    *stop.lock().unwrap() = true;
    let mut batch = Batch::new();
    batch.push_prompt(&prompt[..2], SEQ, Pos::new(i32::try_from(next).unwrap())).unwrap();
    let error = context.decode(&batch).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Decode(DecodeError::Cancelled)), "{error:?}");
    let found = logits_after(&mut context, &prompt[..2], SEQ, next);
    assert!(difference(&expected, &found) < 1e-3, "{}", difference(&expected, &found));
}

#[test]
fn panics_arrive_and_leave_nothing_of_the_batch() {
    /// Panics at the chosen place while the switch is on.
    struct Panic {
        in_wants: bool,
        on: Arc<Mutex<bool>>,
    }
    impl Observer for Panic {
        fn wants(&mut self, tensor: &TensorInfo<'_>) -> bool {
            let there = tensor.name() == "l_out-0";
            assert!(!(there && self.in_wants && *self.on.lock().unwrap()), "asked");
            there
        }

        fn observe(&mut self, _: &TensorData<'_>) -> ControlFlow<()> {
            let on = *self.on.lock().unwrap();
            assert!(!on, "shown");
            ControlFlow::Continue(())
        }
    }
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world");
    for in_wants in [true, false] {
        let on = Arc::new(Mutex::new(true));
        let panic = Panic { in_wants, on: Arc::clone(&on) };
        let mut context = Context::with_observer(&model, &params(), panic).unwrap();
        let mut batch = Batch::new();
        batch.push_prompt(&prompt, SEQ, Pos::new(0)).unwrap();
        let caught = catch_unwind(AssertUnwindSafe(|| context.decode(&batch))).unwrap_err();
        let message = *caught.downcast_ref::<&str>().unwrap();
        assert_eq!(message, if in_wants { "asked" } else { "shown" });
        assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), None);
        assert!(!context.is_poisoned());
        on.clear_poison();
        *on.lock().unwrap() = false;
        context.decode(&batch).unwrap();
        assert_eq!(context.logits(prompt.len() - 1).unwrap().len(), 507);
    }
}

#[test]
fn encoders_are_observed_and_cancelled() {
    let model = load(Tiny::Bert);
    let prompt = tokens(&model, "hello world");
    let params = params().embeddings(true);
    let (mut context, log) = observed(&model, &params, &["result_embd_pooled"]);
    decode(&mut context, &prompt, SEQ, 0);
    let row = context.embeddings_seq(SEQ).unwrap().to_vec();
    let seen = take(&log);
    assert_eq!(seen.len(), 1);
    assert!(seen[0].values == row);
    let stop = Stop { name: "result_embd_pooled", left: 1 };
    let mut context = Context::with_observer(&model, &params, stop).unwrap();
    let mut batch = Batch::new();
    batch.push_prompt(&prompt, SEQ, Pos::new(0)).unwrap();
    let error = context.encode(&batch).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Decode(DecodeError::Cancelled)), "{error:?}");
    assert!(context.embeddings_seq(SEQ).is_err());
    context.encode(&batch).unwrap();
    assert!(context.embeddings_seq(SEQ).unwrap() == row);
}

#[test]
fn observers_are_dropped_with_the_context() {
    let model = load(Tiny::Llama);
    let (context, log) = observed(&model, &params(), &[]);
    assert_eq!(Arc::strong_count(&log), 2);
    drop(context);
    assert_eq!(Arc::strong_count(&log), 1);
    // And when there is no context.
    let held = Arc::clone(&log);
    let refused = Context::with_observer(&model, &params().n_ctx(1 << 31), Collect { names: &[], log: held });
    assert!(refused.is_err());
    assert_eq!(Arc::strong_count(&log), 1);
}
