//! The protocol of ggml's RPC backend, as far as a relay must know it (ggml-rpc.cpp).
//!
//! A request is a command (1 byte), the length of its data (8 bytes) and the data. An answer, for the commands that have
//! one, is the length of its data and the data. Numbers are in the byte order of the machines, which is little-endian on all
//! that ggml supports for this.

use core::fmt;

/// Length of the command and the length at the start of a request.
pub(super) const HEADER: usize = 9;

pub(super) const GET_TENSOR: u8 = 8;
pub(super) const HELLO: u8 = 14;
pub(super) const GET_TENSOR_2D: u8 = 19;
pub(super) const COMM_INIT: u8 = 20;

/// Number of commands.
const COUNT: u8 = 23;

/// Length of the description of a transport in the greeting. Zeros stand for TCP.
pub(super) const CAPABILITIES: usize = 24;

/// Length of the answer to a greeting: the version, a byte without meaning, and the transport.
pub(super) const GREETING: usize = 4 + CAPABILITIES;

/// Address of memory in the answers of a lost server. Nothing is ever read there: buffers of this backend are not in this
/// process (ggml-rpc.cpp, `is_host`).
const NOWHERE: u64 = 1 << 32;

/// A version of the protocol between the machine with the model and the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RpcVersion {
    /// Number that changes when messages change.
    pub major: u8,
    /// Number that changes when messages are added.
    pub minor: u8,
    /// Number that changes with ggml's list of operations.
    pub patch: u8,
}

impl RpcVersion {
    /// Version of which this module knows the messages. Its patch number does not matter to a relay.
    const KNOWN: Self = Self::new(8, 0, 0);

    pub(super) const fn new(major: u8, minor: u8, patch: u8) -> Self {
        Self { major, minor, patch }
    }

    /// Returns the version of the linked llama.cpp, which a server must have. Corresponds to `llama_shim_rpc_protocol`.
    #[must_use]
    pub fn linked() -> Self {
        // SAFETY: takes no arguments and returns constants (shim/rpc.cpp).
        let version = unsafe { llama_sys::llama_shim_rpc_protocol() };
        Self::new(version.major, version.minor, version.patch)
    }

    /// Returns whether the relay knows the messages of this version.
    pub(super) fn is_known(self) -> bool {
        (self.major, self.minor) == (Self::KNOWN.major, Self::KNOWN.minor)
    }

    /// Returns the answer to a greeting.
    pub(super) fn greeting(self) -> [u8; GREETING] {
        let mut greeting = [0; GREETING];
        greeting[..3].copy_from_slice(&[self.major, self.minor, self.patch]);
        greeting
    }
}

impl fmt::Display for RpcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The answer that a command gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// None: the server only acts.
    None,
    /// Data that means something, and what stands in for it when the server is lost.
    Message(Vec<u8>),
    /// The bytes of a tensor. Zeros stand in for them, which are valid numbers, indices and ids.
    Tensor(u64),
}

/// Returns the answer to a command, or `None` for a command that this version does not have. `request` is its data.
pub(super) fn answer(command: u8, request: &[u8]) -> Option<Answer> {
    let number = |value: u64| Answer::Message(value.to_le_bytes().to_vec());
    let pair =
        |first: u64, second: u64| Answer::Message([first.to_le_bytes(), second.to_le_bytes()].concat());
    // Counted from the end of the request, because a description of a tensor comes first.
    let argument = |from_end: usize| {
        let start = request.len().checked_sub(from_end * 8)?;
        let bytes = request.get(start..start + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    Some(match command {
        // ALLOC_BUFFER: address and size, as requested.
        0 => pair(NOWHERE, argument(1)?),
        // GET_ALIGNMENT
        1 => number(128),
        // GET_MAX_SIZE
        2 => number(u64::MAX),
        // BUFFER_GET_BASE
        3 => number(NOWHERE),
        // SET_TENSOR_HASH: the data is there already, so it is not sent. COPY_TENSOR: done.
        7 | 9 => Answer::Message(vec![1]),
        GET_TENSOR => Answer::Tensor(argument(1)?),
        // GET_DEVICE_MEMORY: llama.cpp divides by the sum of all devices.
        11 => pair(1 << 30, 1 << 30),
        // GET_ALLOC_SIZE: the client takes at least the size of the tensor.
        13 => number(0),
        // DEVICE_COUNT
        15 => Answer::Message(vec![0; 4]),
        GET_TENSOR_2D => Answer::Tensor(argument(3)?.checked_mul(argument(2)?)?),
        // COMM_INIT: refused, and llama.cpp then adds the parts itself.
        COMM_INIT => Answer::Message(vec![0]),
        // FREE_BUFFER, BUFFER_CLEAR, SET_TENSOR, GRAPH_COMPUTE, INIT_TENSOR, GRAPH_RECOMPUTE, MEMSET_TENSOR,
        // SET_TENSOR_2D, COMM_ALLREDUCE, COMM_FREE.
        other if other < COUNT && other != HELLO => Answer::None,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linked_version_is_the_known_one() {
        assert_eq!(RpcVersion::linked().to_string(), "8.0.1");
        assert!(RpcVersion::linked().is_known());
        assert!(!RpcVersion::new(8, 1, 1).is_known());
    }

    #[test]
    fn tensors_have_the_length_that_the_request_asks_for() {
        let request = |tail: &[u64]| {
            let mut bytes = vec![7; 296];
            tail.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
            bytes
        };
        // Offset and size; offset, size, number of copies and stride.
        assert_eq!(answer(GET_TENSOR, &request(&[5, 4096])), Some(Answer::Tensor(4096)));
        assert_eq!(answer(GET_TENSOR_2D, &request(&[5, 16, 3, 99])), Some(Answer::Tensor(48)));
        assert_eq!(answer(GET_TENSOR_2D, &request(&[5, u64::MAX, 3, 99])), None);
        assert_eq!(answer(GET_TENSOR, &[1, 2]), None);
    }

    #[test]
    fn unknown_commands_and_a_second_greeting_have_no_answer() {
        assert_eq!(answer(HELLO, &[]), None);
        assert_eq!(answer(22, &[]), Some(Answer::None));
        assert_eq!(answer(23, &[]), None);
    }
}
