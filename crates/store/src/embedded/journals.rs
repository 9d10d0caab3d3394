//! An untouched copy of the engine's journals, kept while a start is not yet known to be sound.
//!
//! The engine cuts a journal off at the first thing that it cannot read, and thereby destroys what a
//! repair would need. So the journals are copied first, with their holes, and the copy is removed
//! once every row was verified. The copy is not synced: it guards against the engine, not against
//! a power cut in the same second.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::Error;

/// Copies the journals of `engine` into the store's folder.
///
/// A copy that is already there stays as it is: it was made by a start that did not come to an end,
/// and is the older witness. Returns `None` when there was nothing to copy or no room for it.
pub(crate) fn keep(dir: &Path, engine: &Path) -> Result<Option<PathBuf>, Error> {
    let kept = kept(dir);
    if kept.exists() {
        return Ok(Some(kept));
    }
    let journals = find(engine)?;
    if journals.is_empty() {
        return Ok(None);
    }
    let partial = dir.join("journals-partial");
    let copied = copy_all(&journals, &partial)
        .and_then(|()| fs::rename(&partial, &kept).map_err(Error::io("rename", &partial)));
    match copied {
        Ok(()) => Ok(Some(kept)),
        // Damage is found without the copy too, and a full disk must not keep stops from being served.
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::StorageFull => {
            remove_all(&partial)?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Where a copy lies, if there is one.
pub(crate) fn existing(dir: &Path) -> Option<PathBuf> {
    Some(kept(dir)).filter(|kept| kept.exists())
}

/// Removes the copy after a sound start.
pub(crate) fn forget(dir: &Path) -> Result<(), Error> {
    remove_all(&kept(dir))
}

fn kept(dir: &Path) -> PathBuf {
    dir.join("journals-before-start")
}

fn find(engine: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(engine) {
        Ok(entries) => entries,
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::io("list", engine)(source)),
    };
    let mut journals = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("list", engine))?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            journals.push(path);
        }
    }
    journals.sort();
    Ok(journals)
}

fn copy_all(journals: &[PathBuf], into: &Path) -> Result<(), Error> {
    remove_all(into)?;
    fs::create_dir(into).map_err(Error::io("create", into))?;
    for journal in journals {
        let name = journal.file_name().unwrap_or_default();
        copy_sparse(journal, &into.join(name)).map_err(Error::io("copy", journal))?;
    }
    Ok(())
}

/// Copies the data between the holes: a journal is allocated ahead and mostly empty.
fn copy_sparse(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut source = File::open(from)?;
    let length = source.metadata()?.len();
    let mut target = File::create_new(to)?;
    target.set_len(length)?;
    let mut at = 0;
    while at < length {
        at = match rustix::fs::seek(&source, rustix::fs::SeekFrom::Data(at)) {
            Ok(at) => at,
            Err(rustix::io::Errno::NXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        let end = rustix::fs::seek(&source, rustix::fs::SeekFrom::Hole(at))?;
        source.seek(SeekFrom::Start(at))?;
        target.seek(SeekFrom::Start(at))?;
        copy_range(&mut source, &mut target, end.saturating_sub(at))?;
        at = end;
    }
    Ok(())
}

/// Preallocated journals are written as zeros by some file systems; pages of zeros become holes again.
fn copy_range(source: &mut File, target: &mut File, bytes: u64) -> std::io::Result<()> {
    let mut left = bytes;
    let mut buffer = vec![0; 64 << 10];
    while left > 0 {
        let want = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let got = source.read(&mut buffer[..want])?;
        if got == 0 {
            break;
        }
        if buffer[..got].iter().any(|byte| *byte != 0) {
            target.write_all(&buffer[..got])?;
        } else {
            target.seek_relative(got as i64)?;
        }
        left = left.saturating_sub(got as u64);
    }
    Ok(())
}

fn remove_all(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(Error::io("remove", dir)(source))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use super::*;

    #[test]
    fn keeps_the_first_copy_with_its_holes() {
        let dir = tempfile::tempdir().expect("a folder");
        let engine = dir.path().join("engine");
        assert!(keep(dir.path(), &engine).expect("no engine yet").is_none());
        fs::create_dir(&engine).expect("created");
        let journal = File::create(engine.join("0.jnl")).expect("created");
        journal.set_len(64 << 20).expect("sized");
        journal.write_all_at(b"begin", 0).expect("written");
        journal.write_all_at(b"middle", 32 << 20).expect("written");

        let kept = keep(dir.path(), &engine).expect("copied").expect("a copy");
        let copy = File::open(kept.join("0.jnl")).expect("copied");
        assert_eq!(copy.metadata().expect("metadata").len(), 64 << 20);
        assert!(copy.metadata().expect("metadata").blocks() * 512 < 1 << 20);
        let mut bytes = [0; 6];
        copy.read_exact_at(&mut bytes, 32 << 20).expect("read");
        assert_eq!(&bytes, b"middle");

        journal.write_all_at(b"BEGIN", 0).expect("written");
        keep(dir.path(), &engine).expect("kept");
        copy.read_exact_at(&mut bytes[..5], 0).expect("read");
        assert_eq!(&bytes[..5], b"begin", "the older copy is the witness");
        forget(dir.path()).expect("removed");
        assert_eq!(existing(dir.path()), None);
    }
}
