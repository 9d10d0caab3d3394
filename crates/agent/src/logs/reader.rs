//! Reads a log forwards, in bounded answers, and goes on over rotations.

use super::backwards::Tail;
use super::rotation::{self, Opened};
use super::{Error, LogRecord, parse};
use crate::limits::{LOG_BYTES_PER_READ_MAX, LOG_RECORD_BYTES_MAX};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;

/// Reads one container's log, and goes on where it stopped.
pub struct Reader {
    path: PathBuf,
    current: Option<Current>,
    /// A record without its newline yet.
    partial: Vec<u8>,
    /// Bytes that were there to read when it was opened.
    at_open: u64,
    /// Bytes after which it has read all it shall read.
    left: Option<u64>,
    /// The time of the last record read.
    at: Option<String>,
    /// The file that was read is gone, and files after it may be too.
    is_outrun: bool,
}

struct Current {
    inode: u64,
    file: BufReader<File>,
    /// Seen at its end after a newer file was there: nothing comes any more.
    is_complete: bool,
}

impl Reader {
    pub(super) fn at_oldest(path: PathBuf) -> Reader {
        Reader {
            at_open: rotation::bytes(&path),
            path,
            current: None,
            partial: Vec::new(),
            left: None,
            at: None,
            is_outrun: false,
        }
    }

    /// At the first of the last `lines` lines. A long line between whose pieces another stream
    /// wrote may lack its begin.
    pub(super) fn at_last(path: PathBuf, lines: usize) -> Result<Reader, Error> {
        let mut reader = Reader::at_oldest(path);
        reader
            .go_to_last(lines)
            .map_err(|source| reader.failed(source))?;
        Ok(reader)
    }

    fn go_to_last(&mut self, lines: usize) -> io::Result<()> {
        self.at_open = 0;
        let mut tail = Tail::new(lines);
        let mut next = rotation::newest(&self.path)?;
        while let Some(mut opened) = next {
            let (begin, is_open) = tail.find(&opened.file)?;
            let ahead = opened.file.metadata()?.len().saturating_sub(begin);
            self.at_open = self.at_open.saturating_add(ahead);
            opened.file.seek(SeekFrom::Start(begin))?;
            next = match is_open {
                true => rotation::older(&self.path, opened.inode)?,
                false => None,
            };
            self.current = Some(Current::new(opened));
        }
        Ok(())
    }

    /// Ends with what was there when it was opened: a container that writes faster than somebody
    /// reads would never let it end.
    pub fn end_at_present(&mut self) {
        self.left = Some(self.at_open);
    }

    /// What is there and was not read yet, of [`LOG_BYTES_PER_READ_MAX`] bytes at most; empty when
    /// there is nothing new. To follow a log, ask again a little later.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&mut self) -> Result<Vec<LogRecord>, Error> {
        let mut records = Vec::new();
        let mut bytes = 0_usize;
        while bytes < LOG_BYTES_PER_READ_MAX && self.left != Some(0) {
            let count = self.read_some().map_err(|source| self.failed(source))?;
            if count == 0 {
                break;
            }
            bytes = bytes.saturating_add(count);
            self.left = self.left.map(|left| left.saturating_sub(count as u64));
            records.extend(self.told_of_loss());
            if self.partial.last() == Some(&b'\n') {
                self.partial.pop();
                let record = parse(&self.partial);
                self.at = record.as_ref().map(|it| it.time.clone()).or(self.at.take());
                records.extend(record);
                self.partial.clear();
            } else if self.partial.len() >= LOG_RECORD_BYTES_MAX {
                self.partial.clear();
            }
        }
        Ok(records)
    }

    /// What nobody can read any more is not to be taken for never written.
    fn told_of_loss(&mut self) -> Option<LogRecord> {
        if !std::mem::take(&mut self.is_outrun) {
            return None;
        }
        Some(LogRecord {
            time: self.at.clone()?,
            stream: "shim".to_owned(),
            partial: false,
            text: "records may be missing here: the log was rotated faster than it was read"
                .to_owned(),
        })
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::File {
            path: self.path.clone(),
            source,
        }
    }

    /// Adds to `partial` up to a newline, from the next file when one is read to its end. How many
    /// bytes: 0 when there are no more for now.
    fn read_some(&mut self) -> io::Result<usize> {
        loop {
            let Some(current) = &mut self.current else {
                match rotation::oldest(&self.path)? {
                    Some(opened) => self.current = Some(Current::new(opened)),
                    None => return Ok(0),
                }
                continue;
            };
            let room = LOG_RECORD_BYTES_MAX.saturating_sub(self.partial.len());
            let mut piece = (&mut current.file).take(room as u64);
            match piece.read_until(b'\n', &mut self.partial)? {
                0 => {}
                count => return Ok(count),
            }
            match rotation::newer(&self.path, current.inode)? {
                None => return Ok(0),
                // What was written between the read and the look is read first.
                Some(_) if !current.is_complete => current.is_complete = true,
                Some(newer) => {
                    // The shim goes on in a new file only after a whole record.
                    self.partial.clear();
                    self.is_outrun |= !newer.is_next;
                    self.current = Some(Current::new(newer));
                }
            }
        }
    }
}

impl Current {
    fn new(opened: Opened) -> Current {
        Current {
            inode: opened.inode,
            file: BufReader::new(opened.file),
            is_complete: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Logs;
    use super::super::rotation::numbered;
    use super::*;
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use windlass_model::id::{Name, TaskId};

    struct Log {
        _folder: tempfile::TempDir,
        logs: Logs,
        task: TaskId,
        name: Name,
    }

    impl Log {
        fn new() -> Log {
            let folder = tempfile::tempdir().unwrap();
            let logs = Logs::new(folder.path());
            let (task, name) = (TaskId(5), Name::new("web").unwrap());
            fs::create_dir_all(logs.folder(task)).unwrap();
            Log {
                _folder: folder,
                logs,
                task,
                name,
            }
        }

        fn file(&self, number: u32) -> PathBuf {
            numbered(&self.logs.path(self.task, &self.name), number)
        }

        fn open(&self, tail: Option<usize>) -> Reader {
            self.logs.open(self.task, &self.name, tail).unwrap()
        }

        fn last(&self, lines: usize) -> Vec<String> {
            texts(self.open(Some(lines)).read().unwrap())
        }
    }

    fn line(number: u32) -> String {
        record("stdout F", &format!("line {number}"))
    }

    fn record(kind: &str, text: &str) -> String {
        format!("2026-01-01T00:00:00.000000000Z {kind} {text}\n")
    }

    fn texts(records: Vec<LogRecord>) -> Vec<String> {
        records.into_iter().map(|record| record.text).collect()
    }

    #[test]
    fn a_reader_goes_on_over_a_rotation() {
        let log = Log::new();
        let path = log.file(0);
        fs::write(log.file(1), line(1)).unwrap();
        fs::write(&path, line(2)).unwrap();
        let mut reader = log.open(None);
        assert_eq!(texts(reader.read().unwrap()), ["line 1", "line 2"]);
        assert!(reader.read().unwrap().is_empty());
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&line(3).as_bytes()[..20]).unwrap();
        assert!(reader.read().unwrap().is_empty(), "half a record");
        file.write_all(&line(3).as_bytes()[20..]).unwrap();
        fs::rename(&path, log.file(1)).unwrap();
        fs::write(&path, line(4)).unwrap();
        assert_eq!(texts(reader.read().unwrap()), ["line 3", "line 4"]);
    }

    #[test]
    fn rotations_lose_only_what_is_gone() {
        let log = Log::new();
        fs::write(log.file(0), line(1)).unwrap();
        let mut reader = log.open(None);
        assert_eq!(texts(reader.read().unwrap()), ["line 1"]);
        for number in 2..=4 {
            fs::rename(log.file(1), log.file(2)).ok();
            fs::rename(log.file(0), log.file(1)).unwrap();
            fs::write(log.file(0), line(number)).unwrap();
        }
        assert_eq!(
            texts(reader.read().unwrap()),
            [
                "records may be missing here: the log was rotated faster than it was read",
                "line 2",
                "line 3",
                "line 4"
            ]
        );
        // In the midst of a rotation the newest is not there yet.
        fs::rename(log.file(0), log.file(1)).unwrap();
        assert!(reader.read().unwrap().is_empty());
        fs::write(log.file(0), line(5)).unwrap();
        assert_eq!(texts(reader.read().unwrap()), ["line 5"]);
    }

    #[test]
    fn who_ends_at_present_is_not_kept_by_what_comes() {
        for (tail, seen) in [(None, vec!["line 1", "line 2"]), (Some(1), vec!["line 2"])] {
            let log = Log::new();
            fs::write(log.file(1), line(1)).unwrap();
            fs::write(log.file(0), line(2)).unwrap();
            let mut reader = log.open(tail);
            reader.end_at_present();
            let mut file = OpenOptions::new().append(true).open(log.file(0)).unwrap();
            file.write_all(line(3).as_bytes()).unwrap();
            assert_eq!(texts(reader.read().unwrap()), seen);
            assert!(reader.read().unwrap().is_empty());
        }
    }

    #[test]
    fn an_answer_is_bounded_whatever_the_log() {
        let log = Log::new();
        let all: String = (0..100_000).map(line).collect();
        fs::write(log.file(0), &all).unwrap();
        let mut reader = log.open(None);
        let mut seen = 0;
        loop {
            let records = reader.read().unwrap();
            if records.is_empty() {
                break;
            }
            let bytes: usize = records.iter().map(|record| record.text.len()).sum();
            assert!(bytes <= LOG_BYTES_PER_READ_MAX, "{bytes}");
            assert_eq!(records[0].text, format!("line {seen}"));
            seen += records.len();
        }
        assert_eq!(seen, 100_000);
    }

    #[test]
    fn what_is_no_record_does_not_fill_the_memory() {
        let log = Log::new();
        let damage = "x".repeat(3 * LOG_RECORD_BYTES_MAX);
        fs::write(log.file(0), format!("{}{damage}\n{}", line(1), line(2))).unwrap();
        let mut reader = log.open(None);
        let mut seen = Vec::new();
        for _ in 0..10 {
            seen.extend(texts(reader.read().unwrap()));
            assert!(reader.partial.capacity() <= 3 * LOG_RECORD_BYTES_MAX);
        }
        assert_eq!(seen, ["line 1", "line 2"]);
        let mut reader = log.open(Some(2));
        let seen: Vec<String> = (0..10)
            .flat_map(|_| texts(reader.read().unwrap()))
            .collect();
        assert_eq!(seen, ["line 1", "line 2"]);
    }

    #[test]
    fn the_last_lines_are_found_over_blocks_and_files() {
        let log = Log::new();
        fs::write(log.file(2), line(1)).unwrap();
        fs::write(log.file(1), line(2) + &line(3)).unwrap();
        fs::write(log.file(0), line(4)).unwrap();
        assert!(log.last(0).is_empty());
        assert_eq!(log.last(1), ["line 4"]);
        assert_eq!(log.last(2), ["line 3", "line 4"]);
        assert_eq!(log.last(4), ["line 1", "line 2", "line 3", "line 4"]);
        assert_eq!(log.last(usize::MAX).len(), 4);
        let all: String = (0..20_000).map(line).collect();
        fs::write(log.file(0), &all).unwrap();
        for lines in [1, 2, 1_500, 3_000, 20_000, 20_001, 20_003] {
            let mut reader = log.open(Some(lines));
            let mut seen = Vec::new();
            loop {
                let some = texts(reader.read().unwrap());
                if some.is_empty() {
                    break;
                }
                seen.extend(some);
            }
            assert_eq!(seen.len(), lines);
            assert_eq!(seen.last().unwrap(), "line 19999");
        }
        // Followed from there.
        let mut reader = log.open(Some(0));
        let mut file = OpenOptions::new().append(true).open(log.file(0)).unwrap();
        file.write_all(line(7).as_bytes()).unwrap();
        assert_eq!(texts(reader.read().unwrap()), ["line 7"]);
    }

    #[test]
    fn pieces_of_a_long_line_are_one_line() {
        let log = Log::new();
        let piece = |text: &str| record("stdout P", text);
        let whole = line(1) + &piece("a") + &piece("b") + &record("stdout F", "c");
        fs::write(log.file(0), &whole).unwrap();
        assert_eq!(log.last(1), ["a", "b", "c"]);
        assert_eq!(log.last(2), ["line 1", "a", "b", "c"]);
        // One that has not ended is a line too; half a record is read once it is whole.
        let open = whole + &piece("d") + &line(2)[..10];
        fs::write(log.file(0), &open).unwrap();
        assert_eq!(log.last(1), ["d"]);
        assert_eq!(log.last(2), ["a", "b", "c", "d"]);
        let mut reader = log.open(Some(0));
        let mut file = OpenOptions::new().append(true).open(log.file(0)).unwrap();
        file.write_all(&line(2).as_bytes()[10..]).unwrap();
        assert_eq!(texts(reader.read().unwrap()), ["line 2"]);
    }
}
