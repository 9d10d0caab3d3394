//! The agent of one node: finds what runs, takes assignments, keeps a worker for each task.

use crate::base_layer;
use crate::clock::Clock;
use crate::executor::{millis, remove_folders};
use crate::host_path::{AllowedPath, Policy};
use crate::images::Images;
use crate::ledger::{self, Ledger, Record};
use crate::limits::{ENDED_PER_LOG_SWEEP, REPORTS_UNWRITTEN_MAX, SWEEP_RETRY};
use crate::logs::Logs;
use crate::machine::{self, Identity, Share};
use crate::reason;
use crate::reporter::Reporter;
use crate::worker::{Message, SHIM_IS_MUTE, Worker, evidence, new_record};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedSender, channel, unbounded_channel};
use tokio::task::JoinSet;
use windlass_model::definition::Template;
use windlass_model::id::TaskId;
use windlass_model::instance::Node;
use windlass_model::pull::PullBehavior;
use windlass_model::status::Desired;
use windlass_model::stop::{Stop, StopCode, StopReason};
use windlass_network::Driver;
use windlass_node::event::{Event, observe};
use windlass_node::recover::{Found, FoundContainer, FoundEnd, recover};
use windlass_runtime::Runtime;
use windlass_runtime::spec::{Exit, SandboxId};
use windlass_runtime::state::{ContainerState, SandboxState, Status};
use windlass_session::Assignment;

/// What an agent needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    pub identity: Identity,
    /// Names private DNS names: `ip-10-0-0-5.REGION.compute.internal`.
    pub region: String,
    /// This installation's folder on tmpfs: `/run/windlass-ID`.
    pub run_dir: PathBuf,
    /// Writable layers, volumes and logs.
    pub data_dir: PathBuf,
    /// Host paths that volumes may have though they are refused otherwise.
    pub allowed_host_paths: Vec<AllowedPath>,
    pub share: Share,
    /// For tasks that do not say it themselves.
    pub pull: PullBehavior,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("look at this machine")]
    Machine(#[from] machine::Error),
    #[error("open the ledger of this node's tasks")]
    Ledger(#[from] ledger::Error),
    #[error("make the layer that every image lies on, in the data folder")]
    BaseLayer(#[source] std::io::Error),
    #[error("find the containers that run already")]
    Runtime(#[from] windlass_runtime::Error),
}

/// Runs the tasks of one node. Dropping it leaves them running; the next agent finds them.
pub struct Agent {
    cx: Arc<Context>,
    pub(crate) session: tokio::sync::Mutex<()>,
    workers: Mutex<JoinSet<()>>,
    /// Ledger records that could not be read: started once, so never again.
    lost: BTreeSet<TaskId>,
}

/// What workers share.
pub(crate) struct Context {
    pub(crate) options: Options,
    pub(crate) node: Node,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) network: Arc<dyn Driver>,
    pub(crate) images: Arc<dyn Images>,
    pub(crate) ledger: Ledger,
    pub(crate) logs: Logs,
    pub(crate) policy: Policy,
    /// See [`base_layer`].
    pub(crate) base_layer: PathBuf,
    pub(crate) reporter: Reporter,
    pub(crate) clock: Clock,
    pub(crate) open_files_max: u64,
    inboxes: Mutex<Inboxes>,
}

#[derive(Default)]
struct Inboxes {
    tasks: BTreeMap<TaskId, UnboundedSender<Message>>,
    sandboxes: BTreeMap<String, TaskId>,
    /// Workers that ended since the start.
    ended: u32,
}

impl Agent {
    /// Takes over what an earlier agent left and goes on with it. Must be called in a tokio
    /// runtime. The network was opened with [`crate::surviving_networks`].
    ///
    /// # Errors
    /// The machine, the ledger or the runtime do not answer.
    pub async fn open(
        options: Options,
        runtime: Arc<dyn Runtime>,
        network: Arc<dyn Driver>,
        images: Arc<dyn Images>,
    ) -> Result<Agent, Error> {
        let mut node = machine::facts(&options.identity, options.share)?;
        node.total.links = network.capacity();
        let ledger = Ledger::open(&options.run_dir)?;
        let own = [options.run_dir.as_path(), options.data_dir.as_path()];
        let base_layer = base_layer::prepare(&options.data_dir).map_err(Error::BaseLayer)?;
        let cx = Arc::new(Context {
            base_layer,
            policy: Policy::new(&own, &options.allowed_host_paths),
            logs: Logs::new(&options.data_dir),
            node,
            runtime,
            network,
            images,
            ledger,
            reporter: Reporter::default(),
            clock: Clock::new(),
            open_files_max: machine::open_files_max(),
            inboxes: Mutex::default(),
            options,
        });
        let found = cx.ledger.read()?;
        // Subscribed first, so that what ends while the list is read is not missed.
        let events = cx.runtime.events();
        let sandboxes = cx.runtime.list().await?;
        let agent = Agent {
            cx: cx.clone(),
            session: tokio::sync::Mutex::default(),
            workers: Mutex::default(),
            lost: found.lost.into_iter().collect(),
        };
        agent.sweep(&found.records, &sandboxes);
        // Every worker drops its end when it holds the images of what runs.
        let (holding, held) = channel(1);
        for record in found.records {
            let state = sandboxes.iter().find(|state| state.id.0 == record.sandbox);
            agent.resume(record, state, holding.clone());
        }
        agent.workers().spawn(collect_images(cx.clone(), held));
        agent.workers().spawn(pump(cx, events));
        Ok(agent)
    }

    /// Ends the agent's work and waits until it has ended; containers run on. Two agents must not
    /// work on one node, so whoever opens another in the same process closes the first.
    pub async fn close(self) {
        let mut workers = std::mem::take(&mut *self.workers());
        workers.shutdown().await;
    }

    /// What the node registers as.
    pub fn node(&self) -> &Node {
        &self.cx.node
    }

    /// The logs of the node's containers.
    pub fn logs(&self) -> &Logs {
        &self.cx.logs
    }

    /// The tasks the agent has not forgotten.
    pub fn tasks(&self) -> Vec<TaskId> {
        self.cx.inboxes().tasks.keys().copied().collect()
    }

    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.cx
    }

    /// Takes an assignment: a task that is known only learns that it is to stop.
    pub(crate) fn assign(&self, assignment: Assignment) {
        let task = assignment.spec.id;
        if self
            .cx
            .tell(task, Message::Assigned(assignment.clone()))
            .is_ok()
        {
            return;
        }
        let mut record = new_record(assignment);
        if let Some(event) = self.why_not(&record) {
            let definition = record.assignment.definition.clone();
            observe(
                &definition.template,
                &mut record.view,
                event,
                self.cx.clock.now(),
            );
        }
        self.spawn(record, None);
    }

    /// A task that must not be started here, or not any more.
    fn why_not(&self, record: &Record) -> Option<Event> {
        let because = |reason| {
            Some(Event::StopDecided(Stop {
                code: StopCode::InfrastructureHealth,
                reason,
            }))
        };
        let assignment = &record.assignment;
        if assignment.desired == Desired::Stopped {
            return Some(Event::StopWanted);
        }
        if assignment.restored || self.lost.contains(&assignment.spec.id) {
            return because(StopReason::LostByNode);
        }
        if assignment.spec.boot != self.cx.node.boot {
            return because(StopReason::NodeRebooted);
        }
        None
    }

    fn resume(&self, mut record: Record, state: Option<&SandboxState>, holding: Sender<()>) {
        let definition = record.assignment.definition.clone();
        let template = &definition.template;
        let found = match state {
            None => Found::Nothing,
            Some(state) if !state.alive => Found::Dead(self.found(&record, template, state)),
            Some(state) => Found::Alive(self.found(&record, template, state)),
        };
        let is_mute = state.is_some_and(|state| state.alive && !state.answers);
        if is_mute {
            record.view.note(SHIM_IS_MUTE.to_owned());
        }
        record.view.out_of_reach = is_mute;
        recover(template, &mut record.view, found, self.cx.clock.now());
        record.forget_unmade_networks();
        record.sequence = record.sequence.saturating_add(REPORTS_UNWRITTEN_MAX);
        self.spawn(record, Some(holding));
    }

    fn found(
        &self,
        record: &Record,
        template: &Template,
        state: &SandboxState,
    ) -> Vec<Option<FoundContainer>> {
        let find = |name: &str| state.containers.iter().find(|c| c.name == name);
        let task = record.assignment.spec.id;
        let one = |name: &windlass_model::id::Name, c: &ContainerState| FoundContainer {
            run: c.run,
            started_at: millis(c.started_at_ms),
            stop_begun: matches!(c.status, Status::Stopping | Status::Killing),
            ended: (c.status == Status::Exited).then(|| FoundEnd {
                exit_code: c.exit.map(Exit::code),
                oom: c.oom.map(evidence),
                at: millis(c.exited_at_ms.unwrap_or(c.started_at_ms)),
                last_lines: self.cx.logs.last_lines(task, name),
                fault: c.fault.clone(),
            }),
        };
        template
            .containers
            .iter()
            .map(|definition| Some(one(&definition.name, find(definition.name.as_str())?)))
            .collect()
    }

    /// `holding`: of a task that an earlier agent had, whose record is written.
    fn spawn(&self, record: Record, holding: Option<Sender<()>>) {
        let (sender, inbox) = unbounded_channel();
        let task = record.assignment.spec.id;
        {
            let mut inboxes = self.cx.inboxes();
            inboxes.sandboxes.insert(record.sandbox.clone(), task);
            inboxes.tasks.insert(task, sender.clone());
        }
        let worker = Worker::new(self.cx.clone(), record, holding, sender, inbox);
        let mut workers = self.workers();
        while workers.try_join_next().is_some() {}
        workers.spawn(worker.run());
    }

    /// Removes what no ledger record names: sandboxes, folders, old logs.
    fn sweep(&self, records: &[Record], sandboxes: &[SandboxState]) {
        let known: BTreeSet<&str> = records.iter().map(|r| r.sandbox.as_str()).collect();
        let unknown = sandboxes
            .iter()
            .filter(|state| !known.contains(state.id.0.as_str()));
        for state in unknown {
            tracing::warn!(sandbox = %state.id, "removing a sandbox that no ledger record names");
            self.workers()
                .spawn(remove_unknown(self.cx.clone(), state.id.clone()));
        }
        let tasks: BTreeSet<String> = records
            .iter()
            .map(|r| r.assignment.spec.id.to_string())
            .collect();
        let layers = self.cx.options.data_dir.join("tasks");
        let stale = children(&layers, |name| tasks.contains(name));
        let logs = self.cx.logs.clone();
        self.workers().spawn(async move {
            let swept = tokio::task::spawn_blocking(move || {
                let keep = |task: TaskId| tasks.contains(&task.to_string());
                let logs = logs.retain(&keep).map_err(|error| reason::chain(&error));
                remove_folders(&stale).and(logs)
            });
            if let Ok(Err(why)) = swept.await {
                tracing::warn!(why, "remove what ended tasks left");
            }
        });
    }

    fn workers(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    /// The folder of a task's writable layers and scratch volumes.
    pub(crate) fn task_folder(&self, record: &Record) -> PathBuf {
        self.options
            .data_dir
            .join("tasks")
            .join(record.assignment.spec.id.to_string())
    }

    /// Hands the message back when no worker has the task.
    pub(crate) fn tell(&self, task: TaskId, message: Message) -> Result<(), Box<Message>> {
        let inboxes = self.inboxes();
        match inboxes.tasks.get(&task) {
            Some(inbox) => inbox.send(message).map_err(|error| Box::new(error.0)),
            None => Err(Box::new(message)),
        }
    }

    /// A worker has ended. From time to time, old logs go then.
    pub(crate) fn leave(&self, task: TaskId, sandbox: &str) {
        let mut inboxes = self.inboxes();
        inboxes.tasks.remove(&task);
        inboxes.sandboxes.remove(sandbox);
        inboxes.ended = inboxes.ended.wrapping_add(1);
        if !inboxes.ended.is_multiple_of(ENDED_PER_LOG_SWEEP) {
            return;
        }
        let known: BTreeSet<TaskId> = inboxes.tasks.keys().copied().collect();
        let logs = self.logs.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = logs.retain(&|task| known.contains(&task)) {
                tracing::warn!(error = reason::chain(&error), "remove old logs");
            }
        });
    }

    fn inboxes(&self) -> MutexGuard<'_, Inboxes> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes images that nothing uses, once all that runs holds its own.
async fn collect_images(cx: Arc<Context>, mut held: Receiver<()>) {
    while held.recv().await.is_some() {}
    if let Err(reason) = cx.images.collect().await {
        tracing::warn!(reason.detail, "remove unused images");
    }
}

/// Hands the runtime's events to the workers.
async fn pump(cx: Arc<Context>, mut events: broadcast::Receiver<windlass_runtime::Event>) {
    loop {
        match events.recv().await {
            Ok(event) => {
                let task = cx.inboxes().sandboxes.get(&event.sandbox.0).copied();
                if let Some(task) = task {
                    // A worker that just ended needs no events.
                    let _ = cx.tell(task, Message::Runtime(event.kind));
                }
            }
            Err(broadcast::error::RecvError::Lagged(count)) => {
                tracing::warn!(count, "events were lost; listing the sandboxes");
                list(&cx).await;
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

async fn list(cx: &Context) {
    let all = match cx.runtime.list().await {
        Ok(all) => all,
        Err(error) => {
            tracing::error!(error = reason::chain(&error), "list the sandboxes");
            return;
        }
    };
    let inboxes = cx.inboxes();
    for (sandbox, task) in &inboxes.sandboxes {
        let state = all.iter().find(|state| state.id.0 == *sandbox).cloned();
        if let Some(inbox) = inboxes.tasks.get(task) {
            let _ = inbox.send(Message::Listed(state));
        }
    }
}

async fn remove_unknown(cx: Arc<Context>, sandbox: SandboxId) {
    while let Err(errors) = cx.runtime.remove_sandbox(&sandbox).await {
        for error in errors {
            tracing::warn!(%sandbox, error = reason::chain(&error), "remove an unknown sandbox");
        }
        tokio::time::sleep(SWEEP_RETRY).await;
    }
}

/// Folders below `folder` whose name is not known.
fn children(folder: &std::path::Path, known: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| !entry.file_name().to_str().is_some_and(&known))
        .map(|entry| entry.path())
        .collect()
}
