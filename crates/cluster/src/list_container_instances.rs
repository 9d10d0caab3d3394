//! ListContainerInstances: a cluster's instances by id, filtered by status and by an expression.

use crate::decision::Answer;
use crate::placement::Candidate;
use crate::placement::query::Query;
use crate::reject::Reject;
use crate::state::State;
use crate::view;
use windlass_model::command::ListContainerInstances;
use windlass_model::id::InstanceId;
use windlass_model::instance::InstanceStatus;

pub(crate) fn read(state: &State, list: &ListContainerInstances) -> Result<Answer, Reject> {
    state.active_cluster(&list.cluster)?;
    let query = list
        .filter
        .as_deref()
        .filter(|text| !text.trim().is_empty())
        .map(|text| {
            Query::parse(text).map_err(|err| Reject::BadExpression {
                expression: text.to_owned(),
                why: err.to_string(),
            })
        });
    let query = query.transpose()?;
    let after = match &list.page.after {
        None => None,
        Some(text) => {
            let id: InstanceId = text.parse().map_err(|_| Reject::BadPage(text.clone()))?;
            Some(id)
        }
    };
    let wanted = state.instances.values().filter(|instance| {
        let status = match list.status {
            // Without a filter all but the deregistered ones.
            None => instance.status != InstanceStatus::Inactive,
            Some(status) => instance.status == status,
        };
        status && instance.cluster == list.cluster && after.is_none_or(|after| instance.id > after)
    });
    let wanted = wanted
        .map(|instance| instance.id)
        .filter(|id| match &query {
            None => true,
            Some(query) => {
                Candidate::of_instance(state, *id).is_some_and(|place| query.matches(&place))
            }
        });
    let (instances, more) = view::page(wanted, list.page.limit);
    Ok(Answer::InstanceIds { instances, more })
}
