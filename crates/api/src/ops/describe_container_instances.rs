//! DescribeContainerInstances: up to 100 whole records; unknown ones are failures.

use super::describe_clusters::missing_failure;
use crate::limits::PAGE_MAX;
use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::Command;
use windlass_wire::convert::{InstanceInclude, InstanceParts, identifier, show_instance};
use windlass_wire::ops::describe_container_instances::{
    ContainerInstanceField, DescribeContainerInstancesRequest, DescribeContainerInstancesResponse,
};
use windlass_wire::{ApiError, ErrorCode, messages};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<DescribeContainerInstancesRequest>,
) -> Result<DescribeContainerInstancesResponse, ApiError> {
    let given = input
        .request
        .container_instances
        .clone()
        .unwrap_or_default();
    if given.is_empty() {
        return Err(messages::container_instance::none_named());
    }
    if given.len() > PAGE_MAX {
        return Err(ApiError::invalid_parameter(
            "Container Instances cannot be greater than 100.",
        ));
    }
    let request = input.checked(ErrorCode::InvalidParameter)?;
    let cluster = identifier::cluster(call.scope(), request.cluster.as_deref())?;
    let given_include = request.include.unwrap_or_default();
    let include = InstanceInclude {
        tags: given_include.contains(&ContainerInstanceField::Tags),
        health: given_include.contains(&ContainerInstanceField::ContainerInstanceHealth),
    };
    let mut failures = Vec::new();
    let mut instances = Vec::new();
    for given in given {
        match identifier::instance(call.scope(), &cluster, &given)? {
            Some(instance) => instances.push(instance),
            None if given.starts_with("arn:") => failures.push(missing_failure(given)),
            None => {
                let arn = call
                    .scope()
                    .arn(&format!("container-instance/{cluster}/{given}"));
                failures.push(missing_failure(arn));
            }
        }
    }
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
            let shown = found.iter().map(|view| {
                let parts = InstanceParts {
                    instance: &view.instance,
                    node: &view.node,
                    remaining: &view.remaining,
                    running_tasks: view.running_tasks,
                    pending_tasks: view.pending_tasks,
                    heard_at: view.heard_at,
                };
                show_instance(call.scope(), &parts, include)
            });
            Ok(DescribeContainerInstancesResponse {
                container_instances: Some(shown.collect()),
                failures: Some(failures),
            })
        }
        other => Err(unexpected(&other)),
    }
}
