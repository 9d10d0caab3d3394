//! A runtime with its own run folder, and specs for it. Everything it made is gone when it is
//! closed, which every scenario ends with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::broadcast;
use windlass_runtime::embedded::{Embedded, Options};
use windlass_runtime::spec::*;
use windlass_runtime::state::{ContainerState, SandboxState};
use windlass_runtime::{Event, EventKind, Runtime};

pub(crate) struct Bed {
    pub(crate) runtime: Arc<Embedded>,
    pub(crate) events: broadcast::Receiver<Event>,
    pub(crate) options: Options,
    pub(crate) folder: tempfile::TempDir,
    image: Option<PathBuf>,
    uppers: AtomicU32,
}

impl Bed {
    /// `image` is a root file system, or none for plain processes.
    pub(crate) fn new(cgroup_root: &str, image: Option<PathBuf>) -> Bed {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = Options {
            run_dir: folder.path().join("run"),
            executable: env!("CARGO_BIN_EXE_shim-under-test").into(),
            cgroup_root: cgroup_root.into(),
            spare_shims: 1,
        };
        let runtime = Arc::new(Embedded::new(options.clone()).expect("a runtime"));
        let events = runtime.events();
        Bed {
            runtime,
            events,
            options,
            folder,
            image,
            uppers: AtomicU32::new(0),
        }
    }

    /// A sandbox of that name.
    pub(crate) async fn sandbox(&self, id: &str) -> SandboxId {
        let id = SandboxId(id.into());
        let limits = Limits::default();
        self.runtime
            .create_sandbox(SandboxSpec {
                id: id.clone(),
                limits,
            })
            .await
            .expect("a sandbox");
        id
    }

    /// A container that runs a shell script.
    pub(crate) fn shell(&self, name: &str, script: &str) -> ContainerSpec {
        self.container(name, &["/bin/sh", "-c", script])
    }

    pub(crate) fn container(&self, name: &str, args: &[&str]) -> ContainerSpec {
        let number = self.uppers.fetch_add(1, Ordering::Relaxed);
        let make = |kind: &str| {
            let path = self.folder.path().join(format!("{kind}-{number}"));
            std::fs::create_dir(&path).expect("a folder for the overlay");
            path.to_str().expect("a readable path").to_owned()
        };
        let lower = self
            .image
            .iter()
            .map(|path| path.to_str().unwrap().to_owned())
            .collect();
        ContainerSpec {
            name: name.into(),
            root: Root::Layers {
                lower,
                upper: make("upper"),
                work: make("work"),
            },
            readonly_root: false,
            process: process(args),
            hostname: name.to_lowercase(),
            network: Network::None,
            pid: Namespace::Private,
            ipc: Namespace::Private,
            mounts: Vec::new(),
            devices: Vec::new(),
            sysctls: Vec::new(),
            limits: Limits::default(),
            shm_bytes: None,
            privileged: false,
            stop_signal: libc::SIGTERM,
            stop_timeout_ms: 30_000,
            log: Log {
                path: self.log_path(name).to_str().unwrap().to_owned(),
                max_bytes: 1024 * 1024,
                files: 2,
            },
            init: false,
            stdin_open: false,
        }
    }

    pub(crate) fn exec_spec(&self, container: &str, script: &str) -> ExecSpec {
        ExecSpec {
            container: container.into(),
            process: process(&["/bin/sh", "-c", script]),
            timeout_ms: Some(30_000),
            output_max_bytes: 4096,
        }
    }

    pub(crate) fn log_path(&self, container: &str) -> PathBuf {
        self.folder.path().join(format!("{container}.log"))
    }

    /// The log's records without their times.
    pub(crate) fn records(&self, container: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.log_path(container)).expect("the log");
        text.lines()
            .map(|line| line.split_once(' ').expect("a time").1.to_owned())
            .collect()
    }

    /// Waits for the next event.
    pub(crate) async fn event(&mut self) -> EventKind {
        self.events.recv().await.expect("an event").kind
    }

    /// Waits for a container's exit.
    pub(crate) async fn exit(&mut self, name: &str) -> Exit {
        match self.event().await {
            EventKind::Exited {
                container, exit, ..
            } if container == name => exit,
            other => panic!("not the exit of {name}: {other:?}"),
        }
    }

    pub(crate) async fn run(&mut self, sandbox: &SandboxId, spec: ContainerSpec) -> Exit {
        let name = spec.name.clone();
        self.runtime.start(sandbox, spec).await.expect("a start");
        self.exit(&name).await
    }

    pub(crate) async fn state(&self, sandbox: &SandboxId) -> SandboxState {
        let states = self.runtime.list().await.expect("a list");
        states
            .into_iter()
            .find(|state| state.id == *sandbox)
            .expect("the sandbox")
    }

    pub(crate) async fn container_state(&self, sandbox: &SandboxId, name: &str) -> ContainerState {
        let containers = self.state(sandbox).await.containers;
        containers
            .into_iter()
            .find(|state| state.name == name)
            .expect("the container")
    }

    /// The agent goes: its connections end, its sandboxes stay.
    pub(crate) fn leave(&mut self) {
        let nobody = Options {
            run_dir: self.folder.path().join("nobody"),
            ..self.options.clone()
        };
        self.runtime = Arc::new(
            Embedded::new(Options {
                spare_shims: 0,
                ..nobody
            })
            .unwrap(),
        );
        self.events = self.runtime.events();
    }

    /// Another agent comes.
    pub(crate) fn come_back(&mut self) {
        self.runtime = Arc::new(Embedded::new(self.options.clone()).expect("a runtime"));
        self.events = self.runtime.events();
    }

    pub(crate) fn shim_pid(&self, sandbox: &SandboxId) -> i32 {
        let path = self.options.run_dir.join(&sandbox.0).join("shim.pid");
        let text = std::fs::read_to_string(path).expect("the shim's number");
        text.split_once(' ')
            .expect("two numbers")
            .0
            .parse()
            .expect("a number")
    }

    /// Removes every sandbox; nothing may be left.
    pub(crate) async fn close(self) {
        for state in self.runtime.list().await.expect("a list") {
            self.runtime
                .remove_sandbox(&state.id)
                .await
                .expect("a removal");
        }
        let Bed {
            runtime, options, ..
        } = self;
        drop(runtime);
        for _ in 0..500 {
            if std::fs::read_dir(&options.run_dir)
                .expect("the run folder")
                .next()
                .is_none()
            {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let left: Vec<_> = std::fs::read_dir(&options.run_dir)
            .unwrap()
            .flatten()
            .collect();
        panic!("left in the run folder: {left:?}");
    }
}

pub(crate) fn process(args: &[&str]) -> Process {
    Process {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: vec!["PATH=/bin:/usr/bin".into()],
        cwd: "/".into(),
        user: String::new(),
        capabilities: Vec::new(),
        no_new_privileges: false,
        seccomp: Seccomp::Default,
        rlimits: Vec::new(),
        oom_score_adj: 0,
        tty: false,
    }
}

pub(crate) fn is_alive(pid: i32) -> bool {
    // A zombie is dead: whether somebody has taken its status is another question.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.starts_with(" Z"))
    })
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("not so after 20 seconds: {what}");
}

pub(crate) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
