//! The API's address: taken, or told who has it.

use anyhow::{Context, Result, anyhow};
use std::fs;
use std::io::ErrorKind::AddrInUse;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket};

/// How long an address that is in use is tried.
const BIND_TIMEOUT: Duration = Duration::from_secs(1);
const BIND_POLL: Duration = Duration::from_millis(20);
/// Connections that wait to be accepted; the kernel's `net.core.somaxconn` bounds it. One that finds no
/// room is tried again by its client after a whole second, and the usual 128 are soon there.
const BACKLOG: u32 = 4_096;
/// `st` of a socket that listens, in /proc/net/tcp.
const LISTENS: &str = "0A";

/// A server that was killed while it started a process leaves its listener to that process until it
/// executes its program, so an address that is in use is tried again for a moment.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    let asked = Instant::now();
    loop {
        match listen(address) {
            Err(err) if err.kind() == AddrInUse && asked.elapsed() < BIND_TIMEOUT => {
                tokio::time::sleep(BIND_POLL).await;
            }
            Err(err) if err.kind() == AddrInUse => {
                let holder = holder(address.port()).unwrap_or_else(|| "another program".into());
                return Err(anyhow!(
                    "{address} is in use by {holder}: end it, or choose another address with \
                     --listen"
                ));
            }
            bound => {
                return bound.with_context(|| {
                    format!("listening on {address}: choose another address with --listen")
                });
            }
        }
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The program that listens on a port, as people know it.
fn holder(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|text| listening(&text, port))
        .collect();
    let wanted: Vec<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    for process in processes {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // Processes end while they are looked at, and some may not be looked at.
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let targets = descriptors
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok());
        let mut targets = targets.filter_map(|target| target.into_os_string().into_string().ok());
        if targets.any(|target| wanted.contains(&target)) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("process {pid} ({})", name.trim()));
        }
    }
    None
}

/// Inodes of the sockets that listen on a port, from the text of /proc/net/tcp.
fn listening(text: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    let lines = text.lines().skip(1);
    let found = lines.filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next()?, fields.nth(1)?);
        let inode = fields.nth(5)?;
        (local.ends_with(&suffix) && state == LISTENS).then(|| inode.to_owned())
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_may_wait_to_be_accepted() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let patience = Duration::from_secs(10);
        let waiting: Vec<_> = (0..300)
            .map(|_| std::net::TcpStream::connect_timeout(&address, patience).unwrap())
            .collect();
        assert_eq!(waiting.len(), 300);
    }

    #[tokio::test]
    async fn whoever_has_the_address_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let refused = bind(address).await.unwrap_err().to_string();
        let own = format!("process {} (", std::process::id());
        assert!(refused.contains(&own), "{refused}");
        assert!(refused.contains("--listen"), "{refused}");
        drop(taken);
        bind(address).await.unwrap();
    }
}
