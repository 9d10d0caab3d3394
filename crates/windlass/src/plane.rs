//! The parts of one machine's Windlass, opened in order and closed in reverse: store, leader,
//! network, runtime, images, agent. `up` serves them; `down` uses them to end everything.

use crate::installation::Installation;
use crate::run_folder;
use anyhow::{Context, Result, anyhow, bail};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use windlass_agent::images::stored::Stored;
use windlass_agent::{Agent, Identity, Logs, Share};
use windlass_cluster::{Answer, NodeView};
use windlass_image::{Mirrors, PullOptions};
use windlass_model::cluster::ContainerInsights;
use windlass_model::command::{Command, CreateCluster, Request};
use windlass_model::id::{Name, NodeId};
use windlass_network::{Network, Subnet, relay};
use windlass_runtime::Runtime;
use windlass_runtime::embedded::{self, Embedded};
use windlass_server::clock::SystemClock;
use windlass_server::{Handle, Leader, Refused, Stopped};
use windlass_session::ToServer;
use windlass_store::Store;

/// What runs as shim and relay: this very program, even when its file was replaced meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Shims kept ready, so that a task need not wait for one.
const SPARE_SHIMS: usize = 3;
/// Networks kept ready; a task in bridge mode takes one for each container.
const SPARE_NETWORKS: usize = 4;
/// Messages on their way from the agent to the leader.
const REPORTS_MAX: usize = 1_024;
/// Pause before an agent's message that found the inbox full is handed in again.
const THROTTLED_PAUSE: Duration = Duration::from_millis(10);
/// Pause before an agent whose session was ended says hello again.
const SESSION_PAUSE: Duration = Duration::from_millis(200);
/// How long the agent's workers may take to end.
const WORKERS_TIMEOUT: Duration = Duration::from_secs(10);
const WORKERS_POLL: Duration = Duration::from_millis(10);
/// How long a lock that is held is tried.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// What the operator chose.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    pub(crate) data: PathBuf,
    /// The address range of tasks; a free one is chosen, once, when the operator names none.
    pub(crate) subnet: Option<String>,
    pub(crate) cpu_overcommit: f64,
    /// MiB that tasks may not use.
    pub(crate) reserve_memory_mib: Option<u64>,
    pub(crate) mirrors: Mirrors,
    /// An address under which published ports are reached from elsewhere.
    pub(crate) address: String,
}

impl Choices {
    /// Those that nobody made.
    pub(crate) fn new(data: &Path) -> Choices {
        Choices {
            data: data.to_owned(),
            subnet: None,
            cpu_overcommit: 1.0,
            reserve_memory_mib: None,
            mirrors: Mirrors::default(),
            address: String::from("127.0.0.1"),
        }
    }
}

/// Address ranges that are tried, in order, when none is chosen.
const SUBNETS: [&str; 8] = [
    "10.77.0.0/16",
    "10.78.0.0/16",
    "10.79.0.0/16",
    "10.177.0.0/16",
    "172.29.0.0/16",
    "172.30.0.0/16",
    "192.168.224.0/20",
    "192.168.240.0/20",
];

pub(crate) struct Plane {
    pub(crate) leader: Handle,
    pub(crate) agent: Arc<Agent>,
    pub(crate) runtime: Arc<Embedded>,
    pub(crate) network: Arc<Network>,
    pub(crate) images: windlass_image::Store,
    pub(crate) logs: Logs,
    pub(crate) node: NodeId,
    /// Answers why the leader ended.
    pub(crate) ended: oneshot::Receiver<Stopped>,
    session: JoinHandle<()>,
}

impl Plane {
    /// Opens all parts; the agent finds what runs already.
    pub(crate) async fn open(installation: &Installation, choices: &Choices) -> Result<Plane> {
        let (leader, ended) = open_leader(&choices.data).await?;
        let run_dir = installation.run_dir();
        run_folder::prepare(&run_dir)?;
        let network = Arc::new(open_network(installation, choices, &run_dir).await?);
        let runtime = Arc::new(Embedded::new(embedded::Options {
            run_dir: run_dir.join("sandboxes"),
            executable: PathBuf::from(OWN_PROGRAM),
            cgroup_root: installation.cgroup(),
            spare_shims: SPARE_SHIMS,
        })?);
        let images = open_images(&choices.data).await?;
        let pull = PullOptions {
            mirrors: choices.mirrors.clone(),
            ..PullOptions::default()
        };
        let node = NodeId::from_str(&installation.node_id)?;
        let agent = Agent::open(
            agent_options(installation, choices, node, run_dir),
            runtime.clone(),
            network.clone(),
            Arc::new(Stored::new(images.clone(), pull)),
        )
        .await
        .context("starting the agent")?;
        let agent = Arc::new(agent);
        let session = tokio::spawn(session(leader.clone(), agent.clone()));
        let logs = Logs::new(&choices.data);
        Ok(Plane {
            leader,
            agent,
            runtime,
            network,
            images,
            logs,
            node,
            ended,
            session,
        })
    }

    /// Makes the clusters, and this node an instance of each. On a disk that is nearly full those
    /// of an earlier start are served all the same.
    pub(crate) async fn join(&self, clusters: &[String]) -> Result<()> {
        let node = self.agent.node().clone();
        self.ask(Command::NodeConnected(Box::new(node))).await?;
        self.part_from_others().await?;
        if let Err(low @ Refused::DiskLow { .. }) = self.leader.room().await {
            eprintln!("warning: {low}; no cluster is made or joined that was not before");
            return Ok(());
        }
        for cluster in clusters {
            let name = Name::new(cluster).with_context(|| format!("cluster {cluster}"))?;
            self.ask(Command::CreateCluster(new_cluster(name.clone())))
                .await?;
            self.ask(Command::AddNode {
                node: self.node,
                cluster: name,
            })
            .await?;
        }
        Ok(())
    }

    pub(crate) async fn ask(&self, command: Command) -> Result<Answer> {
        let request = Request {
            caller: String::from("windlass"),
            command,
        };
        self.leader
            .ask(request)
            .await
            .map_err(|refused| anyhow!("{refused}"))
    }

    /// A node of the state that this machine is not, as after a restore, has no session here: no
    /// task may be placed on it.
    async fn part_from_others(&self) -> Result<()> {
        let nodes = self.nodes().await?;
        let others = nodes.iter().map(|view| &view.node);
        for other in others.filter(|other| other.connected && other.id != self.node) {
            self.ask(Command::NodeDisconnected(other.id)).await?;
        }
        Ok(())
    }

    /// Tasks of this machine that are not STOPPED.
    pub(crate) async fn running(&self) -> Result<usize> {
        let nodes = self.nodes().await?;
        let own = nodes.iter().filter(|view| view.node.id == self.node);
        Ok(own
            .map(|view| usize::try_from(view.tasks).unwrap_or(usize::MAX))
            .sum())
    }

    async fn nodes(&self) -> Result<Vec<NodeView>> {
        match self.ask(Command::ListNodes).await? {
            Answer::Nodes(nodes) => Ok(nodes),
            other => bail!("the leader answered a question about its nodes with {other:?}"),
        }
    }

    /// Ends the parts; tasks go on.
    pub(crate) async fn close(self) -> Result<()> {
        self.session.abort();
        // An aborted session holds the agent until it is polled once more.
        let _ = self.session.await;
        self.leader.stop();
        match self.ended.await {
            Ok(Stopped::Asked) | Err(_) => Ok(()),
            Ok(stopped) => Err(stopped.into()),
        }
    }
}

/// A server that was killed while it started a process leaves its locks to that process until it
/// executes its program, so a store that is in use is tried again for a moment.
fn open_store(dir: &Path) -> Result<windlass_store::Embedded, windlass_store::Error> {
    let asked = Instant::now();
    loop {
        match windlass_store::Embedded::open(dir, Default::default()) {
            Err(windlass_store::Error::InUse { .. }) if asked.elapsed() < LOCK_TIMEOUT => {
                std::thread::sleep(LOCK_POLL);
            }
            opened => return opened,
        }
    }
}

/// The leader on a thread of its own.
async fn open_leader(data: &Path) -> Result<(Handle, oneshot::Receiver<Stopped>)> {
    let dir = data.join("store");
    let opened = tokio::task::spawn_blocking(move || {
        let store: Box<dyn Store> = Box::new(open_store(&dir)?);
        Leader::open(windlass_server::Options {
            store,
            clock: Box::new(SystemClock::new()),
        })
        .map_err(anyhow::Error::from)
    });
    let (leader, handle) = opened.await??;
    let (sender, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("leader".into())
        .spawn(move || {
            // Nobody listens any more when the process ends for another reason.
            let _ = sender.send(leader.run());
        })?;
    Ok((handle, ended))
}

/// On the chosen range, the one used before, or the first that the host does not use.
async fn open_network(
    installation: &Installation,
    choices: &Choices,
    run_dir: &Path,
) -> Result<Network> {
    let chosen = choices
        .subnet
        .clone()
        .or_else(|| installation.subnet.clone());
    if let Some(subnet) = chosen {
        let network = try_network(installation, run_dir, &subnet).await?;
        installation.remember_subnet(&choices.data, &subnet)?;
        return network.context("opening the tasks' network");
    }
    let mut refused = None;
    for subnet in SUBNETS {
        match try_network(installation, run_dir, subnet).await? {
            Ok(network) => {
                installation.remember_subnet(&choices.data, subnet)?;
                return Ok(network);
            }
            Err(err @ windlass_network::Error::SubnetOverlap { .. }) => refused = Some(err),
            Err(err) => return Err(err).context("opening the tasks' network"),
        }
    }
    Err(anyhow!(
        "no address range is free: choose one with --subnet ({refused:?})"
    ))
}

/// The outer error is about the settings, the inner one about the range.
async fn try_network(
    installation: &Installation,
    run_dir: &Path,
    subnet: &str,
) -> Result<windlass_network::Result<Network>> {
    let id = installation.id.parse::<windlass_network::Installation>()?;
    let mut options =
        windlass_network::Options::new(id, run_dir.join("network"), subnet.parse::<Subnet>()?);
    options.spares = SPARE_NETWORKS;
    options.relay = Some(relay::Starter(Arc::new(|listener| {
        embedded::spawn_role(Path::new(OWN_PROGRAM), "relay", &listener)
    })));
    options.sandboxes = windlass_agent::surviving_networks(run_dir)?;
    Ok(Network::open(options).await)
}

async fn open_images(data: &Path) -> Result<windlass_image::Store> {
    let dir = data.join("images");
    let opened = tokio::task::spawn_blocking(move || windlass_image::Store::open(&dir));
    opened.await?.context("opening the image store")
}

fn agent_options(
    installation: &Installation,
    choices: &Choices,
    node: NodeId,
    run_dir: PathBuf,
) -> windlass_agent::Options {
    windlass_agent::Options {
        identity: Identity {
            id: node,
            name: None,
            availability_zone: format!("{}a", installation.region),
            address: choices.address.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            attributes: Vec::new(),
        },
        region: installation.region.clone(),
        run_dir,
        // Volumes are mounted by paths without links.
        data_dir: std::fs::canonicalize(&choices.data).unwrap_or_else(|_| choices.data.clone()),
        allowed_host_paths: Vec::new(),
        share: Share {
            cpu_overcommit: choices.cpu_overcommit,
            reserve_memory_mib: choices.reserve_memory_mib,
        },
    }
}

/// Carries messages both ways until either side ends, and opens the session again when the leader
/// cut it off.
async fn session(leader: Handle, agent: Arc<Agent>) {
    loop {
        let node = agent.node().id;
        let end = match leader.open_session(node).await {
            Ok(end) => end,
            Err(Refused::Throttled) => {
                tokio::time::sleep(THROTTLED_PAUSE).await;
                continue;
            }
            Err(_) => return,
        };
        let (to_server, mut from_agent) = mpsc::channel::<ToServer>(REPORTS_MAX);
        let handed = async {
            while let Some(message) = from_agent.recv().await {
                // An agent sends again what was not acknowledged, but the first word is needed.
                while let Err(Refused::Throttled) = leader.receive(message.clone()) {
                    tokio::time::sleep(THROTTLED_PAUSE).await;
                }
            }
        };
        tokio::join!(agent.run(to_server, end.from_server), handed);
        // It is behind, or the disk is full: at once it would find the same.
        tokio::time::sleep(SESSION_PAUSE).await;
    }
}

fn new_cluster(name: Name) -> CreateCluster {
    CreateCluster {
        name,
        tags: Vec::new(),
        container_insights: ContainerInsights::default(),
        configuration: None,
        capacity_providers: Vec::new(),
        default_strategy: Vec::new(),
        namespace: None,
    }
}

/// Every sandbox that is left ends, and everything on the machine that carries the installation's
/// name goes. For `down`.
pub(crate) async fn remove_traces(plane: Plane, installation: &Installation) -> Result<()> {
    let mut faults = Vec::new();
    for sandbox in plane.runtime.list().await? {
        if let Err(errors) = plane.runtime.remove_sandbox(&sandbox.id).await {
            faults.extend(errors.iter().map(ToString::to_string));
        }
    }
    let network = plane.network.clone();
    let runtime = plane.runtime.clone();
    plane.close().await?;
    drop(runtime);
    match sole(network).await {
        Some(network) => {
            if let Err(err) = network.down().await {
                faults.push(err.to_string());
            }
        }
        None => faults.push("the network is still in use by the agent".into()),
    }
    let left = windlass_runtime::start::remove_cgroups(&installation.cgroup());
    faults.extend(left.iter().map(ToString::to_string));
    let run_dir = installation.run_dir();
    if let Err(err) = run_folder::remove(&run_dir) {
        faults.push(format!("removing {}: {err}", run_dir.display()));
    }
    if faults.is_empty() {
        return Ok(());
    }
    bail!("some of it is still there:\n- {}", faults.join("\n- "));
}

/// The network once nobody else holds it: the agent's workers end after the agent, each at its
/// next pause.
async fn sole(mut network: Arc<Network>) -> Option<Network> {
    let asked = Instant::now();
    loop {
        network = match Arc::try_unwrap(network) {
            Ok(network) => return Some(network),
            Err(_) if asked.elapsed() > WORKERS_TIMEOUT => return None,
            Err(network) => network,
        };
        tokio::time::sleep(WORKERS_POLL).await;
    }
}
