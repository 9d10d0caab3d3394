//! DescribeContainerInstances: a cluster's instances with what is left of their nodes.

use crate::decision::Answer;
use crate::reject::Reject;
use crate::state::State;
use windlass_model::id::{InstanceId, Name};

pub(crate) fn read(
    state: &State,
    cluster: &Name,
    instances: &[InstanceId],
) -> Result<Answer, Reject> {
    state.active_cluster(cluster)?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for id in instances {
        match state
            .instance_view(*id)
            .filter(|view| view.instance.cluster == *cluster)
        {
            Some(view) => found.push(view),
            None => missing.push(*id),
        }
    }
    Ok(Answer::Instances { found, missing })
}
