//! Nothing here: the programs beside this file are cargo examples, run with `cargo run --example <name>`.
