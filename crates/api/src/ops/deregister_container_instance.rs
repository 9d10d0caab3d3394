//! DeregisterContainerInstance: a node is an instance of a cluster no more.

use super::container_instance::show;
use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::{Command, DeregisterContainerInstance};
use windlass_wire::convert::{InstanceInclude, identifier};
use windlass_wire::ops::deregister_container_instance::{
    DeregisterContainerInstanceRequest, DeregisterContainerInstanceResponse,
};
use windlass_wire::{ApiError, ErrorCode, messages};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<DeregisterContainerInstanceRequest>,
) -> Result<DeregisterContainerInstanceResponse, ApiError> {
    let request = input.checked(ErrorCode::InvalidParameter)?;
    let cluster = identifier::cluster(call.scope(), request.cluster.as_deref())?;
    let given = request.container_instance.unwrap_or_default();
    let read = identifier::instance(call.scope(), &cluster, &given)
        .and_then(|id| id.ok_or_else(|| messages::container_instance::not_found(&given)));
    let ask = DeregisterContainerInstance {
        instance: call.in_cluster(&cluster, read).await?,
        cluster,
        force: request.force.unwrap_or(false),
    };
    match call.ask(Command::DeregisterContainerInstance(ask)).await? {
        Answer::Instances { found, .. } => Ok(DeregisterContainerInstanceResponse {
            container_instance: found
                .first()
                .map(|view| show(call.scope(), view, InstanceInclude::default())),
        }),
        other => Err(unexpected(&other)),
    }
}
