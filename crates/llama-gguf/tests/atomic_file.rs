//! Replacing files as a whole: modes, links, and targets that are not files.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use llama_gguf::AtomicFile;
use tempfile::{TempDir, tempdir};

fn write(path: &Path, text: &str) -> io::Result<()> {
    let file = AtomicFile::create(path)?;
    file.as_file().write_all(text.as_bytes())?;
    file.commit()
}

/// Returns the names in a directory, sorted.
fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_that_is_given_up_leaves_nothing() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "old").unwrap();
    let file = AtomicFile::create(&path).unwrap();
    file.as_file().write_all(b"half").unwrap();
    assert!(file.temporary_path().exists());
    drop(file);
    assert_eq!(
        (fs::read_to_string(&path).unwrap(), names(&folder)),
        ("old".to_owned(), vec!["a".to_owned()])
    );
}

#[test]
fn a_directory_is_refused_before_anything_is_written() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a");
    fs::create_dir(&path).unwrap();
    let error = AtomicFile::create(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let expected =
        format!("{} is a directory, which a file cannot replace: use another path", path.display());
    assert_eq!(error.to_string(), expected);
    assert_eq!(names(&folder), ["a"]);
}

#[test]
fn a_directory_that_appears_meanwhile_is_not_replaced() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a");
    let file = AtomicFile::create(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(file.commit().unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(names(&folder), ["a"]);
}

#[test]
fn a_path_without_a_file_name_or_without_its_directory_is_refused() {
    let folder = tempdir().unwrap();
    assert!(AtomicFile::create(&folder.path().join("..")).is_err());
    let error = AtomicFile::create(&folder.path().join("none").join("a")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(names(&folder).is_empty());
}

#[test]
fn a_name_as_long_as_names_can_be_is_written() {
    let folder = tempdir().unwrap();
    let name = "n".repeat(255);
    write(&folder.path().join(&name), "long").unwrap();
    assert_eq!(names(&folder), [name]);
}

#[test]
fn of_parallel_writers_one_whole_file_is_left() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a");
    let start = Barrier::new(8);
    thread::scope(|scope| {
        for writer in 0..8_u8 {
            let (path, start) = (&path, &start);
            scope.spawn(move || {
                start.wait();
                for _ in 0..20 {
                    write(path, &char::from(b'a' + writer).to_string().repeat(10_000)).unwrap();
                }
            });
        }
    });
    let text = fs::read_to_string(&path).unwrap();
    let first = text.chars().next().unwrap();
    assert!(text.len() == 10_000 && text.chars().all(|character| character == first), "{first}");
    assert_eq!(names(&folder), ["a"]);
}

#[test]
fn what_another_writer_writes_by_path_is_committed() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a");
    let file = AtomicFile::create(&path).unwrap();
    File::options()
        .write(true)
        .truncate(true)
        .open(file.temporary_path())
        .unwrap()
        .write_all(b"by path")
        .unwrap();
    file.commit().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"by path");
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::process::Command;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_new_file_has_the_mode_that_the_process_gives_files() {
        let folder = tempdir().unwrap();
        let (plain, atomic) = (folder.path().join("plain"), folder.path().join("atomic"));
        File::create(&plain).unwrap();
        write(&atomic, "new").unwrap();
        assert_eq!(mode(&atomic), mode(&plain));
    }

    #[test]
    fn a_replaced_file_keeps_its_mode() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("a");
        for wanted in [0o600, 0o640, 0o664, 0o755, 0o444] {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(wanted)).unwrap();
            write(&path, "new").unwrap();
            assert_eq!((mode(&path), fs::read_to_string(&path).unwrap()), (wanted, "new".to_owned()));
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn links_stay_links_and_what_they_lead_to_is_replaced() {
        let folder = tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("inner")).unwrap();
        fs::write(at("inner/file"), "old").unwrap();
        fs::set_permissions(at("inner/file"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("inner/file", at("relative")).unwrap();
        symlink(at("relative"), at("absolute")).unwrap();
        // Placed beside the file, so that the link's own directory counts and not the current one.
        symlink("file", at("inner/beside")).unwrap();
        for (link, text) in [("relative", "one"), ("absolute", "two"), ("inner/beside", "three")] {
            write(&at(link), text).unwrap();
            assert_eq!(fs::read_to_string(at("inner/file")).unwrap(), text);
            assert!(fs::symlink_metadata(at(link)).unwrap().file_type().is_symlink(), "{link}");
            assert_eq!(mode(&at("inner/file")), 0o640);
        }
        assert_eq!(names(&folder), ["absolute", "inner", "relative"]);
        assert_eq!(fs::read_dir(at("inner")).unwrap().count(), 2);
    }

    #[test]
    fn a_dangling_link_gets_its_file() {
        let folder = tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink("file", at("link")).unwrap();
        write(&at("link"), "new").unwrap();
        assert_eq!(fs::read_to_string(at("file")).unwrap(), "new");
        assert_eq!(names(&folder), ["file", "link"]);
        symlink("none/file", at("lost")).unwrap();
        assert_eq!(write(&at("lost"), "new").unwrap_err().kind(), io::ErrorKind::NotFound);
        symlink("loop", at("loop")).unwrap();
        let error = write(&at("loop"), "new").unwrap_err();
        assert_eq!(error.to_string(), "more than 40 symbolic links lead on from it, or they form a loop");
        assert_eq!(names(&folder), ["file", "link", "loop", "lost"]);
    }

    #[test]
    fn devices_and_pipes_are_not_replaced() {
        let folder = tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let link = folder.path().join("link");
        symlink("/dev/null", &link).unwrap();
        for (path, named) in [
            (Path::new("/dev/null"), Path::new("/dev/null")),
            (&link, Path::new("/dev/null")),
            (&pipe, &pipe),
        ] {
            let error = AtomicFile::create(path).unwrap_err();
            let expected = format!(
                "{} is not a regular file, which a file cannot replace: use another path",
                named.display()
            );
            assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::InvalidInput, expected));
        }
        assert_eq!(names(&folder), ["link", "pipe"]);
    }

    #[test]
    fn a_directory_that_cannot_be_written_to_is_an_error_and_stays_as_it_is() {
        let folder = tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("a"), "old").unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o555)).unwrap();
        // The superuser can write everywhere.
        let is_bound = File::create(inner.join("trial")).is_err();
        let written = write(&inner.join("a"), "new");
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o755)).unwrap();
        let text = fs::read_to_string(inner.join("a")).unwrap();
        if is_bound {
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            assert_eq!((text.as_str(), fs::read_dir(&inner).unwrap().count()), ("old", 1));
        } else {
            written.unwrap();
            assert_eq!(text, "new");
        }
    }
}
