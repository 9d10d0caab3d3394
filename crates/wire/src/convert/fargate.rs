//! What Fargate asks of a definition. One check says both whether a definition that asks for
//! FARGATE registers, and whether one that does not could still run there.
//! Source: ECS developer guide, task definition parameters; ECS API.

use crate::error::ApiError;
use crate::messages;
use windlass_model::container::{ContainerDefinition, LinuxParameters};
use windlass_model::definition::{NetworkMode, SharingMode, Template};
use windlass_model::sizes;
use windlass_model::volume::VolumeKind;

/// How long a container may take to start or to stop.
const TIMEOUT_S: std::ops::RangeInclusive<u32> = 2..=120;

/// Log drivers that Fargate has.
pub(super) const LOG_DRIVERS: [&str; 3] = ["awslogs", "splunk", "awsfirelens"];

/// The task-level size of a Fargate task.
fn check_size(template: &Template) -> Result<(), ApiError> {
    let no_size = |setting: &'static str| move || messages::fargate::no_size(setting);
    let cpu = template.cpu.ok_or_else(no_size("cpu"))?;
    let memory = template.memory.ok_or_else(no_size("memory"))?;
    if sizes::fargate_has(cpu, memory, template.is_windows()) {
        return Ok(());
    }
    Err(messages::fargate::no_configuration(cpu, memory))
}

/// # Errors
/// `ClientException` that names the first thing that Fargate does not have.
pub(super) fn check_fargate(template: &Template) -> Result<(), ApiError> {
    check_size(template)?;
    if template.network() != NetworkMode::Awsvpc {
        return Err(messages::fargate::network_mode());
    }
    if template.pid_mode == Some(SharingMode::Host) {
        return Err(messages::fargate::pid_mode());
    }
    if let Some(member) = absent_member(template) {
        return Err(messages::fargate::not_supported(member));
    }
    template
        .containers
        .iter()
        .try_for_each(|c| check_fargate_container(template, c))
}

/// The first member of the definition that Fargate has not.
fn absent_member(template: &Template) -> Option<&'static str> {
    if template.trusted_execution.is_some() {
        return Some("trustedExecutionConfiguration");
    }
    if template.ipc_mode.is_some() {
        return Some("ipcMode");
    }
    if !template.placement_constraints.is_empty() {
        return Some("constraints");
    }
    template
        .volumes
        .iter()
        .find_map(|volume| match volume.kind {
            VolumeKind::Host { .. } => Some("sourcePath"),
            VolumeKind::Docker(_) => Some("dockerVolumeConfiguration"),
            VolumeKind::Fsx(_) => Some("fsxWindowsFileServerVolumeConfiguration"),
            VolumeKind::Scratch { .. }
            | VolumeKind::Efs(_)
            | VolumeKind::S3Files(_)
            | VolumeKind::ConfiguredAtLaunch => None,
        })
}

fn check_fargate_container(
    template: &Template,
    container: &ContainerDefinition,
) -> Result<(), ApiError> {
    if container.image.contains(".dkr.ecr.") && template.execution_role.is_none() {
        return Err(messages::fargate::no_execution_role("ECR images"));
    }
    check_log(template, container)?;
    let timeouts = [
        ("startTimeout", container.start_timeout_s),
        ("stopTimeout", container.stop_timeout_s),
    ];
    for (field, seconds) in timeouts {
        if seconds.is_some_and(|seconds| !TIMEOUT_S.contains(&seconds)) {
            return Err(ApiError::client(format!(
                "Container '{}': {field} must be between {} and {} seconds on Fargate.",
                container.name,
                TIMEOUT_S.start(),
                TIMEOUT_S.end()
            )));
        }
    }
    check_privileges(container)?;
    let linux = container.linux_parameters.as_ref();
    match absent_setting(container).or_else(|| linux.and_then(absent_linux_parameter)) {
        None => Ok(()),
        Some(member) => Err(messages::fargate::not_supported(member)),
    }
}

/// What would reach the machine that Fargate keeps from its tasks.
fn check_privileges(container: &ContainerDefinition) -> Result<(), ApiError> {
    if container.privileged == Some(true) {
        return Err(messages::fargate::privileged());
    }
    let mut requirements = container.resource_requirements.iter().flatten();
    if requirements.any(|requirement| requirement.kind == "GPU") {
        return Err(messages::fargate::gpu());
    }
    let linux = container.linux_parameters.iter();
    let mut added = linux.flat_map(|linux| linux.capabilities_add.iter().flatten());
    match added.find(|capability| *capability != "SYS_PTRACE") {
        None => Ok(()),
        Some(capability) => Err(messages::fargate::capability(capability)),
    }
}

fn check_log(template: &Template, container: &ContainerDefinition) -> Result<(), ApiError> {
    let Some(log) = &container.log else {
        return Ok(());
    };
    if !LOG_DRIVERS.contains(&log.driver.as_str()) {
        return Err(messages::logging::driver_invalid(&log.driver, &LOG_DRIVERS));
    }
    if log.driver != "awslogs" {
        return Ok(());
    }
    if template.execution_role.is_none() {
        return Err(messages::fargate::no_execution_role("log driver awslogs"));
    }
    // Without a prefix a stream bears the id that a container engine gave: Fargate shows none.
    let prefixed = log
        .options
        .as_ref()
        .is_some_and(|options| options.contains_key("awslogs-stream-prefix"));
    if prefixed {
        return Ok(());
    }
    Err(messages::fargate::no_stream_prefix())
}

/// The first setting that Fargate has not, in the definition's order.
fn absent_setting(container: &ContainerDefinition) -> Option<&'static str> {
    let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let mut ulimits = container.ulimits.iter().flatten();
    let config_file = container
        .firelens
        .iter()
        .filter_map(|firelens| firelens.options.as_ref()?.get("config-file-type"));
    let checks = [
        (
            given(&container.docker_security_options),
            "dockerSecurityOptions",
        ),
        (
            container
                .resource_requirements
                .as_ref()
                .is_some_and(|list| !list.is_empty()),
            "resourceRequirements",
        ),
        (
            ulimits.any(|ulimit| ulimit.name != "nofile"),
            "ulimits other than nofile",
        ),
        (
            config_file.into_iter().any(|kind| kind != "file"),
            "a config-file-type other than file",
        ),
    ];
    first(&checks)
}

fn absent_linux_parameter(linux: &LinuxParameters) -> Option<&'static str> {
    first(&[
        (linux.devices.iter().flatten().next().is_some(), "devices"),
        (linux.shared_memory_size_mib.is_some(), "sharedMemorySize"),
        (linux.max_swap_mib.is_some(), "maxSwap"),
        (linux.swappiness.is_some(), "swappiness"),
    ])
}

fn first(checks: &[(bool, &'static str)]) -> Option<&'static str> {
    checks
        .iter()
        .find(|(absent, _)| *absent)
        .map(|(_, member)| *member)
}
