//! Checks how llama-core calls C: by `guarded!`, or directly when the function cannot throw.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::functions::Headers;
use super::scan;
use super::unguarded::UNGUARDED;

/// The macro of llama-core for guarded calls.
const MACRO: &str = "guarded";

/// The C functions that a crate's sources name.
pub(super) struct Uses {
    /// The functions that are called with a guard.
    pub(super) guarded: HashSet<String>,
    /// The functions that are named in any other way, each with a file.
    direct: BTreeMap<String, String>,
}

impl Uses {
    /// Reads the sources in a folder.
    pub(super) fn scan(headers: &Headers, folder: &Path) -> anyhow::Result<Self> {
        let known: HashSet<&str> = headers.all().map(|function| &*function.rust_name).collect();
        let mut uses = Self { guarded: HashSet::new(), direct: BTreeMap::new() };
        // Unit tests call functions to compare with.
        let is_test = |path: &Path| {
            let path = path.strip_prefix(folder).unwrap_or(path);
            path.components().any(|part| part.as_os_str() == "tests")
        };
        for path in scan::rust_files(folder)?.into_iter().filter(|path| !is_test(path)) {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let tokens = text.parse().map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            uses.read(&known, &path.display().to_string(), tokens);
        }
        Ok(uses)
    }

    fn read(&mut self, known: &HashSet<&str>, file: &str, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (index, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => {
                    let mut inner = group.stream();
                    if group.delimiter() == Delimiter::Parenthesis && follows_macro(&tokens[..index]) {
                        inner = self.guarded_call(inner);
                    }
                    self.read(known, file, inner);
                }
                TokenTree::Ident(name) if known.contains(&*name.to_string()) => {
                    self.direct.insert(name.to_string(), file.to_owned());
                }
                _ => {}
            }
        }
    }

    /// Records the function at the beginning of the tokens, and returns the others.
    fn guarded_call(&mut self, tokens: TokenStream) -> TokenStream {
        let mut tokens = tokens.into_iter().peekable();
        // A variable of a macro is not a function.
        if let Some(TokenTree::Ident(name)) = tokens.next_if(|token| matches!(token, TokenTree::Ident(_))) {
            self.guarded.insert(name.to_string());
        }
        tokens.collect()
    }

    /// Refuses functions that are called directly and are not listed as unguarded.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let listed = |name: &str| UNGUARDED.iter().any(|(_, names)| names.contains(&name));
        let wrong: Vec<_> = self
            .direct
            .iter()
            .filter(|(name, _)| !listed(name))
            .map(|(name, file)| format!("  {name} in {file}"))
            .collect();
        if !wrong.is_empty() {
            bail!(
                "these functions are called without a guard:\n{}\nCall them by `guarded!(function(arguments))`. If the \
                 source shows that one can neither throw nor assert, list it in xtask/src/codegen/unguarded.rs.",
                wrong.join("\n")
            );
        }
        let unused: Vec<_> = UNGUARDED
            .iter()
            .flat_map(|(_, names)| names.iter())
            .filter(|name| !self.direct.contains_key(**name))
            .copied()
            .collect();
        if !unused.is_empty() {
            bail!(
                "xtask/src/codegen/unguarded.rs lists functions that are not called directly: {}",
                unused.join(", ")
            );
        }
        Ok(())
    }
}

/// Whether the last tokens are the name of the macro and `!`.
fn follows_macro(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [.., TokenTree::Ident(name), TokenTree::Punct(mark)] if name == MACRO && mark.as_char() == '!')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(code: &str) -> Uses {
        let known = HashSet::from(["llama_free", "llama_n_ctx", "llama_decode"]);
        let mut uses = Uses { guarded: HashSet::new(), direct: BTreeMap::new() };
        uses.read(&known, "a.rs", code.parse().unwrap());
        uses
    }

    #[test]
    fn guarded_and_direct_calls_are_told_apart() {
        let uses = uses("fn f() { unsafe { guarded!(llama_decode(x, llama_sys::llama_n_ctx(y))) } }");
        assert_eq!(uses.guarded, HashSet::from(["llama_decode".to_owned()]));
        assert_eq!(uses.direct.keys().collect::<Vec<_>>(), ["llama_n_ctx"]);
    }

    #[test]
    fn a_direct_call_has_to_be_on_the_list() {
        let error = uses("fn f() { llama_sys::llama_decode(x) }").check().unwrap_err().to_string();
        assert!(
            error.starts_with("these functions are called without a guard:\n  llama_decode in a.rs\n"),
            "{error}"
        );
    }

    #[test]
    fn documentation_is_no_call() {
        assert!(uses("/// As llama_decode\nfn f() {}").direct.is_empty());
    }
}
