//! DescribeTasks: those of the cluster that are in the state, STOPPED ones for their hour.

use crate::decision::Answer;
use crate::reject::Reject;
use crate::state::State;
use windlass_model::id::{Name, TaskId};

pub(crate) fn read(state: &State, cluster: &Name, tasks: &[TaskId]) -> Result<Answer, Reject> {
    state.active_cluster(cluster)?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for id in tasks {
        match state
            .task_view(*id)
            .filter(|view| view.spec.cluster == *cluster)
        {
            Some(view) => found.push(view),
            None => missing.push(*id),
        }
    }
    Ok(Answer::Tasks { found, missing })
}
