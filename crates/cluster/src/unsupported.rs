//! What a definition may ask for that no node provides yet. It registers and reads back as ECS
//! would have it; placing a task of it is refused with the name of what is missing, never started
//! without.

use windlass_model::container::ContainerDefinition;
use windlass_model::definition::Template;
use windlass_model::task::TaskOverrides;
use windlass_model::volume::{Volume, VolumeKind};

/// The first such thing.
pub(crate) fn unsupported(template: &Template, overrides: &TaskOverrides) -> Option<String> {
    let of_container = || template.containers.iter().find_map(container);
    let of_volume = || template.volumes.iter().find_map(volume);
    of_task(template)
        .map(String::from)
        .or_else(of_container)
        .or_else(of_volume)
        .or_else(|| of_overrides(overrides).map(String::from))
}

fn of_task(template: &Template) -> Option<&'static str> {
    let os = template.runtime_platform.as_ref();
    let os = os.and_then(|platform| platform.operating_system_family.as_deref());
    if os.is_some_and(|family| !family.eq_ignore_ascii_case("LINUX")) {
        return Some("runtimePlatform.operatingSystemFamily other than LINUX");
    }
    if template.proxy.is_some() {
        return Some("proxyConfiguration");
    }
    if template.enable_fault_injection == Some(true) {
        return Some("enableFaultInjection");
    }
    template
        .trusted_execution
        .as_ref()
        .map(|_| "trustedExecutionConfiguration")
}

fn container(container: &ContainerDefinition) -> Option<String> {
    let named = |what: &str| Some(format!("{what} (container {})", container.name));
    if !container.secrets.is_empty() {
        return named("secrets");
    }
    if !container.environment_files.is_empty() {
        return named("environmentFiles");
    }
    if container.repository_credentials.is_some() {
        return named("repositoryCredentials");
    }
    if container.firelens.is_some() {
        return named("firelensConfiguration");
    }
    if container
        .credential_specs
        .as_ref()
        .is_some_and(|specs| !specs.is_empty())
    {
        return named("credentialSpecs");
    }
    if let Some(log) = &container.log {
        if log.driver == "awsfirelens" {
            return named("log driver awsfirelens");
        }
        if log
            .secret_options
            .as_ref()
            .is_some_and(|options| !options.is_empty())
        {
            return named("logConfiguration.secretOptions");
        }
    }
    let requirement = container.resource_requirements.iter().flatten().next()?;
    named(&format!("resourceRequirements {}", requirement.kind))
}

fn volume(volume: &Volume) -> Option<String> {
    let what = match &volume.kind {
        VolumeKind::Scratch { .. } | VolumeKind::Host { .. } => return None,
        VolumeKind::Docker(docker) => match docker.driver.as_deref() {
            None | Some("local") => return None,
            Some(driver) => format!("docker volume driver {driver}"),
        },
        VolumeKind::Efs(_) => String::from("efsVolumeConfiguration"),
        VolumeKind::Fsx(_) => String::from("fsxWindowsFileServerVolumeConfiguration"),
        VolumeKind::S3Files(_) => String::from("s3filesVolumeConfiguration"),
        VolumeKind::ConfiguredAtLaunch => String::from("configuredAtLaunch"),
    };
    Some(format!("{what} (volume {})", volume.name))
}

fn of_overrides(overrides: &TaskOverrides) -> Option<&'static str> {
    if !overrides.inference_accelerators.is_empty() {
        return Some("inferenceAcceleratorOverrides");
    }
    overrides.containers.iter().find_map(|container| {
        if container
            .environment_files
            .as_ref()
            .is_some_and(|files| !files.is_empty())
        {
            return Some("environmentFiles");
        }
        let requirements = container.resource_requirements.as_ref();
        requirements
            .is_some_and(|list| !list.is_empty())
            .then_some("resourceRequirements")
    })
}
