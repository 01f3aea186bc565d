//! State files of this crate, and llama.cpp's own.

use std::fs;
use std::path::Path;

use llama_core::state::{StateInfo, StatePart};
use llama_core::{Context, Model, Result, SeqId, Token};
use tempfile::TempDir;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use crate::Case;
use crate::damage::damaged;
use crate::memory::go_on;
use crate::state::PARTS;
use crate::subjects::{Subjects, each_context};
use crate::values::{I32, paths, short, targets};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Context::save_state", |walk, subjects| {
        save(walk, subjects, |context, path, tokens| context.save_state(path, tokens));
    }),
    ("Context::load_state", |walk, subjects| {
        let tokens = [Token::new(5)];
        load(
            walk,
            subjects,
            |context, path| context.save_state(path, &tokens),
            |context, path| context.load_state(path),
        );
    }),
    ("Context::save_seq_state", |walk, subjects| {
        for id in [0, 3, -1, 256, i32::MIN].map(SeqId::new) {
            each_context(walk, subjects, |walk, context| {
                for part in PARTS {
                    walk.call(format!("{id} {part:?}"), || context.save_seq_state("/", id, part, &[]));
                }
            });
        }
        save(walk, subjects, |context, path, tokens| {
            context.save_seq_state(path, SeqId::new(0), StatePart::All, tokens)
        });
    }),
    ("Context::load_seq_state", |walk, subjects| {
        for (part, id) in [(StatePart::All, 0), (StatePart::Partial, 0), (StatePart::All, -1)] {
            let save = |context: &mut Context, path: &Path| {
                context.save_seq_state(path, SeqId::new(0), StatePart::All, &[])
            };
            load(walk, subjects, save, |context, path| context.load_seq_state(path, SeqId::new(id), part));
        }
    }),
    ("Context::save_session", |walk, subjects| {
        save(walk, subjects, |context, path, tokens| context.save_session(path, tokens));
    }),
    ("Context::load_session", |walk, subjects| {
        let tokens = I32.map(Token::new);
        load(
            walk,
            subjects,
            |context, path| context.save_session(path, &tokens),
            |context, path| context.load_session(path),
        );
    }),
    ("Context::save_seq_session", |walk, subjects| {
        for id in I32.map(SeqId::new) {
            each_context(walk, subjects, |walk, context| {
                walk.call(id, || context.save_seq_session("/", id, &[]));
            });
        }
        save(walk, subjects, |context, path, tokens| context.save_seq_session(path, SeqId::new(0), tokens));
    }),
    ("Context::load_seq_session", |walk, subjects| {
        for id in [0, 3, i32::MAX].map(SeqId::new) {
            let save =
                |context: &mut Context, path: &Path| context.save_seq_session(path, SeqId::new(0), &[]);
            load(walk, subjects, save, |context, path| context.load_seq_session(path, id));
        }
    }),
    ("StateInfo::read", |walk, subjects| infos(walk, subjects, |_| ())),
    ("StateInfo::kind", |walk, subjects| infos(walk, subjects, |info| _ = info.kind().to_string())),
    ("StateInfo::tokens", |walk, subjects| infos(walk, subjects, |info| _ = info.tokens().to_vec())),
    ("StateInfo::facts", |walk, subjects| infos(walk, subjects, |info| _ = info.facts().count())),
    ("StateInfo::state_size", |walk, subjects| infos(walk, subjects, |info| _ = info.state_size())),
];

/// Whether it is the first usable context of its model. Files are written for one context of each model, because each
/// write waits for the disk.
fn is_first(context: &Context, last: &mut Option<Model>) -> bool {
    let is_first = last.as_ref().is_none_or(|last| !last.is_same(context.model()));
    if context.is_poisoned() || !is_first {
        return false;
    }
    *last = Some(context.model().clone());
    true
}

/// Saves to places that cannot be written, and with invalid tokens.
fn save(
    walk: &mut Walk,
    subjects: &mut Subjects,
    save: impl Fn(&mut Context, &Path, &[Token]) -> Result<()>,
) {
    let folder = TempDir::new().unwrap();
    let targets = targets(folder.path());
    let (mut first, mut last) = (true, None);
    each_context(walk, subjects, |walk, context| {
        for target in &targets {
            let saved = walk.call(short(target), || save(context, target, &[]));
            assert!(saved.is_none(), "{}", target.display());
        }
        if !is_first(context, &mut last) {
            return;
        }
        let target = folder.path().join("state");
        walk.call("no tokens", || save(context, &target, &[]));
        let n = if first { 1 << 16 } else { 1 };
        first = false;
        walk.call("other tokens", || save(context, &target, &I32.map(Token::new).repeat(n)));
    });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "something was left behind");
}

/// Loads files of other kinds, of other contexts, and damaged ones.
fn load(
    walk: &mut Walk,
    subjects: &mut Subjects,
    save: impl Fn(&mut Context, &Path) -> Result<()>,
    load: impl Fn(&mut Context, &Path) -> Result<Vec<Token>>,
) {
    let folder = TempDir::new().unwrap();
    let [own, other, changed] = ["own", "other", "changed"].map(|name| folder.path().join(name));
    let paths = paths();
    let mut last = None;
    each_context(walk, subjects, |walk, context| {
        walk.call("another's", || load(context, &other));
        if !is_first(context, &mut last) {
            return;
        }
        for path in &paths {
            let loaded = walk.call(short(path), || load(context, path));
            assert!(loaded.is_none(), "{}", path.display());
        }
        if save(context, &own).is_err() {
            return;
        }
        walk.call("its own", || load(context, &own));
        let bytes = fs::read(&own).unwrap();
        for (what, bytes) in damaged(&bytes, 800, 12).flat_map(|(what, bytes)| {
            let right = with_right_checksums(&bytes).map(|bytes| (format!("{what}, checksums right"), bytes));
            [Some((what, bytes)), right].into_iter().flatten()
        }) {
            fs::write(&changed, bytes).unwrap();
            if walk.call(what, || load(context, &changed)).is_some() {
                go_on(walk, context);
            }
        }
        fs::rename(&own, &other).unwrap();
    });
}

/// Returns a file of this crate with the checksums of its changed content, so that they do not reveal the change.
fn with_right_checksums(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    if !bytes.starts_with(b"\x93LCSTATE") {
        return None;
    }
    let length = usize::try_from(u64::from_le_bytes(bytes.get(16..24)?.try_into().unwrap())).ok()?;
    let state = xxh3_64(bytes.get(length..)?);
    bytes.get_mut(40..48)?.copy_from_slice(&state.to_le_bytes());
    let head = bytes.get(..length).filter(|head| head.len() >= 48)?;
    let mut hash = Xxh3Default::new();
    hash.update(&head[..24]);
    hash.update(&head[32..]);
    let head = hash.digest();
    bytes[24..32].copy_from_slice(&head.to_le_bytes());
    Some(bytes)
}

/// Tries the descriptions of good, foreign and damaged files.
fn infos(walk: &mut Walk, subjects: &mut Subjects, with: impl Fn(&StateInfo)) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state");
    for path in paths() {
        walk.call(short(&path), || StateInfo::read(&path));
    }
    let mut left = 1;
    each_context(walk, subjects, |walk, context| {
        if left == 0 || walk.is_poisoned() || context.save_state(&path, &I32.map(Token::new)).is_err() {
            return;
        }
        left -= 1;
        let bytes = fs::read(&path).unwrap();
        for (what, bytes) in damaged(&bytes, 800, 2).map(|(what, bytes)| {
            let right = with_right_checksums(&bytes);
            (what, right.unwrap_or(bytes))
        }) {
            fs::write(&path, bytes).unwrap();
            if let Some(info) = walk.call(what, || StateInfo::read(&path)) {
                with(&info);
            }
        }
    });
}
