//! ListContainerInstances: ARNs, filtered by status and by the cluster query language.

use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::{Command, ListContainerInstances};
use windlass_model::instance::InstanceStatus;
use windlass_wire::convert::identifier;
use windlass_wire::ops::list_container_instances::{
    ListContainerInstancesRequest, ListContainerInstancesResponse,
};
use windlass_wire::shapes::container_instance::ContainerInstanceStatus;
use windlass_wire::{ApiError, ErrorCode};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<ListContainerInstancesRequest>,
) -> Result<ListContainerInstancesResponse, ApiError> {
    let request = input.checked(ErrorCode::InvalidParameter)?;
    let cluster = identifier::cluster(call.scope(), request.cluster.as_deref())?;
    let status = match request.status {
        None => None,
        Some(ContainerInstanceStatus::Active) => Some(InstanceStatus::Active),
        Some(ContainerInstanceStatus::Draining) => Some(InstanceStatus::Draining),
        // Statuses that instances pass only with features that are not built: none has them.
        Some(
            ContainerInstanceStatus::Registering
            | ContainerInstanceStatus::Deregistering
            | ContainerInstanceStatus::RegistrationFailed,
        ) => {
            return Ok(ListContainerInstancesResponse {
                container_instance_arns: Some(Vec::new()),
                next_token: None,
            });
        }
        Some(ContainerInstanceStatus::Other(other)) => {
            return Err(ApiError::invalid_parameter(format!(
                "Invalid status '{other}'. It should be one of [ACTIVE, DRAINING, REGISTERING, \
                 DEREGISTERING, REGISTRATION_FAILED]."
            )));
        }
    };
    let filter = request.filter.filter(|filter| !filter.is_empty());
    let query = call.query(format!(
        "ListContainerInstances {cluster} {status:?} {filter:?}"
    ));
    let tokens = &call.door.tokens;
    let page = tokens.page(&query, request.max_results, request.next_token.as_deref())?;
    let list = ListContainerInstances {
        cluster: cluster.clone(),
        status,
        filter,
        page,
    };
    match call.ask(Command::ListContainerInstances(list)).await? {
        Answer::InstanceIds { instances, more } => Ok(ListContainerInstancesResponse {
            next_token: instances
                .last()
                .filter(|_| more)
                .map(|last| tokens.token(&query, &last.to_string())),
            container_instance_arns: Some(
                instances
                    .iter()
                    .map(|id| call.scope().instance(&cluster, *id))
                    .collect(),
            ),
        }),
        other => Err(unexpected(&other)),
    }
}
