//! Starts containers: the sequence of system calls from a [`ContainerSpec`] to execve.
//!
//! ```text
//!  Starter::start            everything that may fail in words is looked up and opened first
//!    |  plan                 image users, volumes, devices, sysctls, the seccomp filter
//!    |  cgroup               folders and limits
//!    |  clone ---------------> container: groups, namespaces, mounts, hostname, pivot_root
//!    |                           program: streams, limits, cwd, capabilities, seccomp, execve
//!    |  report <--------------- the socket closes on execve: started; else the step and errno
//! ```
//!
//! A process that joins namespaces others are in (exec, a shared process id namespace) is *born
//! late*: an intermediate that they cannot see does all of the above, takes the container's
//! privileges, and only then clones the process that calls execve.
//!
//! Scope: processes, mounts, groups. Not here: waiting for the end and logs ([`crate::shim`]),
//! layers and networks (the agent).
//!
//! Kernel: 5.12 or newer (`mount_setattr`), cgroup v1, hybrid or v2. The caller is single-threaded:
//! a clone of a process with threads may hold a lock for ever.

mod borrow;
mod capability;
mod cgroup;
mod container;
mod device;
mod fault;
mod file;
mod holder;
mod init;
mod kernel;
mod overlay;
mod parked;
mod path;
mod plan;
mod program;
mod report;
mod rlimit;
mod seal;
mod seccomp;
mod sysctl;
mod tmpfs;
mod user;
mod volume;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

pub use capability::{CAPABILITIES, DEFAULT_CAPABILITIES};
pub use cgroup::{bound_processes, kill_cgroup, kill_shims, remove_cgroups, take_out_of_service};
pub use init::{init_main, is_init};
pub use seal::seal_self;

pub use crate::spec::StartError;
use crate::spec::{ContainerSpec, Limits, Oom, Process};
use parked::Parked;
use windlass_model::program_fault::ProgramFault;

/// What a starter works with.
pub struct Options {
    pub cgroup: Cgroups,
    /// An existing empty folder of the host; nothing is ever left in it.
    pub staging: PathBuf,
}

/// Where the sandbox's groups lie.
pub struct Cgroups {
    /// `/installation/sandbox`: below the root of each hierarchy.
    pub parent: String,
}

/// Processes whose namespaces a container joins, where its spec says `Namespace::Container` or
/// `Namespace::Sandbox`.
#[derive(Default)]
pub struct Shared<'a> {
    /// A pidfd of the container whose process ids are shared.
    pub pid: Option<BorrowedFd<'a>>,
    /// A pidfd of the container whose ipc namespace, and /dev/shm, are shared.
    pub ipc: Option<BorrowedFd<'a>>,
}

/// The standard streams of a process. With a terminal they are dropped unused.
pub struct Stdio {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// A started process: a direct child of the caller, which has to reap it.
pub struct Running {
    /// In the caller's process id namespace.
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// The master of the terminal, when the process has one.
    pub pty: Option<OwnedFd>,
    /// The container's number; an exec goes to the same.
    pub slot: u32,
    /// The kernel did not run the program. The process has said so in words, and ends.
    pub fault: Option<ProgramFault>,
}

/// Starts the processes of one sandbox. One per shim process.
pub struct Starter {
    groups: cgroup::Sandbox,
    staging: PathBuf,
    ground: plan::Ground,
    parked: BTreeMap<u32, Parked>,
}

impl Starter {
    /// Makes this process not dumpable and a reaper of orphans, and looks up what every start
    /// needs. Refused when the program is not sealed: see [`seal_self`].
    pub fn new(options: Options) -> Result<Starter, StartError> {
        let executable = seal::sealed_executable()?;
        // Children inherit it until execve: a container that shares process ids cannot look into
        // one that is on its way.
        kernel::prctl(libc::PR_SET_DUMPABLE, 0).or_failed("prepare", || "dumpable".into())?;
        kernel::prctl(libc::PR_SET_CHILD_SUBREAPER, 1)
            .or_failed("prepare", || "child subreaper".into())?;
        fill_standard_streams()?;
        Ok(Starter {
            groups: cgroup::Sandbox::new(&options.cgroup.parent)?,
            staging: options.staging,
            ground: plan::Ground::new(executable),
            parked: BTreeMap::new(),
        })
    }

    /// Makes the task's parent group and sets its limits. Idempotent.
    pub fn sandbox(&mut self, limits: &Limits) -> Result<(), StartError> {
        self.groups.prepare(limits)
    }

    /// Before the sandbox has a name: makes groups under the present one, with a parked process for
    /// each slot. [`Starter::adopt`] renames them. Nothing to do on v2, which cannot rename.
    pub fn park_ahead(&mut self, slots: std::ops::Range<u32>) -> Result<(), StartError> {
        if self.groups.v2_only() {
            return Ok(());
        }
        for slot in slots {
            self.groups.make_ahead(slot)?;
            let parked = Parked::new(self, self.groups.procs(slot)?)?;
            self.parked.insert(slot, parked);
        }
        Ok(())
    }

    /// The sandbox's name and folder, for what was made ahead of them.
    pub fn adopt(&mut self, name: &str, staging: PathBuf) -> Result<(), StartError> {
        let root = self.groups.parent().rsplit_once('/');
        let parent = format!("{}/{name}", root.map_or("", |(root, _)| root));
        let slots: Vec<u32> = self.parked.keys().copied().collect();
        self.staging = staging;
        self.groups.rename(&parent, &slots)
    }

    /// Moves this process out of its agent's service, which may be ended without it. On cgroup v1
    /// this may wait for the whole machine: not to be called while a start waits.
    pub fn leave_service(&self) -> Result<(), StartError> {
        self.groups.leave_service()
    }

    /// Ends parked processes that no container came for, with their groups.
    pub fn unpark(&mut self) {
        for slot in std::mem::take(&mut self.parked).into_keys() {
            // What stays goes with the sandbox.
            let _ = self.groups.remove(slot);
        }
    }

    /// Parks a process in fresh groups for the container `slot` ahead of demand. On cgroup v1,
    /// joining a group may wait for the whole machine; the container is later cloned from the
    /// parked process and inherits its groups. Nothing to do on v2. Does not wait for the joining.
    pub fn park(&mut self, slot: u32) -> Result<(), StartError> {
        if self.groups.v2_only() || self.parked.contains_key(&slot) {
            return Ok(());
        }
        self.groups.make(slot)?;
        let parked = self
            .groups
            .procs(slot)
            .and_then(|procs| Parked::new(self, procs));
        match parked {
            Ok(parked) => {
                self.parked.insert(slot, parked);
                Ok(())
            }
            Err(error) => {
                self.groups.remove(slot);
                Err(error)
            }
        }
    }

    /// Starts container number `slot`, whose group is `<parent>/c<slot>`. Returns once execve
    /// succeeded; an error names the step that failed, and leaves nothing behind.
    pub fn start(
        &mut self,
        slot: u32,
        spec: &ContainerSpec,
        namespaces: &Shared<'_>,
        stdio: Stdio,
    ) -> Result<Running, StartError> {
        let parked = self.parked.remove(&slot);
        if parked.is_none() {
            self.groups.make(slot)?;
        }
        // One that was killed meanwhile has left good groups behind.
        let result = match parked.filter(Parked::is_alive) {
            Some(parked) => parked
                .start(self, spec, namespaces, stdio, slot)
                .and_then(|launched| launched.settle(slot)),
            None => self
                .launch_container(slot, spec, namespaces, stdio, Parent::This)
                .settle(slot),
        };
        if result.is_err() {
            self.groups.kill(slot);
            self.groups.remove(slot);
        }
        result
    }

    /// Starts the process that holds the sandbox's own namespaces, in a slot as a container's. It
    /// runs until it is killed. `shm_bytes` as [`ContainerSpec::shm_bytes`].
    pub fn hold(
        &mut self,
        slot: u32,
        shm_bytes: Option<u64>,
        stdio: Stdio,
    ) -> Result<Running, StartError> {
        self.start(slot, &holder::spec(shm_bytes), &Shared::default(), stdio)
    }

    /// From the groups on; also runs in a parked process.
    fn launch_container(
        &mut self,
        slot: u32,
        spec: &ContainerSpec,
        namespaces: &Shared<'_>,
        stdio: Stdio,
        parent: Parent,
    ) -> Launched {
        let planned = (|| {
            let (rules, devices) = plan::device_rules(spec)?;
            let born_inside = parent == Parent::Mine;
            let group = self
                .groups
                .open(slot, &spec.limits, rules.as_deref(), born_inside)?;
            let v2_only = self.groups.v2_only();
            plan::container(
                &mut self.ground,
                spec,
                namespaces,
                (group, v2_only),
                devices,
                stdio,
                &self.staging,
            )
        })();
        let planned = match planned {
            Ok(planned) => planned,
            Err(error) => return Launched::failed(error),
        };
        let container = planned.container;
        let folder = container.group.folder.as_ref().map(AsRawFd::as_raw_fd);
        let birth = container.birth();
        let paths = &container.program.candidates;
        let launched = launch(
            planned.flags | parent.flag(),
            folder,
            (birth, paths),
            &|report| container::run(&container, report),
        );
        launched.explain(|failure| plan::detail(spec, Some(&container), &spec.process, failure))
    }

    /// Runs another program inside a running container, with the confinement `process` asks for.
    /// Returns once execve succeeded. The working folder is not made.
    pub fn exec(
        &mut self,
        container: &Running,
        spec: &ContainerSpec,
        process: &Process,
        stdio: Stdio,
    ) -> Result<Running, StartError> {
        let slot = container.slot;
        let group = self.groups.enter(slot).map_err(|mut error| {
            // The group goes only after the container.
            if error.errno == libc::ENOENT {
                error.errno = libc::ESRCH;
            }
            error
        })?;
        let join = plan::join(&mut self.ground, container, spec, process, stdio, group)?;
        let folder = join.group.folder.as_ref().map(AsRawFd::as_raw_fd);
        let how = (program::Birth::Late, join.program.candidates.as_slice());
        let launched = launch(0, folder, how, &|report| container::run_join(&join, report));
        launched
            .explain(|failure| plan::detail(spec, None, process, failure))
            .settle(slot)
            .map_err(|error| gone(error, &container.pidfd))
    }

    /// What the kernel counted, when it killed something of the container for memory. Read it
    /// before [`Starter::remove_container`].
    pub fn oom(&self, slot: u32) -> Option<Oom> {
        self.groups.oom(slot)
    }

    /// A descriptor that becomes readable when the kernel may have killed something of the
    /// container for memory; then ask [`Starter::oom`]. On v1 it is an eventfd, which becomes
    /// readable too when the group is removed; on v2 an inotify descriptor. Both are non-blocking.
    pub fn oom_events(&self, slot: u32) -> Result<OwnedFd, StartError> {
        self.groups.oom_events(slot)
    }

    /// Kills every process of the container's group.
    pub fn kill_all(&self, slot: u32) {
        self.groups.kill(slot);
    }

    /// Removes a container's group and returns what could not be. Waits a bounded time for it to
    /// become empty; processes have to be dead and reaped.
    pub fn remove_container(&mut self, slot: u32) -> Vec<StartError> {
        drop(self.parked.remove(&slot));
        self.groups.remove(slot)
    }

    /// Removes the sandbox's group with all below it, as [`Starter::remove_container`].
    pub fn remove_sandbox(&mut self) -> Vec<StartError> {
        self.parked.clear();
        self.groups.remove_parent()
    }
}

/// Whose child a new process becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parent {
    This,
    /// The parent of this process: a parked one acts for the shim.
    Mine,
}

impl Parent {
    fn flag(self) -> u64 {
        match self {
            Parent::This => 0,
            Parent::Mine => libc::CLONE_PARENT as u64,
        }
    }
}

/// What came of a clone: the process, or why there is none, and dead processes to reap.
struct Launched {
    result: Result<Born, Failed>,
    remains: Vec<OwnedFd>,
}

struct Born {
    pid: i32,
    pidfd: OwnedFd,
    pty: Option<OwnedFd>,
    fault: Option<ProgramFault>,
}

enum Failed {
    InChild(report::Failure),
    Here(StartError),
}

impl Launched {
    fn failed(error: StartError) -> Launched {
        Launched {
            result: Err(Failed::Here(error)),
            remains: Vec::new(),
        }
    }

    /// Puts a child's failure into words.
    fn explain(mut self, detail: impl FnOnce(report::Failure) -> String) -> Launched {
        self.result = self.result.map_err(|failed| match failed {
            Failed::InChild(failure) => Failed::Here(StartError {
                stage: failure.step.name().to_owned(),
                errno: failure.errno,
                detail: detail(failure),
            }),
            here => here,
        });
        self
    }

    /// Reaps what is dead.
    fn settle(self, slot: u32) -> Result<Running, StartError> {
        for pidfd in &self.remains {
            kernel::reap(pidfd.as_raw_fd());
        }
        match self.result {
            Ok(born) => Ok(Running {
                pid: born.pid,
                pidfd: born.pidfd,
                pty: born.pty,
                slot,
                fault: born.fault,
            }),
            Err(Failed::Here(error)) => Err(error),
            Err(Failed::InChild(failure)) => {
                Err(failed(failure.step.name(), failure.errno, "the container"))
            }
        }
    }
}

/// Clones, runs `child` in the copy with the report socket, and waits for execve or a failure. `paths`
/// are those that execve tries.
fn launch(
    flags: u64,
    folder: Option<RawFd>,
    (birth, paths): (program::Birth, &[CString]),
    child: &dyn Fn(RawFd) -> std::convert::Infallible,
) -> Launched {
    let [ours, theirs] = match kernel::socketpair(libc::SOCK_SEQPACKET) {
        Ok(pair) => pair.map(owned),
        Err(errno) => return Launched::failed(failed("clone", errno, "report socket")),
    };
    let spawned = kernel::spawn(flags, folder, &|| child(theirs.as_raw_fd()));
    drop(theirs);
    let (pid, pidfd) = match spawned {
        Ok((pid, pidfd)) => (pid, owned(pidfd)),
        Err(errno) => return Launched::failed(failed("clone", errno, "the container's process")),
    };
    let heard = report::listen(&ours);
    if let Some(failure) = heard.failure {
        let remains = [Some(pidfd), heard.born].into_iter().flatten().collect();
        return Launched {
            result: Err(Failed::InChild(failure)),
            remains,
        };
    }
    let (pty, fault) = (heard.terminal, heard.fault.map(|seen| seen.fault(paths)));
    if birth == program::Birth::Here {
        return Launched {
            result: Ok(Born {
                pid,
                pidfd,
                pty,
                fault,
            }),
            remains: Vec::new(),
        };
    }
    let born = heard
        .born
        .and_then(|born| pid_of(&born).map(|pid| (pid, born)));
    Launched {
        result: match born {
            Some((pid, pidfd)) => Ok(Born {
                pid,
                pidfd,
                pty,
                fault,
            }),
            None => Err(Failed::Here(failed(
                "clone",
                libc::ESRCH,
                "the process that starts it was killed",
            ))),
        },
        remains: vec![pidfd],
    }
}

/// The number of a child that is not reaped yet.
fn pid_of(pidfd: &OwnedFd) -> Option<i32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let info = std::fs::read_to_string(path).ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    line.trim().parse().ok().filter(|pid| *pid > 0)
}

/// Joining the namespaces of a process that has ended fails in many ways that mean one thing.
fn gone(error: StartError, pidfd: &OwnedFd) -> StartError {
    let ended = readable(pidfd);
    if ended && matches!(error.stage.as_str(), "namespaces" | "clone") {
        return failed("exec", libc::ESRCH, "the container is not running");
    }
    error
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: RawFd) -> std::io::Result<()> {
    let first = u32::try_from(first).map_err(std::io::Error::other)?;
    kernel::close_range(first, u32::MAX).map_err(std::io::Error::from_raw_os_error)
}

/// A pidfd is readable once its process has ended.
fn readable(pidfd: &OwnedFd) -> bool {
    let mut poll = [rustix::event::PollFd::new(
        pidfd,
        rustix::event::PollFlags::IN,
    )];
    let now = rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut poll, Some(&now)).is_ok_and(|count| count > 0)
}

/// Numbers 0 to 2 must not fall to a descriptor of the sequence.
fn fill_standard_streams() -> Result<(), StartError> {
    loop {
        let fd =
            kernel::open(c"/dev/null", libc::O_RDWR).or_failed("prepare", || "/dev/null".into())?;
        if fd > 2 {
            kernel::close(fd);
            return Ok(());
        }
    }
}

fn failed(stage: &str, errno: i32, detail: impl Into<String>) -> StartError {
    StartError {
        stage: stage.to_owned(),
        errno,
        detail: detail.into(),
    }
}

/// Names the step and the thing of a kernel's answer.
trait OrFailed<T> {
    fn or_failed(self, stage: &str, detail: impl FnOnce() -> String) -> Result<T, StartError>;
}

impl<T> OrFailed<T> for kernel::Sys<T> {
    fn or_failed(self, stage: &str, detail: impl FnOnce() -> String) -> Result<T, StartError> {
        self.map_err(|errno| failed(stage, errno, detail()))
    }
}

/// A string for the kernel; one with NUL would be cut there, so it is refused.
fn cstring(stage: &str, text: &str) -> Result<CString, StartError> {
    CString::new(text).map_err(|_| failed(stage, libc::EINVAL, format!("NUL in {text:?}")))
}

/// Takes a descriptor that a call of [`kernel`] has just made.
fn owned(fd: RawFd) -> OwnedFd {
    debug_assert!(fd >= 0);
    // SAFETY: the callers pass what the kernel has just answered, and keep no copy of the number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
