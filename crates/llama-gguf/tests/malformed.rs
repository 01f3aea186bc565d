//! Every malformed file is refused, with the byte and the reason.

use std::fs;
use std::path::PathBuf;

use llama_gguf::{Error, Flaw, Gguf, TensorType, Writer, validate_file, validate_structure};
use tempfile::TempDir;

/// A file built byte by byte, valid or not.
#[derive(Clone, Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn header(version: u32, tensors: u64, pairs: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(version).u64(tensors).u64(pairs)
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(self, text: &str) -> Self {
        let mut raw = self.u64(text.len() as u64);
        raw.0.extend(text.as_bytes());
        raw
    }

    fn architecture(self) -> Self {
        self.text("general.architecture").u32(8).text("llama")
    }

    /// Appends a tensor of the table.
    fn tensor(self, name: &str, shape: &[u64], ty: u32, offset: u64) -> Self {
        let head = self.text(name).u32(u32::try_from(shape.len()).unwrap());
        shape.iter().fold(head, |raw, &n| raw.u64(n)).u32(ty).u64(offset)
    }

    fn data(mut self, bytes: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(32) + bytes, 0);
        self
    }

    /// Validates the file. It is deleted with its folder; only the result counts.
    fn check(self) -> Result<Gguf, Error> {
        let folder = TempDir::new().unwrap();
        let path = write(&folder, &self.0);
        validate_file(path)
    }

    fn flaw(self) -> (u64, Flaw) {
        let error = self.check().unwrap_err();
        match error.without_path() {
            Error::Corrupt { offset, flaw } => (*offset, flaw.clone()),
            other => panic!("expected a corrupt file, got {other}"),
        }
    }
}

fn write(folder: &TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("model.gguf");
    fs::write(&path, bytes).unwrap();
    path
}

/// The offset after one pair: 24 + 8 + 20 + 4 + 8 + 5.
const AFTER_ARCHITECTURE: u64 = 69;

fn with_tensors(count: u64) -> Raw {
    Raw::header(3, count, 1).architecture()
}

#[test]
fn the_smallest_good_files_are_accepted() {
    assert!(Raw::header(3, 0, 1).architecture().check().is_ok());
    assert!(Raw::header(2, 0, 1).architecture().check().is_ok());
    let gguf = with_tensors(1).tensor("w", &[4], 0, 0).data(16).check().unwrap();
    assert_eq!(gguf.tensor("w").unwrap().bytes(), 16);
}

#[test]
fn paths_that_are_no_files_are_refused() {
    let folder = TempDir::new().unwrap();
    let missing = validate_file(folder.path().join("none.gguf")).unwrap_err();
    assert!(matches!(missing.without_path(), Error::NotFound));
    assert!(missing.to_string().ends_with("none.gguf: no such file; check the path"), "{missing}");
    assert!(matches!(validate_file(folder.path()).unwrap_err().without_path(), Error::Directory));
    #[cfg(unix)]
    assert!(matches!(validate_file("/dev/null").unwrap_err().without_path(), Error::NotRegular));
}

#[test]
fn files_of_other_kinds_are_named() {
    let hint = |bytes: &[u8]| Raw(bytes.to_vec()).check().unwrap_err().to_string();
    assert!(hint(b"").contains("the file is empty"));
    assert!(
        hint(b"hello, world\n")
            .contains("\"hello, world\\n\" instead of \"GGUF\"; it looks like a text file")
    );
    assert!(hint(b"hi").contains("text file"));
    assert!(hint(b"version https://git-lfs.github.com/spec/v1\n").contains("git lfs pull"));
    assert!(hint(b"<!DOCTYPE html>").contains("web page"));
    assert!(hint(b"PK\x03\x04\0\0").contains("PyTorch"));
    assert!(hint(b"\x10\0\0\0\0\0\0\0{\"a\":0}").contains("safetensors"));
    assert!(hint(b"tjgg\x01\0\0\0").contains("before GGUF"));
    assert!(hint(b"\x7fELF\x02").contains("right file"));
}

#[test]
fn versions_of_another_time_or_endianness_are_refused() {
    for version in [0, 1, 4, 1000] {
        let error = Raw::header(version, 0, 0).check().unwrap_err();
        assert!(matches!(error.without_path(), Error::UnsupportedVersion { version: v } if *v == version));
        assert_eq!(error.offset(), Some(4));
    }
    let error = Raw::header(3u32.swap_bytes(), 0, 0).check().unwrap_err();
    assert!(matches!(error.without_path(), Error::BigEndian { version: 0x0300_0000 }));
}

#[test]
fn every_prefix_of_a_good_file_is_truncated() {
    let mut writer = Writer::new();
    writer.set("general.architecture", "llama").set("tokens", vec!["a", "bc"]).set("ids", vec![1u16, 2, 3]);
    writer.tensor("w", TensorType::F32, &[4, 2], vec![0; 32]).unwrap();
    writer.tensor("v", TensorType::Q8_0, &[32], vec![0; 34]).unwrap();
    let mut bytes = Vec::new();
    writer.write_to(&mut bytes).unwrap();
    let whole = bytes.len() - (64 - 34);
    for length in 1..whole {
        let error = Raw(bytes[..length].to_vec()).check().unwrap_err();
        let at = error.offset().unwrap();
        match error.without_path() {
            Error::Truncated { needed, available, .. } => {
                assert!(available < needed && at + available == length as u64, "{length}: {error}");
            }
            Error::TruncatedData { end, length: found, .. } => {
                assert!(*found == length as u64 && found < end, "{length}: {error}");
            }
            other => panic!("{length}: {other}"),
        }
    }
    assert!(Raw(bytes[..whole].to_vec()).check().is_ok(), "llama.cpp does not need the last padding");
    assert!(Raw([bytes.as_slice(), b"more"].concat()).check().is_ok(), "nor does it mind what follows");
}

#[test]
fn lengths_that_lie_are_refused_without_believing_them() {
    let huge = u64::MAX / 2;
    let truncated = |raw: Raw| matches!(raw.check().unwrap_err().without_path(), Error::Truncated { .. });
    assert!(truncated(Raw::header(3, 0, huge)));
    assert!(truncated(Raw::header(3, huge, 0)));
    assert!(truncated(Raw::header(3, 0, 1).u64(1 << 29)));
    assert!(truncated(Raw::header(3, 0, 1).text("k").u32(8).u64(1 << 30)));
    assert!(truncated(Raw::header(3, 0, 1).text("k").u32(9).u32(8).u64(1 << 30)));
    assert!(truncated(Raw::header(3, 0, 1).text("k").u32(9).u32(10).u64(1 << 30)));

    let (offset, flaw) = Raw::header(3, 0, 1).u64(u64::MAX).flaw();
    assert!(matches!((offset, flaw), (24, Flaw::StringLength { length: u64::MAX, .. })));
    let (offset, flaw) = Raw::header(3, 0, 1).text("k").u32(9).u32(0).u64(u64::MAX).flaw();
    assert!(matches!((offset, flaw), (37, Flaw::ArrayLength { length: u64::MAX, .. })));
    assert!(matches!(Raw::header(3, u64::MAX, 0).flaw(), (8, Flaw::Count { what: "tensors", .. })));
    assert!(matches!(Raw::header(3, 0, u64::MAX).flaw(), (16, Flaw::Count { what: "metadata keys", .. })));
}

#[test]
fn bad_metadata_is_refused() {
    let duplicate = Raw::header(3, 0, 2).architecture().architecture().flaw();
    assert_eq!(duplicate, (AFTER_ARCHITECTURE, Flaw::DuplicateKey { key: "general.architecture".into() }));
    assert_eq!(Raw::header(3, 0, 1).text("").u32(0).flaw(), (24, Flaw::EmptyKey { index: 0 }));
    let unknown = Raw::header(3, 0, 1).text("k").u32(13).flaw();
    assert_eq!(unknown, (33, Flaw::ValueType { key: "k".into(), id: 13 }));
    let nested = Raw::header(3, 0, 1).text("k").u32(9).u32(9).u64(0).flaw();
    assert_eq!(nested, (37, Flaw::NestedArray { key: "k".into() }));
    let unknown_element = Raw::header(3, 0, 1).text("k").u32(9).u32(99).u64(0).flaw();
    assert_eq!(unknown_element, (37, Flaw::ValueType { key: "k".into(), id: 99 }));
}

#[test]
fn bad_alignment_is_refused() {
    let alignment = |ty: u32| Raw::header(3, 0, 2).architecture().text("general.alignment").u32(ty);
    for value in [0, 3, 33, u32::MAX] {
        let (offset, flaw) = alignment(4).u32(value).flaw();
        assert_eq!((offset, flaw), (AFTER_ARCHITECTURE, Flaw::Alignment { alignment: value }));
    }
    let (_, flaw) = alignment(10).u64(32).flaw();
    assert_eq!(flaw, Flaw::AlignmentType { found: "u64".into() });
    assert_eq!(alignment(4).u32(1).check().unwrap().alignment(), 1);
}

#[test]
fn bad_tensors_are_refused() {
    let flaw = |name: &str, shape: &[u64], ty: u32, offset: u64| {
        let (at, flaw) = with_tensors(1).tensor(name, shape, ty, offset).data(1024).flaw();
        assert_eq!(at, AFTER_ARCHITECTURE);
        flaw
    };
    let name = || "w".to_owned();
    assert_eq!(flaw("w", &[1; 5], 0, 0), Flaw::Dimensions { name: name(), count: 5 });
    let shape = vec![1 << 40, 1 << 40];
    assert_eq!(flaw("w", &shape, 0, 0), Flaw::ShapeOverflow { name: name(), shape });
    assert!(matches!(flaw("w", &[u64::MAX], 0, 0), Flaw::ShapeOverflow { .. }));
    assert_eq!(flaw("w", &[4], 44, 0), Flaw::TensorType { name: name(), id: 44 });
    assert_eq!(flaw("w", &[32], 4, 0), Flaw::TensorType { name: name(), id: 4 });
    assert_eq!(flaw("w", &[32], u32::MAX, 0), Flaw::TensorType { name: name(), id: u32::MAX });
    assert_eq!(flaw("w", &[33], 8, 0), Flaw::Row { name: name(), row: 33, tensor_type: TensorType::Q8_0 });
    let long = "n".repeat(64);
    assert_eq!(flaw(&long, &[4], 0, 0), Flaw::NameLength { name: long, length: 64 });
    assert_eq!(flaw("w", &[4], 0, 32), Flaw::Offset { name: name(), offset: 32, expected: 0, alignment: 32 });
    assert!(matches!(flaw("w", &[(1 << 63) - 1], 1, 0), Flaw::DataOverflow { .. }));
}

#[test]
fn tensors_that_contradict_each_other_are_refused() {
    let two = |name: &str, offset| {
        let file = with_tensors(2).tensor("w", &[16], 0, 0).tensor(name, &[4], 0, offset).data(80);
        file.check()
    };
    assert!(two("v", 64).is_ok());
    let message = |offset| two("v", offset).unwrap_err().to_string();
    assert!(message(32).contains("overlaps"), "{}", message(32));
    assert!(message(96).contains("leaves a gap"), "{}", message(96));
    assert!(message(65).contains("multiple of the alignment 32"), "{}", message(65));
    assert!(two("w", 64).unwrap_err().to_string().contains("tensor \"w\" appears twice"));
}

#[test]
fn a_tensor_beyond_the_end_is_truncated_data() {
    let error = with_tensors(1).tensor("w", &[1 << 40], 0, 0).data(64).check().unwrap_err();
    assert!(matches!(error.without_path(), Error::TruncatedData { offset: 128, length: 192, .. }), "{error}");
    assert!(error.to_string().contains("tensor \"w\" takes bytes 128 to 4398046511232"), "{error}");
}

#[test]
fn the_architecture_is_needed_except_in_later_parts() {
    let missing = Raw::header(3, 0, 0).check().unwrap_err();
    assert!(missing.to_string().ends_with("metadata key \"general.architecture\" is missing"));
    let wrong = Raw::header(3, 0, 1).text("general.architecture").u32(4).u32(1).check().unwrap_err();
    assert!(wrong.to_string().ends_with("is of type u32, but must be str"), "{wrong}");

    let part = |number: u16| {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("part.gguf");
        let mut writer = Writer::new();
        writer.set("split.no", number).set("split.count", 2u16).set("split.tensors.count", 0i32);
        writer.write_file(&path).unwrap();
        assert!(validate_structure(&path).is_ok());
        validate_file(&path)
    };
    assert!(part(0).is_err());
    assert!(part(1).is_ok());
}
