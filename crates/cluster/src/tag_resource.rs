//! TagResource: adds tags to a resource, replacing those of the same keys. Also finds and writes a
//! resource's tags for the other two tag verbs.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::new_task::{merge_tags, too_many};
use crate::reject::Reject;
use crate::state::State;
use std::sync::Arc;
use windlass_model::cluster::Cluster;
use windlass_model::command::Resource;
use windlass_model::definition::DefinitionState;
use windlass_model::instance::Instance;
use windlass_model::row::Row;
use windlass_model::tag::Tag;
use windlass_model::task::TaskState;

pub(crate) fn decide(
    draft: &mut Draft,
    resource: &Resource,
    more: &[Tag],
) -> Result<Answer, Reject> {
    let row = find(draft.state, resource)?;
    let mut tags = row.tags().to_vec();
    merge_tags(&mut tags, more);
    if too_many(&tags) {
        return Err(Reject::TooManyTags);
    }
    draft.put(row.with(tags));
    Ok(Answer::Done)
}

/// The row that holds a resource's tags.
pub(crate) enum Tagged {
    Cluster(Arc<Cluster>),
    Task(Arc<TaskState>),
    Instance(Arc<Instance>),
    Definition(Arc<DefinitionState>),
}

pub(crate) fn find(state: &State, resource: &Resource) -> Result<Tagged, Reject> {
    let row = match resource {
        Resource::Cluster(name) => {
            let cluster = state.active_cluster(name).cloned();
            return cluster.map(Tagged::Cluster).map_err(of_tags);
        }
        Resource::Task(cluster, id) => {
            state.active_cluster(cluster)?;
            let spec = state.specs.get(id).filter(|spec| spec.cluster == *cluster);
            spec.and_then(|_| state.tasks.get(id))
                .cloned()
                .map(Tagged::Task)
        }
        Resource::Instance(cluster, id) => {
            state.active_cluster(cluster)?;
            let instance = state.instances.get(id);
            instance
                .filter(|row| row.cluster == *cluster)
                .cloned()
                .map(Tagged::Instance)
        }
        Resource::Definition(key) => state
            .definition_states
            .get(key)
            .cloned()
            .map(Tagged::Definition),
    };
    row.ok_or(Reject::ResourceNotFound)
}

/// ECS has words of its own for the tags of a cluster that was deleted.
fn of_tags(reject: Reject) -> Reject {
    match reject {
        Reject::ClusterInactive(name) => Reject::TagsOfInactiveCluster(name),
        other => other,
    }
}

impl Tagged {
    pub(crate) fn tags(&self) -> &[Tag] {
        match self {
            Tagged::Cluster(row) => &row.tags,
            Tagged::Task(row) => &row.tags,
            Tagged::Instance(row) => &row.tags,
            Tagged::Definition(row) => &row.tags,
        }
    }

    pub(crate) fn with(&self, tags: Vec<Tag>) -> Row {
        match self {
            Tagged::Cluster(row) => Row::Cluster(Arc::new(Cluster {
                tags,
                ..Cluster::clone(row)
            })),
            Tagged::Task(row) => Row::TaskState(Arc::new(TaskState {
                tags,
                ..TaskState::clone(row)
            })),
            Tagged::Instance(row) => Row::Instance(Arc::new(Instance {
                tags,
                ..Instance::clone(row)
            })),
            Tagged::Definition(row) => {
                let state = DefinitionState {
                    tags,
                    ..DefinitionState::clone(row)
                };
                Row::DefinitionState(Arc::new(state))
            }
        }
    }
}
