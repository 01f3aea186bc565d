//! Generates docs/graph-assertions.md: every assertion of ggml's CPU backend, and the part of llama-core that keeps
//! it from failing.
//!
//! The conditions in crates/llama-core/src/graph/conditions name the assertions that they cover. An assertion without
//! a condition, for example of another version of llama.cpp, needs a condition, or a reason in this file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use proc_macro2::{TokenStream, TokenTree};

/// The folder of the assertions, below the tree.
const SOURCES: &str = "ggml/src/ggml-cpu";

const FILES: [&str; 4] = ["ops.cpp", "binary-ops.cpp", "unary-ops.cpp", "ggml-cpu.c"];

/// The folder of the conditions.
const CONDITIONS: &str = "crates/llama-core/src/graph/conditions";

/// Assertions that no graph can make fail: functions, expressions (`*` for all) and the reason.
const REASONS: &[(&str, &str, &str)] = &[
    ("ggml_compute_forward_get_rows_*", "i01 >= 0 && i01 < ne01", INDEX),
    ("ggml_compute_forward_get_rows_back_*", "r >= 0 && r < dst->ne[1]", INDEX),
    ("ggml_compute_forward_set_rows_impl", "i1 >= 0 && i1 < ne1", INDEX),
    ("ggml_compute_forward_add_id_f32", "i11 == -1 || (i11 >= 0 && i11 < ne11)", INDEX),
    (
        "ggml_compute_forward_rms_norm_mul_fused",
        "*",
        "called only for a product of the norm (ggml-cpu.c, ggml_cpu_try_fuse_ops)",
    ),
    ("ggml_compute_forward_conv_*", "patches_per_batch > 0 && batch_size >= 1", WORK),
    (
        "ggml_compute_forward_conv_2d_impl",
        "gemm_output + patch_n * c_out <= (float*)tmp + params->wsize",
        WORK,
    ),
    ("ggml_compute_forward_mul_mat_id", "params->wsize >= *", WORK),
    ("ggml_compute_forward_cross_entropy_loss_f32", "params->wsize >= *", WORK),
    (
        "ggml_compute_forward_pool_2d_back",
        "params->ith == 0",
        "runs on one thread (ggml-cpu.c, ggml_get_n_tasks)",
    ),
    (
        "ggml_compute_forward_flash_attn_ext_f16_one_chunk",
        "(q_to_vec_dot) && \"fattn: unsupported K-type\"",
        "every type that keys are multiplied with has a conversion from floats (ggml-cpu.c, type_traits_cpu)",
    ),
    (
        "ggml_compute_forward_flash_attn_ext_tiled",
        "k->type == v->type",
        "called for keys and values of one type (ggml_compute_forward_flash_attn_ext_f16)",
    ),
    ("ggml_compute_forward_flash_attn_ext_tiled", "tile_rows > 0", "a tile has at least one row"),
    ("ggml_compute_forward", "*", "ggml.c makes no other operations and variants"),
    ("ggml_get_n_tasks", "*", CALLER),
    ("ggml_graph_plan", "*", CALLER),
    ("ggml_graph_compute", "*", CALLER),
    ("ggml_threadpool_*", "*", "about threads, not about tensors"),
    ("ggml_numa_init", "*", "about the machine, not about tensors"),
    ("ggml_new_*", "*", UNUSED),
    ("ggml_set_*", "*", UNUSED),
    ("ggml_get_*", "*", UNUSED),
];

const INDEX: &str = "an index inside a tensor: the graph computes it, or batches are checked for it";
const WORK: &str = "ggml allocates the room itself (ggml-cpu.c, ggml_graph_plan)";
const CALLER: &str = "fails on the computing thread before other threads start, so the guard contains it";
const UNUSED: &str = "in a function that no graph calls";

/// An assertion: file, function and expression, or an abort's text in quotes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Assertion {
    file: &'static str,
    function: String,
    expression: String,
}

/// Renders docs/graph-assertions.md.
///
/// # Errors
///
/// An assertion has neither a condition nor a reason, or a condition covers no assertion.
pub(super) fn render(root: &Path, tree: &Path) -> anyhow::Result<String> {
    let mut assertions = Vec::new();
    for file in FILES {
        let path = tree.join(SOURCES).join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        assertions.extend(scan(file, &text));
    }
    let covers = covers(&root.join(CONDITIONS))?;
    let mut used = BTreeSet::new();
    let mut rows: BTreeMap<&Assertion, String> = BTreeMap::new();
    let mut open = Vec::new();
    for assertion in &assertions {
        let by: Vec<&(String, String)> = covers.iter().filter(|(_, cover)| is_of(cover, assertion)).collect();
        used.extend(by.iter().map(|(_, cover)| cover));
        let files: BTreeSet<&str> = by.iter().map(|(file, _)| file.as_str()).collect();
        let answer = if files.is_empty() {
            let reason = REASONS.iter().find(|(function, expression, _)| {
                matches(function, &assertion.function) && matches(expression, &assertion.expression)
            });
            reason.map(|(_, _, reason)| (*reason).to_owned())
        } else {
            let links = files.iter().map(|file| format!("[{file}](../{CONDITIONS}/{file}.rs)"));
            Some(links.collect::<Vec<_>>().join(", "))
        };
        match answer {
            Some(answer) => _ = rows.insert(assertion, answer),
            None => {
                open.push(format!("  {}, {}: {}", assertion.file, assertion.function, assertion.expression));
            }
        }
    }
    let idle = covers.iter().filter(|(_, cover)| !used.contains(cover));
    open.extend(idle.map(|(file, cover)| {
        format!("  {CONDITIONS}/{file}.rs covers an assertion that does not exist: {cover}")
    }));
    if !open.is_empty() {
        bail!(
            "assertions of ggml's CPU backend and the conditions of llama-core do not match:\n{}\nAdd a condition \
             to {CONDITIONS}, or a reason to xtask/src/codegen/assertions.rs.",
            open.join("\n")
        );
    }
    Ok(table(assertions.len(), &rows))
}

fn table(n: usize, rows: &BTreeMap<&Assertion, String>) -> String {
    let by_condition = rows.values().filter(|answer| answer.starts_with('[')).count();
    let mut text = format!(
        "<!-- @generated by `cargo xtask codegen`; do not edit. -->\n\n# Assertions of ggml's CPU backend\n\nBefore any part of a \
         graph is computed, `llama-core` compares each operation with a table of conditions. ggml's CPU \
         backend asserts or aborts in {n} places, with {} different assertions. The table covers {by_condition} of \
         them: no accepted graph can make them fail. The others have the reason why no graph reaches them.\n",
        rows.len()
    );
    for file in FILES {
        text += &format!("\n## {file}\n\n| function | assertion | kept from failing by |\n|---|---|---|\n");
        for (assertion, answer) in rows.iter().filter(|(assertion, _)| assertion.file == file) {
            let expression = assertion.expression.replace('|', "\\|");
            text += &format!("| `{}` | `{expression}` | {answer} |\n", assertion.function);
        }
    }
    text
}

/// Returns all assertions of a C or C++ file, in order.
fn scan(file: &'static str, text: &str) -> Vec<Assertion> {
    let mut found = Vec::new();
    let mut function = String::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some(name) = function_of(line) {
            function = name.to_owned();
        }
        let mut from = 0;
        while let Some((at, is_assert)) = next_assertion(line, from) {
            from = at;
            let Some(argument) = argument(&text[start + at - 1..]) else { continue };
            let expression = if is_assert { normal(argument) } else { quoted(argument) };
            found.push(Assertion { file, function: function.clone(), expression });
        }
        start += line.len();
    }
    found
}

/// Returns the position after the parenthesis of the next assertion in a line, and whether it is an assertion rather
/// than an abort.
fn next_assertion(line: &str, from: usize) -> Option<(usize, bool)> {
    if line.trim_start().starts_with("//") {
        return None;
    }
    let find = |name: &str| line[from..].find(name).map(|at| from + at + name.len());
    let (assert, abort) = (find("GGML_ASSERT("), find("GGML_ABORT("));
    match (assert, abort) {
        (Some(assert), Some(abort)) if abort < assert => Some((abort, false)),
        (Some(assert), _) => Some((assert, true)),
        (None, abort) => abort.map(|abort| (abort, false)),
    }
}

/// Returns the name of the function that begins in a line: the word before the first parenthesis of an unindented
/// line.
fn function_of(line: &str) -> Option<&str> {
    let starts = line.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !starts || line.trim_end().ends_with(';') || line.starts_with("template") {
        return None;
    }
    let before = line[..line.find('(')?].trim_end();
    let name = before.rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next()?;
    (!name.is_empty() && before.contains(' ')).then_some(name)
}

/// Returns the text between the parenthesis at the beginning and the one that closes it.
fn argument(text: &str) -> Option<&str> {
    let (mut depth, mut in_string, mut escaped) = (0_u32, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            '(' if !in_string => depth += 1,
            ')' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    return Some(&text[1..at]);
                }
            }
            _ => {}
        }
    }
    None
}

/// Returns the format of an abort, in its quotes.
fn quoted(argument: &str) -> String {
    let mut escaped = false;
    let end = argument.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(argument, |(end, _)| &argument[..=end]).to_owned()
}

/// Removes the spaces that align columns.
fn normal(expression: &str) -> String {
    let words: Vec<&str> = expression.split_whitespace().collect();
    words.join(" ").replace("( ", "(").replace(" )", ")")
}

/// Whether a condition's entry is about an assertion.
fn is_of(cover: &str, assertion: &Assertion) -> bool {
    let (function, expression) = cover.split_once(": ").unwrap_or((cover, "*"));
    matches(function, &assertion.function) && matches(&normal(expression), &assertion.expression)
}

/// Whether a text matches a pattern, which may end in `*`.
fn matches(pattern: &str, text: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == text, |start| text.starts_with(start))
}

/// Returns the entries of `covers` of all conditions, with the name of their file.
fn covers(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("could not read {}", folder.display()))?;
    let mut paths: Vec<_> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let tokens: TokenStream =
            text.parse().map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        collect(tokens, &mut |entry| found.push((name.clone(), entry)));
    }
    Ok(found)
}

/// Calls `found` for each text in the arrays that follow the word `covers`.
fn collect(tokens: TokenStream, found: &mut impl FnMut(String)) {
    let mut is_next = false;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => is_next = ident == "covers",
            TokenTree::Group(group) if is_next => {
                is_next = false;
                for token in group.stream() {
                    if let TokenTree::Literal(literal) = token
                        && let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string())
                    {
                        found(text.value());
                    }
                }
            }
            TokenTree::Group(group) => collect(group.stream(), found),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assertions_are_found_with_their_function() {
        let text = "template <typename T>\nstatic void compute_one(\n    int n) {\n    GGML_ASSERT( n ==  f(\")\") );\n    // \
                    GGML_ASSERT(false);\n    default: GGML_ABORT(\"no: %s\\n\", name);\n}\nint other(int);\nvoid compute_two() {\n  \
                    GGML_ASSERT(a &&\n        b);\n}\n";
        let found: Vec<_> = scan("ops.cpp", text).into_iter().map(|a| (a.function, a.expression)).collect();
        let expected =
            [("compute_one", "n == f(\")\")"), ("compute_one", "\"no: %s\\n\""), ("compute_two", "a && b")];
        assert_eq!(found, expected.map(|(function, text)| (function.to_owned(), text.to_owned())));
    }

    #[test]
    fn patterns_end_in_a_star() {
        assert!(matches("a_*", "a_b") && matches("*", "") && matches("a", "a"));
        assert!(!matches("a_*", "b_a") && !matches("a", "ab"));
    }

    #[test]
    fn covers_are_read_from_the_source() {
        let mut found = Vec::new();
        let tokens = "x! { A { requires: \"r\", covers: &[\"f: a[0] == 1\", \"g\"] } B { covers: &[] } }"
            .parse()
            .unwrap();
        collect(tokens, &mut |entry| found.push(entry));
        assert_eq!(found, ["f: a[0] == 1", "g"]);
    }
}
