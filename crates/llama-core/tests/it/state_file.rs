//! State files: saved states are restored, and invalid files are refused at their head.

use std::path::{Path, PathBuf};

use crate::going_on::{Future, GENERATIVE, fresh, pos, started};
use crate::greedy::{SEQ, decode, load, params};
use llama_core::context::CacheType;
use llama_core::state::{Removed, StateError, StateInfo, StateKind, StatePart};
use llama_core::{Context, ContextParams, Error, ErrorKind, SeqId};
use tempfile::TempDir;
use test_models::Tiny;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    (folder, path)
}

fn source(error: &Error) -> &StateError {
    match error.kind() {
        ErrorKind::StateFile { cause, .. } => cause,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fresh_context_goes_on_from_a_file() {
    for tiny in GENERATIVE {
        let (folder, path) = folder();
        let model = load(tiny);
        let (mut context, prompt) = started(&model, &params(), 12);
        context.save_state(&path, &prompt).unwrap();
        let expected = Future::of(&mut context, SEQ, prompt.len());
        let mut other = fresh(&model, &params());
        assert_eq!(other.load_state(&path).unwrap(), prompt, "{tiny}");
        assert_eq!(Future::of(&mut other, SEQ, prompt.len()), expected, "{tiny}");
        // A file of this name is replaced, and nothing is left beside it.
        other.save_state(&path, &[]).unwrap();
        assert_eq!(fresh(&model, &params()).load_state(&path).unwrap(), []);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{tiny}");
    }
}

#[test]
fn a_sequence_goes_on_from_a_file_under_another_id() {
    for tiny in [Tiny::Llama, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba] {
        let (_folder, path) = folder();
        let model = load(tiny);
        let (mut context, prompt) = started(&model, &params(), 12);
        context.save_seq_state(&path, SEQ, StatePart::All, &prompt).unwrap();
        let expected = Future::of(&mut context, SEQ, prompt.len());
        // Another size and number of sequences, which share their buffer.
        let mut other = Context::new(&model, &params().n_ctx(512).n_seq_max(4).kv_unified(true)).unwrap();
        let id = SeqId::new(3);
        assert_eq!(other.load_seq_state(&path, id, StatePart::All).unwrap(), prompt, "{tiny}");
        Future::of(&mut other, id, prompt.len()).assert_close(&expected, tiny);
        if other.has_partial_state() {
            context.save_seq_state(&path, SEQ, StatePart::Partial, &[]).unwrap();
            let end = context.memory().seq_pos_max(SEQ).unwrap();
            let expected = Future::of(&mut context, SEQ, prompt.len() + 12);
            assert_eq!(context.load_seq_state(&path, SEQ, StatePart::Partial).unwrap(), []);
            assert_eq!(context.memory().seq_pos_max(SEQ).unwrap(), end, "{tiny}");
            Future::of(&mut context, SEQ, prompt.len() + 12).assert_close(&expected, tiny);
        }
    }
}

#[test]
fn a_file_says_what_it_is() {
    let (_folder, path) = folder();
    let (mut context, prompt) =
        started(&load(Tiny::Llama), &params().n_seq_max(2).type_k(CacheType::Q8_0), 5);
    context.save_state(&path, &prompt).unwrap();
    let info = StateInfo::read(&path).unwrap();
    assert_eq!((info.kind(), info.tokens()), (StateKind::All, &prompt[..]));
    assert_eq!(info.state_size(), context.state_size().unwrap() as u64);
    let facts: Vec<(&str, &str)> = info.facts().collect();
    assert_eq!(facts[0], ("llama.cpp version", llama_core::version().as_str()));
    assert_eq!(facts[1].0, "byte order");
    assert!(facts[2].1.starts_with("llama ") && facts[2].1.contains("F16 (fingerprint "), "{facts:?}");
    let shape = [
        ("n_ctx", "512"),
        ("n_seq_max", "2"),
        ("kv_unified", "false"),
        ("swa_full", "true"),
        ("type_k", "q8_0"),
        ("type_v", "f16"),
        ("rope_freq_base", "0"),
        ("rope_freq_scale", "0"),
    ];
    assert_eq!(facts[3..], shape);
    context.save_seq_state(&path, SEQ, StatePart::All, &[]).unwrap();
    assert_eq!(StateInfo::read(&path).unwrap().kind(), StateKind::Sequence);
}

/// The parts of a file, following the documented format.
struct Parts {
    kind: u32,
    facts: Vec<(String, String)>,
    rest: Vec<u8>,
    state: Vec<u8>,
}

impl Parts {
    fn of(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (head, state) = bytes.split_at(usize::try_from(number(&bytes[16..24])).unwrap());
        let mut at = 52;
        let mut text = || {
            let length = usize::try_from(number(&head[at..at + 2])).unwrap();
            at += 2 + length;
            String::from_utf8(head[at - length..at].to_vec()).unwrap()
        };
        let facts = (0..number(&head[48..52])).map(|_| (text(), text())).collect();
        let kind = u32::try_from(number(&head[12..16])).unwrap();
        Self { kind, facts, rest: head[at..].to_vec(), state: state.to_vec() }
    }

    /// Returns the file with correct checksums.
    fn bytes(&self) -> Vec<u8> {
        let mut head = b"\x93LCSTATE\x01\0\0\0".to_vec();
        head.extend(self.kind.to_le_bytes());
        head.extend([0; 16]);
        head.extend((self.state.len() as u64).to_le_bytes());
        head.extend(xxh3_64(&self.state).to_le_bytes());
        head.extend(u32::try_from(self.facts.len()).unwrap().to_le_bytes());
        for text in self.facts.iter().flat_map(|(name, value)| [name, value]) {
            head.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
            head.extend(text.as_bytes());
        }
        head.extend(&self.rest);
        let length = head.len() as u64;
        head[16..24].copy_from_slice(&length.to_le_bytes());
        seal(&mut head);
        [head, self.state.clone()].concat()
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Writes the checksum of a head into it.
fn seal(head: &mut [u8]) {
    let mut hash = Xxh3Default::new();
    hash.update(&head[..24]);
    hash.update(&head[32..]);
    head[24..32].copy_from_slice(&hash.digest().to_le_bytes());
}

#[test]
fn every_fact_has_to_match() {
    let (_folder, path) = folder();
    let (mut context, prompt) = started(&load(Tiny::Llama), &params().n_seq_max(2), 12);
    let expected = Future::of(&mut context.try_clone().unwrap(), SEQ, prompt.len());
    for (kind, names) in [(StateKind::All, 11), (StateKind::Sequence, 10)] {
        match kind {
            StateKind::All => context.save_state(&path, &prompt).unwrap(),
            _ => context.save_seq_state(&path, SEQ, StatePart::All, &prompt).unwrap(),
        }
        let parts = Parts::of(&path);
        assert_eq!(parts.bytes(), std::fs::read(&path).unwrap());
        let mut refused = 0;
        for index in 0..parts.facts.len() {
            let mut parts = Parts::of(&path);
            let (name, value) = parts.facts[index].clone();
            parts.facts[index].1 = "another".to_owned();
            let other = path.with_extension("other");
            std::fs::write(&other, parts.bytes()).unwrap();
            let result = match kind {
                StateKind::All => context.load_state(&other),
                _ => context.load_seq_state(&other, SEQ, StatePart::All),
            };
            let Err(error) = result else {
                assert_eq!((name.as_str(), kind), ("n_ctx", StateKind::Sequence));
                continue;
            };
            let text = error.to_string();
            let StateError::Mismatch { field, saved, expected, .. } = source(&error) else {
                panic!("{error}")
            };
            assert_eq!((*field, saved.as_str(), expected), (name.as_str(), "another", &value));
            assert!(text.ends_with(&format!("its {name} is another, but must be {value} here")), "{text}");
            refused += 1;
            // Left out, or of another name.
            parts.facts[index].0 = "what".to_owned();
            std::fs::write(&other, parts.bytes()).unwrap();
            let error = match kind {
                StateKind::All => context.load_state(&other).unwrap_err(),
                _ => context.load_seq_state(&other, SEQ, StatePart::All).unwrap_err(),
            };
            assert!(error.to_string().contains(&format!("its {name} is not given, but must be")), "{error}");
        }
        assert_eq!(refused, names, "{kind}");
    }
    assert_eq!(Future::of(&mut context, SEQ, prompt.len()), expected);
}

#[test]
fn contexts_of_another_shape_refuse_it() {
    let (_folder, path) = folder();
    let model = load(Tiny::Llama);
    let base = || params().n_ctx(512).n_seq_max(2);
    let (mut context, _) = started(&model, &base(), 12);
    context.save_state(&path, &[]).unwrap();
    let shapes: [(&str, &str, &str, ContextParams); 8] = [
        ("n_ctx", "512", "1024", base().n_ctx(1024)),
        ("n_seq_max", "2", "1", base().n_seq_max(1)),
        ("kv_unified", "false", "true", base().kv_unified(true)),
        ("swa_full", "true", "false", base().swa_full(false)),
        ("type_k", "f16", "q8_0", base().type_k(CacheType::Q8_0)),
        ("type_v", "f16", "f32", base().type_v(CacheType::F32)),
        ("rope_freq_base", "0", "1234.5", base().rope_freq_base(1234.5)),
        ("rope_freq_scale", "0", "0.25", base().rope_freq_scale(0.25)),
    ];
    for (name, was, is, params) in shapes {
        let error = Context::new(&model, &params).unwrap().load_state(&path).unwrap_err();
        let StateError::Mismatch { field, saved, expected, .. } = source(&error) else { panic!("{error}") };
        assert_eq!((*field, saved.as_str(), expected.as_str()), (name, was, is));
    }
    for tiny in [Tiny::LlamaQ8, Tiny::Qwen2, Tiny::Mamba, Tiny::Bert] {
        let error = Context::new(&load(tiny), &base()).unwrap().load_state(&path).unwrap_err();
        assert!(matches!(source(&error), StateError::Mismatch { field: "model", .. }), "{tiny}: {error}");
    }
    // One sequence out of many buffers does not go into one of one.
    context.save_seq_state(&path, SEQ, StatePart::All, &[]).unwrap();
    let mut other = Context::new(&model, &base().n_seq_max(3)).unwrap();
    let error = other.load_seq_state(&path, SEQ, StatePart::All).unwrap_err();
    assert!(matches!(source(&error), StateError::Mismatch { field: "n_seq_max", .. }), "{error}");
}

#[test]
fn files_of_another_kind_are_refused() {
    let (_folder, path) = folder();
    let (mut context, _) = started(&load(Tiny::Jamba), &params(), 12);
    let load = |context: &mut Context, kind| match kind {
        StateKind::All => context.load_state(&path),
        StateKind::Sequence => context.load_seq_state(&path, SEQ, StatePart::All),
        _ => context.load_seq_state(&path, SEQ, StatePart::Partial),
    };
    let kinds = [StateKind::All, StateKind::Sequence, StateKind::PartialSequence];
    for saved in kinds {
        match saved {
            StateKind::All => context.save_state(&path, &[]).unwrap(),
            StateKind::Sequence => context.save_seq_state(&path, SEQ, StatePart::All, &[]).unwrap(),
            _ => context.save_seq_state(&path, SEQ, StatePart::Partial, &[]).unwrap(),
        }
        for wanted in kinds {
            let result = load(&mut context, wanted);
            if wanted == saved {
                assert_eq!(result.unwrap(), []);
                continue;
            }
            let text = result.unwrap_err().to_string();
            assert!(text.ends_with(&format!("its kind is {saved}, but must be {wanted} here")), "{text}");
        }
    }
}

#[test]
fn what_is_no_state_file_is_refused() {
    let (folder, path) = folder();
    let model = load(Tiny::Llama);
    let (mut context, prompt) = started(&model, &params(), 12);
    let mut load = |path: &Path| context.load_state(path).unwrap_err();
    assert!(matches!(source(&load(&path)), StateError::Io { operation: "open", .. }));
    let error = load(folder.path());
    assert!(error.to_string().ends_with("cannot read it: it is not a regular file"), "{error}");
    std::fs::write(&path, "").unwrap();
    assert!(matches!(source(&load(&path)), StateError::NotAState { .. }));
    std::fs::write(&path, "once upon a time there was a file").unwrap();
    let error = load(&path);
    assert_eq!(
        error.to_string(),
        format!(
            "the state file {} was not written, read or restored: it begins with \"once upo\", so it is not a state file of \
             this crate",
            path.display()
        )
    );
    assert!(matches!(source(&load(&Tiny::Llama.path())), StateError::NotAState { .. }));
    std::fs::write(&path, b"\x93LCST").unwrap();
    assert!(matches!(source(&load(&path)), StateError::Truncated { expected: 48, found: 5, .. }));
    context.save_state(&path, &prompt).unwrap();
    let good = std::fs::read(&path).unwrap();
    let change = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        let head = usize::try_from(number(&bytes[16..24])).unwrap();
        if head <= bytes.len() && head >= 48 {
            seal(&mut bytes[..head]);
        }
        std::fs::write(&path, bytes).unwrap();
        fresh(&model, &params()).load_state(&path).unwrap_err()
    };
    let error = change(&|bytes| bytes[8] = 2);
    assert!(error.to_string().ends_with(
        "version 2 of this crate's state files is not supported, but must be 1: save the state again"
    ));
    assert!(matches!(source(&change(&|bytes| bytes[12] = 9)), StateError::Corrupt { offset: 12, .. }));
    let error = change(&|bytes| bytes[16..24].copy_from_slice(&u64::MAX.to_le_bytes()));
    assert!(matches!(source(&error), StateError::Truncated { expected: u64::MAX, .. }), "{error}");
    assert!(matches!(
        source(&change(&|bytes| bytes[16..24].fill(0))),
        StateError::Corrupt { offset: 16, .. }
    ));
    let error = change(&|bytes| bytes[32..40].copy_from_slice(&u64::MAX.to_le_bytes()));
    assert!(matches!(source(&error), StateError::Truncated { expected: u64::MAX, .. }), "{error}");
    let error = change(&|bytes| bytes[48..52].fill(0xFF));
    assert!(matches!(source(&error), StateError::Corrupt { .. }), "{error}");
    let error = change(&|bytes| bytes.push(0));
    assert!(error.to_string().contains("the state ends, but 1 more bytes follow"), "{error}");
    // The tokens: more than there are bytes.
    let at = usize::try_from(number(&good[16..24])).unwrap() - 4 * prompt.len() - 8;
    let error = change(&|bytes| bytes[at..at + 8].copy_from_slice(&(u64::MAX / 4).to_le_bytes()));
    assert!(matches!(source(&error), StateError::Corrupt { .. }), "{error}");
    let error = change(&|bytes| bytes[at] -= 1);
    assert!(error.to_string().contains("unexpected bytes at its end"), "{error}");
}

/// A seeded generator of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}

#[test]
fn damaged_files_are_refused() {
    let (_folder, path) = folder();
    for tiny in [Tiny::Llama, Tiny::Jamba] {
        let (mut context, prompt) = started(&load(tiny), &params(), 12);
        context.save_state(&path, &prompt).unwrap();
        let expected = Future::of(&mut context.try_clone().unwrap(), SEQ, prompt.len());
        let good = std::fs::read(&path).unwrap();
        let mut random = Random(0x1234_5678_9ABC_DEF1);
        for round in 0..200 {
            let mut bytes = good.clone();
            match round % 3 {
                0 => bytes.truncate(random.below(good.len())),
                // The head is small: it gets as many flips as all the rest.
                1 => bytes[random.below(512)] ^= 1 << random.below(8),
                _ => bytes[random.below(good.len())] ^= 1 << random.below(8),
            }
            std::fs::write(&path, &bytes).unwrap();
            let error = context.load_state(&path).unwrap_err();
            let found = source(&error);
            assert!(
                matches!(
                    found,
                    StateError::Truncated { .. }
                        | StateError::Checksum { .. }
                        | StateError::NotAState { .. }
                        | StateError::UnsupportedVersion { .. }
                        | StateError::Corrupt { offset: 16, .. }
                ),
                "{round}: {error}"
            );
        }
        // Nothing of it has reached the memory.
        assert_eq!(Future::of(&mut context, SEQ, prompt.len()), expected, "{tiny}");
        std::fs::write(&path, &good).unwrap();
        assert_eq!(context.load_state(&path).unwrap(), prompt);
    }
}

#[test]
fn a_file_that_cannot_be_written_is_not_there() {
    let (folder, _) = folder();
    let (mut context, prompt) = started(&load(Tiny::Llama), &params(), 12);
    let path = folder.path().join("no such folder").join("state");
    let error = context.save_state(&path, &prompt).unwrap_err();
    assert!(matches!(source(&error), StateError::Io { operation: "write", .. }), "{error}");
    let error = context.save_session(&path, &prompt).unwrap_err();
    assert!(matches!(source(&error), StateError::Io { operation: "write", .. }), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn session_files_are_checked_before_llama_cpp_reads_them() {
    let (_folder, path) = folder();
    let model = load(Tiny::Gemma3);
    let (mut context, prompt) = started(&model, &params(), 12);
    context.save_session(&path, &prompt).unwrap();
    let expected = Future::of(&mut context.try_clone().unwrap(), SEQ, prompt.len());
    let good = std::fs::read(&path).unwrap();
    let mut refuse = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        context.load_session(&path).unwrap_err()
    };
    let changed = |at: usize, value: u32| {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        bytes
    };
    assert!(matches!(source(&refuse(b"")), StateError::NotAState { .. }));
    assert!(matches!(source(&refuse(&changed(0, 7))), StateError::NotAState { .. }));
    assert!(matches!(source(&refuse(&good[..6])), StateError::Truncated { expected: 12, found: 6, .. }));
    assert!(matches!(
        source(&refuse(&changed(4, 10))),
        StateError::UnsupportedVersion { found: 10, supported: 11, .. }
    ));
    let error = refuse(&changed(8, u32::MAX));
    assert!(matches!(source(&error), StateError::Truncated { expected: 17_179_869_192, .. }), "{error}");
    // Where the state begins: the length of a name, which llama.cpp would allocate.
    let state = 12 + 4 * prompt.len();
    let error = refuse(&changed(state, u32::MAX));
    assert!(matches!(source(&error), StateError::Corrupt { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("at byte {state}, expected the name of the architecture, gemma3"))
    );
    let memory = state + 4 + "gemma3".len();
    for (at, value, reason) in [
        (0, 3, "the cache has 3 buffers, but that of the context has 1: see kv_unified and n_seq_max"),
        (4, 257, "there are 257 tokens, but the context has room for 256"),
        (8, (-3_i32).cast_unsigned(), "the position of a token is -3, but must be in 0..2147483647"),
        (8, i32::MAX.cast_unsigned(), "the position of a token is 2147483647, but must be in 0..2147483647"),
        (12, 0, "a token is in 0 sequences, but must be in 1 to 1"),
        (12, 1 << 30, "a token is in 1073741824 sequences, but must be in 1 to 1"),
        (16, 1, "sequence 1 is out of range (0..1), out of order, or in another sequence's buffer"),
    ] {
        let error = refuse(&changed(memory + at, value));
        let StateError::Corrupt { offset, reason: found, .. } = source(&error) else { panic!("{error}") };
        assert_eq!((*offset, found.as_str()), ((memory + at) as u64, reason));
    }
    let error = refuse(&good[..good.len() - 1]);
    assert!(matches!(source(&error), StateError::Corrupt { .. }), "{error}");
    assert!(
        refuse(&[&good[..], &[0]].concat()).to_string().contains("the state ends, but more bytes follow")
    );
    assert_eq!(Future::of(&mut context, SEQ, prompt.len()), expected);
    // What only llama.cpp knows, it refuses itself: here the type of the keys.
    std::fs::write(&path, &good).unwrap();
    let mut other = Context::new(&model, &params().type_k(CacheType::F32)).unwrap();
    decode(&mut other, &prompt, SEQ, 0);
    let error = other.load_session(&path).unwrap_err();
    assert!(matches!(source(&error), StateError::Refused { removed: Removed::All, .. }), "{error}");
    assert!(error.to_string().contains("the context's memory is empty now"), "{error}");
    assert!(error.log().iter().any(|line| line.contains("mismatched key type")), "{error}");
    assert_eq!(other.memory().seq_pos_max(SEQ).unwrap(), None);
    decode(&mut other, &prompt, SEQ, 0);
    // A session is no sequence's file.
    let error = other.load_seq_session(&path, SEQ).unwrap_err();
    assert!(matches!(source(&error), StateError::NotAState { .. }), "{error}");
    other.save_seq_session(&path, SEQ, &prompt).unwrap();
    assert_eq!(other.load_seq_session(&path, SEQ).unwrap(), prompt);
    assert_eq!(other.memory().seq_pos_max(SEQ).unwrap(), Some(pos(prompt.len() - 1)));
    assert!(matches!(source(&other.load_session(&path).unwrap_err()), StateError::NotAState { .. }));
    let error = other.load_seq_session(&path, SeqId::new(1)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidSeqId { seq_id: 1, n_seq_max: 1, .. }), "{error}");
}
