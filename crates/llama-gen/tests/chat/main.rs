//! Conversations: templates, what messages may not do to a prompt, answers, sessions.

#![cfg(feature = "chat")]

#[path = "../rewritten/mod.rs"]
mod rewritten;

mod continued;
mod injection;
mod left_out;
mod markers;
mod parser;
mod session;
mod templates;
mod tools;
