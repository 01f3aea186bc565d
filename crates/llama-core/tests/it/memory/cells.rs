//! Random operations, compared with a model of the cells.

use super::*;

/// An operation on sequences. The test takes its numbers modulo the existing ones.
#[derive(Clone, Debug)]
enum Operation {
    Decode(i32, usize),
    Remove(i32, i32, Option<i32>),
    Copy(i32, i32, i32, Option<i32>),
    Keep(i32),
    Move(i32, i32, Option<i32>, i32),
    Divide(i32, i32, Option<i32>, i32),
    Clear,
}

fn operation() -> impl Strategy<Value = Operation> {
    let (seq, start, length) = (0..4_i32, 0..12_i32, proptest::option::of(0..8_i32));
    prop_oneof![
        6 => (seq.clone(), 1..4_usize).prop_map(|(seq, n)| Operation::Decode(seq, n)),
        3 => (seq.clone(), start.clone(), length.clone()).prop_map(|(s, a, n)| Operation::Remove(s, a, n)),
        3 => (seq.clone(), seq.clone(), start.clone(), length.clone())
            .prop_map(|(from, to, a, n)| Operation::Copy(from, to, a, n)),
        1 => seq.clone().prop_map(Operation::Keep),
        2 => (seq.clone(), start.clone(), length.clone(), -6..9_i32)
            .prop_map(|(s, a, n, delta)| Operation::Move(s, a, n, delta)),
        1 => (seq, start, length, 1..4_i32).prop_map(|(s, a, n, d)| Operation::Divide(s, a, n, d)),
        1 => Just(Operation::Clear),
    ]
}

/// A cell of the cache: a position, and the sequences that see it.
#[derive(Clone, Debug)]
struct Cell {
    pos: i32,
    sequences: BTreeSet<i32>,
}

/// The expected cache.
#[derive(Debug, Default)]
struct Cells {
    cells: Vec<Cell>,
    unified: bool,
}

impl Cells {
    fn span(&self, seq: i32) -> Option<(i32, i32)> {
        let positions =
            || self.cells.iter().filter(|cell| cell.sequences.contains(&seq)).map(|cell| cell.pos);
        positions().min().zip(positions().max())
    }

    fn in_range(&mut self, seq: i32, start: i32, end: i32) -> impl Iterator<Item = &mut Cell> {
        self.cells
            .iter_mut()
            .filter(move |cell| cell.sequences.contains(&seq) && (start..end).contains(&cell.pos))
    }

    fn remove(&mut self, seq: i32, start: i32, end: i32) {
        self.in_range(seq, start, end).for_each(|cell| _ = cell.sequences.remove(&seq));
        self.cells.retain(|cell| !cell.sequences.is_empty());
    }

    fn copy(&mut self, from: i32, to: i32, start: i32, end: i32) {
        if self.unified {
            self.in_range(from, start, end).for_each(|cell| _ = cell.sequences.insert(to));
        } else {
            self.remove(to, 0, i32::MAX);
            let copies: Vec<Cell> = self
                .in_range(from, start, end)
                .map(|cell| Cell { pos: cell.pos, sequences: BTreeSet::from([to]) })
                .collect();
            self.cells.extend(copies);
        }
    }
}

fn run(operation: &Operation, context: &mut Context, cells: &mut Cells, token: Token) -> Result<(), Error> {
    let range = |start: i32, length: Option<i32>| (start, length.map_or(i32::MAX, |length| start + length));
    let id = SeqId::new;
    match *operation {
        Operation::Decode(seq, n) => {
            let first = cells.span(seq).map_or(0, |(_, last)| last + 1);
            let mut batch = Batch::new();
            batch.push_prompt(&vec![token; n], id(seq), Pos::new(first))?;
            context.decode(&batch)?;
            cells.cells.extend((first..).take(n).map(|pos| Cell { pos, sequences: BTreeSet::from([seq]) }));
        }
        Operation::Remove(seq, start, length) => {
            let (start, end) = range(start, length);
            context.memory().seq_rm(id(seq), start..end)?;
            cells.remove(seq, start, end);
        }
        Operation::Copy(from, to, start, length) => {
            let (start, end) = if cells.unified { range(start, length) } else { (0, i32::MAX) };
            if end == i32::MAX {
                context.memory().seq_cp(id(from), id(to), start..)?;
            } else {
                context.memory().seq_cp(id(from), id(to), start..end)?;
            }
            if from != to {
                cells.copy(from, to, start, end);
            }
        }
        Operation::Keep(seq) => {
            context.memory().seq_keep(id(seq))?;
            cells.cells.retain_mut(|cell| {
                let kept = cell.sequences.contains(&seq);
                cell.sequences = BTreeSet::from([seq]);
                kept
            });
        }
        Operation::Move(seq, start, length, delta) => {
            let (start, end) = range(start, length);
            context.memory().seq_add(id(seq), start..end, delta)?;
            cells.in_range(seq, start, end).for_each(|cell| cell.pos += delta);
        }
        Operation::Divide(seq, start, length, divisor) => {
            let (start, end) = range(start, length);
            context.memory().seq_div(id(seq), start..end, divisor)?;
            cells.in_range(seq, start, end).for_each(|cell| cell.pos /= divisor);
        }
        Operation::Clear => {
            context.memory().clear(false)?;
            cells.cells.clear();
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// After any operations the positions equal the plain model's, and a refused operation changes nothing.
    #[test]
    fn cache_does_what_the_plain_model_does(
        operations in proptest::collection::vec(operation(), 1..40),
        unified: bool,
    ) {
        thread_local!(static MODEL: Model = load(Tiny::Llama));
        let mut context = MODEL.with(|model| Context::new(model, &four_sequences(unified))).unwrap();
        let mut cells = Cells { cells: Vec::new(), unified };
        for operation in &operations {
            let result = run(operation, &mut context, &mut cells, Token::new(300));
            prop_assert!(!context.is_poisoned(), "{operation:?}: {result:?}");
            // Only moves can leave the range of positions.
            prop_assert!(result.is_ok() || matches!(operation, Operation::Move(..)), "{operation:?}: {result:?}");
            for seq in 0..4 {
                prop_assert_eq!(span(&mut context, SeqId::new(seq)), cells.span(seq), "{:?} {:?}", operation, cells);
            }
        }
    }
}
