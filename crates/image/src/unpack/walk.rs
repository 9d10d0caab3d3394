//! Ways through the tree that is filled: from a name to the open folder it lies in.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode};

use super::{Folder, Tree, refused};
use crate::attributes::make_opaque;
use crate::lowers::{Found, is_whiteout, kind, open_folder, stat};

/// As many links as the kernel follows in one path.
const LINKS_MAX: usize = 40;

impl Tree {
    /// Opens a folder of the tree, following links inside the tree. Parents that the layer did not
    /// name are made, like the lower layer's if it has them.
    pub(super) fn enter(&mut self, path: &Path) -> io::Result<Folder> {
        if let Some((_, folder)) = self.last.as_ref().filter(|(last, _)| last == path) {
            return Ok(folder.clone());
        }
        let mut ahead: VecDeque<OsString> = path.iter().map(OsStr::to_os_string).collect();
        let mut stack: Vec<Folder> = Vec::new();
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            if part == ".." {
                // The parent of the root is the root, as after chroot.
                stack.pop();
                continue;
            }
            let here = stack.last().cloned().unwrap_or_else(|| self.root_folder());
            match self.step(&here, &part)? {
                Step::Into(fd) => {
                    stack.push(Folder {
                        fd: Rc::new(fd),
                        path: here.path.join(&part),
                    });
                }
                Step::Link(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(refused("too many symbolic links in its path"));
                    }
                    if target.as_bytes().starts_with(b"/") {
                        stack.clear();
                    }
                    for part in target.as_bytes().split(|&b| b == b'/').rev() {
                        if !part.is_empty() && part != b"." {
                            ahead.push_front(OsStr::from_bytes(part).to_os_string());
                        }
                    }
                }
            }
        }
        let folder = stack.pop().unwrap_or_else(|| self.root_folder());
        self.last = Some((path.to_path_buf(), folder.clone()));
        Ok(folder)
    }

    fn root_folder(&self) -> Folder {
        Folder {
            fd: self.root.clone(),
            path: PathBuf::new(),
        }
    }

    fn step(&mut self, here: &Folder, part: &OsStr) -> io::Result<Step> {
        let hidden = match stat(&here.fd, part)? {
            Some(stat) if kind(&stat) == FileType::Directory => {
                return Ok(Step::Into(open_folder(&here.fd, part)?));
            }
            Some(stat) if kind(&stat) == FileType::Symlink => {
                let target = rustix::fs::readlinkat(&*here.fd, part, Vec::new())?;
                return Ok(Step::Link(OsString::from_vec(target.into_bytes())));
            }
            Some(stat) if is_whiteout(&stat) => {
                rustix::fs::unlinkat(&*here.fd, part, AtFlags::empty())?;
                true
            }
            Some(_) => return Err(refused("a part of its path is no folder")),
            None => false,
        };
        let path = here.path.join(part);
        let lower = match hidden {
            true => Found::Nothing,
            false => self.lowers.find(&path)?,
        };
        if let Found::Symlink(target) = lower {
            return Ok(Step::Link(target));
        }
        rustix::fs::mkdirat(&*here.fd, part, Mode::RWXU)?;
        let made = open_folder(&here.fd, part)?;
        if hidden {
            make_opaque(&made)?;
        }
        match lower {
            Found::Folder(lower) => self.like(&made, &path, &lower)?,
            _ => rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?,
        }
        Ok(Step::Into(made))
    }
}

enum Step {
    Into(OwnedFd),
    Link(OsString),
}
