//! The files a container finds under /etc: `hosts`, `hostname`, `resolv.conf`.
//!
//! Each start writes them afresh into a new folder on tmpfs that no container can write to as a
//! folder, so a link that an earlier run left in their place leads nowhere.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
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

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Name(#[from] windlass_network::Error),
    #[error("write {path}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Writes the files into `folder`, which is made, and answers their mounts.
///
/// # Errors
/// A name is no host name, or the folder cannot be written.
pub fn write(folder: &Path, contents: &Contents) -> Result<Vec<Mount>, Error> {
    let at = |source| Error::File {
        path: folder.to_owned(),
        source,
    };
    windlass_tree::remove(folder).map_err(at)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(folder)
        .map_err(at)?;
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
    files
        .iter()
        .map(|(name, text)| {
            let path = folder.join(name);
            create(&path, text).map_err(|source| Error::File {
                path: path.clone(),
                source,
            })?;
            Ok(Mount {
                target: format!("/etc/{name}"),
                kind: MountKind::Bind {
                    source: path.to_string_lossy().into_owned(),
                },
                readonly: false,
            })
        })
        .collect()
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    // `create_new` follows no link either.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    // Whatever the umask is, a user of the container reads it.
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_from_an_earlier_run_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let canary = folder.path().join("canary");
        fs::write(&canary, "untouched").unwrap();
        let files = folder.path().join("files");
        fs::create_dir(&files).unwrap();
        std::os::unix::fs::symlink(&canary, files.join("hosts")).unwrap();
        let contents = Contents {
            hostname: "web".into(),
            address: Some(Ipv4Addr::new(10, 77, 0, 2)),
            extra: vec![("db".into(), IpAddr::V4(Ipv4Addr::new(10, 77, 0, 3)))],
            resolv_conf: ResolvConf::default(),
            host_hosts: false,
        };
        let mounts = write(&files, &contents).unwrap();
        assert_eq!(mounts.len(), 3);
        assert_eq!(fs::read_to_string(&canary).unwrap(), "untouched");
        let hosts = fs::read_to_string(files.join("hosts")).unwrap();
        assert!(hosts.contains("10.77.0.2\tweb\n") && hosts.contains("10.77.0.3\tdb\n"));
        assert_eq!(fs::read_to_string(files.join("hostname")).unwrap(), "web\n");
    }
}
