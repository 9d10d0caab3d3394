//! Opening and taking down: what happens once per installation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::{Sandbox, State};
use crate::error::{Error, Result, Trying};
use crate::firewall::{self, Firewall, Scope};
use crate::forwarding::Forwarding;
use crate::kernel::{self, Kernel};
use crate::link;
use crate::namespace::Folder;
use crate::neighbours::Neighbours;
use crate::netlink::Socket;
use crate::options::{Existing, Installation, Options, Subnet};
use crate::relay;
use crate::reserved::Reserved;

/// Opens the kernel's side: checks the range, makes the bridge, puts the rules in place.
pub(super) fn open_kernel(
    options: &Options,
    forwarding: &Forwarding,
    state: &mut State,
) -> Result<Kernel> {
    let (route, netfilter) = kernel::sockets()?;
    kernel::check_overlap(&route, options.subnet, &options.installation)?;
    let mtu = kernel::outer_mtu(&route)?;
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
    let bridges = open_bridges(&route, options, mtu, &mut firewall)?;
    let neighbours = Neighbours::new(&options.run_dir);
    if bridges.len() > 1 {
        neighbours.raise();
    }
    firewall
        .apply(&netfilter)
        .trying(|| "put the firewall rules in place".into())?;
    Ok(Kernel {
        route,
        netfilter,
        firewall,
        bridges,
        neighbours,
        mtu,
    })
}

/// The first bridge, and those that are there from an earlier run or carry what lives. One that carries
/// nothing of the range any more goes.
fn open_bridges(
    route: &Socket,
    options: &Options,
    mtu: u32,
    firewall: &mut Firewall,
) -> Result<BTreeMap<u32, u32>> {
    let (installation, subnet) = (&options.installation, options.subnet);
    let mut wanted = BTreeSet::from([0]);
    let living = options.sandboxes.iter();
    let living = living.filter_map(|sandbox| sandbox.attached.as_ref());
    wanted.extend(living.map(|attached| subnet.part_of(attached.address)));
    let links = link::list(route).trying(|| "look at this machine's links".into())?;
    for link in links {
        match installation.part_of_bridge(&link.name) {
            Some(part) if part < subnet.parts() => {
                wanted.insert(part);
            }
            Some(_) => {
                link::delete(route, link.index).trying(|| format!("delete bridge {}", link.name))?
            }
            None => {}
        }
    }
    let mut bridges = BTreeMap::new();
    for number in wanted {
        let name = installation.bridge_of(number);
        let index = kernel::open_bridge(route, &name, subnet.part(number), mtu)?;
        firewall.note_bridge(&name);
        bridges.insert(number, index);
    }
    Ok(bridges)
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

/// Deletes links, bridge and rules, all by name, and goes on when something fails.
pub(super) fn take_down(
    route: &Socket,
    netfilter: &Socket,
    installation: &Installation,
    forwarding: &Forwarding,
    neighbours: &Neighbours,
) -> Vec<Error> {
    let link_prefix = installation.link_prefix();
    let is_ours = |link: &link::Link| installation.part_of_bridge(&link.name).is_some();
    let mut errors = Vec::new();
    let looking = || "look at this machine's links".to_owned();
    let links = match link::list(route).trying(looking) {
        Ok(links) => links,
        Err(error) => {
            errors.push(error);
            Vec::new()
        }
    };
    for link in links
        .iter()
        .filter(|link| link.name.starts_with(&link_prefix))
    {
        let deleted = link::delete(route, link.index);
        errors.extend(
            deleted
                .trying(|| format!("delete link {}", link.name))
                .err(),
        );
    }
    let others = |link: &link::Link| link.kind.as_deref() == Some("bridge") && !is_ours(link);
    errors.extend(neighbours.restore(links.iter().any(others)).err());
    // Before the rules, which keep the door shut while forwarding is on.
    errors.extend(forwarding.restore(links.iter().any(others)).err());
    for own in links.iter().filter(|link| is_ours(link)) {
        let deleted = link::delete(route, own.index);
        errors.extend(
            deleted
                .trying(|| format!("delete bridge {}", own.name))
                .err(),
        );
    }
    let removed = firewall::remove(installation, netfilter);
    errors.extend(removed.trying(|| "remove the firewall rules".into()).err());
    errors
}

/// Everything that carries an installation's name, where its network cannot be opened: namespaces,
/// links, rules, bridge.
pub(super) fn remove_by_name(installation: &Installation, run_dir: &Path) -> Result<Vec<Error>> {
    let _lock = lock(run_dir)?;
    let folder = Folder::open(run_dir)?;
    let forwarding = Forwarding::look(run_dir)?;
    let (route, netfilter) = kernel::sockets()?;
    let mut errors = Vec::new();
    let relay = relay::end(run_dir);
    errors.extend(
        relay
            .trying(|| "end the relay of published ports".into())
            .err(),
    );
    for name in folder.names()? {
        errors.extend(folder.remove(&name).err());
    }
    errors.extend(give_back_ports(run_dir).err());
    let neighbours = Neighbours::new(run_dir);
    errors.extend(take_down(
        &route,
        &netfilter,
        installation,
        &forwarding,
        &neighbours,
    ));
    errors.extend(folder.close().err());
    let path = lock_path(run_dir);
    let removed = std::fs::remove_file(&path);
    errors.extend(
        removed
            .trying(|| format!("remove {}", path.display()))
            .err(),
    );
    Ok(errors)
}

/// Ends the reservations of published ports.
pub(super) fn give_back_ports(run_dir: &Path) -> Result<()> {
    // The range decides only what is added.
    let reserved = Reserved::open(run_dir, (0, 0));
    reserved
        .end()
        .trying(|| format!("give back the ports reserved in {}", run_dir.display()))
}

fn link_address(installation: &Installation, subnet: Subnet, name: &str) -> Option<Ipv4Addr> {
    let host = name.strip_prefix(&installation.link_prefix())?;
    let host = u32::from_str_radix(host, 16).ok()?;
    (host & subnet.mask() == 0).then(|| Ipv4Addr::from_bits(subnet.network().to_bits() | host))
}

/// The file that keeps a second agent out.
pub(super) fn lock_path(run_dir: &Path) -> PathBuf {
    run_dir.join("network.lock")
}

/// Whether an agent of the installation with this folder runs: it holds the lock.
pub fn is_open(run_dir: &Path) -> bool {
    let lock = File::open(lock_path(run_dir));
    lock.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Keeps a second agent of the installation out, until this process ends.
pub(super) fn lock(run_dir: &Path) -> Result<File> {
    let path = lock_path(run_dir);
    let file = File::create(&path).trying(|| format!("create {}", path.display()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked { path }),
        Err(error) => Err(error).trying(|| format!("lock {}", path.display())),
    }
}
