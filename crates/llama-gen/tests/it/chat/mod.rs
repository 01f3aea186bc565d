//! Conversations: templates, injection through messages, answers, sessions.

mod answers;
mod asynchronous;
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
