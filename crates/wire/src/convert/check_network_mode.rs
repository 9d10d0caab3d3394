//! Settings of a container that its network mode gives no use to.

use crate::error::ApiError;
use crate::messages::container::{not_in_network, not_on_container, setting_not_on_container};
use crate::shapes::container_definition::ContainerDefinition;
use windlass_model::definition::NetworkMode;

pub(super) fn check_network_mode(
    given: &ContainerDefinition,
    network: NetworkMode,
) -> Result<(), ApiError> {
    let mode = match network {
        NetworkMode::Bridge => return Ok(()),
        NetworkMode::Awsvpc => "awsvpc",
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
    };
    if has(&given.links) {
        return Err(not_in_network("Links", mode));
    }
    if network == NetworkMode::None && has(&given.port_mappings) {
        return Err(not_in_network("Port mappings", mode));
    }
    if network != NetworkMode::Awsvpc {
        return Ok(());
    }
    let lists = [
        (has(&given.dns_servers), "DNS servers"),
        (has(&given.dns_search_domains), "DNS search domains"),
        (has(&given.extra_hosts), "Extra hosts"),
    ];
    if let Some((_, what)) = lists.iter().find(|(given, _)| *given) {
        return Err(not_on_container(what, mode));
    }
    if given.hostname.as_ref().is_some_and(|name| !name.is_empty()) {
        return Err(setting_not_on_container("hostname", mode));
    }
    if given.disable_networking == Some(true) {
        return Err(setting_not_on_container("Disable Networking", mode));
    }
    Ok(())
}

fn has<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}
