//! PutClusterCapacityProviders: replaces a cluster's capacity providers and its default strategy.

use super::describe_clusters::show;
use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::Command;
use windlass_wire::convert::{self, ClusterParts};
use windlass_wire::ops::put_cluster_capacity_providers::{
    PutClusterCapacityProvidersRequest, PutClusterCapacityProvidersResponse,
};
use windlass_wire::{ApiError, ErrorCode};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<PutClusterCapacityProvidersRequest>,
) -> Result<PutClusterCapacityProvidersResponse, ApiError> {
    let (request, net) = input.split();
    let put = convert::put_cluster_capacity_providers(call.scope(), request)?;
    net.refuse(ErrorCode::InvalidParameter)?;
    match call.ask(Command::PutClusterCapacityProviders(put)).await? {
        Answer::Cluster(view) => {
            let cluster = Some(show(call.scope(), &view, ClusterParts::CREATED));
            Ok(PutClusterCapacityProvidersResponse { cluster })
        }
        other => Err(unexpected(&other)),
    }
}
