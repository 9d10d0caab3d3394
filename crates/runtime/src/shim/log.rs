//! A container's log files: `path`, `path.1`, … `path.{files-1}`, each at most `max_bytes` long.
//!
//! A container must never wait for its log, and a disk must never be filled by one: when a write
//! fails, its records are dropped and counted, and the file is cut back to its last whole record.
//! The files lie outside of every container, and no link is followed at their names.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::clock;
use super::lines::record;
use crate::spec::{Log as LogSpec, StartError};

/// Smaller files could not hold a useful record.
pub(crate) const FILE_BYTES_MIN: u64 = 4 * 1024;
pub(crate) const FILES_MAX: u32 = 100;
/// Records wait for one another up to here, so that a chatty container costs few writes.
const BATCH_BYTES_MAX: usize = 32 * 1024;

pub(crate) struct Log {
    folder: OwnedFd,
    name: String,
    max_bytes: u64,
    files: u32,
    /// None when it could not be opened; the next write tries again.
    file: Option<OwnedFd>,
    file_bytes: u64,
    batch: Vec<u8>,
    batch_records: u64,
    /// Since the start of the container.
    dropped: u64,
    /// Since the last record that was written, with the reason.
    unreported: Option<(u64, Errno)>,
}

impl Log {
    /// # Errors
    /// The limits are out of range, the folder is missing, or something that is no ordinary file
    /// stands at the log's name.
    pub(crate) fn open(spec: &LogSpec) -> Result<Log, StartError> {
        let refuse = |errno: Errno| StartError {
            stage: "log".into(),
            errno: errno.raw_os_error(),
            detail: spec.path.clone(),
        };
        if spec.max_bytes < FILE_BYTES_MIN || !(1..=FILES_MAX).contains(&spec.files) {
            return Err(refuse(Errno::INVAL));
        }
        let path = Path::new(&spec.path);
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or(refuse(Errno::INVAL))?;
        let folder = path
            .parent()
            .filter(|_| path.is_absolute())
            .ok_or(refuse(Errno::INVAL))?;
        let folder = fs::open(
            folder,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(refuse)?;
        let mut log = Log {
            folder,
            name: name.to_owned(),
            max_bytes: spec.max_bytes,
            files: spec.files,
            file: None,
            file_bytes: 0,
            batch: Vec::new(),
            batch_records: 0,
            dropped: 0,
            unreported: None,
        };
        match log.reopen() {
            // A full disk is no reason not to run: the records are dropped and counted.
            Err(Errno::NOSPC | Errno::DQUOT) | Ok(()) => Ok(log),
            Err(errno) => Err(refuse(errno)),
        }
    }

    /// The longest text whose record surely fits a file.
    pub(crate) fn text_bytes_max(&self) -> usize {
        usize::try_from(self.max_bytes / 2).unwrap_or(usize::MAX)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds one record; it is in the file after [`Log::flush`].
    pub(crate) fn add(&mut self, record: &[u8]) {
        let most = BATCH_BYTES_MAX.min(usize::try_from(self.max_bytes).unwrap_or(usize::MAX));
        if !self.batch.is_empty() && self.batch.len() + record.len() > most {
            self.flush();
        }
        self.batch.extend_from_slice(record);
        self.batch_records += 1;
    }

    /// Writes what was added, or drops and counts it.
    pub(crate) fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let records = std::mem::take(&mut self.batch_records);
        if let Some((count, reason)) = self.unreported {
            let reason = std::io::Error::from(reason);
            let text = format!("{count} records were dropped: {reason}");
            // Best effort: the batch decides whether there is room again.
            if self
                .write(&record("shim", b'F', clock::wall(), text.as_bytes()))
                .is_ok()
            {
                self.unreported = None;
            }
        }
        if let Err(errno) = self.write(&batch) {
            self.dropped += records;
            let before = self.unreported.map_or(0, |(count, _)| count);
            self.unreported = Some((before + records, errno));
        }
        // The allocation is kept for the next batch, unless it is large.
        self.batch = batch;
        self.batch.clear();
        self.batch.shrink_to(4 * 1024);
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let length = bytes.len() as u64;
        if self.file.is_some() && self.file_bytes > 0 && self.file_bytes + length > self.max_bytes {
            self.rotate()?;
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        let Some(file) = &self.file else {
            return Err(Errno::BADF);
        };
        let mut written = 0;
        while written < bytes.len() {
            match rustix::io::write(file, &bytes[written..]) {
                Ok(0) => return self.cut_back(Errno::IO),
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(errno) => return self.cut_back(errno),
            }
        }
        self.file_bytes += length;
        Ok(())
    }

    /// Removes the beginning of a batch whose rest could not be written: half a record would swallow
    /// the next one's head.
    fn cut_back(&mut self, reason: Errno) -> Result<(), Errno> {
        if let Some(file) = &self.file
            && fs::ftruncate(file, self.file_bytes).is_err()
        {
            // Not even shorter: leave this file as it is and begin another.
            let _ = self.rotate();
        }
        Err(reason)
    }

    fn rotate(&mut self) -> Result<(), Errno> {
        self.file = None;
        for number in (1..self.files).rev() {
            let from = if number == 1 {
                self.name.clone()
            } else {
                self.numbered(number - 1)
            };
            match fs::renameat(&self.folder, &from, &self.folder, self.numbered(number)) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        if self.files == 1 {
            match fs::unlinkat(&self.folder, &self.name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.reopen()
    }

    fn numbered(&self, number: u32) -> String {
        format!("{}.{number}", self.name)
    }

    fn reopen(&mut self) -> Result<(), Errno> {
        let file = fs::openat(
            &self.folder,
            &self.name,
            OFlags::WRONLY
                | OFlags::APPEND
                | OFlags::CREATE
                | OFlags::NOFOLLOW
                | OFlags::NONBLOCK
                | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR | Mode::RGRP,
        )?;
        let stat = fs::fstat(&file)?;
        // A second name would let whoever holds it read or change the log.
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
            return Err(Errno::LOOP);
        }
        self.file_bytes = u64::try_from(stat.st_size).unwrap_or(0);
        self.file = Some(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(folder: &Path, max_bytes: u64, files: u32) -> LogSpec {
        let path = folder.join("web.log").to_str().unwrap().to_owned();
        LogSpec {
            path,
            max_bytes,
            files,
        }
    }

    #[test]
    fn files_rotate_and_stay_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(&spec(folder.path(), 4096, 3)).unwrap();
        for number in 0..1000 {
            log.add(format!("record {number:04} {}\n", "x".repeat(20)).as_bytes());
            if number % 7 == 0 {
                log.flush();
            }
        }
        log.flush();
        assert_eq!(log.dropped(), 0);
        let mut text = String::new();
        for name in ["web.log.2", "web.log.1", "web.log"] {
            let bytes = std::fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(bytes.len() <= 4096, "{name} has {} bytes", bytes.len());
            text.push_str(&bytes);
        }
        assert!(!folder.path().join("web.log.3").exists());
        // The newest records, without a gap.
        let first: usize = text[7..11].parse().unwrap();
        for (line, number) in text.lines().zip(first..) {
            assert!(line.starts_with(&format!("record {number:04}")), "{line}");
        }
        assert!(text.contains("record 0999"));
    }

    #[test]
    fn one_file_starts_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(&spec(folder.path(), 4096, 1)).unwrap();
        for _ in 0..100 {
            log.add(&[b'y'; 100]);
            log.flush();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(
            std::fs::metadata(folder.path().join("web.log"))
                .unwrap()
                .len()
                <= 4096
        );
    }

    #[test]
    fn links_and_foreign_things_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let spec = spec(folder.path(), 4096, 2);
        let target = folder.path().join("target");
        std::fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &spec.path).unwrap();
        assert_eq!(Log::open(&spec).err().map(|e| e.errno), Some(libc::ELOOP));
        std::fs::remove_file(&spec.path).unwrap();
        std::fs::hard_link(&target, &spec.path).unwrap();
        assert!(Log::open(&spec).is_err());
        std::fs::remove_file(&spec.path).unwrap();
        fs::mknodat(fs::CWD, &spec.path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(Log::open(&spec).is_err());
        assert!(
            Log::open(&LogSpec {
                files: 0,
                ..spec.clone()
            })
            .is_err()
        );
        assert!(
            Log::open(&LogSpec {
                max_bytes: 1,
                ..spec.clone()
            })
            .is_err()
        );
        assert!(
            Log::open(&LogSpec {
                path: "relative".into(),
                ..spec
            })
            .is_err()
        );
    }
}
