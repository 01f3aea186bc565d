//! No input makes the reader panic, or allocate more than a small multiple of the input.

use std::fs;

use llama_gguf::{Gguf, TensorType, Writer, validate_structure};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

fn valid() -> Vec<u8> {
    let mut writer = Writer::new();
    writer
        .set("general.architecture", "llama")
        .set("general.alignment", 64u32)
        .set("tokenizer.ggml.tokens", vec!["<s>", "</s>", "a", "b"])
        .set("tokenizer.ggml.scores", vec![0f32, -1.0, -2.0, -3.0])
        .set("flags", vec![true, false])
        .set("wide", vec![u64::MAX, 1])
        .set("llama.block_count", 2u32);
    writer.tensor("token_embd.weight", TensorType::F16, &[8, 4], vec![0; 64]).unwrap();
    writer.tensor("blk.0.weight", TensorType::Q8_0, &[32, 2], vec![0; 68]).unwrap();
    let mut bytes = Vec::new();
    writer.write_to(&mut bytes).unwrap();
    bytes
}

/// Generates numbers that break readers.
fn nasty() -> impl Strategy<Value = u64> {
    const EDGES: [u64; 10] =
        [0, 1, 1 << 16, 1 << 30, (1 << 30) + 1, 1 << 32, 1 << 62, (1 << 63) - 1, 1 << 63, u64::MAX];
    prop_oneof![proptest::sample::select(&EDGES[..]).boxed(), any::<u64>().boxed(), (0u64..16).boxed()]
}

/// Parses as a stream, as bytes and as a file, and asserts that all three agree whether the head is valid.
fn parse(bytes: &[u8]) {
    let streamed = Gguf::read(bytes);
    let sized = Gguf::from_bytes(bytes);
    assert_eq!(streamed.is_ok(), sized.is_ok(), "{streamed:?} {sized:?}");
    if let Ok(gguf) = sized {
        for info in gguf.tensors() {
            let _ = gguf.tensor_data(bytes, &info.name().to_str_lossy());
        }
    } else if let Err(error) = sized {
        assert!(error.to_string().len() < 1000);
        assert!(error.offset().is_some_and(|at| at <= bytes.len() as u64), "{error}");
    }
    assert_peak_memory();
}

/// Asserts on the peak memory of the whole process; the inputs are a few hundred bytes.
fn assert_peak_memory() {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return };
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel reports it");
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().expect("it is a number");
    assert!(kilobytes < 100_000, "peak memory is {kilobytes} kB");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..400)) {
        parse(&bytes);
    }

    #[test]
    fn random_bytes_after_a_good_header(bytes in vec(0u8..16, 0..400), tensors in nasty(), pairs in nasty()) {
        let head = [b"GGUF\x03\0\0\0".as_slice(), &tensors.to_le_bytes(), &pairs.to_le_bytes(), &bytes];
        parse(&head.concat());
    }

    #[test]
    fn flipped_bytes(flips in vec((any::<Index>(), any::<u8>()), 1..6)) {
        let mut bytes = valid();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        parse(&bytes);
    }

    #[test]
    fn overwritten_lengths(at in any::<Index>(), value in nasty()) {
        let mut bytes = valid();
        let at = at.index(bytes.len() - 8);
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        parse(&bytes);
    }

    #[test]
    fn truncations_and_repetitions(cut in any::<Index>(), from in any::<Index>()) {
        let bytes = valid();
        let (head, tail) = (&bytes[..cut.index(bytes.len())], &bytes[from.index(bytes.len())..]);
        parse(head);
        parse(&[head, tail].concat());
    }
}

#[test]
fn the_starting_point_of_the_mutations_is_valid() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("valid.gguf");
    fs::write(&path, valid()).unwrap();
    assert_eq!(validate_structure(&path).unwrap().tensors().len(), 2);
}
