//! What a definition could run on, and which capabilities an instance needs for it. Source: the
//! capability attributes that the ECS agent registers.

use super::fargate::check_fargate;
use crate::error::ApiError;
use crate::messages;
use std::collections::BTreeSet;
use windlass_model::arn::Arn;
use windlass_model::container::ContainerDefinition;
use windlass_model::definition::{Compatibility, NetworkMode, Template};
use windlass_model::instance::Attribute;
use windlass_model::volume::{Volume, VolumeKind};

/// All launch types the definition could run on, not only those it asks for.
pub(super) fn compatibilities(template: &Template) -> Vec<Compatibility> {
    let mut could = Vec::new();
    if check_external(template).is_ok() {
        could.push(Compatibility::External);
    }
    if check_ec2(template).is_ok() {
        could.push(Compatibility::Ec2);
    }
    // Their capacity is had by a capacity provider alone, which only who asks for it has.
    let asked = Compatibility::ManagedInstances;
    if template.requires_compatibilities.contains(&asked) {
        could.push(asked);
    }
    if check_fargate(template).is_ok() {
        could.push(Compatibility::Fargate);
    }
    could
}

/// Whether the definition can run where it asks to.
pub(super) fn check_required(template: &Template) -> Result<(), ApiError> {
    // One that asks for nothing has to run somewhere.
    if template.requires_compatibilities.is_empty() && check_fargate(template).is_err() {
        check_ec2(template)?;
    }
    for required in &template.requires_compatibilities {
        match required {
            Compatibility::Ec2 => check_ec2(template)?,
            Compatibility::Fargate => check_fargate(template)?,
            Compatibility::External => check_external(template)?,
            Compatibility::ManagedInstances => check_managed_instances(template)?,
        }
    }
    Ok(())
}

fn check_ec2(template: &Template) -> Result<(), ApiError> {
    match template.ephemeral_storage_gib {
        None => Ok(()),
        Some(_) => Err(messages::task_definition::ephemeral_storage_on_ec2()),
    }
}

/// Source: ECS developer guide, Amazon ECS Anywhere.
fn check_external(template: &Template) -> Result<(), ApiError> {
    let refuse = |what: &str| {
        Err(ApiError::client(format!(
            "{what} not supported by the EXTERNAL launch type."
        )))
    };
    if template.network() == NetworkMode::Awsvpc {
        return refuse("Network mode 'awsvpc' is");
    }
    let efs = |volume: &Volume| matches!(volume.kind, VolumeKind::Efs(_));
    if template.volumes.iter().any(efs) {
        return refuse("EFS volumes are");
    }
    Ok(())
}

/// Source: ECS developer guide, Amazon ECS Managed Instances.
fn check_managed_instances(template: &Template) -> Result<(), ApiError> {
    if !matches!(template.network(), NetworkMode::Awsvpc | NetworkMode::Host) {
        return Err(ApiError::client(
            "The MANAGED_INSTANCES launch type supports network modes 'awsvpc' and 'host' only.",
        ));
    }
    for container in &template.containers {
        let Some(log) = &container.log else { continue };
        if !["awslogs", "splunk", "awsfirelens", "json-file"].contains(&log.driver.as_str()) {
            return Err(ApiError::client(format!(
                "Container '{}': log driver {} is not supported by the MANAGED_INSTANCES launch \
                 type.",
                container.name, log.driver
            )));
        }
    }
    Ok(())
}

const DOCKER: &str = "com.amazonaws.ecs.capability.docker-remote-api.";

/// Names only, in order.
pub(super) fn requires_attributes(template: &Template) -> Vec<Attribute> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for container in &template.containers {
        of_container(container, template.execution_role.is_some(), &mut names);
    }
    let mut need = |name: &str| names.insert(name.to_owned());
    if template.task_role.is_some() {
        need(match template.network() {
            NetworkMode::Host => "com.amazonaws.ecs.capability.task-iam-role-network-host",
            _ => "com.amazonaws.ecs.capability.task-iam-role",
        });
    }
    if template.network() == NetworkMode::Awsvpc {
        need("ecs.capability.task-eni");
    }
    if template.cpu.is_some() || template.memory.is_some() {
        need("ecs.capability.task-cpu-mem-limit");
    }
    if template.cpu.is_some_and(|units| units > 10 * 1024) {
        need("ecs.capability.increased-task-cpu-limit");
    }
    if template.pid_mode.is_some() || template.ipc_mode.is_some() {
        need("ecs.capability.pid-ipc-namespace-sharing");
    }
    for volume in &template.volumes {
        match &volume.kind {
            VolumeKind::Docker(docker) => {
                let driver = docker.driver.as_deref().unwrap_or("local");
                need(&format!("ecs.capability.docker-plugin.{driver}"));
            }
            VolumeKind::Efs(efs) => {
                need("ecs.capability.efs");
                if efs.access_point_id.is_some() || efs.iam.as_deref() == Some("ENABLED") {
                    need("ecs.capability.efsAuth");
                }
            }
            VolumeKind::ConfiguredAtLaunch => {
                need("ecs.capability.storage.ebs-task-volume-attach");
            }
            VolumeKind::Scratch { .. }
            | VolumeKind::Host { .. }
            | VolumeKind::Fsx(_)
            | VolumeKind::S3Files(_) => {}
        }
    }
    if template.enable_fault_injection == Some(true) {
        need("ecs.capability.fault-injection");
    }
    names
        .into_iter()
        .map(|name| Attribute { name, value: None })
        .collect()
}

fn of_container(container: &ContainerDefinition, role: bool, names: &mut BTreeSet<String>) {
    let mut need = |name: &str| names.insert(name.to_owned());
    let mut docker = |version: &str| need(&format!("{DOCKER}{version}"));
    let labels = container.docker_labels.iter().flatten().next();
    let ulimits = container.ulimits.iter().flatten().next();
    if labels.is_some() || ulimits.is_some() || container.log.is_some() {
        docker("1.18");
    }
    if container.memory_reservation.is_some() {
        docker("1.21");
    }
    if container
        .linux_parameters
        .as_ref()
        .is_some_and(|l| l.init_process_enabled == Some(true))
    {
        docker("1.25");
    }
    if container.health_check.is_some() {
        docker("1.29");
    }
    of_log(container, role, names);
    let mut need = |name: &str| names.insert(name.to_owned());
    if container.image.contains(".dkr.ecr.") {
        need("com.amazonaws.ecs.capability.ecr-auth");
        if role {
            need("ecs.capability.execution-role-ecr-pull");
        }
    }
    if container.privileged == Some(true) {
        need("com.amazonaws.ecs.capability.privileged-container");
    }
    if container.health_check.is_some() {
        need("ecs.capability.container-health-check");
    }
    let ordered = !container.depends_on.is_empty()
        || container.start_timeout_s.is_some()
        || container.stop_timeout_s.is_some();
    if ordered {
        need("ecs.capability.container-ordering");
    }
    for secret in &container.secrets {
        need(&format!(
            "ecs.capability.secrets.{}.environment-variables",
            keeper(&secret.value_from)
        ));
    }
    if container.repository_credentials.is_some() {
        need("ecs.capability.private-registry-authentication.secretsmanager");
    }
    if !container.environment_files.is_empty() {
        need("ecs.capability.env-files.s3");
    }
    if let Some(firelens) = &container.firelens {
        need(&format!("ecs.capability.firelens.{}", firelens.kind));
        let options = firelens.options.iter().flatten();
        for (_, value) in options.filter(|(name, _)| *name == "config-file-type") {
            need(&format!("ecs.capability.firelens.options.config.{value}"));
        }
    }
    if container.restart_policy.is_some() {
        need("ecs.capability.container-restart-policy");
    }
    if container
        .port_mappings
        .iter()
        .any(|mapping| mapping.container_port_range.is_some())
    {
        need("ecs.capability.network.container-port-range");
    }
    for option in container.docker_security_options.iter().flatten() {
        if option.starts_with("apparmor:") {
            need("com.amazonaws.ecs.capability.apparmor");
        } else if option.starts_with("label:") {
            need("com.amazonaws.ecs.capability.selinux");
        }
    }
}

/// What the log driver needs.
fn of_log(container: &ContainerDefinition, role: bool, names: &mut BTreeSet<String>) {
    let Some(log) = &container.log else { return };
    let mut need = |name: &str| names.insert(name.to_owned());
    if log.driver == "awslogs" {
        need(&format!("{DOCKER}1.19"));
    }
    need(&format!(
        "com.amazonaws.ecs.capability.logging-driver.{}",
        log.driver
    ));
    if log.driver == "awslogs" && role {
        need("ecs.capability.execution-role-awslogs");
    }
    for secret in log.secret_options.iter().flatten() {
        let keeper = keeper(&secret.value_from);
        need(&format!(
            "ecs.capability.secrets.{keeper}.bootstrap.log-driver"
        ));
    }
}

/// A secret is kept by Secrets Manager when its ARN says so, else by the parameter store.
fn keeper(value_from: &str) -> &'static str {
    match Arn::parse(value_from) {
        Some(arn) if arn.service == "secretsmanager" => "asm",
        _ => "ssm",
    }
}
