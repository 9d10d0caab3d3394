//! Port mappings of a container. In awsvpc and host mode the host port is the container's.

use super::read_container::text;
use crate::error::ApiError;
use crate::messages;
use crate::shapes::port;
use windlass_model::container::PortMapping;
use windlass_model::definition::NetworkMode;
use windlass_model::id::Name;
use windlass_model::resources::Protocol;

/// Port ranges of one container at most. Source: ECS API.
const PORT_RANGES_MAX: usize = 100;

pub(super) fn port_mappings(
    container: &Name,
    given: Option<Vec<port::PortMapping>>,
    network: NetworkMode,
) -> Result<Vec<PortMapping>, ApiError> {
    let mappings: Vec<PortMapping> = given
        .unwrap_or_default()
        .into_iter()
        .map(|given| port_mapping(container, given, network))
        .collect::<Result<_, _>>()?;
    if mappings
        .iter()
        .filter(|m| m.container_port_range.is_some())
        .count()
        > PORT_RANGES_MAX
    {
        return Err(ApiError::client(format!(
            "Container '{container}' has more than {PORT_RANGES_MAX} port ranges."
        )));
    }
    Ok(mappings)
}

fn port_mapping(
    container: &Name,
    given: port::PortMapping,
    network: NetworkMode,
) -> Result<PortMapping, ApiError> {
    let port = |field: &str, given: Option<i32>| {
        let invalid = |_| messages::port::invalid_setting(field, container.as_str());
        given
            .map(|port| u16::try_from(port).map_err(invalid))
            .transpose()
    };
    let container_port = port("containerPort", given.container_port)?.filter(|port| *port != 0);
    let host_port = port("hostPort", given.host_port)?;
    let bad = |setting: &str| messages::port::invalid_setting(setting, container.as_str());
    let range = given
        .container_port_range
        .filter(|range| !range.is_empty())
        .map(|range| port_range(&range).ok_or_else(|| bad("containerPortRange")))
        .transpose()?;
    let host_port = match (container_port, range) {
        (None, None) => return Err(bad("containerPort")),
        (Some(_), Some(_)) => return Err(messages::port::port_and_range(container.as_str())),
        (None, Some(_)) if host_port.is_some_and(|port| port != 0) => {
            return Err(messages::port::port_and_range(container.as_str()));
        }
        (None, Some(_)) if network == NetworkMode::Host => {
            return Err(ApiError::client(format!(
                "Invalid port mapping in container '{container}': 'containerPortRange' is not \
                 supported when networkMode=host."
            )));
        }
        (None, Some(_)) => None,
        (Some(port), None) => Some(fixed_host_port(port, host_port, network)?),
    };
    Ok(PortMapping {
        container_port,
        host_port,
        // Any other word breaks the model and is refused with what else does.
        protocol: match given.protocol {
            Some(port::TransportProtocol::Udp) => Protocol::Udp,
            _ => Protocol::Tcp,
        },
        name: text(given.name),
        app_protocol: given.app_protocol.map(|value| value.as_str().to_owned()),
        container_port_range: range,
    })
}

/// 0 is dynamic. In awsvpc and host mode the host port is the container's.
fn fixed_host_port(
    container_port: u16,
    host_port: Option<u16>,
    network: NetworkMode,
) -> Result<u16, ApiError> {
    let mode = match network {
        NetworkMode::Bridge | NetworkMode::None => return Ok(host_port.unwrap_or(0)),
        NetworkMode::Awsvpc => "awsvpc",
        NetworkMode::Host => "host",
    };
    match host_port {
        None | Some(0) => Ok(container_port),
        Some(port) if port == container_port => Ok(port),
        Some(_) => Err(messages::port::ports_differ(mode)),
    }
}

fn port_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-')?;
    let port = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    };
    let (first, last): (u16, u16) = (port(first)?, port(last)?);
    (first > 0 && first < last).then_some((first, last))
}
