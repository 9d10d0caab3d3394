//! Which noun a shared shape belongs to: a shape that several operations use lies in the file of its
//! noun, `crates/wire/src/shapes/<noun>.rs`.
//!
//! A shape without a noun stops the generator, so that a new botocore adds a decision here and no
//! dumping-ground fills up.

use anyhow::{Result, bail};

/// Noun, then the shapes it takes: a whole name, or the beginning of names followed by `*`. A whole
/// name wins over a beginning, and a longer beginning over a shorter one.
const NOUNS: &[(&str, &[&str])] = &[
    ("alarm", &["DeploymentAlarms", "DaemonAlarmConfiguration"]),
    ("attachment", &["Attachment*"]),
    ("attribute", &["Attribute", "TargetType"]),
    (
        "auto_scaling_group",
        &[
            "AutoScalingGroup*",
            "ManagedDraining",
            "ManagedScaling*",
            "ManagedTerminationProtection",
        ],
    ),
    ("capacity_provider", &["CapacityProvider*"]),
    ("cluster", &["Cluster*", "ManagedStorageConfiguration"]),
    ("container", &["Container", "HealthStatus", "ManagedAgent*"]),
    (
        "container_definition",
        &[
            "ContainerCondition",
            "ContainerDefinition",
            "ContainerDependency",
            "ContainerRestartPolicy",
            "EnvironmentFile*",
            "HealthCheck",
            "HostEntry",
            "KeyValuePair",
            "RepositoryCredentials",
            "Secret",
            "SystemControl",
            "Ulimit*",
        ],
    ),
    (
        "container_instance",
        &[
            "AgentUpdateStatus",
            "ContainerInstance*",
            "InstanceHealthCheck*",
            "MetricConfiguration",
            "MonitoringConfiguration",
            "Resource",
            "VersionInfo",
        ],
    ),
    ("daemon", &["Daemon*"]),
    (
        "daemon_task_definition",
        &[
            "DaemonContainerDefinition",
            "DaemonIpcMode",
            "DaemonLinuxParameters",
            "DaemonPidMode",
            "DaemonTaskDefinition*",
            "DaemonVolume",
        ],
    ),
    (
        "deployment",
        &[
            "CanaryConfiguration",
            "Deployment*",
            "LinearConfiguration",
            "ThresholdConfiguration",
            "ThresholdType",
            "TimeoutConfiguration",
        ],
    ),
    (
        "deployment_hook",
        &["DeploymentLifecycleHook*", "HookDetails"],
    ),
    (
        "ebs",
        &[
            "EBS*",
            "ServiceManagedEBS*",
            "TaskFilesystemType",
            "TaskManagedEBS*",
        ],
    ),
    ("execute_command", &["ExecuteCommand*"]),
    (
        "express_gateway",
        &[
            "AccessType",
            "ECSExpressGateway*",
            "Express*",
            "IngressPathSummary",
        ],
    ),
    ("failure", &["Failure"]),
    ("gateway", &["Gateway*", "PropagateGatewayTags"]),
    (
        "gateway_connector",
        &[
            "GatewayConnector*",
            "GatewayTestTrafficHeader",
            "GatewayAlb*",
        ],
    ),
    ("gateway_elb", &["GatewayElb*"]),
    (
        "gpu",
        &["Gpu*", "NvidiaMps*", "SharingStrategy", "IsolationMode"],
    ),
    (
        "instance_requirements",
        &[
            "Accelerator*",
            "BareMetal",
            "BaselineEbsBandwidthMbpsRequest",
            "BurstablePerformance",
            "CpuManufacturer",
            "InstanceGeneration",
            "InstanceRequirementsRequest",
            "LocalStorage*",
            "MemoryGiBPerVCpuRequest",
            "MemoryMiBRequest",
            "NetworkBandwidthGbpsRequest",
            "NetworkInterfaceCountRequest",
            "TotalLocalStorageGBRequest",
            "VCpuCountRangeRequest",
        ],
    ),
    (
        "linux_parameters",
        &["Device*", "KernelCapabilities", "LinuxParameters", "Tmpfs"],
    ),
    ("load_balancer", &["AdvancedConfiguration", "LoadBalancer"]),
    (
        "log_configuration",
        &["Firelens*", "LogConfiguration", "LogDriver"],
    ),
    (
        "managed_instances",
        &[
            "AttestationPolicyStatus",
            "AutoRepair*",
            "CapacityOptionType",
            "CapacityReservation*",
            "InfrastructureOptimization",
            "InstanceLaunchTemplate",
            "ManagedInstances*",
            "PropagateMITags",
            "TrustedExecution*",
        ],
    ),
    (
        "network",
        &[
            "AssignPublicIp",
            "AwsVpcConfiguration",
            "NetworkConfiguration",
            "NetworkInterface",
        ],
    ),
    ("placement", &["PlacementConstraint*", "PlacementStrategy*"]),
    (
        "port",
        &[
            "ApplicationProtocol",
            "NetworkBinding",
            "PortMapping",
            "TransportProtocol",
        ],
    ),
    (
        "resource_requirement",
        &[
            "InferenceAccelerator",
            "ResourceRequirement",
            "ResourceType",
        ],
    ),
    (
        "service",
        &[
            "AvailabilityZoneRebalancing",
            "PropagateTags",
            "ResourceManagementType",
            "SchedulingStrategy",
            "Service",
            "ServiceCurrentRevisionSummary",
            "ServiceEvent",
            "ServiceRegistry",
            "ServiceRevisionCleanup",
            "ServiceVolumeConfiguration",
        ],
    ),
    ("service_connect", &["ServiceConnect*"]),
    (
        "service_deployment",
        &["CreatedAt", "ServiceDeployment*", "SortOrder"],
    ),
    ("setting", &["Scope", "Setting*"]),
    ("tag", &["Tag"]),
    (
        "task",
        &[
            "Connectivity",
            "LaunchType",
            "ProtectedTask",
            "Task",
            "TaskEphemeralStorage",
            "TaskStopCode",
            "TaskVolumeConfiguration",
        ],
    ),
    (
        "task_definition",
        &[
            "CPUArchitecture",
            "Compatibility",
            "EphemeralStorage",
            "IpcMode",
            "NetworkMode",
            "OSFamily",
            "PidMode",
            "ProxyConfiguration*",
            "RuntimePlatform",
            "TaskDefinition*",
            "VersionConsistency",
        ],
    ),
    (
        "task_override",
        &[
            "ContainerOverride",
            "InferenceAcceleratorOverride",
            "TaskOverride",
        ],
    ),
    (
        "task_set",
        &["Scale", "ScaleUnit", "StabilityStatus", "TaskSet"],
    ),
    (
        "volume",
        &[
            "DockerVolumeConfiguration",
            "EFS*",
            "FSx*",
            "HostVolumeProperties",
            "LogDriverVolumeConfiguration",
            "MountPoint",
            "S3FilesVolumeConfiguration",
            "Volume",
            "VolumeFrom",
        ],
    ),
    ("vpc_lattice", &["VpcLattice*"]),
];

/// The noun that holds the shared shape `shape`.
pub(crate) fn noun_of(shape: &str) -> Result<&'static str> {
    let mut best: Option<(usize, &'static str)> = None;
    for (noun, patterns) in NOUNS {
        for pattern in *patterns {
            let weight = match pattern.strip_suffix('*') {
                Some(beginning) if shape.starts_with(beginning) => beginning.len(),
                None if *pattern == shape => usize::MAX,
                _ => continue,
            };
            if best.is_none_or(|(most, _)| weight > most) {
                best = Some((weight, noun));
            }
        }
    }
    match best {
        Some((_, noun)) => Ok(noun),
        None => bail!("the shared shape {shape} has no noun: add it to xtask/src/wire/nouns.rs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_pattern_wins() {
        let table = [
            ("Service", "service"),
            ("ServiceConnectTlsConfiguration", "service_connect"),
            ("DaemonStatus", "daemon"),
            ("DaemonTaskDefinitionStatus", "daemon_task_definition"),
            ("DeploymentLifecycleHook", "deployment_hook"),
            ("GatewayConnectorFilters", "gateway_connector"),
        ];
        for (shape, noun) in table {
            assert_eq!(noun_of(shape).unwrap(), noun, "{shape}");
        }
        assert!(noun_of("Nameless").is_err());
    }
}
