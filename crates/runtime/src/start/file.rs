//! Small files of a container's own, such as /etc/hosts. They lie in memory that is bounded, charged
//! to the container, and gone with its mounts: nothing of them is on the host, and a container that
//! fills one fills nothing else.
//!
//! One memory file system holds all files of a container. It is attached for as long as copies of
//! its files are made, because before 6.15 a detached mount cannot be copied, and lies where the
//! root is attached over it: it goes with the host's mounts.

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;

use super::container::{Source, Volume};
use super::kernel::{
    self, ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY, RESOLVE_BENEATH, Sys,
};
use super::report::{At, Done, Step};
use super::{StartError, cstring};

/// What each file may grow by beyond its text, in bytes; at least a page on every machine.
const ROOM_BYTES: u64 = 64 << 10;

/// A file to be: its name in the memory, its text, and whether the container may not write to it.
pub(super) struct File {
    name: CString,
    text: Vec<u8>,
    readonly: bool,
}

impl File {
    /// `index` is its place among the container's volumes.
    pub(super) fn new(index: usize, text: &str, readonly: bool) -> Result<File, StartError> {
        Ok(File {
            name: cstring("mount", &index.to_string())?,
            text: text.as_bytes().to_vec(),
            readonly,
        })
    }

    /// A detached copy of the file's mount in the memory that [`make`] made.
    pub(super) fn mount(&self, memory: RawFd) -> Sys<RawFd> {
        let copy = kernel::open_tree(memory, &self.name, false)?;
        if self.readonly {
            kernel::mount_setattr(copy, ATTR_RDONLY, 0, false)?;
        }
        Ok(copy)
    }
}

/// Options of the memory that holds these files.
pub(super) struct Memory {
    size: CString,
    inodes: CString,
}

impl Memory {
    /// `None` when no volume is a file.
    pub(super) fn of(volumes: &[Volume]) -> Result<Option<Memory>, StartError> {
        let (mut bytes, mut count) = (0, 0_u64);
        for file in files(volumes).map(|(_, file)| file) {
            bytes += file.text.len() as u64 + ROOM_BYTES;
            count += 1;
        }
        if count == 0 {
            return Ok(None);
        }
        // The folder is one too.
        let (size, inodes) = (bytes.to_string(), (count + 1).to_string());
        Ok(Some(Memory {
            size: cstring("mount", &size)?,
            inodes: cstring("mount", &inodes)?,
        }))
    }

    /// Attaches the memory to a folder and writes the files. Answers its mount.
    pub(super) fn make(&self, volumes: &[Volume], folder: RawFd) -> Done<RawFd> {
        let options: [(&CStr, &CStr); 3] = [
            (c"mode", c"755"),
            (c"size", &self.size),
            (c"nr_inodes", &self.inodes),
        ];
        let quiet = ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC;
        let memory = kernel::new_mount(c"tmpfs", &options, quiet).at(Step::Mount)?;
        for (index, file) in files(volumes) {
            write(memory, file).at_index(Step::Mount, index)?;
        }
        kernel::attach(memory, folder).at(Step::Mount)?;
        Ok(memory)
    }
}

fn files(volumes: &[Volume]) -> impl Iterator<Item = (usize, &File)> {
    let volumes = volumes.iter().enumerate();
    volumes.filter_map(|(index, volume)| match &volume.source {
        Source::File(file) => Some((index, file)),
        _ => None,
    })
}

fn write(memory: RawFd, file: &File) -> Sys<()> {
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY;
    let open = kernel::openat2(memory, &file.name, flags, 0o644, RESOLVE_BENEATH)?;
    let mut left = file.text.as_slice();
    while !left.is_empty() {
        let count = kernel::write(open, left)?;
        left = &left[count..];
    }
    kernel::close(open);
    Ok(())
}
