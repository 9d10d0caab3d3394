//! Ports of a whole definition: no number is given twice where only one can have it.

use crate::error::ApiError;
use std::collections::BTreeSet;
use windlass_model::container::PortMapping;
use windlass_model::definition::{NetworkMode, Template};
use windlass_model::id::Name;
use windlass_model::limits::RESERVED_TCP_PORTS;
use windlass_model::resources::Protocol;

/// Characters of a port mapping's name. Source: ECS API.
const NAME_CHARS_MAX: usize = 64;

pub(super) fn check_ports(template: &Template) -> Result<(), ApiError> {
    check_names(template)?;
    check_host_ports(template)?;
    check_ranges(template)
}

fn check_names(template: &Template) -> Result<(), ApiError> {
    let mut taken = BTreeSet::new();
    for (container, mapping) in mappings(template) {
        let Some(name) = &mapping.name else { continue };
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
        if name.len() > NAME_CHARS_MAX || name.starts_with('-') || !name.bytes().all(letter) {
            return Err(ApiError::client(format!(
                "Invalid port mapping in container '{container}': the name '{}' should have at \
                 most 64 lower-case letters, digits, hyphens and underscores, and not begin with \
                 a hyphen.",
                crate::check::quoted(name)
            )));
        }
        if !taken.insert(name) {
            return Err(ApiError::client(format!(
                "Invalid port mapping in container '{container}': the name '{name}' is used more \
                 than once in the task definition."
            )));
        }
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
        let on_host = matches!(template.network(), NetworkMode::Bridge | NetworkMode::Host);
        let reserved = mapping.protocol == Protocol::Tcp && RESERVED_TCP_PORTS.contains(&port);
        if on_host && reserved {
            return Err(ApiError::client(format!(
                "Invalid 'hostPort' in container '{container}': {port} is reserved."
            )));
        }
    }
    Ok(())
}

/// Ranges of container ports share no port with another mapping of their network namespace, which
/// in awsvpc mode is the whole task's.
fn check_ranges(template: &Template) -> Result<(), ApiError> {
    let shared = template.network() == NetworkMode::Awsvpc;
    let mut held: Vec<(&Name, &PortMapping)> = Vec::new();
    for (container, mapping) in mappings(template) {
        let (first, last) = span(mapping);
        let clash = held.iter().find(|(other, earlier)| {
            let ranges =
                earlier.container_port_range.is_some() || mapping.container_port_range.is_some();
            let (from, to) = span(earlier);
            (shared || *other == container)
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
