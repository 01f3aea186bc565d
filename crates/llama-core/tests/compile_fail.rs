//! Programs that must not compile, each beside a similar one that does.

#[test]
fn lifetimes_and_threads() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}
