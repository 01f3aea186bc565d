//! Steps over a fake context: what happens to one generation is of no consequence for the others.

use std::time::Instant;

use llama_core::{SeqId, Token};
use test_models::Tiny;

use super::{Ended, step};
use crate::cancel::CancelToken;
use crate::error::Result;
use crate::event::{Event, FinishReason};
use crate::finish::MemoryReport;
use crate::generation::{Generation, Opening};
use crate::memory::{Board, FakeExecutor, Fate, Limits};
use crate::model::Llama;
use crate::request::Request;
use crate::sequence::Sequence;

const LIMITS: Limits = Limits { n_ctx: 64, n_batch: 24, n_chunk: 8 };

fn llama() -> Llama {
    Llama::builder(Tiny::Llama.path()).n_ctx(256).n_threads(1).load().unwrap()
}

fn board(llama: &Llama, n: usize) -> Board<FakeExecutor> {
    let n_vocab = llama.model().vocab().n_tokens();
    Board::new(FakeExecutor::new(n_vocab, LIMITS), n, 0).unwrap()
}

fn tokens(n: i32, first: i32) -> Vec<Token> {
    (first..first + n).map(Token::new).collect()
}

fn request(prompt: &[Token], seed: u32) -> Request {
    Request::new(prompt).temperature(1.0).seed(seed).ignore_eos(true).max_tokens(12)
}

fn generation(llama: &Llama, request: &Request, sequence: usize, prompt: Vec<Token>) -> Generation {
    let text = Sequence::new(request, &request.params, &prompt, llama.model(), llama.tokenizer()).unwrap();
    let n_given = prompt.len();
    let took = core::time::Duration::ZERO;
    let opening = Opening { sequence, prompt, n_reused: 0, n_given, shortened: None, took };
    Generation::new(llama, request, text, opening, request.interrupt.clone())
}

/// How each generation has ended.
type Ends = Vec<Option<Result<FinishReason>>>;

fn run(board: &mut Board<FakeExecutor>, generations: &mut [Generation]) -> Ends {
    let mut ends: Ends = generations.iter().map(|_| None).collect();
    while ends.iter().any(Option::is_none) {
        for Ended { member, result } in step(board, generations, &Instant::now) {
            assert!(ends[member].is_none(), "{member} has ended twice");
            if let Ok(reason) = &result {
                generations[member].finish(Instant::now(), reason.clone(), MemoryReport::default());
            }
            ends[member] = Some(result);
        }
        ledgers_are_true(board);
    }
    ends
}

fn ledgers_are_true(board: &Board<FakeExecutor>) {
    for index in 0..board.n_sequences() {
        let cells = board.cells(index);
        assert_eq!(cells.tokens(), board.executor().tokens(cells.sequence()), "sequence {index}");
    }
}

fn text(generation: &mut Generation) -> (String, usize, usize, usize) {
    let (mut text, mut figures) = (String::new(), (0, 0, 0));
    while let Some(event) = generation.next_event() {
        text.push_str(event.text());
        if let Event::Finish(finish) = event {
            let usage = finish.usage;
            figures = (usage.reused_tokens, usage.evaluated_tokens, usage.completion_tokens);
        }
    }
    (text, figures.0, figures.1, figures.2)
}

/// The prompts of the tests: of different lengths, several chunks each.
fn prompts() -> [Vec<Token>; 3] {
    [tokens(20, 10), tokens(9, 40), tokens(1, 70)]
}

fn alone(llama: &Llama, prompt: &[Token], seed: u32) -> String {
    let mut only = [generation(llama, &request(prompt, seed), 0, prompt.to_vec())];
    let ends = run(&mut board(llama, 1), &mut only);
    assert!(matches!(ends[0], Some(Ok(FinishReason::MaxTokens))), "{ends:?}");
    text(&mut only[0]).0
}

fn together(llama: &Llama, requests: &[Request]) -> Vec<Generation> {
    let all = requests.iter().zip(prompts()).enumerate();
    all.map(|(index, (request, prompt))| generation(llama, request, index, prompt)).collect()
}

fn requests() -> Vec<Request> {
    prompts().iter().zip(1..).map(|(prompt, seed)| request(prompt, seed)).collect()
}

fn all_alone(llama: &Llama) -> Vec<String> {
    prompts().iter().zip(1..).map(|(prompt, seed)| alone(llama, prompt, seed)).collect()
}

#[test]
fn generations_together_are_what_they_are_alone() {
    let llama = llama();
    let mut generations = together(&llama, &requests());
    let mut board = board(&llama, 3);
    let ends = run(&mut board, &mut generations);
    assert!(ends.iter().all(|end| matches!(end, Some(Ok(FinishReason::MaxTokens)))), "{ends:?}");
    let texts: Vec<_> = generations.iter_mut().map(text).collect();
    assert_eq!(texts.iter().map(|it| it.0.clone()).collect::<Vec<_>>(), all_alone(&llama));
    assert_eq!(
        texts.iter().map(|it| (it.1, it.2, it.3)).collect::<Vec<_>>(),
        [(0, 20, 12), (0, 9, 12), (0, 1, 12)]
    );
    // 30 tokens of prompts and 11 of each answer, in no more batches than the longest needs.
    assert_eq!((board.executor().n_tokens, board.executor().n_batches), (63, 14));
}

#[test]
fn a_batch_that_does_not_hold_all_is_divided() {
    let llama = llama();
    let limits = Limits { n_batch: 2, n_chunk: 2, ..LIMITS };
    let n_vocab = llama.model().vocab().n_tokens();
    let mut board = Board::new(FakeExecutor::new(n_vocab, limits), 3, 0).unwrap();
    let mut generations = together(&llama, &requests());
    run(&mut board, &mut generations);
    let texts: Vec<_> = generations.iter_mut().map(|it| text(it).0).collect();
    assert_eq!(texts, all_alone(&llama));
}

#[test]
fn an_interrupt_in_a_computation_ends_only_its_generation() {
    let llama = llama();
    // In the prompt, and among the tokens of the answer; with memory that keeps what was computed, and one that loses it.
    for (is_state, batch) in [(false, 1), (false, 6), (true, 1), (true, 6)] {
        let mut board = board(&llama, 3);
        board.executor_mut().traits.is_state = is_state;
        board.executor_mut().fates = [Fate::Computed].repeat(batch).into();
        board.executor_mut().fates.push_back(Fate::AbortedAfter(1));
        let token = CancelToken::new();
        let mut requests = requests();
        requests[1] = requests[1].clone().cancel_token(&token);
        let mut generations = together(&llama, &requests);
        for _ in 0..batch {
            assert!(step(&mut board, &mut generations, &Instant::now).is_empty());
        }
        // Between the plan and the computation.
        let n_looks = core::cell::Cell::new(0);
        let clock = || {
            n_looks.set(n_looks.get() + 1);
            if n_looks.get() > 4 {
                token.cancel();
            }
            Instant::now()
        };
        let ended = step(&mut board, &mut generations, &clock);
        let [Ended { member: 1, result: Ok(FinishReason::Cancelled) }] = ended.as_slice() else {
            panic!("{ended:?}")
        };
        ledgers_are_true(&board);
        while !step(&mut board, &mut generations, &Instant::now).is_empty() || board.executor().n_batches < 60
        {
            ledgers_are_true(&board);
            if generations.iter().all(|generation| !super::Member::is_running(generation)) {
                break;
            }
        }
        let texts: Vec<_> = generations.iter_mut().map(|it| text(it).0).collect();
        let alone = all_alone(&llama);
        assert_eq!((&texts[0], &texts[2]), (&alone[0], &alone[2]), "state: {is_state}, batch {batch}");
        assert!(alone[1].starts_with(&texts[1]));
    }
}

#[test]
fn a_batch_that_fails_ends_only_the_generation_that_makes_it_fail() {
    let llama = llama();
    let mut board = board(&llama, 3);
    // The second prompt has it in its second part.
    board.executor_mut().forbidden = Some(Token::new(48));
    let mut generations = together(&llama, &requests());
    let ends = run(&mut board, &mut generations);
    assert!(matches!(ends[0], Some(Ok(FinishReason::MaxTokens))), "{ends:?}");
    assert_eq!(
        ends[1].as_ref().unwrap().as_ref().unwrap_err().to_string(),
        "the prompt is not valid: forbidden"
    );
    assert!(matches!(ends[2], Some(Ok(FinishReason::MaxTokens))), "{ends:?}");
    let alone = all_alone(&llama);
    assert_eq!(
        (text(&mut generations[0]).0, text(&mut generations[2]).0),
        (alone[0].clone(), alone[2].clone())
    );
}

#[test]
fn a_failure_among_several_is_tried_again_with_what_is_left_in_memory() {
    let llama = llama();
    for is_state in [false, true] {
        for batch in 0..8 {
            let mut board = board(&llama, 3);
            board.executor_mut().traits.is_state = is_state;
            board.executor_mut().fates = [Fate::Computed].repeat(batch).into();
            board.executor_mut().fates.push_back(Fate::FailsAfter(2));
            let mut generations = together(&llama, &requests());
            let ends = run(&mut board, &mut generations);
            assert!(ends.iter().all(|end| matches!(end, Some(Ok(FinishReason::MaxTokens)))), "{ends:?}");
            let texts: Vec<_> = generations.iter_mut().map(|it| text(it).0).collect();
            assert_eq!(texts, all_alone(&llama), "state: {is_state}, batch {batch}");
        }
    }
}

#[test]
fn followers_share_the_prompt_of_their_leader() {
    let llama = llama();
    let prompt = tokens(20, 10);
    let mut board = board(&llama, 3);
    let follower = |index: usize, seed| {
        let mut generation = generation(&llama, &request(&prompt, seed), index, prompt.clone());
        if index > 0 {
            generation.follow(0);
        }
        generation
    };
    let mut generations = [follower(0, 1), follower(1, 2), follower(2, 3)];
    run(&mut board, &mut generations);
    let texts: Vec<_> = generations.iter_mut().map(text).collect();
    let alone: Vec<_> = (1..4).map(|seed| alone(&llama, &prompt, seed)).collect();
    assert_eq!(texts.iter().map(|it| it.0.clone()).collect::<Vec<_>>(), alone);
    assert_eq!(texts.iter().map(|it| (it.1, it.2)).collect::<Vec<_>>(), [(0, 20), (20, 0), (20, 0)]);
    assert_eq!(board.executor().n_tokens, 20 + 3 * 11);
}

#[test]
fn followers_of_a_leader_that_has_ended_read_the_prompt_themselves() {
    let llama = llama();
    let prompt = tokens(20, 10);
    let token = CancelToken::new();
    let mut board = board(&llama, 2);
    let leader = request(&prompt, 1).cancel_token(&token);
    let mut follower = generation(&llama, &request(&prompt, 2), 1, prompt.clone());
    follower.follow(0);
    let mut generations = [generation(&llama, &leader, 0, prompt.clone()), follower];
    assert!(step(&mut board, &mut generations, &Instant::now).is_empty());
    token.cancel();
    let ends = run(&mut board, &mut generations);
    assert!(matches!(ends[0], Some(Ok(FinishReason::Cancelled))), "{ends:?}");
    let (text, reused, evaluated, _) = text(&mut generations[1]);
    assert_eq!((text, reused, evaluated), (alone(&llama, &prompt, 2), 0, 20));
}

#[test]
fn a_full_context_is_an_error_of_its_own() {
    let llama = llama();
    let mut board = board(&llama, 2);
    let long = request(&prompts()[0], 1).max_tokens(100).when_full(crate::WhenFull::Error);
    let short = request(&prompts()[1], 2);
    let mut generations = together(&llama, &[long, short]);
    let ends = run(&mut board, &mut generations);
    let error = ends[0].as_ref().unwrap().as_ref().unwrap_err().to_string();
    assert!(error.starts_with("the context of 64 tokens is full"), "{error}");
    assert!(matches!(ends[1], Some(Ok(FinishReason::MaxTokens))), "{ends:?}");
    assert_eq!(text(&mut generations[1]).0, alone(&llama, &prompts()[1], 2));
    assert_eq!(board.executor().tokens(SeqId::new(0)).len(), 64);
}
