//! Networks of a task: which namespace, which address, which ports.

use crate::ledger::{InterfaceRecord, NetworkRecord, Record};
use crate::reason;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use windlass_model::container::{ContainerDefinition, PortMapping as PortDefinition};
use windlass_model::definition::{NetworkMode, Template};
use windlass_model::resources::Protocol;
use windlass_model::stop::{ContainerReason, ReasonName};
use windlass_model::task::NetworkBinding;
use windlass_network::{Driver, Error, Existing, PortMapping};
use windlass_node::plan::Scope;

/// Where a contiguous range of dynamic host ports is looked for, and how often.
const RANGE_FIRST: u16 = 32_768;
const RANGE_LAST: u16 = 60_999;
const RANGE_TRIES: u16 = 64;

/// The namespace of a scope: found again by name after a crash.
pub(crate) fn namespace(sandbox: &str, scope: Scope) -> String {
    match scope {
        Scope::Task => sandbox.to_owned(),
        Scope::Container(at) => format!("{sandbox}-{at}"),
    }
}

/// Makes the network of a scope: a namespace, an address, and in bridge mode published ports.
///
/// # Errors
/// The reason to show. What was made until then is released with the scope.
pub(crate) async fn create(
    network: &dyn Driver,
    record: &Record,
    scope: Scope,
) -> Result<NetworkRecord, ContainerReason> {
    let name = namespace(&record.sandbox, scope);
    let failed =
        |error: Error| reason::of(ReasonName::ContainerNetworkingError, reason::chain(&error));
    let (handle, attached) = match network.create(&name).await {
        // An agent that died half way left it, with who knows what in it.
        Err(Error::NamespaceExists(_)) => {
            network.release(&name).await.map_err(failed)?;
            network.create(&name).await.map_err(failed)?
        }
        other => other.map_err(failed)?,
    };
    let path = handle.path.to_string_lossy().into_owned();
    let mut made = NetworkRecord::new(scope, name, path);
    made.interface = Some(InterfaceRecord::new(&attached));
    if let Scope::Container(at) = scope {
        let template = &record.assignment.definition.template;
        if let Some(definition) = template.containers.get(at) {
            made.bindings = publish(network, definition, attached.address).await?;
        }
    }
    Ok(made)
}

/// The host ports a container shows that has the host's own network.
pub(crate) fn host_bindings(definition: &ContainerDefinition) -> Vec<NetworkBinding> {
    let bind = |mapping: &PortDefinition| {
        let port = mapping.container_port?;
        let any = Ipv4Addr::UNSPECIFIED;
        Some(binding(mapping.protocol, port, port, any, None))
    };
    definition.port_mappings.iter().filter_map(bind).collect()
}

/// What the ledger knows of living networks: [`windlass_network::Options::sandboxes`] keeps them.
///
/// # Errors
/// The ledger cannot be read.
pub fn surviving(run_dir: &Path) -> Result<Vec<Existing>, crate::ledger::Error> {
    let found = crate::ledger::Ledger::open(run_dir)?.read()?;
    let all = found.records.iter().flat_map(|record| &record.networks);
    Ok(all.map(existing).collect())
}

fn existing(record: &NetworkRecord) -> Existing {
    let ports = match record.address() {
        Some(address) => record
            .bindings
            .iter()
            .flat_map(|b| mappings_of(b, address))
            .collect(),
        None => Vec::new(),
    };
    Existing {
        namespace: record.namespace.clone(),
        attached: record.interface.as_ref().map(InterfaceRecord::attached),
        ports,
    }
}

fn mappings_of(binding: &NetworkBinding, address: Ipv4Addr) -> Vec<PortMapping> {
    let last = binding
        .range_end
        .map_or(binding.container_port, |(container, _)| container);
    let length = last.saturating_sub(binding.container_port);
    (0..=length)
        .map(|n| {
            let host = binding.host_port.saturating_add(n);
            let inside = binding.container_port.saturating_add(n);
            PortMapping {
                // As it was published: what is chosen since holds for what is published since.
                host_address: binding.bind_ip.parse().ok(),
                ..mapping(binding.protocol, host, address, inside)
            }
        })
        .collect()
}

async fn publish(
    network: &dyn Driver,
    definition: &ContainerDefinition,
    address: Ipv4Addr,
) -> Result<Vec<NetworkBinding>, ContainerReason> {
    let single: Vec<PortMapping> = definition
        .port_mappings
        .iter()
        .filter_map(|p| {
            let port = p.container_port?;
            Some(mapping(p.protocol, p.host_port.unwrap_or(0), address, port))
        })
        .collect();
    let mut bindings = Vec::new();
    if !single.is_empty() {
        let given = network
            .publish(&single)
            .await
            .map_err(|e| cannot_publish(&e))?;
        bindings.extend(given.iter().map(|given| {
            let protocol = match given.protocol {
                windlass_network::Protocol::Tcp => Protocol::Tcp,
                windlass_network::Protocol::Udp => Protocol::Udp,
            };
            let ip = given.host_address.unwrap_or(Ipv4Addr::UNSPECIFIED);
            binding(protocol, given.target.port(), given.host_port, ip, None)
        }));
    }
    for definition in &definition.port_mappings {
        if let Some(range) = definition.container_port_range {
            bindings.push(publish_range(network, definition.protocol, range, address).await?);
        }
    }
    Ok(bindings)
}

/// One contiguous host range of the same length.
async fn publish_range(
    network: &dyn Driver,
    protocol: Protocol,
    (first, last): (u16, u16),
    address: Ipv4Addr,
) -> Result<NetworkBinding, ContainerReason> {
    let length = last.saturating_sub(first);
    let room = (RANGE_LAST - RANGE_FIRST).saturating_sub(length).max(1);
    // Containers start their search at different places, so that they seldom meet.
    let mut at = (address.to_bits().wrapping_mul(2_654_435_761) >> 16) as u16 % room;
    for _ in 0..RANGE_TRIES {
        let host = RANGE_FIRST + at;
        let wanted: Vec<PortMapping> = (0..=length)
            .map(|n| {
                mapping(
                    protocol,
                    host.saturating_add(n),
                    address,
                    first.saturating_add(n),
                )
            })
            .collect();
        match network.publish(&wanted).await {
            Ok(given) => {
                let end = Some((last, host.saturating_add(length)));
                let ip = given.first().and_then(|given| given.host_address);
                let ip = ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
                return Ok(binding(protocol, first, host, ip, end));
            }
            Err(Error::PortInUse { port, .. }) if (host..=RANGE_LAST).contains(&port) => {
                at = (port - RANGE_FIRST).saturating_add(1) % room;
            }
            Err(error) => return Err(cannot_publish(&error)),
        }
    }
    Err(reason::of(
        ReasonName::CannotStartContainerError,
        format!(
            "no {} contiguous host ports are free for container ports {first}-{last}",
            length + 1
        ),
    ))
}

fn cannot_publish(error: &Error) -> ContainerReason {
    let detail = match error {
        Error::PortInUse { port, .. } => format!(
            "failed to set up container networking: Bind for 0.0.0.0:{port} failed: port is already allocated"
        ),
        other => reason::chain(other),
    };
    reason::of(ReasonName::CannotStartContainerError, detail)
}

fn mapping(protocol: Protocol, host_port: u16, address: Ipv4Addr, port: u16) -> PortMapping {
    PortMapping {
        protocol: match protocol {
            Protocol::Tcp => windlass_network::Protocol::Tcp,
            Protocol::Udp => windlass_network::Protocol::Udp,
        },
        host_address: None,
        host_port,
        target: SocketAddrV4::new(address, port),
    }
}

fn binding(
    protocol: Protocol,
    port: u16,
    host: u16,
    ip: Ipv4Addr,
    range_end: Option<(u16, u16)>,
) -> NetworkBinding {
    NetworkBinding {
        bind_ip: ip.to_string(),
        container_port: port,
        host_port: host,
        protocol,
        range_end,
    }
}

/// The network record a container's process lives in, if it is one made for it.
pub(crate) fn of_container<'a>(
    record: &'a Record,
    template: &Template,
    at: usize,
) -> Option<&'a NetworkRecord> {
    let definition = template.containers.get(at)?;
    match crate::container_spec::network_kind(template, definition) {
        NetworkMode::Awsvpc => record.network(Scope::Task),
        NetworkMode::Bridge => record.network(Scope::Container(at)),
        NetworkMode::Host | NetworkMode::None => None,
    }
}
