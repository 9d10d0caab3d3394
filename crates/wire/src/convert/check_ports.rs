//! Ports of a whole definition: no number is given twice where only one can have it.

use crate::error::ApiError;
use crate::messages;
use std::collections::BTreeSet;
use windlass_model::container::PortMapping;
use windlass_model::definition::{NetworkMode, Template};
use windlass_model::id::Name;
use windlass_model::resources::Protocol;

/// Characters of a port mapping's name. Source: ECS API.
const NAME_CHARS_MAX: usize = 64;

pub(super) fn check_ports(template: &Template) -> Result<(), ApiError> {
    check_names(template)?;
    if template.network() == NetworkMode::Awsvpc {
        return check_task_ports(template);
    }
    check_host_ports(template)?;
    check_ranges(template)
}

fn check_names(template: &Template) -> Result<(), ApiError> {
    let mut taken = BTreeSet::new();
    for (container, mapping) in mappings(template) {
        let Some(name) = &mapping.name else { continue };
        // Which characters ECS refuses is not recorded; nothing here depends on them.
        if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            return Err(ApiError::client(format!(
                "Invalid port mapping in container '{container}': the name {:?} should have at \
                 most {NAME_CHARS_MAX} characters and none that is not printed.",
                crate::check::quoted(name)
            )));
        }
        if !taken.insert(name) {
            return Err(messages::port::name_taken(mode(template.network())));
        }
    }
    Ok(())
}

/// The word of the API.
fn mode(network: NetworkMode) -> &'static str {
    match network {
        NetworkMode::Bridge => "bridge",
        NetworkMode::Host => "host",
        NetworkMode::Awsvpc => "awsvpc",
        NetworkMode::None => "none",
    }
}

/// The containers of a task in awsvpc mode share one network namespace.
fn check_task_ports(template: &Template) -> Result<(), ApiError> {
    let mut held: Vec<(Protocol, u16, u16)> = Vec::new();
    for (_, mapping) in mappings(template) {
        let (first, last) = span(mapping);
        let mut clashes = held.iter().filter_map(|(protocol, from, to)| {
            let shared = *protocol == mapping.protocol && first <= *to && *from <= last;
            shared.then_some(first.max(*from))
        });
        if let Some(port) = clashes.next() {
            let protocol = match mapping.protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
            };
            let mode = mode(NetworkMode::Awsvpc);
            return Err(messages::port::used_twice(protocol, port, mode));
        }
        held.push((mapping.protocol, first, last));
    }
    Ok(())
}

fn check_host_ports(template: &Template) -> Result<(), ApiError> {
    let mut taken = BTreeSet::new();
    for (container, mapping) in mappings(template) {
        let Some(port) = mapping.host_port.filter(|port| *port != 0) else {
            continue;
        };
        if !taken.insert((mapping.protocol, port)) {
            return Err(ApiError::client(format!(
                "Invalid 'hostPort' in container '{container}': {port} is used more than once in \
                 the task definition."
            )));
        }
    }
    Ok(())
}

/// Ranges of container ports share no port with another mapping of their container.
fn check_ranges(template: &Template) -> Result<(), ApiError> {
    let mut held: Vec<(&Name, &PortMapping)> = Vec::new();
    for (container, mapping) in mappings(template) {
        let (first, last) = span(mapping);
        let clash = held.iter().find(|(other, earlier)| {
            let ranges =
                earlier.container_port_range.is_some() || mapping.container_port_range.is_some();
            let (from, to) = span(earlier);
            *other == container
                && ranges
                && earlier.protocol == mapping.protocol
                && first <= to
                && from <= last
        });
        if let Some((other, earlier)) = clash {
            return Err(ApiError::client(format!(
                "Invalid port mapping in container '{container}': ports {} overlap ports {} of \
                 container '{other}'.",
                written(span(mapping)),
                written(span(earlier))
            )));
        }
        held.push((container, mapping));
    }
    Ok(())
}

fn mappings(template: &Template) -> impl Iterator<Item = (&Name, &PortMapping)> {
    template.containers.iter().flat_map(|container| {
        let mappings = container.port_mappings.iter();
        mappings.map(move |mapping| (&container.name, mapping))
    })
}

/// First and last container port.
fn span(mapping: &PortMapping) -> (u16, u16) {
    let single = mapping.container_port.unwrap_or(0);
    mapping.container_port_range.unwrap_or((single, single))
}

fn written((first, last): (u16, u16)) -> String {
    if first == last {
        return first.to_string();
    }
    format!("{first}-{last}")
}
