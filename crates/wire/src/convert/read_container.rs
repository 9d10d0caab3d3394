//! One container definition, decoded and validated with ECS's own errors. Empty strings and empty
//! lists count as absent, as they do in ECS.

use super::read_linux::linux_parameters;
use super::read_port::port_mappings;
use crate::error::ApiError;
use crate::shapes::container_definition as wire;
use std::collections::BTreeSet;
use windlass_model::container::{
    Condition, ContainerDefinition, Dependency, Firelens, GpuShare, HealthCheck, HostEntry,
    KeyValue, LogConfiguration, MountPoint, ResourceRequirement, RestartPolicy, Secret, Ulimit,
    VolumeFrom,
};
use windlass_model::definition::NetworkMode;
use windlass_model::id::Name;

/// What Docker, and so ECS, accepts as the smallest memory limit, in MiB.
pub(super) const MEMORY_MIB_MIN: u32 = 4;
/// Environment files of one container at most. Source: ECS API.
const ENVIRONMENT_FILES_MAX: usize = 10;

pub(super) fn container(
    given: wire::ContainerDefinition,
    network: NetworkMode,
    task_memory: bool,
) -> Result<ContainerDefinition, ApiError> {
    refuse_in_network_mode(&given, network)?;
    let name = name(given.name)?;
    let image = given
        .image
        .filter(|image| !image.is_empty())
        .ok_or_else(|| ApiError::client("Container.image should not be null or empty."))?;
    let (memory, memory_reservation) =
        memory(&name, given.memory, given.memory_reservation, task_memory)?;
    let links = list(given.links);
    let container = ContainerDefinition {
        cpu: amount(&name, "cpu", given.cpu)?.unwrap_or(0),
        port_mappings: port_mappings(&name, given.port_mappings, network)?,
        restart_policy: given
            .restart_policy
            .map(|given| restart_policy(&name, given))
            .transpose()?,
        environment: key_values(&name, "environment", given.environment)?,
        environment_files: environment_files(&name, given.environment_files)?,
        mount_points: mount_points(&name, given.mount_points)?,
        volumes_from: volumes_from(&name, given.volumes_from)?,
        linux_parameters: given
            .linux_parameters
            .map(|given| linux_parameters(&name, given))
            .transpose()?,
        secrets: secrets(&name, "secrets", given.secrets)?,
        depends_on: depends_on(&name, given.depends_on)?,
        start_timeout_s: amount(&name, "startTimeout", given.start_timeout)?,
        stop_timeout_s: amount(&name, "stopTimeout", given.stop_timeout)?,
        extra_hosts: extra_hosts(given.extra_hosts),
        ulimits: ulimits(&name, given.ulimits)?,
        log: given
            .log_configuration
            .map(|given| log_configuration(&name, given))
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
        docker_labels: given.docker_labels.filter(|labels| !labels.is_empty()),
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

fn firelens(given: crate::shapes::log_configuration::FirelensConfiguration) -> Firelens {
    Firelens {
        kind: given
            .r#type
            .map(|kind| kind.as_str().to_owned())
            .unwrap_or_default(),
        options: given.options,
    }
}

fn name(given: Option<String>) -> Result<Name, ApiError> {
    let text = given
        .filter(|name| !name.is_empty())
        .ok_or_else(|| ApiError::client("Container.name should not be null or empty."))?;
    Name::new(&text).map_err(|_| {
        ApiError::client(format!(
            "Container.name contains invalid characters: '{text}'. It has 1 to 255 letters, \
             digits, hyphens and underscores."
        ))
    })
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
    let invalid = |why: &str| {
        Err(ApiError::client(format!(
            "Invalid setting for container '{container}'. {why}"
        )))
    };
    let hard = amount(container, "memory", hard)?;
    let soft = amount(container, "memoryReservation", soft)?;
    if hard.is_none() && soft.is_none() && !task_memory {
        return invalid("At least one of 'memory' or 'memoryReservation' must be specified.");
    }
    if hard.is_some_and(|mib| mib < MEMORY_MIB_MIN) || soft.is_some_and(|mib| mib < MEMORY_MIB_MIN)
    {
        return invalid("The memory limit must be at least 4 MiB.");
    }
    if let (Some(hard), Some(soft)) = (hard, soft)
        && soft >= hard
    {
        return invalid("'memory' must be greater than 'memoryReservation'.");
    }
    Ok((hard, soft))
}

fn refuse_in_network_mode(
    given: &wire::ContainerDefinition,
    network: NetworkMode,
) -> Result<(), ApiError> {
    let mode = match network {
        NetworkMode::Bridge => return Ok(()),
        NetworkMode::Awsvpc => "awsvpc",
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
    };
    let has = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let refuse = |what: &str| {
        Err(ApiError::client(format!(
            "{what} are not supported when networkMode={mode}"
        )))
    };
    if has(&given.links) {
        return refuse("Links");
    }
    if network == NetworkMode::None && given.port_mappings.as_ref().is_some_and(|p| !p.is_empty()) {
        return refuse("Port mappings");
    }
    if network != NetworkMode::Awsvpc {
        return Ok(());
    }
    let refuse = |what: &str| {
        Err(ApiError::client(format!(
            "{what} are not supported on container when networkMode=awsvpc"
        )))
    };
    if has(&given.dns_servers) {
        return refuse("DNS servers");
    }
    if has(&given.dns_search_domains) {
        return refuse("DNS search domains");
    }
    if given
        .extra_hosts
        .as_ref()
        .is_some_and(|hosts| !hosts.is_empty())
    {
        return refuse("Extra hosts");
    }
    if given.hostname.as_ref().is_some_and(|name| !name.is_empty()) {
        return Err(ApiError::client(
            "Hostname is not supported on container when networkMode=awsvpc",
        ));
    }
    Ok(())
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
    let period = given
        .restart_attempt_period
        .map(|period| {
            u32::try_from(period)
                .ok()
                .filter(|period| (60..=1800).contains(period))
                .ok_or_else(|| {
                    invalid("'restartAttemptPeriod' must be between 60 and 1800 seconds.")
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

pub(super) fn key_values(
    container: &Name,
    field: &str,
    given: Option<Vec<wire::KeyValuePair>>,
) -> Result<Vec<KeyValue>, ApiError> {
    given
        .unwrap_or_default()
        .into_iter()
        .map(|pair| {
            let name = pair.name.unwrap_or_default();
            let value = pair.value.unwrap_or_default();
            if name.is_empty() || name.contains('=') {
                return Err(ApiError::client(format!(
                    "Container '{container}': a name in '{field}' is empty or contains '='."
                )));
            }
            if name.contains('\0') || value.contains('\0') {
                return Err(ApiError::client(format!(
                    "Container '{container}': '{field}' {name:?} contains a NUL character."
                )));
            }
            Ok(KeyValue { name, value })
        })
        .collect()
}

/// Objects of S3, by ARN.
pub(super) fn environment_files(
    container: &Name,
    given: Option<Vec<wire::EnvironmentFile>>,
) -> Result<Vec<String>, ApiError> {
    let given = given.unwrap_or_default();
    if given.len() > ENVIRONMENT_FILES_MAX {
        return Err(ApiError::client(format!(
            "Container '{container}' has more than {ENVIRONMENT_FILES_MAX} environment files."
        )));
    }
    let object = |file: wire::EnvironmentFile| {
        let arn = file.value.unwrap_or_default();
        let path = arn.strip_prefix("arn:aws:s3:::").unwrap_or("");
        match path.split_once('/') {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => Ok(arn),
            _ => Err(ApiError::client(format!(
                "Container '{container}': environment file '{}' is not the ARN of an S3 object.",
                crate::check::quoted(&arn)
            ))),
        }
    };
    given.into_iter().map(object).collect()
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

fn secrets(
    container: &Name,
    field: &str,
    given: Option<Vec<wire::Secret>>,
) -> Result<Vec<Secret>, ApiError> {
    given
        .unwrap_or_default()
        .into_iter()
        .map(|secret| {
            let name = secret.name.unwrap_or_default();
            let value_from = secret.value_from.unwrap_or_default();
            if name.is_empty() || name.contains(['=', '\0']) || value_from.is_empty() {
                return Err(ApiError::client(format!(
                    "Container '{container}': each of '{field}' needs a name without '=' and a \
                     valueFrom."
                )));
            }
            Ok(Secret { name, value_from })
        })
        .collect()
}

/// A name is either a secret's or a variable's.
fn check_secret_names(container: &ContainerDefinition) -> Result<(), ApiError> {
    let variables = container.environment.iter().map(|pair| pair.name.as_str());
    let mut taken: BTreeSet<&str> = variables.collect();
    match container
        .secrets
        .iter()
        .find(|secret| !taken.insert(&secret.name))
    {
        None => Ok(()),
        Some(secret) => Err(ApiError::client(format!(
            "The secret name must be unique and not shared with any new or existing environment \
             variables set on the container, such as '{}'.",
            secret.name
        ))),
    }
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
    let Some(given) = list(given) else {
        return Ok(None);
    };
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
            return Err(ApiError::client(format!(
                "Container '{container}': the soft limit of ulimit '{name}' must not exceed its \
                 hard limit."
            )));
        }
        Ok(Ulimit {
            name,
            soft: soft.into(),
            hard: hard.into(),
        })
    };
    given
        .into_iter()
        .map(read)
        .collect::<Result<_, _>>()
        .map(Some)
}

fn log_configuration(
    container: &Name,
    given: crate::shapes::log_configuration::LogConfiguration,
) -> Result<LogConfiguration, ApiError> {
    use crate::shapes::log_configuration::LogDriver;
    let driver = match given.log_driver {
        None => {
            return Err(ApiError::client(format!(
                "Container '{container}': logConfiguration requires a logDriver."
            )));
        }
        Some(LogDriver::Other(other)) => {
            return Err(ApiError::client(format!(
                "Container '{container}': log driver '{other}' is not one of [json-file, syslog, \
                 journald, gelf, fluentd, awslogs, splunk, awsfirelens]."
            )));
        }
        Some(driver) => driver.as_str().to_owned(),
    };
    if driver == "awslogs" {
        let has = |option: &str| {
            given
                .options
                .as_ref()
                .is_some_and(|o| o.contains_key(option))
        };
        if !has("awslogs-group") || !has("awslogs-region") {
            return Err(ApiError::client(
                "Log driver awslogs requires options: awslogs-region, awslogs-group",
            ));
        }
        if has("awslogs-datetime-format") && has("awslogs-multiline-pattern") {
            return Err(ApiError::client(format!(
                "Container '{container}': log driver awslogs takes awslogs-datetime-format or \
                 awslogs-multiline-pattern, not both."
            )));
        }
    }
    Ok(LogConfiguration {
        driver,
        options: given.options.filter(|options| !options.is_empty()),
        secret_options: list(given.secret_options)
            .map(|given| secrets(container, "secretOptions", Some(given)))
            .transpose()?,
    })
}

fn health_check(container: &Name, given: wire::HealthCheck) -> Result<HealthCheck, ApiError> {
    let command = given.command.unwrap_or_default();
    if command.is_empty() {
        return Err(ApiError::client(format!(
            "Container '{container}': the health check command must not be empty."
        )));
    }
    let between = |field: &str, given: Option<i32>, from: u32, to: u32| {
        given
            .map(|value| {
                u32::try_from(value).ok().filter(|v| (from..=to).contains(v)).ok_or_else(|| {
                    ApiError::client(format!(
                        "Container '{container}': health check {field} must be between {from} and \
                         {to}."
                    ))
                })
            })
            .transpose()
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
