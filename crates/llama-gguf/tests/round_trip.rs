//! Written files are read back unchanged, and failed writes leave no files behind.

use std::fs;
use std::io::Cursor;

use llama_gguf::{Array, Error, Flaw, Gguf, Metadata, TensorType, Text, Value, Writer, validate_structure};
use proptest::collection::{hash_map, hash_set, vec};
use proptest::prelude::*;
use tempfile::TempDir;

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![".{0,12}".prop_map(Text::from), vec(any::<u8>(), 0..12).prop_map(Text::from)]
}

fn array() -> impl Strategy<Value = Array> {
    prop_oneof![
        vec(any::<u8>(), 0..9).prop_map(Array::U8),
        vec(any::<i8>(), 0..9).prop_map(Array::I8),
        vec(any::<u16>(), 0..9).prop_map(Array::U16),
        vec(any::<i16>(), 0..9).prop_map(Array::I16),
        vec(any::<u32>(), 0..9).prop_map(Array::U32),
        vec(any::<i32>(), 0..9).prop_map(Array::I32),
        vec(any::<f32>(), 0..9).prop_map(Array::F32),
        vec(any::<bool>(), 0..9).prop_map(Array::Bool),
        vec(text(), 0..9).prop_map(Array::String),
        vec(any::<u64>(), 0..9).prop_map(Array::U64),
        vec(any::<i64>(), 0..9).prop_map(Array::I64),
        vec(any::<f64>(), 0..9).prop_map(Array::F64),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        any::<f32>().prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        text().prop_map(Value::String),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_map(Value::F64),
        array().prop_map(Value::Array),
    ]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    hash_map("[a-z.]{1,20}", value(), 0..8).prop_map(|pairs| {
        let mut metadata = Metadata::new();
        for (key, value) in pairs {
            metadata.set(key, value);
        }
        metadata
    })
}

type Tensor = (String, TensorType, Vec<u64>, Vec<u8>);

fn tensors() -> impl Strategy<Value = Vec<Tensor>> {
    let shape = vec(0u64..4, 0..=4);
    let seed = any::<u8>();
    let one = (proptest::sample::select(TensorType::ALL), shape, seed);
    let names = hash_set("[a-z.]{0,20}", 0..6);
    (names, vec(one, 6)).prop_map(|(names, tensors)| {
        let tensors = names.into_iter().zip(tensors);
        tensors
            .map(|(name, (ty, mut shape, seed))| {
                match shape.first_mut() {
                    Some(row) => *row *= ty.block_size(),
                    None => shape.push(ty.block_size()),
                }
                let blocks = shape.iter().product::<u64>() / ty.block_size();
                let bytes = usize::try_from(blocks * ty.block_bytes()).unwrap();
                (name, ty, shape, vec![seed; bytes])
            })
            .collect()
    })
}

fn write(metadata: &Metadata, tensors: &[Tensor]) -> Vec<u8> {
    let mut writer = Writer::new();
    *writer.metadata_mut() = metadata.clone();
    for (number, (name, ty, shape, data)) in tensors.iter().enumerate() {
        if number % 2 == 0 {
            writer.tensor(name.as_str(), *ty, shape, data).unwrap();
        } else {
            writer
                .tensor_with(name.as_str(), *ty, shape, |out| {
                    data.chunks(7).try_for_each(|chunk| out.write_all(chunk))
                })
                .unwrap();
        }
    }
    let mut bytes = Vec::new();
    writer.write_to(&mut bytes).unwrap();
    bytes
}

/// Formats with `Debug`, because the bits of a NaN must survive and NaN is not equal to itself.
fn shown(metadata: &Metadata) -> String {
    metadata.iter().map(|(key, value)| format!("{key:?}={value:?};")).collect()
}

proptest! {
    #[test]
    fn written_is_read(mut metadata in metadata(), tensors in tensors(), alignment in 0u32..9) {
        if alignment > 0 {
            metadata.set("general.alignment", 1u32 << alignment);
        }
        let bytes = write(&metadata, &tensors);
        let gguf = Gguf::from_bytes(&bytes).unwrap();
        prop_assert_eq!(shown(gguf.metadata()), shown(&metadata));
        prop_assert_eq!(gguf.tensors().len(), tensors.len());
        for (name, ty, shape, data) in &tensors {
            let info = gguf.tensor(name).unwrap();
            prop_assert_eq!((info.tensor_type(), info.shape()), (*ty, shape.as_slice()));
            prop_assert_eq!(gguf.tensor_range(info).start % u64::from(gguf.alignment()), 0);
            prop_assert_eq!(gguf.tensor_data(&bytes, name).unwrap(), data.as_slice());
            prop_assert_eq!(&gguf.read_tensor(&mut Cursor::new(&bytes), name).unwrap(), data);
        }
        if !tensors.is_empty() {
            prop_assert_eq!(gguf.data_offset() + gguf.data_bytes(), bytes.len() as u64);
        }
        let streamed = Gguf::read(bytes.as_slice()).unwrap();
        prop_assert_eq!(streamed.tensors(), gguf.tensors());
        prop_assert_eq!(write(streamed.metadata(), &tensors), bytes);
    }
}

#[test]
fn a_file_is_replaced_only_by_a_whole_one() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    let mut good = Writer::new();
    good.set("k", "first");
    good.write_file(&path).unwrap();

    let mut failing = Writer::new();
    failing.set("k", "second");
    failing.tensor_with("w", TensorType::F32, &[4], |_| Err(std::io::Error::other("no data"))).unwrap();
    let error = failing.write_file(&path).unwrap_err();
    assert!(error.to_string().ends_with("model.gguf: cannot write: no data"), "{error}");

    let gguf = validate_structure(&path).unwrap();
    assert_eq!(gguf.metadata().get::<&str>("k").unwrap(), "first");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the temporary file is gone");
    assert!(Writer::new().write_file(folder.path().join("none/model.gguf")).is_err());
}

#[test]
fn data_of_the_wrong_length_is_refused() {
    let mut writer = Writer::new();
    let error = writer.tensor("w", TensorType::F32, &[4], &[0u8; 15][..]).unwrap_err();
    assert!(
        error.to_string().ends_with("the data of tensor \"w\" is 15 bytes, but its shape and type take 16")
    );
    for length in [15usize, 17] {
        let mut writer = Writer::new();
        writer.tensor_with("w", TensorType::F32, &[4], move |out| out.write_all(&vec![0; length])).unwrap();
        let error = writer.write_to(std::io::sink()).unwrap_err();
        let Error::Unwritable { flaw: Flaw::DataLength { expected: 16, found, .. } } = error else {
            panic!("{error}")
        };
        assert_eq!(found, length as u64);
    }
}

#[test]
fn what_no_reader_accepts_is_not_written() {
    let mut writer = Writer::new();
    writer.tensor("w", TensorType::F32, &[1], &[0u8; 4][..]).unwrap();
    assert!(writer.tensor("w", TensorType::F32, &[1], &[0u8; 4][..]).is_err());
    assert!(writer.tensor("n".repeat(64), TensorType::F32, &[1], &[0u8; 4][..]).is_err());
    assert!(writer.tensor("v", TensorType::Q4_0, &[31], &[][..]).is_err());
    writer.set("general.alignment", 24u32);
    assert!(writer.write_to(std::io::sink()).is_err());
}

#[test]
fn asking_for_a_tensor_that_is_not_there_is_an_error() {
    let bytes = write(&Metadata::new(), &[("w".into(), TensorType::F32, vec![2], vec![1; 8])]);
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    assert!(matches!(gguf.tensor_data(&bytes, "x"), Err(Error::MissingTensor { .. })));
    let short = &bytes[..usize::try_from(gguf.data_offset()).unwrap() + 7];
    assert!(matches!(gguf.tensor_data(short, "w"), Err(Error::TruncatedData { .. })));
    assert!(matches!(gguf.read_tensor(&mut Cursor::new(short), "w"), Err(Error::TruncatedData { .. })));
}
