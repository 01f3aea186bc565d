//! Several sequences, the limits of batches, and refusals.

use crate::greedy;
use llama_core::context::PoolingType;

use super::*;

/// Returns prompts of different lengths, whose outputs a recurrent model computes in another order than the batch's.
fn batch_of_three(model: &Model) -> (Batch, Vec<(usize, i32)>) {
    let mut batch = Batch::new();
    let mut outputs = Vec::new();
    for (id, text) in [(2, "Hello"), (0, PROMPT), (1, "the end of it")] {
        batch.push_prompt(&tokens(model, text), seq(id), Pos::new(0)).unwrap();
        outputs.push((batch.last_output().unwrap(), id));
    }
    (batch, outputs)
}

#[test]
fn sequences_have_their_own_samplers_or_none() {
    for tiny in [Tiny::Llama, Tiny::Mamba, Tiny::Jamba] {
        let model = load(tiny);
        let (batch, outputs) = batch_of_three(&model);
        let params = params().n_seq_max(3);
        let mut plain = Context::new(&model, &params).unwrap();
        plain.decode(&batch).unwrap();
        let mut context = Context::new(&model, &params).unwrap();
        for id in [0, 2] {
            context.set_sampler(seq(id), built(SamplerChain::builder().greedy())).unwrap();
        }
        context.decode(&batch).unwrap();
        for (index, id) in outputs {
            let best = plain.logits(index).unwrap().argmax();
            if id == 1 {
                assert_eq!(context.logits(index).unwrap().argmax(), best);
                assert!(matches!(context.sampled(index).unwrap_err().kind(), ErrorKind::NoOutput { .. }));
                assert!(matches!(context.sample(index).unwrap_err().kind(), ErrorKind::NoOutput { .. }));
                let rows: Vec<usize> = context.logits_rows().unwrap().map(|row| row.0).collect();
                assert_eq!(rows, [index]);
            } else {
                assert_eq!(context.sample(index).unwrap(), best, "{} {id}", tiny.name());
                let error = context.logits(index).unwrap_err();
                assert!(error.to_string().contains("keeps them on the device"), "{error}");
            }
        }
    }
}

/// Changes samplers while C still has to reorder its rows, in arrays that exist only with samplers.
#[test]
fn samplers_change_while_rows_wait_to_be_put_in_order() {
    let model = load(Tiny::Mamba);
    let (batch, outputs) = batch_of_three(&model);
    let mut context = Context::new(&model, &params().n_seq_max(3)).unwrap();
    context.decode(&batch).unwrap();
    context.set_sampler(seq(2), built(SamplerChain::builder().greedy())).unwrap();
    let error = context.sample(outputs[0].0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoOutput { .. }), "{error:?}");
    (0..3).for_each(|id| context.memory().seq_rm(seq(id), ..).unwrap());
    context.decode(&batch).unwrap();
    context.remove_sampler(seq(2)).unwrap().unwrap();
    assert!(context.logits(outputs[1].0).is_err());
    (0..3).for_each(|id| context.memory().seq_rm(seq(id), ..).unwrap());
    context.decode(&batch).unwrap();
    assert!(outputs.iter().all(|(index, _)| context.logits(*index).is_ok()));
}

#[test]
fn several_results_of_a_sequence_are_sampled_in_order() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, PROMPT);
    let several = |n: i32| {
        let mut batch = Batch::new();
        for (pos, token) in (0..).zip(&prompt) {
            batch.push(*token, Pos::new(pos), &[SEQ], pos < n).unwrap();
        }
        batch
    };
    let mut plain = Context::new(&model, &params()).unwrap();
    plain.decode(&several(3)).unwrap();
    let mut context = Context::new(&model, &params().n_outputs_max_per_seq(3)).unwrap();
    context.set_sampler(SEQ, built(SamplerChain::builder().temperature(0.0).dist(3))).unwrap();
    let error = context.decode(&several(4)).unwrap_err();
    assert!(
        error.to_string().starts_with(
            "n_outputs_max_per_seq is 3, but must be at least the results that the batch wants of sequence 0"
        ),
        "{error}"
    );
    context.decode(&several(3)).unwrap();
    for index in 0..3 {
        let expected = plain.logits(index).unwrap().argmax();
        assert_eq!(context.sample(index).unwrap(), expected);
    }
    // Later results do not know of earlier ones.
    let penalties = Penalties::default().repeat(1.5);
    let chain = built(SamplerChain::builder().temperature(0.5).penalties(penalties).greedy());
    assert_eq!(context.n_samplers_for_device(&chain), 1);
    let all = Context::new(&model, &params().n_batch(64).n_outputs_max_per_seq(0)).unwrap();
    assert_eq!(all.n_samplers_for_device(&chain), 1);
}

/// Uses the largest possible numbers of inputs of the graph, nodes and sequences.
#[test]
fn many_samplers_and_results_fit_into_the_graph() {
    let model = load(Tiny::Llama);
    let params = params().n_ctx(64 * 256).n_batch(256).n_ubatch(64).n_seq_max(64).n_outputs_max_per_seq(2);
    let mut context = Context::new(&model, &params).unwrap();
    let chain = || {
        let biases: Vec<_> = (0..100).map(|id| (Token::new(id), -0.5)).collect();
        let start = SamplerChain::builder().logit_bias(&model, biases).temperature_ext(0.8, 0.2, 1.0);
        built((0..8).fold(start, |it, _| it.min_p(0.01).temperature(0.9)).top_k(40).top_p(0.9).dist(1))
    };
    for id in 0..64 {
        context.set_sampler(seq(id), chain()).unwrap();
    }
    let mut batch = Batch::new();
    // Sequences in the order of their ids, their results in that of the batch.
    for id in 0..64 {
        batch.push(Token::new(5 + id), Pos::new(0), &[seq(id)], true).unwrap();
        batch.push(Token::new(9), Pos::new(1), &[seq(id)], id % 2 == 0).unwrap();
    }
    context.decode(&batch).unwrap();
    for index in (0..128).filter(|index| index % 4 != 3) {
        context.sample(index).unwrap();
    }
    // More than that are refused, whatever there is already.
    let params = params.n_batch(4096).n_outputs_max_per_seq(0);
    let mut context = Context::new(&model, &params).unwrap();
    let error = context.set_sampler(SEQ, chain()).unwrap_err();
    assert!(error.to_string().contains("at most 4096 fit into a graph"), "{error}");
    context.set_sampler(SEQ, built(SamplerChain::builder().greedy())).unwrap();
    assert!(context.set_sampler(seq(1), built(SamplerChain::builder().greedy())).is_err());
    context.set_sampler(SEQ, built(SamplerChain::builder().greedy())).unwrap();
}

#[test]
fn what_is_not_possible_is_refused_and_the_context_stays_usable() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, PROMPT);
    let n_vocab = i32::try_from(model.vocab().n_tokens()).unwrap();
    let mut context = Context::new(&model, &params().n_seq_max(2).kv_unified(true)).unwrap();
    let greedy = || built(SamplerChain::builder().greedy());
    for id in [-1, 2, i32::MIN, i32::MAX] {
        let error = context.set_sampler(seq(id), greedy()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidSeqId { .. }), "{error:?}");
        assert!(context.remove_sampler(seq(id)).is_err());
        assert!(context.sampler(seq(id)).is_none() && context.sampler_mut(seq(id)).is_none());
    }
    // Of another vocabulary, or with tokens of another one.
    let qwen = load(Tiny::Qwen2);
    let other = built(SamplerChain::builder().logit_bias(&qwen, []).greedy());
    let error = context.set_sampler(SEQ, other).unwrap_err();
    assert!(error.to_string().contains("it was made for a vocabulary of"), "{error}");
    let penalties = Penalties::default().repeat(2.0);
    let mut chain = built(SamplerChain::builder().penalties(penalties).greedy());
    chain.accept(Token::new(n_vocab)).unwrap();
    let error = context.set_sampler(SEQ, chain).unwrap_err();
    assert!(error.to_string().contains(&format!("it has accepted token {n_vocab}")), "{error}");
    // Results of tokens that several sequences share.
    context.set_sampler(seq(1), greedy()).unwrap();
    let shared = |output| {
        let mut batch = Batch::new();
        batch.push(prompt[0], Pos::new(0), &[seq(0), seq(1)], output).unwrap();
        batch
    };
    let error = context.decode(&shared(true)).unwrap_err();
    assert!(error.to_string().contains("sequence 1 has a sampler on the device"), "{error}");
    context.decode(&shared(false)).unwrap();
    let mut next = Batch::new();
    next.push(prompt[1], Pos::new(1), &[seq(1)], true).unwrap();
    for index in [None, Some(0), Some(usize::MAX)] {
        assert!(matches!(context.sample(index).unwrap_err().kind(), ErrorKind::NoOutput { .. }));
    }
    context.decode(&next).unwrap();
    context.sample(next.last_output()).unwrap();
}

#[test]
fn models_and_contexts_without_logits_are_refused() {
    let bert = load(Tiny::Bert);
    let mut context = Context::new(&bert, &params().embeddings(true)).unwrap();
    let error = context.set_sampler(SEQ, built(SamplerChain::builder().greedy())).unwrap_err();
    assert!(error.to_string().contains("models without memory"), "{error}");

    let model = load(Tiny::Llama);
    let pooled = params().embeddings(true).pooling_type(PoolingType::Last).n_outputs_max_per_seq(0);
    let mut context = Context::new(&model, &pooled).unwrap();
    context.set_sampler(SEQ, built(SamplerChain::builder().greedy())).unwrap();
    greedy::decode(&mut context, &tokens(&model, PROMPT), SEQ, 0);
    let error = context.sample(0).unwrap_err();
    assert!(error.to_string().contains("it pools embeddings"), "{error}");
    assert!(context.embeddings_seq(SEQ).is_ok());
}

#[test]
fn encoder_and_decoder_work_beside_a_sampler() {
    let model = load(Tiny::T5);
    let mut context = sampling(&model, SamplerChain::builder().greedy());
    let mut plain = Context::new(&model, &params()).unwrap();
    let mut batch = Batch::new();
    batch.push_prompt(&tokens(&model, PROMPT), SEQ, Pos::new(0)).unwrap();
    let mut start = Batch::new();
    start.push_prompt(&[model.decoder_start_token().unwrap_or(Token::new(0))], SEQ, Pos::new(0)).unwrap();
    for context in [&mut context, &mut plain] {
        context.encode(&batch).unwrap();
        context.decode(&start).unwrap();
    }
    assert_eq!(context.sample(0).unwrap(), plain.logits(0).unwrap().argmax());
}

#[test]
fn masking_everything_is_a_dead_end() {
    let model = load(Tiny::Llama);
    let n_vocab = i32::try_from(model.vocab().n_tokens()).unwrap();
    let forbidden: Vec<_> = (0..n_vocab).map(|id| (Token::new(id), f32::NEG_INFINITY)).collect();
    let prompt = tokens(&model, PROMPT);
    let start = || SamplerChain::builder().logit_bias(&model, forbidden.clone());
    for builder in
        [start().greedy(), start().dist(1), start().top_k(4).dist(1), start().typical_p(0.5).greedy()]
    {
        let mut context = sampling(&model, builder);
        greedy::decode(&mut context, &prompt, SEQ, 0);
        let error = context.sample(prompt.len() - 1).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::DeadEnd { .. }), "{error:?}");
        assert!(!context.is_poisoned() && !context.sampler(SEQ).unwrap().is_poisoned());
    }
}
