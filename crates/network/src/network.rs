//! The real network: one value per installation, shared by all tasks of the agent.
//!
//! A sandbox's way: `create_namespace`, then `attach`, then `publish`; at its end `release`, which
//! undoes all of them in one call and in whatever state they are. Each step may be left out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::FlockOperation;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinError};

use crate::addresses::Addresses;
use crate::conntrack::{self, Flow};
use crate::dns::{self, Forwarder};
use crate::error::{Error, Result, Trying};
use crate::firewall::{Firewall, Scope};
use crate::forwarding::Forwarding;
use crate::kernel::{self, Kernel, KernelThread, mac};
use crate::limits;
use crate::link::{self, Pair};
use crate::namespace::Folder;
use crate::netlink::{Family, Socket};
use crate::options::{Existing, Installation, Options, Subnet};
use crate::ports::{PortKey, PortMapping, Ports, dynamic_range};
use crate::quarantine::{self, Quarantine};
use crate::resolv::{self, ResolvConf};
use crate::watch;

/// Name of a task's interface.
const TASK_INTERFACE: &str = "eth0";

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
    run_dir: PathBuf,
    folder: Folder,
    forwarding: Forwarding,
    kernel: KernelThread,
    state: Arc<Mutex<State>>,
    /// Tells the quarantine's task that there is something to wait for.
    released: Arc<Notify>,
    tasks: Mutex<Vec<AbortHandle>>,
    _lock: File,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.abort_tasks();
    }
}

/// What is known of sandboxes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) addresses: Addresses,
    pub(crate) quarantine: Quarantine,
    ports: Ports,
    sandboxes: BTreeMap<String, Sandbox>,
}

#[derive(Debug, Default)]
struct Sandbox {
    /// Left from the namespace's making, to save entering it again.
    socket: Option<Socket>,
    attached: Option<Attached>,
}

impl Network {
    /// Makes the bridge, the rules and the services of the host, or takes over what is there, and
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
        let mut state = State {
            addresses: Addresses::new(options.subnet),
            quarantine: Quarantine::default(),
            ports: Ports::new(range),
            sandboxes: BTreeMap::new(),
        };
        let kernel = open_kernel(&options, &forwarding, &mut state)?;
        forwarding.enable()?;
        let (netfilter, bridge) = (kernel.netfilter.port(), kernel.bridge);
        let kernel = KernelThread::start(kernel)?;
        let network = Self(Arc::new(Inner {
            installation: options.installation,
            subnet: options.subnet,
            resolv_conf: options.resolv_conf,
            run_dir,
            folder,
            forwarding,
            kernel,
            state: Arc::new(Mutex::new(state)),
            released: Arc::new(Notify::new()),
            tasks: Mutex::default(),
            _lock: lock,
        }));
        network.remove_unknown(&options.sandboxes);
        network.start_tasks(netfilter, bridge).await?;
        Ok(network)
    }

    /// Makes a network namespace with its loopback up, and nothing else: a task with network mode
    /// `none` needs no more.
    ///
    /// # Errors
    /// [`Error::NamespaceExists`], [`Error::NamespaceName`], or what the kernel refuses.
    pub async fn create_namespace(&self, name: &str) -> Result<NamespaceHandle> {
        let path = self.0.folder.path(name)?;
        let (folder, owned) = (self.0.folder.clone(), name.to_owned());
        let socket = blocking(move || folder.create(&owned)).await?;
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

    /// Gives a namespace an interface on the bridge, with this address or any.
    ///
    /// Nothing but its own addresses passes the interface. If this fails or its future is dropped,
    /// release the namespace: it may be attached in part.
    ///
    /// # Errors
    /// [`Error::NoNamespace`], [`Error::AlreadyAttached`], [`Error::NoAddress`],
    /// [`Error::Address`], [`Error::BridgeFull`], or what the kernel refuses.
    pub async fn attach(&self, name: &str, address: Option<Ipv4Addr>) -> Result<Attached> {
        let namespace = self.0.folder.file(name)?;
        let (attached, socket) = self.plan_attach(name, address)?;
        let socket = match socket {
            Some(socket) => socket,
            None => {
                let (folder, owned) = (self.0.folder.clone(), name.to_owned());
                blocking(move || folder.socket(&owned)).await?
            }
        };
        let planned = attached.clone();
        let bridge = self.0.installation.bridge();
        self.0
            .kernel
            .run(move |kernel| {
                let namespace = namespace.as_fd();
                make_link(kernel, &planned, namespace, &socket, bridge)
            })
            .await??;
        Ok(attached)
    }

    /// Publishes ports: all of them or none. Host port zero asks for a dynamic one; the answer
    /// holds the ports given, in the order asked.
    ///
    /// # Errors
    /// [`Error::PortInUse`], [`Error::NoPort`], [`Error::HostAddress`], [`Error::Target`], or
    /// what the kernel refuses.
    pub async fn publish(&self, mappings: &[PortMapping]) -> Result<Vec<PortMapping>> {
        let (given, refused) = self.reserve(mappings);
        if let Some(error) = refused {
            self.free_ports(given.iter().map(PortMapping::key).collect())
                .await;
            return Err(error);
        }
        let elements: Vec<_> = given
            .iter()
            .map(|mapping| (mapping.key(), mapping.target))
            .collect();
        let keys: Vec<_> = given.iter().map(PortMapping::key).collect();
        let work = move |kernel: &mut Kernel| {
            let added = kernel.firewall.add_ports(&kernel.netfilter, &elements);
            if added.is_err() {
                let _ = kernel
                    .firewall
                    .remove_elements(&kernel.netfilter, None, &keys);
            }
            added
        };
        let added = self.0.kernel.run(work).await;
        let added = added.and_then(|added| added.trying(|| "publish ports".into()));
        if let Err(error) = added {
            self.free_ports(given.iter().map(PortMapping::key).collect())
                .await;
            return Err(error);
        }
        Ok(given)
    }

    /// Ends the publishing of ports, and forgets the connections that came by them. The ports may
    /// be published again when this returns.
    ///
    /// # Errors
    /// [`Error::NotPublished`] or [`Error::Teardown`]; all other mappings are removed all the same.
    pub async fn unpublish(&self, mappings: &[PortMapping]) -> Result<()> {
        let mut errors = Vec::new();
        let mut keys = Vec::new();
        let mut flows = Vec::new();
        for mapping in mappings {
            let key = mapping.key();
            if self.state().ports.of(*mapping.target.ip()).contains(&key) {
                keys.push(key);
                flows.push(Flow::Published {
                    protocol: key.protocol,
                    host_port: key.port,
                    target: *mapping.target.ip(),
                });
            } else {
                errors.push(Error::NotPublished {
                    port: key.port,
                    protocol: key.protocol,
                });
            }
        }
        // The reservation outlives the rule and the connections: nobody gets the port before.
        errors.extend(self.remove_rules(None, keys.clone()).await.err());
        errors.extend(forget(flows).await.err());
        self.free_ports(keys).await;
        finish("unpublish ports".into(), errors)
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

    /// The bridge's address.
    pub fn gateway(&self) -> Ipv4Addr {
        self.0.subnet.gateway()
    }

    /// Removes everything of this installation, and nothing else: namespaces, links, rules, bridge.
    ///
    /// # Errors
    /// [`Error::Teardown`] with all that went wrong; everything was tried.
    pub async fn down(self) -> Result<()> {
        let mut errors = Vec::new();
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
        self.free_ports(keys).await;
        let (prefix, name) = (
            self.0.installation.link_prefix(),
            self.0.installation.bridge(),
        );
        let forwarding = self.0.forwarding.clone();
        let work = move |kernel: &mut Kernel| take_down(kernel, &prefix, &name, &forwarding);
        errors.extend(self.0.kernel.run(work).await?);
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

    fn plan_attach(
        &self,
        name: &str,
        address: Option<Ipv4Addr>,
    ) -> Result<(Attached, Option<Socket>)> {
        let mut state = self.state();
        let State {
            addresses,
            sandboxes,
            ..
        } = &mut *state;
        let used = sandboxes
            .values()
            .filter(|sandbox| sandbox.attached.is_some())
            .count();
        if used >= limits::BRIDGE_LINKS {
            return Err(Error::BridgeFull(self.0.installation.bridge()));
        }
        let sandbox = sandboxes.entry(name.to_owned()).or_default();
        if sandbox.attached.is_some() {
            return Err(Error::AlreadyAttached(name.to_owned()));
        }
        let address = match address {
            Some(address) => addresses.take_exact(address).map(|()| address)?,
            None => addresses.take()?,
        };
        let attached = Attached {
            host_interface: link_name(&self.0.installation, self.0.subnet, address),
            interface: TASK_INTERFACE.to_owned(),
            mac: mac(address),
            address,
            prefix: self.0.subnet.prefix(),
            gateway: self.0.subnet.gateway(),
        };
        sandbox.attached = Some(attached.clone());
        Ok((attached, sandbox.socket.take()))
    }

    /// Reserves host ports up to the first that is refused.
    fn reserve(&self, mappings: &[PortMapping]) -> (Vec<PortMapping>, Option<Error>) {
        let mut state = self.state();
        let mut given = Vec::new();
        for mapping in mappings {
            let reserved = if state.addresses.is_taken(*mapping.target.ip()) {
                state.ports.reserve(*mapping)
            } else {
                Err(Error::Target(mapping.target))
            };
            match reserved {
                Ok(reserved) => given.push(reserved),
                Err(error) => return (given, Some(error)),
            }
        }
        (given, None)
    }

    async fn free_ports(&self, keys: Vec<PortKey>) {
        let relays = self.state().ports.remove(keys);
        for relay in relays {
            relay.close().await;
        }
    }

    /// Takes a sandbox out of the state. Answers its link and ports, whose rules must go.
    fn forget_sandbox(&self, name: &str) -> (Option<String>, Vec<PortKey>) {
        let mut state = self.state();
        let sandbox = state.sandboxes.remove(name);
        let Some(attached) = sandbox.and_then(|sandbox| sandbox.attached) else {
            return (None, Vec::new());
        };
        let keys = state.ports.of(attached.address);
        state.addresses.release(attached.address);
        state
            .quarantine
            .add(attached.host_interface.clone(), attached.address);
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

    async fn start_tasks(&self, netfilter: u32, bridge: u32) -> Result<()> {
        let inner = &self.0;
        let table = inner.installation.table();
        let watch = watch::Watch::new(inner.kernel.clone(), table, netfilter, bridge)?;
        let quarantine = quarantine::run(
            Arc::clone(&inner.state),
            inner.kernel.clone(),
            Arc::clone(&inner.released),
        );
        let mut handles = vec![
            tokio::spawn(watch.run()).abort_handle(),
            tokio::spawn(quarantine).abort_handle(),
        ];
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

/// Opens the kernel's side: checks the range, makes the bridge, puts the rules in place.
fn open_kernel(options: &Options, forwarding: &Forwarding, state: &mut State) -> Result<Kernel> {
    let (route, netfilter) = kernel::sockets()?;
    let name = options.installation.bridge();
    kernel::check_overlap(&route, options.subnet, &name)?;
    let mtu = kernel::outer_mtu(&route)?;
    let bridge = kernel::open_bridge(&route, &options.installation, options.subnet, mtu)?;
    let mut firewall = Firewall::new(Scope {
        installation: options.installation.clone(),
        subnet: options.subnet,
        metadata_port: options.metadata_port,
        guard_forwarding: forwarding.needs_guard(),
    });
    for existing in &options.sandboxes {
        adopt(existing, state, &mut firewall)?;
    }
    // Links of namespaces that are about to end keep their addresses until then.
    let links = link::list(&route).trying(|| "look at this machine's links".into())?;
    for link in links {
        let address = link_address(&options.installation, options.subnet, &link.name);
        if let Some(address) = address.filter(|address| !state.addresses.is_taken(*address)) {
            state.addresses.quarantine(address);
            state.quarantine.add(link.name, address);
        }
    }
    firewall
        .apply(&netfilter)
        .trying(|| "put the firewall rules in place".into())?;
    Ok(Kernel {
        route,
        netfilter,
        firewall,
        bridge,
        mtu,
    })
}

fn adopt(existing: &Existing, state: &mut State, firewall: &mut Firewall) -> Result<()> {
    if let Some(attached) = &existing.attached {
        state.addresses.take_exact(attached.address)?;
        firewall.note_link(&attached.host_interface, attached.mac, attached.address);
    }
    for mapping in &existing.ports {
        if let Err(error) = state.ports.adopt(mapping) {
            tracing::warn!(%error, "a published port cannot be reached over loopback any more");
        }
        firewall.note_port(mapping.key(), mapping.target);
    }
    let sandbox = Sandbox {
        socket: None,
        attached: existing.attached.clone(),
    };
    state.sandboxes.insert(existing.namespace.clone(), sandbox);
    Ok(())
}

fn make_link(
    kernel: &mut Kernel,
    attached: &Attached,
    namespace: std::os::fd::BorrowedFd<'_>,
    inside: &Socket,
    bridge: String,
) -> Result<()> {
    let attaching = || format!("attach {} to bridge {bridge}", attached.host_interface);
    let Kernel {
        firewall,
        netfilter,
        ..
    } = kernel;
    firewall
        .add_link(
            netfilter,
            &attached.host_interface,
            attached.mac,
            attached.address,
        )
        .trying(attaching)?;
    let pair = Pair {
        host_name: &attached.host_interface,
        bridge: kernel.bridge,
        mtu: kernel.mtu,
        task_name: &attached.interface,
        task_mac: attached.mac,
        task_namespace: namespace,
    };
    match link::add_pair(&kernel.route, &pair) {
        Err(error) if error.errno() == Some(libc::EXFULL) => return Err(Error::BridgeFull(bridge)),
        other => other.trying(attaching)?,
    }
    let found = link::find(inside, &attached.interface).trying(attaching)?;
    let index = found
        .ok_or_else(|| Error::NoNamespace(attached.interface.clone()))?
        .index;
    let Attached {
        address,
        prefix,
        gateway,
        ..
    } = *attached;
    link::configure(inside, index, address, prefix, gateway).trying(attaching)?;
    if !link::open_port(&kernel.route, &attached.host_interface).trying(attaching)? {
        tracing::debug!(
            interface = attached.host_interface,
            "the bridge is slow to open a port"
        );
    }
    Ok(())
}

fn take_down(
    kernel: &mut Kernel,
    link_prefix: &str,
    bridge: &str,
    forwarding: &Forwarding,
) -> Vec<Error> {
    let mut errors = Vec::new();
    let looking = || "look at this machine's links".to_owned();
    let links = match link::list(&kernel.route).trying(looking) {
        Ok(links) => links,
        Err(error) => {
            errors.push(error);
            Vec::new()
        }
    };
    for link in links
        .iter()
        .filter(|link| link.name.starts_with(link_prefix))
    {
        let deleted = link::delete(&kernel.route, link.index);
        errors.extend(
            deleted
                .trying(|| format!("delete link {}", link.name))
                .err(),
        );
    }
    let others = |link: &link::Link| link.kind.as_deref() == Some("bridge") && link.name != bridge;
    // Before the rules, which keep the door shut while forwarding is on.
    errors.extend(forwarding.restore(links.iter().any(others)).err());
    let deleted = link::delete(&kernel.route, kernel.bridge);
    errors.extend(deleted.trying(|| format!("delete bridge {bridge}")).err());
    let removed = kernel.firewall.remove(&kernel.netfilter);
    errors.extend(removed.trying(|| "remove the firewall rules".into()).err());
    errors
}

/// Name of the host's end of a link. It holds the address, so that the kernel itself refuses to
/// give an address away while its last link lives.
fn link_name(installation: &Installation, subnet: Subnet, address: Ipv4Addr) -> String {
    let host = address.to_bits() & !subnet.mask();
    format!("{}{host:x}", installation.link_prefix())
}

fn link_address(installation: &Installation, subnet: Subnet, name: &str) -> Option<Ipv4Addr> {
    let host = name.strip_prefix(&installation.link_prefix())?;
    let host = u32::from_str_radix(host, 16).ok()?;
    (host & subnet.mask() == 0).then(|| Ipv4Addr::from_bits(subnet.network().to_bits() | host))
}

fn lock_path(run_dir: &Path) -> PathBuf {
    run_dir.join("network.lock")
}

/// Keeps a second agent of the installation out, until this process ends.
fn lock(run_dir: &Path) -> Result<File> {
    let path = lock_path(run_dir);
    let file = File::create(&path).trying(|| format!("create {}", path.display()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked { path }),
        Err(error) => Err(error).trying(|| format!("lock {}", path.display())),
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

fn finish(what: String, errors: Vec<Error>) -> Result<()> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Error::Teardown { what, errors })
    }
}
