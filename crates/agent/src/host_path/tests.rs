use super::*;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, ResolveFlags, openat2, renameat_with};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn allow(path: &Path, readonly: bool) -> AllowedPath {
    AllowedPath {
        path: path.to_owned(),
        readonly,
    }
}

/// A folder for data, by its own path.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(folder.path()).unwrap();
    (folder, path)
}

#[test]
fn what_hands_over_the_node_is_refused_by_its_resolved_path() {
    let (_folder, root) = folder();
    let data = root.join("node/data");
    let free = root.join("free");
    for path in [&data, &free] {
        fs::create_dir_all(path).unwrap();
    }
    let policy = Policy::new(&[&data], &[]);
    for bad in [
        "/".into(),
        "/proc".into(),
        "/proc/sys".into(),
        "/sys/fs/cgroup".into(),
        "/dev/".into(),
        "/run".into(),
        "/var/run".into(),
        "/var/run/docker.sock".into(),
        "/var/lib".into(),
        "/etc".into(),
        "/etc/shadow".into(),
        "/etc/../etc".into(),
        "/root".into(),
        "/boot".into(),
        "/usr/bin".into(),
        "/bin".into(),
        "/lib64".into(),
        "relative".into(),
        "/tmp/../proc".into(),
        text(&data),
        text(&data) + "/deeper/made",
        text(data.parent().unwrap()),
    ] {
        for readonly in [false, true] {
            assert!(policy.resolve(&bad, readonly).is_err(), "{bad} {readonly}");
        }
    }
    assert!(!data.join("deeper").exists());
    let made = free.join("a/b");
    assert_eq!(policy.resolve(&text(&made), false).unwrap(), made);
    // Neither is made: a folder in the place of a socket helps nobody.
    let missing = policy.resolve("/etc/ssl/certs/windlass-none", true);
    assert!(matches!(missing, Err(Error::Missing { .. })), "{missing:?}");
    let policy = Policy::new(&[], &[allow(Path::new("/run"), false)]);
    let missing = policy.resolve("/run/docker/windlass-none", false);
    assert!(matches!(missing, Err(Error::Missing { .. })), "{missing:?}");
}

#[test]
fn what_every_program_needs_may_be_read() {
    let policy = Policy::new(&[], &[]);
    for path in ["/etc/ssl/certs", "/usr/share/zoneinfo", "/etc/os-release"] {
        if Path::new(path).exists() {
            policy.resolve(path, true).unwrap();
            let refused = policy.resolve(path, false);
            assert!(
                matches!(refused, Err(Error::ReadOnly { .. })),
                "{refused:?}"
            );
        }
    }
}

#[test]
fn the_operator_gives_what_is_refused_otherwise() {
    let (_folder, root) = folder();
    let data = root.join("data");
    fs::create_dir_all(data.join("below")).unwrap();
    let refused = Policy::new(&[&data], &[]).resolve(&text(&data), true);
    let told = refused.unwrap_err().to_string();
    let flag = format!("windlass up --allow-host-path {}:ro", data.display());
    assert!(
        told.contains("hand over the node") && told.ends_with(&flag),
        "{told}"
    );
    let policy = Policy::new(&[&data], &[allow(&data, true)]);
    assert_eq!(
        policy.resolve(&text(&data.join("below")), true).unwrap(),
        data.join("below")
    );
    let refused = policy.resolve(&text(&data), false);
    assert!(
        matches!(refused, Err(Error::ReadOnly { .. })),
        "{refused:?}"
    );
    let policy = Policy::new(&[&data], &[allow(&data, false)]);
    assert!(policy.resolve(&text(&data), false).is_ok());
    assert!(policy.resolve(&text(&root), true).is_err());
    // Everything, to read.
    let policy = Policy::new(&[&data], &[allow(Path::new("/"), true)]);
    for path in ["/", "/etc", "/proc", "/sys/fs/cgroup"] {
        assert!(policy.resolve(path, true).is_ok(), "{path}");
        assert!(policy.resolve(path, false).is_err(), "{path}");
    }
    // As it was when the node started: what a container makes of it later is not followed.
    let (link, new) = (root.join("link"), root.join("new"));
    symlink(&new, &link).unwrap();
    fs::create_dir(&new).unwrap();
    let policy = Policy::new(&[], &[allow(&link, false)]);
    assert_eq!(
        policy.resolve(&text(&link.join("x")), false).unwrap(),
        new.join("x")
    );
}

#[test]
fn links_that_a_container_planted_lead_nowhere() {
    let (_folder, root) = folder();
    let shared = root.join("shared");
    fs::create_dir_all(shared.join("real/deep")).unwrap();
    fs::create_dir(root.join("secret")).unwrap();
    for (link, target) in [
        ("etc", "/etc"),
        ("up", "../secret"),
        ("secret", root.join("secret").to_str().unwrap()),
        ("root", "/"),
        ("chain", "down/../../secret"),
        ("magic", "/proc/self/root"),
    ] {
        symlink(target, shared.join(link)).unwrap();
    }
    symlink("real", shared.join("down")).unwrap();
    symlink("round", shared.join("round")).unwrap();
    let policy = Policy::new(&[], &[]);
    for bad in [
        "etc",
        "etc/cron.d",
        "up",
        "up/new",
        "secret",
        "root/srv",
        "chain",
        "magic/tmp",
    ] {
        let refused = policy.resolve(&text(&shared.join(bad)), true);
        assert!(
            matches!(refused, Err(Error::Link { .. })),
            "{bad}: {refused:?}"
        );
    }
    assert_eq!(fs::read_dir(root.join("secret")).unwrap().count(), 0);
    let round = policy.resolve(&text(&shared.join("round")), true);
    assert!(matches!(round, Err(Error::File { .. })), "{round:?}");
    // What leads further down is as good as what lies there.
    let down = policy.resolve(&text(&shared.join("down/deep")), true);
    assert_eq!(down.unwrap(), shared.join("real/deep"));
    // The machine's own links are followed, and judged by where they lead.
    let real = fs::canonicalize("/var/run").unwrap();
    let path = format!("/var/run/windlass-test-{}", std::process::id());
    let made = policy.resolve(&path, false).unwrap();
    fs::remove_dir(&made).unwrap();
    assert_eq!(made.parent().unwrap(), real);
}

/// A container that has the folder exchanges a folder in it for a link, as fast as it can, while the
/// source of a volume below is found, made and opened as for a mount.
#[test]
fn a_link_that_comes_meanwhile_leads_nowhere() {
    let (_folder, root) = folder();
    let (shared, secret) = (root.join("shared"), root.join("secret"));
    fs::create_dir_all(shared.join("a/sub")).unwrap();
    fs::create_dir_all(secret.join("sub")).unwrap();
    symlink(&secret, shared.join("b")).unwrap();
    let policy = Policy::new(&[], &[]);
    let ended = AtomicBool::new(false);
    let (mut found, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let (one, other) = (shared.join("a"), shared.join("b"));
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        for number in 0..20_000 {
            let below = ["a/sub", "a/sub/made", "a"][number % 3];
            let Ok(path) = policy.resolve(&text(&shared.join(below)), false) else {
                refused += 1;
                continue;
            };
            // As the runtime opens it.
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let resolve = ResolveFlags::NO_SYMLINKS;
            match openat2(CWD, &path, flags, Mode::empty(), resolve) {
                Ok(place) => {
                    use std::os::fd::AsRawFd;
                    let name = format!("/proc/self/fd/{}", place.as_raw_fd());
                    let real = fs::read_link(name).unwrap();
                    assert!(real.starts_with(&shared), "{real:?}");
                    found += 1;
                }
                Err(_) => refused += 1,
            }
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(secret.join("sub")).unwrap().count(), 0);
    assert!(found > 0 && refused > 0, "{found} found, {refused} refused");
}
