//! A sandbox with a small image, and what is left of it afterwards.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{WaitId, WaitIdOptions, waitid};
use windlass_runtime::spec::{
    ContainerSpec, Exit, Limits, Log, Namespace, Network, Process, Root, Seccomp, StartError,
};
use windlass_runtime::start::{
    Cgroups, DEFAULT_CAPABILITIES, Options, Running, Shared, Starter, Stdio,
};

static BEDS: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Bed {
    pub(crate) starter: Starter,
    pub(crate) folder: PathBuf,
    pub(crate) parent: String,
    next: u32,
}

impl Bed {
    pub(crate) fn new() -> Bed {
        Bed::with_limits(&Limits::default())
    }

    pub(crate) fn with_limits(limits: &Limits) -> Bed {
        let number = BEDS.fetch_add(1, Ordering::Relaxed);
        let name = format!("windlass-start-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        for part in ["staging", "base/bin", "base/etc", "base/tmp", "top/opt"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        let base = folder.join("base");
        fs::copy("/bin/busybox", base.join("bin/busybox")).expect("package busybox-static");
        for applet in [
            "sh", "cat", "echo", "ls", "id", "sleep", "env", "pwd", "hostname", "stat", "true",
            "false", "kill", "ps", "mkdir", "touch", "grep", "mount", "mknod", "dd", "test",
            "readlink", "tty", "head", "wc", "chmod", "ulimit", "sort", "awk", "tail", "od",
        ] {
            symlink("busybox", base.join("bin").join(applet)).unwrap();
        }
        fs::copy("/proc/self/exe", base.join("probe")).unwrap();
        fs::set_permissions(base.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(
            base.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/srv:/bin/sh\n",
        )
        .unwrap();
        fs::write(
            base.join("etc/group"),
            "root:x:0:\nweb:x:1001:\nlogs:x:44:web\n",
        )
        .unwrap();
        fs::write(folder.join("top/opt/marker"), "top\n").unwrap();
        let parent = format!("/{name}/task");
        let mut starter = Starter::new(Options {
            cgroup: Cgroups {
                parent: parent.clone(),
            },
            staging: folder.join("staging"),
        })
        .unwrap();
        starter.sandbox(limits).unwrap();
        Bed {
            starter,
            folder,
            parent,
            next: 0,
        }
    }

    pub(crate) fn base(&self) -> PathBuf {
        self.folder.join("base")
    }

    /// A container with the field's defaults that runs a shell script.
    pub(crate) fn spec(&mut self, script: &str) -> ContainerSpec {
        self.next += 1;
        let work = |name: &str| {
            let path = self.folder.join(format!("{name}{}", self.next));
            fs::create_dir_all(&path).unwrap();
            path.display().to_string()
        };
        let layer = |name: &str| self.folder.join(name).display().to_string();
        ContainerSpec {
            name: format!("c{}", self.next),
            root: Root::Layers {
                lower: vec![layer("top"), layer("base")],
                upper: work("upper"),
                work: work("work"),
            },
            readonly_root: false,
            process: process(&["/bin/sh", "-c", script]),
            hostname: "box".into(),
            network: Network::None,
            pid: Namespace::Private,
            ipc: Namespace::Private,
            mounts: Vec::new(),
            devices: Vec::new(),
            sysctls: Vec::new(),
            limits: Limits::default(),
            shm_bytes: None,
            privileged: false,
            stop_signal: 15,
            stop_timeout_ms: 0,
            log: Log {
                path: String::new(),
                max_bytes: 0,
                files: 0,
            },
            init: false,
            stdin_open: false,
        }
    }

    /// Starts, waits for the end, and answers the exit and everything that was written.
    pub(crate) fn run(&mut self, spec: &ContainerSpec) -> Result<(Exit, String), StartError> {
        let slot = self.slot();
        let (stdio, out) = pipes();
        let running = self.starter.start(slot, spec, &Shared::default(), stdio)?;
        let text = read(out);
        let exit = wait(&running);
        assert!(self.starter.remove_container(slot).is_empty());
        Ok((exit, text))
    }

    pub(crate) fn slot(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Output of a container that has to end well.
    pub(crate) fn output(&mut self, spec: &ContainerSpec) -> String {
        let (exit, text) = self.run(spec).unwrap();
        assert_eq!(exit, Exit::Code(0), "{text}");
        text
    }

    /// As [`Bed::output`]; `ahead`: from a process that was parked for it.
    pub(crate) fn output_of(&mut self, spec: &ContainerSpec, ahead: bool) -> String {
        if !ahead {
            return self.output(spec);
        }
        let slot = self.slot();
        self.starter.park(slot).unwrap();
        let (stdio, out) = pipes();
        let running = self
            .starter
            .start(slot, spec, &Shared::default(), stdio)
            .unwrap();
        let text = read(out);
        assert_eq!(wait(&running), Exit::Code(0), "{text}");
        assert!(self.starter.remove_container(slot).is_empty());
        text
    }

    /// Starts a container that stays.
    pub(crate) fn start(&mut self, spec: &ContainerSpec) -> Running {
        let slot = self.slot();
        let (stdio, _out) = pipes();
        self.starter
            .start(slot, spec, &Shared::default(), stdio)
            .unwrap()
    }

    pub(crate) fn exec(
        &mut self,
        container: &Running,
        spec: &ContainerSpec,
        process: &Process,
    ) -> Result<(Exit, String), StartError> {
        let (stdio, out) = pipes();
        let running = self.starter.exec(container, spec, process, stdio)?;
        let text = read(out);
        Ok((wait(&running), text))
    }

    pub(crate) fn stop(&mut self, running: &Running) {
        self.starter.kill_all(running.slot);
        wait(running);
        let errors = self.starter.remove_container(running.slot);
        assert!(errors.is_empty(), "{errors:?}");
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let installation = self.parent.rsplit_once('/').unwrap().0.to_owned();
        if std::thread::panicking() {
            let _ = windlass_runtime::start::kill_cgroup(&installation);
            while let Ok(Some(_)) = waitid(WaitId::All, WaitIdOptions::EXITED) {}
        }
        let mut errors = self.starter.remove_sandbox();
        errors.extend(windlass_runtime::start::remove_cgroups(&installation));
        let _ = fs::remove_dir_all(&self.folder);
        if !std::thread::panicking() {
            assert!(errors.is_empty(), "{errors:?}");
        }
    }
}

/// A process with the field's defaults.
pub(crate) fn process(args: &[&str]) -> Process {
    Process {
        args: args.iter().map(|arg| arg.to_string()).collect(),
        env: Vec::new(),
        cwd: "/".into(),
        user: String::new(),
        capabilities: DEFAULT_CAPABILITIES.iter().map(|c| c.to_string()).collect(),
        no_new_privileges: false,
        seccomp: Seccomp::Default,
        rlimits: Vec::new(),
        oom_score_adj: 0,
        tty: false,
    }
}

/// The image's layers, the topmost first.
pub(crate) fn lower(spec: &mut ContainerSpec) -> &mut Vec<String> {
    match &mut spec.root {
        Root::Layers { lower, .. } => lower,
        Root::Empty => panic!("a container with an image"),
    }
}

/// Null as input, and one pipe for both outputs.
pub(crate) fn pipes() -> (Stdio, OwnedFd) {
    let (out, into) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let stdio = Stdio {
        stdin: fs::File::open("/dev/null").unwrap().into(),
        stdout: into.try_clone().unwrap(),
        stderr: into,
    };
    (stdio, out)
}

pub(crate) fn read(out: OwnedFd) -> String {
    let mut bytes = Vec::new();
    // A terminal's master ends with EIO.
    let _ = fs::File::from(out).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn wait(running: &Running) -> Exit {
    let status = waitid(WaitId::PidFd(running.pidfd.as_fd()), WaitIdOptions::EXITED)
        .unwrap()
        .unwrap();
    match status.exit_status() {
        Some(code) => Exit::Code(code),
        None => Exit::Signal(status.terminating_signal().unwrap()),
    }
}

/// What a case must not leave behind.
pub(crate) struct Residue {
    descriptors: usize,
    children: String,
    mounts: String,
    groups: usize,
}

impl Residue {
    pub(crate) fn now() -> Residue {
        let count = |path: &str| fs::read_dir(path).map_or(0, |entries| entries.count());
        let pid = std::process::id();
        let groups = ["memory", "pids", "systemd", "unified", ""]
            .iter()
            .map(|name| {
                let folder = Path::new("/sys/fs/cgroup").join(name);
                fs::read_dir(folder)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .filter(|entry| {
                        let prefix = format!("windlass-start-{pid}-");
                        entry.file_name().to_string_lossy().starts_with(&prefix)
                    })
                    .count()
            })
            .sum();
        Residue {
            descriptors: count("/proc/self/fd"),
            children: fs::read_to_string(format!("/proc/self/task/{pid}/children"))
                .unwrap_or_default(),
            // Others mount things too.
            mounts: fs::read_to_string("/proc/self/mountinfo")
                .unwrap_or_default()
                .lines()
                .filter(|line| line.contains(&format!("windlass-start-{pid}-")))
                .collect(),
            groups,
        }
    }

    /// In words, empty when nothing is left.
    pub(crate) fn beyond(&self, before: &Residue) -> String {
        let mut left = String::new();
        if self.descriptors != before.descriptors {
            left += &format!(
                "descriptors {} -> {} ",
                before.descriptors, self.descriptors
            );
        }
        if self.children != before.children {
            left += &format!("children {} ", self.children);
        }
        if self.groups != before.groups {
            left += &format!("groups {} ", self.groups);
        }
        if self.mounts != before.mounts {
            left += "mounts ";
        }
        left
    }
}
