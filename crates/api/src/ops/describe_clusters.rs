//! DescribeClusters: up to 100, `default` when none is named; unknown ones are failures.

use crate::limits::PAGE_MAX;
use crate::ops::{Call, Input, unexpected};
use windlass_cluster::{Answer, ClusterView};
use windlass_model::arn::Scope;
use windlass_model::command::Command;
use windlass_wire::convert::{ClusterCounts, ClusterParts, identifier, show_cluster};
use windlass_wire::ops::describe_clusters::{
    ClusterField, DescribeClustersRequest, DescribeClustersResponse,
};
use windlass_wire::shapes::cluster::Cluster;
use windlass_wire::shapes::failure::Failure;
use windlass_wire::{ApiError, ErrorCode};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<DescribeClustersRequest>,
) -> Result<DescribeClustersResponse, ApiError> {
    let request = input.checked(ErrorCode::InvalidParameter)?;
    let given = request.clusters.unwrap_or_default();
    if given.len() > PAGE_MAX {
        return Err(ApiError::invalid_parameter(
            "Clusters cannot be greater than 100.",
        ));
    }
    let mut names = given
        .iter()
        .map(|given| identifier::cluster(call.scope(), Some(given)))
        .collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() {
        names.push(identifier::cluster(call.scope(), None)?);
    }
    let include = request.include.unwrap_or_default();
    let parts = ClusterParts {
        described: true,
        configurations: include.contains(&ClusterField::Configurations),
        settings: include.contains(&ClusterField::Settings),
        statistics: include.contains(&ClusterField::Statistics),
        tags: include.contains(&ClusterField::Tags),
    };
    match call.ask(Command::DescribeClusters(names)).await? {
        Answer::Clusters { found, missing } => Ok(DescribeClustersResponse {
            clusters: Some(
                found
                    .iter()
                    .map(|view| show(call.scope(), view, parts))
                    .collect(),
            ),
            failures: Some(
                missing
                    .iter()
                    .map(|name| missing_failure(call.scope().cluster(name)))
                    .collect(),
            ),
        }),
        other => Err(unexpected(&other)),
    }
}

/// The failure of a Describe call for what is not there.
pub(super) fn missing_failure(arn: String) -> Failure {
    Failure {
        arn: Some(arn),
        reason: Some("MISSING".into()),
        detail: None,
    }
}

pub(super) fn show(scope: &Scope, view: &ClusterView, parts: ClusterParts) -> Cluster {
    let counts = ClusterCounts {
        registered_instances: view.registered_instances,
        running_ec2: view.ec2.running,
        running_fargate: view.fargate.running,
        running_external: view.external.running,
        pending_ec2: view.ec2.pending,
        pending_fargate: view.fargate.pending,
        pending_external: view.external.pending,
    };
    show_cluster(scope, &view.cluster, &counts, parts)
}
