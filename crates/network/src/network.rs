//! The real network: one value per installation, shared by all tasks of the agent.
//!
//! A sandbox's way: `create_namespace`, then `attach`, then `publish`; at its end `release`, which
//! undoes all of them in one call and in whatever state they are. Each step may be left out.

mod attach;
mod installation;
mod publish;
mod spare;
mod state;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinError};

pub use self::installation::is_open;
use self::installation::{
    give_back_ports, lock, lock_path, open_kernel, remove_by_name, take_down,
};
use self::spare::Filler;
use self::state::Sandbox;
pub(crate) use self::state::State;
use crate::addresses::Addresses;
use crate::conntrack::{self, Flow};
use crate::dns::{self, Forwarder};
use crate::error::{Error, Result, Trying};
use crate::forwarding::Forwarding;
use crate::kernel::{Kernel, KernelThread};
use crate::limits;
use crate::link;
use crate::namespace::{self, Folder};
use crate::netlink::{Family, Socket};
use crate::nft;
use crate::options::{Existing, Installation, Options, Subnet};
use crate::ports::{PortKey, Ports, dynamic_range};
use crate::quarantine::{self, Quarantine};
use crate::relay::Keeper;
use crate::reserved::Reserved;
use crate::resolv::{self, ResolvConf};
use crate::watch;

/// A network namespace that stays until it is released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceHandle {
    /// Its name in this installation.
    pub name: String,
    /// The file that stands for it, for `setns`.
    pub path: PathBuf,
}

/// A namespace's interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The host's end of the link.
    pub host_interface: String,
    /// The task's end.
    pub interface: String,
    /// Hardware address of the task's end.
    pub mac: [u8; 6],
    /// Its IPv4 address.
    pub address: Ipv4Addr,
    /// Length of the network part of the address, in bits.
    pub prefix: u8,
    /// Address of the bridge: the way out, and the resolver.
    pub gateway: Ipv4Addr,
}

/// The network of one installation. Cheap to clone; the last clone ends its background tasks, and
/// leaves what containers use in place.
#[derive(Debug, Clone)]
pub struct Network(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    installation: Installation,
    subnet: Subnet,
    resolv_conf: PathBuf,
    publish_address: Option<Ipv4Addr>,
    run_dir: PathBuf,
    folder: Folder,
    forwarding: Forwarding,
    kernel: KernelThread,
    state: Arc<Mutex<State>>,
    /// Tells the quarantine's task that there is something to wait for.
    released: Arc<Notify>,
    /// Tells the filler's task that a spare was taken.
    taken: Arc<Notify>,
    filler: OnceLock<AbortHandle>,
    tasks: Mutex<Vec<AbortHandle>>,
    _lock: File,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.abort_tasks();
    }
}

impl Network {
    /// Makes the first bridge, the rules and the services of the host, or takes over what is there, and
    /// removes namespaces that `options` does not name.
    ///
    /// Must be called within a tokio runtime whose threads are in the host's network namespace.
    ///
    /// # Errors
    /// [`Error::SubnetOverlap`] if the range is in use on this machine, [`Error::Locked`] if
    /// another agent of the installation runs, and whatever the kernel refuses.
    pub async fn open(options: Options) -> Result<Self> {
        let run_dir = options.run_dir.clone();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&run_dir)
            .trying(|| format!("create {}", run_dir.display()))?;
        let lock = lock(&run_dir)?;
        let folder = Folder::open(&run_dir)?;
        let forwarding = Forwarding::look(&run_dir)?;
        let range = "/proc/sys/net/ipv4/ip_local_port_range";
        let range = dynamic_range(&fs::read_to_string(range).unwrap_or_default());
        let mappings = options.sandboxes.iter().flat_map(|known| &known.ports);
        let wanted = mappings.map(|mapping| (mapping.key(), mapping.target));
        let keeper = Keeper::open(&run_dir, options.relay.clone(), &wanted.collect());
        let mut state = State {
            addresses: Addresses::new(options.subnet),
            quarantine: Quarantine::default(),
            ports: Ports::new(range, keeper, Reserved::open(&run_dir, range)),
            sandboxes: BTreeMap::new(),
            spares: Vec::new(),
        };
        let kernel = open_kernel(&options, &forwarding, &mut state)?;
        state.ports.settle();
        forwarding.enable()?;
        let netfilter = kernel.netfilter.port();
        let kernel = KernelThread::start(kernel)?;
        let network = Self(Arc::new(Inner {
            installation: options.installation,
            subnet: options.subnet,
            resolv_conf: options.resolv_conf,
            publish_address: options.publish_address,
            run_dir,
            folder,
            forwarding,
            kernel,
            state: Arc::new(Mutex::new(state)),
            released: Arc::new(Notify::new()),
            taken: Arc::new(Notify::new()),
            filler: OnceLock::new(),
            tasks: Mutex::default(),
            _lock: lock,
        }));
        network.remove_unknown(&options.sandboxes);
        network.start_tasks(netfilter, options.spares).await?;
        for chain in network.foreign_drops().await? {
            tracing::warn!(
                chain,
                "another program's firewall drops forwarded packets; \
                 let it accept those from and to the bridge, or tasks reach nothing outside"
            );
        }
        Ok(network)
    }

    /// Makes a network namespace with an interface on the bridge: one made ahead of demand if there
    /// is any.
    ///
    /// # Errors
    /// Those of [`Self::create_namespace`] and [`Self::attach`]; then release the namespace.
    pub async fn create(&self, name: &str) -> Result<(NamespaceHandle, Attached)> {
        let spare = self.state().spares.pop();
        self.0.taken.notify_one();
        let Some(spare) = spare else {
            let handle = self.create_namespace(name).await?;
            let attached = self.attach(name, None).await?;
            return Ok((handle, attached));
        };
        if let Err(error) = self.0.folder.bind(name, &spare.namespace) {
            self.state().spares.push(spare);
            return Err(error);
        }
        let sandbox = Sandbox {
            socket: None,
            attached: Some(spare.attached.clone()),
        };
        self.state().sandboxes.insert(name.to_owned(), sandbox);
        let handle = NamespaceHandle {
            name: name.to_owned(),
            path: self.0.folder.path(name)?,
        };
        Ok((handle, spare.attached))
    }

    /// Makes a network namespace with its loopback up, and nothing else: a task with network mode
    /// `none` needs no more.
    ///
    /// # Errors
    /// [`Error::NamespaceExists`], [`Error::NamespaceName`], or what the kernel refuses.
    pub async fn create_namespace(&self, name: &str) -> Result<NamespaceHandle> {
        let path = self.0.folder.path(name)?;
        let (folder, owned) = (self.0.folder.clone(), name.to_owned());
        let making = move || {
            let (namespace, socket) = namespace::create()?;
            folder.bind(&owned, &namespace).map(|()| socket)
        };
        let socket = blocking(making).await?;
        let sandbox = Sandbox {
            socket: Some(socket),
            attached: None,
        };
        self.state().sandboxes.insert(name.to_owned(), sandbox);
        Ok(NamespaceHandle {
            name: name.to_owned(),
            path,
        })
    }

    /// Ends a sandbox's network: its ports, its right to send, and its namespace, which goes with
    /// its last process. Its address is used again only when link and connections are gone; see
    /// [`Self::settled`]. An unknown name is no error.
    ///
    /// # Errors
    /// [`Error::Teardown`] with all that went wrong; everything was tried.
    pub async fn release(&self, name: &str) -> Result<()> {
        self.0.folder.path(name)?;
        let (interface, keys) = self.forget_sandbox(name);
        let (folder, owned) = (self.0.folder.clone(), name.to_owned());
        let (rules, (), removed) = tokio::join!(
            self.remove_rules(interface, keys.clone()),
            self.free_ports(keys),
            blocking(move || folder.remove(&owned)),
        );
        // Only now does looking make sense.
        self.0.released.notify_one();
        let errors = rules.err().into_iter().chain(removed.err()).collect();
        finish(format!("release network namespace {name}"), errors)
    }

    /// Waits until no released address is in quarantine any more.
    pub async fn settled(&self) {
        while !self.state().quarantine.is_empty() {
            tokio::time::sleep(limits::QUARANTINE_LOOK / 5).await;
        }
    }

    /// What containers are told of name servers at this moment.
    ///
    /// # Errors
    /// When the host's `/etc/resolv.conf` or its addresses cannot be read.
    pub async fn resolv_conf(&self) -> Result<ResolvConf> {
        let path = &self.0.resolv_conf;
        let host = dns::read_host_file(path)
            .await
            .trying(|| format!("read {}", path.display()))?;
        let own = self
            .0
            .kernel
            .run(|kernel| link::addresses(&kernel.route))
            .await?;
        let own = own.trying(|| "look at this machine's addresses".into())?;
        let own: Vec<_> = own.into_iter().map(|own| own.address).collect();
        Ok(resolv::for_containers(&host, &own, self.0.subnet))
    }

    /// Firewall chains of other programs that drop forwarded packets by policy, as Docker's do:
    /// tasks reach nothing outside while such a chain does not accept their packets. Each is
    /// named by family, table and chain.
    ///
    /// # Errors
    /// When the kernel does not list its chains.
    pub async fn foreign_drops(&self) -> Result<Vec<String>> {
        let table = self.0.installation.table();
        let work =
            move |kernel: &mut Kernel| nft::dropping_forward_chains(&kernel.netfilter, &table);
        self.0
            .kernel
            .run(work)
            .await?
            .trying(|| "list firewall chains".into())
    }

    /// How many sandboxes can have an interface at once.
    pub fn capacity(&self) -> u64 {
        self.0.subnet.capacity()
    }

    /// The first bridge's address, where names are asked for.
    pub fn gateway(&self) -> Ipv4Addr {
        self.0.subnet.gateway()
    }

    /// Removes everything of this installation, and nothing else: namespaces, links, rules, bridge.
    ///
    /// # Errors
    /// [`Error::Teardown`] with all that went wrong; everything was tried.
    pub async fn down(self) -> Result<()> {
        let mut errors = Vec::new();
        // First, or what is dropped here would be made again.
        if let Some(filler) = self.0.filler.get() {
            filler.abort();
        }
        let spares = std::mem::take(&mut self.state().spares);
        for spare in spares {
            self.state().forget_link(&spare.attached);
        }
        self.0.released.notify_one();
        for name in self.0.folder.names()? {
            errors.extend(self.release(&name).await.err());
        }
        if tokio::time::timeout(limits::DOWN_WAIT, self.settled())
            .await
            .is_err()
        {
            tracing::warn!("links of ended tasks are still there; deleting them");
        }
        // The watcher must not put back what goes now.
        self.0.abort_tasks();
        let keys = self.state().ports.keys();
        let keeper = self.state().ports.remove(&keys);
        keeper.end().await;
        let (installation, forwarding) = (self.0.installation.clone(), self.0.forwarding.clone());
        let work = move |kernel: &mut Kernel| {
            take_down(
                &kernel.route,
                &kernel.netfilter,
                &installation,
                &forwarding,
                &kernel.neighbours,
            )
        };
        errors.extend(self.0.kernel.run(work).await?);
        errors.extend(give_back_ports(&self.0.run_dir).err());
        errors.extend(self.0.folder.close().err());
        let path = lock_path(&self.0.run_dir);
        errors.extend(
            fs::remove_file(&path)
                .trying(|| format!("remove {}", path.display()))
                .err(),
        );
        finish(
            format!("remove the network of installation {}", self.0.installation),
            errors,
        )
    }

    /// Removes what carries an installation's name without opening its network, which may be
    /// refused: its range may be in use by now. Whatever is not there is no error.
    ///
    /// # Errors
    /// [`Error::Locked`] while an agent of the installation runs; [`Error::Teardown`] with all that
    /// went wrong; everything was tried.
    pub async fn remove(installation: Installation, run_dir: PathBuf) -> Result<()> {
        let what = format!("remove the network of installation {installation}");
        let errors = blocking(move || {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&run_dir)
                .trying(|| format!("create {}", run_dir.display()))?;
            remove_by_name(&installation, &run_dir)
        })
        .await?;
        finish(what, errors)
    }

    /// Takes a sandbox out of the state. Answers its link and ports, whose rules must go.
    fn forget_sandbox(&self, name: &str) -> (Option<String>, Vec<PortKey>) {
        let mut state = self.state();
        let sandbox = state.sandboxes.remove(name);
        let Some(attached) = sandbox.and_then(|sandbox| sandbox.attached) else {
            return (None, Vec::new());
        };
        let keys = state.ports.of(attached.address);
        state.forget_link(&attached);
        (Some(attached.host_interface), keys)
    }

    async fn remove_rules(&self, interface: Option<String>, keys: Vec<PortKey>) -> Result<()> {
        if interface.is_none() && keys.is_empty() {
            return Ok(());
        }
        let work = move |kernel: &mut Kernel| {
            let interface = interface.as_deref();
            kernel
                .firewall
                .remove_elements(&kernel.netfilter, interface, &keys)
        };
        self.0
            .kernel
            .run(work)
            .await?
            .trying(|| "remove rules of a task".into())
    }

    /// Removes namespaces that nobody named. Their addresses are in quarantine already.
    fn remove_unknown(&self, known: &[Existing]) {
        let names = self.0.folder.names().unwrap_or_default();
        let unknown = |name: &&String| known.iter().all(|known| known.namespace != **name);
        for name in names.iter().filter(unknown) {
            tracing::info!(name, "removing a network namespace that no task has");
            if let Err(error) = self.0.folder.remove(name) {
                tracing::warn!(name, %error, "a network namespace stays");
            }
        }
    }

    async fn start_tasks(&self, netfilter: u32, spares: usize) -> Result<()> {
        let inner = &self.0;
        let table = inner.installation.table();
        let watch = watch::Watch::new(inner.kernel.clone(), table, netfilter)?;
        let quarantine = quarantine::run(
            Arc::clone(&inner.state),
            inner.kernel.clone(),
            Arc::clone(&inner.released),
        );
        let filler = Filler {
            installation: inner.installation.clone(),
            subnet: inner.subnet,
            kernel: inner.kernel.clone(),
            state: Arc::clone(&inner.state),
            taken: Arc::clone(&inner.taken),
            wanted: spares,
        };
        let mut handles = vec![
            tokio::spawn(watch.run()).abort_handle(),
            tokio::spawn(quarantine).abort_handle(),
        ];
        let filler = tokio::spawn(filler.run()).abort_handle();
        handles.push(filler.clone());
        // Set once: a network is opened once.
        let _ = inner.filler.set(filler);
        let forwarder = Forwarder::bind(self.gateway(), inner.resolv_conf.clone()).await;
        match forwarder {
            Ok(forwarder) => handles.push(tokio::spawn(forwarder.run()).abort_handle()),
            // Then a server of the host listens on all addresses, and containers ask that one.
            Err(error) => tracing::warn!(%error, "no name forwarder on the bridge's address"),
        }
        inner
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(handles);
        inner.released.notify_one();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn abort_tasks(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.drain(..).for_each(|task| task.abort());
    }
}

/// Forgets connections, on a socket and thread of its own: the kernel lists all of them for it.
pub(crate) async fn forget(flows: Vec<Flow>) -> Result<()> {
    if flows.is_empty() {
        return Ok(());
    }
    blocking(move || {
        let forgetting = || "forget tracked connections".to_owned();
        let socket = Socket::open(Family::Netfilter).trying(forgetting)?;
        conntrack::forget(&socket, &flows)
            .trying(forgetting)
            .map(drop)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let ended: std::result::Result<_, JoinError> = tokio::task::spawn_blocking(work).await;
    ended.map_err(|_| Error::ShutDown)?
}

/// Whether this machine's kernel takes links and firewall tables from this process.
///
/// # Errors
/// What the kernel says to the question which tables there are.
pub fn check_kernel() -> Result<()> {
    let (_route, netfilter) = crate::kernel::sockets()?;
    nft::dropping_forward_chains(&netfilter, "")
        .map(drop)
        .trying(|| "list firewall chains".into())
}

fn finish(what: String, errors: Vec<Error>) -> Result<()> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Error::Teardown { what, errors })
    }
}
