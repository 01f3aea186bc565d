//! Runs a plan on a real context and on the plain model, call by call.

mod expect;
mod sampling;

use std::cell::RefCell;
use std::collections::HashMap;

use llama_core::context::PoolingType;
use llama_core::{Batch, Context, ErrorKind, Model, ModelParams, Pos, SeqId, Token};
use test_models::Tiny;

use self::sampling::Chain;
use crate::batches::{self, Entry, sequences};
use crate::memory::Memory;
use crate::outcome::{
    Expected::{Fine, Refused},
    check,
};
use crate::plan::{Call, Id, Place, Plan, Range, Row, Seq, Shape};
use crate::traits;

/// Runs the plan, and panics where the context and the model differ.
pub(crate) fn run(plan: &Plan) {
    let mut machine = Machine::new(plan.tiny);
    machine.anew(&plan.shape);
    for call in &plan.calls {
        machine.call(call);
        machine.check_positions(call);
    }
}

/// The results of the last batch.
#[derive(Debug)]
struct Results {
    outputs: Vec<bool>,
    /// The sequences in that batch.
    seqs: u32,
    logits: bool,
    embeddings: bool,
}

/// A real context, and the facts known about it.
struct Machine {
    tiny: Tiny,
    model: Model,
    context: Option<Context>,
    shape: Shape,
    memory: Memory,
    causal: bool,
    embeddings: bool,
    /// The sequences that the encoder has read.
    encoded: u32,
    results: Option<Results>,
    batch: Batch,
    entries: Vec<Entry>,
    chain: Chain,
}

fn model(tiny: Tiny) -> Model {
    thread_local!(static MODELS: RefCell<HashMap<Tiny, Model>> = RefCell::default());
    MODELS.with_borrow_mut(|models| {
        let load = || Model::load(tiny.path(), &ModelParams::default()).unwrap();
        models.entry(tiny).or_insert_with(load).clone()
    })
}

impl Machine {
    fn new(tiny: Tiny) -> Self {
        let shape = Shape {
            n_ctx: 0,
            n_batch: 1,
            n_ubatch: 1,
            n_seq_max: 1,
            unified: false,
            swa_full: true,
            embeddings: false,
            pooling: None,
            attention: None,
            flash: llama_core::context::FlashAttention::Auto,
            types: Default::default(),
        };
        Self {
            tiny,
            model: model(tiny),
            context: None,
            shape,
            memory: Memory::Nothing,
            causal: true,
            embeddings: false,
            encoded: 0,
            results: None,
            batch: Batch::new(),
            entries: Vec::new(),
            chain: Chain::new(),
        }
    }

    fn anew(&mut self, shape: &Shape) {
        self.context = None;
        let made = Context::new(&self.model, &shape.params());
        check("Context::new", shape, &made, self.expect_context(shape));
        let Ok(context) = made else { return };
        self.shape = shape.clone();
        self.memory = traits::memory(self.tiny, shape, &context);
        self.causal = traits::is_causal(self.tiny, shape);
        self.embeddings = shape.embeddings;
        self.encoded = 0;
        self.results = None;
        self.context = Some(context);
    }

    /// Returns the sequence that a number of the plan selects.
    fn seq(&self, seq: Seq) -> i32 {
        match seq {
            Seq::Of(seq) => i32::try_from(seq % self.shape.n_seq_max).unwrap(),
            Seq::Wild(seq) => seq,
        }
    }

    fn known(&self, seq: i32) -> Option<u32> {
        u32::try_from(seq).ok().filter(|seq| *seq < self.shape.n_seq_max)
    }

    /// Returns the position after the last of a sequence, in the batch or else in memory.
    fn next(&self, seq: i32) -> i64 {
        let in_batch = self.entries.iter().rev().find(|entry| entry.seqs.contains(&seq));
        let last = match in_batch {
            Some(entry) => Some(i64::from(entry.pos)),
            None => self.known(seq).and_then(|seq| self.memory.extent(seq)).map(|extent| extent.last),
        };
        last.map_or(0, |last| last + 1)
    }

    fn place(&self, seq: i32, place: Place) -> i32 {
        match place {
            Place::After(offset) => i32::try_from(self.next(seq) + i64::from(offset)).unwrap_or(i32::MAX),
            Place::Wild(pos) => pos,
        }
    }

    fn range(&self, seq: i32, range: Range) -> (i32, Option<i32>) {
        match range {
            Range::All => (0, None),
            Range::From(start) => (start, None),
            Range::Part(start, end) => (start, Some(end)),
            Range::Last(n) => {
                let next =
                    self.known(seq).and_then(|seq| self.memory.extent(seq)).map_or(0, |it| it.last + 1);
                (i32::try_from((next - i64::from(n)).max(0)).unwrap_or(i32::MAX), None)
            }
        }
    }

    fn call(&mut self, call: &Call) {
        match call {
            Call::Clear => {
                self.batch.clear();
                self.entries.clear();
            }
            Call::Push { token, place, seqs, output } => self.push(*token, *place, seqs, *output),
            Call::Prompt { n, seq, place } => self.prompt(*n, *seq, *place),
            Call::Chain(samplers) => self.make_chain(call, *samplers),
            Call::Accept(token) => self.accept(call, *token),
            Call::AcceptPrompt(tokens) => self.accept_prompt(call, tokens),
            Call::ResetChain => self.reset_chain(call),
            Call::CloneChain => self.clone_chain(call),
            Call::SetOutput { index, output } => self.set_output(*index, *output),
            Call::Anew(shape) => self.anew(shape),
            _ if self.context.is_none() => {}
            Call::Decode => self.process(call, false),
            Call::Encode => self.process(call, true),
            Call::Continue { .. } | Call::Together { .. } | Call::Shared { .. } => self.go_on(call),
            Call::MemoryClear(data) => self.memory_clear(call, *data),
            Call::Remove(seq, range) => self.remove(call, *seq, *range),
            Call::Copy(from, to, range) => self.copy(call, *from, *to, *range),
            Call::Keep(seq) => self.keep(call, *seq),
            Call::Add(seq, range, delta) => self.add(call, *seq, *range, *delta),
            Call::Divide(seq, range, divisor) => self.divide(call, *seq, *range, *divisor),
            Call::CanShift => {
                let found = self.context().memory().can_shift();
                check("Memory::can_shift", call, &found, self.expect_memory());
                assert!(found.is_err() || found.unwrap() == self.can_shift());
            }
            Call::Logits(row) => self.logits(call, self.row(*row)),
            Call::Embeddings(row) => self.token_embeddings(call, self.row(*row)),
            Call::EmbeddingsSeq(seq) => self.sequence_embeddings(call, *seq),
            Call::Sample(row) => self.sample(call, self.row(*row)),
            Call::SetEmbeddings(value) => {
                check("Context::set_embeddings", call, &self.context().set_embeddings(*value), Fine);
                self.embeddings = *value;
            }
            Call::SetCausal(value) => {
                check(
                    "Context::set_causal_attention",
                    call,
                    &self.context().set_causal_attention(*value),
                    Fine,
                );
                self.causal = *value;
            }
            Call::SetThreads(one, many) => {
                let good = |n: u32| (1..=512).contains(&n);
                let expected = if good(*one) && good(*many) { Fine } else { Refused("InvalidParameter") };
                check("Context::set_n_threads", call, &self.context().set_n_threads(*one, *many), expected);
            }
            Call::Synchronize => check("Context::synchronize", call, &self.context().synchronize(), Fine),
            Call::Perf => check("Context::perf", call, &self.context().perf(), Fine),
            Call::PerfReset => check("Context::reset_perf", call, &self.context().reset_perf(), Fine),
        }
    }

    fn context(&mut self) -> &mut Context {
        self.context.as_mut().expect("calls without a context are left out")
    }

    fn push(&mut self, token: Id, place: Place, seqs: &[Seq], output: bool) {
        let seqs: Vec<i32> = seqs.iter().map(|seq| self.seq(*seq)).collect();
        let token = self.token(token);
        let pos = self.place(seqs.first().copied().unwrap_or(0), place);
        self.push_entry(Entry { token, pos, seqs, output });
    }

    fn token(&self, token: Id) -> i32 {
        match token {
            Id::Of(token) => i32::try_from(token as usize % self.model.vocab().n_tokens()).unwrap(),
            Id::Wild(token) => token,
        }
    }

    fn push_entry(&mut self, entry: Entry) {
        let ids: Vec<SeqId> = entry.seqs.iter().copied().map(SeqId::new).collect();
        let pushed = self.batch.push(Token::new(entry.token), Pos::new(entry.pos), &ids, entry.output);
        let expected = if ids.is_empty() { Refused("InvalidParameter") } else { Fine };
        check("Batch::push", &entry, &pushed, expected);
        if let Ok(index) = pushed {
            assert_eq!(index, self.entries.len());
            self.entries.push(entry);
        }
        assert_eq!(self.batch.len(), self.entries.len());
    }

    fn prompt(&mut self, n: usize, seq: Seq, place: Place) {
        let seq = self.seq(seq);
        let first = self.place(seq, place);
        let tokens = vec![Token::new(5); n];
        let pushed = self.batch.push_prompt(&tokens, SeqId::new(seq), Pos::new(first));
        let end = i64::from(first) + i64::try_from(n).unwrap();
        let expected = if end > i64::from(i32::MAX) { Refused("InvalidPosition") } else { Fine };
        check("Batch::push_prompt", &(n, seq, first), &pushed, expected);
        if pushed.is_ok() {
            let entry = |(index, pos)| Entry { token: 5, pos, seqs: vec![seq], output: index + 1 == n };
            self.entries.extend((0..n).zip(first..).map(entry));
        }
        assert_eq!(self.batch.len(), self.entries.len());
    }

    fn set_output(&mut self, index: usize, output: bool) {
        let set = self.batch.set_output(index, output);
        match self.entries.get_mut(index) {
            Some(entry) => {
                entry.output = output;
                check("Batch::set_output", &index, &set, Fine);
            }
            None => check("Batch::set_output", &index, &set, Refused("InvalidParameter")),
        }
        let last = self.entries.iter().rposition(|entry| entry.output);
        assert_eq!(self.batch.last_output(), last);
    }

    /// Makes a batch that continues sequences, and computes it.
    fn go_on(&mut self, call: &Call) {
        self.batch.clear();
        self.entries.clear();
        let count = i32::try_from(self.shape.n_seq_max).unwrap();
        let (n, groups): (usize, Vec<Vec<i32>>) = match *call {
            Call::Continue { n, seq } => (n, vec![vec![self.seq(Seq::Of(seq))]]),
            Call::Together { n, seqs } => {
                let seqs = i32::try_from(seqs).unwrap().min(count);
                (n, (0..seqs).map(|seq| vec![seq]).collect())
            }
            Call::Shared { n, first, second } => {
                (n, vec![vec![self.seq(Seq::Of(first)), self.seq(Seq::Of(second))]])
            }
            _ => return,
        };
        for index in 0..n {
            for seqs in &groups {
                let pos = self.place(seqs[0], Place::After(0));
                let token = self.token(Id::Of(u32::try_from(index).unwrap() * 7 + 5));
                self.push_entry(Entry { token, pos, seqs: seqs.clone(), output: index % 3 == 0 });
            }
        }
        self.process(call, self.memory.exists() && traits::has_encoder(self.tiny) && self.encoded == 0);
    }

    fn process(&mut self, call: &Call, encode: bool) {
        let expected = self.expect_process(encode);
        let in_range = self.positions_in_range();
        let batch = std::mem::take(&mut self.batch);
        let done = if encode { self.context().encode(&batch) } else { self.context().decode(&batch) };
        self.batch = batch;
        check(
            if encode { "Context::encode" } else { "Context::decode" },
            &(call, &self.entries),
            &done,
            expected,
        );
        let reached = match &done {
            Ok(()) => true,
            // What is compared with memory is looked at last, when the results of the batch before are gone.
            Err(error) => {
                matches!(error.kind(), ErrorKind::Decode(_))
                    || expected == Refused("InvalidPosition") && in_range
            }
        };
        if !reached {
            return;
        }
        self.results = None;
        if done.is_err() {
            return;
        }
        let tokens = batches::tokens(&self.entries);
        let seqs = tokens.iter().fold(0, |all, (_, seqs)| all | seqs);
        let with_memory = self.memory.exists();
        if encode && with_memory {
            self.encoded = seqs;
        } else {
            self.memory.add(&tokens);
        }
        let pooled = traits::pooling(self.tiny, &self.shape) != PoolingType::None;
        let all = self.embeddings || (encode && with_memory);
        self.results = Some(Results {
            outputs: self.entries.iter().map(|entry| all || entry.output).collect(),
            seqs,
            logits: traits::has_logits(self.tiny) && !(encode && with_memory) && !(self.embeddings && pooled),
            embeddings: self.embeddings || (encode && with_memory),
        });
    }

    fn memory_clear(&mut self, call: &Call, data: bool) {
        let expected = self.expect_memory();
        check("Memory::clear", call, &self.context().memory().clear(data), expected);
        self.memory.clear();
    }

    fn remove(&mut self, call: &Call, seq: Seq, range: Range) {
        let id = self.seq(seq);
        let (start, end) = self.range(id, range);
        let expected = self.expect_remove(id, start, end);
        let mut memory = self.context.as_mut().expect("there is a context").memory();
        let done = match end {
            Some(end) => memory.seq_rm(SeqId::new(id), start..end),
            None => memory.seq_rm(SeqId::new(id), start..),
        };
        check("Memory::seq_rm", &(call, id, start, end), &done, expected);
        if let (Ok(()), Some(seq)) = (done, self.known(id)) {
            self.memory.remove(seq, i64::from(start), bound(end));
        }
    }

    fn copy(&mut self, call: &Call, from: Seq, to: Seq, range: Range) {
        let (from, to) = (self.seq(from), self.seq(to));
        let (start, end) = self.range(from, range);
        let expected = self.expect_copy(from, to, start, end);
        let mut memory = self.context.as_mut().expect("there is a context").memory();
        let (from_id, to_id) = (SeqId::new(from), SeqId::new(to));
        let done = match end {
            Some(end) => memory.seq_cp(from_id, to_id, start..end),
            None => memory.seq_cp(from_id, to_id, start..),
        };
        check("Memory::seq_cp", &(call, from, to, start, end), &done, expected);
        if let (Ok(()), Some(from), Some(to)) = (done, self.known(from), self.known(to))
            && from != to
            && i64::from(start) < bound(end)
        {
            self.memory.copy(from, to, i64::from(start), bound(end));
        }
    }

    fn keep(&mut self, call: &Call, seq: Seq) {
        let id = self.seq(seq);
        let expected = self.expect_arguments(&[id], None).unwrap_or(self.expect_memory());
        check("Memory::seq_keep", call, &self.context().memory().seq_keep(SeqId::new(id)), expected);
        if let Some(seq) = self.known(id) {
            self.memory.keep(seq);
        }
    }

    fn add(&mut self, call: &Call, seq: Seq, range: Range, delta: i32) {
        let id = self.seq(seq);
        let (start, end) = self.range(id, range);
        let expected = self.expect_add(id, start, end, delta);
        let mut memory = self.context.as_mut().expect("there is a context").memory();
        let done = match end {
            Some(end) => memory.seq_add(SeqId::new(id), start..end, delta),
            None => memory.seq_add(SeqId::new(id), start.., delta),
        };
        check("Memory::seq_add", &(call, id, start, end), &done, expected);
        if let (Ok(()), Some(seq)) = (done, self.known(id)) {
            self.memory.change(seq, i64::from(start), bound(end), |pos| pos + i64::from(delta));
        }
    }

    fn divide(&mut self, call: &Call, seq: Seq, range: Range, divisor: i32) {
        let id = self.seq(seq);
        let (start, end) = self.range(id, range);
        let expected = self.expect_divide(id, start, end, divisor);
        let mut memory = self.context.as_mut().expect("there is a context").memory();
        let done = match end {
            Some(end) => memory.seq_div(SeqId::new(id), start..end, divisor),
            None => memory.seq_div(SeqId::new(id), start.., divisor),
        };
        check("Memory::seq_div", &(call, id, start, end), &done, expected);
        if let (Ok(()), Some(seq)) = (done, self.known(id)) {
            self.memory.change(seq, i64::from(start), bound(end), |pos| pos / i64::from(divisor));
        }
    }

    fn row(&self, row: Row) -> Option<usize> {
        let outputs = self.results.as_ref().map_or(&[][..], |results| &results.outputs);
        match row {
            Row::At(index) => index,
            Row::Output(n) => {
                let there: Vec<usize> = (0..outputs.len()).filter(|index| outputs[*index]).collect();
                if there.is_empty() { Some(n) } else { Some(there[n % there.len()]) }
            }
        }
    }

    fn logits(&mut self, call: &Call, index: Option<usize>) {
        let expected = self.expect_logits(index);
        let n_vocab = self.model.vocab().n_tokens();
        let row = self.context().logits(index).map(|row| row.to_vec());
        check("Context::logits", call, &row, expected);
        if let Ok(row) = row {
            assert_eq!(row.len(), n_vocab);
            assert!(row.iter().all(|value| value.is_finite()), "{call:?}: {:?}", &row[..8]);
            assert!(row.iter().any(|value| *value != 0.0), "{call:?}: zeros");
        }
    }

    fn token_embeddings(&mut self, call: &Call, index: Option<usize>) {
        let pooled = traits::pooling(self.tiny, &self.shape) != PoolingType::None;
        let there = self.results.as_ref().is_some_and(|results| results.embeddings);
        let expected = match (pooled, self.has_output(index) && there) {
            (true, _) => Refused("Unsupported"),
            (false, true) => Fine,
            (false, false) => Refused("NoOutput"),
        };
        let width = self.model.n_embd_out() as usize;
        let row = self.context().embeddings(index).map(<[f32]>::to_vec);
        check("Context::embeddings", call, &row, expected);
        if let Ok(row) = row {
            check_row(call, &row, width);
        }
    }

    fn sequence_embeddings(&mut self, call: &Call, seq: Seq) {
        let id = self.seq(seq);
        let pooling = traits::pooling(self.tiny, &self.shape);
        let there = |seq: u32| {
            self.results
                .as_ref()
                .is_some_and(|results| results.embeddings && sequences(results.seqs).any(|it| it == seq))
        };
        let expected = match self.known(id) {
            None => Refused("InvalidSeqId"),
            Some(_) if pooling == PoolingType::None => Refused("Unsupported"),
            Some(seq) if there(seq) => Fine,
            Some(_) => Refused("NoOutput"),
        };
        let width = if pooling == PoolingType::Rank { 1 } else { self.model.n_embd_out() as usize };
        let row = self.context().embeddings_seq(SeqId::new(id)).map(<[f32]>::to_vec);
        check("Context::embeddings_seq", &(call, id), &row, expected);
        if let Ok(row) = row {
            check_row(call, &row, width);
        }
    }

    /// Each sequence begins and ends where the model says.
    fn check_positions(&mut self, call: &Call) {
        let Some(context) = &mut self.context else { return };
        assert!(!context.is_poisoned(), "{call:?}");
        if !self.memory.exists() {
            return;
        }
        for seq in 0..self.shape.n_seq_max {
            let id = SeqId::new(i32::try_from(seq).unwrap());
            let first = context.memory().seq_pos_min(id).unwrap().map(|pos| i64::from(pos.get()));
            let last = context.memory().seq_pos_max(id).unwrap().map(|pos| i64::from(pos.get()));
            let expected = self.memory.extent(seq);
            let agrees = match (&expected, first, last) {
                (None, None, None) => true,
                (Some(extent), Some(first), Some(last)) => {
                    extent.last == last && extent.first.contains(&first)
                }
                _ => false,
            };
            assert!(agrees, "after {call:?}, sequence {seq} is {first:?} to {last:?}, not {expected:?}");
            self.memory.observe(seq, first);
        }
    }
}

/// Returns the end of a range as a number.
fn bound(end: Option<i32>) -> i64 {
    end.map_or(i64::MAX, i64::from)
}

fn check_row(call: &Call, row: &[f32], width: usize) {
    assert_eq!(row.len(), width, "{call:?}");
    assert!(row.iter().all(|value| value.is_finite()), "{call:?}: {row:?}");
    assert!(row.iter().any(|value| *value != 0.0), "{call:?}: zeros");
}
