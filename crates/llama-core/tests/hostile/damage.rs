//! Damaged bytes of files and states.

/// The replacements for numbers.
const WORDS: [u32; 6] = [0, 1, i32::MAX as u32, 1 << 31, u32::MAX, u32::MAX - 1];

/// Returns changed copies of good bytes: cut off, longer, of zeros, and with every `step`th number of the first
/// `front` bytes replaced.
pub(crate) fn damaged(
    good: &[u8],
    front: usize,
    step: usize,
) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let n = good.len();
    let ends = [0, 1, 4, 8, 12, 24, n / 2, n.saturating_sub(1)].into_iter().filter(move |end| *end < n);
    let cut = ends.map(|end| (format!("cut off at {end}"), good[..end].to_vec()));
    let longer = [1, 4, n].map(|more| (format!("{more} bytes longer"), [good, &vec![0; more]].concat()));
    let uniform = [0, 0xff].map(|byte| (format!("only {byte}"), vec![byte; n]));
    let places = (0..front.min(n / 4 * 4)).step_by(4 * step);
    let replaced = places.zip(WORDS.into_iter().cycle()).map(|(at, word)| {
        let mut bytes = good.to_vec();
        bytes[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        (format!("{word} at byte {at}"), bytes)
    });
    let turned = (0..front.min(n)).step_by(4 * step + 1).map(|at| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1 << (at % 8);
        (format!("a bit of byte {at} turned"), bytes)
    });
    cut.chain(longer).chain(uniform).chain(replaced).chain(turned)
}
