//! The members of an archive: an index by name, and contents by digest.
//!
//! A name is cleaned as text and never becomes a path. A link is an alias in this index: it leads to
//! a member of the same archive or to nothing, wherever it points. Of two members with one name the
//! later one counts, as where an archive is unpacked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;

use crate::digest::Digest;
use crate::error::{At, Error, Result};
use crate::files::{Received, TemporaryPath};

/// Links followed from one name.
const LINKS_MAX: usize = 40;

/// What an archive holds.
#[derive(Default)]
pub(super) struct Members {
    names: BTreeMap<Vec<u8>, Target>,
    contents: BTreeMap<Digest, Content>,
}

enum Target {
    Content(Digest),
    /// A cleaned name.
    Link(Vec<u8>),
}

/// Bytes in a temporary file, which is not kept open: archives have thousands of members.
pub(super) struct Content {
    pub(super) path: TemporaryPath,
    pub(super) bytes: u64,
}

impl Members {
    pub(super) fn add(&mut self, name: Vec<u8>, received: Received) {
        self.names.insert(name, Target::Content(received.digest));
        self.contents.entry(received.digest).or_insert(Content {
            path: received.temporary.close(),
            bytes: received.bytes,
        });
    }

    pub(super) fn add_link(&mut self, name: Vec<u8>, target: Vec<u8>) {
        // A link to itself keeps what has the name.
        if name != target {
            self.names.insert(name, Target::Link(target));
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name.as_bytes())
    }

    /// The content that a name leads to.
    ///
    /// # Errors
    /// [`Error::Archive`] when there is none.
    pub(super) fn find(&self, name: &str) -> Result<(Digest, &Content)> {
        let missing = || {
            let shown = name.as_bytes().escape_ascii();
            Error::archive(format!("it has no regular member \"{shown}\""))
        };
        let mut name = cleaned(name.as_bytes()).ok_or_else(missing)?;
        for _ in 0..LINKS_MAX {
            match self.names.get(&name).ok_or_else(missing)? {
                Target::Link(target) => name.clone_from(target),
                Target::Content(digest) => {
                    let content = self.contents.get(digest).ok_or_else(missing)?;
                    return Ok((*digest, content));
                }
            }
        }
        Err(missing())
    }

    /// All bytes of a small member.
    ///
    /// # Errors
    /// [`Error::Limit`], and as [`Members::find`].
    pub(super) fn read(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>> {
        let (_, content) = self.find(name)?;
        if content.bytes > bytes_max {
            let what = format!("the size of archive member \"{}\"", name.escape_debug());
            let limit = bytes_max;
            return Err(Error::Limit { what, limit });
        }
        fs::read(content.path.path()).at("read", content.path.path())
    }

    /// Hands over a content; it has no name any more.
    pub(super) fn take(&mut self, digest: &Digest) -> Option<Content> {
        self.contents.remove(digest)
    }
}

impl Content {
    /// The first bytes, zeros when there are fewer.
    pub(super) fn start(&self) -> [u8; 4] {
        let mut start = [0; 4];
        let read = File::open(self.path.path()).and_then(|mut file| file.read_exact(&mut start));
        read.map(|()| start).unwrap_or_default()
    }
}

/// A member's name without `.`, `..` and a leading slash; nothing when it leads out of the archive.
pub(super) fn cleaned(name: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// Where a symbolic link leads, as a cleaned name.
pub(super) fn linked(name: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if target.starts_with(b"/") {
        return None;
    }
    let folder = name.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
    cleaned(&[&name[..folder], target].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_in_the_archive() {
        for (name, target, leads) in [
            ("a/layer.tar", "../b/layer.tar", Some("b/layer.tar")),
            ("a", "b", Some("b")),
            ("a/b", "./c//d", Some("a/c/d")),
            ("a", "../etc/passwd", None),
            ("a/b", "../../etc/passwd", None),
            ("a", "/etc/passwd", None),
        ] {
            let found = linked(name.as_bytes(), target.as_bytes());
            let want = leads.map(|leads| leads.as_bytes().to_vec());
            assert_eq!(found, want, "{name} -> {target}");
        }
    }
}
