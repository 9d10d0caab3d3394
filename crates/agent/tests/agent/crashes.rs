//! The agent dies at every call it makes, before the call does anything and after it did all; the
//! next one goes on. No container is started twice, and nothing is left.
//!
//! One thread runs it all: what was aborted does nothing more, as after the death of a process.

use crate::definitions::{assignment, stopped};
use crate::gate::Gate;
use crate::world::{World, sandbox};
use windlass_model::definition::NetworkMode;
use windlass_model::status::TaskStatus;
use windlass_runtime::spec::Exit;
use windlass_session::Assignment;

/// More calls than any of these lives makes.
const CALLS_MAX: i64 = 100;

/// Lives the task's life up to the crash at `call`; false when there was no such call.
async fn crash_at(world: &World, task: &Assignment, call: i64, after: bool) -> bool {
    let gate = Gate::at(call, after);
    let mut node = world.agent_behind(gate.clone()).await;
    let life = async {
        node.assign(1, vec![task.clone()]).await;
        node.until_status(TaskStatus::Running).await;
        node.assign(2, vec![stopped(task)]).await;
        node.until_forgotten().await;
    };
    let crashed = tokio::select! {
        () = gate.reached() => true,
        () = life => false,
    };
    node.crash().await;
    crashed
}

async fn every_crash(mode: NetworkMode, text: &str) {
    for after in [false, true] {
        for call in 0..CALLS_MAX {
            let world = World::new();
            let task = assignment(1, mode, text);
            let crashed = crash_at(&world, &task, call, after).await;
            let mut node = world.agent().await;
            if !crashed {
                assert!(call > 5, "only {call} calls");
                break;
            }
            node.assign(3, vec![task.clone()]).await;
            // It goes on to run, or it was stopping already.
            let up = |o: &windlass_model::observation::Observation| {
                matches!(o.status, TaskStatus::Running | TaskStatus::Stopped)
            };
            node.until(up).await;
            node.assign(4, vec![stopped(&task)]).await;
            node.until_forgotten().await;
            let starts = world.starts();
            let mut once = starts.clone();
            once.dedup();
            assert_eq!(starts, once, "call {call}, after: {after}");
            world.assert_empty().await;
        }
    }
}

#[tokio::test]
async fn awsvpc_survives_a_crash_at_every_call() {
    every_crash(NetworkMode::Awsvpc, "web!\nside").await;
}

#[tokio::test]
async fn bridge_survives_a_crash_at_every_call() {
    every_crash(NetworkMode::Bridge, "db!\nweb! links=db").await;
}

#[tokio::test]
async fn what_ended_without_an_agent_keeps_its_exit_code() {
    let world = World::new();
    let mut node = world.agent().await;
    let task = assignment(1, NetworkMode::Bridge, "web!\nside");
    node.assign(1, vec![task.clone()]).await;
    node.until_status(TaskStatus::Running).await;
    node.crash().await;
    assert!(
        world
            .runtime
            .exit(&sandbox(&task), "web", Exit::Code(42), None)
    );
    let mut node = world.agent().await;
    let end = node.until_status(TaskStatus::Stopped).await;
    assert_eq!(end.containers[0].exit_code, Some(42));
    assert_eq!(end.containers[1].exit_code, Some(143));
    node.until_forgotten().await;
    world.assert_empty().await;
}

#[tokio::test]
async fn what_runs_is_found_again() {
    let world = World::new();
    let mut node = world.agent().await;
    let task = assignment(1, NetworkMode::Awsvpc, "web!");
    node.assign(1, vec![task.clone()]).await;
    let before = node.until_status(TaskStatus::Running).await;
    // The acknowledgement may be lost with the agent; the report may then come again.
    node.crash().await;
    let mut node = world.agent().await;
    node.assign(2, vec![stopped(&task)]).await;
    let end = node.until_status(TaskStatus::Stopped).await;
    assert_eq!(
        end.containers[0].started_at,
        before.containers[0].started_at
    );
    assert!(end.sequence > before.sequence);
    assert_eq!(world.starts().len(), 1);
    node.until_forgotten().await;
    world.assert_empty().await;
}
