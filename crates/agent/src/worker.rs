//! One task of the node: asks `node` what is next, writes the ledger, performs, observes, reports.
//!
//! ```text
//!   inbox ─► observe ─► plan ─► ledger ─► reporter
//!     ▲                            └────► executor ─┐
//!     └──────────────── outcomes ◄──────────────────┘
//! ```

use crate::agent::Context;
use crate::executor::{self, Job, Outcome, millis, perform};
use crate::images::Content;
use crate::ledger::Record;
use crate::limits::LEDGER_RETRY_MS;
use crate::{container_spec, link, reason, sandbox_id, task_network};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender};
use tokio::task::{AbortHandle, JoinSet};
use windlass_model::definition::{NetworkMode, Template};
use windlass_model::id::TaskId;
use windlass_model::observation::Observation;
use windlass_model::program_fault::ProgramFault;
use windlass_model::status::{Desired, TaskStatus};
use windlass_model::stop::{ReasonName, Stop};
use windlass_model::task::OomEvidence;
use windlass_node::event::{Ended, Event, observe};
use windlass_node::plan::{Action, Plan, Scope, plan};
use windlass_node::report::{Facts, report};
use windlass_node::view::{Phase, TaskView};
use windlass_runtime::EventKind;
use windlass_runtime::spec::Oom;
use windlass_runtime::state::{ContainerState, SandboxState, Status};
use windlass_session::Assignment;

/// What the history says of a shim that does not answer; its processes are not known to have ended.
pub(crate) const SHIM_IS_MUTE: &str = "the task's shim does not answer: what its containers do is \
     unknown, and shown as it was last known; a stop that it does not perform kills it with them";
const SHIM_ANSWERS: &str = "the task's shim answers again";

/// What a worker is told.
pub(crate) enum Message {
    Assigned(Assignment),
    /// The control plane has no use for the task, or has it as STOPPED.
    Unwanted(Option<Stop>),
    Acknowledged(u64),
    Runtime(EventKind),
    /// All the runtime knows of the task's sandbox.
    Listed(Option<SandboxState>),
    Done(Outcome),
}

pub(crate) struct Worker {
    cx: Arc<Context>,
    record: Record,
    /// As it lies in the ledger.
    written: Option<Record>,
    /// The last write of the ledger failed, and that was told.
    was_refused: bool,
    /// Dropped when the images of what runs are held.
    holding: Option<Sender<()>>,
    contents: BTreeMap<usize, Arc<Content>>,
    to_self: UnboundedSender<Message>,
    inbox: UnboundedReceiver<Message>,
    /// Dropped with the worker, and what they do with them.
    actions: JoinSet<()>,
    /// Work on images, which a stop breaks off.
    image_work: Vec<AbortHandle>,
}

/// A new task's record; nothing of it exists yet.
pub(crate) fn new_record(assignment: Assignment) -> Record {
    Record {
        sandbox: sandbox_id::sandbox(assignment.spec.id),
        view: TaskView::new(&assignment.definition.template),
        networks: Vec::new(),
        sequence: assignment.reported,
        reported: None,
        acknowledged: assignment.reported,
        assignment,
        unwanted: false,
    }
}

impl Worker {
    pub(crate) fn new(
        cx: Arc<Context>,
        record: Record,
        holding: Option<Sender<()>>,
        to_self: UnboundedSender<Message>,
        inbox: UnboundedReceiver<Message>,
    ) -> Worker {
        Worker {
            cx,
            written: holding.is_some().then(|| record.clone()),
            was_refused: false,
            holding,
            record,
            contents: BTreeMap::new(),
            to_self,
            inbox,
            actions: JoinSet::new(),
            image_work: Vec::new(),
        }
    }

    /// Runs until the task may be forgotten.
    pub(crate) async fn run(mut self) {
        self.hold_images().await;
        drop(self.holding.take());
        if let Some(observation) = &self.record.reported
            && observation.sequence > self.record.acknowledged
        {
            self.cx.reporter.offer(observation.clone());
        }
        loop {
            let next = self.advance();
            if self.may_be_forgotten() {
                return self.forget();
            }
            self.wait(&next).await;
            while let Ok(message) = self.inbox.try_recv() {
                self.receive(message).await;
            }
            while self.actions.try_join_next().is_some() {}
        }
    }

    fn task(&self) -> TaskId {
        self.record.assignment.spec.id
    }

    /// Images of what runs already are pinned again, and read for health checks.
    async fn hold_images(&mut self) {
        let definition = self.record.assignment.definition.clone();
        for (at, container) in self.record.view.containers.iter().enumerate() {
            if container.phase != Phase::Running {
                continue;
            }
            let image = &definition.template.containers[at].image;
            let digest = container.image_digest.as_deref();
            let holder = format!("task {}", self.record.assignment.spec.id);
            match self.cx.images.resolve(image, digest, &holder).await {
                Ok(Some(content)) => {
                    self.contents.insert(at, Arc::new(content));
                }
                Ok(None) => tracing::warn!(image, "the image of a running container is gone"),
                Err(reason) => tracing::warn!(image, reason.detail, "hold a running image"),
            }
        }
    }

    /// Plans; writes the ledger; only then reports and acts. Without room for the ledger nothing
    /// begins, and what does not begin fails and has its consequences; what ends something and what
    /// is told goes on, because it may be done and told again after a crash.
    fn advance(&mut self) -> Plan {
        let definition = self.record.assignment.definition.clone();
        loop {
            let now = self.cx.clock.now();
            let mut next = plan(&definition.template, &mut self.record.view, now);
            if self.record.view.stopping.is_some() {
                self.image_work.drain(..).for_each(|work| work.abort());
            }
            let observation = self.observation(&definition.template);
            let news = observation.filter(|new| self.record.reported.as_ref() != Some(new));
            if let Some(news) = &news {
                self.record.sequence = news.sequence;
                self.record.reported = Some(news.clone());
            }
            let unwritten = self.write().err();
            tracing::debug!(target: "timing", "ledger written");
            if let Some(news) = news {
                self.cx.reporter.offer(news);
            }
            let Some(why) = unwritten else {
                self.start_actions(&next.actions);
                return next;
            };
            let (begun, harmless): (Vec<Action>, Vec<Action>) =
                next.actions.iter().partition(|action| action.begins());
            self.start_actions(&harmless);
            if begun.is_empty() {
                let retry = now.plus_ms(LEDGER_RETRY_MS);
                next.next_due = Some(next.next_due.map_or(retry, |due| due.min(retry)));
                return next;
            }
            for action in begun {
                self.refuse(action, &why);
            }
        }
    }

    /// What cannot be written down first is not begun.
    fn refuse(&mut self, action: Action, why: &str) {
        let detail = format!("the node cannot write down what it begins: {why}");
        let event = match action {
            Action::CreateNetwork(scope) => {
                let reason = reason::of(ReasonName::ContainerNetworkingError, detail);
                Event::NetworkFailed(scope, reason)
            }
            Action::StartContainer(container) => Event::StartFailed {
                container,
                reason: reason::of(ReasonName::CannotStartContainerError, detail),
                exit_code: None,
            },
            _ => {
                let name = ReasonName::ResourceInitializationError;
                Event::SandboxFailed(reason::of(name, detail))
            }
        };
        self.observe(event);
    }

    /// The newest observation; its sequence is new when it says something new.
    fn observation(&self, template: &Template) -> Option<Observation> {
        let facts = self.facts(template);
        let mut observation = report(self.task(), template, &self.record.view, &facts);
        observation.sequence = self.record.sequence;
        if self.record.reported.as_ref() != Some(&observation) {
            observation.sequence += 1;
        }
        Some(observation)
    }

    fn facts(&self, template: &Template) -> Facts {
        let spec = &self.record.assignment.spec;
        let task_network = self.record.network(Scope::Task);
        let interface = task_network.and_then(|network| network.interface.as_ref());
        let address = executor::task_address(&self.record);
        let bindings = template
            .containers
            .iter()
            .enumerate()
            .map(
                |(at, definition)| match container_spec::network_kind(template, definition) {
                    NetworkMode::Host => task_network::host_bindings(definition),
                    NetworkMode::Bridge => {
                        let network = self.record.network(Scope::Container(at));
                        network
                            .map(|network| network.bindings.clone())
                            .unwrap_or_default()
                    }
                    NetworkMode::Awsvpc | NetworkMode::None => Vec::new(),
                },
            );
        let runtime_ids = spec
            .containers
            .iter()
            .map(|container| sandbox_id::runtime_id(spec.launch, spec.id, *container));
        Facts {
            runtime_ids: runtime_ids.collect(),
            bindings: bindings.collect(),
            interface_id: spec
                .attachment
                .map(sandbox_id::interface)
                .filter(|_| address.is_some()),
            mac: interface.map(|interface| mac(interface.mac)),
            private_dns_name: address
                .map(|address| sandbox_id::private_dns_name(address, &self.cx.options.region)),
            private_ipv4: address.map(|address| address.to_string()),
        }
    }

    /// Brings the ledger up to the record. The error says why that cannot be; it is told once.
    fn write(&mut self) -> Result<(), String> {
        if self.written.as_ref() == Some(&self.record) {
            return Ok(());
        }
        match self.cx.ledger.write(&self.record) {
            Ok(()) => {
                self.written = Some(self.record.clone());
                self.was_refused = false;
                Ok(())
            }
            Err(error) => {
                let why = reason::chain(&error);
                if !std::mem::replace(&mut self.was_refused, true) {
                    tracing::error!(task = %self.task(), why, "write the ledger");
                }
                Err(why)
            }
        }
    }

    fn start_actions(&mut self, actions: &[Action]) {
        if actions.is_empty() {
            return;
        }
        let record = Arc::new(self.record.clone());
        for action in actions {
            let (content, linked) = match action {
                Action::StartContainer(at) | Action::ProbeHealth(at) => {
                    (self.contents.get(at).cloned(), self.linked(*at))
                }
                _ => (None, BTreeMap::new()),
            };
            let job = Job {
                action: *action,
                record: record.clone(),
                content,
                linked,
            };
            let (cx, answer, action) = (self.cx.clone(), self.to_self.clone(), *action);
            let handle = self.actions.spawn(async move {
                // The worker may be gone, and with it the need for an answer.
                let _ = answer.send(Message::Done(perform(cx, job).await));
            });
            if matches!(action, Action::ResolveImage(_) | Action::PullImage(_)) {
                self.image_work.retain(|work| !work.is_finished());
                self.image_work.push(handle);
            }
        }
    }

    /// The images of the containers that one links to.
    fn linked(&self, at: usize) -> BTreeMap<usize, Arc<Content>> {
        let template = &self.record.assignment.definition.template;
        let links = template.containers[at].links.iter().flatten();
        links
            .filter_map(|link| {
                let (name, _) = link::parse(link);
                let mut containers = template.containers.iter();
                let at = containers.position(|c| c.name.as_str() == name)?;
                Some((at, self.contents.get(&at)?.clone()))
            })
            .collect()
    }

    async fn wait(&mut self, next: &Plan) {
        let due = next
            .next_due
            .map(|due| due.since(self.cx.clock.now()).max(0));
        let message = match due.and_then(|ms| u64::try_from(ms).ok()) {
            Some(ms) => {
                // A little late rather than a little early: an early look finds nothing due.
                let pause = Duration::from_millis(ms.saturating_add(1));
                tokio::time::timeout(pause, self.inbox.recv())
                    .await
                    .ok()
                    .flatten()
            }
            None => self.inbox.recv().await,
        };
        if let Some(message) = message {
            self.receive(message).await;
        }
    }

    async fn receive(&mut self, message: Message) {
        match message {
            Message::Assigned(assignment) => self.assigned(assignment),
            Message::Unwanted(stop) => {
                self.record.unwanted = true;
                self.observe(stop.map_or(Event::StopWanted, Event::StopDecided));
            }
            Message::Acknowledged(sequence) => {
                self.record.acknowledged = self.record.acknowledged.max(sequence);
            }
            Message::Runtime(kind) => self.happened(kind).await,
            Message::Listed(state) => self.listed(state).await,
            Message::Done(outcome) => self.done(outcome).await,
        }
    }

    fn assigned(&mut self, assignment: Assignment) {
        // What a task is never changes; where it is meant to go only moves to STOPPED.
        if assignment.desired == Desired::Stopped {
            self.record.assignment.desired = Desired::Stopped;
            self.record.assignment.stop = assignment.stop;
            self.observe(Event::StopWanted);
            if let Some(within_s) = assignment.stop_within_s {
                self.observe(Event::StopHurried { within_s });
            }
        }
    }

    async fn done(&mut self, outcome: Outcome) {
        if let Some(network) = outcome.network {
            self.record.set_network(network);
        }
        if let Some((at, content)) = outcome.content {
            self.contents.insert(at, content);
        }
        if let Some(note) = outcome.note {
            self.record.view.note(note);
        }
        if let Some(event) = outcome.event {
            if event == Event::SandboxRemoved {
                self.contents.clear();
            }
            self.observe(event);
        }
        if outcome.resync {
            self.list_again().await;
        }
    }

    async fn list_again(&mut self) {
        let sandbox = self.record.sandbox.as_str();
        match self.cx.runtime.list().await {
            Ok(all) => {
                let state = all.into_iter().find(|state| state.id.0 == sandbox);
                self.resync(state).await;
            }
            Err(error) => {
                tracing::error!(sandbox, error = reason::chain(&error), "list the sandboxes");
            }
        }
    }

    async fn happened(&mut self, kind: EventKind) {
        match kind {
            EventKind::ShimDied { reason } => {
                self.record
                    .view
                    .note(format!("the sandbox's process ended: {reason}"));
                self.observe(Event::SandboxDied);
            }
            EventKind::Answered => {
                self.record.view.note(SHIM_ANSWERS.to_owned());
                self.record.view.out_of_reach = false;
                self.list_again().await;
            }
            EventKind::Exited {
                container,
                run,
                exit,
                oom,
                at_ms,
                fault,
            } => {
                let end = RunEnd {
                    run,
                    exit_code: Some(exit.code()),
                    oom,
                    at_ms,
                    fault,
                };
                self.ended(&container, end).await;
            }
        }
    }

    async fn ended(&mut self, name: &str, end: RunEnd) {
        let definition = self.record.assignment.definition.clone();
        let containers = &definition.template.containers;
        let Some(container) = containers.iter().position(|c| c.name.as_str() == name) else {
            return;
        };
        let last_lines = match end.exit_code {
            Some(0) => Vec::new(),
            _ => {
                let (logs, task) = (self.cx.logs.clone(), self.task());
                let name = containers[container].name.clone();
                let lines = tokio::task::spawn_blocking(move || logs.last_lines(task, &name));
                lines.await.unwrap_or_default()
            }
        };
        let ended = Ended {
            container,
            run: end.run,
            exit_code: end.exit_code,
            oom: end.oom.map(evidence),
            at: millis(end.at_ms),
            last_lines,
            fault: end.fault,
        };
        self.observe(Event::Ended(ended));
    }

    /// Events were lost: what is listed has happened. Starts under way answer for themselves.
    async fn listed(&mut self, state: Option<SandboxState>) {
        let made = self.record.view.sandbox == windlass_node::view::Part::Made;
        let Some(state) = state.filter(|state| state.alive) else {
            if made {
                self.observe(Event::SandboxDied);
            }
            return;
        };
        for container in state
            .containers
            .iter()
            .filter(|c| c.status == Status::Exited)
        {
            let end = RunEnd {
                run: container.run,
                exit_code: container.exit.map(windlass_runtime::spec::Exit::code),
                oom: container.oom,
                at_ms: container.exited_at_ms.unwrap_or(container.started_at_ms),
                fault: container.fault.clone(),
            };
            self.ended(&container.name, end).await;
        }
    }

    /// The answer to a start or stop was lost, or makes no sense.
    async fn resync(&mut self, state: Option<SandboxState>) {
        let known = state
            .clone()
            .filter(|state| state.alive)
            .map(|state| state.containers);
        let definition = self.record.assignment.definition.clone();
        for (at, container) in definition.template.containers.iter().enumerate() {
            let view = &self.record.view.containers[at];
            let found = known
                .iter()
                .flatten()
                .find(|c| c.name == container.name.as_str());
            if view.phase != Phase::Starting || known.is_none() {
                continue;
            }
            match found.filter(|found| found.run > view.ended_run) {
                Some(ContainerState {
                    run, started_at_ms, ..
                }) => {
                    let (run, at_ms) = (*run, millis(*started_at_ms));
                    self.observe(Event::Started {
                        container: at,
                        run,
                        at: at_ms,
                    });
                }
                None => self.observe(Event::StartFailed {
                    container: at,
                    reason: reason::of(
                        ReasonName::CannotStartContainerError,
                        "the connection to the task's shim was lost before it was started",
                    ),
                    exit_code: None,
                }),
            }
        }
        self.listed(state).await;
    }

    fn observe(&mut self, event: Event) {
        let definition = self.record.assignment.definition.clone();
        let now = self.cx.clock.now();
        observe(&definition.template, &mut self.record.view, event, now);
    }

    /// Nothing is left, and the control plane has the last report or does not want it.
    fn may_be_forgotten(&self) -> bool {
        let reported = self.record.reported.as_ref();
        let durable = reported.is_some_and(|last| {
            last.status == TaskStatus::Stopped && last.sequence <= self.record.acknowledged
        });
        self.record.view.is_removed() && (durable || self.record.unwanted)
    }

    fn forget(&mut self) {
        let task = self.task();
        if let Err(error) = self.cx.ledger.remove(task) {
            tracing::error!(%task, error = reason::chain(&error), "forget a task");
        }
        self.cx.reporter.forget(task);
        self.cx.leave(task, &self.record.sandbox);
    }
}

/// How a run of a container ended, as the runtime tells it.
struct RunEnd {
    run: u32,
    exit_code: Option<i32>,
    oom: Option<Oom>,
    at_ms: u64,
    fault: Option<ProgramFault>,
}

pub(crate) fn evidence(oom: Oom) -> OomEvidence {
    OomEvidence {
        peak_bytes: oom.peak_bytes,
        limit_bytes: oom.limit_bytes,
    }
}

fn mac(bytes: [u8; 6]) -> String {
    let parts: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(":")
}
