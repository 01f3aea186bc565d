//! The library of feature `dynamic`: paths that name no library, before and after one is loaded.

use std::path::Path;

use llama_core::library;

use crate::Case;
use crate::subjects::Subjects;
use crate::values::texts;
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[("load", load), ("path", |walk, _| _ = walk.run("", library::path))];

fn load(walk: &mut Walk, _: &mut Subjects) {
    for text in texts() {
        // Before a library is loaded, when this is the only case.
        walk.call(format!("{text:.40?}"), || library::load(Some(Path::new(&text))));
    }
    walk.call("this program", || library::load(std::env::current_exe().ok().as_deref()));
    walk.call("no path", || library::load(None));
    for text in texts() {
        walk.call(format!("after loading, {text:.40?}"), || library::load(Some(Path::new(&text))));
    }
    assert!(walk.run("version", || !llama_core::version().is_empty()), "no library was loaded");
}
