//! ListTasks: ARNs, by default of tasks that are meant to run.

use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::{Command, ListTasks};
use windlass_model::id::Name;
use windlass_model::status::Desired;
use windlass_wire::convert::{identifier, launch_type};
use windlass_wire::ops::list_tasks::{DesiredStatus, ListTasksRequest, ListTasksResponse};
use windlass_wire::shapes::task::LaunchType;
use windlass_wire::{ApiError, ErrorCode, messages};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<ListTasksRequest>,
) -> Result<ListTasksResponse, ApiError> {
    let request = input.checked(ErrorCode::InvalidParameter)?;
    let cluster = identifier::cluster(call.scope(), request.cluster.as_deref())?;
    let instance = match request.container_instance {
        None => None,
        Some(given) => {
            let read = identifier::instance(call.scope(), &cluster, &given).and_then(|id| {
                id.ok_or_else(|| {
                    ApiError::invalid_parameter("The container instance does not exist.")
                })
            });
            Some(call.in_cluster(&cluster, read).await?)
        }
    };
    let desired = desired(request.desired_status)?;
    // No task has this launch type: an empty list, as of every filter that nothing passes.
    let managed = request.launch_type == Some(LaunchType::ManagedInstances);
    let launch = request.launch_type.filter(|_| !managed);
    let launch = launch.as_ref().map(launch_type).transpose()?;
    if request.daemon_name.is_some_and(|name| !name.is_empty()) {
        return Err(ApiError::unsupported(
            "daemonName: managed daemons are not supported yet.",
        ));
    }
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (family, started_by, service) = (
        some(request.family),
        some(request.started_by),
        some(request.service_name),
    );
    let others = [
        family.is_some(),
        service.is_some(),
        instance.is_some(),
        launch.is_some(),
        managed,
    ];
    let others = others.contains(&true);
    if started_by.is_some() && others {
        return Err(ApiError::invalid_parameter(
            "startedBy must be the only filter when it is specified.",
        ));
    }
    check_names(family.as_deref(), service.as_deref())?;
    let query = call.query(format!(
        "ListTasks {cluster} {instance:?} {family:?} {started_by:?} {service:?} {desired:?} {launch:?}"
    ));
    let tokens = &call.door.tokens;
    let page = tokens.page(&query, request.max_results, request.next_token.as_deref())?;
    let list = ListTasks {
        cluster: cluster.clone(),
        instance,
        family,
        started_by,
        service,
        desired: desired.filter(|_| !managed),
        launch,
        page,
    };
    match call.ask(Command::ListTasks(list)).await? {
        Answer::TaskIds { tasks, more } => Ok(ListTasksResponse {
            next_token: tasks
                .last()
                .filter(|_| more)
                .map(|last| tokens.token(&query, &last.to_string())),
            task_arns: Some(
                tasks
                    .iter()
                    .map(|task| call.scope().task(&cluster, *task))
                    .collect(),
            ),
        }),
        other => Err(unexpected(&other)),
    }
}

/// What a filter names has a name that there could be.
fn check_names(family: Option<&str>, service: Option<&str>) -> Result<(), ApiError> {
    if family.is_some_and(|family| Name::new(family).is_err()) {
        return Err(messages::task_definition::family_invalid());
    }
    match service.filter(|name| Name::new(name).is_err()) {
        None => Ok(()),
        Some(name) => Err(messages::service::name_invalid(name)),
    }
}

/// `None` is ECS's PENDING filter, which matches nothing.
fn desired(given: Option<DesiredStatus>) -> Result<Option<Desired>, ApiError> {
    match given {
        None | Some(DesiredStatus::Running) => Ok(Some(Desired::Running)),
        Some(DesiredStatus::Stopped) => Ok(Some(Desired::Stopped)),
        Some(DesiredStatus::Pending) => Ok(None),
        Some(DesiredStatus::Other(other)) => Err(ApiError::invalid_parameter(format!(
            "Invalid desiredStatus '{other}'. It should be one of [RUNNING, PENDING, STOPPED]."
        ))),
    }
}
