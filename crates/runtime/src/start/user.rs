//! Who a process runs as: the request against the image's own passwd and group files, by Docker's
//! grammar and in its words.
//!
//! Stricter than Docker where a hostile file could make someone root: a line with a malformed number
//! is nobody's, where Docker reads the number as 0; and a name that looks like a number (`0x0`, `-1`,
//! `+0`) is not looked up.

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

/// Resolves `user`, `uid`, `user:group`, `uid:gid` or nothing (root) with the files under `root`. Either
/// side of the colon may be empty: root, and the user's own groups.
pub(super) fn resolve(root: RawFd, request: &str) -> Result<User, StartError> {
    let file = |path: &std::ffi::CStr| match path::read(root, path, FILE_MAX_BYTES) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(libc::EFBIG) => Err(failed(
            "user",
            libc::EFBIG,
            format!("{} of the image is too large", path.to_string_lossy()),
        )),
        // An image without the file, or with something else in its place, has no users.
        Err(_) => Ok(String::new()),
    };
    lookup(request, &file(c"/etc/passwd")?, &file(c"/etc/group")?)
}

fn lookup(request: &str, passwd: &str, group: &str) -> Result<User, StartError> {
    let mut fields = request.split(':');
    let user = fields.next().filter(|user| !user.is_empty());
    let wanted_group = fields.next().filter(|group| !group.is_empty());
    let user = Request::parse(user.unwrap_or("0"))?;
    let entry = passwd
        .lines()
        .filter_map(Entry::parse)
        .find(|entry| match user {
            Request::Id(id) => entry.uid == id,
            Request::Name(name) => entry.name == name,
            Request::Nobody(_) => false,
        });
    let (name, uid, gid, home) = match (&entry, user) {
        (Some(entry), _) => (entry.name, entry.uid, entry.gid, entry.home),
        (None, Request::Id(id)) => ("", id, 0, "/"),
        (None, Request::Name(name) | Request::Nobody(name)) => {
            return Err(missing("user", name, "passwd"));
        }
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
    let gid = find_group(wanted, group)?;
    Ok(User {
        uid,
        gid,
        groups: vec![gid],
        home,
    })
}

fn find_group(wanted: &str, group: &str) -> Result<u32, StartError> {
    match Request::parse(wanted)? {
        Request::Id(id) => Ok(id),
        Request::Name(wanted) => group
            .lines()
            .filter_map(group_entry)
            .find_map(|(name, id, _)| (name == wanted).then_some(id))
            .ok_or_else(|| missing("group", wanted, "group")),
        Request::Nobody(wanted) => Err(missing("group", wanted, "group")),
    }
}

fn missing(kind: &str, name: &str, file: &str) -> StartError {
    let detail = format!("unable to find {kind} {name}: no matching entries in {file} file");
    failed("user", libc::ENOENT, detail)
}

#[derive(Clone, Copy)]
enum Request<'a> {
    Id(u32),
    Name(&'a str),
    /// What no file is asked for.
    Nobody(&'a str),
}

impl Request<'_> {
    /// # Errors
    /// A number that is no id.
    fn parse(text: &str) -> Result<Request<'_>, StartError> {
        if let Ok(number) = text.parse::<i64>() {
            if text.starts_with('+') {
                return Ok(Request::Nobody(text));
            }
            let id = u32::try_from(number).ok().filter(|id| *id <= ID_MAX);
            return id.map(Request::Id).ok_or_else(|| {
                let detail = format!("uids and gids must be in range 0-{ID_MAX}");
                failed("user", libc::EINVAL, detail)
            });
        }
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let numeric = digits || text.starts_with(['-', '+']) || text.starts_with("0x");
        Ok(if numeric {
            Request::Nobody(text)
        } else {
            Request::Name(text)
        })
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
        4294967296:x:0:0::/:\nbig:x:4294967295:0::/:\n\
        99999999999999999999:x:0:0::/:\n3d:x:30:30::/3d:\n";
    const RANGE: &str = "uids and gids must be in range 0-2147483647";
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
            ("web:", user(1000, 1001, &[1001, 44, 29, 0], "/srv/web")),
            ("1000:", user(1000, 1001, &[1001, 44, 29, 0], "/srv/web")),
            ("77:", user(77, 0, &[0], "/")),
            (":", user(0, 0, &[0], "/root")),
            ("web:logs:rest", user(1000, 44, &[44], "/srv/web")),
            ("3d", user(30, 30, &[30], "/3d")),
            ("-1", Err(RANGE)),
            ("2147483648", Err(RANGE)),
            ("4294967295", Err(RANGE)),
            ("4294967296", Err(RANGE)),
            ("99999999999", Err(RANGE)),
            ("1000:-1", Err(RANGE)),
            (
                "+0",
                Err("unable to find user +0: no matching entries in passwd file"),
            ),
            (
                "0x0",
                Err("unable to find user 0x0: no matching entries in passwd file"),
            ),
            (
                "nobody",
                Err("unable to find user nobody: no matching entries in passwd file"),
            ),
            (
                "broken",
                Err("unable to find user broken: no matching entries in passwd file"),
            ),
            (
                "big",
                Err("unable to find user big: no matching entries in passwd file"),
            ),
            (
                "99999999999999999999",
                Err("unable to find user 99999999999999999999: no matching entries in passwd file"),
            ),
            (
                "web:nogroup",
                Err("unable to find group nogroup: no matching entries in group file"),
            ),
            (
                "0:0x0",
                Err("unable to find group 0x0: no matching entries in group file"),
            ),
        ] {
            let got = lookup(request, PASSWD, GROUP).map_err(|e| e.detail);
            assert_eq!(got, want.map_err(String::from), "{request:?}");
        }
    }

    #[test]
    fn an_image_without_users_has_numbers_only() {
        assert_eq!(lookup("5:6", "", "").unwrap().gid, 6);
        assert_eq!(lookup("", "", "").unwrap().home, "/");
        assert_eq!(lookup("web", "", "").unwrap_err().errno, libc::ENOENT);
    }
}
