//! DeleteCluster: an empty cluster becomes INACTIVE.

use super::describe_clusters::show;
use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::Command;
use windlass_wire::convert::{ClusterParts, identifier};
use windlass_wire::ops::delete_cluster::{DeleteClusterRequest, DeleteClusterResponse};
use windlass_wire::{ApiError, ErrorCode};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<DeleteClusterRequest>,
) -> Result<DeleteClusterResponse, ApiError> {
    let request = input.checked(ErrorCode::InvalidParameter)?;
    let name = identifier::cluster(call.scope(), request.cluster.as_deref())?;
    match call.ask(Command::DeleteCluster(name)).await? {
        Answer::Cluster(view) => {
            let cluster = Some(show(call.scope(), &view, ClusterParts::default()));
            Ok(DeleteClusterResponse { cluster })
        }
        other => Err(unexpected(&other)),
    }
}
