//! CreateCluster: an ACTIVE name answers the existing cluster, unchanged.

use super::describe_clusters::show;
use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::Command;
use windlass_wire::convert::{self, ClusterParts};
use windlass_wire::ops::create_cluster::{CreateClusterRequest, CreateClusterResponse};
use windlass_wire::{ApiError, ErrorCode};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<CreateClusterRequest>,
) -> Result<CreateClusterResponse, ApiError> {
    let (request, net) = input.split();
    let create = convert::create_cluster(request)?;
    net.refuse(ErrorCode::InvalidParameter)?;
    match call.ask(Command::CreateCluster(create)).await? {
        Answer::Cluster(view) => {
            let cluster = Some(show(call.scope(), &view, ClusterParts::CREATED));
            Ok(CreateClusterResponse { cluster })
        }
        other => Err(unexpected(&other)),
    }
}
