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

fn own_name() -> String {
    std::fs::read_to_string("/proc/self/comm")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// The holder may have been killed between taking the lock and writing its id; say what is known.
fn in_use(dir: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    let read = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.take(64).read_to_string(&mut text));
    let (pid, name) = match (read, text.trim().split_once(' ')) {
        (Ok(_), Some((pid, name))) => (pid.parse().ok(), name),
        _ => (None, ""),
    };
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
