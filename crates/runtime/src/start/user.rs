//! Who a process runs as: the request against the image's own passwd and group files.
//!
//! The rules that keep a hostile file from making someone root: a request of digits is a number and
//! never a name; a number that does not fit is an error, not another user; a name that could be
//! read as a number is refused; an absent name is an error, not uid 0.

use std::os::fd::RawFd;

use super::path;
use super::{StartError, failed};

/// Largest passwd or group file that is read.
const FILE_MAX_BYTES: usize = 1 << 20;
/// Greatest id: what fits a signed number everywhere, as the field has it.
const ID_MAX: u32 = i32::MAX as u32;
/// Most supplementary groups, the kernel's limit.
const GROUPS_MAX: usize = 65536;

/// The identity of a process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Supplementary groups, the primary one among them.
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
}

/// Resolves `user`, `uid`, `user:group`, `uid:gid` or nothing (root) with the files under `root`.
pub(super) fn resolve(root: RawFd, request: &str) -> Result<User, StartError> {
    let file = |path: &std::ffi::CStr| match path::read(root, path, FILE_MAX_BYTES) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(libc::EFBIG) => Err(failed(
            "user",
            libc::EFBIG,
            format!("{} of the image", path.to_string_lossy()),
        )),
        // An image without the file, or with something else in its place, has no users.
        Err(_) => Ok(String::new()),
    };
    lookup(request, &file(c"/etc/passwd")?, &file(c"/etc/group")?)
}

fn lookup(request: &str, passwd: &str, group: &str) -> Result<User, StartError> {
    let refused = |errno| failed("user", errno, format!("user {request:?} of the image"));
    let (user, wanted_group) = match request.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (request, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let user = Request::parse(user).ok_or_else(|| refused(libc::EINVAL))?;
    let entry = passwd
        .lines()
        .filter_map(Entry::parse)
        .find(|entry| match user {
            Request::Id(id) => entry.uid == id,
            Request::Name(name) => entry.name == name,
        });
    let (name, uid, gid, home) = match (&entry, user) {
        (Some(entry), _) => (entry.name, entry.uid, entry.gid, entry.home),
        (None, Request::Id(id)) => ("", id, 0, "/"),
        (None, Request::Name(_)) => return Err(refused(libc::ENOENT)),
    };
    let home = if home.is_empty() { "/" } else { home }.to_owned();
    let Some(wanted) = wanted_group else {
        let mut groups = vec![gid];
        groups.extend(memberships(group, name).filter(|id| *id != gid));
        groups.truncate(GROUPS_MAX);
        return Ok(User {
            uid,
            gid,
            groups,
            home,
        });
    };
    let gid = match Request::parse(wanted).ok_or_else(|| refused(libc::EINVAL))? {
        Request::Id(id) => id,
        Request::Name(wanted) => group
            .lines()
            .filter_map(group_entry)
            .find_map(|(name, id, _)| (name == wanted).then_some(id))
            .ok_or_else(|| refused(libc::ENOENT))?,
    };
    Ok(User {
        uid,
        gid,
        groups: vec![gid],
        home,
    })
}

#[derive(Clone, Copy)]
enum Request<'a> {
    Id(u32),
    Name(&'a str),
}

impl Request<'_> {
    fn parse(text: &str) -> Option<Request<'_>> {
        let first = *text.as_bytes().first()?;
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return id(text).map(Request::Id);
        }
        // `0x0`, `-1` and `+0` are names in no system that means well.
        let name = !first.is_ascii_digit() && first != b'-' && first != b'+';
        name.then_some(Request::Name(text))
    }
}

fn id(text: &str) -> Option<u32> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|id| *id <= ID_MAX)
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl Entry<'_> {
    /// A line of passwd; a malformed one is nobody.
    fn parse(line: &str) -> Option<Entry<'_>> {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let mut fields = fields.skip(1);
        Some(Entry {
            name,
            uid: id(fields.next()?)?,
            gid: id(fields.next()?)?,
            home: fields.nth(1)?,
        })
    }
}

fn group_entry(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let id = id(fields.nth(1)?)?;
    Some((name, id, fields.next()?))
}

fn memberships<'a>(group: &'a str, user: &'a str) -> impl Iterator<Item = u32> + 'a {
    group
        .lines()
        .filter_map(group_entry)
        .filter(move |(_, _, members)| {
            !user.is_empty() && members.split(',').any(|member| member == user)
        })
        .map(|(_, id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        web:x:1000:1001:Web:/srv/web:/bin/sh\n\
        broken:x:zero:0::/:\n\
        1:x:0:0::/:\n01:x:0:0::/:\n-1:x:0:0::/:\n+0:x:0:0::/:\n0x0:x:0:0::/:\n\
        4294967296:x:0:0::/:\nbig:x:4294967295:0::/:\n";
    const GROUP: &str = "root:x:0:\nweb:x:1001:\nlogs:x:44:other,web\naudio:x:29:web\n7:x:0:web\n";

    #[test]
    fn requests_become_identities_or_errors() {
        let user = |uid, gid, groups: &[u32], home: &str| {
            Ok(User {
                uid,
                gid,
                groups: groups.to_vec(),
                home: home.into(),
            })
        };
        for (request, want) in [
            ("", user(0, 0, &[0], "/root")),
            ("root", user(0, 0, &[0], "/root")),
            ("web", user(1000, 1001, &[1001, 44, 29, 0], "/srv/web")),
            ("1000", user(1000, 1001, &[1001, 44, 29, 0], "/srv/web")),
            ("1000:7", user(1000, 7, &[7], "/srv/web")),
            ("web:logs", user(1000, 44, &[44], "/srv/web")),
            (":logs", user(0, 44, &[44], "/root")),
            ("1", user(1, 0, &[0], "/")),
            ("01", user(1, 0, &[0], "/")),
            ("2147483647", user(2147483647, 0, &[0], "/")),
            ("-1", Err(libc::EINVAL)),
            ("+0", Err(libc::EINVAL)),
            ("0x0", Err(libc::EINVAL)),
            ("2147483648", Err(libc::EINVAL)),
            ("4294967295", Err(libc::EINVAL)),
            ("4294967296", Err(libc::EINVAL)),
            ("99999999999", Err(libc::EINVAL)),
            ("web:", Err(libc::EINVAL)),
            ("nobody", Err(libc::ENOENT)),
            ("broken", Err(libc::ENOENT)),
            ("big", Err(libc::ENOENT)),
            ("web:nogroup", Err(libc::ENOENT)),
            ("1000:-1", Err(libc::EINVAL)),
        ] {
            let got = lookup(request, PASSWD, GROUP).map_err(|e| e.errno);
            assert_eq!(got, want, "{request:?}");
        }
    }

    #[test]
    fn an_image_without_users_has_numbers_only() {
        assert_eq!(lookup("5:6", "", "").unwrap().gid, 6);
        assert_eq!(lookup("", "", "").unwrap().home, "/");
        assert_eq!(lookup("web", "", "").unwrap_err().errno, libc::ENOENT);
    }
}
