//! From a container's definition, overrides and image to what the runtime starts. Pure: folders,
//! files and networks were made before and come in as values.
//!
//! What this release does not provide is refused here ([`refuse_unsupported`]), by name; nothing
//! is dropped silently.

use crate::limits::*;
use crate::{environment, reason};
use windlass_image::ImageConfig;
use windlass_model::capability::bare;
use windlass_model::container::{ContainerDefinition, KeyValue, LinuxParameters};
use windlass_model::definition::{NetworkMode, SharingMode, Template};
use windlass_model::stop::{ContainerReason, ReasonName};
use windlass_model::task::{ContainerOverride, Launch, TaskSpec};
use windlass_runtime::spec::{
    ContainerSpec, Device, ExecSpec, Limits, Log, Mount, MountKind, Namespace, Network, Process,
    Rlimit, Root, SandboxId, SandboxSpec, Seccomp,
};
use windlass_runtime::start::{CAPABILITIES, DEFAULT_CAPABILITIES};

const MIB: u64 = 1024 * 1024;
const SIGTERM: i32 = 15;

/// One container, with all it was defined by.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub task: &'a TaskSpec,
    pub template: &'a Template,
    pub definition: &'a ContainerDefinition,
    pub image: &'a ImageConfig,
    /// Of the node, for the AWS clients in the container.
    pub region: &'a str,
    /// What this process may give at most; a default above it would fail every start.
    pub open_files_max: u64,
    /// Variables of the containers it links to.
    pub links: &'a [(String, String)],
}

/// What was made for the container.
pub struct Prepared {
    pub root: Root,
    /// Volumes and generated files.
    pub mounts: Vec<Mount>,
    pub network: Network,
    pub hostname: String,
    pub log: Log,
}

/// The task's parent cgroup: a quota by its cpu, or its containers' shares; a limit by its memory.
pub fn sandbox(id: SandboxId, task: &TaskSpec, template: &Template) -> SandboxSpec {
    let cpu = task
        .overrides
        .cpu
        .or(template.cpu)
        .filter(|units| *units > 0);
    let memory = task
        .overrides
        .memory
        .or(template.memory)
        .filter(|mib| *mib > 0);
    let shares = template
        .containers
        .iter()
        .map(|container| shares(cpu_of(task, container)))
        .fold(0u64, u64::saturating_add);
    let quota = cpu.map(|units| u64::from(units).saturating_mul(CPU_PERIOD_US) / 1_024);
    let limits = Limits {
        cpu_shares: cpu
            .is_none()
            .then(|| shares.clamp(CPU_SHARES_MIN, CPU_SHARES_MAX)),
        cpu_quota_us: quota,
        cpu_period_us: quota.map(|_| CPU_PERIOD_US),
        memory_bytes: memory.map(|mib| u64::from(mib).saturating_mul(MIB)),
        pids: Some(PIDS_PER_TASK),
        ..Limits::default()
    };
    SandboxSpec { id, limits }
}

/// The container, complete.
///
/// # Errors
/// The reason to show, when the definition asks for what is not provided or makes no sense.
pub fn container(source: Source<'_>, prepared: Prepared) -> Result<ContainerSpec, ContainerReason> {
    refuse_unsupported(source)?;
    let definition = source.definition;
    let linux = definition.linux_parameters.clone().unwrap_or_default();
    let mut mounts = prepared.mounts;
    mounts.extend(tmpfs(&linux));
    let (process, hostname) = (process(source, &prepared.hostname)?, prepared.hostname);
    Ok(ContainerSpec {
        name: definition.name.to_string(),
        root: prepared.root,
        readonly_root: definition.readonly_root_filesystem.unwrap_or(false),
        process,
        hostname,
        network: prepared.network,
        pid: namespace(source.template.pid_mode),
        ipc: namespace(source.template.ipc_mode),
        mounts,
        devices: devices(&linux),
        sysctls: pairs(&definition.system_controls),
        limits: limits(source, &linux),
        shm_bytes: shm_bytes(source.template, definition),
        privileged: definition.privileged.unwrap_or(false),
        stop_signal: source.image.stop_signal.unwrap_or(SIGTERM),
        stop_timeout_ms: u64::from(
            definition
                .stop_timeout_s
                .unwrap_or(windlass_node::limits::STOP_TIMEOUT_S),
        )
        .saturating_mul(1_000),
        log: prepared.log,
        init: linux.init_process_enabled.unwrap_or(false),
        stdin_open: definition.interactive.unwrap_or(false),
    })
}

/// The health check's program: as the container's own, with another command.
///
/// # Errors
/// As [`container`].
pub fn health_probe(source: Source<'_>, hostname: &str) -> Result<ExecSpec, ContainerReason> {
    let check = source.definition.health_check.as_ref();
    let words = check
        .map(|check| check.command.as_slice())
        .unwrap_or_default();
    let args = match words {
        [kind, rest @ ..] if kind == "CMD" => rest.to_vec(),
        [kind, script, ..] if kind == "CMD-SHELL" => {
            vec!["/bin/sh".into(), "-c".into(), script.clone()]
        }
        other => other.to_vec(),
    };
    let process = Process {
        args,
        tty: false,
        ..process(source, hostname)?
    };
    Ok(ExecSpec {
        container: source.definition.name.to_string(),
        process,
        timeout_ms: check.map(|check| u64::from(check.timeout_s).saturating_mul(1_000)),
        output_max_bytes: HEALTH_OUTPUT_BYTES_MAX,
    })
}

/// Refuses, by name, what the definition asks for and this release does not do.
///
/// # Errors
/// The reason to show.
pub fn refuse_unsupported(source: Source<'_>) -> Result<(), ContainerReason> {
    let definition = source.definition;
    let given = |list: Option<usize>| list.is_some_and(|length| length > 0);
    let asked = [
        (!definition.secrets.is_empty(), "secrets"),
        (!definition.environment_files.is_empty(), "environmentFiles"),
        (definition.firelens.is_some(), "firelensConfiguration"),
        (
            given(definition.credential_specs.as_ref().map(Vec::len)),
            "credentialSpecs",
        ),
        (
            given(definition.resource_requirements.as_ref().map(Vec::len)),
            "resourceRequirements",
        ),
        (
            definition.repository_credentials.is_some(),
            "repositoryCredentials",
        ),
        (source.template.proxy.is_some(), "proxyConfiguration"),
    ];
    if let Some((_, what)) = asked.iter().find(|(asked, _)| *asked) {
        return Err(refused(what));
    }
    let driver = definition.log.as_ref().map(|log| log.driver.as_str());
    match driver {
        Some(driver) if !crate::machine::LOG_DRIVERS.contains(&driver) => {
            Err(refused(&format!("log driver {driver}")))
        }
        _ => Ok(()),
    }
}

fn refused(what: &str) -> ContainerReason {
    reason::of(
        ReasonName::ResourceInitializationError,
        format!(
            "{what}: not provided by this release of Windlass; remove it from the task definition"
        ),
    )
}

fn process(source: Source<'_>, hostname: &str) -> Result<Process, ContainerReason> {
    let definition = source.definition;
    let linux = definition.linux_parameters.as_ref();
    Ok(Process {
        args: args(source)?,
        env: environment::environment(source, hostname),
        cwd: working_directory(source)?,
        user: filled(&definition.user)
            .or(source.image.user.as_ref())
            .cloned()
            .unwrap_or_default(),
        capabilities: capabilities(linux),
        no_new_privileges: no_new_privileges(definition)?,
        seccomp: if definition.privileged == Some(true) {
            Seccomp::Unconfined
        } else {
            Seccomp::Default
        },
        rlimits: rlimits(source),
        oom_score_adj: 0,
        tty: definition.pseudo_terminal.unwrap_or(false),
    })
}

/// Source: Docker, which takes an absolute path alone.
fn working_directory(source: Source<'_>) -> Result<String, ContainerReason> {
    match filled(&source.definition.working_directory) {
        Some(relative) if !relative.starts_with('/') => Err(reason::of(
            ReasonName::CannotCreateContainerError,
            format!(
                "the working directory '{relative}' is invalid, it needs to be an absolute path"
            ),
        )),
        Some(absolute) => Ok(absolute.clone()),
        None if source.image.working_dir.is_empty() => Ok("/".into()),
        None => Ok(source.image.working_dir.clone()),
    }
}

/// Entry point and command. An entry point of the definition's takes the image's command away, and
/// one of a single empty word takes the entry point itself away. Source: Docker.
fn args(source: Source<'_>) -> Result<Vec<String>, ContainerReason> {
    let given = |list: &Option<Vec<String>>| list.clone().filter(|words| !words.is_empty());
    let changed = override_of(source.task, source.definition);
    let entry_point = given(&source.definition.entry_point);
    let command = changed
        .and_then(|o| given(&o.command))
        .or(given(&source.definition.command));
    let image_command = match entry_point {
        Some(_) => Vec::new(),
        None => source.image.cmd.clone(),
    };
    let mut args = entry_point.unwrap_or_else(|| source.image.entrypoint.clone());
    if args == [""] {
        args.clear();
    }
    args.extend(command.unwrap_or(image_command));
    if args.is_empty() {
        return Err(reason::of(
            ReasonName::CannotCreateContainerError,
            "no command specified",
        ));
    }
    Ok(args)
}

/// Adding wins over dropping, as container engines have it; `ALL` stands for every one.
fn capabilities(linux: Option<&LinuxParameters>) -> Vec<String> {
    let names = |list: Option<&Vec<String>>| -> Vec<String> {
        list.into_iter().flatten().map(|name| bare(name)).collect()
    };
    let add = names(linux.and_then(|linux| linux.capabilities_add.as_ref()));
    let drop = names(linux.and_then(|linux| linux.capabilities_drop.as_ref()));
    let all = |list: &[String]| list.iter().any(|name| name == "ALL");
    let base: &[&str] = match (all(&add), all(&drop)) {
        (true, _) => &CAPABILITIES,
        (false, true) => &[],
        (false, false) => &DEFAULT_CAPABILITIES,
    };
    let kept = base
        .iter()
        .filter(|name| !drop.iter().any(|dropped| dropped == *name));
    let mut set: Vec<String> = kept.map(|name| (*name).to_owned()).collect();
    set.extend(add.into_iter().filter(|name| name != "ALL"));
    set.sort();
    set.dedup();
    set
}

fn no_new_privileges(definition: &ContainerDefinition) -> Result<bool, ContainerReason> {
    let mut wanted = false;
    for option in definition.docker_security_options.iter().flatten() {
        match option.as_str() {
            "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true" => {
                wanted = true
            }
            "no-new-privileges:false" | "no-new-privileges=false" => {}
            other => return Err(refused(&format!("dockerSecurityOptions {other:?}"))),
        }
    }
    Ok(wanted)
}

fn rlimits(source: Source<'_>) -> Vec<Rlimit> {
    let value = |n: i64| u64::try_from(n).unwrap_or(u64::MAX);
    let mut rlimits: Vec<Rlimit> = source
        .definition
        .ulimits
        .iter()
        .flatten()
        .map(|u| Rlimit {
            name: u.name.clone(),
            soft: value(u.soft),
            hard: value(u.hard),
        })
        .collect();
    if !rlimits.iter().any(|limit| limit.name == "nofile") {
        let (soft, hard) = match source.task.launch {
            Launch::Fargate => OPEN_FILES_FARGATE,
            Launch::Ec2 | Launch::External => OPEN_FILES_EC2,
        };
        let hard = hard.min(source.open_files_max);
        rlimits.push(Rlimit {
            name: "nofile".into(),
            soft: soft.min(hard),
            hard,
        });
    }
    rlimits
}

fn limits(source: Source<'_>, linux: &LinuxParameters) -> Limits {
    let changed = override_of(source.task, source.definition);
    let bytes = |mib: u32| u64::from(mib).max(MEMORY_MIB_MIN).saturating_mul(MIB);
    let memory = changed.and_then(|o| o.memory).or(source.definition.memory);
    let reservation = changed
        .and_then(|o| o.memory_reservation)
        .or(source.definition.memory_reservation);
    Limits {
        cpu_shares: Some(shares(cpu_of(source.task, source.definition))),
        memory_bytes: memory.filter(|mib| *mib > 0).map(bytes),
        memory_reservation_bytes: reservation.filter(|mib| *mib > 0).map(bytes),
        swap_bytes: linux
            .max_swap_mib
            .map(|mib| u64::from(mib).saturating_mul(MIB)),
        swappiness: linux.swappiness.map(u64::from),
        pids: Some(PIDS_PER_CONTAINER),
        ..Limits::default()
    }
}

fn cpu_of(task: &TaskSpec, definition: &ContainerDefinition) -> u32 {
    override_of(task, definition)
        .and_then(|o| o.cpu)
        .unwrap_or(definition.cpu)
}

fn shares(cpu_units: u32) -> u64 {
    u64::from(cpu_units).clamp(CPU_SHARES_MIN, CPU_SHARES_MAX)
}

pub(crate) fn override_of<'a>(
    task: &'a TaskSpec,
    definition: &ContainerDefinition,
) -> Option<&'a ContainerOverride> {
    task.overrides
        .containers
        .iter()
        .find(|o| o.name == definition.name)
}

fn namespace(mode: Option<SharingMode>) -> Namespace {
    match mode {
        Some(SharingMode::Host) => Namespace::Host,
        Some(SharingMode::Task) => Namespace::Sandbox,
        _ => Namespace::Private,
    }
}

/// Where all share one /dev/shm, it is as large as the largest that any asks for.
fn shm_bytes(template: &Template, definition: &ContainerDefinition) -> Option<u64> {
    let wanted = |definition: &ContainerDefinition| {
        let mib = definition
            .linux_parameters
            .as_ref()?
            .shared_memory_size_mib?;
        Some(u64::from(mib).saturating_mul(MIB))
    };
    match template.ipc_mode {
        Some(SharingMode::Task) => template.containers.iter().filter_map(wanted).max(),
        _ => wanted(definition),
    }
}

fn tmpfs(linux: &LinuxParameters) -> Vec<Mount> {
    let mount = |t: &windlass_model::container::Tmpfs| Mount {
        target: t.container_path.clone(),
        kind: MountKind::Tmpfs {
            size_bytes: u64::from(t.size_mib).saturating_mul(MIB),
            options: t.mount_options.clone().unwrap_or_default(),
        },
        readonly: false,
    };
    linux.tmpfs.iter().flatten().map(mount).collect()
}

fn devices(linux: &LinuxParameters) -> Vec<Device> {
    let device = |d: &windlass_model::container::Device| {
        let may = |what: &str| {
            d.permissions
                .as_ref()
                .is_none_or(|all| all.iter().any(|p| p.eq_ignore_ascii_case(what)))
        };
        Device {
            host_path: d.host_path.clone(),
            container_path: d
                .container_path
                .clone()
                .unwrap_or_else(|| d.host_path.clone()),
            read: may("read"),
            write: may("write"),
            mknod: may("mknod"),
        }
    };
    linux.devices.iter().flatten().map(device).collect()
}

fn pairs(list: &[KeyValue]) -> Vec<(String, String)> {
    list.iter()
        .map(|pair| (pair.name.clone(), pair.value.clone()))
        .collect()
}

fn filled(text: &Option<String>) -> Option<&String> {
    text.as_ref().filter(|text| !text.is_empty())
}

/// Where the container's output goes: `max-size` and `max-file` of its log options are kept to.
///
/// # Errors
/// The reason to show, when an option is no size or number.
pub fn log(definition: &ContainerDefinition, path: String) -> Result<Log, ContainerReason> {
    let option = |name: &str| {
        let options = definition.log.as_ref().and_then(|log| log.options.as_ref());
        options
            .and_then(|options| options.get(name))
            .map(String::as_str)
    };
    let wrong = |name: &str, text: &str| {
        reason::of(
            ReasonName::CannotCreateContainerError,
            format!("invalid log option {name}={text:?}"),
        )
    };
    let max_bytes = match option("max-size") {
        Some(text) => size_bytes(text).ok_or_else(|| wrong("max-size", text))?,
        None => LOG_FILE_BYTES,
    };
    let files = match option("max-file") {
        Some(text) => text.parse::<u32>().map_err(|_| wrong("max-file", text))?,
        None => LOG_FILES,
    };
    Ok(Log {
        path,
        max_bytes: max_bytes.clamp(LOG_FILE_BYTES_MIN, LOG_FILE_BYTES_MAX),
        files: files.clamp(1, LOG_FILES_MAX),
    })
}

/// `10m`, `512k`, `1g`, `4096`.
fn size_bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower
        .trim_end_matches('b')
        .trim_end_matches(['k', 'm', 'g']);
    let unit = match lower[digits.len()..].chars().next() {
        Some('k') => 1_024,
        Some('m') => MIB,
        Some('g') => 1_024 * MIB,
        _ => 1,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Whether the container has the host's network, none, or one made for it.
pub fn network_kind(template: &Template, definition: &ContainerDefinition) -> NetworkMode {
    match definition.disable_networking {
        Some(true) => NetworkMode::None,
        _ => template.network(),
    }
}
