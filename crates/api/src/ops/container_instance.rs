//! Container instances as the operations about them read and show them.

use super::describe_clusters::missing_failure;
use crate::ops::Call;
use windlass_cluster::InstanceView;
use windlass_model::arn::Scope;
use windlass_model::id::{InstanceId, Name};
use windlass_wire::convert::{InstanceInclude, InstanceParts, identifier, show_instance};
use windlass_wire::shapes::container_instance::ContainerInstance;
use windlass_wire::shapes::failure::Failure;
use windlass_wire::{ApiError, messages};

/// The ids in a list, and a failure for each that cannot be there.
pub(super) async fn named(
    call: &Call<'_>,
    cluster: &Name,
    given: Vec<String>,
) -> Result<(Vec<InstanceId>, Vec<Failure>), ApiError> {
    let scope = call.scope();
    let (mut instances, mut failures) = (Vec::new(), Vec::new());
    for given in given {
        let read = identifier::instance(scope, cluster, &given);
        match call.in_cluster(cluster, read).await? {
            Some(instance) => instances.push(instance),
            None => failures.push(missing_failure(identifier::instance_arn(
                scope, cluster, given,
            ))),
        }
    }
    Ok((instances, failures))
}

/// The list of a request that needs one.
pub(super) fn listed(given: Option<&Vec<String>>, max: usize) -> Result<Vec<String>, ApiError> {
    let given = given.cloned().unwrap_or_default();
    if given.is_empty() {
        return Err(messages::container_instance::none_named());
    }
    if given.len() > max {
        return Err(messages::container_instance::too_many(max));
    }
    Ok(given)
}

pub(super) fn show(
    scope: &Scope,
    view: &InstanceView,
    include: InstanceInclude,
) -> ContainerInstance {
    let parts = InstanceParts {
        instance: &view.instance,
        node: &view.node,
        remaining: &view.remaining,
        running_tasks: view.running_tasks,
        pending_tasks: view.pending_tasks,
        heard_at: view.heard_at,
    };
    show_instance(scope, &parts, include)
}
