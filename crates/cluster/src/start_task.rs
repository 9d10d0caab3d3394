//! StartTask: one task on each instance that the caller names. Nothing is chosen, so placement
//! constraints and strategies do not apply, and a DRAINING instance takes it. Source: ECS.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::launch::Provided;
use crate::new_task::{Place, Plan};
use crate::placement::{self, Candidate, Needs};
use crate::reject::Reject;
use crate::state::State;
use windlass_model::command::StartTask;
use windlass_model::history::Event;
use windlass_model::id::{InstanceId, Name};
use windlass_model::placement::{Refusal, Refused};
use windlass_model::task::Launch;

pub(crate) fn decide(draft: &mut Draft, start: &StartTask, by: &str) -> Result<Answer, Reject> {
    let cluster = draft
        .state
        .active_cluster(&start.task.cluster)?
        .name
        .clone();
    let plan = Plan::check(draft.state, &start.task, by)?;
    plan.check_launch(Launch::Ec2)?;
    let needs = Needs {
        even_draining: true,
        ..plan.needs(Launch::Ec2)
    };
    let provided = Provided {
        launch: Launch::Ec2,
        provider: None,
    };

    let mut tasks = Vec::new();
    let mut refused = Vec::new();
    for instance in &start.instances {
        match look(draft.state, &cluster, *instance, &needs) {
            Ok(place) => tasks.push(plan.create(draft, &provided, &place)),
            Err(refusal) => refused.push(Refused {
                instance: *instance,
                refusal,
            }),
        }
    }
    if !refused.is_empty() {
        let event = Event::NotPlaced {
            definition: plan.definition.key.clone(),
            total: u32::try_from(refused.len()).unwrap_or(u32::MAX),
            refused: refused.clone(),
        };
        draft.log(format!("cluster/{cluster}"), event);
    }
    let tasks = tasks
        .into_iter()
        .filter_map(|task| draft.state.task_view(task))
        .collect();
    Ok(Answer::Run {
        launch: Launch::Ec2,
        tasks,
        refused,
    })
}

fn look(state: &State, cluster: &Name, id: InstanceId, needs: &Needs) -> Result<Place, Refusal> {
    let place = Candidate::of_instance(state, id)
        .filter(|place| {
            place
                .instance
                .is_some_and(|instance| instance.cluster == *cluster)
        })
        .ok_or(Refusal::Missing)?;
    match placement::refusal(&place, needs) {
        Some(refusal) => Err(refusal),
        None => Ok(Place {
            instance: id,
            node: place.node.id,
            considered: 1,
            fitting: 1,
        }),
    }
}
