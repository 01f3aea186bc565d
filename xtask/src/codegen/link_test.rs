//! The test that links every bound function.

use super::functions::{Headers, Status};

/// Renders `tests/link.rs` of llama-sys, unformatted.
pub(super) fn render(headers: &Headers) -> String {
    let mut code = String::from(
        "//! Every bound function is in the library: a symbol that is missing fails the link of this test.\n\n\
         use std::hint::black_box;\n\n\
         #[track_caller]\n\
         fn assert_linked(functions: &[*const ()]) {\n\
         assert!(black_box(functions).iter().all(|function| !function.is_null()));\n\
         }\n",
    );
    for (header, functions) in &headers.functions {
        let bound: Vec<_> = functions.iter().filter(|function| function.status == Status::Bound).collect();
        let condition = header.linked.rust_condition();
        code += &format!("\n{condition}#[test]\nfn {}() {{\n", header.module);
        code += &format!("let functions: [*const (); {}] = [\n", bound.len());
        for function in bound {
            code += &format!("llama_sys::{} as *const (),\n", function.rust_name);
        }
        code += "];\nassert_linked(&functions);\n}\n";
    }
    code
}
