//! Paths inside a container's root, which its image and its volumes may have filled with traps.
//!
//! Every lookup is openat2 relative to the root's descriptor, with RESOLVE_IN_ROOT and without
//! magic links, and yields a descriptor that is then used itself: nothing is looked up twice.
//! Nothing here allocates, except [`read`], which only the preparing side calls.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::kernel::{
    RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, Sys, close,
    file_type, mkdirat, openat2, readlinkat,
};

/// Longest path, with NUL.
const PATH_MAX: usize = 4096;
/// Longest component.
const NAME_MAX: usize = 255;
/// Dangling links followed inside the root before giving up, as the kernel's own limit.
const LINKS_MAX: usize = 40;

/// What a path must lead to; missing parts are made as this.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File,
}

/// Whether links inside the root may be followed on the way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    Follow,
    Refuse,
}

impl Links {
    fn resolve(self) -> u64 {
        match self {
            Links::Follow => RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
            Links::Refuse => RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS,
        }
    }
}

/// Opens an existing path under `root`, as a place (O_PATH).
pub(super) fn open_existing(root: RawFd, path: &CStr, kind: Kind, links: Links) -> Sys<RawFd> {
    openat2(root, path, place(kind), 0, links.resolve())
}

/// Opens a path under `root` as a place, and makes what is missing of it. A link that leads nowhere
/// is followed inside the root and its target made.
pub(super) fn open_or_make(root: RawFd, path: &CStr, kind: Kind, links: Links) -> Sys<RawFd> {
    let mut current = PathText::new(path.to_bytes())?;
    for _ in 0..LINKS_MAX {
        match openat2(root, current.as_cstr()?, place(kind), 0, links.resolve()) {
            Err(libc::ENOENT) => {}
            answer => return answer,
        }
        match make_missing(root, &current, kind, links)? {
            Made::All(fd) => return Ok(fd),
            Made::Dangling(next) => current = next,
        }
    }
    Err(libc::ELOOP)
}

#[expect(
    clippy::large_enum_variant,
    reason = "between clone and execve nothing may be allocated, so a path lies on the stack"
)]
enum Made {
    All(RawFd),
    /// The same path with a dangling link replaced by its text.
    Dangling(PathText),
}

/// Makes the missing components one by one, each in a folder that is held open.
fn make_missing(root: RawFd, path: &PathText, kind: Kind, links: Links) -> Sys<Made> {
    let bytes = path.bytes();
    let mut folder = openat2(root, c"/", place(Kind::Folder), 0, links.resolve())?;
    let mut start = 0;
    while start < bytes.len() {
        let end = start
            + bytes[start..]
                .iter()
                .position(|b| *b == b'/')
                .unwrap_or(bytes.len() - start);
        if end > start {
            let last = bytes[end..].iter().all(|b| *b == b'/');
            let kind = if last { kind } else { Kind::Folder };
            let step = component(root, folder, path, (start, end), kind, links);
            close(folder);
            match step? {
                Made::All(next) => folder = next,
                dangling => return Ok(dangling),
            }
        }
        start = end + 1;
    }
    Ok(Made::All(folder))
}

/// Opens or makes one component of `path`, whose parent is `folder`.
fn component(
    root: RawFd,
    folder: RawFd,
    path: &PathText,
    (start, end): (usize, usize),
    kind: Kind,
    links: Links,
) -> Sys<Made> {
    let bytes = path.bytes();
    let prefix = PathText::new(&bytes[..end])?;
    let reopen = || openat2(root, prefix.as_cstr()?, place(kind), 0, links.resolve());
    match reopen() {
        Err(libc::ENOENT) => {}
        answer => return answer.map(Made::All),
    }
    if end - start > NAME_MAX {
        return Err(libc::ENAMETOOLONG);
    }
    let name = PathText::new(&bytes[start..end])?;
    let made = match kind {
        Kind::Folder => mkdirat(folder, name.as_cstr()?, 0o755),
        Kind::File => openat2(
            folder,
            name.as_cstr()?,
            libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_NOFOLLOW,
            0o644,
            RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
        )
        .map(close),
    };
    match made {
        Ok(()) => reopen().map(Made::All),
        Err(libc::EEXIST) if links == Links::Follow => {
            // Something is there and yet leads nowhere: a dangling link.
            let mut buffer = [0u8; PATH_MAX];
            let link = readlinkat(folder, name.as_cstr()?, &mut buffer)?;
            let parent: &[u8] = if link.first() == Some(&b'/') {
                b""
            } else {
                &bytes[..start]
            };
            PathText::joined(&[parent, link, b"/", &bytes[end..]]).map(Made::Dangling)
        }
        Err(errno) => Err(errno),
    }
}

fn place(kind: Kind) -> i32 {
    match kind {
        Kind::Folder => libc::O_PATH | libc::O_DIRECTORY,
        Kind::File => libc::O_PATH,
    }
}

/// A path in a fixed buffer, so that the child needs no allocation.
struct PathText {
    bytes: [u8; PATH_MAX],
    length: usize,
}

impl PathText {
    fn new(bytes: &[u8]) -> Sys<PathText> {
        PathText::joined(&[bytes])
    }

    fn joined(parts: &[&[u8]]) -> Sys<PathText> {
        let mut text = PathText {
            bytes: [0; PATH_MAX],
            length: 0,
        };
        for part in parts {
            let end = text.length + part.len();
            // One byte stays for NUL.
            if end >= PATH_MAX {
                return Err(libc::ENAMETOOLONG);
            }
            text.bytes[text.length..end].copy_from_slice(part);
            text.length = end;
        }
        // A file's path must not end in a slash only because a link was put in.
        while text.length > 1 && text.bytes[text.length - 1] == b'/' {
            text.length -= 1;
            text.bytes[text.length] = 0;
        }
        Ok(text)
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn as_cstr(&self) -> Sys<&CStr> {
        CStr::from_bytes_with_nul(&self.bytes[..=self.length]).map_err(|_| libc::EINVAL)
    }
}

/// Reads a regular file under `root`, at most `max` bytes; `EFBIG` beyond. A FIFO or device is never
/// opened: only the place is, and its type looked at first.
pub(super) fn read(root: RawFd, path: &CStr, max: usize) -> Sys<Vec<u8>> {
    use std::io::Read;
    let place = openat2(root, path, libc::O_PATH, 0, Links::Follow.resolve())?;
    // SAFETY: openat2 has just made the descriptor, and nothing else owns it.
    let place = unsafe { OwnedFd::from_raw_fd(place) };
    if file_type(place.as_raw_fd())? != libc::S_IFREG {
        return Err(libc::EINVAL);
    }
    let file = std::fs::File::open(format!("/proc/self/fd/{}", place.as_raw_fd()))
        .map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
    // The file may lie about its size, so the reader is what bounds; the vector grows with it.
    let mut bytes = Vec::new();
    file.take(max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
    if bytes.len() > max {
        return Err(libc::EFBIG);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::os::unix::fs::symlink;

    fn root(name: &str) -> (std::path::PathBuf, OwnedFd) {
        let path =
            std::env::temp_dir().join(format!("windlass-path-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let fd = OwnedFd::from(std::fs::File::open(&path).unwrap());
        (path, fd)
    }

    /// What the path leads to, relative to the root, after `open_or_make`.
    fn made(
        root: &OwnedFd,
        at: &std::path::Path,
        path: &str,
        kind: Kind,
        links: Links,
    ) -> Result<String, i32> {
        let path = CString::new(path).unwrap();
        let fd = open_or_make(root.as_raw_fd(), &path, kind, links)?;
        let real = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        close(fd);
        let real = real.strip_prefix(at).map_err(|_| libc::EXDEV)?.to_owned();
        Ok(real.display().to_string())
    }

    #[test]
    fn links_stay_in_the_root() {
        let (at, fd) = root("links");
        symlink("/etc", at.join("absolute")).unwrap();
        symlink("../../../../etc/deep", at.join("above")).unwrap();
        symlink("loop", at.join("loop")).unwrap();
        symlink("there/file", at.join("relative")).unwrap();
        symlink("/proc/self/root", at.join("magic")).unwrap();
        let make = |path, kind| made(&fd, &at, path, kind, Links::Follow);
        for (path, kind, want) in [
            ("/a/b/c", Kind::Folder, Ok("a/b/c")),
            ("/a/b/f", Kind::File, Ok("a/b/f")),
            ("/../x//y/", Kind::Folder, Ok("x/y")),
            ("/absolute/new", Kind::Folder, Ok("etc/new")),
            ("/above/f", Kind::File, Ok("etc/deep/f")),
            ("/relative", Kind::File, Ok("there/file")),
            ("/magic/x", Kind::Folder, Ok("proc/self/root/x")),
            ("/loop/x", Kind::Folder, Err(libc::ELOOP)),
            ("/a/b/f/x", Kind::Folder, Err(libc::ENOTDIR)),
        ] {
            assert_eq!(make(path, kind), want.map(String::from), "{path}");
        }
        assert_eq!(
            made(&fd, &at, "/absolute/x", Kind::Folder, Links::Refuse),
            Err(libc::ELOOP)
        );
        let long = format!("/{}", "n".repeat(300));
        assert_eq!(make(&long, Kind::Folder), Err(libc::ENAMETOOLONG));
        std::fs::remove_dir_all(&at).unwrap();
    }

    #[test]
    fn only_small_regular_files_are_read() {
        let (at, fd) = root("read");
        std::fs::write(at.join("f"), "12345").unwrap();
        let fifo = CString::new(at.join("fifo").to_str().unwrap()).unwrap();
        super::super::kernel::mknodat(libc::AT_FDCWD, &fifo, libc::S_IFIFO | 0o600, 0).unwrap();
        symlink("../../../etc/passwd", at.join("out")).unwrap();
        let get = |path, max| read(fd.as_raw_fd(), path, max);
        assert_eq!(get(c"/f", 5), Ok(b"12345".to_vec()));
        assert_eq!(get(c"/f", 4), Err(libc::EFBIG));
        assert_eq!(get(c"/fifo", 5), Err(libc::EINVAL));
        assert_eq!(get(c"/out", 5), Err(libc::ENOENT));
        std::fs::remove_dir_all(&at).unwrap();
    }
}
