//! The files a container finds under /etc: `hosts`, `hostname`, `resolv.conf`.
//!
//! Each start gets them afresh, in memory of the container's own that its runtime bounds: what a
//! container writes to them, or as much as it can, is seen by nobody else.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use windlass_network::{ResolvConf, hostname_file, hosts_file};
use windlass_runtime::spec::{Mount, MountKind};

/// What the files say.
pub struct Contents {
    pub hostname: String,
    pub address: Option<Ipv4Addr>,
    /// Links and extra hosts.
    pub extra: Vec<(String, IpAddr)>,
    pub resolv_conf: ResolvConf,
    /// With the host's network, its own names hold too.
    pub host_hosts: bool,
}

/// The files as mounts, read-only where the root is, as container engines have them.
///
/// # Errors
/// A name is no host name.
pub fn mounts(contents: &Contents, readonly: bool) -> windlass_network::Result<Vec<Mount>> {
    let mut hosts = hosts_file(&contents.hostname, contents.address, &contents.extra)?;
    if contents.host_hosts {
        hosts = fs::read_to_string("/etc/hosts").unwrap_or(hosts);
        for (name, address) in &contents.extra {
            hosts.push_str(&format!("{address}\t{name}\n"));
        }
    }
    let files = [
        ("hosts", hosts),
        ("hostname", hostname_file(&contents.hostname)?),
        ("resolv.conf", contents.resolv_conf.to_string()),
    ];
    let mounts = files.into_iter().map(|(name, text)| Mount {
        target: format!("/etc/{name}"),
        kind: MountKind::File { text },
        readonly,
    });
    Ok(mounts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_hold_names_and_are_read_only_where_the_root_is() {
        let contents = Contents {
            hostname: "web".into(),
            address: Some(Ipv4Addr::new(10, 77, 0, 2)),
            extra: vec![("db".into(), IpAddr::V4(Ipv4Addr::new(10, 77, 0, 3)))],
            resolv_conf: ResolvConf::default(),
            host_hosts: false,
        };
        let text = |mount: &Mount| match &mount.kind {
            MountKind::File { text } => text.clone(),
            other => panic!("{other:?}"),
        };
        for readonly in [false, true] {
            let files = mounts(&contents, readonly).unwrap();
            let targets: Vec<&str> = files.iter().map(|file| file.target.as_str()).collect();
            assert_eq!(targets, ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"]);
            assert!(files.iter().all(|file| file.readonly == readonly));
            let hosts = text(&files[0]);
            assert!(hosts.contains("10.77.0.2\tweb\n") && hosts.contains("10.77.0.3\tdb\n"));
            assert_eq!(text(&files[1]), "web\n");
        }
    }
}
