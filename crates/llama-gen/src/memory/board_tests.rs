//! Random operations on a board: its ledgers always hold what the memory holds.

use llama_core::{SeqId, Token};
use proptest::prelude::*;

use super::executor::Limits;
use super::{Board, FakeExecutor, Fate, Gap};

const LIMITS: Limits = Limits { n_ctx: 40, n_batch: 12, n_chunk: 6 };
const SEQUENCES: usize = 3;

#[derive(Clone, Debug)]
enum Operation {
    Decode(Vec<(usize, Vec<i32>)>, Fate),
    Prepare(usize, Vec<i32>),
    Shift(usize, usize, usize),
    Fork(usize, usize),
    Forget(usize),
    Checkpoint(usize),
}

fn tokens() -> impl Strategy<Value = Vec<i32>> {
    proptest::collection::vec(0..3_i32, 1..5)
}

fn operation() -> impl Strategy<Value = Operation> {
    let sequence = || 0..SEQUENCES;
    let fate = prop_oneof![
        4 => Just(Fate::Computed),
        1 => (0..6_usize).prop_map(Fate::AbortedAfter),
        1 => (0..6_usize).prop_map(Fate::FailsAfter),
    ];
    let parts = proptest::collection::btree_map(sequence(), tokens(), 1..=SEQUENCES);
    prop_oneof![
        6 => (parts, fate).prop_map(|(parts, fate)| Operation::Decode(parts.into_iter().collect(), fate)),
        2 => (sequence(), proptest::collection::vec(0..3_i32, 1..12)).prop_map(|(at, prompt)| Operation::Prepare(at, prompt)),
        1 => (sequence(), 0..6_usize, 1..6_usize).prop_map(|(at, keep, discard)| Operation::Shift(at, keep, discard)),
        1 => (sequence(), sequence()).prop_map(|(from, to)| Operation::Fork(from, to)),
        1 => sequence().prop_map(Operation::Forget),
        1 => sequence().prop_map(Operation::Checkpoint),
    ]
}

fn ids(tokens: &[i32]) -> Vec<Token> {
    tokens.iter().copied().map(Token::new).collect()
}

/// Applies an operation. Returns the tokens that each part of a failed batch has lost, with its sequence.
fn apply(board: &mut Board<FakeExecutor>, operation: &Operation) -> Vec<(usize, Vec<Token>)> {
    match operation {
        Operation::Decode(parts, fate) => {
            board.executor_mut().fates.push_back(*fate);
            board.clear_batch();
            let fits = |board: &Board<FakeExecutor>, at: usize, n: usize| {
                n <= board.room() && board.cells(at).len() + n <= LIMITS.n_ctx
            };
            let mut sequences = Vec::new();
            for (at, part) in parts {
                if fits(board, *at, part.len()) {
                    board.push(*at, &ids(part), true);
                    sequences.push(*at);
                }
            }
            if sequences.is_empty() {
                board.executor_mut().fates.clear();
                return Vec::new();
            }
            let lost = board.decode().err().map(|failure| failure.lost).unwrap_or_default();
            return sequences.into_iter().zip(lost).collect();
        }
        Operation::Prepare(at, prompt) => {
            let n = board.prepare(*at, &ids(prompt)).unwrap();
            assert_eq!(board.cells(*at).tokens(), &ids(prompt)[..n]);
            assert!(n < prompt.len());
        }
        Operation::Shift(at, keep, discard) => {
            if keep + discard <= board.cells(*at).len() && board.cells(*at).shift_refusal().is_none() {
                let mut expected = board.cells(*at).tokens().to_vec();
                expected.drain(*keep..keep + discard);
                board.shift(*at, Gap { keep: *keep, discard: *discard }).unwrap();
                assert_eq!(board.cells(*at).tokens(), expected);
            }
        }
        Operation::Fork(from, to) => {
            if from != to {
                board.fork(*from, *to).unwrap();
                assert_eq!(board.cells(*from).tokens(), board.cells(*to).tokens());
            }
        }
        Operation::Forget(at) => board.forget(*at).unwrap(),
        Operation::Checkpoint(at) => board.checkpoint(*at).unwrap(),
    }
    Vec::new()
}

proptest! {
    #[test]
    fn ledgers_hold_what_the_memory_holds(
        is_state in any::<bool>(),
        operations in proptest::collection::vec(operation(), 1..40),
    ) {
        let mut executor = FakeExecutor::new(3, LIMITS);
        executor.traits.is_state = is_state;
        executor.traits.can_shift = !is_state;
        executor.traits.has_partial_state = is_state;
        let mut board = Board::new(executor, SEQUENCES, 1 << 16).unwrap();
        for operation in &operations {
            let before: Vec<_> = (0..SEQUENCES).map(|at| board.cells(at).tokens().to_vec()).collect();
            let lost = apply(&mut board, operation);
            for at in 0..SEQUENCES {
                let sequence = SeqId::new(i32::try_from(at).unwrap());
                prop_assert_eq!(board.cells(at).tokens(), board.executor().tokens(sequence), "{:?}", operation);
            }
            // What is in memory and what was lost are the text that was to be in memory.
            if let Operation::Decode(parts, _) = operation {
                for (at, lost) in lost {
                    let part = parts.iter().find(|(it, _)| *it == at).map(|(_, part)| ids(part)).unwrap();
                    let whole = [board.cells(at).tokens(), &lost].concat();
                    prop_assert_eq!(whole, [before[at].clone(), part].concat());
                    prop_assert!(!lost.is_empty());
                }
            }
        }
    }
}
