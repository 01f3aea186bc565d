//! What must not compile does not, and what stands beside it does.

#[test]
fn lifetimes_and_threads() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}
