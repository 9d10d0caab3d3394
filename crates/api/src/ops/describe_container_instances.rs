//! DescribeContainerInstances: up to 100 whole records; unknown ones are failures.

use super::container_instance::{listed, named, show};
use super::describe_clusters::missing_failure;
use crate::limits::PAGE_MAX;
use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::Command;
use windlass_wire::convert::{InstanceInclude, identifier};
use windlass_wire::ops::describe_container_instances::{
    ContainerInstanceField, DescribeContainerInstancesRequest, DescribeContainerInstancesResponse,
};
use windlass_wire::{ApiError, ErrorCode, messages};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<DescribeContainerInstancesRequest>,
) -> Result<DescribeContainerInstancesResponse, ApiError> {
    let count = input
        .request
        .container_instances
        .as_ref()
        .map_or(0, Vec::len);
    if count > PAGE_MAX {
        return Err(messages::container_instance::too_many_described(PAGE_MAX));
    }
    let given = listed(input.request.container_instances.as_ref(), PAGE_MAX)?;
    let request = input.checked(ErrorCode::InvalidParameter)?;
    let cluster = identifier::cluster(call.scope(), request.cluster.as_deref())?;
    let given_include = request.include.unwrap_or_default();
    let include = InstanceInclude {
        tags: given_include.contains(&ContainerInstanceField::Tags),
        health: given_include.contains(&ContainerInstanceField::ContainerInstanceHealth),
    };
    let (instances, mut failures) = named(call, &cluster, given).await?;
    let ask = Command::DescribeContainerInstances {
        cluster: cluster.clone(),
        instances,
    };
    match call.ask(ask).await? {
        Answer::Instances { found, missing } => {
            failures.extend(
                missing
                    .iter()
                    .map(|id| missing_failure(call.scope().instance(&cluster, *id))),
            );
            let shown = found.iter().map(|view| show(call.scope(), view, include));
            Ok(DescribeContainerInstancesResponse {
                container_instances: Some(shown.collect()),
                failures: Some(failures),
            })
        }
        other => Err(unexpected(&other)),
    }
}
