//! Reads what containers wrote. The shim writes the files; here they are found, read and, when
//! their task is long over, removed.
//!
//! A file holds one record a line: `TIME STREAM F|P TEXT`; `P` marks a piece of a line that goes
//! on in the stream's next record. Files rotate: `NAME` is the newest, `NAME.1` the one before.
//! No link is followed: a log is a file that the shim made.
//!
//! Whatever a log's length, reading it takes little memory: [`Reader`] gives bounded answers, and
//! the last lines are looked for from the end.

mod backwards;
mod reader;
mod rotation;

pub use reader::Reader;

use crate::limits::*;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use windlass_model::id::{Name, TaskId};

/// One line, or a piece of a long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// RFC 3339, UTC, nanoseconds.
    pub time: String,
    /// `stdout`, `stderr`, or `shim` for what the shim itself has to say.
    pub stream: String,
    /// The line goes on in the stream's next record.
    pub partial: bool,
    /// As the container wrote it, with what is not UTF-8 replaced.
    pub text: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no log of container {container} of task {task}")]
    NotFound { task: TaskId, container: Name },
    #[error("read the log {path}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The logs of a node.
#[derive(Clone, Debug)]
pub struct Logs {
    folder: PathBuf,
}

impl Logs {
    /// The logs below the node's data folder.
    pub fn new(data_dir: &Path) -> Logs {
        Logs {
            folder: data_dir.join("logs"),
        }
    }

    /// The folder of a task's logs.
    pub fn folder(&self, task: TaskId) -> PathBuf {
        self.folder.join(task.to_string())
    }

    /// The newest file of a container's log. Both parts are ids of a known shape, so the path
    /// stays in the folder.
    pub fn path(&self, task: TaskId, container: &Name) -> PathBuf {
        self.folder(task).join(container.as_str())
    }

    /// Opens a container's log at its oldest record; with `tail` at the first of its last `tail`
    /// lines.
    ///
    /// # Errors
    /// The container has none, or it cannot be read.
    pub fn open(
        &self,
        task: TaskId,
        container: &Name,
        tail: Option<usize>,
    ) -> Result<Reader, Error> {
        let path = self.path(task, container);
        if rotation::files(&path).is_empty() {
            return Err(Error::NotFound {
                task,
                container: container.clone(),
            });
        }
        match tail {
            None => Ok(Reader::at_oldest(path)),
            Some(lines) => Reader::at_last(path, lines),
        }
    }

    /// The last lines, bounded, for the reason of a failed container. Empty when there are none.
    pub fn last_lines(&self, task: TaskId, container: &Name) -> Vec<String> {
        let tail = tail(&self.path(task, container)).unwrap_or_default();
        let text = String::from_utf8_lossy(&tail);
        let mut lines: Vec<String> = text
            .lines()
            .filter_map(|line| parse(line.as_bytes()))
            .map(|record| record.text.chars().take(LAST_LINE_CHARS_MAX).collect())
            .collect();
        lines.drain(..lines.len().saturating_sub(LAST_LINES_MAX));
        lines
    }

    /// Removes the oldest folders beyond [`LOG_TASKS_KEPT_MAX`], but none that `keep` names.
    ///
    /// # Errors
    /// The folder cannot be read, or a log cannot be removed.
    pub fn retain(&self, keep: &dyn Fn(TaskId) -> bool) -> Result<(), Error> {
        let at = |path: &Path, source| Error::File {
            path: path.to_owned(),
            source,
        };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|e| at(&self.folder, e))?,
        };
        let of_entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.ok()?;
            let task: TaskId = entry.file_name().to_str()?.parse().ok()?;
            // Of a folder: when a file in it was made or renamed last.
            let changed = entry.metadata().and_then(|meta| meta.modified()).ok()?;
            Some((changed, task))
        };
        let mut ended: Vec<(SystemTime, TaskId)> = entries
            .filter_map(of_entry)
            .filter(|(_, task)| !keep(*task))
            .collect();
        ended.sort();
        ended.truncate(ended.len().saturating_sub(LOG_TASKS_KEPT_MAX));
        // One that stays must not keep the others.
        let mut removed = Ok(());
        for (_, task) in ended {
            let folder = self.folder(task);
            if let Err(error) = windlass_tree::remove(&folder) {
                removed = Err(at(&folder, error));
            }
        }
        removed
    }
}

fn open_no_link(path: &Path) -> io::Result<File> {
    const O_NOFOLLOW: i32 = 0o400_000;
    const O_NONBLOCK: i32 = 0o4_000;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a file")),
    }
}

fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open_no_link(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LAST_LINES_BYTES_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(LAST_LINES_BYTES_MAX).read_to_end(&mut bytes)?;
    // The first line may be cut.
    match bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .filter(|_| from > 0)
    {
        Some(end) => Ok(bytes.split_off(end + 1)),
        None => Ok(bytes),
    }
}

fn parse(line: &[u8]) -> Option<LogRecord> {
    let line = String::from_utf8_lossy(line);
    let mut parts = line.splitn(4, ' ');
    let (time, stream, tag) = (parts.next()?, parts.next()?, parts.next()?);
    let text = parts.next().unwrap_or_default();
    matches!(tag, "F" | "P").then(|| LogRecord {
        time: time.to_owned(),
        stream: stream.to_owned(),
        partial: tag == "P",
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> (tempfile::TempDir, Logs, TaskId, Name) {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::new(folder.path());
        let (task, name) = (TaskId(5), Name::new("web").unwrap());
        fs::create_dir_all(logs.folder(task)).unwrap();
        (folder, logs, task, name)
    }

    fn line(number: u32) -> String {
        format!("2026-01-01T00:00:00.000000000Z stdout F line {number}\n")
    }

    #[test]
    fn last_lines_are_few_and_links_are_not_followed() {
        let (folder, logs, task, name) = setup();
        let path = logs.path(task, &name);
        let all: String = (0..2_000).map(line).collect();
        fs::write(&path, all).unwrap();
        let last = logs.last_lines(task, &name);
        assert_eq!(last.len(), LAST_LINES_MAX);
        assert_eq!(last.last().unwrap(), "line 1999");
        let secret = folder.path().join("secret");
        fs::write(&secret, line(1)).unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        assert!(logs.last_lines(task, &name).is_empty());
        assert!(logs.open(task, &name, None).unwrap().read().is_err());
    }

    #[test]
    fn the_oldest_logs_leave_first_whatever_their_ids() {
        let (_folder, logs, _, _) = setup();
        let count = LOG_TASKS_KEPT_MAX as u128 + 2;
        // The later ones have the smaller ids.
        for number in 0..count {
            let folder = logs.folder(TaskId(1_000_000 - number));
            fs::create_dir_all(&folder).unwrap();
            let made = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
            File::open(&folder).unwrap().set_modified(made).unwrap();
        }
        fs::remove_dir(logs.folder(TaskId(5))).unwrap();
        logs.retain(&|task| task == TaskId(1_000_000)).unwrap();
        let is_there = |number: u128| logs.folder(TaskId(1_000_000 - number)).exists();
        assert!(is_there(0), "it is kept");
        assert!(!is_there(1), "the oldest of the others");
        assert!(is_there(2) && is_there(count - 1));
    }

    #[test]
    fn a_log_that_is_not_there_is_named() {
        let (_folder, logs, _, name) = setup();
        assert!(matches!(
            logs.open(TaskId(6), &name, None),
            Err(Error::NotFound { .. })
        ));
    }
}
