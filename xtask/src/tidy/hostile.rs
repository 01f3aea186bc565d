//! Checks that every safe public function of llama-core has a case in the walk with hostile arguments, and every case
//! a function.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{Expr, Item, Visibility};

use super::Finding;

const SOURCES: &str = "crates/llama-core/src";
const WALK: &str = "crates/llama-core/tests/hostile";

/// The place of each name: a file, and a line counted from 1.
type Places = BTreeMap<String, (PathBuf, usize)>;

/// Compares the functions with the cases.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let functions = collect(root, Path::new(SOURCES), functions_of)?;
    let cases = collect(root, Path::new(WALK), cases_of)?;
    Ok(compare(&functions, &cases))
}

fn compare(functions: &Places, cases: &Places) -> Vec<Finding> {
    let without_case =
        functions.iter().filter(|(name, _)| !cases.contains_key(*name)).map(|(name, place)| {
            let sentence = format!("`{name}` has no case with hostile arguments: add one to {WALK}");
            Finding::new(&place.0, place.1, sentence)
        });
    let without_function =
        cases.iter().filter(|(name, _)| !functions.contains_key(*name)).map(|(name, place)| {
            let sentence = format!("`{name}` is not a safe public function of llama-core: remove the case");
            Finding::new(&place.0, place.1, sentence)
        });
    without_case.chain(without_function).collect()
}

fn collect(
    root: &Path,
    folder: &Path,
    names: impl Fn(&syn::File) -> Vec<(String, usize)> + Copy,
) -> Result<Places> {
    let could_not_read = || format!("could not read {}", root.join(folder).display());
    let mut places = Places::new();
    for entry in fs::read_dir(root.join(folder)).with_context(could_not_read)? {
        let entry = entry.with_context(could_not_read)?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            places.extend(collect(root, &path, names)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(root.join(&path))
                .with_context(|| format!("could not read {}", path.display()))?;
            let file =
                syn::parse_file(&text).with_context(|| format!("could not parse {}", path.display()))?;
            places.extend(names(&file).into_iter().map(|(name, line)| (name, (path.clone(), line))));
        }
    }
    Ok(places)
}

/// Returns the names in each `const CASES: &[Case] = &[("Type::function", function), …]`, also in modules of the
/// file.
fn cases_of(file: &syn::File) -> Vec<(String, usize)> {
    lists(&file.items).into_iter().flat_map(|array| &array.elems).filter_map(case_name).collect()
}

/// Returns the arrays of cases, whatever their names.
fn lists(items: &[Item]) -> Vec<&syn::ExprArray> {
    let arrays = items.iter().flat_map(|item| match item {
        Item::Const(item) if is_cases(&item.ty) => match &*item.expr {
            Expr::Reference(reference) => match &*reference.expr {
                Expr::Array(array) => vec![array],
                _ => Vec::new(),
            },
            _ => Vec::new(),
        },
        Item::Mod(module) => module.content.as_ref().map_or_else(Vec::new, |(_, inner)| lists(inner)),
        _ => Vec::new(),
    });
    arrays.collect()
}

/// Whether the type is `&[Case]`.
fn is_cases(ty: &syn::Type) -> bool {
    let syn::Type::Reference(reference) = ty else { return false };
    let syn::Type::Slice(slice) = &*reference.elem else { return false };
    matches!(&*slice.elem, syn::Type::Path(path) if path.path.is_ident("Case"))
}

fn case_name(element: &Expr) -> Option<(String, usize)> {
    let Expr::Tuple(tuple) = element else { return None };
    let Expr::Lit(literal) = tuple.elems.first()? else { return None };
    let syn::Lit::Str(name) = &literal.lit else { return None };
    Some((name.value(), name.span().start().line))
}

/// Returns `function` and `Type::function` for each safe `pub` function, also of impls that a macro of the file
/// writes.
fn functions_of(file: &syn::File) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut macros = BTreeMap::new();
    items(&file.items, &mut macros, &mut found);
    found
}

fn items(items: &[Item], macros: &mut BTreeMap<String, Vec<Written>>, found: &mut Vec<(String, usize)>) {
    for item in items {
        match item {
            Item::Fn(function) if is_safe_and_public(&function.vis, &function.sig) => {
                found.push((function.sig.ident.to_string(), function.sig.ident.span().start().line));
            }
            Item::Impl(block) if block.trait_.is_none() => found.extend(methods(block)),
            Item::Mod(module) => {
                let inner = module.content.as_ref().map(|(_, inner)| inner.as_slice());
                self::items(inner.unwrap_or_default(), macros, found);
            }
            Item::Macro(item) => match &item.ident {
                Some(name) => {
                    macros.insert(name.to_string(), written(item.mac.tokens.clone()));
                }
                None => {
                    let name = item.mac.path.segments.last().map(|segment| segment.ident.to_string());
                    let written = name.and_then(|name| macros.get(&name)).map_or(&[][..], Vec::as_slice);
                    let arguments = documented(item.mac.tokens.clone());
                    found.extend(written.iter().flat_map(|written| written.functions_for(&arguments)));
                }
            },
            _ => {}
        }
    }
}

fn is_safe_and_public(visibility: &Visibility, signature: &syn::Signature) -> bool {
    matches!(visibility, Visibility::Public(_)) && !matches!(signature.safety, syn::Safety::Unsafe(_))
}

fn methods(block: &syn::ItemImpl) -> impl Iterator<Item = (String, usize)> {
    let ty = match &*block.self_ty {
        syn::Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    };
    block.items.iter().filter_map(move |item| {
        let syn::ImplItem::Fn(function) = item else { return None };
        let name = format!("{}::{}", ty.as_ref()?, function.sig.ident);
        is_safe_and_public(&function.vis, &function.sig)
            .then(|| (name, function.sig.ident.span().start().line))
    })
}

/// A name in the text of a macro: a literal name, or an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Literal(String),
    Argument,
}

/// An impl that a macro writes: its type and its public functions.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    ty: Name,
    functions: Vec<Name>,
}

impl Written {
    fn functions_for(&self, arguments: &[(String, usize)]) -> Vec<(String, usize)> {
        let pairs = arguments.iter().flat_map(|(argument, line)| {
            self.functions.iter().map(move |function| {
                let name = |name: &Name| match name {
                    Name::Literal(literal) => literal.clone(),
                    Name::Argument => argument.clone(),
                };
                (format!("{}::{}", name(&self.ty), name(function)), *line)
            })
        });
        pairs.collect()
    }
}

/// Returns the impls in the text of a macro, at any depth.
fn written(tokens: TokenStream) -> Vec<Written> {
    let mut found = Vec::new();
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => found.extend(written(group.stream())),
            TokenTree::Ident(word) if word == "impl" => found.extend(written_impl(&mut tokens)),
            _ => {}
        }
    }
    found
}

/// Reads an impl after the word `impl`, unless it implements a trait.
fn written_impl(tokens: &mut impl Iterator<Item = TokenTree>) -> Option<Written> {
    let (mut ty, mut depth, mut of_trait) = (None, 0, false);
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '<' => depth += 1,
            TokenTree::Punct(punct) if punct.as_char() == '>' => depth -= 1,
            TokenTree::Punct(punct) if punct.as_char() == '$' && depth == 0 => ty = Some(Name::Argument),
            TokenTree::Ident(word) if word == "for" => of_trait = true,
            TokenTree::Ident(word) if depth == 0 && ty.is_none() => {
                ty = Some(Name::Literal(word.to_string()));
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let functions = public_functions(group.stream());
                return ty.filter(|_| !of_trait).map(|ty| Written { ty, functions });
            }
            _ => {}
        }
    }
    None
}

/// Returns the names after `pub fn`, at any depth.
fn public_functions(tokens: TokenStream) -> Vec<Name> {
    let mut found = Vec::new();
    let mut public = false;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word == "pub" => {
                // `pub(crate)` is not public.
                public = !matches!(tokens.peek(), Some(TokenTree::Group(_)));
            }
            TokenTree::Ident(word) if word == "const" => {}
            TokenTree::Ident(word) if word == "fn" => {
                match tokens.next() {
                    Some(TokenTree::Ident(name)) if public => found.push(Name::Literal(name.to_string())),
                    Some(TokenTree::Punct(_)) if public => found.push(Name::Argument),
                    _ => {}
                }
                public = false;
            }
            TokenTree::Group(group) => found.extend(public_functions(group.stream())),
            _ => public = false,
        }
    }
    found
}

/// Returns the names that follow documentation in a macro's arguments.
fn documented(tokens: TokenStream) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut documented = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => documented = true,
            TokenTree::Ident(name) if documented => {
                found.push((name.to_string(), name.span().start().line));
                documented = false;
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions(code: &str) -> Vec<String> {
        functions_of(&syn::parse_file(code).unwrap()).into_iter().map(|(name, _)| name).collect()
    }

    fn places(names: &[&str]) -> Places {
        names.iter().map(|name| ((*name).to_owned(), (PathBuf::from("a.rs"), 1))).collect()
    }

    #[test]
    fn what_users_can_call_is_found() {
        let code = "
            pub fn free() {}
            pub(crate) fn internal() {}
            pub unsafe fn dangerous() {}
            pub struct Memory<'c>(&'c ());
            impl<'c> Memory<'c> {
                pub fn clear(&mut self) {}
                pub const fn len(&self) -> usize { 0 }
                pub(super) fn check(&self) {}
                fn call(&self) {}
            }
            impl Drop for Memory<'_> { fn drop(&mut self) {} }
            pub mod inner { pub fn nested() {} }
        ";
        assert_eq!(functions(code), ["free", "Memory::clear", "Memory::len", "nested"]);
    }

    #[test]
    fn functions_of_macros_are_found() {
        let code = "
            macro_rules! special {
                ($($(#[$doc:meta])* $name:ident => $function:ident;)*) => {
                    impl Vocab<'_> { $( $(#[$doc])* #[must_use] pub fn $name(&self) {} )* }
                    impl Clone for Vocab<'_> { fn clone(&self) {} }
                };
            }
            special! {
                /// Beginning.
                bos => llama_vocab_bos;
                /// End.
                eos => llama_vocab_eos;
            }
            macro_rules! id {
                ($(#[$doc:meta])* $name:ident) => {
                    pub struct $name(i32);
                    impl $name { pub const fn new() {} pub fn get(self) {} fn hidden() {} }
                };
            }
            id! {
                /// A token.
                Token
            }
        ";
        assert_eq!(functions(code), ["Vocab::bos", "Vocab::eos", "Token::new", "Token::get"]);
    }

    #[test]
    fn cases_are_the_names_in_the_lists() {
        let code = "
            pub(crate) const CASES: &[Case] = &[
                (\"Model::load\", load),
                (\"devices\", devices),
            ];
            const OTHERS: &[&str] = &[\"Model::size\"];
            #[cfg(feature = \"x\")]
            mod inner {
                pub(crate) const MORE: &[Case] = &[(\"Model::n_layer\", |walk, _| ())];
            }
        ";
        let found = cases_of(&syn::parse_file(code).unwrap());
        let expected = [("Model::load", 3), ("devices", 4), ("Model::n_layer", 9)];
        assert_eq!(found, expected.map(|(name, line)| (name.to_owned(), line)));
    }

    #[test]
    fn what_is_missing_on_either_side_is_a_finding() {
        let found = compare(&places(&["A::a", "A::b"]), &places(&["A::b", "A::c"]));
        let sentences: Vec<_> = found.iter().map(|finding| finding.sentence.as_str()).collect();
        assert_eq!(sentences.len(), 2);
        assert!(sentences[0].starts_with("`A::a` has no case"), "{sentences:?}");
        assert!(sentences[1].starts_with("`A::c` is not a safe public function"), "{sentences:?}");
        assert_eq!(compare(&places(&["A::a"]), &places(&["A::a"])), []);
    }
}
