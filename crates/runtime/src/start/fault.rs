//! A program that was found and that the kernel does not run. To the outside it ran and failed: a line
//! in its container's log, and an exit code, as with container engines.
//!
//! The process that met it looks at the file itself, with the container's privileges and in its
//! namespaces, and without allocating; what it saw crosses the report socket as [`Seen`].

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;

use super::kernel::{self, Sys};
use windlass_model::program_fault::{ProgramCause, ProgramFault};

/// What a container engine's processes end with in this case. Source: runc 1.1.
const EXIT_CODE: i32 = 1;
/// The kernel looks at so many bytes of a script's first line.
const HEAD_BYTES: usize = 256;
/// Longest interpreter or loader that is told, bytes.
const TEXT_BYTES: usize = 200;
/// Letter, candidate, errno, kind, machine, and the text's length, then the text.
const RECORD_BYTES: usize = 11 + TEXT_BYTES;
/// Most program headers that are looked through for the loader.
const HEADERS_MAX: u64 = 64;

const MACHINES: [(u16, &str); 12] = [
    (3, "i686"),
    (8, "mips"),
    (20, "ppc"),
    (21, "ppc64le"),
    (22, "s390x"),
    (40, "armv7l"),
    (42, "sh4"),
    (43, "sparc64"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv64"),
    (258, "loongarch64"),
];

/// errno and Go's words for it, which is how container engines write it.
const ERRORS: [(i32, &str); 12] = [
    (libc::ENOEXEC, "exec format error"),
    (libc::ENOENT, "no such file or directory"),
    (libc::EACCES, "permission denied"),
    (libc::E2BIG, "argument list too long"),
    (libc::ENOTDIR, "not a directory"),
    (libc::EPERM, "operation not permitted"),
    (libc::ENOMEM, "cannot allocate memory"),
    (libc::ELOOP, "too many levels of symbolic links"),
    (libc::ETXTBSY, "text file busy"),
    (libc::EINVAL, "invalid argument"),
    (libc::EIO, "input/output error"),
    (libc::ELIBBAD, "accessing a corrupted shared library"),
];

fn words(errno: i32) -> &'static str {
    let known = ERRORS.iter().find(|(number, _)| *number == errno);
    known.map_or("cannot be run", |(_, words)| words)
}

/// What the file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Unknown,
    Empty,
    /// A program, with the number of its machine.
    Program,
    Text,
    /// A script, with its interpreter.
    Script,
    /// A program that names a loader.
    Loader,
}

/// As it crosses the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Which of the paths that were tried.
    candidate: u16,
    errno: i32,
    kind: Kind,
    machine: u16,
    length: usize,
    text: [u8; TEXT_BYTES],
}

/// Runs the first candidate that can be run, as execvp, without its retry through a shell: a file that
/// may not be run is remembered, and the search goes on. `exec` answers an errno when it returns, and
/// so does this when there is no such program.
pub(super) fn exec(report: RawFd, candidates: &[CString], exec: &dyn Fn(&CStr) -> i32) -> i32 {
    let mut answer = libc::ENOENT;
    for (at, candidate) in candidates.iter().enumerate() {
        match exec(candidate) {
            libc::ENOENT => {}
            libc::ENOTDIR if candidates.len() > 1 => {}
            errno @ (libc::EACCES | libc::ENOTDIR) => answer = errno,
            errno => end(report, candidates, at, errno),
        }
    }
    // A program of which something is missing, such as its interpreter, looks like one that is not
    // there: only now is it worth a look.
    if let Some(at) = candidates.iter().position(|path| is_runnable(path)) {
        end(report, candidates, at, exec(&candidates[at]));
    }
    answer
}

fn is_runnable(path: &CStr) -> bool {
    let Ok(place) = kernel::open(path, libc::O_PATH) else {
        return false;
    };
    let regular = kernel::file_type(place) == Ok(libc::S_IFREG);
    kernel::close(place);
    regular && kernel::may_execute(path)
}

/// Tells why, to the container's log and to whoever prepared the start, and ends.
fn end(report: RawFd, candidates: &[CString], at: usize, errno: i32) -> ! {
    let path = &candidates[at];
    for part in [
        b"exec ",
        path.to_bytes(),
        b": ",
        words(errno).as_bytes(),
        b"\n",
    ] {
        // Whoever closed it does not want to know.
        let _ = kernel::write(2, part);
    }
    let mut seen = Seen::new(u16::try_from(at).unwrap_or(u16::MAX), errno);
    let _ = seen.look(path);
    let mut record = [0; RECORD_BYTES];
    let length = seen.encode(&mut record);
    let _ = kernel::send(report, &record[..length], &[]);
    kernel::exit(EXIT_CODE)
}

impl Seen {
    fn new(candidate: u16, errno: i32) -> Seen {
        Seen {
            candidate,
            errno,
            kind: Kind::Unknown,
            machine: 0,
            length: 0,
            text: [0; TEXT_BYTES],
        }
    }

    /// A file that may be run and not read stays unknown.
    fn look(&mut self, path: &CStr) -> Sys<()> {
        let file = kernel::open(path, libc::O_RDONLY | libc::O_NONBLOCK)?;
        let mut head = [0; HEAD_BYTES];
        let length = kernel::read_at(file, &mut head, 0)?;
        self.judge(&head[..length]);
        if self.kind == Kind::Program && self.errno == libc::ENOENT {
            self.find_loader(file, &head[..length])?;
        }
        kernel::close(file);
        Ok(())
    }

    fn judge(&mut self, head: &[u8]) {
        self.kind = match head {
            [] => Kind::Empty,
            [0x7f, b'E', b'L', b'F', _, order, ..] if head.len() >= 20 => {
                let pair = [head[18], head[19]];
                self.machine = match order {
                    2 => u16::from_be_bytes(pair),
                    _ => u16::from_le_bytes(pair),
                };
                Kind::Program
            }
            [b'#', b'!', line @ ..] => {
                self.keep(interpreter(line));
                Kind::Script
            }
            _ => Kind::Text,
        };
    }

    /// The text of the header that names the loader, of a program of 64 bits of this machine.
    fn find_loader(&mut self, file: RawFd, head: &[u8]) -> Sys<()> {
        let (Some(table), Some(size), Some(count)) = (
            number(head, 32, 8),
            number(head, 54, 2),
            number(head, 56, 2),
        ) else {
            return Ok(());
        };
        for index in 0..count.min(HEADERS_MAX) {
            let mut header = [0; 56];
            let at = table.saturating_add(index.saturating_mul(size));
            let length = kernel::read_at(file, &mut header, at)?;
            const INTERPRETER: u64 = 3;
            if number(&header[..length], 0, 4) != Some(INTERPRETER) {
                continue;
            }
            let mut text = [0; TEXT_BYTES];
            let at = number(&header, 8, 8).unwrap_or(0);
            let length = kernel::read_at(file, &mut text, at)?;
            let end = text[..length].iter().position(|byte| *byte == 0);
            self.keep(&text[..end.unwrap_or(length)]);
            self.kind = Kind::Loader;
            return Ok(());
        }
        Ok(())
    }

    fn keep(&mut self, text: &[u8]) {
        self.length = text.len().min(TEXT_BYTES);
        self.text[..self.length].copy_from_slice(&text[..self.length]);
    }

    fn encode(&self, record: &mut [u8; RECORD_BYTES]) -> usize {
        record[0] = LETTER;
        record[1..3].copy_from_slice(&self.candidate.to_le_bytes());
        record[3..7].copy_from_slice(&self.errno.to_le_bytes());
        record[7] = self.kind as u8;
        record[8..10].copy_from_slice(&self.machine.to_le_bytes());
        record[10] = self.length as u8;
        record[11..11 + self.length].copy_from_slice(&self.text[..self.length]);
        11 + self.length
    }

    pub(super) fn decode(record: &[u8]) -> Option<Seen> {
        let [LETTER, a, b, c, d, e, f, kind, g, h, length, text @ ..] = record else {
            return None;
        };
        let text = text.get(..usize::from(*length))?;
        let mut seen = Seen::new(
            u16::from_le_bytes([*a, *b]),
            i32::from_le_bytes([*c, *d, *e, *f]),
        );
        seen.machine = u16::from_le_bytes([*g, *h]);
        seen.kind = [
            Kind::Unknown,
            Kind::Empty,
            Kind::Program,
            Kind::Text,
            Kind::Script,
            Kind::Loader,
        ]
        .into_iter()
        .find(|known| *known as u8 == *kind)?;
        seen.keep(text);
        Some(seen)
    }

    /// In the words of whoever prepared the start.
    pub(super) fn fault(&self, candidates: &[CString]) -> ProgramFault {
        let path = candidates.get(usize::from(self.candidate));
        ProgramFault {
            path: path.map_or_else(String::new, |path| path.to_string_lossy().into_owned()),
            error: words(self.errno).to_owned(),
            cause: self.cause(),
        }
    }

    fn cause(&self) -> ProgramCause {
        let text = || String::from_utf8_lossy(&self.text[..self.length]).into_owned();
        let missing = matches!(self.errno, libc::ENOENT | libc::EACCES | libc::ENOTDIR);
        match (self.kind, self.errno) {
            (Kind::Empty, libc::ENOEXEC) => ProgramCause::Empty,
            (Kind::Text, libc::ENOEXEC) => ProgramCause::NoInterpreterLine,
            (Kind::Script, _) if missing && self.text[..self.length].ends_with(b"\r") => {
                ProgramCause::CarriageReturn(text())
            }
            // Or the interpreter is one of another architecture.
            (Kind::Script, errno) if missing || errno == libc::ENOEXEC => {
                ProgramCause::Interpreter(text())
            }
            (Kind::Loader, _) if missing => ProgramCause::Loader(text()),
            (Kind::Program, libc::ENOEXEC) => {
                let machine = std::env::consts::ARCH;
                match machine_name(self.machine) {
                    program if program == machine => ProgramCause::Unknown,
                    program => ProgramCause::Architecture {
                        program,
                        machine: machine.to_owned(),
                    },
                }
            }
            _ => ProgramCause::Unknown,
        }
    }
}

/// The letter of the record. See [`super::report`].
pub(super) const LETTER: u8 = b'X';

/// The first word behind `#!`, as the kernel reads it: spaces and tabs end it, a carriage return does
/// not.
fn interpreter(line: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = line
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(line.len());
    let word = &line[start..];
    let end = word
        .iter()
        .position(|byte| blank(byte) || matches!(byte, b'\n' | 0));
    &word[..end.unwrap_or(word.len())]
}

fn machine_name(number: u16) -> String {
    let known = MACHINES.iter().find(|(known, _)| *known == number);
    known.map_or_else(
        || format!("ELF machine {number}"),
        |(_, name)| (*name).to_owned(),
    )
}

/// `size` bytes from `at` on, little-endian.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + size)?;
    let digits = bytes.iter().rev();
    Some(digits.fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(head: &[u8], errno: i32) -> String {
        let mut seen = Seen::new(1, errno);
        seen.judge(head);
        let mut record = [0; RECORD_BYTES];
        let length = seen.encode(&mut record);
        let again = Seen::decode(&record[..length]).unwrap();
        assert_eq!(again, seen);
        let candidates = [c"/a/x".to_owned(), c"/b/x".to_owned()];
        again.fault(&candidates).to_string()
    }

    fn elf(machine: u16) -> Vec<u8> {
        let mut head = vec![0x7f, b'E', b'L', b'F', 2, 1];
        head.resize(18, 0);
        head.extend(machine.to_le_bytes());
        head
    }

    #[test]
    fn the_first_bytes_tell_what_is_wrong() {
        for (head, errno, cause) in [
            (b"".to_vec(), libc::ENOEXEC, "the file is empty"),
            (
                b"echo hi\n".to_vec(),
                libc::ENOEXEC,
                "it is no program, and as a script it lacks a first line with #!",
            ),
            (
                b"#!/bin/sh\r\necho hi\r\n".to_vec(),
                libc::ENOENT,
                "its #! line names \"/bin/sh\\r\": the script has the line ends of Windows",
            ),
            (
                b"#! /usr/bin/python3 -u\n".to_vec(),
                libc::ENOENT,
                "its #! line names \"/usr/bin/python3\", which is missing or cannot be run",
            ),
            (
                b"#!/etc".to_vec(),
                libc::EACCES,
                "its #! line names \"/etc\", which is missing or cannot be run",
            ),
            (
                b"#!/bin/foreign\n".to_vec(),
                libc::ENOEXEC,
                "its #! line names \"/bin/foreign\", which is missing or cannot be run",
            ),
            (
                elf(183),
                libc::ENOEXEC,
                "it is built for aarch64, and this machine is x86_64",
            ),
            (
                elf(9999),
                libc::ENOEXEC,
                "it is built for ELF machine 9999, and this machine is x86_64",
            ),
        ] {
            if cfg!(target_arch = "x86_64") {
                let error = words(errno);
                assert_eq!(told(&head, errno), format!("exec /b/x: {error}: {cause}"));
            }
        }
        // What explains nothing is not told.
        for (head, errno) in [
            (b"#!/bin/sh\n".to_vec(), libc::ENOMEM),
            (b"\x7fELF".to_vec(), libc::EIO),
            (elf(62), libc::E2BIG),
        ] {
            assert_eq!(told(&head, errno), format!("exec /b/x: {}", words(errno)));
        }
    }

    #[test]
    fn a_record_that_is_cut_off_is_none() {
        for record in [
            &b""[..],
            b"X",
            b"E0123456789",
            b"X\0\0\0\0\0\0\x09\0\0\0",
            b"X\0\0\0\0\0\0\0\0\0\x05ab",
        ] {
            assert_eq!(Seen::decode(record), None, "{record:?}");
        }
    }
}
