//! Which name servers containers are told, and the files that the C library reads. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::error::{Error, Result};
use crate::limits;
use crate::options::Subnet;

/// Contents of a container's `/etc/resolv.conf`; `Display` writes the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResolvConf {
    /// Servers to ask, in order.
    pub nameservers: Vec<IpAddr>,
    /// Domains to try for short names.
    pub search: Vec<String>,
    /// Options for the resolver, such as `ndots:2`.
    pub options: Vec<String>,
}

impl fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for server in &self.nameservers {
            writeln!(f, "nameserver {server}")?;
        }
        for (key, words) in [("search", &self.search), ("options", &self.options)] {
            if !words.is_empty() {
                writeln!(f, "{key} {}", words.join(" "))?;
            }
        }
        Ok(())
    }
}

impl ResolvConf {
    /// Reads a file as the C library does: later `search` lines win, unknown lines are skipped.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // Servers by link-local IPv6 name a card, which containers do not have.
                    conf.nameservers
                        .extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                Some("search" | "domain") => {
                    conf.search = words
                        .take(limits::RESOLV_SEARCH)
                        .map(str::to_owned)
                        .collect();
                }
                Some("options") => conf.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        conf.nameservers.truncate(limits::RESOLV_SERVERS);
        conf
    }

    /// The servers to ask: the local one if the file names none.
    pub(crate) fn servers(&self) -> Vec<IpAddr> {
        if self.nameservers.is_empty() {
            vec![Ipv4Addr::LOCALHOST.into()]
        } else {
            self.nameservers.clone()
        }
    }
}

/// What containers are told, given the host's file and the host's own addresses.
///
/// Servers that a container can reach are passed on. If one of them is out of its reach (on
/// loopback, link-local, an address of the host, or IPv6), all questions go to the gateway, where
/// a forwarder asks the host's servers: mixing both would make answers depend on luck.
pub fn for_containers(host: &ResolvConf, own: &[Ipv4Addr], subnet: Subnet) -> ResolvConf {
    let reachable = |server: &IpAddr| match server {
        IpAddr::V4(server) => {
            !(server.is_loopback()
                || server.is_link_local()
                || server.is_unspecified()
                || own.contains(server)
                || subnet.contains(*server))
        }
        IpAddr::V6(_) => false,
    };
    let direct = !host.nameservers.is_empty() && host.nameservers.iter().all(reachable);
    let nameservers = if direct {
        host.nameservers.clone()
    } else {
        vec![subnet.gateway().into()]
    };
    // This option names the trust in the local stub, and would be wrong of another server.
    let options = host.options.iter().filter(|option| *option != "trust-ad");
    ResolvConf {
        nameservers,
        search: host.search.clone(),
        options: options.cloned().collect(),
    }
}

/// Contents of `/etc/hosts`: loopback, the container itself, and extra names in the order given. A
/// container whose name has dots is also found by what comes before the first one, as in Docker.
///
/// # Errors
/// A name that is not one word of letters, digits, `-`, `_` and `.`.
pub fn hosts_file(
    hostname: &str,
    address: Option<Ipv4Addr>,
    extra: &[(String, IpAddr)],
) -> Result<String> {
    let mut text =
        String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let own = address.unwrap_or(Ipv4Addr::LOCALHOST);
    check_name(hostname)?;
    text.push_str(&format!("{own}\t{hostname}"));
    match hostname.split_once('.') {
        Some((short, _)) if !short.is_empty() => text.push_str(&format!(" {short}\n")),
        _ => text.push('\n'),
    }
    for (name, address) in extra {
        check_name(name)?;
        text.push_str(&format!("{address}\t{name}\n"));
    }
    Ok(text)
}

/// Contents of `/etc/hostname`.
///
/// # Errors
/// A name that is not one word of letters, digits, `-`, `_` and `.`, or is over 64 bytes.
pub fn hostname_file(hostname: &str) -> Result<String> {
    const KERNEL_LIMIT: usize = 64;
    check_name(hostname)?;
    if hostname.len() > KERNEL_LIMIT {
        return Err(Error::HostName(hostname.to_owned()));
    }
    Ok(format!("{hostname}\n"))
}

fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !name.is_empty() && name.len() <= 255 && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Error::HostName(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_out_of_reach_are_replaced_by_the_forwarder() {
        let subnet: Subnet = "10.77.0.0/16".parse().expect("valid");
        let own = [Ipv4Addr::new(192, 0, 2, 2)];
        for (host, told) in [
            ("nameserver 192.0.2.53\n", "nameserver 192.0.2.53\n"),
            (
                "nameserver 1.1.1.1\nnameserver 8.8.8.8\nsearch a.example b.example\n",
                "nameserver 1.1.1.1\nnameserver 8.8.8.8\nsearch a.example b.example\n",
            ),
            (
                "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n",
                "nameserver 10.77.0.1\nsearch lan\noptions edns0\n",
            ),
            (
                "nameserver 1.1.1.1\nnameserver 127.0.0.1\n",
                "nameserver 10.77.0.1\n",
            ),
            ("nameserver 169.254.169.253\n", "nameserver 10.77.0.1\n"),
            ("nameserver 192.0.2.2\n", "nameserver 10.77.0.1\n"),
            ("nameserver fd00::53\n", "nameserver 10.77.0.1\n"),
            ("nameserver ::1\n", "nameserver 10.77.0.1\n"),
            ("", "nameserver 10.77.0.1\n"),
            (
                "# nothing\n; here\nnameserver\nnameserver x\n",
                "nameserver 10.77.0.1\n",
            ),
            (
                "nameserver 1.1.1.1 # ours\ndomain old\nsearch new\n",
                "nameserver 1.1.1.1\nsearch new\n",
            ),
            (
                "nameserver fe80::1%eth0\nnameserver 1.1.1.1",
                "nameserver 1.1.1.1\n",
            ),
            (
                "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 127.0.0.1\n",
                "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\n",
            ),
        ] {
            let decided = for_containers(&ResolvConf::parse(host), &own, subnet);
            assert_eq!(decided.to_string(), told, "{host:?}");
        }
    }

    #[test]
    fn hosts_files() {
        let extra = [("db".to_owned(), IpAddr::from([10, 0, 0, 9]))];
        assert_eq!(
            hosts_file("web", Some(Ipv4Addr::new(10, 77, 0, 2)), &extra).expect("valid"),
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             10.77.0.2\tweb\n10.0.0.9\tdb\n"
        );
        let own_line = |hostname| {
            let text = hosts_file(hostname, Some(Ipv4Addr::new(10, 77, 0, 2)), &[]);
            text.expect("valid").lines().last().map(str::to_owned)
        };
        for (hostname, line) in [
            ("web.shop.example", "10.77.0.2\tweb.shop.example web"),
            ("web.", "10.77.0.2\tweb. web"),
            (".example", "10.77.0.2\t.example"),
        ] {
            assert_eq!(own_line(hostname).as_deref(), Some(line));
        }
        assert!(hosts_file("a b", None, &[]).is_err());
        assert!(hosts_file("a\n1.2.3.4 bank", None, &[]).is_err());
        assert!(
            hosts_file(
                "web",
                None,
                &[("x\ty".to_owned(), IpAddr::from([1, 2, 3, 4]))]
            )
            .is_err()
        );
        assert_eq!(hostname_file("web").expect("valid"), "web\n");
        assert!(hostname_file("").is_err());
        assert!(hostname_file(&"x".repeat(65)).is_err());
    }
}
