//! Infrastructure of calls into llama.cpp: the guard, callbacks, strings.

pub(crate) mod callback;
pub(crate) mod exit;
pub(crate) mod file;
pub(crate) mod fork;
pub(crate) mod guard;
pub(crate) mod regex;
pub(crate) mod stack;
pub(crate) mod string;
