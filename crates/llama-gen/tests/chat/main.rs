//! Conversations: templates, what messages may not do to a prompt, answers, sessions.

#![cfg(feature = "chat")]

mod answers;
mod injection;
mod nulls;
mod parser;
mod results;
mod session;
mod templates;
mod tools;
