//! What a container is told of one that it links to: names for its address, and variables.
//!
//! Source: Docker's links on its default bridge, which ECS's `links` are: `ALIAS_PORT_…` for each
//! port that the other says it listens on, `ALIAS_ENV_…` for its variables, `ALIAS_NAME`.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use windlass_image::ImageConfig;
use windlass_model::container::ContainerDefinition;
use windlass_model::resources::Protocol;

/// Variables that say how an image was built, and nothing of what runs in it.
const OF_THE_BUILD: [&str; 2] = ["HOME", "PATH"];
/// So many ports in a row are also given as a range.
const RANGE_PORTS_MIN: usize = 3;

/// The container that is linked to.
pub(crate) struct Link<'a> {
    pub(crate) alias: &'a str,
    pub(crate) name: &'a str,
    pub(crate) hostname: String,
    pub(crate) address: Ipv4Addr,
    /// Sorted by protocol and number, TCP first.
    pub(crate) ports: Vec<(Protocol, u16)>,
    /// What its image, definition and overrides set.
    pub(crate) environment: Vec<(String, String)>,
}

/// `name` or `name:alias`.
pub(crate) fn parse(link: &str) -> (&str, &str) {
    link.split_once(':').unwrap_or((link, link))
}

/// The ports a container listens on: those its definition maps and its image exposes.
pub(crate) fn ports(
    definition: &ContainerDefinition,
    image: Option<&ImageConfig>,
) -> Vec<(Protocol, u16)> {
    let mapped = definition.port_mappings.iter().flat_map(|mapping| {
        let (first, last) = mapping
            .container_port_range
            .or(mapping.container_port.map(|port| (port, port)))
            .unwrap_or((1, 0));
        (first..=last).map(|port| (mapping.protocol, port))
    });
    let exposed = image.into_iter().flat_map(|image| &image.exposed_ports);
    let exposed = exposed.filter_map(|exposed| match exposed.protocol {
        windlass_image::Protocol::Tcp => Some((Protocol::Tcp, exposed.port)),
        windlass_image::Protocol::Udp => Some((Protocol::Udp, exposed.port)),
        windlass_image::Protocol::Sctp => None,
    });
    let mut ports: Vec<_> = mapped.chain(exposed).collect();
    ports.sort_unstable_by_key(|(protocol, port)| (*protocol == Protocol::Udp, *port));
    ports.dedup();
    ports
}

impl Link<'_> {
    /// Each name that leads to it.
    pub(crate) fn hosts(&self) -> Vec<(String, IpAddr)> {
        let mut names: Vec<&str> = Vec::new();
        for name in [self.alias, &self.hostname, self.name] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let address = IpAddr::V4(self.address);
        names
            .iter()
            .map(|name| ((*name).to_owned(), address))
            .collect()
    }

    /// The variables that `of`, the container that links, gets.
    pub(crate) fn variables(&self, of: &str) -> Vec<(String, String)> {
        let alias = self.alias.to_uppercase().replace('-', "_");
        let mut variables = Vec::new();
        let mut add = |name: &dyn Display, value: String| {
            variables.push((format!("{alias}_{name}"), value));
        };
        if let Some(port) = self.ports.first() {
            add(&"PORT", self.url(*port));
        }
        for range in self.ranges() {
            let (first, last) = (range[0], range[range.len() - 1]);
            let (from, to) = (variable(first), variable(last));
            add(&format_args!("{from}_START"), self.url(first));
            add(&format_args!("{from}_PORT_START"), first.1.to_string());
            add(&format_args!("{to}_END"), self.url(last));
            add(&format_args!("{to}_PORT_END"), last.1.to_string());
        }
        for port in &self.ports {
            let name = variable(*port);
            add(&name, self.url(*port));
            add(&format_args!("{name}_ADDR"), self.address.to_string());
            add(&format_args!("{name}_PORT"), port.1.to_string());
            add(&format_args!("{name}_PROTO"), protocol(port.0).to_owned());
        }
        add(&"NAME", format!("/{of}/{}", self.alias));
        let environment = self.environment.iter();
        for (name, value) in environment.filter(|(name, _)| !OF_THE_BUILD.contains(&name.as_str()))
        {
            add(&format_args!("ENV_{name}"), value.clone());
        }
        variables
    }

    fn url(&self, (kind, port): (Protocol, u16)) -> String {
        format!("{}://{}:{port}", protocol(kind), self.address)
    }

    fn ranges(&self) -> impl Iterator<Item = &[(Protocol, u16)]> {
        let follows = |a: &(Protocol, u16), b: &(Protocol, u16)| {
            a.0 == b.0 && a.1.checked_add(1) == Some(b.1)
        };
        let runs = self.ports.chunk_by(follows);
        runs.filter(|run| run.len() >= RANGE_PORTS_MIN)
    }
}

fn variable((kind, port): (Protocol, u16)) -> String {
    format!("PORT_{port}_{}", protocol(kind).to_uppercase())
}

fn protocol(kind: Protocol) -> &'static str {
    match kind {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ports: &[(Protocol, u16)]) -> Link<'static> {
        Link {
            alias: "my-db",
            name: "db",
            hostname: "0123456789ab".into(),
            address: Ipv4Addr::new(10, 77, 0, 3),
            ports: ports.to_vec(),
            environment: [("PATH", "/bin"), ("HOME", "/"), ("MODE", "a=b")]
                .map(|(name, value)| (name.into(), value.into()))
                .to_vec(),
        }
    }

    #[test]
    fn a_link_is_told_by_every_name() {
        let names = |link: Link<'_>| -> Vec<String> {
            link.hosts().into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(link(&[])), ["my-db", "0123456789ab", "db"]);
        let plain = Link {
            alias: "db",
            ..link(&[])
        };
        assert_eq!(names(plain), ["db", "0123456789ab"]);
        assert_eq!(parse("db:my-db"), ("db", "my-db"));
        assert_eq!(parse("db"), ("db", "db"));
    }

    #[test]
    fn a_port_gives_four_variables_and_the_first_one_more() {
        let link = link(&[(Protocol::Tcp, 5432), (Protocol::Udp, 53)]);
        let told: Vec<String> = link
            .variables("web")
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            told,
            [
                "MY_DB_PORT=tcp://10.77.0.3:5432",
                "MY_DB_PORT_5432_TCP=tcp://10.77.0.3:5432",
                "MY_DB_PORT_5432_TCP_ADDR=10.77.0.3",
                "MY_DB_PORT_5432_TCP_PORT=5432",
                "MY_DB_PORT_5432_TCP_PROTO=tcp",
                "MY_DB_PORT_53_UDP=udp://10.77.0.3:53",
                "MY_DB_PORT_53_UDP_ADDR=10.77.0.3",
                "MY_DB_PORT_53_UDP_PORT=53",
                "MY_DB_PORT_53_UDP_PROTO=udp",
                "MY_DB_NAME=/web/my-db",
                "MY_DB_ENV_MODE=a=b",
            ]
        );
    }

    #[test]
    fn ports_in_a_row_are_also_a_range() {
        let named = |ports: &[(Protocol, u16)]| -> Vec<String> {
            let variables = link(ports).variables("web").into_iter();
            let names = variables.map(|(name, value)| format!("{name}={value}"));
            names
                .filter(|v| v.contains("START") || v.contains("END"))
                .collect()
        };
        let tcp = |port| (Protocol::Tcp, port);
        assert_eq!(
            named(&[tcp(7), tcp(8000), tcp(8001), tcp(8002)]),
            [
                "MY_DB_PORT_8000_TCP_START=tcp://10.77.0.3:8000",
                "MY_DB_PORT_8000_TCP_PORT_START=8000",
                "MY_DB_PORT_8002_TCP_END=tcp://10.77.0.3:8002",
                "MY_DB_PORT_8002_TCP_PORT_END=8002",
            ]
        );
        assert!(named(&[tcp(1), tcp(2), tcp(65535)]).is_empty());
    }
}
