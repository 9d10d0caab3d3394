//! ListTasks: a cluster's tasks of one desired status, by id. Filters are joined by and.

use crate::decision::Answer;
use crate::reject::Reject;
use crate::state::State;
use crate::view;
use std::ops::Bound;
use windlass_model::command::ListTasks;
use windlass_model::id::TaskId;
use windlass_model::status::Desired;
use windlass_model::task::TaskSpec;

pub(crate) fn read(state: &State, list: &ListTasks) -> Result<Answer, Reject> {
    state.active_cluster(&list.cluster)?;
    if let Some(service) = &list.service {
        // Services are not run yet, so none of that name exists.
        return Err(Reject::ServiceNotFound(service.clone()));
    }
    if let Some(id) = list.instance {
        let instance = state.instances.get(&id);
        if instance.is_none_or(|instance| instance.cluster != list.cluster) {
            return Err(Reject::InstanceNotFound(id));
        }
    }
    let after = match &list.page.after {
        None => Bound::Unbounded,
        Some(text) => {
            let id: TaskId = text.parse().map_err(|_| Reject::BadPage(text.clone()))?;
            Bound::Excluded(id)
        }
    };
    let tasks = state.index.cluster_tasks.get(&list.cluster);
    let ids = tasks
        .zip(list.desired)
        .map(|(tasks, desired)| match desired {
            Desired::Running => &tasks.wanted,
            Desired::Stopped => &tasks.unwanted,
        });
    let ids = ids
        .into_iter()
        .flat_map(|ids| ids.range((after, Bound::Unbounded)))
        .copied();
    let wanted = ids.filter(|id| state.specs.get(id).is_some_and(|spec| matches(spec, list)));
    let (tasks, more) = view::page(wanted, list.page.limit);
    Ok(Answer::TaskIds { tasks, more })
}

fn matches(spec: &TaskSpec, list: &ListTasks) -> bool {
    list.instance
        .is_none_or(|instance| spec.instance == instance)
        && list
            .family
            .as_deref()
            .is_none_or(|name| spec.definition.family.as_str() == name)
        && list
            .started_by
            .as_ref()
            .is_none_or(|by| spec.started_by.as_ref() == Some(by))
        && list.launch.is_none_or(|launch| spec.launch == launch)
}
