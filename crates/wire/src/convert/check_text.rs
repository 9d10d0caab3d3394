//! Texts of a definition that end as a path, as an argument of the kernel, or as a line of one of
//! the container's files. What would end there early, or become a second line, is refused: a name
//! in `/etc/hosts` or `/etc/resolv.conf` that holds a line break would write the next line too.

use crate::check::quoted;
use crate::error::ApiError;
use crate::messages;
use std::net::IpAddr;
use windlass_model::capability;
use windlass_model::container::{ContainerDefinition, LinuxParameters};
use windlass_model::volume::{Volume, VolumeKind};

/// Bytes of a host name that the kernel keeps. Source: sethostname(2).
const HOSTNAME_BYTES_MAX: usize = 64;
/// Characters of a name in the DNS. Source: RFC 1035.
const DNS_NAME_CHARS_MAX: usize = 253;
/// Characters of an image's name, its digest aside. Source: ECS API.
const IMAGE_CHARS_MAX: usize = 255;

pub(super) fn check_texts(container: &ContainerDefinition) -> Result<(), ApiError> {
    image(container)?;
    for (field, text) in lines(container) {
        if text.chars().any(char::is_control) {
            return Err(control_character(container, field, text));
        }
    }
    let arguments = [
        ("command", &container.command),
        ("entryPoint", &container.entry_point),
    ];
    for (field, list) in arguments {
        no_nul(container, field, list.iter().flatten())?;
    }
    let check = container.health_check.iter();
    no_nul(
        container,
        "healthCheck",
        check.flat_map(|check| &check.command),
    )?;
    host_names(container)?;
    match &container.linux_parameters {
        Some(linux) => capabilities(container, linux),
        None => Ok(()),
    }
}

/// Paths of the host.
pub(super) fn check_volume(volume: &Volume) -> Result<(), ApiError> {
    let VolumeKind::Host { source_path } = &volume.kind else {
        return Ok(());
    };
    if source_path.chars().any(char::is_control) {
        return Err(ApiError::client(format!(
            "Volume '{}': host.sourcePath contains a control character: {:?}",
            volume.name,
            quoted(source_path)
        )));
    }
    Ok(())
}

fn image(container: &ContainerDefinition) -> Result<(), ApiError> {
    let image = container.image.as_str();
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"-_:./#+[]".contains(&b);
    if name.is_empty() || name.len() > IMAGE_CHARS_MAX || !name.bytes().all(letter) {
        return Err(messages::container::image_invalid());
    }
    let hex = |digest: &str| {
        let digits = digest.strip_prefix("sha256:").unwrap_or("");
        digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())
    };
    match digest.filter(|digest| !hex(digest)) {
        None => Ok(()),
        Some(digest) => Err(ApiError::client(format!(
            "Container '{}': the digest of an image is sha256: and 64 hexadecimal digits, not \
             '{}'.",
            container.name,
            quoted(digest)
        ))),
    }
}

/// What has to be one line, with the member's name.
fn lines(container: &ContainerDefinition) -> Vec<(&'static str, &str)> {
    let mut lines = Vec::new();
    lines.extend(container.user.iter().map(|text| ("user", text.as_str())));
    let folder = container.working_directory.iter();
    lines.extend(folder.map(|text| ("workingDirectory", text.as_str())));
    let mounts = container.mount_points.iter();
    lines.extend(mounts.map(|mount| ("mountPoints", mount.container_path.as_str())));
    for control in &container.system_controls {
        lines.push(("systemControls", &control.name));
        lines.push(("systemControls", &control.value));
    }
    let options = container.docker_security_options.iter().flatten();
    lines.extend(options.map(|text| ("dockerSecurityOptions", text.as_str())));
    let Some(linux) = &container.linux_parameters else {
        return lines;
    };
    for tmpfs in linux.tmpfs.iter().flatten() {
        lines.push(("linuxParameters.tmpfs", &tmpfs.container_path));
        let options = tmpfs.mount_options.iter().flatten();
        lines.extend(options.map(|text| ("linuxParameters.tmpfs", text.as_str())));
    }
    for device in linux.devices.iter().flatten() {
        lines.push(("linuxParameters.devices", &device.host_path));
        let inside = device.container_path.iter();
        lines.extend(inside.map(|text| ("linuxParameters.devices", text.as_str())));
    }
    lines
}

fn control_character(container: &ContainerDefinition, field: &str, text: &str) -> ApiError {
    ApiError::client(format!(
        "Container '{}': '{field}' contains a control character: {:?}",
        container.name,
        quoted(text)
    ))
}

fn no_nul<'a>(
    container: &ContainerDefinition,
    field: &str,
    mut texts: impl Iterator<Item = &'a String>,
) -> Result<(), ApiError> {
    match texts.find(|text| text.contains('\0')) {
        None => Ok(()),
        Some(text) => Err(ApiError::client(format!(
            "Container '{}': '{field}' contains a NUL character: {:?}",
            container.name,
            quoted(text)
        ))),
    }
}

/// Names and addresses of other hosts, and its own.
fn host_names(container: &ContainerDefinition) -> Result<(), ApiError> {
    let refuse = |field: &str, text: &str, what: &str| {
        Err(ApiError::client(format!(
            "Container '{}': '{field}' {:?} is not {what}.",
            container.name,
            quoted(text)
        )))
    };
    if let Some(name) = &container.hostname
        && !(is_host_name(name) && name.len() <= HOSTNAME_BYTES_MAX)
    {
        return refuse("hostname", name, "a host name of at most 64 characters");
    }
    for host in container.extra_hosts.iter().flatten() {
        if !is_host_name(&host.hostname) {
            return refuse("extraHosts", &host.hostname, "a host name");
        }
        if host.ip_address.parse::<IpAddr>().is_err() {
            return refuse("extraHosts", &host.ip_address, "an IP address");
        }
    }
    for server in container.dns_servers.iter().flatten() {
        if server.parse::<IpAddr>().is_err() {
            return refuse("dnsServers", server, "an IP address");
        }
    }
    for domain in container.dns_search_domains.iter().flatten() {
        // A single dot means that nothing is searched.
        if domain != "." && !is_host_name(domain.trim_end_matches('.')) {
            return refuse("dnsSearchDomains", domain, "a domain name");
        }
    }
    let aliases = container.links.iter().flatten();
    let aliases = aliases.filter_map(|link| link.split_once(':'));
    for (_, alias) in aliases {
        if !is_host_name(alias) {
            return refuse(
                "links",
                alias,
                "a name that the linked container could have",
            );
        }
    }
    Ok(())
}

/// Underscores are no part of host names, and yet of many that people give.
fn is_host_name(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let label =
        |label: &str| !label.is_empty() && !label.starts_with('-') && label.bytes().all(letter);
    text.len() <= DNS_NAME_CHARS_MAX && text.split('.').all(label)
}

fn capabilities(container: &ContainerDefinition, linux: &LinuxParameters) -> Result<(), ApiError> {
    let added = linux.capabilities_add.iter().flatten();
    let mut all = added.chain(linux.capabilities_drop.iter().flatten());
    let known = |name: &str| name == "ALL" || capability::NAMES.contains(&name);
    match all.find(|written| !known(&capability::bare(written))) {
        None => Ok(()),
        Some(unknown) => Err(ApiError::client(format!(
            "Container '{}': '{}' is not a Linux capability.",
            container.name,
            quoted(unknown)
        ))),
    }
}
