//! What a program finds around itself when it begins: its folder, memory file systems, devices, and the
//! limits of its group.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use windlass_runtime::spec::{Device, Limits, Mount, MountKind};

use crate::Case;
use crate::bed::Bed;

pub(crate) const CASES: &[Case] = &[
    (
        "tmpfs_resembles_what_it_covers",
        tmpfs_resembles_what_it_covers,
    ),
    (
        "tmpfs_takes_documented_options",
        tmpfs_takes_documented_options,
    ),
    (
        "the_working_folder_is_made_first",
        the_working_folder_is_made_first,
    ),
    (
        "limits_hold_from_the_first_instruction",
        limits_hold_from_the_first_instruction,
    ),
    ("devices_lie_anywhere", devices_lie_anywhere),
];

fn tmpfs(target: &str, options: &[&str]) -> Mount {
    Mount {
        target: target.into(),
        kind: MountKind::Tmpfs {
            size_bytes: 1 << 20,
            options: options.iter().map(|option| option.to_string()).collect(),
        },
        readonly: false,
    }
}

fn tmpfs_resembles_what_it_covers() {
    let mut bed = Bed::new();
    let own = bed.base().join("own");
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o2750)).unwrap();
    chown(&own, Some(1000), Some(1001)).unwrap();
    std::os::unix::fs::symlink("/own", bed.base().join("link")).unwrap();
    for (target, options, want) in [
        ("/own", &[][..], "2750 1000 1001"),
        // The mount lies where the link leads.
        ("/link", &[], "2750 1000 1001"),
        ("/own", &["mode=0711"], "711 1000 1001"),
        ("/own", &["uid=5", "gid=6"], "2750 5 6"),
        ("/tmp", &[], "1777 0 0"),
        // What covers nothing is for everybody, as the kernel makes it.
        ("/not/there", &[], "1777 0 0"),
    ] {
        let mut spec = bed.spec(&format!("stat -c '%a %u %g' {target}/."));
        spec.mounts = vec![tmpfs(target, options)];
        assert_eq!(bed.output(&spec).trim(), want, "{target} {options:?}");
    }
    let mut spec = bed.spec("touch /own/f");
    spec.mounts = vec![tmpfs("/own", &["uid=0"])];
    spec.process.user = "7:7".into();
    let (_, text) = bed.run(&spec).unwrap();
    assert!(text.contains("Permission denied"), "{text}");
}

fn tmpfs_takes_documented_options() {
    let mut bed = Bed::new();
    let line = "grep ' /x ' /proc/self/mountinfo";
    for (option, shows) in [
        ("nostrictatime", "nosuid,nodev,noexec,relatime"),
        ("norelatime", "nosuid,nodev,noexec,relatime"),
        ("strictatime", "nosuid,nodev,noexec -"),
        ("noatime", "noatime"),
        ("exec", "nosuid,nodev,relatime"),
        ("ro", "ro,nosuid"),
        ("mand", "rw,nosuid"),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
        ("slave", " - tmpfs"),
        ("rslave", " - tmpfs"),
        ("private", " - tmpfs"),
        ("nr_inodes=77", "nr_inodes=77"),
        ("mpol=local", "mpol=local"),
    ] {
        let mut spec = bed.spec(line);
        spec.mounts = vec![tmpfs("/x", &["rw", option])];
        let text = bed.output(&spec);
        assert!(text.contains(shows), "{option}: {text}");
    }
}

fn the_working_folder_is_made_first() {
    let mut bed = Bed::new();
    for readonly in [false, true] {
        let mut spec = bed.spec("pwd; touch here 2>&1");
        spec.process.cwd = "/made/here".into();
        spec.readonly_root = readonly;
        let (_, text) = bed.run(&spec).unwrap();
        assert!(text.starts_with("/made/here\n"), "{text}");
        assert_eq!(text.contains("Read-only file system"), readonly, "{text}");
    }
    // In a volume that can be written to it is made there.
    let folder = bed.folder.join("volume");
    fs::create_dir(&folder).unwrap();
    let mut spec = bed.spec("pwd; touch here");
    spec.process.cwd = "/data/made".into();
    spec.readonly_root = true;
    spec.mounts = vec![Mount {
        target: "/data".into(),
        kind: MountKind::Bind {
            source: folder.display().to_string(),
        },
        readonly: false,
    }];
    assert_eq!(bed.output(&spec), "/data/made\n");
    assert!(folder.join("made/here").exists());
}

/// A program that reads its limits once, at its start, must not read others than its own.
fn limits_hold_from_the_first_instruction() {
    let mut bed = Bed::new();
    let group = "/sys/fs/cgroup";
    let limits = Limits {
        cpu_shares: Some(128),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        memory_bytes: Some(64 << 20),
        memory_reservation_bytes: Some(32 << 20),
        pids: Some(77),
        ..Limits::default()
    };
    let v1 = std::path::Path::new(group).join("memory").exists();
    let (files, want) = if v1 {
        (
            "cpu/cpu.shares cpu/cpu.cfs_quota_us memory/memory.limit_in_bytes \
             memory/memory.soft_limit_in_bytes pids/pids.max",
            "128\n50000\n67108864\n33554432\n77\n",
        )
    } else {
        (
            "cpu.weight cpu.max memory.max memory.low pids.max",
            "5\n50000 100000\n67108864\n33554432\n77\n",
        )
    };
    let files: Vec<String> = files
        .split_whitespace()
        .map(|file| format!("{group}/{file}"))
        .collect();
    for round in 0..20 {
        for (init, ahead) in [(false, false), (true, false), (false, true)] {
            let mut spec = bed.spec("");
            spec.process.args = vec!["cat".into()];
            spec.process.args.extend(files.clone());
            spec.limits = limits.clone();
            spec.init = init;
            assert_eq!(bed.output_of(&spec, ahead), want, "{round} {init} {ahead}");
        }
    }
}

fn devices_lie_anywhere() {
    let mut bed = Bed::new();
    let device = |host: &str, inside: &str| Device {
        host_path: host.into(),
        container_path: inside.into(),
        read: true,
        write: true,
        mknod: false,
    };
    let volume = bed.folder.join("volume");
    fs::create_dir(&volume).unwrap();
    let mut spec = bed.spec(
        "for f in /opt/zero /data/null /relative/full /dev/sub/zero; do \
            stat -c '%n %F %t,%T' $f; done; \
         head -c 2 /opt/zero | od -An -tx1; echo x >/data/null && ls -A /dev | grep device",
    );
    spec.devices = vec![
        device("/dev/zero", "/opt/zero"),
        device("/dev/null", "/opt/../data/null"),
        device("/dev/full", "relative/full"),
        device("/dev/zero", "/dev/sub/zero"),
    ];
    spec.mounts = vec![Mount {
        target: "/data".into(),
        kind: MountKind::Bind {
            source: volume.display().to_string(),
        },
        readonly: false,
    }];
    let (_, text) = bed.run(&spec).unwrap();
    assert_eq!(
        text,
        "/opt/zero character special file 1,5\n\
         /data/null character special file 1,3\n\
         /relative/full character special file 1,7\n\
         /dev/sub/zero character special file 1,5\n \
         00 00\n"
    );
    // The volume keeps a place to mount on, and no device.
    let kept = fs::metadata(volume.join("null")).unwrap();
    assert!(kept.is_file() && kept.len() == 0);
    for (inside, stage) in [
        ("/proc/x", "mount"),
        ("/dev", "device"),
        ("/", "mount"),
        ("/etc", "device"),
    ] {
        let mut spec = bed.spec("true");
        spec.devices = vec![device("/dev/null", inside)];
        let error = bed.run(&spec).unwrap_err();
        assert_eq!(error.stage, stage, "{inside}: {error}");
    }
}
