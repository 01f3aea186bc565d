//! An empty library: the programs beside this file are cargo examples, run with `cargo run --example <name>`.
