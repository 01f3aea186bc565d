//! A prefix in memory from an earlier generation is not computed again, and the text is unchanged.

use llama_core::{ContextParams, Token, TokenizeOptions};
use llama_gen::{Completion, GenerationBuilder, Llama, LlamaBuilder};
use test_models::Tiny;

const PROMPT: &str =
    "The quick brown fox jumps over the lazy dog and runs away from here, far away to the hills";

fn builder(tiny: Tiny, swa_full: bool) -> LlamaBuilder {
    let params = ContextParams::default().swa_full(swa_full);
    Llama::builder(tiny.path()).context_params(params).n_ctx(512).n_threads(1)
}

fn tokens(llm: &Llama, text: &str) -> Vec<Token> {
    llm.model().vocab().tokenize(text, TokenizeOptions::default()).unwrap()
}

fn run(generate: GenerationBuilder) -> Completion {
    generate.max_tokens(12).temperature(0.0).ignore_eos(true).complete().unwrap()
}

/// Returns the text of a prompt in a new context.
fn alone(tiny: Tiny, prompt: &[Token]) -> String {
    run(builder(tiny, true).load().unwrap().generate(prompt)).text
}

/// Runs the prompt, compares the text with that of a new context, and returns the number of tokens of the prompt that
/// were computed.
#[track_caller]
fn evaluated(llm: &Llama, tiny: Tiny, prompt: &[Token]) -> usize {
    let completion = run(llm.generate(prompt));
    assert_eq!(completion.text, alone(tiny, prompt), "{tiny}");
    let usage = completion.finish.usage;
    assert_eq!(usage.prompt_tokens, prompt.len(), "{tiny}");
    assert_eq!(usage.reused_tokens + usage.evaluated_tokens, prompt.len(), "{tiny}");
    usage.evaluated_tokens
}

#[test]
fn where_memory_can_be_cut_only_what_differs_is_computed() {
    for tiny in [Tiny::Llama, Tiny::LlamaQ8, Tiny::Qwen2, Tiny::Qwen3Moe, Tiny::Gemma3] {
        let llm = builder(tiny, true).load().unwrap();
        let prompt = tokens(&llm, PROMPT);
        assert!(prompt.len() > 40, "{tiny}: {}", prompt.len());
        assert_eq!(evaluated(&llm, tiny, &prompt), prompt.len());
        // The same again: the last token is computed for its results.
        assert_eq!(evaluated(&llm, tiny, &prompt), 1, "{tiny}");
        let other = [&prompt[..20], &prompt[30..]].concat();
        assert_eq!(evaluated(&llm, tiny, &other), other.len() - 20, "{tiny}");
        // Shorter than what is in memory.
        assert_eq!(evaluated(&llm, tiny, &prompt[..5]), 1, "{tiny}");
        assert_eq!(evaluated(&llm, tiny, &prompt), prompt.len() - 5, "{tiny}");
        // Nothing in common.
        assert_eq!(evaluated(&llm, tiny, &prompt[7..]), prompt.len() - 7, "{tiny}");
    }
}

#[test]
fn an_answer_that_is_part_of_the_next_prompt_is_not_computed_again() {
    for tiny in [Tiny::Llama, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba] {
        for swa_full in [true, false] {
            let llm = builder(tiny, swa_full).load().unwrap();
            let mut conversation = tokens(&llm, PROMPT);
            let turn = tokens(&llm, "and then");
            let mut new = conversation.len();
            for _ in 0..4 {
                assert_eq!(evaluated(&llm, tiny, &conversation), new, "{tiny}");
                let answer = chosen(&llm, &conversation);
                conversation.extend(&answer);
                conversation.extend(&turn);
                // Of the answer the last token was chosen and not computed.
                new = turn.len() + 1;
            }
        }
    }
}

/// Returns the tokens of an answer by generating it again.
fn chosen(llm: &Llama, prompt: &[Token]) -> Vec<Token> {
    let generate = llm.generate(prompt).max_tokens(12).temperature(0.0).ignore_eos(true).tokens(true);
    let events = generate.stream().unwrap().map(Result::unwrap);
    events
        .filter_map(
            |event| if let llama_gen::Event::Token(token) = event { Some(token.token.id) } else { None },
        )
        .collect()
}

#[test]
fn where_memory_cannot_be_cut_a_checkpoint_is_gone_back_to() {
    for tiny in [Tiny::Mamba, Tiny::Jamba] {
        let llm = builder(tiny, true).load().unwrap();
        let prompt = tokens(&llm, PROMPT);
        assert_eq!(evaluated(&llm, tiny, &prompt), prompt.len());
        // There is one before the last token.
        assert_eq!(evaluated(&llm, tiny, &prompt), 1, "{tiny}");
        let longer = [&prompt[..], &prompt[3..20]].concat();
        assert_eq!(evaluated(&llm, tiny, &longer), 18, "{tiny}");
        // Between the one of the first prompt and that of the longer one.
        let between = &longer[..longer.len() - 4];
        assert_eq!(evaluated(&llm, tiny, between), 14, "{tiny}");
        // Before the first.
        assert_eq!(evaluated(&llm, tiny, &prompt[..20]), 20, "{tiny}");
        // One where it was asked for.
        let shared = &prompt[..20];
        let first = [shared, &prompt[25..]].concat();
        run(llm.generate(&first[..]).checkpoint_at(shared.len()));
        assert_eq!(evaluated(&llm, tiny, &prompt), prompt.len() - shared.len(), "{tiny}");
    }
}

#[test]
fn a_window_that_has_forgotten_is_not_cut() {
    let llm = builder(Tiny::Gemma3, false)
        .n_ctx(2048)
        .context_params(ContextParams::default().swa_full(false).n_ubatch(32))
        .load()
        .unwrap();
    let prompt = tokens(&llm, &PROMPT.repeat(12));
    assert!(prompt.len() > 400, "{}", prompt.len());
    let tiny = Tiny::Gemma3;
    let alone = |prompt: &[Token]| run(builder(tiny, true).n_ctx(2048).load().unwrap().generate(prompt)).text;
    let evaluated = |prompt: &[Token]| {
        let completion = run(llm.generate(prompt));
        assert_eq!(completion.text, alone(prompt));
        completion.finish.usage.evaluated_tokens
    };
    assert_eq!(evaluated(&prompt), prompt.len());
    assert_eq!(evaluated(&prompt), 1);
    assert_eq!(
        evaluated(&prompt[..100]),
        100,
        "the window at 100 is gone, and there is no checkpoint before"
    );
    let longer = [&prompt[..], &prompt[3..20]].concat();
    assert_eq!(evaluated(&longer), longer.len() - 100);
}

#[test]
fn without_the_cache_everything_is_computed() {
    let llm = builder(Tiny::Llama, true).load().unwrap();
    let prompt = tokens(&llm, PROMPT);
    for _ in 0..2 {
        let completion = run(llm.generate(&prompt[..]).cache_prompt(false));
        assert_eq!(completion.finish.usage.evaluated_tokens, prompt.len());
    }
    assert_eq!(evaluated(&llm, Tiny::Llama, &prompt), 1);
}

#[test]
fn of_several_contexts_the_one_with_the_most_in_common_is_taken() {
    let llm = builder(Tiny::Llama, true).idle_contexts(2).load().unwrap();
    let (first, second) = (tokens(&llm, PROMPT), tokens(&llm, &PROMPT.to_uppercase()));
    // The second prompt does not cost the first its place.
    for (prompt, new) in [(&first, first.len()), (&second, second.len()), (&first, 1), (&second, 1)] {
        assert_eq!(evaluated(&llm, Tiny::Llama, prompt), new);
    }
    // A third takes the place of what was not used for the longest time, with which it has its beginning in common.
    let third = tokens(&llm, "something else again");
    assert_eq!(evaluated(&llm, Tiny::Llama, &third), third.len() - 1);
    assert_eq!(evaluated(&llm, Tiny::Llama, &second), 1);
    // None is kept: none is found.
    let llm = builder(Tiny::Llama, true).idle_contexts(0).load().unwrap();
    for _ in 0..2 {
        assert_eq!(evaluated(&llm, Tiny::Llama, &first), first.len());
    }
}

#[test]
fn without_checkpoints_a_memory_that_cannot_be_cut_begins_anew() {
    for tiny in [Tiny::Mamba, Tiny::Jamba] {
        let llm = builder(tiny, true).checkpoint_bytes(0).load().unwrap();
        let prompt = tokens(&llm, PROMPT);
        for _ in 0..2 {
            let completion = run(llm.generate(&prompt[..]));
            assert_eq!(completion.finish.usage.evaluated_tokens, prompt.len(), "{tiny}");
            assert_eq!(completion.finish.memory.checkpoints, 0, "{tiny}");
        }
    }
}

#[test]
fn checkpoints_stay_within_their_bytes() {
    let prompt = |llm: &Llama| tokens(llm, &PROMPT.repeat(4));
    let with = |budget| {
        let llm = builder(Tiny::Mamba, true).checkpoint_bytes(budget).load().unwrap();
        let mut generate = llm.generate(prompt(&llm));
        for place in (10..100).step_by(10) {
            generate = generate.checkpoint_at(place);
        }
        run(generate).finish.memory.checkpoints
    };
    let all = with(1 << 20);
    // Nine places and the end.
    let one = all / 10;
    assert_eq!(all, one * 10);
    assert!((10_000..100_000).contains(&one), "{one}");
    assert_eq!(with(one * 4), one * 4);
    assert_eq!(with(one * 4 + 1), one * 4);
    assert_eq!(with(one - 1), 0);
}

/// Runs prompts that each share a random prefix with the one before, on memories that are short of everything.
#[test]
fn whatever_prompts_have_in_common_the_text_is_that_of_the_prompt() {
    for (tiny, swa_full) in
        [(Tiny::Llama, true), (Tiny::Gemma3, false), (Tiny::Mamba, true), (Tiny::Jamba, true)]
    {
        let params = ContextParams::default().swa_full(swa_full).n_ubatch(32);
        let builder = Llama::builder(tiny.path()).context_params(params).n_ctx(1024).n_threads(1);
        // Two or three checkpoints of Mamba, some more of the others.
        let llm = builder.checkpoint_bytes(60_000).load().unwrap();
        let words = tokens(&llm, &PROMPT.repeat(8));
        let mut random = 1_u64;
        let mut below = |n: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 33).unwrap() % n
        };
        let (mut prompt, mut reused) = (words[..300].to_vec(), 0);
        for _ in 0..40 {
            prompt.truncate(1 + below(prompt.len()));
            let from = below(words.len() - 200);
            prompt.extend(&words[from..from + below(200)]);
            prompt.truncate(600);
            let generate = llm.generate(&prompt[..]).checkpoint_at(below(prompt.len()));
            let completion = run(generate.clone());
            reused += completion.finish.usage.reused_tokens;
            // The same in other parts, in the same context: the next prompt finds it there.
            assert_eq!(
                run(generate.cache_prompt(false)).text,
                completion.text,
                "{tiny}: {} tokens",
                prompt.len()
            );
        }
        assert!(reused > 500, "{tiny}: {reused}");
    }
}
