//! Splits bindgen's single file into a module per header that is readable and correct on every platform.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context as _, bail};
use quote::ToTokens as _;
use syn::visit_mut::VisitMut;

use super::bindings::FUNCTION_SUFFIX;

/// Constants whose value differs with 32-bit pointers, and their definitions.
const POINTER_SIZED: &[(&str, &str)] = &[
    ("GGML_MEM_ALIGN", "if cfg!(target_pointer_width = \"32\") { 4 } else { 16 }"),
    ("GGML_TENSOR_SIZE", "size_of::<ggml_tensor>()"),
];

/// The types that llama-sys writes by hand in its module `c`.
const BY_HAND: &[&str] = &["CEnum", "FILE"];

/// bindgen's output for one or more headers.
pub(super) struct Parsed {
    items: Vec<syn::Item>,
}

impl Parsed {
    pub(super) fn new(bindings: &str) -> anyhow::Result<Self> {
        Ok(Self { items: syn::parse_file(bindings).context("bindgen's output is not Rust")?.items })
    }

    /// Returns the names of all items.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.items.iter().flat_map(names)
    }

    /// Returns the names of the functions, in the order of the header.
    pub(super) fn functions(&self) -> impl Iterator<Item = String> {
        self.items.iter().filter(|item| matches!(item, syn::Item::ForeignMod(_))).flat_map(names)
    }
}

/// Distributes the items of `bindings` over the modules that `owner` names, and prints each module. `attribute`
/// returns the attribute for the functions of a module.
pub(super) fn split(
    bindings: &str,
    owner: &HashMap<String, &'static str>,
    attribute: impl Fn(&str) -> Option<syn::Attribute>,
) -> anyhow::Result<BTreeMap<&'static str, String>> {
    let mut items = Parsed::new(bindings)?.items;
    let signed = signed_enums(&items)?;
    let mut modules: BTreeMap<&'static str, Module> = BTreeMap::new();
    let mut last = None;
    for item in &mut items {
        let module = match names(item).first() {
            Some(name) => *owner.get(name).with_context(|| format!("no header declares {name}"))?,
            // A layout check follows its type.
            None => last.context("a layout check without a type before it")?,
        };
        last = Some(module);
        adapt(item, &signed)?;
        modules.entry(module).or_default().push(item.clone());
    }
    Ok(modules.into_iter().map(|(name, module)| (name, module.print(attribute(name)))).collect())
}

/// Returns the names that an item declares or, for an `impl`, belongs to. Empty for a layout check.
fn names(item: &syn::Item) -> Vec<String> {
    match item {
        syn::Item::Const(item) if item.ident == "_" => Vec::new(),
        syn::Item::Const(item) => vec![item.ident.to_string()],
        syn::Item::Struct(item) => vec![item.ident.to_string()],
        syn::Item::Type(item) => vec![item.ident.to_string()],
        syn::Item::Union(item) => vec![item.ident.to_string()],
        syn::Item::Impl(item) => vec![item.self_ty.to_token_stream().to_string()],
        syn::Item::ForeignMod(block) => block.items.iter().filter_map(foreign_name).collect(),
        _ => Vec::new(),
    }
}

fn foreign_name(item: &syn::ForeignItem) -> Option<String> {
    match item {
        syn::ForeignItem::Fn(function) => Some(function.sig.ident.to_string()),
        syn::ForeignItem::Static(variable) => Some(variable.ident.to_string()),
        _ => None,
    }
}

/// Returns the enums with a negative value, which are `int` for every C compiler.
fn signed_enums(items: &[syn::Item]) -> anyhow::Result<BTreeSet<String>> {
    let mut signed = BTreeSet::new();
    for item in items {
        let syn::Item::Impl(block) = item else { continue };
        for value in &block.items {
            let syn::ImplItem::Const(value) = value else { continue };
            let syn::Expr::Call(call) = &value.expr else { bail!("{} is not made of a number", value.ident) };
            let number = call.args.to_token_stream().to_string().replace([' ', ','], "");
            let Ok(number) = number.parse::<i32>() else {
                bail!("{} = {number} does not fit the int that MSVC makes of every enum", value.ident)
            };
            if number < 0 {
                signed.extend(names(item));
            }
        }
    }
    Ok(signed)
}

/// Replaces values of the generating machine that differ on other machines.
fn adapt(item: &mut syn::Item, signed: &BTreeSet<String>) -> anyhow::Result<()> {
    match item {
        // MSVC gives every enum the type int; other compilers use unsigned int when no value is negative.
        syn::Item::Struct(newtype) if is_newtype(newtype) => {
            let is_signed = signed.contains(&newtype.ident.to_string());
            for field in &mut newtype.fields {
                field.ty =
                    if is_signed { syn::parse_quote!(::core::ffi::c_int) } else { syn::parse_quote!(CEnum) };
            }
        }
        syn::Item::Const(check) if check.ident == "_" => *check = layout_check(check)?,
        syn::Item::Const(value) => {
            if let Some((_, expr)) = POINTER_SIZED.iter().find(|(name, _)| value.ident == name) {
                *value.expr = syn::parse_str(expr)?;
            }
        }
        syn::Item::ForeignMod(block) => {
            for item in &mut block.items {
                if let syn::ForeignItem::Fn(function) = item {
                    plain_link_name(function);
                    plain_return(function);
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether bindgen made this struct from a C enum.
pub(super) fn is_newtype(item: &syn::ItemStruct) -> bool {
    item.attrs.iter().any(|attribute| attribute.to_token_stream().to_string().contains("transparent"))
}

/// Replaces each `["what"][a - b]` of a layout check by `assert!(a == b)`. The numbers are those of 64-bit targets.
fn layout_check(check: &syn::ItemConst) -> anyhow::Result<syn::ItemConst> {
    let syn::Expr::Block(block) = &*check.expr else { bail!("a layout check is not a block") };
    let mut asserts = Vec::<syn::Stmt>::new();
    for statement in &block.block.stmts {
        let syn::Stmt::Expr(syn::Expr::Index(index), _) = statement else { bail!("an unknown layout check") };
        let syn::Expr::Binary(difference) = &*index.index else { bail!("an unknown layout check") };
        let (actual, expected) = (&difference.left, &difference.right);
        asserts.push(syn::parse_quote!(assert!(#actual == #expected);));
    }
    Ok(syn::parse_quote!(
        #[cfg(target_pointer_width = "64")]
        const _: () = { #(#asserts)* };
    ))
}

/// Replaces the link name of a renamed function by its C name, which is correct on every platform. bindgen writes the
/// symbol as this platform's linker knows it, and turns off rustc's own mangling.
fn plain_link_name(function: &mut syn::ForeignItemFn) {
    let rust_name = function.sig.ident.to_string();
    let Some(c_name) = rust_name.strip_suffix(FUNCTION_SUFFIX) else { return };
    for attribute in &mut function.attrs {
        if attribute.path().is_ident("link_name") {
            *attribute = syn::parse_quote!(#[link_name = #c_name]);
        }
    }
}

/// Removes the never type of `ggml_abort`. bindgen detects only in the headers for MSVC that it does not return.
/// Detection by the attribute of other compilers must stay off: it would include `ggml_format_name`.
fn plain_return(function: &mut syn::ForeignItemFn) {
    if matches!(&function.sig.output, syn::ReturnType::Type(_, ty) if matches!(**ty, syn::Type::Never(_))) {
        function.sig.output = syn::ReturnType::Default;
    }
}

/// The items of one module, by kind.
#[derive(Default)]
struct Module {
    constants: Vec<syn::Item>,
    types: Vec<syn::Item>,
    functions: Vec<syn::ForeignItem>,
}

impl Module {
    fn push(&mut self, item: syn::Item) {
        match item {
            syn::Item::ForeignMod(block) => self.functions.extend(block.items),
            syn::Item::Const(ref constant) if constant.ident != "_" => self.constants.push(item),
            item => self.types.push(item),
        }
    }

    fn print(mut self, attribute: Option<syn::Attribute>) -> String {
        let own: BTreeSet<_> = self.constants.iter().chain(&self.types).flat_map(names).collect();
        let mut names = Names::default();
        for item in self.constants.iter_mut().chain(&mut self.types) {
            names.visit_item_mut(item);
        }
        for function in &mut self.functions {
            names.visit_foreign_item_mut(function);
        }

        let mut text = names.imports(&own);
        for constant in &self.constants {
            text += &format!("{}\n", constant.to_token_stream());
        }
        for item in &self.types {
            text += &format!("\n{}\n", item.to_token_stream());
        }
        if !self.functions.is_empty() {
            let attribute =
                attribute.map(|attribute| attribute.to_token_stream().to_string()).unwrap_or_default();
            let functions: Vec<_> =
                self.functions.iter().map(|item| item.to_token_stream().to_string()).collect();
            text += &format!("\n{attribute}\nunsafe extern \"C-unwind\" {{\n{}\n}}\n", functions.join("\n"));
        }
        text
    }
}

/// Shortens bindgen's paths and numbers, `::core::ffi::c_int` to `c_int` and `4usize` to `4`, and records the names
/// that a module needs from other modules.
#[derive(Default)]
struct Names {
    core_ffi: BTreeSet<String>,
    offset_of: bool,
    others: BTreeSet<String>,
}

impl Names {
    /// Returns the `use` declarations of a module that defines `own`.
    fn imports(&self, own: &BTreeSet<String>) -> String {
        let list = |names: &[&str]| names.join(", ");
        let mut imports = String::new();
        if !self.core_ffi.is_empty() {
            let names: Vec<_> = self.core_ffi.iter().map(String::as_str).collect();
            imports += &format!("use core::ffi::{{{}}};\n", list(&names));
        }
        if self.offset_of {
            imports += "use core::mem::offset_of;\n";
        }
        let foreign: Vec<_> =
            self.others.difference(own).map(String::as_str).filter(|name| !is_builtin(name)).collect();
        let (by_hand, siblings): (Vec<_>, Vec<_>) =
            foreign.into_iter().partition(|name| BY_HAND.contains(name));
        if !by_hand.is_empty() || !siblings.is_empty() {
            imports += "\n";
        }
        if !siblings.is_empty() {
            imports += "use super::*;\n";
        }
        if !by_hand.is_empty() {
            imports += &format!("use crate::c::{{{}}};\n", list(&by_hand));
        }
        imports + "\n"
    }
}

fn is_builtin(name: &str) -> bool {
    const BUILTIN: &[&str] = &[
        "bool", "f32", "f64", "i8", "i16", "i32", "i64", "isize", "u8", "u16", "u32", "u64", "usize",
        "Option", "size_of", "align_of",
    ];
    BUILTIN.contains(&name)
}

impl VisitMut for Names {
    fn visit_path_mut(&mut self, path: &mut syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let names: Vec<_> = segments.iter().map(String::as_str).collect();
        let shorten = match names.as_slice() {
            ["core", "ffi", name] => {
                self.core_ffi.insert((*name).to_owned());
                true
            }
            // These two are in the prelude.
            ["core", "option", "Option"] | ["core", "mem", "size_of" | "align_of"] => true,
            [name] => {
                self.others.insert((*name).to_owned());
                false
            }
            _ => false,
        };
        if shorten && let Some(last) = path.segments.pop() {
            path.leading_colon = None;
            path.segments = std::iter::once(last).collect();
        }
        syn::visit_mut::visit_path_mut(self, path);
    }

    fn visit_lit_int_mut(&mut self, number: &mut syn::LitInt) {
        if number.suffix() == "usize" {
            *number = syn::LitInt::new(number.base10_digits(), number.span());
        }
    }

    fn visit_macro_mut(&mut self, call: &mut syn::Macro) {
        let name = call.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        if name == "offset_of" {
            self.offset_of = true;
            call.path = syn::parse_quote!(offset_of);
        } else if let ("assert", Ok(mut comparison)) = (&*name, call.parse_body::<syn::Expr>()) {
            self.visit_expr_mut(&mut comparison);
            call.tokens = comparison.to_token_stream();
        }
    }

    fn visit_attribute_mut(&mut self, _: &mut syn::Attribute) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDINGS: &str = r#"
        pub const GGML_MEM_ALIGN: u32 = 16;
        impl flags { pub const A: flags = flags(0); pub const B: flags = flags(2147483647); }
        #[repr(transparent)]
        #[derive(Debug)]
        pub struct flags(pub ::core::ffi::c_uint);
        impl status { pub const BAD: status = status(-1); }
        #[repr(transparent)]
        pub struct status(pub i32);
        #[repr(C)]
        pub struct pair { pub flags: flags, pub name: [::core::ffi::c_char; 8usize] }
        const _: () = {
            ["Size of pair"][::core::mem::size_of::<pair>() - 12usize];
            ["Offset of field: pair::name"][::core::mem::offset_of!(pair, name) - 4usize];
        };
        unsafe extern "C-unwind" { pub fn stop(code: u32) -> !; }
        unsafe extern "C-unwind" { pub fn open(file: *mut FILE) -> status; }
        unsafe extern "C-unwind" {
            #[link_name = "\u{1}_status"]
            pub fn status_fn(pair: *const pair) -> status;
        }
    "#;

    fn printed() -> BTreeMap<&'static str, String> {
        let owner = [
            ("GGML_MEM_ALIGN", "a"),
            ("flags", "a"),
            ("status", "a"),
            ("pair", "b"),
            ("open", "a"),
            ("stop", "a"),
            ("status_fn", "b"),
        ];
        let owner = owner.into_iter().map(|(name, module)| (name.to_owned(), module)).collect();
        let attribute = |name: &str| (name == "b").then(|| syn::parse_quote!(#[cfg(feature = "b")]));
        let modules = split(BINDINGS, &owner, attribute).unwrap();
        modules.into_iter().map(|(name, text)| (name, text.replace([' ', '\n'], ""))).collect()
    }

    #[track_caller]
    fn assert_has(module: &str, part: &str) {
        assert!(module.contains(&part.replace([' ', '\n'], "")), "{part}\n{module}");
    }

    #[test]
    fn items_go_to_the_module_of_their_header_with_what_they_need() {
        let modules = printed();
        assert_has(&modules["a"], "use crate::c::{CEnum, FILE};");
        assert!(!modules["a"].contains("super"));
        assert_has(&modules["b"], "use core::ffi::{c_char}; use core::mem::offset_of; use super::*;");
        assert_has(&modules["b"], "pub name: [c_char; 8]");
        assert_has(&modules["b"], "#[cfg(feature = \"b\")] unsafe extern \"C-unwind\" {");
    }

    #[test]
    fn enums_have_the_type_of_the_platforms_c_compiler() {
        let modules = printed();
        assert_has(&modules["a"], "pub struct flags(pub CEnum);");
        assert_has(&modules["a"], "pub struct status(pub c_int);");
        let too_large = "impl e { pub const A: e = e(2147483648); }";
        assert!(split(too_large, &HashMap::new(), |_| None).unwrap_err().to_string().contains("MSVC"));
    }

    #[test]
    fn nothing_of_the_generating_machine_remains() {
        let modules = printed();
        assert_has(&modules["a"], "GGML_MEM_ALIGN: u32 = if cfg!(target_pointer_width = \"32\")");
        assert_has(&modules["a"], "pub fn stop(code: u32);");
        assert_has(&modules["b"], "#[link_name = \"status\"] pub fn status_fn");
    }

    #[test]
    fn layout_checks_are_assertions_for_64_bits() {
        let expected = "#[cfg(target_pointer_width = \"64\")] const _: () = {
            assert!(size_of::<pair>() == 12); assert!(offset_of!(pair, name) == 4); };";
        assert_has(&printed()["b"], expected);
    }

    #[test]
    fn an_item_of_no_header_is_an_error() {
        let error = split("pub const A: u32 = 1;", &HashMap::new(), |_| None).unwrap_err();
        assert_eq!(error.to_string(), "no header declares A");
    }
}
