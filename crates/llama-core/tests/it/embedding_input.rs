//! Batches of embeddings: the rows that a model would look up give the results of its tokens.

use crate::greedy::{SEQ, decode, difference, load, logits_after, params, tokens};
use crate::variant::{Parts, Tensor};
use llama_core::batch::MultiPos;
use llama_core::{
    Batch, Context, ContextParams, DecodeError, Error, ErrorKind, Model, ModelParams, Pos, SeqId, TensorType,
    Token,
};
use llama_gguf::{Gguf, Metadata, Writer};
use test_models::Tiny;

const CAUSAL: [Tiny; 6] = [Tiny::Llama, Tiny::Qwen2, Tiny::Qwen3Moe, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba];

/// Returns the rows of a model's table of token embeddings.
fn table(tiny: Tiny) -> Vec<Vec<f32>> {
    let bytes = tiny.bytes();
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    let info = gguf.tensor("token_embd.weight").unwrap();
    let width = usize::try_from(info.shape()[0]).unwrap();
    let data = gguf.tensor_data(&bytes, "token_embd.weight").unwrap();
    let values: Vec<f32> = match info.tensor_type() {
        TensorType::F16 => data
            .chunks_exact(2)
            .map(|bytes| half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32())
            .collect(),
        TensorType::F32 => {
            data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
        }
        other => panic!("{other:?}"),
    };
    // Gemma multiplies the rows of tokens, and takes others as they are.
    let scale = if tiny == Tiny::Gemma3 { 8.0 } else { 1.0 };
    values.chunks_exact(width).map(|row| row.iter().map(|value| value * scale).collect()).collect()
}

fn row(table: &[Vec<f32>], token: Token) -> &[f32] {
    &table[usize::try_from(token.get()).unwrap()]
}

fn place(index: usize) -> Pos {
    Pos::new(i32::try_from(index).unwrap())
}

/// Computes all logits of a batch.
fn rows(model: &Model, params: &ContextParams, batch: &Batch) -> Vec<Vec<f32>> {
    let mut context = Context::new(model, params).unwrap();
    context.decode(batch).unwrap();
    context.logits_rows().unwrap().map(|(_, row)| row.to_vec()).collect()
}

fn token_batch(prompt: &[Token]) -> Batch {
    let mut batch = Batch::new();
    for (index, token) in prompt.iter().enumerate() {
        batch.push(*token, place(index), &[SEQ], true).unwrap();
    }
    batch
}

#[test]
fn rows_of_the_table_give_what_the_tokens_give() {
    for tiny in CAUSAL {
        let (model, table) = (load(tiny), table(tiny));
        let prompt = tokens(&model, "Hello world, this is a test");
        let mut batch = Batch::new();
        for (index, token) in prompt.iter().enumerate() {
            assert_eq!(batch.push_embedding(row(&table, *token), place(index), &[SEQ], true).unwrap(), index);
        }
        assert_eq!(batch.len(), prompt.len());
        assert!(batch.tokens().all(|token| token.get() == -1));
        for n_ubatch in [512, 5] {
            let params = params().n_ubatch(n_ubatch);
            // The very same numbers go in, and so come out.
            assert!(rows(&model, &params, &batch) == rows(&model, &params, &token_batch(&prompt)), "{tiny}");
        }
    }
}

#[test]
fn tokens_and_embeddings_in_one_batch() {
    for tiny in CAUSAL {
        let (model, table) = (load(tiny), table(tiny));
        let prompt = tokens(&model, "Hello world, this is a test");
        let expected = rows(&model, &params(), &token_batch(&prompt));
        let mut batch = Batch::new();
        for (index, token) in prompt.iter().enumerate() {
            if index % 3 == 1 {
                batch.push_embedding(row(&table, *token), place(index), &[SEQ], true).unwrap();
            } else {
                batch.push(*token, place(index), &[SEQ], true).unwrap();
            }
        }
        for (found, expected) in rows(&model, &params(), &batch).iter().zip(&expected) {
            assert!(difference(expected, found) < 1e-3, "{tiny}");
        }
        // One after the other: a row, then a token, then a row.
        let mut context = Context::new(&model, &params()).unwrap();
        for (index, token) in prompt.iter().enumerate() {
            batch.clear();
            if index % 2 == 0 {
                batch.push_embedding(row(&table, *token), place(index), &[SEQ], true).unwrap();
            } else {
                batch.push(*token, place(index), &[SEQ], true).unwrap();
            }
            context.decode(&batch).unwrap();
            let found = context.logits(0).unwrap();
            let difference = difference(&expected[index], &found);
            assert!(difference < 5e-3, "{tiny} {index} {difference}");
        }
    }
}

#[test]
fn tokens_with_embeddings_are_tokens_for_most_models() {
    let (model, table) = (load(Tiny::Llama), table(Tiny::Llama));
    let prompt = tokens(&model, "Hello world");
    let mut batch = Batch::new();
    for (index, token) in prompt.iter().enumerate() {
        // The row of another token.
        let other = row(&table, Token::new(token.get() + 1));
        batch.push_token_and_embedding(*token, other, place(index), &[SEQ], true).unwrap();
    }
    assert!(rows(&model, &params(), &batch) == rows(&model, &params(), &token_batch(&prompt)));
}

#[test]
fn embeddings_of_several_sequences() {
    let (model, table) = (load(Tiny::Llama), table(Tiny::Llama));
    let texts = ["Hello world", "The test of it all"].map(|text| tokens(&model, text));
    let mut batch = Batch::new();
    for index in 0..5 {
        for (seq_id, text) in (0..).zip(&texts) {
            let seq_id = SeqId::new(seq_id);
            batch.push_embedding(row(&table, text[index]), place(index), &[seq_id], index == 4).unwrap();
        }
    }
    for unified in [true, false] {
        let params = params().n_ctx(512).n_seq_max(2).kv_unified(unified);
        let found = rows(&model, &params, &batch);
        for (text, found) in texts.iter().zip(&found) {
            let expected = rows(&model, &params, &token_batch(&text[..5])).pop().unwrap();
            assert!(difference(&expected, found) < 1e-3, "{unified}");
        }
    }
}

#[test]
fn encoders_take_embeddings() {
    for tiny in [Tiny::Bert, Tiny::T5] {
        let (model, table) = (load(tiny), table(tiny));
        let prompt = tokens(&model, "hello world");
        let encode = |batch: &Batch| {
            let mut context = Context::new(&model, &params().embeddings(true)).unwrap();
            context.encode(batch).unwrap();
            if tiny == Tiny::Bert {
                return context.embeddings_seq(SEQ).unwrap().to_vec();
            }
            decode(&mut context, &[model.decoder_start_token().unwrap()], SEQ, 0);
            context.logits(0).unwrap().to_vec()
        };
        let mut batch = Batch::new();
        for (index, token) in prompt.iter().enumerate() {
            batch.push_embedding(row(&table, *token), place(index), &[SEQ], true).unwrap();
        }
        assert!(encode(&batch) == encode(&token_batch(&prompt)), "{tiny}");
    }
}

#[track_caller]
fn assert_invalid<T: std::fmt::Debug>(result: Result<T, Error>, parameter: &str, words: &str) {
    let error = result.unwrap_err();
    match error.kind() {
        ErrorKind::InvalidParameter(problem) => assert_eq!(problem.name, parameter),
        other => panic!("{other:?}"),
    }
    assert!(error.to_string().contains(words), "{words:?} is not in: {error}");
}

#[test]
fn rows_that_are_refused() {
    let model = load(Tiny::Llama);
    let width = model.n_embd_inp() as usize;
    let good = vec![0.5; width];
    let mut batch = Batch::new();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bad = good.clone();
        bad[7] = value;
        let words = format!("embedding is {value} at index 7, but must be finite");
        assert_invalid(batch.push_embedding(&bad, place(0), &[SEQ], true), "embedding", &words);
        let both = batch.push_token_and_embedding(Token::new(5), &bad, place(0), &[SEQ], true);
        assert_invalid(both, "embedding", &words);
    }
    assert_invalid(batch.push_embedding(&[], place(0), &[SEQ], true), "embedding", "Model::n_embd_inp");
    assert_invalid(batch.push_embedding(&good, place(0), &[], true), "seq_ids", "at least one sequence");
    for token in [-1, i32::MIN] {
        let both = batch.push_token_and_embedding(Token::new(token), &good, place(0), &[SEQ], true);
        assert_invalid(both, "token", "must be at least 0");
    }
    // Nothing of all that is in the batch.
    assert!(batch.is_empty());
    batch.push_embedding(&good, place(0), &[SEQ], true).unwrap();
    let short = batch.push_embedding(&good[1..], place(1), &[SEQ], true);
    assert_invalid(short, "embedding", "must be 64 floats wide, as the rows before it in the batch");

    let mut context = Context::new(&model, &params()).unwrap();
    // A width that no model has, and that of two rows in one.
    for wrong in [1, 63, 65, 128, 100_000] {
        let mut batch = Batch::new();
        batch.push_embedding(&vec![0.5; wrong], place(0), &[SEQ], true).unwrap();
        let words = format!("a row of {wrong} floats, but must be as wide as the model takes it");
        assert_invalid(context.decode(&batch), "embedding", &words);
    }
    // Positions, sequences and sizes are those of tokens.
    let refused = |context: &mut Context, pos: i32, seq_id: i32| {
        let mut batch = Batch::new();
        batch.push_embedding(&good, Pos::new(pos), &[SeqId::new(seq_id)], true).unwrap();
        context.decode(&batch).unwrap_err()
    };
    decode(&mut context, &tokens(&model, "Hello"), SEQ, 0);
    for pos in [0, 100, -1] {
        let error = refused(&mut context, pos, 0);
        assert!(matches!(error.kind(), ErrorKind::InvalidPosition { .. }), "{error:?}");
    }
    assert!(matches!(refused(&mut context, 0, 1).kind(), ErrorKind::InvalidSeqId { .. }));
    // An id that says "no token", without a row.
    let mut batch = Batch::new();
    batch.push(Token::new(-1), place(7), &[SEQ], true).unwrap();
    assert!(matches!(context.decode(&batch).unwrap_err().kind(), ErrorKind::InvalidToken { token: -1, .. }));
    assert!(!context.is_poisoned());
}

/// Any finite embedding, however large, is computed.
#[test]
fn largest_floats_are_computed() {
    for tiny in
        [Tiny::Llama, Tiny::LlamaQ8, Tiny::Qwen3Moe, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba, Tiny::Bert]
    {
        let model = load(tiny);
        for value in [f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, 0.0] {
            let mut context = Context::new(&model, &params()).unwrap();
            let mut batch = Batch::new();
            for index in 0..3 {
                let mut row = vec![value; model.n_embd_inp() as usize];
                row[index] = -value;
                batch.push_embedding(&row, place(index), &[SEQ], true).unwrap();
            }
            context.decode(&batch).unwrap();
        }
    }
}

#[test]
fn states_are_for_contexts_that_take_them() {
    let model = load(Tiny::Llama);
    let mut context = Context::new(&model, &params()).unwrap();
    let mut batch = Batch::new();
    assert_invalid(batch.push_state(&[0.5; 64]), "state", "must be one of 0 rows");
    batch.push(Token::new(5), place(0), &[SEQ], false).unwrap();
    batch.push(Token::new(5), place(1), &[SEQ], true).unwrap();
    assert_invalid(batch.push_state(&[f32::NAN; 64]), "state", "finite");
    batch.push_state(&[0.5; 64]).unwrap();
    assert_invalid(context.decode(&batch), "states", "must be 2, one for each entry of the batch");
    batch.push_state(&[0.5; 64]).unwrap();
    assert_invalid(batch.push_state(&[0.5; 64]), "state", "state is row 2, but must be one of 2 rows");
    assert_invalid(context.decode(&batch), "state", "must be left out but in contexts of ContextType::Mtp");
    batch.clear();
    batch.push(Token::new(5), place(0), &[SEQ], true).unwrap();
    context.decode(&batch).unwrap();
}

/// Loads the tiny Qwen2 as a Qwen2-VL: the same tensors, and `RoPE` in three dimensions.
fn qwen2_vl(folder: &tempfile::TempDir) -> Model {
    let mut parts = Parts::new(Tiny::Qwen2, "qwen2vl");
    parts.set("qwen2vl.rope.dimension_sections", vec![2_i32, 7, 7, 0]);
    parts.load(folder, &ModelParams::default())
}

#[test]
fn positions_in_several_dimensions() {
    let folder = tempfile::tempdir().unwrap();
    let (model, table) = (qwen2_vl(&folder), table(Tiny::Qwen2));
    let prompt = tokens(&model, "Hello world, a picture");
    // Where text is, all dimensions are the same, and the model is the one that it was made of.
    let expected = rows(&load(Tiny::Qwen2), &params(), &token_batch(&prompt));
    let found = rows(&model, &params(), &token_batch(&prompt));
    let mut batch = Batch::new();
    for (index, token) in prompt.iter().enumerate() {
        batch.push_embedding(row(&table, *token), place(index), &[SEQ], true).unwrap();
    }
    let rows_of_text = rows(&model, &params(), &batch);
    for index in 0..prompt.len() {
        assert!(difference(&expected[index], &found[index]) < 1e-3);
        assert!(difference(&expected[index], &rows_of_text[index]) < 1e-3);
    }

    // A picture of four patches, of one moment.
    let picture = |swap: bool| {
        let mut batch = Batch::new();
        batch.push(prompt[0], place(0), &[SEQ], false).unwrap();
        for (index, token) in prompt[1..5].iter().enumerate() {
            let (y, x) = (place(1 + 30 * (index / 2)), place(1 + 10 * (index % 2)));
            let (y, x) = if swap { (x, y) } else { (y, x) };
            let pos = MultiPos::new(place(1), y, x, place(0));
            batch.push_embedding(row(&table, *token), pos, &[SEQ], false).unwrap();
        }
        batch.push(prompt[5], place(3), &[SEQ], true).unwrap();
        batch
    };
    let mut context = Context::new(&model, &params()).unwrap();
    context.decode(&picture(false)).unwrap();
    let upright = context.logits(5).unwrap().to_vec();
    assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), Some(place(3)));
    let swapped = rows(&model, &params(), &picture(true)).pop().unwrap();
    let line = &expected[5];
    assert!(difference(&upright, &swapped) > 1e-3, "{}", difference(&upright, &swapped));
    assert!(difference(&upright, line) > 1e-3);
    assert!(difference(&upright, &rows(&model, &params(), &picture(false))[0]) < 1e-6);

    // Text leaves gaps and does not go back; a picture may begin where the text ended.
    decode(&mut context, &[prompt[0]], SEQ, 10);
    for pos in [0, 9, 10] {
        let mut batch = Batch::new();
        batch.push(prompt[0], place(pos), &[SEQ], true).unwrap();
        let error = context.decode(&batch).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidPosition { .. }), "{error:?}");
        assert!(error.to_string().contains("the sequence ends at 10 in memory"), "{error}");
    }
    let mut batch = Batch::new();
    batch.push_embedding(row(&table, prompt[0]), place(9), &[SEQ], true).unwrap();
    assert!(matches!(context.decode(&batch).unwrap_err().kind(), ErrorKind::InvalidPosition { .. }));
    batch.clear();
    batch.push_embedding(row(&table, prompt[0]), place(10), &[SEQ], true).unwrap();
    context.decode(&batch).unwrap();
    assert!(!context.is_poisoned());
}

#[test]
fn embeddings_continue_after_a_refused_batch() {
    let (model, table) = (load(Tiny::Llama), table(Tiny::Llama));
    let prompt = tokens(&model, "Hello world");
    let mut context = Context::new(&model, &params()).unwrap();
    let mut mixed = Batch::new();
    mixed.push_embedding(row(&table, prompt[0]), place(0), &[SEQ], true).unwrap();
    mixed.push_token_and_embedding(prompt[0], row(&table, prompt[0]), place(1), &[SEQ], true).unwrap();
    let error = context.decode(&mixed).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Decode(DecodeError::InvalidBatch)), "{error:?}");
    let expected = logits_after(&mut Context::new(&model, &params()).unwrap(), &prompt, SEQ, 0);
    assert!(logits_after(&mut context, &prompt, SEQ, 0) == expected);
}

/// Loads the tiny llama as a Limite: its layers look values up by token ids, in addition to the embeddings.
fn limite(folder: &tempfile::TempDir) -> Model {
    let mut parts = Parts::new(Tiny::Llama, "limite");
    parts.set("limite.attention.scale", 0.125_f32);
    parts.set("limite.attention.sliding_window", 64_u32);
    parts.tensors.retain(|tensor| !tensor.name.contains("norm"));
    let table = parts.tensor("token_embd.weight").clone();
    let values = parts.tensor("blk.0.attn_v.weight").shape[1];
    let size = usize::try_from(values * table.shape[1]).unwrap() * 4;
    let mut add = |name: String, shape: Vec<u64>, data: Vec<u8>| {
        parts.tensors.push(Tensor { name, kind: TensorType::F32, shape, data });
    };
    add("value_embd.weight".to_owned(), vec![values, table.shape[1]], vec![0; size]);
    let (width, heads) = (table.shape[0], 1);
    for layer in 0..2 {
        // Without it the values are not used.
        let gate = vec![0; usize::try_from(width * heads).unwrap() * 4];
        add(format!("blk.{layer}.attn_ve_gate.weight"), vec![width, heads], gate);
        for name in ["attn_resid_scale", "ffn_resid_scale"] {
            add(format!("blk.{layer}.{name}.weight"), vec![1], 1_f32.to_le_bytes().to_vec());
        }
    }
    parts.load(folder, &ModelParams::default())
}

#[test]
fn graphs_that_read_the_ids_of_tokens_take_no_embeddings() {
    let folder = tempfile::tempdir().unwrap();
    let model = limite(&folder);
    let prompt = tokens(&model, "Hello world");
    let expected = rows(&model, &params(), &token_batch(&prompt));
    let mut context = Context::new(&model, &params()).unwrap();
    context.decode(&token_batch(&prompt)).unwrap();
    let row = vec![0.5; model.n_embd_inp() as usize];
    let mut batch = Batch::new();
    batch.push_embedding(&row, place(prompt.len()), &[SEQ], true).unwrap();
    let refused = |error: Error, words: &str| {
        let ErrorKind::Unsupported { operation, reason, .. } = error.kind() else { panic!("{error:?}") };
        assert_eq!(*operation, "decoding embeddings");
        assert!(reason.contains(words), "{reason}");
    };
    refused(
        context.decode(&batch).unwrap_err(),
        "reads token ids, which embeddings do not have: decode tokens",
    );
    assert!(!context.is_poisoned());
    // What was found once is not tried again, and nothing of it is left.
    refused(context.decode(&batch).unwrap_err(), "it only supports tokens");
    assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), Some(place(prompt.len() - 1)));
    context.memory().clear(true).unwrap();
    context.decode(&token_batch(&prompt)).unwrap();
    let found: Vec<Vec<f32>> = context.logits_rows().unwrap().map(|(_, row)| row.to_vec()).collect();
    assert!(found == expected);
}

/// Loads a draft model with one layer and weights of zeros, for hidden states of three layers of 64 floats.
fn draft(architecture: &str, folder: &tempfile::TempDir) -> Model {
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", architecture).set("tokenizer.ggml.model", "no_vocab");
    for (name, value) in [
        ("vocab_size", 32_u32),
        ("context_length", 64),
        ("embedding_length", 64),
        ("block_count", 1),
        ("feed_forward_length", 64),
        ("attention.head_count", 2),
        ("target_hidden_size", 64),
    ] {
        metadata.set(format!("{architecture}.{name}"), value);
    }
    metadata
        .set(format!("{architecture}.attention.layer_norm_rms_epsilon"), 1e-5_f32)
        .set(format!("{architecture}.target_layers"), vec![0_i32, 1, 2]);
    let mut tensors = vec![("token_embd.weight".to_owned(), vec![64, 32])];
    let none: [(&str, TensorType); 0] = [];
    Model::from_metadata(&metadata, none, &ModelParams::default(), |view, _| {
        if tensors.iter().all(|(name, _)| name != view.name()) {
            tensors.push((view.name().to_owned(), view.shape().to_vec()));
        }
        Ok::<(), Error>(())
    })
    .unwrap();
    let mut writer = Writer::new();
    *writer.metadata_mut() = metadata;
    for (name, shape) in tensors {
        let size = usize::try_from(shape.iter().product::<u64>()).unwrap() * 4;
        writer.tensor(name, TensorType::F32, &shape, vec![0; size]).unwrap();
    }
    let mut file = Vec::new();
    writer.write_to(&mut file).unwrap();
    let path = folder.path().join("draft.gguf");
    std::fs::write(&path, file).unwrap();
    Model::load(path, &ModelParams::default()).unwrap()
}

#[test]
fn drafts_compute_with_hidden_states() {
    let tokens = token_batch(&[Token::new(1), Token::new(2)]);
    let embeddings = |width: usize| {
        let mut batch = Batch::new();
        batch.push_embedding(&vec![0.25; width], place(0), &[SEQ], true).unwrap();
        batch
    };
    let both = |width: usize| {
        let mut batch = Batch::new();
        let token = Token::new(3);
        batch.push_token_and_embedding(token, &vec![0.25; width], place(0), &[SEQ], true).unwrap();
        batch
    };
    for architecture in ["eagle3", "dflash"] {
        let folder = tempfile::tempdir().unwrap();
        let model = draft(architecture, &folder);
        let mut context = Context::new(&model, &params()).unwrap();
        let refused = |result: Result<(), Error>, words: &str| match result.unwrap_err().kind() {
            ErrorKind::Unsupported { operation, .. } => assert_eq!(*operation, words, "{architecture}"),
            other => panic!("{architecture}: {other:?}"),
        };
        refused(context.encode(&tokens), "encoding tokens");
        refused(context.encode(&both(192)), "encoding tokens");
        refused(context.warm_up(), "encoding tokens");
        context.encode(&embeddings(192)).unwrap();
        if architecture == "eagle3" {
            refused(context.decode(&tokens), "decoding tokens or embeddings alone");
            refused(context.decode(&embeddings(64)), "decoding tokens or embeddings alone");
            context.decode(&both(64)).unwrap();
        } else {
            refused(context.decode(&both(192)), "decoding tokens and embeddings together");
            context.decode(&embeddings(192)).unwrap();
            context.memory().clear(true).unwrap();
            context.decode(&tokens).unwrap();
        }
        assert!(!context.is_poisoned());
    }
}
