//! Texts longer than the context, with each choice for a full context.

use std::sync::{Arc, Mutex};

use llama_core::{
    Batch, Context, ContextParams, Model, ModelParams, Pos, SamplerChain, SeqId, Token, TokenizeOptions,
};
use llama_gen::{
    Completion, ErrorKind, Event, FinishReason, Full, GenerationBuilder, Llama, Result, WhenFull,
};
use test_models::Tiny;

const N_CTX: usize = 256;
const SEQ: SeqId = SeqId::new(0);

fn load(tiny: Tiny) -> Llama {
    Llama::builder(tiny.path()).n_ctx(256).n_threads(1).load().unwrap()
}

fn tokens(llm: &Llama, text: &str) -> Vec<Token> {
    llm.model().vocab().tokenize(text, TokenizeOptions::default()).unwrap()
}

/// Returns a prompt of this many tokens.
fn prompt(llm: &Llama, n: usize) -> Vec<Token> {
    let words = "The quick brown fox jumps over the lazy dog ".repeat(n);
    tokens(llm, &words)[..n].to_vec()
}

fn endless(generate: GenerationBuilder, n: u32) -> GenerationBuilder {
    generate.max_tokens(n).temperature(0.0).ignore_eos(true)
}

/// The tokens that were chosen, and the lengths before and after each shortening.
fn chosen(generate: GenerationBuilder) -> (Vec<Token>, Vec<(usize, usize)>) {
    let (mut tokens, mut lengths) = (Vec::new(), Vec::new());
    for event in generate.tokens(true).stream().unwrap() {
        match event.unwrap() {
            Event::Token(chosen) => tokens.push(chosen.token.id),
            Event::Shortened(shortened) => lengths.push((shortened.from, shortened.to)),
            _ => {}
        }
    }
    (tokens, lengths)
}

/// Computes the shifted text directly: greedy tokens, dropping the older half of the tokens that are not kept when
/// the memory is full.
fn shifted_by_hand(tiny: Tiny, prompt: &[Token], keep: usize, n: usize) -> Vec<Token> {
    let model = Model::load(tiny.path(), &ModelParams::default()).unwrap();
    let params = ContextParams::default().n_ctx(256).n_threads(1);
    let mut context = Context::new(&model, &params).unwrap();
    let mut sampler = SamplerChain::builder().greedy().build().unwrap();
    let mut batch = Batch::new();
    batch.push_prompt(prompt, SEQ, Pos::new(0)).unwrap();
    let (mut length, mut chosen) = (prompt.len(), Vec::new());
    while chosen.len() < n {
        context.decode(&batch).unwrap();
        let token = sampler.sample(&context, batch.last_output()).unwrap();
        chosen.push(token);
        if length == N_CTX {
            let discard = (N_CTX - keep) / 2;
            let [keep, end, discard] = [keep, keep + discard, discard].map(|n| i32::try_from(n).unwrap());
            context.memory().seq_rm(SEQ, keep..end).unwrap();
            context.memory().seq_add(SEQ, end.., -discard).unwrap();
            length -= usize::try_from(discard).unwrap();
        }
        batch.clear();
        batch.push(token, Pos::new(i32::try_from(length).unwrap()), &[SEQ], true).unwrap();
        length += 1;
    }
    chosen
}

#[test]
fn a_shift_keeps_the_first_tokens_and_goes_on() {
    for tiny in [Tiny::Llama, Tiny::Qwen2, Tiny::Gemma3] {
        let llm = load(tiny);
        let prompt = prompt(&llm, 50);
        let begins = llm.model().vocab().bos() == Some(prompt[0]);
        assert_eq!(begins, tiny != Tiny::Qwen2, "{tiny}");
        let keep = 20 + usize::from(begins);
        let when_full = WhenFull::Shift { keep: 20 };
        let (found, lengths) = chosen(endless(llm.generate(&prompt[..]), 600).when_full(when_full.clone()));
        assert_eq!(found, shifted_by_hand(tiny, &prompt, keep, 600), "{tiny}");
        let after = 257 - (256 - keep) / 2;
        assert_eq!(lengths, vec![(257, after); 4], "{tiny}");
        // What was shifted is not what the same tokens would give: only what was kept is used again.
        let completion = endless(llm.generate(&prompt[..]), 8).when_full(when_full).complete().unwrap();
        // A window puts new tokens where those were that it does not see any more, and then has a hole to go back to.
        let reused = if tiny == Tiny::Gemma3 { 0 } else { keep };
        assert_eq!(completion.finish.usage.reused_tokens, reused, "{tiny}");
        let alone = endless(load(tiny).generate(&prompt[..]), 8).complete().unwrap();
        assert_eq!(completion.text, alone.text, "{tiny}");
    }
}

#[test]
fn a_prompt_that_is_too_long_loses_its_middle_before_it_is_computed() {
    let llm = load(Tiny::Llama);
    let long = prompt(&llm, 700);
    let generate = endless(llm.generate(&long[..]), 10).when_full(WhenFull::Shift { keep: 15 });
    let (found, lengths) = chosen(generate.clone());
    assert_eq!(lengths, [(700, 136)]);
    // Sixteen with the token for the beginning, and half of the rest.
    let short = [&long[..16], &long[580..]].concat();
    assert_eq!(found, chosen(endless(llm.generate(short), 10)).0);
    let usage = generate.complete().unwrap().finish.usage;
    assert_eq!((usage.prompt_tokens, usage.reused_tokens, usage.evaluated_tokens), (700, 135, 1));
}

#[test]
fn a_memory_that_cannot_be_shifted_is_refused_before_anything_is_computed() {
    let shift = |llm: &Llama, keep| {
        let generate = llm.generate("hello").when_full(WhenFull::Shift { keep });
        generate.stream().unwrap_err().to_string()
    };
    for tiny in [Tiny::Mamba, Tiny::Jamba] {
        assert_eq!(
            shift(&load(tiny), 0),
            "a full context cannot be shifted with this model: its memory sums up what it has read and cannot forget a \
             part. WhenFull::Compact works with any model",
        );
    }
    let params = ContextParams::default().swa_full(false).n_ubatch(32);
    let window = Llama::builder(Tiny::Gemma3.path()).context_params(params).n_ctx(1024).n_threads(1);
    let text = shift(&window.load().unwrap(), 0);
    assert!(
        text.contains("its sliding window has forgotten a part already: load it with swa_full(true)"),
        "{text}"
    );
    let llm = load(Tiny::Llama);
    assert_eq!(
        shift(&llm, 254),
        "the parameters are not valid: when_full.keep is 254, but must be at most 253 in a context of 256 tokens",
    );
    // As much as possible: one token goes each time.
    let generate = endless(llm.generate("hello"), 300).when_full(WhenFull::Shift { keep: 253 });
    let (found, lengths) = chosen(generate);
    let n_prompt = tokens(&llm, "hello").len();
    // The last token is not computed.
    assert_eq!((found.len(), lengths), (300, vec![(257, 256); n_prompt + 299 - 256]));
}

#[test]
fn an_error_comes_after_what_there_was_room_for() {
    let llm = load(Tiny::Llama);
    let mut events: Vec<_> = endless(llm.generate("hello"), 1000)
        .tokens(true)
        .when_full(WhenFull::Error)
        .stream()
        .unwrap()
        .collect();
    let error = events.pop().unwrap().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ContextFull { n_ctx: 256, .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "the context of 256 tokens is full: load the model with a larger n_ctx, or choose another WhenFull"
    );
    let n_tokens = events.iter().filter(|event| matches!(event, Ok(Event::Token(_)))).count();
    assert_eq!(n_tokens + tokens(&llm, "hello").len(), 257);
    let error = llm.generate(prompt(&llm, 256)).when_full(WhenFull::Error).stream().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::PromptTooLong { n_prompt: 256, n_ctx: 256, .. }), "{error}");
}

#[test]
fn a_compactor_makes_the_tokens_to_go_on_from() {
    for tiny in [Tiny::Llama, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba] {
        let llm = load(tiny);
        let prompt = prompt(&llm, 60);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let when_full = WhenFull::compact(move |full: &Full<'_>| {
            let short = [&full.tokens[..30], &full.tokens[full.tokens.len() - 70..]].concat();
            record.lock().unwrap().push((full.tokens.to_vec(), full.n_prompt, full.n_ctx, short.clone()));
            Ok(short)
        });
        let (found, lengths) = chosen(endless(llm.generate(&prompt[..]), 400).when_full(when_full));
        let seen = seen.lock().unwrap();
        assert_eq!(lengths, [(257, 100), (257, 100)], "{tiny}");
        let all = [&prompt[..], &found].concat();
        let (tokens, n_prompt, n_ctx, short) = &seen[0];
        assert_eq!((tokens.as_slice(), *n_prompt, *n_ctx), (&all[..257], 60, 256), "{tiny}");
        // What comes next is what comes after the shorter text in a context of its own, which has computed the beginning in
        // the same batch: rows of batches of other sizes differ in their last bits on some processors.
        let other = load(tiny);
        endless(other.generate(&prompt[..]), 1).complete().unwrap();
        let next = chosen(endless(other.generate(&short[..]), 157)).0;
        assert_eq!(found[197..354], next, "{tiny}");
        let (tokens, n_prompt, ..) = &seen[1];
        assert_eq!((tokens.as_slice(), *n_prompt), (&[&short[..], &next].concat()[..], 30), "{tiny}");
    }
}

#[test]
fn a_compactor_may_generate_with_the_same_model() {
    let llm = load(Tiny::Llama);
    let inner = llm.clone();
    let when_full = WhenFull::compact(move |full: &Full<'_>| {
        let summary = inner.generate(&full.tokens[..100]).max_tokens(20).temperature(0.0).complete()?;
        Ok(full.vocab.tokenize(summary.text(), TokenizeOptions::default())?)
    });
    let completion = endless(llm.generate(prompt(&llm, 700)), 300).when_full(when_full).complete().unwrap();
    assert_eq!(completion.finish.usage.completion_tokens, 300);
    assert_eq!(completion.finish.reason, FinishReason::MaxTokens);
}

#[test]
fn what_a_compactor_may_not_do_is_an_error() {
    let llm = load(Tiny::Llama);
    let run = |when_full| -> Result<Completion> {
        endless(llm.generate("hello"), 300).when_full(when_full).complete()
    };
    let message = |when_full| {
        let error = run(when_full).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Compactor { .. }), "{error}");
        let text = error.to_string();
        text.strip_prefix("the compactor could not shorten the text: ").unwrap().to_owned()
    };
    assert_eq!(message(WhenFull::compact(|_| Err("no idea".into()))), "no idea");
    let none = WhenFull::compact(|_| Ok(Vec::new()));
    assert_eq!(message(none), "it left no tokens: at least one is needed to go on from");
    let all = WhenFull::compact(|full| Ok(full.tokens.to_vec()));
    assert_eq!(message(all), "it left 257 tokens: at most 255 leave room for another one");
    let foreign = WhenFull::compact(|_| Ok(vec![Token::new(-7)]));
    assert_eq!(message(foreign), "it made a token -7, which is not in the vocabulary");
    // The same for a prompt that is too long; and the context is as good as before.
    let error = llm.generate(prompt(&llm, 300)).when_full(WhenFull::compact(|_| Err("no".into()))).stream();
    assert_eq!(error.unwrap_err().to_string(), "the compactor could not shorten the text: no");
    let one = WhenFull::compact(|full| Ok(vec![full.tokens[0]]));
    assert_eq!(run(one).unwrap().finish.usage.completion_tokens, 300);
}

#[test]
fn a_panic_of_a_compactor_passes_and_harms_nobody() {
    let llm = load(Tiny::Llama);
    let mut stream =
        endless(llm.generate("hello"), 300).when_full(WhenFull::compact(|_| panic!("oh"))).stream().unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stream.by_ref().count()));
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "oh");
    assert!(stream.next().is_none());
    assert_eq!(endless(llm.generate("hello"), 5).complete().unwrap().finish.usage.completion_tokens, 5);
}
