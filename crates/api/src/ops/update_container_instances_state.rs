//! UpdateContainerInstancesState: up to ten instances drain, or take tasks again.

use super::container_instance::{listed, named, show};
use super::describe_clusters::missing_failure;
use crate::limits::INSTANCES_PER_UPDATE_MAX;
use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::Command;
use windlass_model::id::InstanceId;
use windlass_model::instance::InstanceStatus;
use windlass_wire::convert::{InstanceInclude, identifier};
use windlass_wire::ops::update_container_instances_state::{
    UpdateContainerInstancesStateRequest, UpdateContainerInstancesStateResponse,
};
use windlass_wire::shapes::container_instance::ContainerInstanceStatus;
use windlass_wire::shapes::failure::Failure;
use windlass_wire::{ApiError, ErrorCode, messages};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<UpdateContainerInstancesStateRequest>,
) -> Result<UpdateContainerInstancesStateResponse, ApiError> {
    let (request, net) = input.split();
    let given = listed(
        request.container_instances.as_ref(),
        INSTANCES_PER_UPDATE_MAX,
    )?;
    let status = match request.status {
        Some(ContainerInstanceStatus::Active) => InstanceStatus::Active,
        Some(ContainerInstanceStatus::Draining) => InstanceStatus::Draining,
        Some(_) => return Err(messages::container_instance::status_unknown()),
        // The model requires one: the net says so.
        None => InstanceStatus::Active,
    };
    net.refuse(ErrorCode::InvalidParameter)?;
    let cluster = identifier::cluster(call.scope(), request.cluster.as_deref())?;
    let (instances, mut failures) = named(call, &cluster, given).await?;
    let ask = Command::UpdateContainerInstancesState {
        cluster: cluster.clone(),
        instances,
        status,
    };
    match call.ask(ask).await? {
        Answer::UpdatedInstances {
            found,
            missing,
            inactive,
        } => {
            let arn = |id: &InstanceId| call.scope().instance(&cluster, *id);
            failures.extend(missing.iter().map(|id| missing_failure(arn(id))));
            failures.extend(inactive.iter().map(|id| Failure {
                arn: Some(arn(id)),
                reason: Some("INACTIVE".into()),
                detail: None,
            }));
            let include = InstanceInclude::default();
            let shown = found.iter().map(|view| show(call.scope(), view, include));
            Ok(UpdateContainerInstancesStateResponse {
                container_instances: Some(shown.collect()),
                failures: Some(failures),
            })
        }
        other => Err(unexpected(&other)),
    }
}
