//! Tries a model and records the outcome.

use std::path::Path;

use llama_core::context::{CacheType, ContextType, FlashAttention, PoolingType};
use llama_core::model::ModelKind;
use llama_core::{Batch, Context, ContextParams, Error, ErrorKind, Model, Pos, SeqId, Token};

use crate::base;
use crate::random::Random;

/// The stage that a model reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was loaded and computed.
    Decoded,
    /// It was refused with an error.
    Refused,
    /// An assertion failed during a computation: contained on one thread, the end of the process on several.
    Asserted,
}

impl Outcome {
    pub(crate) const ALL: [Self; 3] = [Self::Decoded, Self::Refused, Self::Asserted];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Decoded => "decoded",
            Self::Refused => "refused",
            Self::Asserted => "asserted",
        }
    }
}

/// Uses a model and reports each stage to `stage`. Returns the outcome and a text about it.
pub(crate) fn run(
    random: &mut Random,
    plain: bool,
    load: impl FnOnce() -> Result<Model, Error>,
    mut stage: impl FnMut(&str),
) -> (Outcome, String) {
    stage("load");
    let model = match load() {
        Ok(model) => model,
        Err(error) => return refused("load", &error),
    };
    stage("context");
    let mut context = match params(random, plain, &model).and_then(|params| Context::new(&model, &params)) {
        Ok(context) => context,
        Err(error) => return refused("context", &error),
    };
    if let Err(error) = compute(&mut context, random, plain, &mut stage) {
        return refused("decode", &error);
    }
    drop(context);
    stage("save");
    let folder = tempfile::tempdir().unwrap();
    let saved = save(&model, folder.path()).err().map_or_else(String::new, |error| describe("save", &error));
    (Outcome::Decoded, saved)
}

fn save(model: &Model, folder: &Path) -> Result<(), Error> {
    model.save(folder.join("saved.gguf"))
}

/// Returns the parameters of a small context on one thread, where failed assertions are errors. Plain ones are usual.
fn params(random: &mut Random, plain: bool, model: &Model) -> Result<ContextParams, Error> {
    let mut params = ContextParams::default().n_ctx(64).n_batch(32).n_ubatch(32).n_threads(1);
    if model.kind()? == ModelKind::Encoder {
        params = params.embeddings(true);
    }
    if plain {
        return Ok(params);
    }
    if model.n_layer_nextn() > 0 && random.once_in(3) {
        params = params.ctx_type(ContextType::Mtp);
    }
    if random.once_in(8) {
        params = params.embeddings(true);
        let all = [PoolingType::None, PoolingType::Mean, PoolingType::Last, PoolingType::Rank];
        params = params.pooling_type(random.pick(&all));
    }
    if random.once_in(8) {
        params = params.n_seq_max(2).kv_unified(random.once_in(2));
    }
    if random.once_in(8) {
        params = params.flash_attention(random.pick(&[FlashAttention::Disabled, FlashAttention::Enabled]));
    }
    if random.once_in(16) {
        params = params.type_k(CacheType::Q8_0);
    }
    Ok(params)
}

fn compute(
    context: &mut Context,
    random: &mut Random,
    plain: bool,
    stage: &mut impl FnMut(&str),
) -> Result<(), Error> {
    let (encoder, decoder) = entries(context.model(), random, plain)?;
    if context.model().has_encoder() {
        stage("encode");
        context.encode(&batch(encoder, &[1, 2, 3], 0)?)?;
    }
    if !context.model().has_decoder() && context.model().has_encoder() {
        return Ok(());
    }
    stage("decode");
    context.decode(&batch(decoder, &[1, 2, 3], 0)?)?;
    if context.has_memory() {
        stage("decode 2");
        context.decode(&batch(decoder, &[4], 3)?)?;
    }
    Ok(())
}

/// The kind of a batch's entries, with the width of embeddings.
#[derive(Clone, Copy)]
enum Entries {
    Tokens,
    Embeddings(usize),
    Both(usize),
}

/// Returns what the encoder and the decoder are given: tokens, or what draft models read. Draft models that
/// are not plain also get batches that they do not read.
fn entries(model: &Model, random: &mut Random, plain: bool) -> Result<(Entries, Entries), Error> {
    let width = model.n_embd_inp() as usize;
    // Of three layers, each as wide as the unchanged model.
    let states = 3 * base::N_EMBD as usize;
    let architecture = model.architecture()?;
    if !["eagle3", "dflash"].contains(&architecture.as_str()) {
        return Ok((Entries::Tokens, Entries::Tokens));
    }
    let all =
        [Entries::Tokens, Entries::Embeddings(width), Entries::Embeddings(states), Entries::Both(states)];
    let usual = if architecture == "eagle3" { Entries::Both(width) } else { Entries::Tokens };
    let encoder = if !plain && random.once_in(8) { random.pick(&all) } else { Entries::Embeddings(states) };
    Ok((encoder, if !plain && random.once_in(4) { random.pick(&all) } else { usual }))
}

fn batch(entries: Entries, tokens: &[i32], first: i32) -> Result<Batch, Error> {
    let (mut batch, seq_id) = (Batch::new(), SeqId::new(0));
    let tokens: Vec<Token> = tokens.iter().copied().map(Token::new).collect();
    let last = tokens.len() - 1;
    for (index, (token, pos)) in tokens.into_iter().zip(first..).enumerate() {
        let pos = Pos::new(pos);
        match entries {
            Entries::Tokens => batch.push(token, pos, &[seq_id], index == last)?,
            Entries::Embeddings(width) => batch.push_embedding(&vec![0.25; width], pos, &[seq_id], true)?,
            Entries::Both(width) => {
                batch.push_token_and_embedding(token, &vec![0.25; width], pos, &[seq_id], true)?
            }
        };
    }
    Ok(batch)
}

fn refused(stage: &str, error: &Error) -> (Outcome, String) {
    let asserted =
        stage == "decode" && matches!(error.kind(), ErrorKind::Internal { file, .. } if computes(file));
    let outcome = if asserted { Outcome::Asserted } else { Outcome::Refused };
    (outcome, describe(stage, error))
}

/// Whether the code of a source file runs on ggml's threads.
fn computes(file: &str) -> bool {
    file.replace('\\', "/").contains("/ggml-cpu/")
}

fn describe(stage: &str, error: &Error) -> String {
    let log = error.log().last().map_or_else(String::new, |line| format!(" | {line}"));
    format!("{stage}: {error}{log}").replace('\n', " ")
}
