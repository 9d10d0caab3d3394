//! RunTask: finds places for up to ten tasks and starts them. Some may be placed and others
//! refused; that is success. Elsewhere: the chosen instances of StartTask, and what follows
//! (`report`).

use crate::decision::Answer;
use crate::draft::Draft;
use crate::join;
use crate::launch::{self, Provided};
use crate::limits::{REFUSALS_ANSWERED_MAX, REFUSALS_KEPT_MAX};
use crate::new_task::{Place, Plan};
use crate::placement::query::Query;
use crate::placement::{self, Candidate, Constraint, Needs};
use crate::reject::Reject;
use crate::state::State;
use std::sync::Arc;
use windlass_model::command::RunTask;
use windlass_model::history::Event;
use windlass_model::id::{InstanceId, Name, NodeId};
use windlass_model::placement::{PlacementConstraint, PlacementStrategy, Refusal, Refused};
use windlass_model::row::{ClientToken, Row};
use windlass_model::task::Launch;

pub(crate) fn decide(draft: &mut Draft, run: &RunTask, by: &str) -> Result<Answer, Reject> {
    let cluster = draft.state.active_cluster(&run.task.cluster)?.clone();
    let token = run
        .client_token
        .as_ref()
        .map(|token| format!("{by}/{token}"));
    if let Some(known) = token
        .as_ref()
        .and_then(|token| remembered(draft.state, token))
    {
        return repeated(draft.state, known, run);
    }
    let plan = Plan::check(draft.state, &run.task, by)?;
    let provided = launch::decide(run, &cluster)?;
    let launch = provided
        .first()
        .map_or(Launch::Ec2, |provided| provided.launch);
    plan.check_launch(launch)?;
    let fargate = launch == Launch::Fargate;
    if fargate && !run.constraints.is_empty() {
        return Err(Reject::ConstraintsNotAllowed);
    }
    if fargate && !run.strategies.is_empty() {
        return Err(Reject::StrategiesNotAllowed);
    }
    if !fargate && run.platform_version.is_some() {
        return Err(Reject::PlatformVersionNotAllowed);
    }
    let mut needs = plan.needs(launch);
    if !fargate {
        needs.constraints = constraints(run, &plan)?;
        join::on_demand(draft, &cluster.name, by);
        if !draft
            .state
            .index
            .cluster_instances
            .contains_key(&cluster.name)
        {
            return Err(Reject::NoInstances {
                cluster: cluster.name.clone(),
            });
        }
    }

    let mut tasks = Vec::new();
    let mut refused = Vec::new();
    for provided in &provided {
        let Some(place) = find(draft, &cluster.name, provided, &needs, &run.strategies) else {
            // The next task needs the same: it would be refused by the same nodes.
            refused = explain(draft, &cluster.name, &plan, &needs, launch);
            break;
        };
        tasks.push(plan.create(draft, provided, &place));
    }
    if let Some(token) = token.filter(|_| !tasks.is_empty()) {
        draft.put(Row::ClientToken(Arc::new(ClientToken {
            token,
            fingerprint: run.fingerprint,
            tasks: tasks.clone(),
            created_at: draft.now(),
            cluster: cluster.name.clone(),
        })));
    }
    let tasks = tasks
        .into_iter()
        .filter_map(|task| draft.state.task_view(task))
        .collect();
    Ok(Answer::Run {
        launch,
        tasks,
        refused,
    })
}

/// A token that was used. One whose cluster was deleted since is as good as new, though a cluster
/// of that name be there again.
fn remembered<'a>(state: &'a State, token: &str) -> Option<&'a ClientToken> {
    let known = state.tokens.get(token)?;
    let cluster = state.active_cluster(&known.cluster).ok()?;
    (cluster.created_at <= known.created_at).then_some(known.as_ref())
}

/// The same token again: the original tasks, as they are now.
fn repeated(state: &State, known: &ClientToken, run: &RunTask) -> Result<Answer, Reject> {
    if known.fingerprint != run.fingerprint {
        return Err(Reject::TokenConflict {
            tasks: known.tasks.clone(),
            cluster: known.cluster.clone(),
        });
    }
    let tasks = known
        .tasks
        .iter()
        .filter_map(|task| state.task_view(*task))
        .collect();
    Ok(Answer::Run {
        // Nothing was refused, so it is not read.
        launch: Launch::Ec2,
        tasks,
        refused: Vec::new(),
    })
}

fn constraints(run: &RunTask, plan: &Plan) -> Result<Vec<Constraint>, Reject> {
    let member_of = |written: &String| {
        let query = Query::parse(written).map_err(|err| Reject::BadExpression {
            expression: written.clone(),
            why: err.to_string(),
        })?;
        Ok(Constraint::MemberOf {
            written: written.clone(),
            query,
        })
    };
    let given = run.constraints.iter().map(|constraint| match constraint {
        PlacementConstraint::DistinctInstance => Ok(Constraint::DistinctInstance),
        PlacementConstraint::MemberOf(written) => member_of(written),
    });
    let defined = plan
        .definition
        .template
        .placement_constraints
        .iter()
        .map(member_of);
    given.chain(defined).collect()
}

fn find(
    draft: &mut Draft,
    cluster: &Name,
    provided: &Provided,
    needs: &Needs,
    strategies: &[PlacementStrategy],
) -> Option<Place> {
    // What is provided nowhere needs no search.
    if needs.unsupported.is_some() {
        return None;
    }
    let pivot = draft.state.random();
    let state = &*draft.state;
    let found = match provided.launch {
        Launch::Fargate => placement::place(nodes(state, pivot), needs, strategies),
        Launch::Ec2 | Launch::External => {
            placement::place(instances(state, cluster, pivot), needs, strategies)
        }
    }?;
    Some(Place {
        instance: found.place.id(),
        node: found.place.node.id,
        considered: found.considered,
        fitting: found.fitting,
    })
}

/// A cluster's instances, in ring order from a random point: ids are random, so a start between
/// two of them chooses at random without counting them.
fn instances<'a>(
    state: &'a State,
    cluster: &Name,
    pivot: u128,
) -> impl Iterator<Item = Candidate<'a>> {
    let ids = state.index.cluster_instances.get(cluster);
    let pivot = InstanceId(pivot);
    let ring = ids
        .into_iter()
        .flat_map(move |ids| ids.range(pivot..).chain(ids.range(..pivot)));
    ring.filter_map(|id| Candidate::of_instance(state, *id))
}

fn nodes(state: &State, pivot: u128) -> impl Iterator<Item = Candidate<'_>> {
    let pivot = NodeId(pivot);
    let ring = state.nodes.range(pivot..).chain(state.nodes.range(..pivot));
    ring.map(|(_, node)| Candidate::of_node(state, node))
}

/// One refusal per place, the nearest to fitting first.
fn explain(
    draft: &mut Draft,
    cluster: &Name,
    plan: &Plan,
    needs: &Needs,
    launch: Launch,
) -> Vec<Refused> {
    let state = &*draft.state;
    let refused = |place: Candidate| {
        let refusal = placement::refusal(&place, needs)?;
        Some(Refused {
            instance: place.id(),
            refusal,
        })
    };
    let mut refused: Vec<Refused> = match launch {
        Launch::Fargate => nodes(state, 0).filter_map(refused).collect(),
        Launch::Ec2 | Launch::External => {
            instances(state, cluster, 0).filter_map(refused).collect()
        }
    };
    if refused.is_empty() {
        // Fargate without a single node: nothing refused, so this says that nothing could.
        let refusal = match &needs.unsupported {
            Some(what) => Refusal::Unsupported(what.clone()),
            None => Refusal::AgentDisconnected,
        };
        refused.push(Refused {
            instance: InstanceId(0),
            refusal,
        });
    }
    let total = u32::try_from(refused.len()).unwrap_or(u32::MAX);
    placement::sort_for_reading(&mut refused, |item| &item.refusal);
    refused.truncate(REFUSALS_ANSWERED_MAX);
    let event = Event::NotPlaced {
        definition: plan.definition.key.clone(),
        refused: refused.iter().take(REFUSALS_KEPT_MAX).cloned().collect(),
        total,
    };
    draft.log(format!("cluster/{cluster}"), event.clone());
    draft.log(format!("definition/{}", plan.definition.key), event);
    refused
}
