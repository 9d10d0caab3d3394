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

/// The task-level size of a Fargate task.
fn check_size(template: &Template) -> Result<(), ApiError> {
    let cpu = template.cpu.ok_or_else(|| {
        ApiError::client("Fargate requires that 'cpu' be defined at the task level.")
    })?;
    let memory = template.memory.ok_or_else(|| {
        ApiError::client("Fargate requires that 'memory' be defined at the task level.")
    })?;
    if sizes::fargate_has(cpu, memory) {
        return Ok(());
    }
    Err(messages::task_definition::no_fargate_configuration())
}

/// # Errors
/// `ClientException` that names the first thing that Fargate does not have.
pub(super) fn check_fargate(template: &Template) -> Result<(), ApiError> {
    check_size(template)?;
    if template.network() != NetworkMode::Awsvpc {
        return Err(ApiError::client(
            "Fargate only supports network mode ‘awsvpc’.",
        ));
    }
    if template.pid_mode == Some(SharingMode::Host) {
        return Err(ApiError::client(
            "Tasks using the Fargate launch type do not support pidMode 'host'. The supported \
             value for pidMode is 'task'.",
        ));
    }
    let refuse = |what: String| Err(ApiError::client(format!("{what} on Fargate.")));
    if template.inference_accelerators.is_some() {
        return refuse("inferenceAccelerators are not supported".into());
    }
    if template.trusted_execution.is_some() {
        return refuse("trustedExecutionConfiguration is not supported".into());
    }
    if template.ipc_mode.is_some() {
        return refuse("ipcMode is not supported".into());
    }
    if !template.placement_constraints.is_empty() {
        return refuse("Placement constraints are not supported".into());
    }
    for volume in &template.volumes {
        let what = match volume.kind {
            VolumeKind::Host { .. } | VolumeKind::Docker(_) => {
                "host.sourcePath and dockerVolumeConfiguration are not supported"
            }
            VolumeKind::Fsx(_) => "fsxWindowsFileServerVolumeConfiguration is not supported",
            VolumeKind::Scratch { .. }
            | VolumeKind::Efs(_)
            | VolumeKind::S3Files(_)
            | VolumeKind::ConfiguredAtLaunch => continue,
        };
        return refuse(format!("Volume '{}': {what}", volume.name));
    }
    template
        .containers
        .iter()
        .try_for_each(|c| check_fargate_container(template, c))
}

fn check_fargate_container(
    template: &Template,
    container: &ContainerDefinition,
) -> Result<(), ApiError> {
    if container.image.contains(".dkr.ecr.") && template.execution_role.is_none() {
        return Err(ApiError::client(
            "Fargate requires task definition to have execution role ARN to support ECR images.",
        ));
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
    let linux = container.linux_parameters.as_ref();
    match absent_setting(container).or_else(|| linux.and_then(absent_linux_parameter)) {
        None => Ok(()),
        Some(what) => Err(absent(container, what)),
    }
}

fn absent(container: &ContainerDefinition, what: &str) -> ApiError {
    ApiError::client(format!(
        "Container '{}': {what} is not supported on Fargate.",
        container.name
    ))
}

fn check_log(template: &Template, container: &ContainerDefinition) -> Result<(), ApiError> {
    let Some(log) = &container.log else {
        return Ok(());
    };
    if !["awslogs", "splunk", "awsfirelens"].contains(&log.driver.as_str()) {
        return Err(absent(container, &format!("log driver {}", log.driver)));
    }
    if log.driver != "awslogs" {
        return Ok(());
    }
    if template.execution_role.is_none() {
        return Err(ApiError::client(
            "Fargate requires task definition to have execution role ARN to support log driver \
             awslogs.",
        ));
    }
    // Without a prefix a stream bears the id that a container engine gave: Fargate shows none.
    let prefixed = log
        .options
        .as_ref()
        .is_some_and(|options| options.contains_key("awslogs-stream-prefix"));
    if prefixed {
        return Ok(());
    }
    Err(ApiError::client(
        "Log driver awslogs requires options: awslogs-stream-prefix on Fargate.",
    ))
}

/// The first setting that Fargate has not, in the definition's order.
fn absent_setting(container: &ContainerDefinition) -> Option<&'static str> {
    let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let requires = |kind: Option<&str>| {
        let mut list = container.resource_requirements.iter().flatten();
        list.any(|requirement| kind.is_none_or(|kind| requirement.kind == kind))
    };
    let mut ulimits = container.ulimits.iter().flatten();
    let config_file = container
        .firelens
        .iter()
        .filter_map(|firelens| firelens.options.as_ref()?.get("config-file-type"));
    let checks = [
        (container.privileged == Some(true), "privileged"),
        (
            container.disable_networking == Some(true),
            "disableNetworking",
        ),
        (
            given(&container.docker_security_options),
            "dockerSecurityOptions",
        ),
        (given(&container.credential_specs), "credentialSpecs"),
        (requires(Some("GPU")), "a GPU"),
        (requires(None), "resourceRequirements"),
        (
            ulimits.any(|ulimit| ulimit.name != "nofile"),
            "a ulimit other than nofile",
        ),
        (
            config_file.into_iter().any(|kind| kind != "file"),
            "a FireLens config-file-type other than file",
        ),
    ];
    checks
        .iter()
        .find(|(absent, _)| *absent)
        .map(|(_, what)| *what)
}

fn absent_linux_parameter(linux: &LinuxParameters) -> Option<&'static str> {
    let mut added = linux.capabilities_add.iter().flatten();
    let checks = [
        (linux.devices.is_some(), "linuxParameters.devices"),
        (
            linux.shared_memory_size_mib.is_some(),
            "linuxParameters.sharedMemorySize",
        ),
        (
            linux.max_swap_mib.is_some() || linux.swappiness.is_some(),
            "linuxParameters.maxSwap and swappiness",
        ),
        (
            added.any(|capability| capability != "SYS_PTRACE"),
            "adding a capability other than SYS_PTRACE",
        ),
    ];
    checks
        .iter()
        .find(|(absent, _)| *absent)
        .map(|(_, what)| *what)
}
