//! ListClusters: ARNs of ACTIVE clusters, by name.

use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::Command;
use windlass_wire::ops::list_clusters::{ListClustersRequest, ListClustersResponse};
use windlass_wire::{ApiError, ErrorCode};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<ListClustersRequest>,
) -> Result<ListClustersResponse, ApiError> {
    let request = input.checked(ErrorCode::InvalidParameter)?;
    let query = call.query("ListClusters".into());
    let tokens = &call.door.tokens;
    let page = tokens.page(&query, request.max_results, request.next_token.as_deref())?;
    match call.ask(Command::ListClusters(page)).await? {
        Answer::Names { names, more } => Ok(ListClustersResponse {
            next_token: names
                .last()
                .filter(|_| more)
                .map(|last| tokens.token(&query, last)),
            cluster_arns: Some(
                names
                    .iter()
                    .map(|name| call.scope().arn(&format!("cluster/{name}")))
                    .collect(),
            ),
        }),
        other => Err(unexpected(&other)),
    }
}
