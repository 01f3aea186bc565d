//! Conversations: templates, what messages may not do to a prompt, answers, sessions.

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
