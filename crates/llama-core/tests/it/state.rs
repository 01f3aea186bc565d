//! States in memory: a restored context continues as if it had never stopped.

use crate::going_on::{Future, GENERATIVE, fresh, pos, shapes, started};
use crate::greedy::{SEQ, decode, difference, load, load_smollm2, logits_after, params, tokens};
use llama_core::context::{CacheType, FlashAttention};
use llama_core::state::{StateError, StatePart};
use llama_core::{Batch, Context, ErrorKind, SeqId, Token};
use test_models::Tiny;

#[test]
fn a_fresh_context_goes_on_with_the_same_logits() {
    for (tiny, params) in
        GENERATIVE.into_iter().flat_map(|tiny| shapes(tiny).into_iter().map(move |params| (tiny, params)))
    {
        let model = load(tiny);
        // Longer than the window, llama.cpp puts the next token into another cell after a restore.
        let length = if tiny == Tiny::Gemma3 { 12 } else { usize::MAX };
        let (mut context, prompt) = started(&model, &params, length);
        let mut state = Vec::new();
        context.state_data(&mut state).unwrap();
        assert_eq!(state.len(), context.state_size().unwrap(), "{tiny}");
        let expected = Future::of(&mut context, SEQ, prompt.len());
        let mut other = fresh(&model, &params);
        other.set_state_data(&state).unwrap();
        assert_eq!(Future::of(&mut other, SEQ, prompt.len()), expected, "{tiny}");
        // And back in the context that it was made of.
        context.set_state_data(&state).unwrap();
        assert_eq!(Future::of(&mut context, SEQ, prompt.len()), expected, "{tiny}");
    }
}

#[test]
fn a_real_model_goes_on_with_quantised_keys_and_values() {
    let model = load_smollm2();
    let params = params().flash_attention(FlashAttention::Enabled);
    for params in [params.clone(), params.type_k(CacheType::Q8_0).type_v(CacheType::Q4_0)] {
        let (mut context, prompt) = started(&model, &params, usize::MAX);
        let (mut all, mut one) = (Vec::new(), Vec::new());
        context.state_data(&mut all).unwrap();
        context.seq_state_data(SEQ, StatePart::All, &mut one).unwrap();
        let mut clone = context.try_clone().unwrap();
        let expected = Future::of(&mut context, SEQ, prompt.len());
        assert_eq!(Future::of(&mut clone, SEQ, prompt.len()), expected);
        clone.set_state_data(&all).unwrap();
        assert_eq!(Future::of(&mut clone, SEQ, prompt.len()), expected);
        clone.set_seq_state_data(SEQ, StatePart::All, &one).unwrap();
        assert_eq!(Future::of(&mut clone, SEQ, prompt.len()), expected);
    }
}

#[test]
fn beyond_a_window_it_goes_on_with_the_same_text() {
    let model = load(Tiny::Gemma3);
    for params in shapes(Tiny::Gemma3).into_iter().flat_map(|params| [params.clone(), params.swa_full(false)])
    {
        let (mut context, prompt) = started(&model, &params, usize::MAX);
        assert!(prompt.len() > 2 * 16);
        let mut state = Vec::new();
        context.state_data(&mut state).unwrap();
        let expected = Future::of(&mut context, SEQ, prompt.len());
        let mut other = Context::new(&model, &params).unwrap();
        other.set_state_data(&state).unwrap();
        assert_eq!(other.memory().seq_pos_max(SEQ).unwrap(), Some(pos(prompt.len() - 1)));
        Future::of(&mut other, SEQ, prompt.len()).assert_close(&expected, format_args!("{params:?}"));
    }
}

#[test]
fn all_sequences_are_in_it() {
    for (tiny, unified) in [Tiny::Llama, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba]
        .into_iter()
        .flat_map(|tiny| [(tiny, false), (tiny, true)])
    {
        let model = load(tiny);
        let params = params().n_ctx(1024).n_seq_max(4).kv_unified(unified);
        let mut context = Context::new(&model, &params).unwrap();
        let texts = ["Hello", "The quick brown", "One two three four"].map(|text| tokens(&model, text));
        for (seq_id, text) in (0..).map(SeqId::new).zip(&texts) {
            decode(&mut context, text, seq_id, 0);
        }
        // A sequence that shares its tokens with another, and one that is gone.
        context.memory().seq_cp(SeqId::new(1), SeqId::new(3), ..).unwrap();
        context.memory().seq_rm(SEQ, ..).unwrap();
        decode(&mut context, &[Token::new(7)], SeqId::new(3), texts[1].len());
        let mut state = vec![1, 2, 3];
        context.state_data(&mut state).unwrap();
        let mut other = Context::new(&model, &params).unwrap();
        other.set_state_data(&state).unwrap();
        assert_eq!(other.memory().seq_pos_max(SEQ).unwrap(), None);
        for (id, length) in [(1, texts[1].len()), (2, texts[2].len()), (3, texts[1].len() + 1)] {
            let id = SeqId::new(id);
            assert_eq!(
                other.memory().seq_pos_max(id).unwrap(),
                Some(pos(length - 1)),
                "{tiny} {unified} {id}"
            );
            let expected = Future::of(&mut context, id, length);
            Future::of(&mut other, id, length).assert_close(&expected, format_args!("{tiny} {unified} {id}"));
        }
    }
}

#[test]
fn sequences_move_between_contexts_and_ids() {
    for (tiny, params) in
        GENERATIVE.into_iter().flat_map(|tiny| shapes(tiny).into_iter().map(move |params| (tiny, params)))
    {
        let model = load(tiny);
        let params = params.n_ctx(1024).n_seq_max(if tiny == Tiny::T5 { 1 } else { 3 });
        let last = if tiny == Tiny::T5 { SEQ } else { SeqId::new(2) };
        let (mut context, prompt) = started(&model, &params, 12);
        let mut state = Vec::new();
        context.seq_state_data(SEQ, StatePart::All, &mut state).unwrap();
        assert_eq!(state.len(), context.seq_state_size(SEQ, StatePart::All).unwrap(), "{tiny}");
        let expected = Future::of(&mut context, SEQ, prompt.len());
        // Into a context of its own, under the same id: the same numbers.
        let mut other = fresh(&model, &params);
        other.set_seq_state_data(SEQ, StatePart::All, &state).unwrap();
        assert_eq!(Future::of(&mut other, SEQ, prompt.len()), expected, "{tiny} {params:?}");
        // In place of another sequence, beside a third.
        let mut other = fresh(&model, &params);
        let beside = (last != SEQ).then(|| {
            decode(&mut other, &prompt[..5], SeqId::new(1), 0);
            decode(&mut other, &prompt[..7], last, 0);
            SeqId::new(1)
        });
        other.set_seq_state_data(last, StatePart::All, &state).unwrap();
        assert_eq!(other.memory().seq_pos_max(last).unwrap(), Some(pos(prompt.len() - 1)), "{tiny}");
        Future::of(&mut other, last, prompt.len()).assert_close(&expected, tiny);
        if let Some(beside) = beside {
            let mut alone = Context::new(&model, &params).unwrap();
            decode(&mut alone, &prompt[..5], beside, 0);
            let expected = Future::of(&mut alone, beside, 5);
            Future::of(&mut other, beside, 5).assert_close(&expected, tiny);
        }
    }
}

#[test]
fn partial_states_go_back() {
    for tiny in [Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba] {
        for params in shapes(tiny).into_iter().flat_map(|params| [params.clone().swa_full(false), params]) {
            let model = load(tiny);
            let (mut context, prompt) = started(&model, &params, usize::MAX);
            assert!(context.has_partial_state(), "{tiny}");
            let mut partial = Vec::new();
            context.seq_state_data(SEQ, StatePart::Partial, &mut partial).unwrap();
            let all = context.seq_state_size(SEQ, StatePart::All).unwrap();
            assert!(if tiny == Tiny::Mamba { partial.len() == all } else { partial.len() < all }, "{tiny}");
            let expected = Future::of(&mut context, SEQ, prompt.len());
            for _ in 0..3 {
                // `Future` has gone on by 12 tokens.
                let end = pos(prompt.len() + 11);
                assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), Some(end), "{tiny}");
                context.set_seq_state_data(SEQ, StatePart::Partial, &partial).unwrap();
                let end = pos(prompt.len() - 1);
                assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), Some(end), "{tiny}");
                Future::of(&mut context, SEQ, prompt.len()).assert_close(&expected, tiny);
            }
        }
    }
}

#[test]
fn partial_states_go_back_only() {
    for tiny in [Tiny::Gemma3, Tiny::Jamba] {
        let model = load(tiny);
        let (mut context, prompt) = started(&model, &params(), usize::MAX);
        let mut partial = Vec::new();
        context.seq_state_data(SEQ, StatePart::Partial, &mut partial).unwrap();
        let mut other = Context::new(&model, &params()).unwrap();
        let error = other.set_seq_state_data(SEQ, StatePart::Partial, &partial).unwrap_err();
        let last = pos(prompt.len() - 1).get();
        assert!(matches!(error.kind(), ErrorKind::InvalidPosition { pos, .. } if *pos == last), "{error}");
        assert_eq!(
            error.to_string(),
            format!(
                "position {last} of sequence 0 is not valid: a partial state needs a sequence that has all positions up to it, but this one is empty: use StatePart::All"
            )
        );
        decode(&mut other, &prompt[..3], SEQ, 0);
        let error = other.set_seq_state_data(SEQ, StatePart::Partial, &partial).unwrap_err();
        assert!(error.to_string().contains("this one ends at position 2"), "{error}");
        let mut alone = Context::new(&model, &params()).unwrap();
        decode(&mut alone, &prompt[..3], SEQ, 0);
        assert_eq!(Future::of(&mut other, SEQ, 3), Future::of(&mut alone, SEQ, 3), "{tiny}");
    }
    // A recurrent state is all that there is.
    let model = load(Tiny::Mamba);
    let (mut context, prompt) = started(&model, &params(), usize::MAX);
    let mut partial = Vec::new();
    context.seq_state_data(SEQ, StatePart::Partial, &mut partial).unwrap();
    let mut other = Context::new(&model, &params()).unwrap();
    other.set_seq_state_data(SEQ, StatePart::Partial, &partial).unwrap();
    assert_eq!(Future::of(&mut other, SEQ, prompt.len()), Future::of(&mut context, SEQ, prompt.len()));
}

#[test]
fn where_all_can_be_gone_back_in_there_is_no_partial_state() {
    for tiny in [Tiny::Llama, Tiny::Qwen3Moe, Tiny::T5] {
        let mut context = Context::new(&load(tiny), &params()).unwrap();
        assert!(!context.has_partial_state(), "{tiny}");
        let error = context.seq_state_data(SEQ, StatePart::Partial, &mut Vec::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the state of a sequence is not possible with this model: its memory has no part that cannot be rewound: use StatePart::All, or only Memory::seq_rm"
        );
    }
}

#[test]
fn an_empty_sequence_is_restored_as_empty() {
    for tiny in [Tiny::Llama, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba] {
        let model = load(tiny);
        let mut empty = Context::new(&model, &params()).unwrap();
        let mut parts = vec![StatePart::All];
        parts.extend(empty.has_partial_state().then_some(StatePart::Partial));
        for part in parts {
            let mut state = Vec::new();
            empty.seq_state_data(SEQ, part, &mut state).unwrap();
            let (mut context, prompt) = started(&model, &params(), usize::MAX);
            context.set_seq_state_data(SEQ, part, &state).unwrap();
            assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), None, "{tiny} {part:?}");
            decode(&mut context, &prompt[..4], SEQ, 0);
            let mut alone = Context::new(&model, &params()).unwrap();
            decode(&mut alone, &prompt[..4], SEQ, 0);
            let expected = Future::of(&mut alone, SEQ, 4);
            Future::of(&mut context, SEQ, 4).assert_close(&expected, tiny);
        }
    }
}

#[test]
fn a_clone_diverges_only_after_it_was_made() {
    for (tiny, params) in
        GENERATIVE.into_iter().flat_map(|tiny| shapes(tiny).into_iter().map(move |params| (tiny, params)))
    {
        let model = load(tiny);
        let (mut context, prompt) = started(&model, &params, 12);
        let at = prompt.len();
        if tiny == Tiny::T5 {
            let error = context.try_clone().unwrap_err();
            assert!(error.to_string().contains("the encoder's output is not part of a state"), "{error}");
            continue;
        }
        let mut clone = context.try_clone().unwrap();
        // The same step in both, then different ones.
        assert_eq!(
            logits_after(&mut context, &[Token::new(9)], SEQ, at),
            logits_after(&mut clone, &[Token::new(9)], SEQ, at),
            "{tiny} {params:?}"
        );
        let left = logits_after(&mut context, &[Token::new(10)], SEQ, at + 1);
        let right = logits_after(&mut clone, &[Token::new(11)], SEQ, at + 1);
        assert!(difference(&left, &right) > 1e-3, "{tiny}");
        let mut straight = fresh(&model, &params);
        let tokens = [&prompt[..], &[Token::new(9)], &[Token::new(10)]].concat();
        decode(&mut straight, &tokens, SEQ, 0);
        Future::of(&mut context, SEQ, at + 2).assert_close(&Future::of(&mut straight, SEQ, at + 2), tiny);
    }
}

#[test]
fn a_clone_has_the_settings_and_outlives_the_original() {
    let model = load(Tiny::Llama);
    let (mut context, prompt) = started(&model, &params().n_batch(64), 12);
    context.set_n_threads(2, 1).unwrap();
    context.set_embeddings(true).unwrap();
    context.set_causal_attention(false).unwrap();
    let mut clone = context.try_clone().unwrap();
    assert_eq!((clone.n_threads(), clone.n_threads_batch(), clone.n_batch()), (2, 1, 64));
    assert!(!clone.causal_attention() && clone.model().is_same(&model));
    drop((context, model));
    decode(&mut clone, &prompt, SEQ, prompt.len());
    assert_eq!(clone.embeddings(prompt.len() - 1).unwrap().len(), 64);
    assert!(matches!(clone.logits(99).unwrap_err().kind(), ErrorKind::NoOutput { .. }));
}

#[test]
fn encoders_have_nothing_to_save() {
    let mut context = Context::new(&load(Tiny::Bert), &params()).unwrap();
    let mut state = Vec::new();
    context.state_data(&mut state).unwrap();
    assert_eq!(&state[4..], b"bert");
    context.set_state_data(&state).unwrap();
    context.try_clone().unwrap();
    assert!(!context.has_partial_state());
    for part in [StatePart::All, StatePart::Partial] {
        let error = context.seq_state_data(SEQ, part, &mut state).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
        let error = context.set_seq_state_data(SEQ, part, &state).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
    }
}

#[test]
fn results_go_with_the_memory_that_they_were_of() {
    let model = load(Tiny::Llama);
    let params = params().n_ctx(768).n_seq_max(3);
    let (mut context, prompt) = started(&model, &params, 12);
    let (mut all, mut one) = (Vec::new(), Vec::new());
    context.state_data(&mut all).unwrap();
    context.seq_state_data(SEQ, StatePart::All, &mut one).unwrap();
    // Rows that llama.cpp has in another order than the batch, and swaps at the first look.
    let mut batch = Batch::new();
    for (seq_id, token) in [(2, 5), (0, 6), (1, 7), (2, 8)] {
        let at = if seq_id == 0 { prompt.len() } else { usize::from(token == 8) };
        batch.push(Token::new(token), pos(at), &[SeqId::new(seq_id)], true).unwrap();
    }
    context.decode(&batch).unwrap();
    let mut looked = context.try_clone().unwrap();
    looked.set_state_data(&all).unwrap();
    looked.decode(&batch).unwrap();
    let expected: Vec<Vec<f32>> = (0..4).map(|index| looked.logits(index).unwrap().to_vec()).collect();
    // Saving, and restoring a sequence, move no row.
    context.seq_state_data(SeqId::new(1), StatePart::All, &mut Vec::new()).unwrap();
    context.set_seq_state_data(SeqId::new(1), StatePart::All, &one).unwrap();
    for index in [3, 0, 2, 1] {
        assert_eq!(context.logits(index).unwrap().to_vec(), expected[index]);
    }
    // Restoring everything takes them away, ordered or not.
    for look in [true, false] {
        context.set_state_data(&all).unwrap();
        for index in 0..4 {
            let error = context.logits(index).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::NoOutput { .. }), "{error}");
        }
        context.decode(&batch).unwrap();
        if look {
            assert_eq!(context.logits(3).unwrap().to_vec(), expected[3]);
        }
    }
    assert_eq!(context.logits(0).unwrap().to_vec(), expected[0]);
}

#[test]
fn what_llama_cpp_has_yet_to_do_is_not_saved() {
    let model = load(Tiny::Llama);
    let (mut context, prompt) = started(&model, &params().n_ctx(512).n_seq_max(2), 12);
    let (other, mut state, mut one) = (SeqId::new(1), Vec::new(), Vec::new());
    context.state_data(&mut state).unwrap();
    context.seq_state_data(SEQ, StatePart::All, &mut one).unwrap();
    // The copy of a buffer: nothing goes in or out until it is done.
    context.memory().seq_cp(SEQ, other, ..).unwrap();
    let unsettled = |result: llama_core::Result<()>| {
        let error = result.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::State(StateError::Unsettled)), "{error}");
    };
    unsettled(context.state_data(&mut Vec::new()));
    unsettled(context.seq_state_data(other, StatePart::All, &mut Vec::new()));
    unsettled(context.keep_seq_state(other, StatePart::All).map(drop));
    unsettled(context.try_clone().map(drop));
    unsettled(context.set_state_data(&state));
    unsettled(context.set_seq_state_data(other, StatePart::All, &one));
    decode(&mut context, &[Token::new(5)], SEQ, prompt.len());
    context.seq_state_data(other, StatePart::All, &mut one).unwrap();
    let mut alone = Context::new(&model, &params().n_ctx(512).n_seq_max(2)).unwrap();
    alone.set_seq_state_data(SEQ, StatePart::All, &one).unwrap();
    let (mut straight, _) = started(&model, &params().n_ctx(512).n_seq_max(2), 12);
    assert_eq!(Future::of(&mut alone, SEQ, prompt.len()), Future::of(&mut straight, SEQ, prompt.len()));
    // Moved positions: what is restored is not touched by it.
    context.memory().seq_rm(SEQ, ..2).unwrap();
    context.memory().seq_add(SEQ, 2.., -2).unwrap();
    unsettled(context.state_data(&mut Vec::new()));
    context.set_state_data(&state).unwrap();
    context.state_data(&mut one).unwrap();
    assert_eq!(one, state);
    assert_eq!(
        unsettled_text(),
        "the state was not saved or restored: positions or sequences were moved since the last batch, but llama.cpp does this when the next one is decoded: decode a batch first"
    );
}

fn unsettled_text() -> String {
    ErrorKind::from(StateError::Unsettled).to_string()
}
