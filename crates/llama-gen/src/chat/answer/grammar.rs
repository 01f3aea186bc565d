//! The grammar of a template's answers, as llama.cpp's common library derived it from the template.

use serde::Deserialize;

use crate::error::Result;

/// The index of a node.
pub(super) type Id = usize;

/// A parsing expression grammar.
#[derive(Clone, Debug)]
pub(super) struct Grammar {
    pub(super) nodes: Vec<Node>,
    pub(super) root: Id,
    /// Whether calls are in Gemma 4's own notation, where the names of rules identify the parts.
    pub(super) is_gemma: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Node {
    Epsilon,
    /// The beginning of the input.
    Start,
    /// The end of the input.
    End,
    /// One character.
    Any,
    /// Any amount of whitespace.
    Space,
    Literal {
        text: String,
    },
    Sequence {
        children: Vec<Id>,
    },
    /// The first child that matches.
    Choice {
        children: Vec<Id>,
    },
    Repetition {
        child: Id,
        min: i64,
        /// Negative: any number.
        max: i64,
    },
    /// Matches where the child does, without consuming text.
    And {
        child: Id,
    },
    /// Matches where the child does not, without consuming text.
    Not {
        child: Id,
    },
    /// A node whose text is not shown before it is complete.
    Atomic {
        child: Id,
    },
    /// A node that is read as its child.
    Same {
        child: Id,
    },
    Chars {
        ranges: Vec<(u32, u32)>,
        negated: bool,
        min: i64,
        max: i64,
    },
    /// The content of a string, without its quotes.
    String {
        delimiter: char,
    },
    /// Everything before the first of these texts, or everything.
    Until {
        delimiters: Vec<String>,
    },
    Rule {
        child: Id,
        name: String,
        trigger: bool,
    },
    Tag {
        child: Id,
        tag: Tag,
    },
    /// The name of a tool or an argument that was not offered, up to one of these characters. Only
    /// [`relax`](super::relax) adds it.
    #[serde(skip)]
    Name {
        ends: Vec<char>,
    },
    /// A JSON object that is a call, with members in any order and with any of the usual names. Only
    /// [`relax`](super::relax) adds it.
    #[serde(skip)]
    Call {
        /// Whether a mark precedes it, so that an object can only be a call.
        is_marked: bool,
    },
}

/// The meaning of a part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Tag {
    Reasoning,
    Content,
    Tool,
    ToolOpen,
    ToolClose,
    ToolId,
    ToolName,
    ToolArgs,
    ToolArg,
    ToolArgOpen,
    ToolArgClose,
    ToolArgName,
    ToolArgValue,
    ToolArgStringValue,
    ToolArgObject,
    ToolArgArray,
    ToolArgItem,
    /// A value without a schema that says whether it is a text. Only [`relax`](super::relax) adds it.
    #[serde(skip)]
    LooseValue,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Shim {
    nodes: Vec<Node>,
    root: Option<Id>,
}

impl Grammar {
    /// Reads the shim's description of a grammar. `format` is llama.cpp's name of the format.
    pub(super) fn from_shim(json: &str, format: &str) -> Result<Self> {
        let Shim { mut nodes, root } = super::super::from_shim(json)?;
        let root = root.unwrap_or_else(|| content_only(&mut nodes));
        Ok(Self { nodes, root, is_gemma: format == "peg-gemma4" })
    }

    /// Creates the grammar of a text that is all content.
    pub(super) fn content_only() -> Self {
        let mut nodes = Vec::new();
        let root = content_only(&mut nodes);
        Self { nodes, root, is_gemma: false }
    }

    pub(super) fn push(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        self.nodes.len() - 1
    }
}

fn content_only(nodes: &mut Vec<Node>) -> Id {
    let rest = nodes.len();
    nodes.push(Node::Until { delimiters: Vec::new() });
    nodes.push(Node::Tag { child: rest, tag: Tag::Content });
    rest + 1
}

impl Node {
    /// Returns the child nodes.
    pub(super) fn children(&self) -> &[Id] {
        match self {
            Self::Sequence { children } | Self::Choice { children } => children,
            Self::Repetition { child, .. }
            | Self::And { child }
            | Self::Not { child }
            | Self::Atomic { child }
            | Self::Same { child }
            | Self::Rule { child, .. }
            | Self::Tag { child, .. } => core::slice::from_ref(child),
            _ => &[],
        }
    }

    pub(super) fn children_mut(&mut self) -> &mut [Id] {
        match self {
            Self::Sequence { children } | Self::Choice { children } => children,
            Self::Repetition { child, .. }
            | Self::And { child }
            | Self::Not { child }
            | Self::Atomic { child }
            | Self::Same { child }
            | Self::Rule { child, .. }
            | Self::Tag { child, .. } => core::slice::from_mut(child),
            _ => &mut [],
        }
    }
}
