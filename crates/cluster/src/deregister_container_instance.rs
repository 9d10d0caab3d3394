//! DeregisterContainerInstance: a node's membership in a cluster ends, and does not come back by
//! itself. Source: ECS.
//!
//! Forced, its tasks run on, as ECS promises. ECS loses sight of them; here their node still has its
//! agent, so they keep the room they hold, can be described and stopped, and report their end.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::join;
use crate::reject::Reject;
use std::sync::Arc;
use windlass_model::command::DeregisterContainerInstance;
use windlass_model::history::Event;
use windlass_model::instance::{Instance, InstanceStatus};
use windlass_model::row::Row;

pub(crate) fn decide(
    draft: &mut Draft,
    deregister: &DeregisterContainerInstance,
    by: &str,
) -> Result<Answer, Reject> {
    let (cluster, id) = (&deregister.cluster, deregister.instance);
    draft.state.active_cluster(cluster)?;
    let known = draft.state.instances.get(&id);
    let instance = known
        .filter(|instance| {
            instance.cluster == *cluster && instance.status != InstanceStatus::Inactive
        })
        .ok_or(Reject::InstanceNotFound(id))?;
    let load = draft.state.index.loads.get(&id);
    if load.is_some() && !deregister.force {
        return Err(Reject::InstanceHasTasks(id));
    }
    let tasks = load.map_or(0, |load| load.groups.values().sum());
    let instance = Instance {
        status: InstanceStatus::Inactive,
        version: instance.version.saturating_add(1),
        ..Instance::clone(instance)
    };
    draft.put(Row::Instance(Arc::new(instance.clone())));
    join::forget_earlier(draft, &instance);
    let event = Event::Left {
        node: instance.node,
        instance: id,
        by: by.to_owned(),
        tasks,
    };
    draft.log(format!("instance/{id}"), event.clone());
    draft.log(format!("cluster/{cluster}"), event);
    let found = draft.state.instance_view(id).into_iter().collect();
    Ok(Answer::Instances {
        found,
        missing: Vec::new(),
    })
}
