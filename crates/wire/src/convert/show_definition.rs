//! A task definition as ECS reads it back.

use super::show_container::{int, key_value, show_container};
use crate::shapes::attribute::Attribute;
use crate::shapes::managed_instances::TrustedExecutionConfiguration;
use crate::shapes::setting::Scope as VolumeScope;
use crate::shapes::task_definition as wire;
use crate::shapes::volume;
use crate::timestamp::Timestamp;
use windlass_model::arn::Scope;
use windlass_model::definition::{
    Compatibility, DefinitionState, NetworkMode, SharingMode, TaskDefinition,
};
use windlass_model::id::Millis;
use windlass_model::status::DefinitionStatus;
use windlass_model::volume::{DockerVolume, EfsVolume, Volume, VolumeKind};

/// One revision and its status.
pub fn show_definition(
    scope: &Scope,
    definition: &TaskDefinition,
    state: &DefinitionState,
) -> wire::TaskDefinition {
    let template = &definition.template;
    wire::TaskDefinition {
        task_definition_arn: Some(scope.definition(&definition.key)),
        container_definitions: Some(template.containers.iter().map(show_container).collect()),
        family: Some(template.family.to_string()),
        task_role_arn: template.task_role.clone(),
        execution_role_arn: template.execution_role.clone(),
        network_mode: template.network_mode.map(network_mode),
        revision: Some(int(definition.key.revision)),
        volumes: Some(template.volumes.iter().map(show_volume).collect()),
        status: Some(match state.status {
            DefinitionStatus::Active => wire::TaskDefinitionStatus::Active,
            DefinitionStatus::Inactive => wire::TaskDefinitionStatus::Inactive,
            DefinitionStatus::DeleteInProgress => wire::TaskDefinitionStatus::DeleteInProgress,
        }),
        requires_attributes: (!template.requires_attributes.is_empty()).then(|| {
            template
                .requires_attributes
                .iter()
                .map(|attribute| Attribute {
                    name: Some(attribute.name.clone()),
                    value: attribute.value.clone(),
                    ..Default::default()
                })
                .collect()
        }),
        placement_constraints: Some(
            template
                .placement_constraints
                .iter()
                .map(|expression| wire::TaskDefinitionPlacementConstraint {
                    r#type: Some(wire::TaskDefinitionPlacementConstraintType::MemberOf),
                    expression: Some(expression.clone()),
                })
                .collect(),
        ),
        compatibilities: Some(template.compatibilities.iter().map(compatibility).collect()),
        ..settings(definition, state)
    }
}

/// Platform, sizes, sharing and dates: the other half of the record.
fn settings(definition: &TaskDefinition, state: &DefinitionState) -> wire::TaskDefinition {
    let template = &definition.template;
    let requires = &template.requires_compatibilities;
    wire::TaskDefinition {
        runtime_platform: template.runtime_platform.as_ref().map(|platform| {
            wire::RuntimePlatform {
                cpu_architecture: platform.cpu_architecture.as_deref().map(Into::into),
                operating_system_family: platform
                    .operating_system_family
                    .as_deref()
                    .map(Into::into),
            }
        }),
        requires_compatibilities: (!requires.is_empty())
            .then(|| requires.iter().map(compatibility).collect()),
        cpu: template.cpu.map(|units| units.to_string()),
        memory: template.memory.map(|mib| mib.to_string()),
        pid_mode: template.pid_mode.map(|mode| match mode {
            SharingMode::Task => wire::PidMode::Task,
            SharingMode::Host | SharingMode::None => wire::PidMode::Host,
        }),
        ipc_mode: template.ipc_mode.map(|mode| match mode {
            SharingMode::Host => wire::IpcMode::Host,
            SharingMode::Task => wire::IpcMode::Task,
            SharingMode::None => wire::IpcMode::None,
        }),
        proxy_configuration: template
            .proxy
            .as_ref()
            .map(|proxy| wire::ProxyConfiguration {
                r#type: proxy.kind.as_deref().map(Into::into),
                container_name: Some(proxy.container.clone()),
                properties: proxy
                    .properties
                    .as_ref()
                    .map(|properties| properties.iter().map(key_value).collect()),
            }),
        registered_at: Some(time(definition.registered_at)),
        deregistered_at: state.deregistered_at.map(time),
        delete_requested_at: state.delete_requested_at.map(time),
        registered_by: Some(definition.registered_by.clone()),
        ephemeral_storage: template
            .ephemeral_storage_gib
            .map(|size| wire::EphemeralStorage {
                size_in_gib: Some(int(size)),
            }),
        enable_fault_injection: template.enable_fault_injection,
        trusted_execution_configuration: template.trusted_execution.as_ref().map(|given| {
            TrustedExecutionConfiguration {
                isolation_mode: Some(given.isolation_mode.as_str().into()),
                attestation_policy: given.attestation_policy.clone(),
            }
        }),
        ..Default::default()
    }
}

pub(super) fn time(at: Millis) -> Timestamp {
    Timestamp(at.0)
}

fn network_mode(mode: NetworkMode) -> wire::NetworkMode {
    match mode {
        NetworkMode::Bridge => wire::NetworkMode::Bridge,
        NetworkMode::Host => wire::NetworkMode::Host,
        NetworkMode::Awsvpc => wire::NetworkMode::Awsvpc,
        NetworkMode::None => wire::NetworkMode::None,
    }
}

fn compatibility(given: &Compatibility) -> wire::Compatibility {
    match given {
        Compatibility::Ec2 => wire::Compatibility::Ec2,
        Compatibility::Fargate => wire::Compatibility::Fargate,
        Compatibility::External => wire::Compatibility::External,
        Compatibility::ManagedInstances => wire::Compatibility::ManagedInstances,
    }
}

fn show_volume(given: &Volume) -> volume::Volume {
    let mut shown = volume::Volume {
        name: Some(given.name.to_string()),
        ..Default::default()
    };
    match &given.kind {
        VolumeKind::Scratch { host_given } => {
            shown.host = host_given.then(volume::HostVolumeProperties::default);
        }
        VolumeKind::Host { source_path } => {
            shown.host = Some(volume::HostVolumeProperties {
                source_path: Some(source_path.clone()),
            });
        }
        VolumeKind::Docker(docker) => {
            shown.docker_volume_configuration = Some(docker_volume(docker));
        }
        VolumeKind::Efs(efs) => shown.efs_volume_configuration = Some(efs_volume(efs)),
        VolumeKind::Fsx(fsx) => {
            shown.fsx_windows_file_server_volume_configuration =
                Some(volume::FSxWindowsFileServerVolumeConfiguration {
                    file_system_id: Some(fsx.file_system_id.clone()),
                    root_directory: Some(fsx.root_directory.clone()),
                    authorization_config: Some(volume::FSxWindowsFileServerAuthorizationConfig {
                        credentials_parameter: Some(fsx.credentials_parameter.clone()),
                        domain: Some(fsx.domain.clone()),
                    }),
                });
        }
        VolumeKind::S3Files(s3) => {
            shown.s3files_volume_configuration = Some(volume::S3FilesVolumeConfiguration {
                file_system_arn: Some(s3.file_system_arn.clone()),
                root_directory: s3.root_directory.clone(),
                transit_encryption_port: s3.transit_encryption_port,
                access_point_arn: s3.access_point_arn.clone(),
            });
        }
        VolumeKind::ConfiguredAtLaunch => shown.configured_at_launch = Some(true),
    }
    shown
}

fn docker_volume(given: &DockerVolume) -> volume::DockerVolumeConfiguration {
    volume::DockerVolumeConfiguration {
        scope: given.shared.map(|shared| match shared {
            true => VolumeScope::Shared,
            false => VolumeScope::Task,
        }),
        autoprovision: given.autoprovision,
        driver: given.driver.clone(),
        driver_opts: given.driver_opts.clone(),
        labels: given.labels.clone(),
    }
}

fn efs_volume(given: &EfsVolume) -> volume::EFSVolumeConfiguration {
    let authorized = given.access_point_id.is_some() || given.iam.is_some();
    volume::EFSVolumeConfiguration {
        file_system_id: Some(given.file_system_id.clone()),
        root_directory: given
            .root_directory
            .clone()
            .or_else(|| given.access_point_id.is_none().then(|| String::from("/"))),
        transit_encryption: given.transit_encryption.as_deref().map(Into::into),
        transit_encryption_port: given.transit_encryption_port,
        authorization_config: authorized.then(|| volume::EFSAuthorizationConfig {
            access_point_id: given.access_point_id.clone(),
            iam: given.iam.as_deref().map(Into::into),
        }),
    }
}
