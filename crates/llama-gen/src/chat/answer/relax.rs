//! Relaxes a grammar, so that it also matches calls of tools that were not offered, arguments that were not declared, and
//! JSON whose members have another order or other names.
//!
//! Each choice of tools gets one more option, which is tried last: a tool's rule with any name.

use std::collections::HashSet;

use super::grammar::{Grammar, Id, Node, Tag};

/// The characters allowed between arguments: whitespace and commas.
const SEPARATORS: &[(u32, u32)] = &[(0x09, 0x0d), (0x20, 0x20), (0x2c, 0x2c)];

impl Grammar {
    pub(super) fn relaxed(mut self) -> Self {
        let marked = self.marked();
        for id in self.reachable() {
            let Node::Choice { children } = &self.nodes[id] else { continue };
            let children = children.clone();
            let tools = children.iter().copied().filter(|child| self.is_tool(*child));
            if let Some(base) = tools.max_by_key(|child| self.count_args(*child)) {
                let option = Loosening::new(&mut self, base).tool(base, marked.contains(&id));
                if let Node::Choice { children } = &mut self.nodes[id] {
                    children.push(option);
                }
            } else if children.iter().any(|child| self.is_unsolicited(*child)) {
                let kept: Vec<Id> =
                    children.into_iter().filter(|child| !self.is_unsolicited(*child)).collect();
                self.nodes[id] = Node::Choice { children: kept };
            }
        }
        self
    }

    /// Returns the nodes of calls that follow a mark.
    fn marked(&self) -> HashSet<Id> {
        let is_mark = |text: &str| {
            !text.is_empty() && !text.starts_with(['{', '[', ' ', '\n']) || text.starts_with("[T")
        };
        let begins_marked = |id: &Id| {
            matches!(self.nodes[*id], Node::Rule { trigger: true, .. })
                && self.leading_text(*id).is_some_and(is_mark)
        };
        self.below(self.root).filter(begins_marked).flat_map(|id| self.below(id)).collect()
    }

    /// Returns whether a node is the rule of one tool.
    fn is_tool(&self, id: Id) -> bool {
        let Node::Rule { name, .. } = &self.nodes[self.resolved(id)] else { return false };
        let Some((before, number)) = name.rsplit_once('-') else { return false };
        let is_named = before == "tool" || before.ends_with("-tool");
        is_named
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && self.contains(id, |tag| tag == Tag::ToolOpen)
    }

    /// Returns whether a node drops unsolicited calls, which an answer should show.
    fn is_unsolicited(&self, id: Id) -> bool {
        matches!(&self.nodes[self.resolved(id)], Node::Rule { name, .. } if name == "unsolicited")
    }

    /// Returns the node that a node is read as.
    fn resolved(&self, mut id: Id) -> Id {
        while let Node::Same { child } = &self.nodes[id] {
            id = *child;
        }
        id
    }

    fn contains(&self, id: Id, is: impl Fn(Tag) -> bool) -> bool {
        self.find(id, |node| matches!(node, Node::Tag { tag, .. } if is(*tag))).is_some()
    }

    fn count_args(&self, id: Id) -> usize {
        self.arguments_below(id).count()
    }

    fn arguments_below(&self, id: Id) -> impl Iterator<Item = Id> {
        self.below(id).filter(|id| matches!(self.nodes[*id], Node::Tag { tag: Tag::ToolArg, .. }))
    }

    /// Finds the first node at or below `id`, from the left, for which `is` returns true.
    fn find(&self, id: Id, is: impl Fn(&Node) -> bool) -> Option<Id> {
        self.below(id).find(|id| is(&self.nodes[*id]))
    }

    fn reachable(&self) -> Vec<Id> {
        self.below(self.root).collect()
    }

    /// Returns a node and all nodes below it, each once, from the left.
    fn below(&self, id: Id) -> impl Iterator<Item = Id> {
        let mut seen = vec![false; self.nodes.len()];
        let mut left = vec![id];
        core::iter::from_fn(move || {
            while let Some(id) = left.pop() {
                if !core::mem::replace(&mut seen[id], true) {
                    left.extend(self.nodes[id].children().iter().rev());
                    return Some(id);
                }
            }
            None
        })
    }

    /// Returns the literal at the beginning of a node, if it begins with one.
    fn leading_text(&self, id: Id) -> Option<&str> {
        match &self.nodes[self.resolved(id)] {
            Node::Literal { text } => Some(text),
            node => self.leading_text(*node.children().first()?),
        }
    }
}

struct Loosening<'g> {
    grammar: &'g mut Grammar,
    /// A node for any number of arguments with any names.
    arguments: Option<Id>,
}

impl<'g> Loosening<'g> {
    fn new(grammar: &'g mut Grammar, base: Id) -> Self {
        let mut loosening = Self { grammar, arguments: None };
        loosening.arguments = loosening.any_arguments(base);
        loosening
    }

    fn tool(&mut self, base: Id, is_marked: bool) -> Id {
        let open = self.grammar.find(base, |node| matches!(node, Node::Tag { tag: Tag::ToolOpen, .. }));
        let is_json =
            open.and_then(|open| self.grammar.leading_text(open)).is_some_and(|text| text.starts_with('{'));
        if is_json { self.grammar.push(Node::Call { is_marked }) } else { self.loose(base, None) }
    }

    /// Copies a node with any names allowed. `end` is the character after it.
    fn loose(&mut self, id: Id, end: Option<char>) -> Id {
        let grammar = &*self.grammar;
        let has_name = grammar.contains(id, |tag| tag == Tag::ToolName);
        if !has_name && grammar.contains(id, |tag| tag == Tag::ToolArg) && !self.is_arguments(id) {
            return self.arguments.unwrap_or(id);
        }
        if !has_name && !grammar.contains(id, |tag| tag == Tag::ToolArgs) {
            return id;
        }
        self.copy(id, end)
    }

    fn is_arguments(&self, id: Id) -> bool {
        matches!(self.grammar.nodes[self.grammar.resolved(id)], Node::Tag { tag: Tag::ToolArgs, .. })
    }

    fn copy(&mut self, id: Id, end: Option<char>) -> Id {
        let mut node = self.grammar.nodes[id].clone();
        if let Node::Tag { child, tag: Tag::ToolName } = &mut node {
            *child = self.grammar.push(Node::Name { ends: end.into_iter().collect() });
            return self.grammar.push(node);
        }
        // A lookahead at the first argument would refuse a call without arguments.
        if let Node::Sequence { children } = &mut node {
            children.retain(|child| {
                !matches!(self.grammar.nodes[self.grammar.resolved(*child)], Node::And { .. })
            });
        }
        let children = node.children().to_vec();
        for (n, child) in children.iter().enumerate() {
            let next = children.get(n + 1).and_then(|next| self.grammar.leading_text(*next));
            let end = next.and_then(|text| text.chars().next()).or(end);
            node.children_mut()[n] = self.loose(*child, end);
        }
        self.grammar.push(node)
    }

    /// Creates a node for any number of arguments in the form of those of `base`.
    fn any_arguments(&mut self, base: Id) -> Option<Id> {
        let model = self.model_argument(base)?;
        let argument = self.loose_argument(model, None);
        let ranges = SEPARATORS.to_vec();
        let separators = self.grammar.push(Node::Chars { ranges, negated: false, min: 0, max: -1 });
        let child = self.grammar.push(Node::Sequence { children: vec![separators, argument] });
        Some(self.grammar.push(Node::Repetition { child, min: 0, max: -1 }))
    }

    /// Finds the argument with the fewest constraints on its value: a text up to a mark.
    fn model_argument(&self, base: Id) -> Option<Id> {
        let grammar = &*self.grammar;
        let arguments: Vec<Id> = grammar.arguments_below(base).collect();
        let is_free = |id: &Id| grammar.find(*id, |node| matches!(node, Node::Until { .. })).is_some();
        arguments.iter().copied().find(is_free).or(arguments.last().copied())
    }

    fn loose_argument(&mut self, id: Id, end: Option<char>) -> Id {
        let mut node = self.grammar.nodes[id].clone();
        match &mut node {
            Node::Tag { child, tag: Tag::ToolArgName } => {
                *child = self.grammar.push(Node::Name { ends: end.into_iter().collect() });
                return self.grammar.push(node);
            }
            Node::Tag { child, tag: tag @ (Tag::ToolArgValue | Tag::ToolArgStringValue) } => {
                let child = self.grammar.resolved(*child);
                let is_free = matches!(&self.grammar.nodes[self.without_rule(child)], Node::Until { .. });
                if is_free {
                    *tag = Tag::LooseValue;
                    return self.grammar.push(node);
                }
                return id;
            }
            _ => {}
        }
        if !self
            .grammar
            .contains(id, |tag| matches!(tag, Tag::ToolArgName | Tag::ToolArgValue | Tag::ToolArgStringValue))
        {
            return id;
        }
        let children = node.children().to_vec();
        for (n, child) in children.iter().enumerate() {
            let next = children.get(n + 1).and_then(|next| self.grammar.leading_text(*next));
            let end = next.and_then(|text| text.chars().next()).or(end);
            node.children_mut()[n] = self.loose_argument(*child, end);
        }
        self.grammar.push(node)
    }

    fn without_rule(&self, id: Id) -> Id {
        match &self.grammar.nodes[id] {
            Node::Rule { child, .. } => self.grammar.resolved(*child),
            _ => id,
        }
    }
}
