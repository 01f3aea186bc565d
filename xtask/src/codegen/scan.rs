//! Finds the Rust item for each C function by searching doc comments for "Corresponds to `c_function`".

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{Attribute, Item, Visibility};

/// A C name in the documentation of a Rust item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mention {
    /// The name in C.
    pub(super) c_name: String,
    /// The path of the documented item.
    pub(super) item: String,
    /// Whether users of the crate can reach it.
    pub(super) public: bool,
    /// Its file, relative to the workspace's root.
    pub(super) file: PathBuf,
}

/// Returns all mentions in the crate `name`, whose sources are in `folder`, in the order of files and lines.
pub(super) fn scan(root: &Path, name: &str, folder: &Path) -> anyhow::Result<Vec<Mention>> {
    let mut mentions = Vec::new();
    for file in rust_files(&root.join(folder))? {
        let text = fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))?;
        let file = file.strip_prefix(root).unwrap_or(&file);
        let module = module_path(name, file.strip_prefix(folder).unwrap_or(file));
        let found =
            scan_text(&module, &text).with_context(|| format!("could not parse {}", file.display()))?;
        mentions.extend(found.into_iter().map(|(c_name, item, public)| Mention {
            c_name,
            item,
            public,
            file: file.to_owned(),
        }));
    }
    Ok(mentions)
}

/// Returns the Rust files in a folder and its subfolders, sorted.
pub(super) fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("could not read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Returns `llama_core::sampler::chain` for `sampler/chain.rs`.
fn module_path(krate: &str, file: &Path) -> String {
    let mut path = krate.to_owned();
    for part in file.with_extension("").iter().map(|part| part.to_string_lossy()) {
        if !matches!(&*part, "lib" | "mod") {
            path.push_str("::");
            path.push_str(&part);
        }
    }
    path
}

/// Returns C name, item path and publicness of each mention in a file.
fn scan_text(module: &str, text: &str) -> syn::Result<Vec<(String, String, bool)>> {
    let file = syn::parse_file(text)?;
    let mut scanner = Scanner::default();
    scanner.note(&file.attrs, module, true);
    scanner.items(module, &file.items);
    Ok(scanner.found)
}

#[derive(Default)]
struct Scanner {
    found: Vec<(String, String, bool)>,
    /// The macros defined so far that write an `impl`, with its type.
    impl_of_macro: HashMap<String, String>,
}

impl Scanner {
    /// Records the mentions in the documentation among `attributes`, for `item`.
    fn note(&mut self, attributes: &[Attribute], item: &str, public: bool) {
        self.note_text(&documentation(attributes), item, public);
    }

    fn note_text(&mut self, documentation: &str, item: &str, public: bool) {
        let names = c_names(documentation);
        self.found.extend(names.into_iter().map(|name| (name, item.to_owned(), public)));
    }

    fn items(&mut self, module: &str, items: &[Item]) {
        for item in items {
            self.item(module, item);
        }
    }

    fn item(&mut self, module: &str, item: &Item) {
        let named = |name: &syn::Ident| format!("{module}::{name}");
        match item {
            Item::Fn(item) => self.note(&item.attrs, &named(&item.sig.ident), is_public(&item.vis)),
            Item::Const(item) => self.note(&item.attrs, &named(&item.ident), is_public(&item.vis)),
            Item::Static(item) => self.note(&item.attrs, &named(&item.ident), is_public(&item.vis)),
            Item::Type(item) => self.note(&item.attrs, &named(&item.ident), is_public(&item.vis)),
            Item::Struct(item) => {
                let (path, public) = (named(&item.ident), is_public(&item.vis));
                self.note(&item.attrs, &path, public);
                for field in &item.fields {
                    let Some(name) = &field.ident else { continue };
                    self.note(&field.attrs, &format!("{path}::{name}"), public && is_public(&field.vis));
                }
            }
            Item::Enum(item) => {
                let (path, public) = (named(&item.ident), is_public(&item.vis));
                self.note(&item.attrs, &path, public);
                for variant in &item.variants {
                    self.note(&variant.attrs, &format!("{path}::{}", variant.ident), public);
                }
            }
            Item::Trait(item) => {
                let (path, public) = (named(&item.ident), is_public(&item.vis));
                self.note(&item.attrs, &path, public);
                for item in &item.items {
                    if let syn::TraitItem::Fn(function) = item {
                        self.note(&function.attrs, &format!("{path}::{}", function.sig.ident), public);
                    }
                }
            }
            Item::Impl(block) => self.impl_block(module, block),
            Item::Mod(inner) => {
                let path = named(&inner.ident);
                self.note(&inner.attrs, &path, is_public(&inner.vis));
                if let Some((_, items)) = &inner.content {
                    self.items(&path, items);
                }
            }
            Item::Macro(item) => match &item.ident {
                // The definition of a macro documents no item; a use of one may.
                Some(name) => {
                    let ty = first_impl(item.mac.tokens.clone());
                    self.impl_of_macro.extend(ty.map(|ty| (name.to_string(), ty)));
                }
                None => self.macro_use(module, &item.mac),
            },
            _ => {}
        }
    }

    fn impl_block(&mut self, module: &str, block: &syn::ItemImpl) {
        let Some(name) = type_name(&block.self_ty) else { return };
        let path = format!("{module}::{name}");
        self.note(&block.attrs, &path, true);
        for item in &block.items {
            match item {
                syn::ImplItem::Fn(item) => {
                    let public = block.trait_.is_some() || is_public(&item.vis);
                    self.note(&item.attrs, &format!("{path}::{}", item.sig.ident), public);
                }
                syn::ImplItem::Const(item) => {
                    let public = block.trait_.is_some() || is_public(&item.vis);
                    self.note(&item.attrs, &format!("{path}::{}", item.ident), public);
                }
                syn::ImplItem::Macro(item) => self.tokens(&path, item.mac.tokens.clone()),
                _ => {}
            }
        }
    }

    /// Records documentation inside a macro's arguments. It belongs to the next name, and to a type when the macro
    /// wraps the arguments into an `impl` of one.
    fn macro_use(&mut self, path: &str, call: &syn::Macro) {
        let name = call.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        match self.impl_of_macro.get(&name) {
            Some(ty) => self.tokens(&format!("{path}::{ty}"), call.tokens.clone()),
            None => self.tokens(path, call.tokens.clone()),
        }
    }

    fn tokens(&mut self, path: &str, tokens: TokenStream) {
        let mut documentation = String::new();
        let mut public = true;
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) => match doc_attribute(&group) {
                    Some(line) => documentation += &format!("{line}\n"),
                    None => self.tokens(path, group.stream()),
                },
                TokenTree::Ident(word) if word == "pub" => {
                    // `pub(crate)` is not public.
                    public = tokens.next_if(|next| matches!(next, TokenTree::Group(_))).is_none();
                }
                TokenTree::Ident(word) if KEYWORDS.iter().any(|keyword| word == keyword) => {}
                TokenTree::Ident(name) => {
                    self.note_text(&documentation, &format!("{path}::{name}"), public);
                    documentation.clear();
                    public = true;
                }
                _ => {}
            }
        }
    }
}

/// Words that may stand between documentation and its name.
const KEYWORDS: &[&str] = &["fn", "struct", "enum", "trait", "type", "static", "const", "unsafe"];

/// Returns the type of the first `impl` among the tokens, at any depth.
fn first_impl(tokens: TokenStream) -> Option<String> {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => {
                if let Some(name) = first_impl(group.stream()) {
                    return Some(name);
                }
            }
            TokenTree::Ident(word) if word == "impl" => return first_type(tokens),
            _ => {}
        }
    }
    None
}

/// Returns the type that follows `impl` and its generic parameters.
fn first_type(tokens: impl Iterator<Item = TokenTree>) -> Option<String> {
    let mut depth = 0;
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '<' => depth += 1,
            TokenTree::Punct(punct) if punct.as_char() == '>' => depth -= 1,
            TokenTree::Ident(name) if depth == 0 => return Some(name.to_string()),
            TokenTree::Punct(_) | TokenTree::Ident(_) if depth > 0 => {}
            // A variable of a macro, or another token that names no type.
            _ => return None,
        }
    }
    None
}

/// Returns the text of a `[doc = "…"]` group.
fn doc_attribute(group: &proc_macro2::Group) -> Option<String> {
    if group.delimiter() != Delimiter::Bracket {
        return None;
    }
    let attribute: syn::MetaNameValue = syn::parse2(group.stream()).ok()?;
    doc_text(&attribute)
}

fn documentation(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| doc_text(attribute.meta.require_name_value().ok()?));
    lines.collect::<Vec<_>>().join("\n")
}

fn doc_text(attribute: &syn::MetaNameValue) -> Option<String> {
    let syn::Expr::Lit(value) = &attribute.value else { return None };
    let syn::Lit::Str(text) = &value.lit else { return None };
    attribute.path.is_ident("doc").then(|| text.value())
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn type_name(ty: &syn::Type) -> Option<String> {
    let syn::Type::Path(path) = ty else { return None };
    path.path.segments.last().map(|segment| segment.ident.to_string())
}

/// Returns the names in "Corresponds to `a`, `b` and `c`", anywhere in a text.
fn c_names(documentation: &str) -> Vec<String> {
    let mut names = Vec::new();
    for sentence in documentation.split("orresponds to").skip(1) {
        let mut rest = sentence.trim_start();
        while let Some((name, after)) = quoted(rest) {
            names.push(bare(name).to_owned());
            rest = after.trim_start();
            for separator in [",", "and ", "and\n", "or ", "or\n"] {
                rest = rest.strip_prefix(separator).unwrap_or(rest).trim_start();
            }
        }
    }
    names
}

/// Returns the text between backticks at the beginning, also inside a link, and the rest after it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let is_link = text.starts_with('[');
    let (name, mut after) = text.strip_prefix('[').unwrap_or(text).strip_prefix('`')?.split_once('`')?;
    if is_link {
        after = after.strip_prefix(']')?;
        if let Some(target) = after.strip_prefix('(') {
            after = target.split_once(')')?.1;
        }
    }
    Some((name, after))
}

/// Returns the bare identifier of `llama_sys::llama_decode()`, `enum llama_ftype` or `llama_batch::pos`.
fn bare(name: &str) -> &str {
    let name = name.strip_prefix("llama_sys::").unwrap_or(name);
    let name = name.strip_prefix("enum ").or_else(|| name.strip_prefix("struct ")).unwrap_or(name);
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(name.len());
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(code: &str) -> Vec<(String, String)> {
        let mentions = scan_text("llama_core::memory", code).unwrap();
        mentions.into_iter().map(|(c_name, item, _)| (c_name, item)).collect()
    }

    fn pair(c_name: &str, item: &str) -> (String, String) {
        (c_name.to_owned(), item.to_owned())
    }

    #[test]
    fn sentences_name_one_function_or_several() {
        assert_eq!(c_names("Corresponds to `llama_free`."), ["llama_free"]);
        assert_eq!(c_names("Corresponds to\n`a` and\n`b`."), ["a", "b"]);
        assert_eq!(c_names("Text. Corresponds to `a`, `b`, and `c`; `d` is another."), ["a", "b", "c"]);
        assert_eq!(c_names("Corresponds to `a`. Then, corresponds to `b`."), ["a", "b"]);
        assert_eq!(
            c_names("Corresponds to [`a`](llama_sys::a), [`llama_sys::b`] or `c()`."),
            ["a", "b", "c"]
        );
        assert_eq!(c_names("Corresponds to `enum e` and `s::field`."), ["e", "s"]);
        assert_eq!(c_names("Corresponds to nothing. `a`"), Vec::<String>::new());
        assert_eq!(c_names("Corresponds to `unfinished"), Vec::<String>::new());
    }

    #[test]
    fn methods_are_found_under_their_type() {
        let code = "
            /// Corresponds to `llama_memory_t`.
            pub struct Memory<'a>(&'a ());
            impl<'a> Memory<'a> {
                /// Removes. Corresponds to `llama_memory_seq_rm`.
                #[must_use]
                pub fn seq_rm(&mut self) {}
            }
            impl Drop for Memory<'_> {
                /// Corresponds to `llama_free`.
                fn drop(&mut self) {}
            }
        ";
        let expected = [
            pair("llama_memory_t", "llama_core::memory::Memory"),
            pair("llama_memory_seq_rm", "llama_core::memory::Memory::seq_rm"),
            pair("llama_free", "llama_core::memory::Memory::drop"),
        ];
        assert_eq!(found(code), expected);
    }

    #[test]
    fn functions_modules_fields_and_variants_are_found() {
        let code = "
            //! Corresponds to `module`.
            /// Corresponds to `function`.
            pub fn f() {}
            pub struct S {
                /// Corresponds to `field`.
                pub field: u8,
            }
            pub enum E {
                /// Corresponds to `variant`.
                V,
            }
            pub mod inner {
                /// Corresponds to `nested`.
                pub const C: u8 = 0;
            }
        ";
        let expected = [
            pair("module", "llama_core::memory"),
            pair("function", "llama_core::memory::f"),
            pair("field", "llama_core::memory::S::field"),
            pair("variant", "llama_core::memory::E::V"),
            pair("nested", "llama_core::memory::inner::C"),
        ];
        assert_eq!(found(code), expected);
    }

    #[test]
    fn arguments_of_macros_are_searched_and_definitions_of_macros_are_not() {
        let code = "
            macro_rules! define { () => { /// Corresponds to `x`.
                pub fn x() {} } }
            define! {
                /// Corresponds to `llama_vocab_bos`.
                pub fn bos;
                /// Corresponds to `llama_vocab_eos`.
                #[must_use]
                pub(crate) unsafe fn eos;
            }
        ";
        let expected = [
            ("llama_vocab_bos".to_owned(), "llama_core::memory::bos".to_owned(), true),
            ("llama_vocab_eos".to_owned(), "llama_core::memory::eos".to_owned(), false),
        ];
        assert_eq!(scan_text("llama_core::memory", code).unwrap(), expected);
    }

    #[test]
    fn a_macro_that_writes_an_impl_documents_methods_of_its_type() {
        let code = "
            macro_rules! special {
                ($($name:ident => $function:ident;)*) => { impl<'a> Vocab<'a> { $(fn $name() {})* } };
            }
            special! {
                /// Corresponds to `llama_vocab_bos`.
                bos => llama_vocab_bos;
                /// Corresponds to `llama_vocab_eos`.
                eos => llama_vocab_eos;
            }
        ";
        let expected = [
            pair("llama_vocab_bos", "llama_core::memory::Vocab::bos"),
            pair("llama_vocab_eos", "llama_core::memory::Vocab::eos"),
        ];
        assert_eq!(found(code), expected);
    }

    #[test]
    fn what_users_cannot_reach_is_internal() {
        let code = "
            /// Corresponds to `a`.
            pub(crate) fn a() {}
            /// Corresponds to `b`.
            fn b() {}
            /// Corresponds to `c`.
            pub fn c() {}
        ";
        let public: Vec<_> = scan_text("m", code).unwrap().into_iter().map(|(_, _, public)| public).collect();
        assert_eq!(public, [false, false, true]);
    }

    #[test]
    fn files_are_modules() {
        assert_eq!(module_path("llama_core", Path::new("lib.rs")), "llama_core");
        assert_eq!(module_path("llama_core", Path::new("memory.rs")), "llama_core::memory");
        assert_eq!(module_path("llama_core", Path::new("sampler/mod.rs")), "llama_core::sampler");
        assert_eq!(module_path("llama_core", Path::new("sampler/chain.rs")), "llama_core::sampler::chain");
    }
}
