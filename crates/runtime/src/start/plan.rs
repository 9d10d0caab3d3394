//! Turns a spec into what the child needs: everything that may allocate, fail in words or be looked
//! up on the host happens here, before any process exists.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use super::cgroup::{Group, Rule, default_rules};
use super::container::{Container, Join, Net};
use super::program::{CStrings, Program, Rlimit, SHARE};
use super::{
    OrFailed, Running, Shared, StartError, Stdio, borrow, capability, cstring, device, failed,
    file, kernel, overlay, owned, rlimit, seccomp, sysctl, user, volume,
};
use crate::spec::{ContainerSpec, Namespace, Network, Process, Seccomp};

/// Where commands are looked for when the environment names no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Size of /dev/shm when the spec names none, bytes.
const SHM_BYTES: u64 = 64 << 20;
/// Longest host name the kernel takes, bytes.
const HOSTNAME_MAX: usize = 64;

/// Hidden from containers that are not privileged; of these, what a kernel has.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Readable and not writable.
const READONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// What is looked up once and serves every start of a shim.
pub(super) struct Ground {
    /// The sealed program of this process: what init runs.
    pub(super) executable: OwnedFd,
    pub(super) last_capability: u64,
    pub(super) own_capabilities: u64,
    pub(super) masked: Vec<String>,
    pub(super) filters: seccomp::Filters,
}

impl Ground {
    pub(super) fn new(executable: OwnedFd) -> Ground {
        Ground {
            executable,
            last_capability: capability::last(),
            own_capabilities: capability::own(),
            masked: MASKED
                .iter()
                .map(|path| path.to_string())
                .chain(thermal_throttles())
                .collect(),
            filters: seccomp::Filters::default(),
        }
    }
}

/// Per-processor counters that tell of the host's load.
fn thermal_throttles() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/devices/system/cpu")
        .into_iter()
        .flatten();
    let mut paths: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path().join("thermal_throttle"))
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect();
    paths.sort();
    paths
}

/// Clone flags, the plan, and the device rules' origin for one container.
pub(super) struct Planned {
    pub(super) flags: u64,
    pub(super) container: Container,
}

/// The device rules of a container; `None` is every device.
pub(super) fn device_rules(
    spec: &ContainerSpec,
) -> Result<(Option<Vec<Rule>>, device::Devices), StartError> {
    let devices = device::prepare(spec)?;
    if spec.privileged {
        return Ok((None, devices));
    }
    let mut rules = default_rules();
    rules.extend(devices.rules.iter().cloned());
    Ok((Some(rules), devices))
}

/// Prepares a container.
pub(super) fn container(
    ground: &mut Ground,
    spec: &ContainerSpec,
    shared: &Shared<'_>,
    (mut group, v2_only): (Group, bool),
    devices: device::Devices,
    stdio: Stdio,
    staging: &Path,
) -> Result<Planned, StartError> {
    let root = overlay::open(&spec.root, staging)?;
    let mut program = program(
        ground,
        spec,
        &spec.process,
        root.as_raw_fd(),
        stdio,
        Occasion::Start,
    )?;
    program.share = group.share.take();
    let mut flags = (libc::CLONE_NEWNS | libc::CLONE_NEWUTS) as u64;
    let (net, new_net) = net(&spec.network)?;
    let (pid, new_pid) = namespace(&spec.pid, shared.pid.as_ref(), "pid")?;
    let (ipc, new_ipc) = namespace(&spec.ipc, shared.ipc.as_ref(), "ipc")?;
    for (new, flag) in [
        (new_net, libc::CLONE_NEWNET),
        (new_pid, libc::CLONE_NEWPID),
        (new_ipc, libc::CLONE_NEWIPC),
    ] {
        if new {
            flags |= flag as u64;
        }
    }
    let shared_shm = match (&spec.ipc, &ipc) {
        (Namespace::Host, _) => Some(host_shm()?),
        (_, Some(ipc)) => Some(borrow::shm(ipc)?),
        _ => None,
    };
    let shared_proc = pid.as_ref().map(borrow::proc).transpose()?;
    let masked = covered(spec, &ground.masked)?;
    let readonly = covered(spec, &READONLY)?;
    if spec.hostname.len() > HOSTNAME_MAX {
        return Err(failed("hostname", libc::ENAMETOOLONG, &spec.hostname));
    }
    let volumes = volume::prepare(&spec.mounts, spec.privileged)?;
    Ok(Planned {
        flags,
        container: Container {
            program,
            group,
            v2_only,
            root,
            readonly_root: spec.readonly_root,
            staging: cstring("rootfs", &staging.to_string_lossy())?,
            net,
            ipc,
            pid,
            shared_proc,
            shared_shm,
            shm_bytes: cstring("dev", &spec.shm_bytes.unwrap_or(SHM_BYTES).to_string())?,
            nodes: devices.nodes,
            elsewhere: devices.elsewhere,
            links: device::links(),
            files: file::Memory::of(&volumes)?,
            volumes,
            sysctls: sysctl::prepare(spec)?,
            masked,
            readonly,
            hostname: cstring("hostname", &spec.hostname)?,
            system_attributes: if spec.privileged {
                0
            } else {
                kernel::ATTR_RDONLY
            },
        },
    })
}

/// Paths to cover; none in a privileged container.
fn covered(
    spec: &ContainerSpec,
    paths: &[impl AsRef<str>],
) -> Result<Vec<std::ffi::CString>, StartError> {
    match spec.privileged {
        true => Ok(Vec::new()),
        false => cstrings("mask", paths),
    }
}

/// Prepares a process that joins `target`.
pub(super) fn join(
    ground: &mut Ground,
    target: &Running,
    spec: &ContainerSpec,
    process: &Process,
    stdio: Stdio,
    group: Group,
) -> Result<Join, StartError> {
    let root = root_of(target)?;
    let program = program(
        ground,
        spec,
        process,
        root.as_raw_fd(),
        stdio,
        Occasion::Exec,
    )?;
    let target = duplicate(&target.pidfd, "exec")?;
    Ok(Join {
        program,
        group,
        target,
    })
}

/// The root of a running container, for reading its users.
fn root_of(target: &Running) -> Result<OwnedFd, StartError> {
    let path = format!("/proc/{}/root", target.pid);
    let gone = || failed("exec", libc::ESRCH, "the container is not running");
    let root = kernel::open(&cstring("exec", &path)?, libc::O_PATH | libc::O_DIRECTORY)
        .map(owned)
        .map_err(|errno| match errno {
            libc::ENOENT => gone(),
            errno => failed("exec", errno, path),
        })?;
    // The number was the container's if its process is still there now.
    kernel::pidfd_signal(target.pidfd.as_raw_fd(), 0).map_err(|_| gone())?;
    Ok(root)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    Start,
    Exec,
}

fn program(
    ground: &mut Ground,
    spec: &ContainerSpec,
    process: &Process,
    root: RawFd,
    stdio: Stdio,
    occasion: Occasion,
) -> Result<Program, StartError> {
    let command = process
        .args
        .first()
        .ok_or_else(|| failed("exec", libc::EINVAL, "no command"))?;
    let user = user::resolve(root, &process.user)?;
    let mut env = process.env.clone();
    let names = |env: &[String], name: &str| env.iter().any(|entry| entry.starts_with(name));
    if !names(&env, "PATH=") {
        env.push(format!("PATH={DEFAULT_PATH}"));
    }
    if !names(&env, "HOME=") {
        env.push(format!("HOME={}", user.home));
    }
    let capabilities = if spec.privileged {
        ground.own_capabilities
    } else {
        capability::set(&process.capabilities).map_err(|name| {
            failed(
                "credentials",
                libc::EINVAL,
                format!("capability {name:?} is not one"),
            )
        })?
    };
    let filter = match process.seccomp {
        Seccomp::Default if !spec.privileged => Some(ground.filters.get(capabilities)?),
        _ => None,
    };
    let args = cstrings("exec", &process.args)?;
    let init = if occasion == Occasion::Start && spec.init {
        let executable = duplicate(&ground.executable, "init")?;
        let mut init_args = vec![super::init::ROLE.to_owned()];
        // Without files there is no program: init itself is the process.
        if !matches!(spec.root, crate::spec::Root::Empty) {
            init_args.extend(args.iter().cloned());
        }
        Some((executable, CStrings::new(init_args)))
    } else {
        None
    };
    Ok(Program {
        candidates: candidates(command, &env)?,
        args: CStrings::new(args),
        // Never a name or value in an error: they may be secrets.
        env: CStrings::new(
            cstrings("exec", &env)
                .map_err(|_| failed("exec", libc::EINVAL, "NUL in the environment"))?,
        ),
        cwd: cwd(&process.cwd)?,
        make_cwd: occasion == Occasion::Start,
        user,
        capabilities: capabilities & ground.own_capabilities,
        last_capability: ground.last_capability,
        no_new_privileges: process.no_new_privileges,
        filter,
        rlimits: rlimits(process)?,
        oom_score_adj: cstring("oom_score_adj", &process.oom_score_adj.to_string())?,
        stdio: (!process.tty).then(|| streams(stdio)).transpose()?,
        init,
        share: None,
    })
}

fn rlimits(process: &Process) -> Result<Vec<Rlimit>, StartError> {
    process
        .rlimits
        .iter()
        .map(|limit| {
            let resource = rlimit::resource(&limit.name).ok_or_else(|| {
                failed(
                    "rlimit",
                    libc::EINVAL,
                    format!("{:?} is no resource", limit.name),
                )
            })?;
            Ok(Rlimit {
                resource,
                soft: limit.soft,
                hard: limit.hard,
            })
        })
        .collect()
}

/// A command with a slash is a path; another is looked for along PATH, the last one named.
fn candidates(command: &str, env: &[String]) -> Result<Vec<std::ffi::CString>, StartError> {
    // No folder has a file without a name.
    if command.is_empty() {
        return Ok(Vec::new());
    }
    if command.contains('/') {
        return Ok(vec![cstring("exec", command)?]);
    }
    let path = env
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .unwrap_or(DEFAULT_PATH);
    path.split(':')
        .map(|folder| if folder.is_empty() { "." } else { folder })
        .map(|folder| cstring("exec", &format!("{folder}/{command}")))
        .collect()
}

fn cwd(cwd: &str) -> Result<std::ffi::CString, StartError> {
    match cwd {
        "" => cstring("cwd", "/"),
        absolute if absolute.starts_with('/') => cstring("cwd", absolute),
        relative => Err(failed(
            "cwd",
            libc::EINVAL,
            format!("{relative:?} is not absolute"),
        )),
    }
}

/// Streams numbered where no dup2 onto 0 to 2 can hit them.
fn streams(stdio: Stdio) -> Result<[OwnedFd; 3], StartError> {
    let lift = |fd: OwnedFd| {
        if fd.as_raw_fd() > 2 {
            return Ok(fd);
        }
        kernel::dup_above(fd.as_raw_fd(), 3)
            .map(owned)
            .or_failed("stdio", || "duplicate".into())
    };
    Ok([lift(stdio.stdin)?, lift(stdio.stdout)?, lift(stdio.stderr)?])
}

/// What to join, and whether the namespace is a new one.
fn net(network: &Network) -> Result<(Net, bool), StartError> {
    match network {
        Network::Host => Ok((Net::Keep, false)),
        Network::None => Ok((Net::Loopback, true)),
        Network::Path(path) => {
            let fd = kernel::open(&cstring("namespaces", path)?, libc::O_RDONLY)
                .map(owned)
                .or_failed("namespaces", || path.clone())?;
            // A plain file here is the place of a namespace that is gone.
            let magic = kernel::fs_magic(fd.as_raw_fd());
            if magic != Ok(kernel::NSFS_MAGIC) {
                return Err(failed(
                    "namespaces",
                    libc::ENOENT,
                    format!("{path} is no network namespace"),
                ));
            }
            Ok((Net::Join(fd), false))
        }
    }
}

/// The process whose namespace is joined, if any, and whether the namespace is a new one.
fn namespace(
    wanted: &Namespace,
    target: Option<&std::os::fd::BorrowedFd<'_>>,
    kind: &str,
) -> Result<(Option<OwnedFd>, bool), StartError> {
    match (wanted, target) {
        (Namespace::Private, _) => Ok((None, true)),
        (Namespace::Host, _) => Ok((None, false)),
        (Namespace::Container(_) | Namespace::Sandbox, Some(target)) => {
            Ok((Some(duplicate(target, "namespaces")?), false))
        }
        (Namespace::Sandbox, None) => Err(failed(
            "namespaces",
            libc::ESRCH,
            format!("the sandbox's {kind} namespace, which is gone"),
        )),
        (Namespace::Container(name), None) => Err(failed(
            "namespaces",
            libc::ESRCH,
            format!("{kind} namespace of container {name:?}, which is not running"),
        )),
    }
}

fn host_shm() -> Result<OwnedFd, StartError> {
    kernel::open_tree(libc::AT_FDCWD, c"/dev/shm", false)
        .map(owned)
        .or_failed("dev", || "/dev/shm of the host".into())
}

fn duplicate(fd: &impl AsFd, stage: &'static str) -> Result<OwnedFd, StartError> {
    kernel::dup_above(fd.as_fd().as_raw_fd(), 3)
        .map(owned)
        .or_failed(stage, || "duplicate a descriptor".into())
}

fn cstrings(
    stage: &'static str,
    strings: &[impl AsRef<str>],
) -> Result<Vec<std::ffi::CString>, StartError> {
    strings
        .iter()
        .map(|string| cstring(stage, string.as_ref()))
        .collect()
}

/// What a failure was about, in the words of the spec.
pub(super) fn detail(
    spec: &ContainerSpec,
    planned: Option<&Container>,
    process: &Process,
    failure: super::report::Failure,
) -> String {
    use super::report::Step;
    let index = usize::from(failure.index);
    let text = |strings: Option<&std::ffi::CString>| {
        strings.map(|text| text.to_string_lossy().into_owned())
    };
    match failure.step {
        Step::Exec => process.args.first().cloned(),
        Step::Cwd => Some(process.cwd.clone()),
        Step::Rlimit => process.rlimits.get(index).map(|limit| limit.name.clone()),
        Step::OomScoreAdj => Some(process.oom_score_adj.to_string()),
        Step::Sysctl => spec.sysctls.get(index).map(|(name, _)| name.clone()),
        Step::Hostname => Some(spec.hostname.clone()),
        Step::Mount => planned.and_then(|c| text(c.volumes.get(index).map(|v| &v.target))),
        Step::Device => planned.and_then(|c| text(c.elsewhere.get(index).map(|d| &d.path))),
        Step::Mask => planned.and_then(|c| text(c.masked.iter().chain(&c.readonly).nth(index))),
        Step::Cgroup if index == SHARE => Some("the group's share of the processors".into()),
        Step::Cgroup => Some("joining the container's groups".into()),
        Step::Namespaces => Some("joining or leaving namespaces".into()),
        Step::Dev => Some("/dev of the container".into()),
        Step::Proc => Some("/proc of the container".into()),
        Step::Sys => Some("/sys of the container".into()),
        _ => None,
    }
    .unwrap_or_else(|| "the container".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_become_candidates() {
        let env = |path: &str| vec!["PATH=/ignored".to_owned(), format!("PATH={path}")];
        let get = |command, path| {
            candidates(command, &env(path))
                .unwrap()
                .iter()
                .map(|c| c.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(get("sh", "/a::/b"), ["/a/sh", "./sh", "/b/sh"]);
        assert_eq!(get("./sh", "/a"), ["./sh"]);
        assert_eq!(get("", "/a"), [""; 0]);
        assert!(candidates("s\0h", &[]).is_err());
    }

    #[test]
    fn working_folders_are_absolute() {
        assert_eq!(cwd("").unwrap().to_str(), Ok("/"));
        assert_eq!(cwd("/x").unwrap().to_str(), Ok("/x"));
        assert_eq!(cwd("x").unwrap_err().errno, libc::EINVAL);
    }
}
