//! Performs one action of `node` and says what came of it. Every action may be repeated after a
//! crash.

use crate::agent::Context;
use crate::images::{Content, Wanted};
use crate::ledger::{NetworkRecord, Record};
use crate::limits::*;
use crate::prepare::{self, make_folders, prepare};
use crate::{container_spec, reason, task_network};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use windlass_model::container::ContainerDefinition;
use windlass_model::definition::Template;
use windlass_model::id::Millis;
use windlass_model::stop::ReasonName;
use windlass_node::event::Event;
use windlass_node::plan::{Action, Scope};
use windlass_runtime::Error as RuntimeError;
use windlass_runtime::protocol::Refusal;
use windlass_runtime::spec::{Exit, SandboxId};

/// What came of an action, with what only the agent keeps of it.
pub(crate) struct Outcome {
    /// `None` when an event of the runtime will tell.
    pub(crate) event: Option<Event>,
    pub(crate) network: Option<NetworkRecord>,
    pub(crate) content: Option<(usize, Arc<Content>)>,
    /// For the task's history.
    pub(crate) note: Option<String>,
    /// The runtime and the view disagree: ask the runtime for all it knows.
    pub(crate) resync: bool,
}

impl Outcome {
    const NOTHING: Outcome = Outcome {
        event: None,
        network: None,
        content: None,
        note: None,
        resync: false,
    };
}

impl From<Event> for Outcome {
    fn from(event: Event) -> Outcome {
        Outcome {
            event: Some(event),
            ..Outcome::NOTHING
        }
    }
}

/// An action with what it needs; the record is a snapshot.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) action: Action,
    pub(crate) record: Arc<Record>,
    pub(crate) content: Option<Arc<Content>>,
    /// Of the containers that this one links to.
    pub(crate) linked: BTreeMap<usize, Arc<Content>>,
}

impl Job {
    pub(crate) fn template(&self) -> &Template {
        &self.record.assignment.definition.template
    }

    fn sandbox(&self) -> SandboxId {
        SandboxId(self.record.sandbox.clone())
    }

    pub(crate) fn definition(&self, at: usize) -> &ContainerDefinition {
        &self.template().containers[at]
    }
}

pub(crate) async fn perform(cx: Arc<Context>, job: Job) -> Outcome {
    let action = job.action;
    tracing::debug!(target: "timing", "begin {action:?}");
    let outcome = dispatch(cx, job).await;
    tracing::debug!(target: "timing", "end {action:?}");
    outcome
}

async fn dispatch(cx: Arc<Context>, job: Job) -> Outcome {
    match job.action {
        Action::CreateSandbox => {
            // Side by side: both are needed before a container starts.
            let (event, ()) = tokio::join!(create_sandbox(&cx, &job), make_folders(&cx, &job));
            event.into()
        }
        Action::CreateNetwork(scope) => create_network(&cx, &job, scope).await,
        Action::ResolveImage(at) => resolve(&cx, &job, at).await,
        Action::PullImage(at) => pull(&cx, &job, at).await,
        Action::StartContainer(at) => start(&cx, &job, at).await,
        Action::ProbeHealth(at) => probe(&cx, &job, at).await,
        Action::StopContainer(at) => {
            let name = job.definition(at).name.as_str();
            stopped(at, stop(&cx, &job.sandbox(), name).await)
        }
        Action::KillContainer(at) => {
            let name = job.definition(at).name.as_str();
            stopped(at, cx.runtime.kill(&job.sandbox(), name).await)
        }
        Action::RemoveSandbox => remove_sandbox(&cx, &job).await,
        Action::RemoveNetwork(scope) => remove_network(&cx, &job, scope).await.into(),
    }
}

async fn create_sandbox(cx: &Context, job: &Job) -> Event {
    let failed =
        |detail| Event::SandboxFailed(reason::of(ReasonName::ResourceInitializationError, detail));
    let (assignment, id) = (&job.record.assignment, job.sandbox());
    let spec = || container_spec::sandbox(id.clone(), &assignment.spec, job.template());
    let created = within(START_TIME, async {
        match cx.runtime.create_sandbox(spec()).await {
            // One that was half made when an agent died.
            Err(RuntimeError::SandboxExists(_)) => {
                cx.runtime.remove_sandbox(&id).await.map_err(|errors| {
                    errors
                        .iter()
                        .map(|e| reason::chain(e))
                        .collect::<Vec<_>>()
                        .join("; ")
                })?;
                cx.runtime
                    .create_sandbox(spec())
                    .await
                    .map_err(|e| reason::chain(&e))
            }
            other => other.map_err(|error| reason::chain(&error)),
        }
    });
    match created.await {
        Some(Ok(())) => Event::SandboxMade,
        Some(Err(detail)) => failed(detail),
        None => failed(too_long("the sandbox", START_TIME)),
    }
}

async fn create_network(cx: &Context, job: &Job, scope: Scope) -> Outcome {
    let made = task_network::create(cx.network.as_ref(), &job.record, scope);
    match within(START_TIME, made).await {
        Some(Ok(network)) => Outcome {
            network: Some(network),
            ..Event::NetworkMade(scope).into()
        },
        Some(Err(reason)) => Event::NetworkFailed(scope, reason).into(),
        None => {
            let detail = too_long("the network", START_TIME);
            let reason = reason::of(ReasonName::ContainerNetworkingError, detail);
            Event::NetworkFailed(scope, reason).into()
        }
    }
}

async fn resolve(cx: &Context, job: &Job, container: usize) -> Outcome {
    let holder = holder(job);
    match cx.images.choose(wanted(cx, job, container, &holder)).await {
        Ok(Some(mut content)) => Outcome {
            note: content.note.take(),
            event: Some(Event::ImageResolved {
                container,
                digest: Some(content.digest.clone()),
                local: true,
            }),
            content: Some((container, Arc::new(content))),
            ..Outcome::NOTHING
        },
        Ok(None) => Event::ImageResolved {
            container,
            digest: None,
            local: false,
        }
        .into(),
        Err(reason) => Event::ImageFailed { container, reason }.into(),
    }
}

async fn pull(cx: &Context, job: &Job, container: usize) -> Outcome {
    let holder = holder(job);
    let pulled = cx.images.pull(wanted(cx, job, container, &holder));
    match within(PULL_TIME, pulled).await {
        Some(Ok(mut content)) => Outcome {
            note: content.note.take(),
            event: Some(Event::ImagePulled {
                container,
                digest: Some(content.digest.clone()),
            }),
            content: Some((container, Arc::new(content))),
            ..Outcome::NOTHING
        },
        Some(Err(reason)) => Event::ImageFailed { container, reason }.into(),
        None => {
            let detail = too_long("the pull", PULL_TIME);
            let reason = reason::of(ReasonName::CannotPullContainerError, detail);
            Event::ImageFailed { container, reason }.into()
        }
    }
}

fn wanted<'a>(cx: &Context, job: &'a Job, container: usize, holder: &'a str) -> Wanted<'a> {
    let digest = &job.record.view.containers[container].image_digest;
    Wanted {
        image: job.definition(container).image.as_str(),
        digest: digest.as_deref(),
        pull: job.record.assignment.spec.pull.unwrap_or(cx.options.pull),
        holder,
    }
}

async fn start(cx: &Arc<Context>, job: &Job, container: usize) -> Outcome {
    let failed = |reason, exit_code| Event::StartFailed {
        container,
        reason,
        exit_code,
    };
    let spec = match prepare(cx, job, container).await {
        Ok(spec) => spec,
        Err(reason) => return failed(reason, None).into(),
    };
    let (sandbox, name) = (job.sandbox(), spec.name.clone());
    tracing::debug!(target: "timing", "container {container} prepared");
    match within(START_TIME, cx.runtime.start(&sandbox, spec)).await {
        Some(Ok(started)) => {
            let at = millis(started.started_at_ms);
            Event::Started {
                container,
                run: started.run,
                at,
            }
            .into()
        }
        // Whether it runs is known to the runtime alone.
        Some(Err(
            RuntimeError::Disconnected(_)
            | RuntimeError::Refused {
                source: Refusal::AlreadyRunning(_),
                ..
            },
        )) => Outcome {
            resync: true,
            ..Outcome::NOTHING
        },
        Some(Err(error)) => {
            // A shim that does not answer has the request, and may perform it later.
            if matches!(error, RuntimeError::Mute { .. }) {
                let _ = cx.runtime.kill(&sandbox, &name).await;
            }
            let (reason, exit_code) = reason::of_start(&error);
            failed(reason, exit_code).into()
        }
        None => {
            // Nothing of it may run on under a container that counts as ended.
            let _ = cx.runtime.kill(&sandbox, &name).await;
            let name = ReasonName::ContainerRuntimeTimeoutError;
            failed(
                reason::of(name, too_long("transition to running", START_TIME)),
                None,
            )
            .into()
        }
    }
}

async fn probe(cx: &Context, job: &Job, container: usize) -> Outcome {
    let run = job.record.view.containers[container].run;
    let answer = |success, output: String| {
        let output = output.chars().take(HEALTH_OUTPUT_CHARS_MAX).collect();
        Event::Probed {
            container,
            run,
            success,
            output,
        }
        .into()
    };
    let Some(content) = &job.content else {
        return answer(false, "the container's image is not at hand".into());
    };
    let spec = match prepare::health_probe(cx, job, container, &content.config) {
        Ok(spec) => spec,
        Err(reason) => return answer(false, reason.detail),
    };
    match cx.runtime.exec(&job.sandbox(), spec).await {
        Ok(result) if result.timed_out => {
            let check = job.definition(container).health_check.as_ref();
            let seconds = check.map_or(0, |check| check.timeout_s);
            answer(false, format!("Health check exceeded timeout ({seconds}s)"))
        }
        Ok(result) => {
            let output = String::from_utf8_lossy(&result.output).into_owned();
            answer(result.exit == Exit::Code(0), output)
        }
        Err(error) => answer(false, reason::of_start(&error).0.detail),
    }
}

/// A shim that does not answer sends no signal: it is killed with what it holds.
async fn stop(cx: &Context, sandbox: &SandboxId, name: &str) -> Result<(), RuntimeError> {
    match cx.runtime.stop(sandbox, name).await {
        Err(RuntimeError::Mute { .. }) => cx.runtime.kill(sandbox, name).await,
        answer => answer,
    }
}

fn stopped(container: usize, result: Result<(), RuntimeError>) -> Outcome {
    match result {
        // Its end comes as an event of its own.
        Ok(()) => Outcome::NOTHING,
        Err(error) => {
            tracing::warn!(container, error = reason::chain(&error), "stop a container");
            Outcome {
                resync: true,
                ..Event::StopFailed { container }.into()
            }
        }
    }
}

/// The processes have to be gone. Files that stay hold nothing up: the next agent tries again.
async fn remove_sandbox(cx: &Arc<Context>, job: &Job) -> Outcome {
    let sandbox = job.sandbox();
    match within(REMOVE_TIME, cx.runtime.remove_sandbox(&sandbox)).await {
        Some(Ok(())) => {}
        Some(Err(errors)) => {
            let texts: Vec<String> = errors.iter().map(|error| reason::chain(error)).collect();
            return Event::SandboxNotRemoved(texts.join("; ")).into();
        }
        None => return Event::SandboxNotRemoved(too_long("removing", REMOVE_TIME)).into(),
    }
    let folders = [cx.task_folder(&job.record)];
    let removed = tokio::task::spawn_blocking(move || remove_folders(&folders)).await;
    let left = removed.unwrap_or_else(|error| Err(error.to_string())).err();
    if let Some(why) = &left {
        tracing::warn!(%sandbox, why, "files of an ended task stay");
    }
    let note = |why| {
        format!("files of the task could not be removed, the node's next start tries again: {why}")
    };
    Outcome {
        note: left.map(note),
        ..Event::SandboxRemoved.into()
    }
}

/// Tries all and tells what stayed.
pub(crate) fn remove_folders(folders: &[PathBuf]) -> Result<(), String> {
    let mut left = Vec::new();
    for folder in folders {
        if let Err(error) = windlass_tree::remove(folder) {
            left.push(format!("{}: {error}", folder.display()));
        }
    }
    if left.is_empty() {
        Ok(())
    } else {
        Err(left.join("; "))
    }
}

async fn remove_network(cx: &Context, job: &Job, scope: Scope) -> Event {
    let name = task_network::namespace(&job.record.sandbox, scope);
    match within(REMOVE_TIME, cx.network.release(&name)).await {
        Some(Ok(())) => Event::NetworkRemoved(scope),
        Some(Err(error)) => Event::NetworkNotRemoved(scope, reason::chain(&error)),
        None => Event::NetworkNotRemoved(scope, too_long("releasing", REMOVE_TIME)),
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(time, work).await.ok()
}

fn too_long(what: &str, time: Duration) -> String {
    format!(
        "Could not finish {what}; timed out after waiting {}s",
        time.as_secs()
    )
}

/// Who needs the image, for people.
fn holder(job: &Job) -> String {
    format!("task {}", job.record.assignment.spec.id)
}

pub(crate) fn millis(ms: u64) -> Millis {
    Millis(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// The address shown of a task's own network.
pub(crate) fn task_address(record: &Record) -> Option<Ipv4Addr> {
    record.network(Scope::Task).and_then(NetworkRecord::address)
}
