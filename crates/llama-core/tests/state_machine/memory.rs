//! The expected contents of a context's memory: a plain model of the positions of each sequence, for each kind of
//! memory.

use std::ops::RangeInclusive;

/// A cell of a cache: a position, and the sequences that see it, one bit each.
#[derive(Clone, Copy, Debug)]
struct Cell {
    pos: i64,
    seqs: u32,
}

/// A cache of keys and values: one buffer for all sequences, or one for each.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    buffers: Vec<Vec<Cell>>,
    /// The number of cells in each buffer.
    size: usize,
}

/// The state of a recurrent model: one position for each group of sequences that share the state.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    cells: Vec<Cell>,
}

/// The memory of each kind of model.
#[derive(Clone, Debug)]
pub(crate) enum Memory {
    /// No memory.
    Nothing,
    Cache(Cache),
    /// Layers that see everything, and layers that see a window: the second cache may lose what is outside of it.
    Window {
        base: Cache,
        window: Cache,
        width: i64,
    },
    State(State),
    Both {
        cache: Cache,
        state: State,
    },
}

/// The first and last position of a sequence. The first is not exact when a window may have lost some positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) first: RangeInclusive<i64>,
    pub(crate) last: i64,
}

/// Whether a batch fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Enough,
    TooLittle,
    /// It depends on what the window has lost.
    Unknown,
}

/// The tokens of a batch from the memory's view.
pub(crate) type Tokens = [(i64, u32)];

fn bit(seq: u32) -> u32 {
    1 << seq
}

impl Cache {
    pub(crate) fn new(buffers: usize, size: usize) -> Self {
        Self { buffers: vec![Vec::new(); buffers], size }
    }

    fn is_unified(&self) -> bool {
        self.buffers.len() == 1
    }

    fn buffer(&mut self, seq: u32) -> &mut Vec<Cell> {
        let index = if self.is_unified() { 0 } else { seq as usize };
        &mut self.buffers[index]
    }

    fn positions(&self, seq: u32) -> impl Iterator<Item = i64> {
        self.buffers.iter().flatten().filter(move |cell| cell.seqs & bit(seq) != 0).map(|cell| cell.pos)
    }

    fn extent(&self, seq: u32) -> Option<Extent> {
        let (first, last) = (self.positions(seq).min()?, self.positions(seq).max()?);
        Some(Extent { first: first..=first, last })
    }

    fn has_room(&self, tokens: &Tokens) -> bool {
        (0..).zip(&self.buffers).all(|(index, buffer)| {
            let wanted =
                tokens.iter().filter(|(_, seqs)| self.is_unified() || seqs & bit(index) != 0).count();
            buffer.len() + wanted <= self.size
        })
    }

    fn add(&mut self, tokens: &Tokens) {
        for &(pos, seqs) in tokens {
            self.buffer(seqs.trailing_zeros()).push(Cell { pos, seqs });
        }
    }

    fn remove(&mut self, seq: u32, start: i64, end: i64) {
        let buffer = self.buffer(seq);
        for cell in buffer.iter_mut().filter(|cell| (start..end).contains(&cell.pos)) {
            cell.seqs &= !bit(seq);
        }
        buffer.retain(|cell| cell.seqs != 0);
    }

    fn copy(&mut self, from: u32, to: u32, start: i64, end: i64) {
        let in_range = |cell: &Cell| cell.seqs & bit(from) != 0 && (start..end).contains(&cell.pos);
        if self.is_unified() {
            let cells = self.buffers[0].iter_mut().filter(|cell| in_range(cell));
            cells.for_each(|cell| cell.seqs |= bit(to));
        } else {
            let copies = self.buffer(from).iter().filter(|cell| in_range(cell));
            let copies = copies.map(|cell| Cell { pos: cell.pos, seqs: bit(to) }).collect();
            *self.buffer(to) = copies;
        }
    }

    fn keep(&mut self, seq: u32) {
        for buffer in &mut self.buffers {
            buffer.retain(|cell| cell.seqs & bit(seq) != 0);
            buffer.iter_mut().for_each(|cell| cell.seqs = bit(seq));
        }
    }

    fn change(&mut self, seq: u32, start: i64, end: i64, change: impl Fn(i64) -> i64) {
        let cells = self.buffer(seq).iter_mut();
        let cells = cells.filter(|cell| cell.seqs & bit(seq) != 0 && (start..end).contains(&cell.pos));
        cells.for_each(|cell| cell.pos = change(cell.pos));
    }

    fn clear(&mut self) {
        self.buffers.iter_mut().for_each(Vec::clear);
    }
}

impl State {
    fn cell(&mut self, seq: u32) -> Option<&mut Cell> {
        self.cells.iter_mut().find(|cell| cell.seqs & bit(seq) != 0)
    }

    fn extent(&self, seq: u32) -> Option<Extent> {
        let cell = self.cells.iter().find(|cell| cell.seqs & bit(seq) != 0)?;
        Some(Extent { first: cell.pos..=cell.pos, last: cell.pos })
    }

    fn leave(&mut self, seqs: u32) {
        self.cells.iter_mut().for_each(|cell| cell.seqs &= !seqs);
        self.cells.retain(|cell| cell.seqs != 0);
    }

    fn add(&mut self, tokens: &Tokens) {
        for &(pos, seqs) in tokens {
            self.leave(seqs);
            self.cells.push(Cell { pos, seqs });
        }
    }

    fn remove(&mut self, seq: u32, start: i64, end: i64) {
        if self.extent(seq).is_some_and(|extent| (start..end).contains(&extent.last)) {
            self.leave(bit(seq));
        }
    }

    fn copy(&mut self, from: u32, to: u32) {
        self.leave(bit(to));
        if let Some(cell) = self.cell(from) {
            cell.seqs |= bit(to);
        }
    }

    fn keep(&mut self, seq: u32) {
        self.leave(!bit(seq));
    }

    fn change(&mut self, seq: u32, start: i64, end: i64, change: impl Fn(i64) -> i64) {
        if let Some(cell) = self.cell(seq).filter(|cell| (start..end).contains(&cell.pos)) {
            cell.pos = change(cell.pos);
        }
    }
}

impl Memory {
    pub(crate) fn exists(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// Whether the memory is a summary of the text, and so has no parts.
    pub(crate) fn is_summed_up(&self) -> bool {
        matches!(self, Self::State(_) | Self::Both { .. })
    }

    /// Returns the width of the window of a memory that has one.
    pub(crate) fn window(&self) -> Option<i64> {
        match self {
            Self::Window { width, .. } => Some(*width),
            _ => None,
        }
    }

    pub(crate) fn can_shift(&self) -> bool {
        match self {
            Self::Window { base, window, .. } => base.size == window.size,
            _ => true,
        }
    }

    /// Whether a token can be in several sequences.
    pub(crate) fn can_share(&self, whole_sequences: bool) -> bool {
        match self {
            Self::Nothing => true,
            Self::Cache(cache) | Self::Window { base: cache, .. } => cache.is_unified(),
            Self::State(_) => false,
            Self::Both { cache, .. } => cache.is_unified() && !whole_sequences,
        }
    }

    /// Returns the extent of a sequence, or `None` when it does not exist.
    pub(crate) fn extent(&self, seq: u32) -> Option<Extent> {
        match self {
            Self::Nothing => None,
            Self::Cache(cache) => cache.extent(seq),
            Self::Window { window, width, .. } => {
                let Extent { first, last } = window.extent(seq)?;
                // The next token needs these.
                let needed = window.positions(seq).filter(|pos| *pos > last + 1 - width).min()?;
                Some(Extent { first: *first.start()..=needed, last })
            }
            Self::State(state) => state.extent(seq),
            Self::Both { cache, state } => {
                let (cache, state) = (cache.extent(seq)?, state.extent(seq)?);
                let first = *cache.first.start().max(state.first.start());
                Some(Extent { first: first..=first, last: cache.last.min(state.last) })
            }
        }
    }

    /// Records where a sequence really begins; a window has lost the positions before it.
    pub(crate) fn observe(&mut self, seq: u32, first: Option<i64>) {
        if let Self::Window { window, .. } = self {
            window.remove(seq, i64::MIN, first.unwrap_or(i64::MAX));
        }
    }

    pub(crate) fn room(&self, tokens: &Tokens) -> Room {
        match self {
            Self::Nothing | Self::State(_) => Room::Enough,
            Self::Cache(cache) | Self::Both { cache, .. } if cache.has_room(tokens) => Room::Enough,
            Self::Window { base, window, .. } if base.has_room(tokens) => {
                if window.size == base.size {
                    Room::Enough
                } else {
                    Room::Unknown
                }
            }
            _ => Room::TooLittle,
        }
    }

    pub(crate) fn add(&mut self, tokens: &Tokens) {
        self.caches().for_each(|cache| cache.add(tokens));
        if let Some(state) = self.state() {
            state.add(tokens);
        }
    }

    pub(crate) fn remove(&mut self, seq: u32, start: i64, end: i64) {
        self.caches().for_each(|cache| cache.remove(seq, start, end));
        if let Some(state) = self.state() {
            state.remove(seq, start, end);
        }
    }

    pub(crate) fn copy(&mut self, from: u32, to: u32, start: i64, end: i64) {
        if self.is_summed_up() {
            // A state has one place: what was there before is gone, also from the cache beside it.
            self.remove(to, 0, i64::MAX);
        }
        self.caches().for_each(|cache| cache.copy(from, to, start, end));
        if let Some(state) = self.state() {
            state.copy(from, to);
        }
    }

    pub(crate) fn keep(&mut self, seq: u32) {
        self.caches().for_each(|cache| cache.keep(seq));
        if let Some(state) = self.state() {
            state.keep(seq);
        }
    }

    pub(crate) fn change(&mut self, seq: u32, start: i64, end: i64, change: impl Fn(i64) -> i64) {
        self.caches().for_each(|cache| cache.change(seq, start, end, &change));
        if let Some(state) = self.state() {
            state.change(seq, start, end, &change);
        }
    }

    /// Whether a condition holds for any existing position of a range.
    pub(crate) fn any(&self, seq: u32, start: i64, end: i64, holds: impl Fn(i64) -> bool) -> bool {
        let holds = |pos: i64| (start..end).contains(&pos) && holds(pos);
        match self {
            Self::Nothing => false,
            Self::Cache(cache) | Self::Window { base: cache, .. } => cache.positions(seq).any(holds),
            Self::State(state) => state.extent(seq).is_some_and(|extent| holds(extent.last)),
            Self::Both { cache, state } => {
                cache.positions(seq).any(holds) || state.extent(seq).is_some_and(|extent| holds(extent.last))
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.caches().for_each(Cache::clear);
        if let Some(state) = self.state() {
            state.cells.clear();
        }
    }

    fn caches(&mut self) -> impl Iterator<Item = &mut Cache> {
        let (first, second) = match self {
            Self::Nothing | Self::State(_) => (None, None),
            Self::Cache(cache) | Self::Both { cache, .. } => (Some(cache), None),
            Self::Window { base, window, .. } => (Some(base), Some(window)),
        };
        first.into_iter().chain(second)
    }

    fn state(&mut self) -> Option<&mut State> {
        match self {
            Self::State(state) | Self::Both { state, .. } => Some(state),
            _ => None,
        }
    }
}
