//! A node of fakes with a control plane that only listens and acknowledges. What the fakes hold
//! outlives the agent, as the kernel's does.

use crate::gate::{Gate, GatedImages, GatedNetwork, GatedRuntime};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use windlass_agent::images::fake::Fake as FakeImages;
use windlass_agent::{Agent, Identity, Options, sandbox_id};
use windlass_model::id::{NodeId, TaskId};
use windlass_model::observation::{ContainerObservation, Observation};
use windlass_model::status::{ContainerStatus, TaskStatus};
use windlass_network::FakeNetwork;
use windlass_runtime::fake::Fake as FakeRuntime;
use windlass_runtime::spec::SandboxId;
use windlass_session::{Assignment, Mark, ToAgent, ToServer};

/// Longer than anything here takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) runtime: Arc<FakeRuntime>,
    pub(crate) network: Arc<FakeNetwork>,
    pub(crate) images: Arc<FakeImages>,
}

pub(crate) struct Node {
    agent: Arc<Agent>,
    session: JoinHandle<()>,
    to_agent: Sender<ToAgent>,
    from_agent: Receiver<ToServer>,
    /// Every report so far, without repetitions.
    pub(crate) seen: Vec<Observation>,
    pub(crate) unassigned: Vec<TaskId>,
    pub(crate) acknowledges: bool,
}

impl World {
    pub(crate) fn new() -> World {
        World {
            folder: tempfile::tempdir().unwrap(),
            runtime: Arc::new(FakeRuntime::default()),
            network: Arc::new(FakeNetwork::new("10.77.0.0/24".parse().unwrap())),
            images: Arc::new(FakeImages::default()),
        }
    }

    pub(crate) async fn agent(&self) -> Node {
        self.agent_behind(Gate::open()).await
    }

    pub(crate) async fn agent_behind(&self, gate: Arc<Gate>) -> Node {
        let identity = Identity {
            id: NodeId(7),
            name: Some("node-1".into()),
            availability_zone: "eu-central-1a".into(),
            address: "192.0.2.1".into(),
            agent_version: "0".into(),
            epoch: 0,
            attributes: Vec::new(),
            joins_on_demand: false,
        };
        let options = Options {
            identity,
            region: "eu-central-1".into(),
            run_dir: self.folder.path().join("run"),
            data_dir: self.folder.path().join("data"),
            allowed_host_paths: Vec::new(),
            pull: Default::default(),
            share: windlass_agent::Share {
                cpu_overcommit: 1.0,
                reserve_memory_mib: None,
            },
        };
        let agent = Agent::open(
            options,
            Arc::new(GatedRuntime(self.runtime.clone(), gate.clone())),
            Arc::new(GatedNetwork(self.network.clone(), gate.clone())),
            Arc::new(GatedImages(self.images.clone(), gate)),
        );
        let agent = Arc::new(agent.await.unwrap());
        let (to_server, from_agent) = channel(64);
        let (to_agent, from_server) = channel(64);
        let serving = agent.clone();
        let session = tokio::spawn(async move { serving.run(to_server, from_server).await });
        Node {
            agent,
            session,
            to_agent,
            from_agent,
            seen: Vec::new(),
            unassigned: Vec::new(),
            acknowledges: true,
        }
    }

    /// Nothing of any task is left but logs.
    pub(crate) async fn assert_empty(&self) {
        use windlass_runtime::Runtime;
        assert!(self.runtime.list().await.unwrap().is_empty());
        assert!(
            self.network.namespaces().is_empty(),
            "{:?}",
            self.network.namespaces()
        );
        assert!(self.network.published().is_empty());
        for folder in ["run/ledger", "data/tasks"] {
            let path = self.folder.path().join(folder);
            let left: Vec<_> = std::fs::read_dir(&path)
                .into_iter()
                .flatten()
                .flatten()
                .collect();
            assert!(left.is_empty(), "{folder}: {left:?}");
        }
    }

    /// How often each container was started.
    pub(crate) fn starts(&self) -> Vec<String> {
        let calls = self.runtime.calls();
        let mut starts: Vec<String> = calls
            .iter()
            .filter_map(|call| Some(call.strip_prefix("start ")?.to_owned()))
            .collect();
        starts.sort();
        starts
    }
}

pub(crate) fn sandbox(assignment: &Assignment) -> SandboxId {
    SandboxId(sandbox_id::sandbox(assignment.spec.id))
}

impl Node {
    pub(crate) async fn send(&self, message: ToAgent) {
        self.to_agent.send(message).await.unwrap();
    }

    pub(crate) async fn assign(&self, turn: u64, assignments: Vec<Assignment>) {
        self.send(ToAgent::Full {
            mark: Mark { term: 1, turn },
            assignments,
        })
        .await;
    }

    /// Waits for a report for which `wanted` holds, and acknowledges all on the way.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Observation) -> bool) -> Observation {
        let search = async {
            loop {
                if let Some(observation) = self.next().await
                    && wanted(&observation)
                {
                    return observation;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(observation) => observation,
            Err(_) => panic!("nothing like that was reported, only {:#?}", self.seen),
        }
    }

    pub(crate) async fn until_status(&mut self, status: TaskStatus) -> Observation {
        self.until(|observation| observation.status == status).await
    }

    /// Waits until the agent has forgotten everything.
    pub(crate) async fn until_forgotten(&mut self) {
        self.until_known(&[]).await;
    }

    /// Waits until the agent knows these tasks and no other.
    pub(crate) async fn until_known(&mut self, tasks: &[TaskId]) {
        let search = async {
            while self.agent.tasks() != tasks {
                let _ = tokio::time::timeout(Duration::from_millis(20), self.next()).await;
            }
        };
        assert!(
            tokio::time::timeout(PATIENCE, search).await.is_ok(),
            "{:#?}",
            self.seen
        );
    }

    async fn next(&mut self) -> Option<Observation> {
        match self.from_agent.recv().await.expect("the session goes on") {
            ToServer::Report { observation, .. } => {
                let (task, sequence) = (observation.task, observation.sequence);
                if self.acknowledges {
                    self.send(ToAgent::Acknowledge { task, sequence }).await;
                }
                self.check_move(&observation);
                self.seen.push(observation.clone());
                Some(observation)
            }
            ToServer::Unassigned { tasks, .. } => {
                self.unassigned.extend(tasks);
                None
            }
            ToServer::Hello(_) | ToServer::Heartbeat { .. } | ToServer::PortsInUse { .. } => None,
        }
    }

    fn check_move(&self, new: &Observation) {
        let before = self.seen.iter().rev().find(|old| old.task == new.task);
        if let Some(old) = before {
            let legal = old.status == new.status || old.status.can_become(new.status);
            assert!(legal, "{:?} after {:?}", new.status, old.status);
            assert!(new.sequence >= old.sequence);
        }
    }

    /// The agent dies: everything it was doing stops where it is.
    pub(crate) async fn crash(self) {
        self.session.abort();
        let _ = self.session.await;
        match Arc::try_unwrap(self.agent) {
            Ok(agent) => agent.close().await,
            Err(_) => panic!("somebody else holds the agent"),
        }
    }
}

pub(crate) fn container<'a>(observation: &'a Observation, name: &str) -> &'a ContainerObservation {
    observation
        .containers
        .iter()
        .find(|c| c.name.as_str() == name)
        .unwrap()
}

pub(crate) fn all_running(observation: &Observation) -> bool {
    observation
        .containers
        .iter()
        .all(|c| c.status == ContainerStatus::Running)
}
