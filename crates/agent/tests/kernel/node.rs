//! A node with the real runtime, network and images, and a control plane that acknowledges.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use windlass_agent::images::stored::Stored;
use windlass_agent::{Agent, Identity, Options, surviving_networks};
use windlass_image::{LoadOptions, PullOptions, Store};
use windlass_model::id::{NodeId, TaskId};
use windlass_model::observation::Observation;
use windlass_model::status::TaskStatus;
use windlass_network::Network;
use windlass_runtime::embedded::{self, Embedded};
use windlass_session::{Assignment, Mark, ToAgent, ToServer};

const PATIENCE: Duration = Duration::from_secs(30);

/// What outlives an agent.
pub(crate) struct Machine {
    pub(crate) run: tempfile::TempDir,
    pub(crate) data: tempfile::TempDir,
    pub(crate) cgroup_root: String,
    store: Store,
}

pub(crate) struct Node {
    pub(crate) agent: Arc<Agent>,
    pub(crate) network: Network,
    pub(crate) runtime: Arc<Embedded>,
    session: JoinHandle<()>,
    to_agent: Sender<ToAgent>,
    from_agent: Receiver<ToServer>,
    turn: u64,
}

impl Machine {
    pub(crate) fn new(image: &str) -> Machine {
        let data = tempfile::tempdir().expect("a data folder");
        let store = Store::open(&data.path().join("images")).expect("an image store");
        store
            .load_archive_file(Path::new(image), &LoadOptions::default(), &|_| {})
            .expect("the sample image");
        Machine {
            run: tempfile::tempdir_in("/run").expect("a run folder"),
            data,
            cgroup_root: format!("/windlass-test-agent-{}", std::process::id()),
            store,
        }
    }

    /// The name the sample image was loaded by.
    pub(crate) fn image(&self) -> String {
        let listed = self.store.list();
        let named = listed.iter().find_map(|line| line.reference.as_ref());
        named.expect("one image").familiar()
    }

    pub(crate) async fn node(&self, turn: u64) -> Node {
        let run_dir = self.run.path().join("agent");
        let mut options = windlass_network::Options::new(
            "agtt".parse().expect("an id"),
            self.run.path().join("network"),
            "10.231.0.0/24".parse().expect("a range"),
        );
        options.sandboxes = surviving_networks(&run_dir).expect("the ledger");
        let network = Network::open(options).await.expect("a network");
        let runtime = Embedded::new(embedded::Options {
            run_dir: self.run.path().join("runtime"),
            executable: PathBuf::from("/proc/self/exe"),
            cgroup_root: self.cgroup_root.clone(),
            spare_shims: 1,
        });
        let runtime = Arc::new(runtime.expect("a runtime"));
        let images = Stored::new(self.store.clone(), PullOptions::default());
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
            run_dir,
            data_dir: self.data.path().to_owned(),
            allowed_host_paths: Vec::new(),
            pull: Default::default(),
            share: windlass_agent::Share {
                cpu_overcommit: 1.0,
                reserve_memory_mib: None,
            },
        };
        let opened = Agent::open(
            options,
            runtime.clone(),
            Arc::new(network.clone()),
            Arc::new(images),
        );
        let agent = Arc::new(opened.await.expect("an agent"));
        let (to_server, from_agent) = channel(64);
        let (to_agent, from_server) = channel(64);
        let serving = agent.clone();
        let session = tokio::spawn(async move { serving.run(to_server, from_server).await });
        Node {
            agent,
            network,
            runtime,
            session,
            to_agent,
            from_agent,
            turn,
        }
    }
}

impl Node {
    pub(crate) async fn assign(&mut self, assignment: &Assignment) {
        self.turn += 1;
        let mark = Mark {
            term: 1,
            turn: self.turn,
        };
        let put = vec![assignment.clone()];
        let delta = ToAgent::Delta {
            mark,
            put,
            forget: Vec::new(),
        };
        self.to_agent
            .send(delta)
            .await
            .expect("the session goes on");
    }

    pub(crate) async fn until(
        &mut self,
        task: TaskId,
        wanted: impl Fn(&Observation) -> bool,
    ) -> Observation {
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < PATIENCE {
            let next = tokio::time::timeout(Duration::from_secs(1), self.from_agent.recv()).await;
            let Ok(Some(ToServer::Report { observation, .. })) = next else {
                continue;
            };
            let acknowledge = ToAgent::Acknowledge {
                task: observation.task,
                sequence: observation.sequence,
            };
            self.to_agent
                .send(acknowledge)
                .await
                .expect("the session goes on");
            if observation.task == task && wanted(&observation) {
                return observation;
            }
            last = Some(observation);
        }
        panic!("nothing like that was reported; last: {last:#?}");
    }

    pub(crate) async fn until_status(&mut self, task: TaskId, status: TaskStatus) -> Observation {
        self.until(task, |observation| observation.status == status)
            .await
    }

    pub(crate) async fn until_forgotten(&mut self) {
        let begun = Instant::now();
        while !self.agent.tasks().is_empty() {
            assert!(
                begun.elapsed() < PATIENCE,
                "still known: {:?}",
                self.agent.tasks()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The agent dies; containers and their network stay. Answers the last turn.
    pub(crate) async fn crash(self) -> u64 {
        self.session.abort();
        let _ = self.session.await;
        match Arc::try_unwrap(self.agent) {
            Ok(agent) => agent.close().await,
            Err(_) => panic!("somebody else holds the agent"),
        }
        drop(self.runtime);
        drop(self.network);
        self.turn
    }
}
