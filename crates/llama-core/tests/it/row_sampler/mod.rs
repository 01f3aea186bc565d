//! The sampler for rows chooses the same tokens as llama.cpp's chain, never a masked one, and allocates nothing.
//!
//! `LLAMA_TEST_THOROUGH=1` runs the comparisons on twenty times as many rows; in a release build this takes minutes.

mod batches;
mod distribution;
mod equality;
mod hostile;
mod properties;
mod real;
mod rows;
mod state;
mod subsets;
mod ties;

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use llama_core::sampler::{Candidates, Choice, RowSampler, SamplerChainBuilder, Seed};
use llama_core::{ErrorKind, Model, ModelParams, Sampler, SamplerChain, Token};
use llama_gguf::{Metadata, TensorType};

/// Returns the factor by which more rows than usual are compared.
fn effort() -> usize {
    if std::env::var_os("LLAMA_TEST_THOROUGH").is_some_and(|value| value != "0") { 20 } else { 1 }
}

/// Loads a model of this many tokens without text, and nothing else.
fn vocabulary(n_tokens: usize) -> Model {
    static MADE: LazyLock<Mutex<BTreeMap<usize, Model>>> = LazyLock::new(Mutex::default);
    MADE.lock().unwrap().entry(n_tokens).or_insert_with(|| make_vocabulary(n_tokens)).clone()
}

fn make_vocabulary(n_tokens: usize) -> Model {
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", "llama").set("tokenizer.ggml.model", "no_vocab");
    for (key, value) in [
        ("vocab_size", n_tokens),
        ("context_length", 64),
        ("embedding_length", 32),
        ("block_count", 1),
        ("feed_forward_length", 32),
        ("attention.head_count", 1),
    ] {
        metadata.set(format!("llama.{key}"), u32::try_from(value).unwrap());
    }
    metadata.set("llama.attention.layer_norm_rms_epsilon", 1e-5_f32);
    let params = ModelParams::default().vocab_only(true);
    let none = [("", TensorType::F32); 0];
    let model = Model::from_metadata(&metadata, none, &params, |_, _| Ok::<(), String>(())).unwrap();
    assert_eq!(model.vocab().n_tokens(), n_tokens);
    model
}

fn builder(samplers: &[Sampler]) -> SamplerChainBuilder {
    samplers.iter().cloned().fold(SamplerChain::builder(), SamplerChainBuilder::push)
}

/// A chain and a row sampler of the same samplers.
struct Pair {
    samplers: Vec<Sampler>,
    chain: SamplerChain,
    row: RowSampler,
    candidates: Candidates,
    choice: Choice,
    /// Whether a bias may come after a sampler that sorts.
    bias_may_come_late: bool,
}

impl Pair {
    fn new(samplers: &[Sampler]) -> Self {
        Self::of(builder(samplers))
    }

    fn of(builder: SamplerChainBuilder) -> Self {
        let chain = builder.clone().build().unwrap();
        Self {
            samplers: chain.samplers().to_vec(),
            chain,
            row: builder.build_row().unwrap(),
            candidates: Candidates::new(),
            choice: Choice::default(),
            bias_may_come_late: false,
        }
    }

    /// Samples from the row with both, and compares the tokens and their probabilities. Returns `None` when both have
    /// an error and start again.
    #[track_caller]
    fn check(&mut self, row: &[f32]) -> Option<Token> {
        self.candidates.set_logits(row);
        if let Err(error) = self.chain.apply(&mut self.candidates) {
            let masked = "every candidate has been masked";
            match self.row.sample_row(row) {
                // A bias has forbidden the first of sorted candidates, which the chain does not get over.
                Ok(token) if self.bias_may_come_late => assert!(row[index(token)] > f32::NEG_INFINITY),
                other => assert_eq!(reason(other), masked),
            }
            assert!(self.bias_may_come_late || error.to_string().contains(masked), "{error}");
            self.chain.reset().unwrap();
            self.row.reset();
            return None;
        }
        let expected = self.candidates.selected().unwrap();
        self.chain.accept(expected.token).unwrap();
        let token = self.row.choose(row, 0, &mut self.choice).unwrap();
        assert_eq!(token, expected.token, "{} {:?}", row.len(), self.samplers);
        let p = if matches!(self.samplers.last(), Some(Sampler::Greedy)) { 1.0 } else { expected.p };
        let found = self.choice.probability;
        assert!((found - p).abs() <= 1e-6 * p, "{found} {p} {} {:?}", row.len(), self.samplers);
        Some(token)
    }

    #[track_caller]
    fn check_all<'r>(&mut self, rows: impl IntoIterator<Item = &'r Vec<f32>>) {
        for row in rows {
            self.check(row);
        }
    }
}

fn token(id: i32) -> Token {
    Token::new(id)
}

fn index(token: Token) -> usize {
    usize::try_from(token.get()).unwrap()
}

/// Returns the reason of an error of the sampler for rows.
#[track_caller]
fn reason<T: std::fmt::Debug>(result: Result<T, llama_core::Error>) -> String {
    match result.unwrap_err().kind() {
        ErrorKind::Sampler { name: "row", reason, .. } => reason.clone(),
        ErrorKind::DeadEnd { name: "row", reason, .. } => (*reason).to_owned(),
        other => panic!("{other:?}"),
    }
}
