//! The check of a graph before anything of it is computed.
//!
//! llama.cpp asserts on tensors of types and shapes that it cannot compute with while it computes them, on ggml's threads,
//! where that ends the process. So the CPU backends of contexts are made to show each part of a graph that they are
//! given: when it is planned, once for each shape, and again when it is computed, which costs a comparison. What the
//! table of conditions refuses is not computed.

mod conditions;
mod tensor;
#[cfg(test)]
mod tests;

use core::cell::{Cell, RefCell};
use core::marker::PhantomData;

use llama_sys::{ggml_tensor, llama_shim_graph_use};
use tensor::Tensor;

use crate::error::{Error, ErrorKind};

/// What cannot be computed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A condition of the table does not hold.
    Condition { tensor: String, operation: String, condition: String },
    /// A graph of embeddings reads the ids of tokens, which are those of an earlier batch.
    StaleTokens { tensor: String, operation: String },
}

/// What a thread has found since `begin`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Nothing,
    /// A violation in what it has planned.
    Planned,
    /// A violation for which it did not compute.
    Refused,
}

thread_local! {
    /// Looked at in every step, and so without anything to drop.
    static STATE: Cell<State> = const { Cell::new(State::Nothing) };
    /// The first violation that was planned, or the one for which nothing was computed; where there is one.
    static VIOLATION: RefCell<Option<Violation>> = const { RefCell::new(None) };
}

/// While it lives, the CPU backends that this thread makes show their graphs.
pub(crate) struct Watch(PhantomData<*const ()>);

impl Watch {
    /// Corresponds to `llama_shim_watch_graphs`.
    pub(crate) fn begin() -> Self {
        begin();
        // SAFETY: the function keeps the pointer to a function, which neither throws nor unwinds.
        let _ = unsafe { llama_sys::llama_shim_watch_graphs(Some(check)) };
        Self(PhantomData)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: without a function nothing is shown of backends that are made from here on.
        let _ = unsafe { llama_sys::llama_shim_watch_graphs(None) };
    }
}

/// Has the library's devices show the backends that they will make, while nobody uses them yet.
pub(crate) fn prepare() {
    drop(Watch::begin());
}

/// Forgets what was found. To be called before llama.cpp plans or computes.
#[inline]
pub(crate) fn begin() {
    STATE.set(State::Nothing);
}

/// What was found since `begin`, in what was planned or not computed.
#[inline]
pub(crate) fn found() -> Option<Finding> {
    match STATE.get() {
        State::Nothing => None,
        state => take(state == State::Refused),
    }
}

/// A violation, and whether it kept something from being computed.
pub(crate) struct Finding {
    pub(crate) violation: Violation,
    pub(crate) is_refused: bool,
}

#[cold]
fn take(is_refused: bool) -> Option<Finding> {
    begin();
    let violation = VIOLATION.try_with(|own| own.borrow_mut().take()).ok().flatten()?;
    Some(Finding { violation, is_refused })
}

/// Without a violation in a thread that ends and has dropped its variables: then the failure has no explanation.
#[cold]
fn keep(state: State, violation: Violation) {
    STATE.set(state);
    let _ = VIOLATION.try_with(|own| own.replace(Some(violation)));
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::Condition { tensor, operation, condition } => {
                ErrorKind::UnsupportedGraph { tensor, operation, condition }.into()
            }
            Violation::StaleTokens { tensor, operation } => {
                let reason = format!(
                    "its {operation} \"{tensor}\" reads the ids of tokens, which embeddings do not have: decode tokens"
                );
                ErrorKind::Unsupported { operation: "decoding embeddings", reason }.into()
            }
        }
    }
}

/// The `llama_shim_graph_check`: whether the nodes can be computed.
unsafe extern "C-unwind" fn check(
    nodes: *const *mut ggml_tensor,
    n_nodes: i32,
    graph_use: llama_shim_graph_use,
) -> bool {
    let is_planned = graph_use == llama_shim_graph_use::LLAMA_SHIM_GRAPH_USE_PLAN;
    let has_found = STATE.get() != State::Nothing;
    if nodes.is_null() || (!is_planned && !has_found) {
        // What is computed was looked at when it was planned.
        return true;
    }
    // SAFETY: ggml has an array of so many nodes (ggml.c, ggml_graph_nodes), valid while it calls.
    let nodes = unsafe { core::slice::from_raw_parts(nodes, usize::try_from(n_nodes).unwrap_or(0)) };
    // SAFETY: the nodes of a graph are valid tensors.
    let tensors = nodes.iter().filter_map(|node| unsafe { node.as_ref() }).map(Tensor::new);
    #[cfg(test)]
    let _timer = tests::cost::Timer::start(nodes.len());
    let Some(violation) = violation(tensors) else { return true };
    match (is_planned, has_found) {
        (true, true) => {}
        (true, false) => keep(State::Planned, violation),
        (false, _) => keep(State::Refused, violation),
    }
    false
}

/// The first violation, in the order in which the nodes are computed.
fn violation<'t>(nodes: impl Iterator<Item = Tensor<'t>>) -> Option<Violation> {
    let mut inputs = Inputs::default();
    for node in nodes.filter(|node| is_computed(*node)) {
        if let Some(condition) = broken(node) {
            return Some(Violation::Condition {
                tensor: node.name(),
                operation: node.operation(),
                condition,
            });
        }
        inputs.look_at(node);
    }
    inputs.violation()
}

/// Whether the CPU backend does anything for a node (ggml-cpu.c, `ggml_graph_compute_thread` and
/// `ggml_compute_forward`).
fn is_computed(node: Tensor<'_>) -> bool {
    use llama_sys::ggml_op as Op;
    let is_view = matches!(
        node.op(),
        Op::GGML_OP_NONE
            | Op::GGML_OP_RESHAPE
            | Op::GGML_OP_VIEW
            | Op::GGML_OP_PERMUTE
            | Op::GGML_OP_TRANSPOSE
    );
    !is_view && node.has_flag(llama_sys::ggml_tensor_flag::GGML_TENSOR_FLAG_COMPUTE) && !node.is_empty()
}

/// What the node lacks, with what it has instead.
fn broken(node: Tensor<'_>) -> Option<String> {
    #[cfg(test)]
    if tests::is_pretended(node) {
        return Some("pretended by a test".to_owned());
    }
    let operation = conditions::of(node.op())?;
    if let Some(missing) = (0..operation.sources).find(|index| node.source(*index).is_none()) {
        return Some(format!("source {missing} must be there; {}", operands(node)));
    }
    let condition = broken_condition(node)?;
    Some(format!("{}; {}", condition.requires, operands(node)))
}

/// The first condition that does not hold for a node that has its sources.
fn broken_condition(node: Tensor<'_>) -> Option<&'static conditions::Condition> {
    let conditions = conditions::of(node.op())?.conditions;
    conditions.iter().find(|condition| !(condition.holds)(node))
}

/// The operands of a node, for errors.
#[cold]
fn operands(node: Tensor<'_>) -> String {
    let sources = (0..10).filter_map(|index| Some((index, node.source(index)?)));
    let mut text = String::new();
    for (index, source) in sources {
        text += &format!("source {index} is {}, ", source.describe());
    }
    text + &format!("the result {}", node.describe())
}

/// Which inputs of llama.cpp's a graph reads.
#[derive(Default)]
struct Inputs<'t> {
    /// A node that reads the ids of the batch's tokens.
    tokens: Option<Tensor<'t>>,
    /// Whether a node reads the batch's embeddings.
    embeddings: bool,
}

impl<'t> Inputs<'t> {
    fn look_at(&mut self, node: Tensor<'t>) {
        for source in (0..10).filter_map(|index| node.source(index)).map(Tensor::root) {
            if source.has_flag(llama_sys::ggml_tensor_flag::GGML_TENSOR_FLAG_INPUT) {
                // Where the model takes them as they are, they get the name of what they are in place of (llama-graph.cpp,
                // build_inp_embd).
                self.embeddings |= source.is_named(b"inp_embd") || source.is_named(b"embd");
                if self.tokens.is_none() && source.is_named(b"inp_tokens") {
                    self.tokens = Some(node);
                }
            }
        }
    }

    /// A batch is of tokens or of embeddings (llama-batch.cpp), and llama.cpp sets the input of which it is.
    fn violation(&self) -> Option<Violation> {
        let node = self.tokens.filter(|_| self.embeddings)?;
        Some(Violation::StaleTokens { tensor: node.name(), operation: node.operation() })
    }
}
