//! The functions that each header declares, bound or not.

use std::collections::{HashMap, HashSet};

use anyhow::{anyhow, bail};

use super::bindings::{self, Dirs, FUNCTION_SUFFIX, HEADERS, Header, UNDEFINED};
use super::split;

/// The declarations of all headers.
pub(super) struct Headers {
    /// The functions of each header, in the header's order.
    pub(super) functions: Vec<(&'static Header, Vec<Function>)>,
    /// The module of every item, by its Rust name.
    pub(super) owner: HashMap<String, &'static str>,
}

/// A C function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    /// The name in C.
    pub(super) c_name: String,
    /// The name in the bindings, if the function is bound.
    pub(super) rust_name: String,
    pub(super) status: Status,
}

/// Whether the bindings have a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Bound,
    Deprecated,
    /// Declared but not defined.
    Undefined,
}

impl Headers {
    /// Parses each header separately.
    pub(super) fn read(dirs: &Dirs) -> anyhow::Result<Self> {
        let mut headers = Self { functions: Vec::new(), owner: HashMap::new() };
        for header in HEADERS {
            let builder = bindings::builder([header], dirs).map_err(|error| anyhow!(error))?;
            let parsed = split::Parsed::new(&builder.generate()?.to_string())?;
            headers.owner.extend(parsed.names().map(|name| (name, header.module)));

            let text = dirs.read(header).map_err(|error| anyhow!(error))?;
            let deprecated: HashSet<String> = bindings::deprecated_functions(&text).into_iter().collect();
            let functions: Vec<_> = parsed.functions().map(|name| Function::new(name, &deprecated)).collect();
            if let Some(name) = deprecated.iter().find(|name| functions.iter().all(|f| f.c_name != **name)) {
                bail!("{} marks {name} as deprecated, but does not declare it", header.file);
            }
            headers.functions.push((header, functions));
        }
        if let Some(name) = UNDEFINED.iter().find(|name| headers.all().all(|f| f.c_name != **name)) {
            bail!("{name} is listed as undefined in build/bindings.rs, but no header declares it");
        }
        Ok(headers)
    }

    /// Returns the functions of all headers.
    pub(super) fn all(&self) -> impl Iterator<Item = &Function> {
        self.functions.iter().flat_map(|(_, functions)| functions)
    }
}

impl Function {
    fn new(rust_name: String, deprecated: &HashSet<String>) -> Self {
        let c_name = rust_name.strip_suffix(FUNCTION_SUFFIX).unwrap_or(&rust_name).to_owned();
        let status = if deprecated.contains(&c_name) {
            Status::Deprecated
        } else if UNDEFINED.contains(&c_name.as_str()) {
            Status::Undefined
        } else {
            Status::Bound
        };
        Self { c_name, rust_name, status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deprecated_functions_are_found_in_both_ways_of_marking_them() {
        let header = "
            #    define DEPRECATED(func, hint) func __attribute__((deprecated(hint)))
            // DEPRECATED(LLAMA_API void llama_gone(void), \"commented out\");
            DEPRECATED(LLAMA_API struct llama_model * llama_load(
                    const char * path), \"use llama_model_load instead\");
            LLAMA_API DEPRECATED(size_t llama_get_state_size (struct llama_context * ctx), \"use another\");
            float defrag_thold; // [DEPRECATED] disabled (default)
            LLAMA_API void llama_kept(void);
        ";
        assert_eq!(bindings::deprecated_functions(header), ["llama_load", "llama_get_state_size"]);
    }

    #[test]
    fn a_renamed_function_keeps_its_c_name() {
        let function = Function::new("llama_pooling_type_fn".to_owned(), &HashSet::new());
        assert_eq!((&*function.c_name, function.status), ("llama_pooling_type", Status::Bound));
        let deprecated = HashSet::from(["llama_load".to_owned()]);
        assert_eq!(Function::new("llama_load".to_owned(), &deprecated).status, Status::Deprecated);
        assert_eq!(Function::new(UNDEFINED[0].to_owned(), &deprecated).status, Status::Undefined);
    }
}
