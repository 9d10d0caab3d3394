//! One container definition, decoded and validated with ECS's own errors. Empty strings and most
//! empty lists count as absent. Those are read back that clients tell from absent ones: Terraform
//! would plan a replacement for ever.

use super::check_network_mode::check_network_mode;
use super::read_environment::{check_secret_names, environment_files, key_values, secrets};
use super::read_linux::linux_parameters;
use super::read_logging::{firelens, log_configuration};
use super::read_port::port_mappings;
use crate::error::ApiError;
use crate::messages;
use crate::shapes::container_definition as wire;
use windlass_model::container::{
    Condition, ContainerDefinition, Dependency, GpuShare, HealthCheck, HostEntry, KeyValue,
    MountPoint, ResourceRequirement, RestartPolicy, Ulimit, VolumeFrom,
};
use windlass_model::definition::NetworkMode;
use windlass_model::id::Name;

/// What Docker, and so ECS, accepts as the smallest memory limit, in MiB.
pub(super) const MEMORY_MIB_MIN: u32 = 4;
/// Seconds between restarts, at least and at most. Source: ECS API.
const RESTART_ATTEMPT_PERIOD_S: (u32, u32) = (60, 1800);

/// What a container's settings depend on.
pub(super) struct Surroundings<'a> {
    /// The account that registers.
    pub account: &'a str,
    pub network: NetworkMode,
    /// Whether the task has memory of its own.
    pub task_memory: bool,
    /// Whether the definition is to run on Fargate.
    pub fargate: bool,
}

pub(super) fn container(
    given: wire::ContainerDefinition,
    within: &Surroundings,
) -> Result<ContainerDefinition, ApiError> {
    check_network_mode(&given, within.network)?;
    let name = name(given.name)?;
    let image = text(given.image).ok_or_else(messages::container::no_image)?;
    let (memory, memory_reservation) = memory(
        &name,
        given.memory,
        given.memory_reservation,
        within.task_memory,
    )?;
    let links = list(given.links);
    let container = ContainerDefinition {
        cpu: amount(&name, "cpu", given.cpu)?.unwrap_or(0),
        port_mappings: port_mappings(&name, given.port_mappings, within.network)?,
        restart_policy: given
            .restart_policy
            .map(|given| restart_policy(&name, given))
            .transpose()?,
        environment: key_values(&name, "environment", given.environment)?,
        environment_files: environment_files(given.environment_files)?,
        mount_points: mount_points(&name, given.mount_points)?,
        volumes_from: volumes_from(&name, given.volumes_from)?,
        linux_parameters: given
            .linux_parameters
            .map(|given| linux_parameters(&name, given))
            .transpose()?,
        secrets: secrets(&name, "secrets", within.account, given.secrets)?,
        depends_on: depends_on(&name, given.depends_on)?,
        start_timeout_s: amount(&name, "startTimeout", given.start_timeout)?,
        stop_timeout_s: amount(&name, "stopTimeout", given.stop_timeout)?,
        extra_hosts: extra_hosts(given.extra_hosts),
        ulimits: ulimits(&name, given.ulimits)?,
        log: given
            .log_configuration
            .map(|given| log_configuration(&name, within, given))
            .transpose()?,
        health_check: given
            .health_check
            .map(|given| health_check(&name, given))
            .transpose()?,
        system_controls: system_controls(given.system_controls),
        resource_requirements: given
            .resource_requirements
            .filter(|given| !given.is_empty())
            .map(resource_requirements),
        firelens: given.firelens_configuration.map(firelens),
        repository_credentials: given
            .repository_credentials
            .and_then(|credentials| credentials.credentials_parameter),
        essential: given.essential.unwrap_or(true),
        entry_point: list(given.entry_point),
        command: list(given.command),
        version_consistency: given
            .version_consistency
            .map(|value| value.as_str().to_owned()),
        hostname: text(given.hostname),
        user: text(given.user),
        working_directory: text(given.working_directory),
        disable_networking: given.disable_networking,
        privileged: given.privileged,
        readonly_root_filesystem: given.readonly_root_filesystem,
        dns_servers: list(given.dns_servers),
        dns_search_domains: list(given.dns_search_domains),
        docker_security_options: list(given.docker_security_options),
        interactive: given.interactive,
        pseudo_terminal: given.pseudo_terminal,
        docker_labels: given.docker_labels,
        credential_specs: list(given.credential_specs),
        name,
        image,
        memory,
        memory_reservation,
        links,
    };
    check_secret_names(&container)?;
    Ok(container)
}

fn extra_hosts(given: Option<Vec<wire::HostEntry>>) -> Option<Vec<HostEntry>> {
    let entry = |host: wire::HostEntry| HostEntry {
        hostname: host.hostname.unwrap_or_default(),
        ip_address: host.ip_address.unwrap_or_default(),
    };
    list(given).map(|hosts| hosts.into_iter().map(entry).collect())
}

fn system_controls(given: Option<Vec<wire::SystemControl>>) -> Vec<KeyValue> {
    let control = |control: wire::SystemControl| KeyValue {
        name: control.namespace.unwrap_or_default(),
        value: control.value.unwrap_or_default(),
    };
    given.unwrap_or_default().into_iter().map(control).collect()
}

fn name(given: Option<String>) -> Result<Name, ApiError> {
    let text = given
        .filter(|name| !name.is_empty())
        .ok_or_else(messages::container::no_name)?;
    Name::new(&text).map_err(|_| messages::container::name_invalid())
}

pub(super) fn list<T>(given: Option<Vec<T>>) -> Option<Vec<T>> {
    given.filter(|list| !list.is_empty())
}

pub(super) fn text(given: Option<String>) -> Option<String> {
    given.filter(|text| !text.is_empty())
}

pub(super) fn amount(
    container: &Name,
    field: &str,
    given: Option<i32>,
) -> Result<Option<u32>, ApiError> {
    given
        .map(|amount| {
            u32::try_from(amount).map_err(|_| {
                ApiError::client(format!(
                    "Invalid setting for container '{container}'. '{field}' must not be negative."
                ))
            })
        })
        .transpose()
}

fn memory(
    container: &Name,
    hard: Option<i32>,
    soft: Option<i32>,
    task_memory: bool,
) -> Result<(Option<u32>, Option<u32>), ApiError> {
    let hard = amount(container, "memory", hard)?;
    let soft = amount(container, "memoryReservation", soft)?;
    if hard.is_none() && soft.is_none() && !task_memory {
        return Err(messages::container::no_memory());
    }
    if hard.is_some_and(|mib| mib < MEMORY_MIB_MIN) || soft.is_some_and(|mib| mib < MEMORY_MIB_MIN)
    {
        return Err(ApiError::client(format!(
            "Invalid setting for container '{container}'. The memory limit must be at least \
             {MEMORY_MIB_MIN} MiB."
        )));
    }
    if let (Some(hard), Some(soft)) = (hard, soft)
        && soft > hard
    {
        return Err(messages::container::memory_below_reservation());
    }
    Ok((hard, soft))
}

fn restart_policy(
    container: &Name,
    given: wire::ContainerRestartPolicy,
) -> Result<RestartPolicy, ApiError> {
    let invalid = |why: &str| {
        ApiError::client(format!(
            "Invalid restart policy of container '{container}': {why}"
        ))
    };
    let enabled = given
        .enabled
        .ok_or_else(|| invalid("'enabled' is required."))?;
    let (min, max) = RESTART_ATTEMPT_PERIOD_S;
    let period = given
        .restart_attempt_period
        .map(|period| {
            let period = u32::try_from(period).ok();
            period
                .filter(|period| (min..=max).contains(period))
                .ok_or_else(|| {
                    messages::container::restart_attempt_period(container.as_str(), min, max)
                })
        })
        .transpose()?;
    if given
        .ignored_exit_codes
        .as_ref()
        .is_some_and(|codes| codes.len() > 50)
    {
        return Err(invalid("at most 50 exit codes can be ignored."));
    }
    Ok(RestartPolicy {
        enabled,
        ignored_exit_codes: given.ignored_exit_codes,
        restart_attempt_period_s: period,
    })
}

fn mount_points(
    container: &Name,
    given: Option<Vec<crate::shapes::volume::MountPoint>>,
) -> Result<Vec<MountPoint>, ApiError> {
    given
        .unwrap_or_default()
        .into_iter()
        .map(|given| {
            let container_path = given.container_path.unwrap_or_default();
            if container_path.is_empty() || container_path.contains('\0') {
                return Err(ApiError::client(format!(
                    "Container '{container}': a mount point's containerPath is empty."
                )));
            }
            Ok(MountPoint {
                source_volume: given.source_volume.unwrap_or_default(),
                container_path,
                read_only: given.read_only,
            })
        })
        .collect()
}

fn volumes_from(
    container: &Name,
    given: Option<Vec<crate::shapes::volume::VolumeFrom>>,
) -> Result<Vec<VolumeFrom>, ApiError> {
    given
        .unwrap_or_default()
        .into_iter()
        .map(|given| {
            Ok(VolumeFrom {
                source_container: sibling(container, "volumesFrom", given.source_container)?,
                read_only: given.read_only,
            })
        })
        .collect()
}

fn sibling(container: &Name, field: &str, given: Option<String>) -> Result<Name, ApiError> {
    Name::new(given.as_deref().unwrap_or("")).map_err(|_| {
        ApiError::client(format!(
            "Container '{container}': '{field}' names no container: {:?}",
            given.unwrap_or_default()
        ))
    })
}

fn depends_on(
    container: &Name,
    given: Option<Vec<wire::ContainerDependency>>,
) -> Result<Vec<Dependency>, ApiError> {
    given
        .unwrap_or_default()
        .into_iter()
        .map(|given| {
            let condition = match given.condition {
                Some(wire::ContainerCondition::Start) => Condition::Start,
                Some(wire::ContainerCondition::Complete) => Condition::Complete,
                Some(wire::ContainerCondition::Success) => Condition::Success,
                Some(wire::ContainerCondition::Healthy) => Condition::Healthy,
                other => {
                    return Err(ApiError::client(format!(
                        "Container '{container}': dependsOn condition '{}' should be one of \
                         [START, COMPLETE, SUCCESS, HEALTHY].",
                        other.as_ref().map_or("", |other| other.as_str())
                    )));
                }
            };
            Ok(Dependency {
                container: sibling(container, "dependsOn", given.container_name)?,
                condition,
            })
        })
        .collect()
}

fn ulimits(
    container: &Name,
    given: Option<Vec<wire::Ulimit>>,
) -> Result<Option<Vec<Ulimit>>, ApiError> {
    let read = |given: wire::Ulimit| {
        let name = match given.name {
            Some(wire::UlimitName::Other(other)) => {
                return Err(ApiError::client(format!(
                    "Container '{container}': '{other}' is not a ulimit."
                )));
            }
            Some(name) => name.as_str().to_owned(),
            None => String::new(),
        };
        let (soft, hard) = (
            given.soft_limit.unwrap_or_default(),
            given.hard_limit.unwrap_or_default(),
        );
        if hard < -1 || soft < -1 {
            return Err(ApiError::client(format!(
                "Container '{container}': a limit of ulimit '{name}' must be -1, which is \
                 unlimited, or more."
            )));
        }
        if hard >= 0 && (soft > hard || soft < 0) {
            return Err(messages::container::ulimit_above_hard(&name));
        }
        Ok(Ulimit {
            name,
            soft: soft.into(),
            hard: hard.into(),
        })
    };
    given
        .map(|given| given.into_iter().map(read).collect())
        .transpose()
}

fn health_check(container: &Name, given: wire::HealthCheck) -> Result<HealthCheck, ApiError> {
    let command = given.command.unwrap_or_default();
    if command.is_empty() {
        return Err(ApiError::client(format!(
            "Container '{container}': the health check command must not be empty."
        )));
    }
    let between = |field: &str, given: Option<i32>, min: u32, max: u32| {
        let Some(value) = given else { return Ok(None) };
        match u32::try_from(value) {
            Ok(value) if value > max => Err(messages::container::health_check_above(
                field,
                max,
                container.as_str(),
            )),
            Ok(value) if value >= min => Ok(Some(value)),
            _ => Err(messages::container::health_check_below(
                field,
                min,
                container.as_str(),
            )),
        }
    };
    Ok(HealthCheck {
        command,
        interval_s: between("interval", given.interval, 5, 300)?.unwrap_or(30),
        timeout_s: between("timeout", given.timeout, 2, 60)?.unwrap_or(5),
        retries: between("retries", given.retries, 1, 10)?.unwrap_or(3),
        start_period_s: between("startPeriod", given.start_period, 0, 300)?,
    })
}

pub(super) fn resource_requirements(
    given: Vec<crate::shapes::resource_requirement::ResourceRequirement>,
) -> Vec<ResourceRequirement> {
    given
        .into_iter()
        .map(|given| ResourceRequirement {
            kind: given
                .r#type
                .map(|kind| kind.as_str().to_owned())
                .unwrap_or_default(),
            value: text(given.value),
            sharing: given
                .sharing_strategy
                .and_then(|strategy| strategy.nvidia_mps)
                .map(|share| GpuShare {
                    memory_mib: share.memory.map_or(0, i32::unsigned_abs),
                    compute_percent_max: share.max_compute_percent.map(i32::unsigned_abs),
                }),
        })
        .collect()
}
