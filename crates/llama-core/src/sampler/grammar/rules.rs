//! Checks for rules on which llama.cpp would not terminate.

use super::parse::{Element, Rule};

/// Limit of ways from one rule to the rules it can begin with. With more, llama.cpp takes minutes, since its search
/// for left recursion follows every one of them.
const MAX_PATHS: u64 = 10_000_000;

/// An edge to a rule that another one can begin with.
#[derive(Clone, Copy)]
struct Edge {
    to: usize,
    /// Whether something follows the reference, so that a cycle grows the stack.
    grows: bool,
}

/// The rules that each rule can begin with.
type Graph = Vec<Vec<Edge>>;

/// Refuses left recursion, even where llama.cpp does not detect it, and rules that can neither match text nor end.
pub(super) fn check(rules: &[Rule]) -> Result<(), String> {
    let nullable = nullable(rules);
    let directly: Vec<bool> =
        rules.iter().map(|rule| alternatives(rule).any(<[Element]>::is_empty)).collect();
    let recursive = |id: usize| {
        Err(format!("the rule `{}` is left-recursive: it can begin with itself without end", rules[id].name))
    };
    // llama.cpp's view: a rule that is empty only through another rule does not count as possibly empty.
    let seen = begins(rules, &directly);
    let seen_components = components(&seen);
    if let Some(id) = inside(&seen, &seen_components, |_| true) {
        return recursive(id);
    }
    let really = begins(rules, &nullable);
    if let Some(id) = inside(&really, &components(&really), |edge| edge.grows) {
        return recursive(id);
    }
    check_paths(rules, &seen, &seen_components)?;
    let live = live(rules, &nullable);
    match rules.iter().zip(live).find(|(_, live)| !live) {
        Some((rule, _)) => {
            Err(format!("the rule `{}` can never match: it leads neither to text nor to its end", rule.name))
        }
        None => Ok(()),
    }
}

fn alternatives(rule: &Rule) -> impl Iterator<Item = &[Element]> {
    rule.elements.split(|element| *element == Element::Alternative)
}

/// Returns which rules can match the empty text.
fn nullable(rules: &[Rule]) -> Vec<bool> {
    fixpoint(rules, |rule, known| {
        alternatives(rule).any(|alternative| {
            alternative.iter().all(|element| matches!(element, Element::Rule(id) if known[*id]))
        })
    })
}

/// Returns which rules lead to a terminal or to their end.
fn live(rules: &[Rule], nullable: &[bool]) -> Vec<bool> {
    let terminal =
        fixpoint(rules, |rule, known| alternatives(rule).any(|it| begins_with_terminal(it, nullable, known)));
    nullable.iter().zip(terminal).map(|(nullable, terminal)| *nullable || terminal).collect()
}

fn begins_with_terminal(alternative: &[Element], nullable: &[bool], known: &[bool]) -> bool {
    for element in alternative {
        match element {
            Element::Rule(id) if known[*id] => return true,
            Element::Rule(id) if nullable[*id] => {}
            Element::Rule(_) => return false,
            _ => return true,
        }
    }
    false
}

/// Returns the smallest set of rules for which `holds` is satisfied.
fn fixpoint(rules: &[Rule], holds: impl Fn(&Rule, &[bool]) -> bool) -> Vec<bool> {
    let mut known = vec![false; rules.len()];
    let mut changed = true;
    // Rules may depend on earlier or on later ones: iterating in both directions settles either case in one round.
    while changed {
        changed = false;
        for id in (0..rules.len()).chain((0..rules.len()).rev()) {
            if !known[id] && holds(&rules[id], &known) {
                known[id] = true;
                changed = true;
            }
        }
    }
    known
}

fn begins(rules: &[Rule], skip: &[bool]) -> Graph {
    rules.iter().map(|rule| alternatives(rule).flat_map(|it| beginnings(it, skip)).collect()).collect()
}

fn beginnings(alternative: &[Element], skip: &[bool]) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (index, element) in alternative.iter().enumerate() {
        let Element::Rule(to) = *element else { break };
        edges.push(Edge { to, grows: index + 1 < alternative.len() });
        if !skip[to] {
            break;
        }
    }
    edges
}

/// Returns a rule on a cycle, that is, one with an edge of the given kind inside its own component.
fn inside(graph: &Graph, components: &[usize], kind: impl Fn(&Edge) -> bool) -> Option<usize> {
    let circular =
        |id: usize| graph[id].iter().any(|edge| kind(edge) && components[id] == components[edge.to]);
    (0..graph.len()).find(|id| circular(*id))
}

/// Counts the ways down from each rule. The graph is acyclic.
fn check_paths(rules: &[Rule], graph: &Graph, components: &[usize]) -> Result<(), String> {
    let mut order: Vec<usize> = (0..rules.len()).collect();
    // Components are numbered from the leaves up.
    order.sort_unstable_by_key(|id| components[*id]);
    let mut paths = vec![1_u64; rules.len()];
    for id in order {
        paths[id] = graph[id].iter().fold(1, |sum: u64, edge| sum.saturating_add(paths[edge.to]));
        if paths[id] > MAX_PATHS {
            let name = &rules[id].name;
            return Err(format!("the rule `{name}` can begin in more than {MAX_PATHS} ways: simplify it"));
        }
    }
    Ok(())
}

/// Returns the strongly connected components, numbered from the leaves up: Tarjan's algorithm without recursion.
fn components(graph: &Graph) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    let n = graph.len();
    let (mut found, mut low, mut component) = (vec![NONE; n], vec![0; n], vec![NONE; n]);
    let (mut open, mut walk) = (Vec::new(), Vec::new());
    let (mut n_found, mut n_components) = (0, 0);
    for root in 0..n {
        if found[root] == NONE {
            walk.push((root, 0));
        }
        while let Some((id, next)) = walk.pop() {
            if next == 0 {
                (found[id], low[id]) = (n_found, n_found);
                n_found += 1;
                open.push(id);
            }
            if let Some(edge) = graph[id].get(next) {
                walk.push((id, next + 1));
                if found[edge.to] == NONE {
                    walk.push((edge.to, 0));
                } else if component[edge.to] == NONE {
                    low[id] = low[id].min(found[edge.to]);
                }
                continue;
            }
            if low[id] == found[id] {
                while let Some(member) = open.pop() {
                    component[member] = n_components;
                    if member == id {
                        break;
                    }
                }
                n_components += 1;
            }
            if let Some((parent, _)) = walk.last() {
                low[*parent] = low[*parent].min(low[id]);
            }
        }
    }
    component
}
