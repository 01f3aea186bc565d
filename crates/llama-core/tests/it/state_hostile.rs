//! Tampered states: for any bytes the process survives and the context stays usable.
//!
//! Runs in child processes, so that an abort fails only one test.

use crate::going_on::{GENERATIVE, fresh, started};
use crate::greedy::{self, SEQ, load, params};
use llama_core::context::FlashAttention;
use llama_core::state::{StateError, StatePart};
use llama_core::{Batch, Context, ContextParams, Error, ErrorKind, Pos, SeqId, Token};
use test_models::Tiny;
use test_models::child::alone;

/// A seeded generator of numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// Returns a number that is often wrong for lengths, counts, positions and ids.
    fn number(&mut self) -> u32 {
        match self.below(8) {
            0 => 0,
            1 => u32::MAX,
            2 => i32::MAX.unsigned_abs(),
            3 => i32::MIN.unsigned_abs(),
            4 => u32::MAX - 1,
            5 => 1 << self.below(32),
            6 => u32::try_from(self.below(300)).unwrap(),
            _ => u32::try_from(self.next() >> 32).unwrap(),
        }
    }

    /// Damages bytes in one of the usual ways. Most changes are at the front, where the numbers are.
    fn damage(&mut self, bytes: &mut Vec<u8>, from: usize) {
        let whole = bytes.len() - from;
        let end = if self.below(3) == 0 { whole } else { whole.min(300) };
        let at = from + self.below(end);
        match self.below(8) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << self.below(8),
            2 => drop(bytes.drain(at..(at + 1 + self.below(16)).min(from + whole))),
            3 => drop(bytes.splice(at..at, vec![u8::try_from(self.below(256)).unwrap(); 4])),
            _ => {
                let at = (from + (at - from) / 4 * 4).min(bytes.len().saturating_sub(4));
                let number = self.number().to_ne_bytes();
                bytes[at..at + 4].copy_from_slice(&number);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Count {
    restored: usize,
    refused: usize,
    /// The number of errors that only llama.cpp found.
    refused_by_c: usize,
}

impl Count {
    fn add(&mut self, result: Result<(), Error>, context: &mut Context) {
        match result {
            Ok(()) => self.restored += 1,
            Err(error) => match error.kind() {
                ErrorKind::State(StateError::Refused { .. })
                | ErrorKind::StateFile { cause: StateError::Refused { .. }, .. } => self.refused_by_c += 1,
                ErrorKind::State(_) | ErrorKind::StateFile { .. } | ErrorKind::InvalidPosition { .. } => {
                    self.refused += 1;
                }
                _ => panic!("{error}"),
            },
        }
        use_it(context);
    }
}

/// Asserts that the memory has valid positions, and decodes batches, which may be refused.
fn use_it(context: &mut Context) {
    for seq_id in (0..i32::try_from(context.n_seq_max()).unwrap()).map(SeqId::new) {
        let first = context.memory().seq_pos_min(seq_id).unwrap();
        let last = context.memory().seq_pos_max(seq_id).unwrap();
        assert_eq!(first.is_some(), last.is_some());
        assert!(first <= last && last.is_none_or(|pos| (0..i32::MAX).contains(&pos.get())));
        let next = last.map_or(0, |pos| pos.get() + 1);
        let mut batch = Batch::new();
        batch.push(Token::new(5), Pos::new(next), &[seq_id], true).unwrap();
        match context.decode(&batch) {
            Ok(()) => assert!(!context.logits(0).unwrap().is_empty()),
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    ErrorKind::Decode(_)
                        | ErrorKind::InvalidPosition { .. }
                        | ErrorKind::Unsupported { operation: "decoding before encoding", .. }
                ),
                "{error}"
            ),
        }
        assert!(!context.is_poisoned());
    }
    context.state_data(&mut Vec::new()).unwrap();
}

fn shapes(tiny: Tiny) -> Vec<ContextParams> {
    let mut shapes = vec![
        params().n_ctx(768).n_seq_max(3).kv_unified(true),
        params().flash_attention(FlashAttention::Disabled),
    ];
    if tiny != Tiny::T5 {
        shapes.push(params().n_ctx(768).n_seq_max(3));
    }
    shapes
}

#[test]
fn damaged_session_files_do_no_harm() {
    alone(module_path!(), "damaged_session_files_do_no_harm", || {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        for tiny in GENERATIVE {
            let mut count = Count::default();
            let model = load(tiny);
            for params in shapes(tiny) {
                let (mut context, prompt) = started(&model, &params, 10);
                context.save_session(&path, &prompt).unwrap();
                let session = std::fs::read(&path).unwrap();
                context.save_seq_session(&path, SEQ, &prompt).unwrap();
                let sequence = std::fs::read(&path).unwrap();
                let mut context = fresh(&model, &params);
                for _ in 0..40 {
                    let mut bytes = session.clone();
                    random.damage(&mut bytes, 12 + 4 * prompt.len());
                    std::fs::write(&path, &bytes).unwrap();
                    let result = context.load_session(&path).map(drop);
                    count.add(result, &mut context);
                    let mut bytes = sequence.clone();
                    random.damage(&mut bytes, 12 + 4 * prompt.len());
                    std::fs::write(&path, &bytes).unwrap();
                    let result = context.load_seq_session(&path, SEQ).map(drop);
                    count.add(result, &mut context);
                    context.memory().clear(false).unwrap();
                }
            }
            assert!(count.restored > 0 && count.refused > 50, "{tiny}: {count:?}");
        }
    });
}

#[test]
fn damaged_states_in_memory_do_no_harm() {
    alone(module_path!(), "damaged_states_in_memory_do_no_harm", || {
        let mut random = Random(0xD1B5_4A32_D192_ED03);
        for tiny in [Tiny::Llama, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba] {
            let mut count = Count::default();
            let model = load(tiny);
            for params in shapes(tiny) {
                let (mut context, prompt) = started(&model, &params, 10);
                let parts = if context.has_partial_state() {
                    &[StatePart::All, StatePart::Partial][..]
                } else {
                    &[StatePart::All]
                };
                for &part in parts {
                    let mut state = Vec::new();
                    context.seq_state_data(SEQ, part, &mut state).unwrap();
                    let mut other = Context::new(&model, &params).unwrap();
                    for _ in 0..60 {
                        let mut bytes = state.clone();
                        (0..=random.below(3)).for_each(|_| {
                            if bytes.len() > 8 {
                                random.damage(&mut bytes, 0);
                            }
                        });
                        // Something to go back in.
                        other.memory().clear(false).unwrap();
                        greedy::decode(&mut other, &prompt, SEQ, 0);
                        let result = other.set_seq_state_data(SEQ, part, &bytes);
                        count.add(result, &mut other);
                    }
                }
            }
            assert!(count.restored > 0 && count.refused > 50, "{tiny}: {count:?}");
        }
    });
}

#[test]
fn bytes_out_of_nowhere_are_refused() {
    alone(module_path!(), "bytes_out_of_nowhere_are_refused", || {
        let mut random = Random(0x2545_F491_4F6C_DD1D);
        for tiny in Tiny::ALL.iter().copied() {
            let mut context =
                Context::new(&load(tiny), &params().n_ctx(512).n_seq_max(2).kv_unified(true)).unwrap();
            for round in 0..200 {
                let length = random.below(if round % 2 == 0 { 40 } else { 4000 });
                let bytes: Vec<u8> =
                    (0..length / 4 + 1).flat_map(|_| random.number().to_ne_bytes()).collect();
                let bytes = &bytes[..length];
                let error = context.set_state_data(bytes).unwrap_err();
                assert!(
                    matches!(error.kind(), ErrorKind::State(StateError::Corrupt { .. })),
                    "{tiny}: {error}"
                );
                for part in [StatePart::All, StatePart::Partial] {
                    let error = context.set_seq_state_data(SEQ, part, bytes).unwrap_err();
                    assert!(
                        matches!(
                            error.kind(),
                            ErrorKind::State(StateError::Corrupt { .. }) | ErrorKind::Unsupported { .. }
                        ),
                        "{tiny}: {error}"
                    );
                }
            }
            for id in [-1, 2, i32::MAX, i32::MIN] {
                let error = context.set_seq_state_data(SeqId::new(id), StatePart::All, &[]).unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::InvalidSeqId { .. }), "{tiny}: {error}");
                context.seq_state_size(SeqId::new(id), StatePart::All).unwrap_err();
                context.seq_state_data(SeqId::new(id), StatePart::Partial, &mut Vec::new()).unwrap_err();
                context.keep_seq_state(SeqId::new(id), StatePart::All).unwrap_err();
            }
        }
    });
}
