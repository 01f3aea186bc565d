//! Checks of graphs before any of their nodes is computed.
//!
//! llama.cpp asserts on unsupported types and shapes of tensors while it computes them, on ggml's threads, where a
//! failed assertion ends the process. Therefore the CPU backends of contexts show each part of a graph that they
//! receive: once for each shape when it is planned, and again when it is computed, which costs a comparison. A graph
//! that violates the table of conditions is not computed.

mod conditions;
mod tensor;
#[cfg(test)]
mod tests;

use core::cell::{Cell, RefCell};
use core::marker::PhantomData;

use llama_sys::{ggml_tensor, llama_shim_graph_use};
use tensor::Tensor;

use crate::error::{Error, ErrorKind};
use crate::ffi::guard::{guarded, or_logged};

/// The reason why a graph cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A condition of the table does not hold.
    Condition { tensor: String, operation: String, condition: String },
    /// A graph of embeddings reads token ids, which would be those of an earlier batch.
    StaleTokens { tensor: String, operation: String },
}

/// A thread's findings since `begin`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Nothing,
    /// A violation in a planned graph.
    Planned,
    /// A violation that prevented a computation.
    Refused,
}

thread_local! {
    /// The state, which is read in every step and therefore needs no destructor.
    static STATE: Cell<State> = const { Cell::new(State::Nothing) };
    /// The first planned violation, or the one that prevented a computation, if any.
    static VIOLATION: RefCell<Option<Violation>> = const { RefCell::new(None) };
}

/// A guard during whose lifetime the CPU backends that this thread creates show their graphs.
pub(crate) struct Watch(PhantomData<*const ()>);

impl Watch {
    /// Starts watching. Corresponds to `llama_shim_watch_graphs`.
    pub(crate) fn begin() -> Self {
        begin();
        // SAFETY: the function keeps the pointer to `check`, which neither throws nor unwinds.
        or_logged(unsafe { guarded!(llama_shim_watch_graphs(Some(check))) }, false);
        Self(PhantomData)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: without a function, backends that are created from here on show nothing.
        let _ = unsafe { llama_sys::llama_shim_watch_graphs(None) };
    }
}

/// Makes the library's devices show the backends that they will create. Call it before anybody uses them.
pub(crate) fn prepare() {
    drop(Watch::begin());
}

/// Forgets earlier findings. To be called before llama.cpp plans or computes.
#[inline]
pub(crate) fn begin() {
    STATE.set(State::Nothing);
}

/// Returns the violation found since `begin`, if any.
#[inline]
pub(crate) fn found() -> Option<Finding> {
    match STATE.get() {
        State::Nothing => None,
        state => take(state == State::Refused),
    }
}

/// A violation, and whether it prevented a computation.
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

/// Records a violation. It is lost in an ending thread that has dropped its variables; the failure then has no
/// explanation.
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
                    "its {operation} \"{tensor}\" reads token ids, which embeddings do not have: decode tokens"
                );
                ErrorKind::Unsupported { operation: "decoding embeddings", reason }.into()
            }
        }
    }
}

/// The `llama_shim_graph_check` function: returns whether the nodes can be computed.
unsafe extern "C-unwind" fn check(
    nodes: *const *mut ggml_tensor,
    n_nodes: i32,
    graph_use: llama_shim_graph_use,
) -> bool {
    let is_planned = graph_use == llama_shim_graph_use::LLAMA_SHIM_GRAPH_USE_PLAN;
    let has_found = STATE.get() != State::Nothing;
    if nodes.is_null() || (!is_planned && !has_found) {
        // The nodes were checked when they were planned.
        return true;
    }
    // SAFETY: ggml passes an array of `n_nodes` nodes (ggml.c, ggml_graph_nodes), which is valid during the call.
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

/// Returns the first violation, in the order in which the nodes are computed.
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
        inputs.add(node);
    }
    inputs.violation()
}

/// Returns whether the CPU backend does anything for a node (ggml-cpu.c, `ggml_graph_compute_thread` and
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

/// Returns the condition that a node violates, with a description of its operands.
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

/// Returns the first violated condition of a node that has its sources.
fn broken_condition(node: Tensor<'_>) -> Option<&'static conditions::Condition> {
    let conditions = conditions::of(node.op())?.conditions;
    conditions.iter().find(|condition| !(condition.holds)(node))
}

/// Describes the operands of a node, for errors.
#[cold]
fn operands(node: Tensor<'_>) -> String {
    let sources = (0..10).filter_map(|index| Some((index, node.source(index)?)));
    let mut text = String::new();
    for (index, source) in sources {
        text += &format!("source {index} is {}, ", source.describe());
    }
    text + &format!("the result {}", node.describe())
}

/// The inputs of llama.cpp that a graph reads.
#[derive(Default)]
struct Inputs<'t> {
    /// A node that reads the ids of the batch's tokens.
    tokens: Option<Tensor<'t>>,
    /// Whether a node reads the batch's embeddings.
    embeddings: bool,
}

impl<'t> Inputs<'t> {
    fn add(&mut self, node: Tensor<'t>) {
        for source in (0..10).filter_map(|index| node.source(index)).map(Tensor::root) {
            if source.has_flag(llama_sys::ggml_tensor_flag::GGML_TENSOR_FLAG_INPUT) {
                // If the model takes embeddings unchanged, they get the name of the tensor that they replace
                // (llama-graph.cpp, build_inp_embd).
                self.embeddings |= source.is_named(b"inp_embd") || source.is_named(b"embd");
                if self.tokens.is_none() && source.is_named(b"inp_tokens") {
                    self.tokens = Some(node);
                }
            }
        }
    }

    /// Returns the violation of a graph that reads both: a batch has either tokens or embeddings (llama-batch.cpp),
    /// and llama.cpp sets only that input.
    fn violation(&self) -> Option<Violation> {
        let node = self.tokens.filter(|_| self.embeddings)?;
        Some(Violation::StaleTokens { tensor: node.name(), operation: node.operation() })
    }
}
