//! The parts of one machine's Windlass, opened in order and closed in reverse: store, leader,
//! network, runtime, images, agent. `up` serves them; `down` uses them to end everything.

use crate::installation::Installation;
use crate::run_folder;
use anyhow::{Context, Result, anyhow, bail};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use windlass_agent::images::stored::Stored;
use windlass_agent::{Agent, AllowedPath, Identity, Logs, Share};
use windlass_cluster::{Answer, NodeView};
use windlass_image::{Hosts, Logins, Mirrors, PullOptions};
use windlass_model::cluster::{ContainerInsights, FARGATE_PROVIDERS};
use windlass_model::command::{Command, CreateCluster, Request};
use windlass_model::id::{Name, NodeId};
use windlass_model::pull::PullBehavior;
use windlass_network::{Network, Subnet, relay};
use windlass_runtime::embedded::{self, Embedded};
use windlass_server::clock::SystemClock;
use windlass_server::{Handle, Leader, Refused, Stopped};
use windlass_session::ToServer;
use windlass_store::Store;

/// What runs as server, shim and relay: this very program, even when its file was replaced meanwhile.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";
/// What clients mean that name no cluster: it is always there.
pub(crate) const DEFAULT_CLUSTER: &str = "default";
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
    /// Host paths that containers may have though they are the machine's own.
    pub(crate) allowed_host_paths: Vec<AllowedPath>,
    /// How registries are reached that are no public ones.
    pub(crate) hosts: Hosts,
    /// The setting of earlier starts, or the default, when none is chosen.
    pub(crate) pull: Option<PullBehavior>,
    /// An address under which published ports are reached from elsewhere.
    pub(crate) address: String,
    /// Where tasks' ports are published; as at the last start when nobody chose.
    pub(crate) publish_address: Option<Ipv4Addr>,
    /// Whether this machine joins clusters that have no instance by itself.
    pub(crate) joins_on_demand: bool,
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
            allowed_host_paths: Vec::new(),
            hosts: Hosts::default(),
            pull: None,
            address: String::from("127.0.0.1"),
            publish_address: None,
            joins_on_demand: false,
        }
    }

    /// Passwords for registries lie in the data folder, for root alone.
    pub(crate) fn logins(&self) -> Logins {
        Logins::new(self.data.join("registries.json"))
    }

    pub(crate) fn pull_options(&self) -> PullOptions {
        PullOptions {
            mirrors: self.mirrors.clone(),
            hosts: self.hosts.clone(),
            logins: Some(self.logins()),
            ..PullOptions::default()
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
    /// The address range of tasks.
    pub(crate) subnet: String,
    /// Answers why the leader ended.
    pub(crate) ended: oneshot::Receiver<Stopped>,
    session: JoinHandle<()>,
}

impl Plane {
    /// Opens all parts; the agent finds what runs already.
    pub(crate) async fn open(installation: &Installation, choices: &Choices) -> Result<Plane> {
        let (leader, ended) = open_leader(installation, &choices.data).await?;
        let run_dir = installation.run_dir();
        let epoch = run_folder::prepare(&run_dir)?;
        let (network, subnet) = open_network(installation, choices, &run_dir).await?;
        let network = Arc::new(network);
        windlass_runtime::start::bound_processes(&installation.cgroup())
            .context("bounding the processes of all tasks")?;
        let runtime = Arc::new(Embedded::new(embedded::Options {
            run_dir: run_dir.join("sandboxes"),
            executable: PathBuf::from(OWN_PROGRAM),
            cgroup_root: installation.cgroup(),
            spare_shims: SPARE_SHIMS,
        })?);
        let images = open_images(&choices.data).await?;
        let node = NodeId::from_str(&installation.node_id)?;
        let agent = Agent::open(
            agent_options(installation, choices, (node, epoch), run_dir),
            runtime.clone(),
            network.clone(),
            Arc::new(Stored::new(images.clone(), choices.pull_options())),
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
            subnet,
            ended,
            session,
        })
    }

    /// Makes this machine a node that is there.
    pub(crate) async fn connect(&self) -> Result<()> {
        let node = self.agent.node().clone();
        self.ask(Command::NodeConnected(Box::new(node))).await?;
        self.part_from_others().await?;
        Ok(())
    }

    /// Makes the clusters and `default`, and this node an instance of each. On a disk that is nearly
    /// full those of an earlier start are served all the same.
    pub(crate) async fn join(&self, clusters: &[String]) -> Result<()> {
        self.connect().await?;
        if let Err(low @ Refused::DiskLow { .. }) = self.leader.room().await {
            eprintln!("warning: {low}; no cluster is made or joined that was not before");
            return Ok(());
        }
        let default = String::from(DEFAULT_CLUSTER);
        let others = clusters.iter().filter(|name| **name != default);
        for cluster in std::iter::once(&default).chain(others) {
            let name = Name::new(cluster).with_context(|| format!("cluster {cluster}"))?;
            self.ask(Command::CreateCluster(new_cluster(name.clone())))
                .await?;
            self.ask(Command::JoinAtStart {
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

    /// Tasks that are not STOPPED: of this machine, and of others.
    pub(crate) async fn running(&self) -> Result<(usize, usize)> {
        let nodes = self.nodes().await?;
        let of = |own: bool| {
            let nodes = nodes
                .iter()
                .filter(|view| (view.node.id == self.node) == own);
            nodes
                .map(|view| usize::try_from(view.tasks).unwrap_or(usize::MAX))
                .sum()
        };
        Ok((of(true), of(false)))
    }

    async fn nodes(&self) -> Result<Vec<NodeView>> {
        match self.ask(Command::ListNodes).await? {
            Answer::Nodes(nodes) => Ok(nodes),
            _ => bail!("the leader answered a question about its nodes with something else"),
        }
    }

    /// Ends the parts; tasks go on.
    pub(crate) async fn close(self) -> Result<()> {
        let (_, _, closing) = self.end_agent().await;
        closing.close().await
    }

    /// Ends the agent, and gives what it worked with. The leader still holds the data folder, so
    /// that nobody else begins while things are put away.
    pub(crate) async fn end_agent(self) -> (Arc<Network>, Arc<Embedded>, Closing) {
        self.session.abort();
        // An aborted session holds the agent until it is polled once more.
        let _ = self.session.await;
        let closing = Closing {
            leader: self.leader,
            ended: self.ended,
        };
        (self.network, self.runtime, closing)
    }
}

/// What is left to end.
pub(crate) struct Closing {
    leader: Handle,
    ended: oneshot::Receiver<Stopped>,
}

impl Closing {
    /// Ends the leader, and with it the hold on the data folder.
    pub(crate) async fn close(self) -> Result<()> {
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
async fn open_leader(
    installation: &Installation,
    data: &Path,
) -> Result<(Handle, oneshot::Receiver<Stopped>)> {
    let (served, term) = (installation.served, installation.term);
    let data = data.to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        let dir = data.join("store");
        // Looked at before it is opened, which would make one.
        if served && !windlass_store::Embedded::exists(&dir) {
            return Err(lost(&data));
        }
        let store = open_store(&dir)?;
        if served && store.is_new() {
            return Err(lost(&data));
        }
        let store: Box<dyn Store> = Box::new(store);
        Leader::open(windlass_server::Options {
            store,
            clock: Box::new(SystemClock::new()),
            term,
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

/// An empty region must not be served where there was another: its tasks would be ended as unknown.
fn lost(data: &Path) -> anyhow::Error {
    let data = data.display();
    anyhow!(
        "{data} has served before, and the store in {data}/store is gone or empty: bring it back, \
         or run `windlass restore BACKUP --data {data}` after moving {data}/store away; to begin \
         anew instead, run `windlass down --data {data}` and use another folder"
    )
}

/// On the chosen range, the one used before, or the first that the host does not use.
async fn open_network(
    installation: &Installation,
    choices: &Choices,
    run_dir: &Path,
) -> Result<(Network, String)> {
    let chosen = choices
        .subnet
        .clone()
        .or_else(|| installation.subnet.clone());
    if let Some(subnet) = chosen {
        let network = try_network(installation, choices, run_dir, &subnet).await?;
        let network = network.context("opening the tasks' network")?;
        return Ok((network, subnet));
    }
    let mut refused = None;
    for subnet in SUBNETS {
        match try_network(installation, choices, run_dir, subnet).await? {
            Ok(network) => return Ok((network, subnet.to_owned())),
            Err(err @ windlass_network::Error::SubnetOverlap { .. }) => refused = Some(err),
            Err(err) => return Err(err).context("opening the tasks' network"),
        }
    }
    let why = refused.map_or(String::new(), |err| format!(" ({err})"));
    Err(anyhow!(
        "no address range is free{why}: choose one with --subnet"
    ))
}

/// The outer error is about the settings, the inner one about the range.
async fn try_network(
    installation: &Installation,
    choices: &Choices,
    run_dir: &Path,
    subnet: &str,
) -> Result<windlass_network::Result<Network>> {
    let id = installation.id.parse::<windlass_network::Installation>()?;
    let mut options =
        windlass_network::Options::new(id, run_dir.join("network"), subnet.parse::<Subnet>()?);
    options.spares = SPARE_NETWORKS;
    options.publish_address = choices.publish_address.or(installation.publish_address);
    let cgroup = installation.cgroup();
    options.relay = Some(relay::Starter(Arc::new(move |listener| {
        embedded::spawn_role(Path::new(OWN_PROGRAM), "relay", &cgroup, &listener)
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
    (node, epoch): (NodeId, u128),
    run_dir: PathBuf,
) -> windlass_agent::Options {
    windlass_agent::Options {
        identity: Identity {
            id: node,
            name: None,
            availability_zone: format!("{}a", installation.region),
            address: choices.address.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch,
            attributes: Vec::new(),
            joins_on_demand: choices.joins_on_demand,
        },
        region: installation.region.clone(),
        run_dir,
        // Volumes are mounted by paths without links.
        data_dir: std::fs::canonicalize(&choices.data).unwrap_or_else(|_| choices.data.clone()),
        allowed_host_paths: choices.allowed_host_paths.clone(),
        share: Share {
            cpu_overcommit: choices.cpu_overcommit,
            reserve_memory_mib: choices.reserve_memory_mib,
        },
        pull: choices.pull.or(installation.pull()).unwrap_or_default(),
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
        capacity_providers: FARGATE_PROVIDERS.map(String::from).to_vec(),
        default_strategy: Vec::new(),
        namespace: None,
    }
}
