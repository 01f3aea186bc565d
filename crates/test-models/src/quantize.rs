//! Encodes floats as tensors store them.

use half::f16;
use llama_gguf::TensorType;

/// The number of elements in a block of Q8_0.
const BLOCK: usize = 32;

/// Encodes values as F32, F16 or Q8_0.
pub(crate) fn encode(values: &[f32], tensor_type: TensorType) -> Vec<u8> {
    match tensor_type {
        TensorType::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        TensorType::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
        TensorType::Q8_0 => values.chunks(BLOCK).flat_map(q8_0_block).collect(),
        other => panic!("tiny models do not use {other}"),
    }
}

/// Encodes a block: a scale, then 32 integers that are multiplied with it.
fn q8_0_block(values: &[f32]) -> Vec<u8> {
    let largest = values.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    let scale = largest / 127.0;
    let mut block = f16::from_f32(scale).to_le_bytes().to_vec();
    block.extend(values.iter().flat_map(|x| {
        let level = if scale == 0.0 { 0.0 } else { (x / scale).round() };
        #[expect(clippy::cast_possible_truncation, reason = "at most 127, by the choice of the scale")]
        (level as i8).to_le_bytes()
    }));
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q8_0_is_close_to_what_went_in() {
        let values: Vec<f32> = (-32..32u8.cast_signed()).map(|x| f32::from(x) / 10.0).collect();
        let bytes = encode(&values, TensorType::Q8_0);
        assert_eq!(bytes.len(), 2 * 34);
        for (block, wanted) in bytes.chunks(34).zip(values.chunks(BLOCK)) {
            let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
            for (byte, wanted) in block[2..].iter().zip(wanted) {
                let got = f32::from(byte.cast_signed()) * scale;
                assert!((got - wanted).abs() < 0.02, "{got} {wanted}");
            }
        }
        assert_eq!(encode(&[0.0; 32], TensorType::Q8_0), [0; 34]);
    }
}
