//! The subjects of the functions: models of every kind, and contexts of every shape, some of them poisoned.

use llama_core::context::{AttentionType, CacheType, PoolingType};
use llama_core::{Batch, Context, ContextParams, Error, Model, ModelParams, Pos, SeqId, Token};
use test_models::{Tiny, TinyVocab};

use crate::poison::poison;
use crate::walk::Walk;

/// An object with a name for error reports.
pub(crate) struct Named<T> {
    pub(crate) name: String,
    pub(crate) it: T,
}

/// Objects that are made on first use, and kept for all cases of a child.
#[derive(Default)]
pub(crate) struct Subjects {
    models: Vec<Named<Model>>,
    contexts: Vec<Named<Context>>,
}

impl Subjects {
    /// Returns models with weights of every architecture, vocabularies without weights, and models without a
    /// vocabulary.
    pub(crate) fn models(&mut self) -> &[Named<Model>] {
        if self.models.is_empty() {
            self.models = models();
        }
        &self.models
    }

    /// Returns the models from which contexts can be made.
    pub(crate) fn whole_models(&mut self) -> impl Iterator<Item = &Named<Model>> {
        self.models().iter().filter(|model| !model.it.params().is_vocab_only())
    }

    fn contexts(&mut self) -> &mut [Named<Context>] {
        if self.contexts.is_empty() {
            let whole: Vec<Named<Model>> = self
                .whole_models()
                .map(|model| Named { name: model.name.clone(), it: model.it.clone() })
                .collect();
            self.contexts = whole.iter().flat_map(contexts).collect();
        }
        &mut self.contexts
    }
}

fn models() -> Vec<Named<Model>> {
    let load = |name: &str, path: std::path::PathBuf, vocab_only| {
        let it = Model::load(path, &ModelParams::default().vocab_only(vocab_only)).unwrap();
        Named { name: name.to_owned(), it }
    };
    let whole = Tiny::ALL.iter().map(|tiny| load(tiny.name(), tiny.path(), false));
    let bare = Tiny::ALL.iter().map(|tiny| load(&format!("{tiny} vocab-only"), tiny.path(), true));
    let vocabularies = TinyVocab::ALL.iter().map(|vocab| load(vocab.name(), vocab.path(), true));
    whole.chain(bare).chain(vocabularies).collect()
}

/// Creates contexts of a model with tokens in memory, one of them poisoned.
fn contexts(model: &Named<Model>) -> Vec<Named<Context>> {
    let params = ContextParams::default().n_ctx(256).n_threads(1);
    let four = params.clone().n_seq_max(4);
    let mut shapes = vec![
        ("plain", params.clone()),
        ("four unified", four.clone().kv_unified(true)),
        ("four", four.clone().n_batch(8).n_ubatch(4)),
        ("embeddings", four.clone().embeddings(true)),
        ("seeing all", params.clone().attention_type(AttentionType::NonCausal)),
        ("quantised keys", params.clone().type_k(CacheType::Q8_0).swa_full(false)),
        ("bf16", params.clone().type_k(CacheType::Bf16).type_v(CacheType::Bf16)),
    ];
    if !model.it.has_encoder() {
        shapes.push(("mean", four.clone().embeddings(true).pooling_type(PoolingType::Mean)));
    }
    if model.it.n_classifier_outputs().unwrap().is_some() {
        shapes.push(("rank", four.embeddings(true).pooling_type(PoolingType::Rank)));
    }
    let make = |params: &ContextParams| Context::new(&model.it, params).unwrap();
    let mut contexts: Vec<Named<Context>> = shapes
        .iter()
        .map(|(shape, params)| Named { name: format!("{} {shape}", model.name), it: make(params) })
        .collect();
    contexts.iter_mut().for_each(|context| fill(&mut context.it));
    for (shape, params) in [&shapes[0], &shapes[3]] {
        let mut context = make(params);
        fill(&mut context);
        poison(&mut context);
        contexts.push(Named { name: format!("{} {shape} poisoned", model.name), it: context });
    }
    contexts
}

/// Returns a batch of the first three tokens of sequence 0, with results of the last.
pub(crate) fn three() -> Batch {
    let mut batch = Batch::new();
    batch.push_prompt(&[5, 6, 7].map(Token::new), SeqId::new(0), Pos::new(0)).unwrap();
    batch
}

/// Puts a context into a state with tokens in memory and results of a batch.
pub(crate) fn fill(context: &mut Context) {
    try_fill(context).unwrap();
}

/// Fills a context as `fill` does, and returns an error when it is too small.
pub(crate) fn try_fill(context: &mut Context) -> Result<(), Error> {
    if context.has_memory() {
        context.memory().clear(false)?;
    }
    if context.model().has_encoder() {
        context.encode(&three())?;
    }
    context.decode(&three())
}

/// Calls a function with every context: with tokens in memory and results, empty, and poisoned.
pub(crate) fn each_context(
    walk: &mut Walk,
    subjects: &mut Subjects,
    mut with: impl FnMut(&mut Walk, &mut Context),
) {
    for context in subjects.contexts() {
        let Named { name, it } = context;
        walk.on(&name, it.is_poisoned());
        if it.is_poisoned() {
            with(walk, it);
            continue;
        }
        fill(it);
        with(walk, it);
        assert!(!it.is_poisoned(), "{name}");
        walk.on(format!("{name}, empty"), false);
        if it.has_memory() {
            it.memory().clear(true).unwrap();
        }
        // A batch that fails takes the results with it.
        let mut gap = three();
        gap.push(Token::new(5), Pos::new(9), &[SeqId::new(0)], true).unwrap();
        let _ = if it.model().has_encoder() { it.encode(&gap) } else { it.decode(&gap) };
        with(walk, it);
        assert!(!it.is_poisoned(), "{name}");
    }
}

/// Tries something on every model.
pub(crate) fn each_model(walk: &mut Walk, subjects: &mut Subjects, mut with: impl FnMut(&mut Walk, &Model)) {
    for Named { name, it } in subjects.models() {
        walk.on(name, false);
        with(walk, it);
    }
}
