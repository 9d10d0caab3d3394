//! One process serves a store. The lock ends with the process, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use crate::Error;

/// Holds a store's folder for this process.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a folder that exists, and leaves this process's id and name in it.
    pub(crate) fn take(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("open the lock", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(dir, &mut file)),
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", &path)(source)),
        }
        // A disk without room must not keep a store from being served: the name only helps people.
        drop(
            file.set_len(0)
                .and_then(|()| writeln!(file, "{} {}", std::process::id(), own_name())),
        );
        Ok(Self { _file: file })
    }
}

/// The process that holds a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id, where it left one.
    pub pid: Option<u32>,
    /// Its name; empty when it left none.
    pub name: String,
}

/// Who serves the store of a folder, if anybody does. The lock tells: it ends with its process, and
/// cannot mean another one. Whoever takes it meanwhile should try again for a moment.
///
/// # Errors
/// [`Error::Io`] when the lock cannot be read.
pub fn holder(dir: &Path) -> Result<Option<Holder>, Error> {
    let path = dir.join("lock");
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::io("open the lock", &path)(source)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(read_holder(&mut file))),
        Err(TryLockError::Error(source)) => Err(Error::io("look at the lock", &path)(source)),
    }
}

fn own_name() -> String {
    std::fs::read_to_string("/proc/self/comm")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// The holder may have been killed between taking the lock and writing its id; say what is known.
fn read_holder(file: &mut File) -> Holder {
    let mut text = String::new();
    let read = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.take(64).read_to_string(&mut text));
    let (pid, name) = match (read, text.trim().split_once(' ')) {
        (Ok(_), Some((pid, name))) => (pid.parse().ok(), name),
        _ => (None, ""),
    };
    Holder {
        pid,
        name: name.to_owned(),
    }
}

fn in_use(dir: &Path, file: &mut File) -> Error {
    let Holder { pid, name } = read_holder(file);
    let process = match pid {
        Some(pid) => format!("process {pid} ({name})"),
        None => "another process".to_owned(),
    };
    Error::InUse {
        dir: dir.to_owned(),
        pid,
        process,
    }
}
