//! RunTask's and StartTask's requests.

use super::identifier;
use super::read_container::{MEMORY_MIB_MIN, environment_files, resource_requirements};
use super::read_definition::{cpu_units, ephemeral_storage, memory_mib, override_environment};
use super::read_tags::tags;
use crate::error::ApiError;
use crate::messages;
use crate::ops::run_task::RunTaskRequest;
use crate::ops::start_task::StartTaskRequest;
use crate::shapes::capacity_provider::CapacityProviderStrategyItem;
use crate::shapes::network::{AssignPublicIp, NetworkConfiguration};
use crate::shapes::placement::{
    PlacementConstraint as WireConstraint, PlacementConstraintType,
    PlacementStrategy as WireStrategy, PlacementStrategyType,
};
use crate::shapes::service::PropagateTags;
use crate::shapes::tag::Tag;
use crate::shapes::task::{LaunchType, TaskVolumeConfiguration};
use crate::shapes::task_override as wire;
use std::collections::BTreeSet;
use windlass_model::arn::Scope;
use windlass_model::cluster::StrategyItem;
use windlass_model::command::{NewTask, RunTask, StartTask};
use windlass_model::container::KeyValue;
use windlass_model::definition::DefinitionRef;
use windlass_model::id::Name;
use windlass_model::limits;
use windlass_model::placement::{
    BinpackField, PlacementConstraint, PlacementStrategy, SpreadField,
};
use windlass_model::task::{AwsvpcConfiguration, ContainerOverride, Launch, TaskOverrides};

/// Characters of a `referenceId`. Source: ECS API.
const REFERENCE_ID_CHARS_MAX: usize = 1_024;
/// Characters of a `startedBy`, in RunTask and in StartTask. Source: ECS API.
const STARTED_BY_CHARS_MAX: usize = 128;
const STARTED_BY_CHARS_MAX_START: usize = 36;

/// Decodes and validates a RunTask. `fingerprint` is the digest of the request without its client
/// token.
///
/// # Errors
/// ECS's own for each member.
pub fn run_task(
    scope: &Scope,
    given: RunTaskRequest,
    fingerprint: [u8; 32],
) -> Result<RunTask, ApiError> {
    let definition = definition(scope, given.task_definition.as_deref())?;
    let count = given.count.unwrap_or(1);
    let count = u32::try_from(count)
        .ok()
        .filter(|count| (1..=limits::TASKS_PER_RUN_MAX).contains(count))
        .ok_or_else(|| {
            ApiError::invalid_parameter(format!(
                "count should be between 1 and {}.",
                limits::TASKS_PER_RUN_MAX
            ))
        })?;
    let launch = given.launch_type.as_ref().map(launch_type).transpose()?;
    let strategy = strategy(given.capacity_provider_strategy)?;
    if launch.is_some() && !strategy.is_empty() {
        return Err(ApiError::invalid_parameter(
            "Specify either Launch Type or Capacity Provider Strategy, but not both.",
        ));
    }
    refuse_volumes(given.volume_configurations)?;
    let client_token = given.client_token.filter(|token| !token.is_empty());
    let printable = |token: &String| token.bytes().all(|b| (33..=126).contains(&b));
    if client_token
        .as_ref()
        .is_some_and(|token| token.len() > 64 || !printable(token))
    {
        return Err(ApiError::invalid_parameter(
            "clientToken has at most 64 printable ASCII characters.",
        ));
    }
    let constraints = constraints(given.placement_constraints)?;
    let strategies = strategies(given.placement_strategy)?;
    let fargate = launch == Some(Launch::Fargate)
        || strategy
            .iter()
            .any(|item| item.provider.starts_with("FARGATE"));
    if fargate && !(constraints.is_empty() && strategies.is_empty()) {
        return Err(ApiError::invalid_parameter(
            "Placement constraints and strategies are not supported with FARGATE launch type.",
        ));
    }
    Ok(RunTask {
        task: new_task(
            identifier::cluster(scope, given.cluster.as_deref())?,
            definition,
            Common {
                group: given.group,
                started_by: started_by(given.started_by, STARTED_BY_CHARS_MAX)?,
                overrides: given.overrides,
                network_configuration: given.network_configuration,
                enable_execute_command: given.enable_execute_command,
                enable_ecs_managed_tags: given.enable_ecs_managed_tags,
                propagate_tags: given.propagate_tags,
                tags: given.tags,
                reference_id: given.reference_id,
            },
        )?,
        count,
        launch,
        strategy,
        platform_version: platform_version(given.platform_version)?,
        constraints,
        strategies,
        client_token,
        fingerprint,
    })
}

/// Decodes and validates a StartTask. Beside it: the instances that cannot exist here, by ARN, for
/// each of which ECS answers a failure.
///
/// # Errors
/// ECS's own for each member.
pub fn start_task(
    scope: &Scope,
    given: StartTaskRequest,
) -> Result<(StartTask, Vec<String>), ApiError> {
    let definition = definition(scope, given.task_definition.as_deref())?;
    let cluster = identifier::cluster(scope, given.cluster.as_deref())?;
    let named = given.container_instances.unwrap_or_default();
    if named.is_empty() {
        return Err(messages::container_instance::none_named());
    }
    if named.len() > limits::INSTANCES_PER_START_MAX {
        return Err(messages::container_instance::too_many(
            limits::INSTANCES_PER_START_MAX,
        ));
    }
    refuse_volumes(given.volume_configurations)?;
    let mut instances = Vec::new();
    let mut missing = Vec::new();
    for given in named {
        match identifier::instance(scope, &cluster, &given)? {
            Some(instance) => instances.push(instance),
            None => missing.push(identifier::instance_arn(scope, &cluster, given)),
        }
    }
    let start = StartTask {
        task: new_task(
            cluster,
            definition,
            Common {
                group: given.group,
                started_by: started_by(given.started_by, STARTED_BY_CHARS_MAX_START)?,
                overrides: given.overrides,
                network_configuration: given.network_configuration,
                enable_execute_command: given.enable_execute_command,
                enable_ecs_managed_tags: given.enable_ecs_managed_tags,
                propagate_tags: given.propagate_tags,
                tags: given.tags,
                reference_id: given.reference_id,
            },
        )?,
        instances,
    };
    Ok((start, missing))
}

/// The members that both requests have.
struct Common {
    group: Option<String>,
    started_by: Option<String>,
    overrides: Option<wire::TaskOverride>,
    network_configuration: Option<NetworkConfiguration>,
    enable_execute_command: Option<bool>,
    enable_ecs_managed_tags: Option<bool>,
    propagate_tags: Option<PropagateTags>,
    tags: Option<Vec<Tag>>,
    reference_id: Option<String>,
}

fn new_task(cluster: Name, definition: DefinitionRef, given: Common) -> Result<NewTask, ApiError> {
    Ok(NewTask {
        cluster,
        definition,
        group: group(given.group)?,
        started_by: given.started_by,
        overrides: overrides(given.overrides)?,
        network: network(given.network_configuration)?,
        enable_execute_command: given.enable_execute_command.unwrap_or(false),
        enable_ecs_managed_tags: given.enable_ecs_managed_tags.unwrap_or(false),
        propagate_definition_tags: propagate(given.propagate_tags.as_ref())?,
        tags: tags(given.tags)?,
        reference_id: reference_id(given.reference_id)?,
        pull: None,
    })
}

fn refuse_volumes(given: Option<Vec<TaskVolumeConfiguration>>) -> Result<(), ApiError> {
    if given.is_none_or(|volumes| volumes.is_empty()) {
        return Ok(());
    }
    Err(ApiError::unsupported(
        "volumeConfigurations: volumes configured at launch are not supported yet.",
    ))
}

fn definition(scope: &Scope, given: Option<&str>) -> Result<DefinitionRef, ApiError> {
    let given = given
        .filter(|text| !text.is_empty())
        .ok_or_else(|| ApiError::invalid_parameter("TaskDefinition should not be null or empty"))?;
    identifier::definition_or(scope, given, messages::task_definition::not_found)
}

/// `launchType`, of those that there are here.
///
/// # Errors
/// `ClientException` for any other.
pub fn launch_type(given: &LaunchType) -> Result<Launch, ApiError> {
    match given {
        LaunchType::Ec2 => Ok(Launch::Ec2),
        LaunchType::Fargate => Ok(Launch::Fargate),
        LaunchType::External => Ok(Launch::External),
        LaunchType::ManagedInstances | LaunchType::Other(_) => Err(ApiError::client(
            "launch type should be one of [EC2,FARGATE,EXTERNAL]",
        )),
    }
}

/// A capacity provider strategy, validated as far as it can be without the cluster.
pub(super) fn strategy(
    given: Option<Vec<CapacityProviderStrategyItem>>,
) -> Result<Vec<StrategyItem>, ApiError> {
    let given = given.unwrap_or_default();
    if given.len() > 20 {
        return Err(ApiError::invalid_parameter(
            "A capacity provider strategy has at most 20 capacity providers.",
        ));
    }
    let mut names = BTreeSet::new();
    let mut items = Vec::new();
    for item in given {
        let provider = item.capacity_provider.unwrap_or_default();
        let in_range =
            |value: Option<i32>, max: u32, what: &str| {
                u32::try_from(value.unwrap_or(0)).ok().filter(|value| *value <= max).ok_or_else(|| {
                ApiError::invalid_parameter(format!(
                    "The {what} of capacity provider {provider} must be between 0 and {max}."
                ))
            })
            };
        let weight = in_range(item.weight, 1_000, "weight")?;
        let base = in_range(item.base, 100_000, "base")?;
        if !names.insert(provider.clone()) {
            return Err(ApiError::invalid_parameter(format!(
                "Capacity provider {provider} is named more than once."
            )));
        }
        items.push(StrategyItem {
            provider,
            weight,
            base,
        });
    }
    let fargate = |item: &StrategyItem| {
        super::read_cluster::FARGATE_PROVIDERS.contains(&item.provider.as_str())
    };
    if items.iter().any(fargate) && !items.iter().all(fargate) {
        return Err(ApiError::invalid_parameter(
            "A capacity provider strategy cannot contain a mix of capacity providers using Auto \
             Scaling groups and Fargate providers. Specify one or the other.",
        ));
    }
    if items.iter().filter(|item| item.base > 0).count() > 1 {
        return Err(ApiError::invalid_parameter(
            "Only one capacity provider of a strategy can have a base.",
        ));
    }
    if items.len() > 1 && items.iter().all(|item| item.weight == 0) {
        return Err(ApiError::invalid_parameter(
            "At least one capacity provider of a strategy must have a weight greater than 0.",
        ));
    }
    Ok(items)
}

fn group(given: Option<String>) -> Result<Option<String>, ApiError> {
    let Some(group) = given.filter(|group| !group.is_empty()) else {
        return Ok(None);
    };
    let good = group.len() <= 255
        && group
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b":_/.-".contains(&b));
    if !good {
        return Err(ApiError::invalid_parameter(
            "Invalid group: it has at most 255 letters, digits and characters of ':_/.-'.",
        ));
    }
    if group.starts_with("service:") {
        return Err(ApiError::invalid_parameter(
            "Invalid group: the prefix 'service:' is reserved for services.",
        ));
    }
    Ok(Some(group))
}

fn started_by(given: Option<String>, length_max: usize) -> Result<Option<String>, ApiError> {
    let Some(text) = given.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let good = text.len() <= length_max
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_/-.:".contains(&b));
    if good {
        return Ok(Some(text));
    }
    Err(ApiError::invalid_parameter(format!(
        "startedBy contains invalid characters or is longer than {length_max}."
    )))
}

/// Kept with every task of the call.
fn reference_id(given: Option<String>) -> Result<Option<String>, ApiError> {
    let given = given.filter(|text| !text.is_empty());
    if given
        .as_ref()
        .is_some_and(|text| text.chars().count() > REFERENCE_ID_CHARS_MAX)
    {
        return Err(ApiError::invalid_parameter(format!(
            "referenceId has at most {REFERENCE_ID_CHARS_MAX} characters."
        )));
    }
    Ok(given)
}

fn platform_version(given: Option<String>) -> Result<Option<String>, ApiError> {
    match given.as_deref() {
        None | Some("") => Ok(None),
        Some("LATEST" | "1.4.0") => Ok(given),
        Some(other) => Err(ApiError::platform_unknown(format!(
            "The specified platform version does not exist: {other}. Specify LATEST or 1.4.0."
        ))),
    }
}

fn propagate(given: Option<&PropagateTags>) -> Result<bool, ApiError> {
    match given {
        None | Some(PropagateTags::None) => Ok(false),
        Some(PropagateTags::TaskDefinition) => Ok(true),
        Some(other) => Err(ApiError::invalid_parameter(format!(
            "propagateTags value {} is not valid for tasks. It should be TASK_DEFINITION or NONE.",
            other.as_str()
        ))),
    }
}

fn network(given: Option<NetworkConfiguration>) -> Result<Option<AwsvpcConfiguration>, ApiError> {
    let Some(given) = given.and_then(|network| network.awsvpc_configuration) else {
        return Ok(None);
    };
    let subnets = given.subnets.unwrap_or_default();
    let security_groups = given.security_groups.unwrap_or_default();
    if subnets.is_empty() {
        return Err(messages::network::no_subnets());
    }
    if subnets.len() > limits::SUBNETS_MAX {
        return Err(ApiError::invalid_parameter(
            "subnets can have at most 16 items.",
        ));
    }
    if security_groups.len() > limits::SECURITY_GROUPS_MAX {
        return Err(ApiError::invalid_parameter(
            "securityGroups can have at most 5 items.",
        ));
    }
    well_formed(
        &subnets,
        "subnet-",
        "subnet ID",
        "InvalidSubnetID.Malformed",
    )?;
    well_formed(
        &security_groups,
        "sg-",
        "security group ID",
        "InvalidGroupId.Malformed",
    )?;
    Ok(Some(AwsvpcConfiguration {
        subnets,
        security_groups,
        assign_public_ip: given.assign_public_ip == Some(AssignPublicIp::Enabled),
    }))
}

/// Subnets and security groups have no object here; any well-formed id is accepted and shown.
fn well_formed(ids: &[String], prefix: &str, what: &str, code: &str) -> Result<(), ApiError> {
    for id in ids {
        let rest = id.strip_prefix(prefix).unwrap_or("");
        let good = (1..=64).contains(&rest.len())
            && rest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !good {
            return Err(ApiError::invalid_parameter(format!(
                "Error retrieving {} information for [{id}]: Invalid id: \"{id}\" (expecting \
                 \"{prefix}...\") (ErrorCode: {code})",
                what.trim_end_matches(" ID")
            )));
        }
    }
    Ok(())
}

fn constraints(given: Option<Vec<WireConstraint>>) -> Result<Vec<PlacementConstraint>, ApiError> {
    let given = given.unwrap_or_default();
    if given.len() > 10 {
        return Err(ApiError::invalid_parameter(
            "At most 10 placement constraints are allowed.",
        ));
    }
    given
        .into_iter()
        .map(|given| match given.r#type {
            Some(PlacementConstraintType::DistinctInstance) => {
                Ok(PlacementConstraint::DistinctInstance)
            }
            Some(PlacementConstraintType::MemberOf) => match given.expression {
                Some(text) if !text.is_empty() => Ok(PlacementConstraint::MemberOf(text)),
                _ => Err(ApiError::invalid_parameter(
                    "A memberOf placement constraint requires an expression.",
                )),
            },
            other => Err(ApiError::invalid_parameter(format!(
                "Placement constraint type '{}' should be one of [distinctInstance, memberOf].",
                other.as_ref().map_or("", |other| other.as_str())
            ))),
        })
        .collect()
}

fn strategies(given: Option<Vec<WireStrategy>>) -> Result<Vec<PlacementStrategy>, ApiError> {
    let given = given.unwrap_or_default();
    if given.len() > 5 {
        return Err(ApiError::invalid_parameter(
            "At most 5 placement strategies are allowed.",
        ));
    }
    given.into_iter().map(placement_strategy).collect()
}

fn placement_strategy(given: WireStrategy) -> Result<PlacementStrategy, ApiError> {
    let field = given.field.unwrap_or_default();
    let bad_field = |allowed: &str| {
        Err(ApiError::invalid_parameter(format!(
            "Invalid placement strategy field '{field}'. It should be {allowed}."
        )))
    };
    match given.r#type {
        Some(PlacementStrategyType::Random) => Ok(PlacementStrategy::Random),
        Some(PlacementStrategyType::Spread) => match field.as_str() {
            "instanceId" | "host" => Ok(PlacementStrategy::Spread(SpreadField::InstanceId)),
            _ => match field
                .strip_prefix("attribute:")
                .filter(|name| !name.is_empty())
            {
                Some(name) => Ok(PlacementStrategy::Spread(SpreadField::Attribute(
                    name.to_owned(),
                ))),
                None => bad_field("instanceId, host or attribute:<name>"),
            },
        },
        Some(PlacementStrategyType::Binpack) => match field.to_ascii_lowercase().as_str() {
            "cpu" => Ok(PlacementStrategy::Binpack(BinpackField::Cpu)),
            "memory" => Ok(PlacementStrategy::Binpack(BinpackField::Memory)),
            _ => bad_field("cpu or memory"),
        },
        other => Err(ApiError::invalid_parameter(format!(
            "Placement strategy type '{}' should be one of [random, spread, binpack].",
            other.as_ref().map_or("", |other| other.as_str())
        ))),
    }
}

fn overrides(given: Option<wire::TaskOverride>) -> Result<TaskOverrides, ApiError> {
    let Some(given) = given else {
        return Ok(TaskOverrides::default());
    };
    let length = serde_json::to_string(&given).map_or(0, |text| text.len());
    if length > limits::OVERRIDES_BYTES_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "The overrides have {length} characters. The maximum is {}.",
            limits::OVERRIDES_BYTES_MAX
        )));
    }
    let invalid = |err: ApiError| ApiError::invalid_parameter(err.message);
    Ok(TaskOverrides {
        containers: container_overrides(given.container_overrides)?,
        cpu: given
            .cpu
            .as_deref()
            .map(cpu_units)
            .transpose()
            .map_err(invalid)?,
        memory: given
            .memory
            .as_deref()
            .map(memory_mib)
            .transpose()
            .map_err(invalid)?,
        execution_role: given.execution_role_arn,
        task_role: given.task_role_arn,
        ephemeral_storage_gib: given
            .ephemeral_storage
            .map(ephemeral_storage)
            .transpose()
            .map_err(invalid)?,
        inference_accelerators: given
            .inference_accelerator_overrides
            .unwrap_or_default()
            .into_iter()
            .map(|given| KeyValue {
                name: given.device_name.unwrap_or_default(),
                value: given.device_type.unwrap_or_default(),
            })
            .collect(),
    })
}

fn container_overrides(
    given: Option<Vec<wire::ContainerOverride>>,
) -> Result<Vec<ContainerOverride>, ApiError> {
    let mut names = BTreeSet::new();
    let mut overrides = Vec::new();
    for given in given.unwrap_or_default() {
        let read =
            container_override(given).map_err(|err| ApiError::invalid_parameter(err.message))?;
        if !names.insert(read.name.clone()) {
            return Err(ApiError::invalid_parameter(format!(
                "Container {} is overridden more than once.",
                read.name
            )));
        }
        overrides.push(read);
    }
    Ok(overrides)
}

fn container_override(given: wire::ContainerOverride) -> Result<ContainerOverride, ApiError> {
    let text = given.name.unwrap_or_default();
    let name = Name::new(&text).map_err(|_| {
        ApiError::invalid_parameter(format!(
            "Override for container named {text} is not a container in the TaskDefinition."
        ))
    })?;
    let amount = |field: &str, given: Option<i32>| {
        given
            .map(|amount| {
                u32::try_from(amount).map_err(|_| {
                    ApiError::invalid_parameter(format!(
                        "Override of '{field}' for container {name} must not be negative."
                    ))
                })
            })
            .transpose()
    };
    let memory = |field: &str, given: Option<i32>| match amount(field, given)? {
        Some(mib) if mib < MEMORY_MIB_MIN => Err(ApiError::invalid_parameter(format!(
            "Override of '{field}' for container {name} must be at least {MEMORY_MIB_MIN} MiB."
        ))),
        mib => Ok(mib),
    };
    let command = given.command.filter(|command| !command.is_empty());
    if command.iter().flatten().any(|word| word.contains('\0')) {
        return Err(ApiError::invalid_parameter(format!(
            "Override of 'command' for container {name} contains a NUL character."
        )));
    }
    Ok(ContainerOverride {
        command,
        cpu: amount("cpu", given.cpu)?,
        memory: memory("memory", given.memory)?,
        memory_reservation: memory("memoryReservation", given.memory_reservation)?,
        environment: override_environment(&name, given.environment)?,
        environment_files: given
            .environment_files
            .map(|files| environment_files(&name, Some(files)))
            .transpose()?,
        resource_requirements: given.resource_requirements.map(resource_requirements),
        name,
    })
}
