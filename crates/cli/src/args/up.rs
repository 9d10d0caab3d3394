//! The verbs that need the machine: their arguments alone, the executable does them.

use super::Pull;
use clap::Args;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

const UP_EXAMPLES: &str = "\
Examples:
  sudo windlass up                                       until Ctrl-C; tasks run on afterwards
  sudo windlass up --detach --data /srv/windlass
  sudo windlass up --cluster batch,ci --reserve-memory 1024
  sudo windlass up --registry-mirror docker.io=mirror.example.com:5000
  sudo windlass up --allow-host-path /var/run/docker.sock --allow-host-path /:ro
  sudo windlass up --registry-ca registry.lan:5000=/etc/ssl/registry.pem --pull always";

/// Serve the ECS API here and run tasks on this machine.
#[derive(Debug, Clone, Args)]
#[command(after_help = UP_EXAMPLES)]
pub struct UpArgs {
    /// Address and port of the API, kept for later starts. Other machines reach it only when it is
    /// not loopback [default: 127.0.0.1:7737].
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Return once the API serves, and leave the server running.
    #[arg(long)]
    pub detach: bool,
    /// Account in ARNs, 12 digits. Fixed at the first start [default: 000000000000].
    #[arg(long, value_name = "ID")]
    pub account_id: Option<String>,
    /// Region in ARNs. Fixed at the first start [default: us-east-1].
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// Clusters beside `default` in which this machine is a container instance, separated by commas.
    #[arg(long = "cluster", value_name = "NAME", value_delimiter = ',')]
    pub clusters: Vec<String>,
    /// When this machine becomes a container instance of other clusters: when a task is to be placed in
    /// one that has none, or only by `--cluster` and `windlass nodes add`, as in Amazon ECS.
    #[arg(long, value_name = "WHEN", default_value = "on-demand")]
    pub join: Join,
    /// Promise the processors so many times over.
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = overcommit)]
    pub cpu_overcommit: f64,
    /// Network of awsvpc tasks, e.g. 10.88.0.0/16; one that is free is chosen otherwise.
    #[arg(long, value_name = "CIDR")]
    pub subnet: Option<Subnet>,
    /// This machine's address on which tasks' ports are published, kept for later starts: with
    /// 127.0.0.1 nobody else reaches them, with 0.0.0.0 everybody [default: 0.0.0.0].
    #[arg(long, value_name = "ADDR")]
    pub publish_address: Option<Ipv4Addr>,
    /// Pull what is of the first registry from the second; may be given for several registries.
    #[arg(long = "registry-mirror", value_name = "HOST=HOST")]
    pub registry_mirrors: Vec<Mirror>,
    /// A registry that speaks plain HTTP; may be given several times. One on loopback needs it not.
    #[arg(long = "insecure-registry", value_name = "HOST")]
    pub insecure_registries: Vec<String>,
    /// Trust the certificates in a PEM file for this registry, in place of the machine's: of
    /// authorities, or one that the registry signed itself. May be given several times.
    #[arg(long = "registry-ca", value_name = "HOST=FILE", value_parser = authority)]
    pub registry_authorities: Vec<(String, PathBuf)>,
    /// When a registry is asked for an image that is here, kept for later starts; `run --pull` says
    /// it for its tasks alone [default: default].
    #[arg(long, value_enum, value_name = "WHEN")]
    pub pull: Option<Pull>,
    /// Memory that tasks may not have, in MiB.
    #[arg(long, value_name = "MIB")]
    pub reserve_memory: Option<u32>,
    /// Let tasks have a path of this machine that hands it over, with all below it, as volumes; with
    /// `:ro` read-only ones alone. May be given several times, and at every start.
    #[arg(long = "allow-host-path", value_name = "PATH[:ro]")]
    pub allowed_host_paths: Vec<AllowedPath>,
}

/// A path of the machine that tasks may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedPath {
    pub path: PathBuf,
    pub readonly: bool,
}

impl FromStr for AllowedPath {
    type Err = String;

    fn from_str(text: &str) -> Result<AllowedPath, String> {
        let (path, readonly) = match text.strip_suffix(":ro") {
            Some(path) => (Path::new(path), true),
            None => (Path::new(text), false),
        };
        let goes_up = path.components().any(|part| part == Component::ParentDir);
        match path.is_absolute() && !goes_up {
            true => Ok(AllowedPath {
                path: path.to_owned(),
                readonly,
            }),
            false => Err("a path begins with / and has no \"..\", as in /var/run:ro".to_owned()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Join {
    OnDemand,
    Explicit,
}

const DOWN_EXAMPLES: &str = "\
Examples:
  sudo windlass down
  sudo windlass down --timeout 5                  kill what has not ended after 5 seconds
  sudo windlass down --data /srv/windlass";

/// Stop all tasks and the server of a data folder.
///
/// The folder is that of --data, else /var/lib/windlass: the AWS_* variables name no folder, and one
/// that names another server is a reason to ask.
#[derive(Debug, Clone, Args)]
#[command(after_help = DOWN_EXAMPLES)]
pub struct DownArgs {
    /// Kill what has not ended after so many seconds, where a definition's stopTimeout is longer.
    #[arg(long, short, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub timeout: Option<u32>,
}

const RESTORE_EXAMPLES: &str = "\
Examples:
  sudo windlass restore windlass.backup --data /srv/windlass     into a new folder
  ssh old windlass backup - | sudo windlass restore - --data /srv/windlass";

/// Make a data folder from a backup.
#[derive(Debug, Clone, Args)]
#[command(after_help = RESTORE_EXAMPLES)]
pub struct RestoreArgs {
    /// What `windlass backup` wrote, or - for stdin.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// The highest factor: with more, even small tasks starve each other.
const OVERCOMMIT_MAX: f64 = 100.0;

fn authority(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((host, file)) if !host.is_empty() && !file.is_empty() => {
            Ok((host.to_owned(), PathBuf::from(file)))
        }
        _ => Err("it looks like registry.example.com:5000=/etc/ssl/registry.pem".to_owned()),
    }
}

fn overcommit(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    match (0.1..=OVERCOMMIT_MAX).contains(&factor) {
        true => Ok(factor),
        false => Err(format!("a factor lies between 0.1 and {OVERCOMMIT_MAX}")),
    }
}

/// An IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Has no bits beyond the prefix.
    pub address: Ipv4Addr,
    /// Bits.
    pub prefix: u8,
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Subnet, String> {
        let (address, prefix) = text
            .split_once('/')
            .ok_or("a network looks like 10.88.0.0/16")?;
        let address: Ipv4Addr = address
            .parse()
            .map_err(|_| format!("{address} is no IPv4 address"))?;
        let prefix = prefix
            .parse::<u8>()
            .ok()
            .filter(|prefix| (8..=28).contains(prefix));
        let prefix = prefix.ok_or("a prefix lies between /8 and /28")?;
        let mask = u32::MAX << (32 - u32::from(prefix));
        let network = Ipv4Addr::from(u32::from(address) & mask);
        match network == address {
            true => Ok(Subnet { address, prefix }),
            false => Err(format!(
                "{address} is a host in it: the network is {network}/{prefix}"
            )),
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A registry, and the one that is asked in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    pub registry: String,
    pub mirror: String,
}

impl FromStr for Mirror {
    type Err = String;

    fn from_str(text: &str) -> Result<Mirror, String> {
        let wrong = "a mirror looks like docker.io=mirror.example.com:5000";
        let (registry, mirror) = text.split_once('=').ok_or(wrong)?;
        let is_host = |text: &str| {
            let good = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b);
            !text.is_empty() && text.bytes().all(good)
        };
        match is_host(registry) && is_host(mirror) {
            true => Ok(Mirror {
                registry: registry.to_owned(),
                mirror: mirror.to_owned(),
            }),
            false => Err(wrong.to_owned()),
        }
    }
}
