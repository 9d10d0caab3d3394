//! UpdateContainerInstancesState: ACTIVE instances drain, DRAINING ones take tasks again. Tasks that
//! run stay where they are: only a service would replace them. Source: ECS.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::join;
use crate::reject::Reject;
use windlass_model::id::{InstanceId, Name};
use windlass_model::instance::InstanceStatus;

pub(crate) fn decide(
    draft: &mut Draft,
    cluster: &Name,
    instances: &[InstanceId],
    status: InstanceStatus,
    by: &str,
) -> Result<Answer, Reject> {
    draft.state.active_cluster(cluster)?;
    let (mut found, mut missing, mut inactive) = (Vec::new(), Vec::new(), Vec::new());
    for id in instances {
        let known = draft.state.instances.get(id);
        let Some(instance) = known
            .filter(|instance| instance.cluster == *cluster)
            .cloned()
        else {
            missing.push(*id);
            continue;
        };
        if instance.status == InstanceStatus::Inactive {
            inactive.push(*id);
            continue;
        }
        join::set_status(draft, &instance, status, by);
        found.extend(draft.state.instance_view(*id));
    }
    Ok(Answer::UpdatedInstances {
        found,
        missing,
        inactive,
    })
}
