//! The control plane's state machine: what is known, and what follows from a command.
//!
//! Scope: [`State`] (rows and the indexes derived from them), one file per verb that decides one
//! command, [`take_due`] for what time alone makes due, and `placement`, which finds a node for a
//! task. Not here: HTTP, JSON and the words of AWS (`api`, `wire`), who commits and sends
//! (`server`), what a node does with its tasks (`node`).
//!
//! Pure: the only time and randomness are those of the [`Turn`], so the same commands give the
//! same rows, and a trace can be replayed.
//!
//! A leader's loop is:
//! 1. [`State::begin`] with the turn's time and seed;
//! 2. [`take`] for each request: it decides *and* applies, so the next request sees the changes; an
//!    [`Answer::Unfinished`] asks for the same request again, in this turn or the next;
//! 3. [`take_due`] until [`next_due`] lies ahead;
//! 4. commit every [`Decision`]'s changes, then release answers and effects; or, when certainly
//!    nothing was written, [`State::roll_back`].
//!
//! Start reading at [`take`]; a verb's file is named after it.

mod census;
mod decision;
mod draft;
mod due;
mod index;
mod join;
mod launch;
mod limits;
mod new_task;
mod overrides;
mod placement;
mod reject;
mod state;
mod stop;
mod undo;
mod unsupported;
mod view;

mod add_node;
mod create_cluster;
mod delete_cluster;
mod delete_task_definitions;
mod deregister_container_instance;
mod deregister_task_definition;
mod describe_clusters;
mod describe_container_instances;
mod describe_task_definition;
mod describe_tasks;
mod find_task;
mod heartbeat;
mod hurry_stop;
mod join_at_start;
mod list_clusters;
mod list_container_instances;
mod list_nodes;
mod list_tags_for_resource;
mod list_task_definition_families;
mod list_task_definitions;
mod list_tasks;
mod node_connected;
mod node_disconnected;
mod ports_in_use;
mod put_cluster_capacity_providers;
mod register_task_definition;
mod report;
mod run_task;
mod start_task;
mod stop_everything;
mod stop_task;
mod tag_resource;
mod unassigned;
mod untag_resource;
mod update_container_instances_state;

pub use census::Census;
pub use decision::{Answer, Decision, DeleteFailure, Effect};
pub use due::{next_due, take_due};
pub use placement::query::{Query, QueryError, Subject};
pub use reject::Reject;
pub use state::{State, Turn};
pub use view::{ClusterView, DefinitionView, InstanceView, LaunchCounts, NodeView, TaskView};

use draft::Draft;
use windlass_model::command::{Command, Request};

/// Decides one request against the working state and applies its changes, so that the next request
/// of the turn sees them.
///
/// # Errors
/// A typed [`Reject`]; the state is then as it was.
pub fn take(state: &mut State, request: &Request) -> Result<Decision, Reject> {
    let mut draft = Draft::new(state);
    let answer = decide(&mut draft, &request.command, &request.caller)?;
    Ok(draft.finish(answer))
}

/// Every verb checks all it can reject before its first change.
fn decide(draft: &mut Draft, command: &Command, by: &str) -> Result<Answer, Reject> {
    match command {
        Command::CreateCluster(create) => create_cluster::decide(draft, create, by),
        Command::DescribeClusters(names) => Ok(describe_clusters::read(draft.state, names)),
        Command::ListClusters(page) => Ok(list_clusters::read(draft.state, page)),
        Command::PutClusterCapacityProviders(put) => {
            put_cluster_capacity_providers::decide(draft, put)
        }
        Command::DeleteCluster(name) => delete_cluster::decide(draft, name, by),
        Command::RegisterTaskDefinition(register) => {
            register_task_definition::decide(draft, register, by)
        }
        Command::DescribeTaskDefinition(which) => {
            describe_task_definition::read(draft.state, which)
        }
        Command::ListTaskDefinitions(list) => list_task_definitions::read(draft.state, list),
        Command::ListTaskDefinitionFamilies(list) => {
            Ok(list_task_definition_families::read(draft.state, list))
        }
        Command::DeregisterTaskDefinition(key) => {
            deregister_task_definition::decide(draft, key, by)
        }
        Command::DeleteTaskDefinitions(keys) => {
            Ok(delete_task_definitions::decide(draft, keys, by))
        }
        Command::RunTask(run) => run_task::decide(draft, run, by),
        Command::StartTask(start) => start_task::decide(draft, start, by),
        Command::StopTask(stop) => stop_task::decide(draft, stop, by),
        Command::DescribeTasks { cluster, tasks } => {
            describe_tasks::read(draft.state, cluster, tasks)
        }
        Command::ListTasks(list) => list_tasks::read(draft.state, list),
        Command::DescribeContainerInstances { cluster, instances } => {
            describe_container_instances::read(draft.state, cluster, instances)
        }
        Command::ListContainerInstances(list) => list_container_instances::read(draft.state, list),
        Command::DeregisterContainerInstance(deregister) => {
            deregister_container_instance::decide(draft, deregister, by)
        }
        Command::UpdateContainerInstancesState {
            cluster,
            instances,
            status,
        } => update_container_instances_state::decide(draft, cluster, instances, *status, by),
        Command::Tag { resource, tags } => tag_resource::decide(draft, resource, tags),
        Command::Untag { resource, keys } => untag_resource::decide(draft, resource, keys),
        Command::ListTags(resource) => list_tags_for_resource::read(draft.state, resource),
        Command::AddNode { node, cluster } => add_node::decide(draft, *node, cluster, by),
        Command::JoinAtStart { node, cluster } => join_at_start::decide(draft, *node, cluster, by),
        Command::ListNodes => Ok(list_nodes::read(draft.state)),
        Command::FindTask(prefix) => find_task::read(draft.state, prefix),
        Command::NodeConnected(node) => Ok(node_connected::decide(draft, node)),
        Command::NodeDisconnected(node) => node_disconnected::decide(draft, *node),
        Command::Heartbeat(node) => heartbeat::decide(draft, *node),
        Command::PortsInUse { node, ports } => ports_in_use::decide(draft, *node, ports),
        Command::Unassigned { node, tasks } => Ok(unassigned::decide(draft, *node, tasks)),
        Command::Report(report) => Ok(report::decide(draft, report)),
        Command::StopEverything => Ok(stop_everything::decide(draft)),
        Command::HurryStop(hurry) => Ok(hurry_stop::decide(draft, hurry)),
    }
}
