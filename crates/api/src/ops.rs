//! The ECS operations that are built, one file each; the others answer that they are not.

use crate::caller::Caller;
use crate::door::Door;
use crate::page::Query;
use crate::reject::api_error;
use windlass_cluster::Answer;
use windlass_model::arn::Scope;
use windlass_model::command::{Command, Request as Ask};
use windlass_model::id::Name;
use windlass_wire::check::{self, Violation};
use windlass_wire::{ApiError, ErrorCode, Operation, Request, decode, messages};

mod container_instance;
mod create_cluster;
mod delete_cluster;
mod delete_task_definitions;
mod deregister_container_instance;
mod deregister_task_definition;
mod describe_clusters;
mod describe_container_instances;
mod describe_task_definition;
pub(crate) mod describe_tasks;
mod list_clusters;
mod list_container_instances;
mod list_tags_for_resource;
mod list_task_definition_families;
mod list_task_definitions;
mod list_tasks;
mod put_cluster_capacity_providers;
mod register_task_definition;
pub(crate) mod run_task;
mod start_task;
mod stop_task;
mod tag_resource;
mod untag_resource;
mod update_container_instances_state;

/// One verified call of an ECS operation.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) door: &'a Door,
    pub(crate) caller: &'a Caller,
    pub(crate) body: &'a [u8],
}

/// What an operation is given: the request, and what the model has against it. An operation makes
/// its own checks first, whose sentences clients know.
pub(crate) struct Input<R> {
    request: R,
    violations: Vec<Violation>,
}

impl<R> Input<R> {
    /// The request, unless the model has something against it.
    pub(crate) fn checked(self, code: ErrorCode) -> Result<R, ApiError> {
        let (request, net) = self.split();
        net.refuse(code)?;
        Ok(request)
    }

    /// The request for an operation's own checks, and the net to hold under them.
    pub(crate) fn split(self) -> (R, Net) {
        (self.request, Net(self.violations))
    }
}

/// What the model has against a request that an operation has checked by itself.
pub(crate) struct Net(Vec<Violation>);

impl Net {
    pub(crate) fn refuse(&self, code: ErrorCode) -> Result<(), ApiError> {
        check::refuse(&self.0, code)
    }
}

impl Call<'_> {
    pub(crate) fn scope(&self) -> &Scope {
        &self.door.scope
    }

    /// Asks the leader in the caller's name.
    pub(crate) async fn ask(&self, command: Command) -> Result<Answer, ApiError> {
        let request = Ask {
            caller: self.caller.arn.clone(),
            command,
        };
        let answer = self.door.leader.ask(request).await;
        answer.map_err(|refused| api_error(self.scope(), refused))
    }

    /// What was read of a request about things in a cluster. While the cluster is not there, nothing
    /// else is wrong with the request: ECS looks for it before it looks at a task.
    pub(crate) async fn in_cluster<T>(
        &self,
        cluster: &Name,
        read: Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        if read.is_err() {
            self.ask(Command::DescribeContainerInstances {
                cluster: cluster.clone(),
                instances: Vec::new(),
            })
            .await?;
        }
        read
    }

    pub(crate) fn query(&self, what: String) -> Query<'_> {
        Query {
            caller: &self.caller.arn,
            what,
        }
    }

    pub(crate) fn read<R: Request>(&self) -> Result<Input<R>, ApiError> {
        let decoded = decode::<R>(self.body)?;
        Ok(Input {
            request: decoded.input,
            violations: decoded.violations,
        })
    }
}

/// The leader answered with another kind than the command's: a bug, told without a panic.
pub(crate) fn unexpected(answer: &Answer) -> ApiError {
    tracing::error!(?answer, "the leader's answer is of the wrong kind");
    ApiError::new(
        ErrorCode::Server,
        "Internal error: an answer of the wrong kind. Please report it.",
    )
}

macro_rules! built {
    ($($operation:ident => $module:ident),+ $(,)?) => {
        /// Answers one call: the body of a 200.
        pub(crate) async fn answer(
            operation: Operation,
            call: &Call<'_>,
        ) -> Result<Vec<u8>, ApiError> {
            match operation {
                $(Operation::$operation => {
                    let response = Box::pin($module::call(call, call.read()?)).await?;
                    render(&response)
                })+
                other => Err(messages::request::not_built(other)),
            }
        }
    };
}

fn render<R: serde::Serialize>(response: &R) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(response)
        .map_err(|err| ApiError::new(ErrorCode::Server, format!("Rendering the answer: {err}.")))
}

built! {
    CreateCluster => create_cluster,
    DeleteCluster => delete_cluster,
    DeleteTaskDefinitions => delete_task_definitions,
    DeregisterContainerInstance => deregister_container_instance,
    DeregisterTaskDefinition => deregister_task_definition,
    DescribeClusters => describe_clusters,
    DescribeContainerInstances => describe_container_instances,
    DescribeTaskDefinition => describe_task_definition,
    DescribeTasks => describe_tasks,
    ListClusters => list_clusters,
    ListContainerInstances => list_container_instances,
    ListTagsForResource => list_tags_for_resource,
    ListTaskDefinitionFamilies => list_task_definition_families,
    ListTaskDefinitions => list_task_definitions,
    ListTasks => list_tasks,
    PutClusterCapacityProviders => put_cluster_capacity_providers,
    RegisterTaskDefinition => register_task_definition,
    RunTask => run_task,
    StartTask => start_task,
    StopTask => stop_task,
    TagResource => tag_resource,
    UntagResource => untag_resource,
    UpdateContainerInstancesState => update_container_instances_state,
}
