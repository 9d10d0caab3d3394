//! RunTask's and StartTask's requests.

use super::identifier;
use super::read_overrides::overrides;
use super::read_placement::{constraints, strategies};
use super::read_strategy::task_strategy;
use super::read_tags::tags;
use crate::error::ApiError;
use crate::messages;
use crate::ops::run_task::RunTaskRequest;
use crate::ops::start_task::StartTaskRequest;
use crate::shapes::network::{AssignPublicIp, NetworkConfiguration};
use crate::shapes::service::PropagateTags;
use crate::shapes::tag::Tag;
use crate::shapes::task::{LaunchType, TaskVolumeConfiguration};
use crate::shapes::task_override as wire;
use windlass_model::arn::Scope;
use windlass_model::command::{NewTask, RunTask, StartTask};
use windlass_model::definition::DefinitionRef;
use windlass_model::id::Name;
use windlass_model::limits;
use windlass_model::task::{AwsvpcConfiguration, Launch};

/// Characters of a `referenceId`. Source: ECS API.
const REFERENCE_ID_CHARS_MAX: usize = 1_024;
/// Characters of a `group` and of a `clientToken`. Source: ECS API.
const GROUP_CHARS_MAX: usize = 255;
const CLIENT_TOKEN_CHARS_MAX: usize = 64;
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
    let strategy = task_strategy(given.capacity_provider_strategy)?;
    if launch.is_some() && !strategy.is_empty() {
        return Err(messages::capacity_provider::launch_and_strategy());
    }
    let constraints = constraints(given.placement_constraints)?;
    let strategies = strategies(given.placement_strategy)?;
    let fargate = launch == Some(Launch::Fargate)
        || strategy
            .iter()
            .any(|item| item.provider.starts_with("FARGATE"));
    if fargate && !constraints.is_empty() {
        return Err(messages::placement::constraints_on_fargate());
    }
    if fargate && !strategies.is_empty() {
        return Err(messages::placement::strategies_on_fargate());
    }
    Ok(RunTask {
        task: new_task(
            scope,
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
                volume_configurations: given.volume_configurations,
            },
        )?,
        count,
        launch,
        strategy,
        platform_version: platform_version(given.platform_version)?,
        constraints,
        strategies,
        client_token: client_token(given.client_token)?,
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
            scope,
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
                volume_configurations: given.volume_configurations,
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
    volume_configurations: Option<Vec<TaskVolumeConfiguration>>,
}

fn new_task(
    scope: &Scope,
    cluster: Name,
    definition: DefinitionRef,
    given: Common,
) -> Result<NewTask, ApiError> {
    let volumes = given.volume_configurations.unwrap_or_default();
    let volumes = volumes.into_iter();
    Ok(NewTask {
        cluster,
        definition,
        group: group(given.group)?,
        started_by: given.started_by,
        overrides: overrides(scope, given.overrides)?,
        network: network(given.network_configuration)?,
        enable_execute_command: given.enable_execute_command.unwrap_or(false),
        enable_ecs_managed_tags: given.enable_ecs_managed_tags.unwrap_or(false),
        propagate_definition_tags: propagate(given.propagate_tags.as_ref())?,
        tags: tags(given.tags)?,
        reference_id: reference_id(given.reference_id)?,
        pull: None,
        volumes: volumes
            .map(|volume| volume.name.unwrap_or_default())
            .collect(),
    })
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

/// Which characters a group may have is documented, and nothing shows that ECS looks at them.
fn group(given: Option<String>) -> Result<Option<String>, ApiError> {
    let Some(group) = given.filter(|group| !group.is_empty()) else {
        return Ok(None);
    };
    if group.chars().count() > GROUP_CHARS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "group longer than {GROUP_CHARS_MAX}."
        )));
    }
    if group.starts_with("service:") {
        return Err(ApiError::invalid_parameter(
            "Invalid group: the prefix 'service:' is reserved for services.",
        ));
    }
    Ok(Some(group))
}

/// Any characters: ECS documents an alphabet and does not hold to it.
fn started_by(given: Option<String>, chars_max: usize) -> Result<Option<String>, ApiError> {
    let given = given.filter(|text| !text.is_empty());
    match &given {
        Some(text) if text.chars().count() > chars_max => {
            Err(messages::task::started_by_too_long(chars_max))
        }
        _ => Ok(given),
    }
}

fn client_token(given: Option<String>) -> Result<Option<String>, ApiError> {
    let given = given.filter(|token| !token.is_empty());
    match &given {
        Some(token) if token.chars().count() > CLIENT_TOKEN_CHARS_MAX => {
            Err(ApiError::invalid_parameter(format!(
                "clientToken longer than {CLIENT_TOKEN_CHARS_MAX}."
            )))
        }
        _ => Ok(given),
    }
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
        Some(_) => Err(messages::task::platform_unknown()),
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
