//! A container definition as ECS reads it back: lists that ECS always emits are emitted, what was
//! not given stays absent, so that clients which compare find no difference.

use crate::shapes::container_definition as wire;
use crate::shapes::gpu::{NvidiaMpsAllocation, SharingStrategy};
use crate::shapes::linux_parameters as linux;
use crate::shapes::log_configuration as log;
use crate::shapes::port;
use crate::shapes::resource_requirement::ResourceRequirement;
use crate::shapes::volume::{MountPoint, VolumeFrom};
use windlass_model::container::{
    Condition, ContainerDefinition, HealthCheck, KeyValue, LinuxParameters, LogConfiguration,
    PortMapping, Secret,
};
use windlass_model::resources::Protocol;

pub(super) fn show_container(given: &ContainerDefinition) -> wire::ContainerDefinition {
    wire::ContainerDefinition {
        name: Some(given.name.to_string()),
        image: Some(given.image.clone()),
        repository_credentials: given.repository_credentials.as_ref().map(|parameter| {
            wire::RepositoryCredentials {
                credentials_parameter: Some(parameter.clone()),
            }
        }),
        cpu: Some(int(given.cpu)),
        memory: given.memory.map(int),
        memory_reservation: given.memory_reservation.map(int),
        links: given.links.clone(),
        port_mappings: Some(given.port_mappings.iter().map(port_mapping).collect()),
        essential: Some(given.essential),
        restart_policy: given
            .restart_policy
            .as_ref()
            .map(|policy| wire::ContainerRestartPolicy {
                enabled: Some(policy.enabled),
                ignored_exit_codes: policy.ignored_exit_codes.clone(),
                restart_attempt_period: policy.restart_attempt_period_s.map(int),
            }),
        entry_point: given.entry_point.clone(),
        command: given.command.clone(),
        environment: Some(given.environment.iter().map(key_value).collect()),
        environment_files: some(environment_files(&given.environment_files)),
        mount_points: Some(
            given
                .mount_points
                .iter()
                .map(|mount| MountPoint {
                    source_volume: Some(mount.source_volume.clone()),
                    container_path: Some(mount.container_path.clone()),
                    read_only: mount.read_only,
                })
                .collect(),
        ),
        volumes_from: Some(
            given
                .volumes_from
                .iter()
                .map(|from| VolumeFrom {
                    source_container: Some(from.source_container.to_string()),
                    read_only: from.read_only,
                })
                .collect(),
        ),
        linux_parameters: given.linux_parameters.as_ref().map(linux_parameters),
        secrets: some(secrets(&given.secrets)),
        depends_on: some(given.depends_on.iter().map(dependency).collect()),
        ..settings(given)
    }
}

/// How its process is set up, logged and checked: the other half of the record.
fn settings(given: &ContainerDefinition) -> wire::ContainerDefinition {
    wire::ContainerDefinition {
        start_timeout: given.start_timeout_s.map(int),
        stop_timeout: given.stop_timeout_s.map(int),
        version_consistency: given.version_consistency.as_deref().map(Into::into),
        hostname: given.hostname.clone(),
        user: given.user.clone(),
        working_directory: given.working_directory.clone(),
        disable_networking: given.disable_networking,
        privileged: given.privileged,
        readonly_root_filesystem: given.readonly_root_filesystem,
        dns_servers: given.dns_servers.clone(),
        dns_search_domains: given.dns_search_domains.clone(),
        extra_hosts: given.extra_hosts.as_ref().map(|hosts| {
            hosts
                .iter()
                .map(|host| wire::HostEntry {
                    hostname: Some(host.hostname.clone()),
                    ip_address: Some(host.ip_address.clone()),
                })
                .collect()
        }),
        docker_security_options: given.docker_security_options.clone(),
        interactive: given.interactive,
        pseudo_terminal: given.pseudo_terminal,
        docker_labels: given.docker_labels.clone(),
        ulimits: given.ulimits.as_ref().map(|ulimits| {
            ulimits
                .iter()
                .map(|ulimit| wire::Ulimit {
                    name: Some(ulimit.name.as_str().into()),
                    soft_limit: i32::try_from(ulimit.soft).ok(),
                    hard_limit: i32::try_from(ulimit.hard).ok(),
                })
                .collect()
        }),
        log_configuration: given.log.as_ref().map(log_configuration),
        health_check: given.health_check.as_ref().map(health_check),
        system_controls: Some(
            given
                .system_controls
                .iter()
                .map(|control| wire::SystemControl {
                    namespace: Some(control.name.clone()),
                    value: Some(control.value.clone()),
                })
                .collect(),
        ),
        resource_requirements: given
            .resource_requirements
            .as_ref()
            .map(|given| given.iter().map(resource_requirement).collect()),
        firelens_configuration: given.firelens.as_ref().map(|firelens| {
            log::FirelensConfiguration {
                r#type: Some(firelens.kind.as_str().into()),
                options: firelens.options.clone(),
            }
        }),
        credential_specs: given.credential_specs.clone(),
        ..Default::default()
    }
}

/// Amounts were read from 32 bits with a sign: they fit.
pub(super) fn int(amount: u32) -> i32 {
    i32::try_from(amount).unwrap_or(i32::MAX)
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

pub(super) fn key_value(pair: &KeyValue) -> wire::KeyValuePair {
    wire::KeyValuePair {
        name: Some(pair.name.clone()),
        value: Some(pair.value.clone()),
    }
}

pub(super) fn environment_files(given: &[String]) -> Vec<wire::EnvironmentFile> {
    given
        .iter()
        .map(|value| wire::EnvironmentFile {
            value: Some(value.clone()),
            r#type: Some(wire::EnvironmentFileType::S3),
        })
        .collect()
}

pub(super) fn resource_requirement(
    given: &windlass_model::container::ResourceRequirement,
) -> ResourceRequirement {
    ResourceRequirement {
        r#type: Some(given.kind.as_str().into()),
        value: given.value.clone(),
        sharing_strategy: given.sharing.as_ref().map(|share| SharingStrategy {
            nvidia_mps: Some(NvidiaMpsAllocation {
                memory: Some(int(share.memory_mib)),
                max_compute_percent: share.compute_percent_max.map(int),
            }),
        }),
    }
}

fn port_mapping(given: &PortMapping) -> port::PortMapping {
    port::PortMapping {
        container_port: given.container_port.map(i32::from),
        host_port: given.host_port.map(i32::from),
        protocol: Some(protocol(given.protocol)),
        name: given.name.clone(),
        app_protocol: given.app_protocol.as_deref().map(Into::into),
        container_port_range: given
            .container_port_range
            .map(|(first, last)| format!("{first}-{last}")),
    }
}

pub(super) fn protocol(given: Protocol) -> port::TransportProtocol {
    match given {
        Protocol::Tcp => port::TransportProtocol::Tcp,
        Protocol::Udp => port::TransportProtocol::Udp,
    }
}

fn secrets(given: &[Secret]) -> Vec<wire::Secret> {
    given
        .iter()
        .map(|secret| wire::Secret {
            name: Some(secret.name.clone()),
            value_from: Some(secret.value_from.clone()),
        })
        .collect()
}

fn dependency(given: &windlass_model::container::Dependency) -> wire::ContainerDependency {
    wire::ContainerDependency {
        container_name: Some(given.container.to_string()),
        condition: Some(match given.condition {
            Condition::Start => wire::ContainerCondition::Start,
            Condition::Complete => wire::ContainerCondition::Complete,
            Condition::Success => wire::ContainerCondition::Success,
            Condition::Healthy => wire::ContainerCondition::Healthy,
        }),
    }
}

fn log_configuration(given: &LogConfiguration) -> log::LogConfiguration {
    log::LogConfiguration {
        log_driver: Some(given.driver.as_str().into()),
        options: given.options.clone(),
        secret_options: given.secret_options.as_ref().map(|given| secrets(given)),
    }
}

fn health_check(given: &HealthCheck) -> wire::HealthCheck {
    wire::HealthCheck {
        command: Some(given.command.clone()),
        interval: Some(int(given.interval_s)),
        timeout: Some(int(given.timeout_s)),
        retries: Some(int(given.retries)),
        start_period: given.start_period_s.map(int),
    }
}

fn linux_parameters(given: &LinuxParameters) -> linux::LinuxParameters {
    let devices = given.devices.as_ref().map(|devices| {
        devices
            .iter()
            .map(|device| linux::Device {
                host_path: Some(device.host_path.clone()),
                container_path: device.container_path.clone(),
                permissions: device
                    .permissions
                    .as_ref()
                    .map(|given| given.iter().map(|p| p.as_str().into()).collect()),
            })
            .collect()
    });
    let tmpfs = given.tmpfs.as_ref().map(|tmpfs| {
        tmpfs
            .iter()
            .map(|tmpfs| linux::Tmpfs {
                container_path: Some(tmpfs.container_path.clone()),
                size: Some(int(tmpfs.size_mib)),
                mount_options: tmpfs.mount_options.clone(),
            })
            .collect()
    });
    linux::LinuxParameters {
        capabilities: given.capabilities_given.then(|| linux::KernelCapabilities {
            add: given.capabilities_add.clone(),
            drop: given.capabilities_drop.clone(),
        }),
        devices,
        init_process_enabled: given.init_process_enabled,
        shared_memory_size: given.shared_memory_size_mib.map(int),
        tmpfs,
        max_swap: given.max_swap_mib.map(int),
        swappiness: given.swappiness.map(int),
    }
}
