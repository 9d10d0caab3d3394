//! Rules of security that a reading of the text can hold.
//!
//! - A descriptor is made close-on-exec: one that leaks into a container is a way out of it.
//! - No socket has an abstract name: containers with the host's network could connect to it.
//! - Code that works inside a container's tree goes by descriptors: a path that is put together from
//!   a root and a name from an image may lead through a link.
//! - No text is formatted into mount options or firewall messages.
//! - A type that holds a secret is neither `Debug` nor `Display`, so that no log line shows it.
//!
//! What needs more than the text (who may bind where, which files have which mode) is tested where
//! it happens; docs/security.md says by which test.

use super::Failure;
use super::source::{Source, block_end, line_of, words};

/// Crates whose descriptors could reach a container.
const MAKE_DESCRIPTORS: [&str; 2] = ["runtime", "network"];

/// Calls that answer a descriptor and take the flag. Not dup3, which makes the standard streams that
/// a program shall have.
const TAKE_FLAG: [&str; 12] = [
    "SYS_openat2",
    "SYS_open_tree",
    "SYS_eventfd2",
    "SYS_inotify_init1",
    "SYS_socket",
    "SYS_socketpair",
    "SYS_recvmsg",
    "libc::open",
    "libc::openat",
    "libc::socket",
    "libc::pipe2",
    "libc::accept4",
];

/// Calls that cannot take it.
const CANNOT: [&str; 8] = [
    "libc::pipe",
    "libc::accept",
    "libc::dup",
    "libc::dup2",
    "libc::creat",
    "SYS_dup2",
    "rustix::pipe::pipe",
    "rustix::io::dup",
];

/// Names of sockets that have no place among the files, and so no permissions.
const ABSTRACT: [&str; 3] = [
    "from_abstract_name",
    "new_abstract_name",
    "SocketAddrUnix::new_abstract",
];

/// Ways to open of rustix, which have no flag of their own.
const MODES: [&str; 4] = [
    "OFlags::RDONLY",
    "OFlags::WRONLY",
    "OFlags::RDWR",
    "OFlags::PATH",
];

/// Files that work inside a container's or a layer's tree.
const IN_TREES: [&str; 7] = [
    "crates/runtime/src/start/",
    "crates/image/src/attributes.rs",
    "crates/image/src/content.rs",
    "crates/image/src/entries.rs",
    "crates/image/src/lowers.rs",
    "crates/image/src/unpack.rs",
    "crates/tree/src/",
];

/// Functions whose arguments become options of a mount.
const MOUNT: [&str; 3] = ["fsconfig", "new_mount", "kernel::mount"];

/// Files that write messages to the kernel's firewall and links.
const MESSAGES: [&str; 3] = [
    "crates/network/src/netlink/encode.rs",
    "crates/network/src/nft/expression.rs",
    "crates/network/src/nft/transaction.rs",
];

/// Names of fields that hold a secret itself, not a reference to one.
const SECRET_FIELDS: [&str; 6] = [
    "secret",
    "secret_access_key",
    "password",
    "session_token",
    "page_key",
    "private_key",
];

pub(super) fn check(source: &Source) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut fail = |at: usize, rule: String, mend: &str| {
        let line = line_of(&source.product, at);
        failures.push(Failure::new(&source.path, line, rule, mend));
    };
    if MAKE_DESCRIPTORS.contains(&source.crate_name()) {
        descriptors(&source.product, &mut fail);
    }
    for at in ABSTRACT
        .iter()
        .flat_map(|name| words(&source.product, name))
    {
        let mend = "bind it to a path in a folder of mode 0700";
        fail(at, "a socket with an abstract name".into(), mend);
    }
    if IN_TREES.iter().any(|place| source.path.starts_with(place)) {
        joins(&source.product, &mut fail);
    }
    for at in MOUNT.iter().flat_map(|name| words(&source.product, name)) {
        if arguments(&source.product, at).contains("format!") {
            let mend = "pass the value as bytes of its own, or escape it in one named function";
            fail(at, "text is formatted into a mount's options".into(), mend);
        }
    }
    if MESSAGES.contains(&source.path.as_str()) {
        for at in words(&source.product, "format!") {
            let mend = "write attributes of checked length";
            fail(at, "text is formatted into a kernel message".into(), mend);
        }
    }
    secrets(&source.product, &mut fail);
    failures
}

fn descriptors(text: &str, fail: &mut impl FnMut(usize, String, &str)) {
    for name in CANNOT {
        for at in words(text, name) {
            let mend = "use the call that takes O_CLOEXEC: pipe2, accept4, F_DUPFD_CLOEXEC";
            fail(at, format!("`{name}` cannot set close-on-exec"), mend);
        }
    }
    let mend = "add the close-on-exec flag";
    for name in TAKE_FLAG {
        for at in words(text, name) {
            if !function(text, at).contains("CLOEXEC") {
                fail(at, format!("`{name}` without close-on-exec"), mend);
            }
        }
    }
    for name in MODES {
        for at in words(text, name) {
            if !statement(text, at).contains("CLOEXEC") {
                fail(at, format!("`{name}` without close-on-exec"), mend);
            }
        }
    }
}

fn joins(text: &str, fail: &mut impl FnMut(usize, String, &str)) {
    for (at, _) in text.match_indices(".join(") {
        let argument = arguments(text, at).trim();
        // A literal is blank here, but for the mark of bytes; a path of names below one tree, as a
        // key, is called `path` and never opened.
        let harmless = argument.is_empty()
            || argument == "&b"
            || text
                .get(..at)
                .is_some_and(|before| before.ends_with(".path"));
        if !harmless {
            let rule = "a path is put together in code that works inside a tree".to_owned();
            fail(at, rule, "open the name relative to the tree's descriptor");
        }
    }
    for at in words(text, "canonicalize") {
        let rule = "a path is resolved before it is used: it may change between".to_owned();
        fail(at, rule, "open it once, and use the descriptor");
    }
}

fn secrets(text: &str, fail: &mut impl FnMut(usize, String, &str)) {
    for at in words(text, "struct") {
        let rest = text.get(at + "struct".len()..).unwrap_or_default();
        let name: String = rest
            .trim_start()
            .chars()
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect();
        let Some(open) = rest
            .find(['{', ';', '('])
            .filter(|open| rest[*open..].starts_with('{'))
        else {
            continue;
        };
        let body = rest.get(open..block_end(rest, open)).unwrap_or_default();
        let holds = SECRET_FIELDS.iter().any(|field| {
            words(body, field).any(|at| body[at + field.len()..].trim_start().starts_with(':'))
        });
        let shown =
            derives_debug(text, at) || words(text, &format!("Display for {name}")).next().is_some();
        if holds && shown {
            let mend = "remove the derive; write a Debug that shows none of it where one is needed";
            fail(
                at,
                format!("`{name}` holds a secret and can be printed"),
                mend,
            );
        }
    }
}

/// Whether the attributes just before the item at `at` derive Debug.
fn derives_debug(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let start = before.rfind(['}', ';', '{']).map_or(0, |end| end + 1);
    let attributes = before.get(start..).unwrap_or_default();
    words(attributes, "Debug").next().is_some()
}

/// What stands between the parentheses that open after `at`.
fn arguments(text: &str, at: usize) -> &str {
    let rest = text.get(at..).unwrap_or_default();
    let Some(open) = rest.find('(') else {
        return "";
    };
    let mut depth = 0_usize;
    for (end, byte) in rest.bytes().enumerate().skip(open) {
        match byte {
            b'(' => depth += 1,
            b')' if depth <= 1 => return rest.get(open + 1..end).unwrap_or_default(),
            b')' => depth -= 1,
            _ => {}
        }
    }
    ""
}

/// From the end of the statement before to the end of this one.
fn statement(text: &str, at: usize) -> &str {
    let start = text
        .get(..at)
        .and_then(|before| before.rfind([';', '{', '}']))
        .map_or(0, |end| end + 1);
    let length = text
        .get(at..)
        .and_then(|rest| rest.find([';', '}']))
        .unwrap_or(text.len() - at);
    text.get(start..at + length).unwrap_or_default()
}

/// The function around `at`.
fn function(text: &str, at: usize) -> &str {
    let start = words(text.get(..at).unwrap_or_default(), "fn")
        .last()
        .unwrap_or(0);
    let open = text.get(start..).and_then(|rest| rest.find('{'));
    let end = open.map_or(text.len(), |open| block_end(text, start + open));
    text.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> usize {
        check(&Source::new(path, text)).len()
    }

    #[test]
    fn descriptors_close_on_exec() {
        let path = "crates/runtime/src/a.rs";
        for (text, wrong) in [
            (
                "fn a() { let flags = OFlags::RDONLY | OFlags::CLOEXEC; }",
                0,
            ),
            ("fn a() { let flags = OFlags::RDONLY; let b = CLOEXEC; }", 1),
            ("fn a() { unsafe { libc::socket(16, 3, 0) } }", 1),
            ("fn a() { unsafe { libc::socket(16, SOCK_CLOEXEC, 0) } }", 0),
            ("fn a() { CLOEXEC } fn b() { call(libc::SYS_openat2) }", 1),
            ("fn a() { unsafe { libc::dup(1) } }", 1),
        ] {
            assert_eq!(rules(path, text), wrong, "{text}");
        }
        assert_eq!(rules("crates/cli/src/a.rs", "fn a() { OFlags::RDONLY }"), 0);
    }

    #[test]
    fn sockets_have_paths() {
        let text = "fn a() { SocketAddr::from_abstract_name(name) }";
        assert_eq!(rules("crates/agent/src/a.rs", text), 1);
    }

    #[test]
    fn trees_are_walked_by_descriptors() {
        let path = "crates/runtime/src/start/a.rs";
        assert_eq!(rules(path, "fn a() { root.join(name); }"), 1);
        assert_eq!(
            rules(path, "fn a() { parts.join(\"/\"); x.join(&b':'); }"),
            0
        );
        assert_eq!(rules(path, "fn a() { here.path.join(name); }"), 0);
        assert_eq!(rules(path, "fn a() { fs::canonicalize(p); }"), 1);
        assert_eq!(
            rules("crates/runtime/src/a.rs", "fn a() { root.join(name); }"),
            0
        );
    }

    #[test]
    fn options_are_not_formatted() {
        let path = "crates/runtime/src/a.rs";
        assert_eq!(
            rules(path, "fn a() { fsconfig(fd, key, &format!(\"{x}\")); }"),
            1
        );
        assert_eq!(
            rules(path, "fn a() { fsconfig(fd, key, value); format!(\"\"); }"),
            0
        );
        assert_eq!(
            rules(
                "crates/network/src/nft/transaction.rs",
                "fn a() { format!(\"\") }"
            ),
            1
        );
    }

    #[test]
    fn secrets_are_not_printed() {
        let path = "crates/api/src/a.rs";
        let debug = ["#[derive(Clone, De", "bug)]\nstruct Key { secret: String }"].concat();
        assert_eq!(rules(path, &debug), 1);
        assert_eq!(
            rules(path, "#[derive(Clone)] struct Key { secret: String }"),
            0
        );
        let other = [
            "#[derive(De",
            "bug)] struct A { b: u8 } struct Key { secret: String }",
        ]
        .concat();
        assert_eq!(rules(path, &other), 0);
        let display = "struct Key { password: String } impl fmt::Display for Key { }";
        assert_eq!(rules(path, display), 1);
        assert_eq!(rules(path, "#[derive(Debug)] struct A { secrets: u8 }"), 0);
    }
}
