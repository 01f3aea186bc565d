//! Contexts plan logits for exactly the tokens of a batch that their driver reads.

use futures::StreamExt as _;
use futures::executor::block_on;
use llama_core::{Context, ContextParams, Model, ModelParams};
use llama_gen::{BeamParams, Completion, Event, Finish, Llama};
use test_models::{Tiny, smollm2};

/// Loads a tiny model as [`Llama::builder`] does.
fn llama(tiny: Tiny) -> Llama {
    Llama::builder(tiny.path()).n_ctx(1024).n_threads(1).load().unwrap()
}

fn params() -> ContextParams {
    ContextParams::default().n_ctx(1024).n_threads(1)
}

/// Returns the bytes of intermediate results of a generation's context.
fn compute(finish: &Finish) -> u64 {
    finish.memory.devices.iter().map(|device| device.compute).sum()
}

fn planned(tiny: Tiny, params: &ContextParams) -> u64 {
    Model::plan(tiny.path(), &ModelParams::default(), params).unwrap().compute()
}

fn long_prompt() -> String {
    "the river said hello to a stone ".repeat(60)
}

const KINDS: [Tiny; 5] = [Tiny::Llama, Tiny::Qwen2, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba];

#[test]
fn a_generation_takes_what_one_row_of_logits_takes() {
    for tiny in KINDS {
        let llm = llama(tiny);
        let generate = || llm.generate(long_prompt()).max_tokens(4).ignore_eos(true);
        let finish = generate().complete().unwrap().finish;
        let one = planned(tiny, &params().plan_outputs(1));
        assert_eq!(compute(&finish), one, "{tiny}");
        assert!(one <= planned(tiny, &params()), "{tiny}");
        let last = block_on(generate().stream_async().unwrap().map(Result::unwrap).collect::<Vec<_>>()).pop();
        let Some(Event::Finish(finish)) = last else { panic!("{last:?}") };
        assert_eq!(compute(&finish), one, "{tiny}");
    }
}

#[test]
fn a_large_vocabulary_takes_a_hundred_megabytes_less() {
    let path = smollm2();
    let llm = Llama::builder(&path).n_ctx(1024).n_threads(1).load().unwrap();
    let finish = llm.generate("The capital of France is").max_tokens(1).complete().unwrap().finish;
    let plan =
        |params: &ContextParams| Model::plan(&path, &ModelParams::default(), params).unwrap().compute();
    assert_eq!(compute(&finish), plan(&params().plan_outputs(1)));
    // 512 rows of 49,152 floats, less what else takes their place.
    let saved = plan(&params()) - compute(&finish);
    assert!(saved > 75_000_000, "{saved}");
}

#[test]
fn branches_take_what_their_number_takes() {
    for tiny in KINDS {
        let llm = llama(tiny);
        for n in [1, 3, 7] {
            let generate = llm.generate(long_prompt()).max_tokens(4).ignore_eos(true).temperature(0.0);
            let together = generate.clone().completions(n).unwrap().complete().unwrap();
            let n_prompt = together[0].prompt.len();
            assert!(n_prompt > 300);
            let number = u32::try_from(n).unwrap();
            let tokens = u32::try_from(n_prompt).unwrap() + 4 * number;
            let own = params().n_ctx(tokens).n_seq_max(number).kv_unified(true);
            let one = planned(tiny, &own.clone().plan_outputs(number));
            assert!(one <= planned(tiny, &own), "{tiny} {n}");
            assert!(together.iter().all(|it: &Completion| compute(&it.finish) == one), "{tiny} {n}");
            let beams = generate.beam_search(&BeamParams::default().width(n)).unwrap();
            assert_eq!(beams.len(), n, "{tiny}");
        }
    }
}

#[test]
fn a_score_has_its_rows_and_leaves_a_context_that_generations_can_use() {
    for tiny in KINDS {
        let llm = llama(tiny);
        let text = || llm.generate(long_prompt()).max_tokens(8).temperature(0.0).complete().unwrap();
        let before = text();
        let score = llm.score(long_prompt()).unwrap();
        assert_eq!(score.n_scored() + 1, score.tokens.len());
        let after = text();
        assert_eq!(after.text, before.text, "{tiny}");
        assert!(compute(&after.finish) >= compute(&before.finish), "{tiny}");
        // The one that is idle is taken again: both ways.
        assert_eq!(llm.score(long_prompt()).unwrap().tokens, score.tokens, "{tiny}");
        assert_eq!(compute(&text().finish), compute(&after.finish), "{tiny}");
    }
}

#[test]
fn what_the_caller_plans_stays() {
    let tiny = Tiny::Llama;
    let builder = || Llama::builder(tiny.path()).n_ctx(1024).n_threads(1);
    let run = |llm: Llama| compute(&llm.generate("hello").max_tokens(1).complete().unwrap().finish);
    let more = ContextParams::default().n_outputs_max(200);
    assert_eq!(
        run(builder().context_params(more).load().unwrap()),
        planned(tiny, &params().n_outputs_max(200))
    );
    // Embeddings are results of every token.
    let embeddings = ContextParams::default().embeddings(true);
    let llm = builder().context_params(embeddings).load().unwrap();
    assert_eq!(run(llm.clone()), planned(tiny, &params().embeddings(true)));
    llm.score(long_prompt()).unwrap();
}

#[test]
fn a_plan_without_rows_is_exact() {
    // What is planned is what is taken, to the byte.
    for tiny in KINDS {
        let model = Model::load(tiny.path(), &ModelParams::default()).unwrap();
        for n in [1, 2, 17, 512, 4096] {
            let params = params().plan_outputs(n);
            let context = Context::new(&model, &params).unwrap();
            let taken: u64 = context.memory_use().unwrap().iter().map(|device| device.compute).sum();
            assert_eq!(planned(tiny, &params), taken, "{tiny} {n}");
        }
    }
}
