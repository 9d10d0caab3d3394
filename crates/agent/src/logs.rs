//! Reads what containers wrote. The shim writes the files; here they are found, read and, when
//! their task is long over, removed.
//!
//! A file holds one record a line: `TIME STREAM F|P TEXT`; `P` marks a piece of a line that goes
//! on in the stream's next record. Files rotate: `NAME` is the newest, `NAME.1` the one before.
//! No link is followed: a log is a file that the shim made.

use crate::limits::*;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
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

/// Reads one container's log from its beginning, and goes on where it stopped.
pub struct Reader {
    path: PathBuf,
    /// Files older than the newest that are still to be read, the oldest first.
    older: Vec<PathBuf>,
    file: Option<(u64, BufReader<File>)>,
    /// A record without its newline yet.
    partial: Vec<u8>,
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

    /// Opens a container's log at its oldest record.
    ///
    /// # Errors
    /// The container has none.
    pub fn open(&self, task: TaskId, container: &Name) -> Result<Reader, Error> {
        let path = self.path(task, container);
        let mut older: Vec<PathBuf> = (1..LOG_FILES_MAX)
            .map(|number| rotated(&path, number))
            .take_while(|path| fs::symlink_metadata(path).is_ok())
            .collect();
        older.reverse();
        if fs::symlink_metadata(&path).is_err() && older.is_empty() {
            return Err(Error::NotFound {
                task,
                container: container.clone(),
            });
        }
        Ok(Reader {
            path,
            older,
            file: None,
            partial: Vec::new(),
        })
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
        let mut ended: Vec<TaskId> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|task| !keep(*task))
            .collect();
        // Ids begin with the time: the oldest sort first.
        ended.sort();
        ended.truncate(ended.len().saturating_sub(LOG_TASKS_KEPT_MAX));
        for task in ended {
            let folder = self.folder(task);
            fs::remove_dir_all(&folder).map_err(|e| at(&folder, e))?;
        }
        Ok(())
    }
}

impl Reader {
    /// What is there and was not read yet, at most [`LOG_RECORDS_PER_READ_MAX`] records; empty
    /// when there is nothing new. To follow a log, ask again a little later.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&mut self) -> Result<Vec<LogRecord>, Error> {
        let mut records = Vec::new();
        while records.len() < LOG_RECORDS_PER_READ_MAX {
            if self.file.is_none() && !self.next_file()? {
                break;
            }
            let Some((_, file)) = &mut self.file else {
                break;
            };
            let count = file
                .read_until(b'\n', &mut self.partial)
                .map_err(|source| Error::File {
                    path: self.path.clone(),
                    source,
                })?;
            if self.partial.last() == Some(&b'\n') {
                self.partial.pop();
                records.extend(parse(&self.partial));
                self.partial.clear();
            } else if count == 0 && !self.is_rotated() {
                break;
            } else if count == 0 {
                // The shim goes on in a new file only after a whole record.
                self.partial.clear();
                self.older = self.newer_than_current();
                self.file = None;
            }
        }
        Ok(records)
    }

    /// Files between the current one and the newest, when it rotated more than once.
    fn newer_than_current(&self) -> Vec<PathBuf> {
        let current = self.file.as_ref().map(|(number, _)| *number);
        let is_current =
            |path: &PathBuf| fs::symlink_metadata(path).ok().map(|m| m.ino()) == current;
        let all: Vec<PathBuf> = (1..LOG_FILES_MAX)
            .map(|number| rotated(&self.path, number))
            .take_while(|path| fs::symlink_metadata(path).is_ok())
            .collect();
        // One that is gone was the oldest: all that is left is newer.
        let end = all.iter().position(is_current).unwrap_or(all.len());
        all.into_iter().take(end).rev().collect()
    }

    fn next_file(&mut self) -> Result<bool, Error> {
        while !self.older.is_empty() {
            let path = self.older.remove(0);
            if self.open(&path)? {
                return Ok(true);
            }
        }
        let path = self.path.clone();
        self.open(&path)
    }

    fn open(&mut self, path: &Path) -> Result<bool, Error> {
        match open_no_link(path) {
            Ok(file) => {
                let number = file.metadata().map_or(0, |meta| meta.ino());
                self.file = Some((number, BufReader::new(file)));
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::File {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// The file at its end is not the newest any more.
    fn is_rotated(&self) -> bool {
        let newest = fs::symlink_metadata(&self.path).map(|meta| meta.ino());
        match (&self.file, newest) {
            (Some((number, _)), Ok(newest)) => *number != newest,
            _ => false,
        }
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

fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
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
    use std::io::Write;

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

    fn texts(records: Vec<LogRecord>) -> Vec<String> {
        records.into_iter().map(|record| record.text).collect()
    }

    #[test]
    fn a_reader_goes_on_over_a_rotation() {
        let (_folder, logs, task, name) = setup();
        let path = logs.path(task, &name);
        fs::write(rotated(&path, 1), line(1)).unwrap();
        fs::write(&path, line(2)).unwrap();
        let mut reader = logs.open(task, &name).unwrap();
        assert_eq!(texts(reader.read().unwrap()), ["line 1", "line 2"]);
        assert!(reader.read().unwrap().is_empty());
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&line(3).as_bytes()[..20]).unwrap();
        assert!(reader.read().unwrap().is_empty(), "half a record");
        file.write_all(&line(3).as_bytes()[20..]).unwrap();
        fs::rename(&path, rotated(&path, 1)).unwrap();
        fs::write(&path, line(4)).unwrap();
        assert_eq!(texts(reader.read().unwrap()), ["line 3", "line 4"]);
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
        assert!(logs.open(task, &name).unwrap().read().is_err());
    }

    #[test]
    fn a_log_that_is_not_there_is_named() {
        let (_folder, logs, _, name) = setup();
        assert!(matches!(
            logs.open(TaskId(6), &name),
            Err(Error::NotFound { .. })
        ));
    }
}
