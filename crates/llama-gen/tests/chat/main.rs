//! Conversations: templates, protection of the prompt, answers, sessions.

#![cfg(feature = "chat")]

#[path = "../rewritten/mod.rs"]
mod rewritten;

mod answers;
mod continued;
mod injection;
mod left_out;
mod markers;
mod nulls;
mod parser;
mod results;
mod session;
mod templates;
mod tools;
