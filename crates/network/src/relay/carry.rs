//! Carries connections that reach a published port over loopback.
//!
//! The firewall cannot rewrite those: the kernel only lets 127.0.0.1 leave the loopback interface
//! when `route_localnet` is set, and with it set neighbours and containers could reach what the
//! host keeps on loopback. So a task of ours accepts and copies. The client's address is lost on
//! this way, as it is with masquerade.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::limits;
use crate::ports::{PortKey, Protocol};

/// The ports that are carried. Dropping it closes them all.
#[derive(Debug)]
pub(super) struct Relays {
    held: BTreeMap<PortKey, (SocketAddrV4, Relay)>,
    limits: Limits,
}

impl Default for Relays {
    fn default() -> Self {
        Self {
            held: BTreeMap::new(),
            limits: Limits(Arc::new(Semaphore::new(limits::RELAY_CONNECTIONS))),
        }
    }
}

impl Relays {
    /// Carries what reaches these sockets to the target. Must be called within a tokio runtime.
    pub(super) fn hold(
        &mut self,
        key: PortKey,
        target: SocketAddrV4,
        sockets: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let mut relay = Relay::default();
        for socket in sockets {
            match key.protocol {
                Protocol::Tcp => relay.add_tcp(socket.into(), target, &self.limits)?,
                Protocol::Udp => relay.add_udp(socket.into(), target)?,
            }
        }
        self.held.insert(key, (target, relay));
        Ok(())
    }

    /// Ends a port. Its sockets are closed when this returns.
    pub(super) async fn release(&mut self, key: PortKey) {
        if let Some((_, relay)) = self.held.remove(&key) {
            relay.close().await;
        }
    }

    /// Ends every port. All sockets are closed when this returns.
    pub(super) async fn clear(&mut self) {
        for (_, (_, relay)) in std::mem::take(&mut self.held) {
            relay.close().await;
        }
    }

    pub(super) fn held(&self) -> impl Iterator<Item = (PortKey, SocketAddrV4)> {
        self.held.iter().map(|(key, (target, _))| (*key, *target))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

/// The bound on connections that all relays of an installation share.
#[derive(Debug, Clone)]
struct Limits(Arc<Semaphore>);

/// The sockets of one published port. Dropping it closes them, and the connections they carry.
#[derive(Debug, Default)]
struct Relay(Vec<JoinHandle<()>>);

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Relay {
    /// Ends the relay, and returns when its sockets are closed and the port is free. Dropping it
    /// ends it too, but somewhat later.
    async fn close(mut self) {
        for task in self.0.drain(..) {
            task.abort();
            // It was aborted: that is no error.
            let _ = task.await;
        }
    }

    fn add_tcp(
        &mut self,
        listener: TcpListener,
        target: SocketAddrV4,
        limits: &Limits,
    ) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = net::TcpListener::from_std(listener)?;
        let task = tokio::spawn(accept(listener, target, limits.clone()));
        self.0.push(task);
        Ok(())
    }

    fn add_udp(&mut self, socket: UdpSocket, target: SocketAddrV4) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let socket = net::UdpSocket::from_std(socket)?;
        let task = tokio::spawn(relay_datagrams(socket, target));
        self.0.push(task);
        Ok(())
    }
}

async fn accept(listener: net::TcpListener, target: SocketAddrV4, limits: Limits) {
    // Dropped with this task, and its connections with it.
    let mut connections = JoinSet::new();
    loop {
        let mut client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                // Out of descriptors, most likely: give others time to close some.
                tracing::warn!(%target, %error, "a published port cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&limits.0).try_acquire_owned() else {
            tracing::warn!(%target, "too many connections to published ports over loopback");
            continue;
        };
        connections.spawn(async move {
            if let Ok(mut server) = net::TcpStream::connect(target).await {
                let _ = client.set_nodelay(true);
                let _ = server.set_nodelay(true);
                // Either side may reset at any time; there is nobody to tell.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
            drop(permit);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn relay_datagrams(socket: net::UdpSocket, target: SocketAddrV4) {
    let socket = Arc::new(socket);
    let mut peers: HashMap<SocketAddr, Arc<net::UdpSocket>> = HashMap::new();
    let mut answers = JoinSet::new();
    let mut buffer = vec![0; 65_536];
    loop {
        tokio::select! {
            Some(ended) = answers.join_next(), if !answers.is_empty() => {
                if let Ok(peer) = ended {
                    peers.remove(&peer);
                }
            }
            received = socket.recv_from(&mut buffer) => {
                // Errors tell of an earlier datagram that nobody wanted.
                let Ok((length, peer)) = received else { continue };
                let upstream = match peers.get(&peer) {
                    Some(upstream) => Arc::clone(upstream),
                    None if peers.len() >= limits::RELAY_UDP_PEERS => continue,
                    None => {
                        let Ok(upstream) = connect(target).await else { continue };
                        let upstream = Arc::new(upstream);
                        peers.insert(peer, Arc::clone(&upstream));
                        answers.spawn(answer(Arc::downgrade(&socket), Arc::clone(&upstream), peer));
                        upstream
                    }
                };
                let _ = upstream.send(&buffer[..length]).await;
            }
        }
    }
}

async fn connect(target: SocketAddrV4) -> io::Result<net::UdpSocket> {
    let socket = net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(target).await?;
    Ok(socket)
}

/// Carries answers back until none comes for a while. Returns whose they were.
async fn answer(
    socket: Weak<net::UdpSocket>,
    upstream: Arc<net::UdpSocket>,
    peer: SocketAddr,
) -> SocketAddr {
    let mut buffer = vec![0; 65_536];
    loop {
        match tokio::time::timeout(limits::RELAY_UDP_IDLE, upstream.recv(&mut buffer)).await {
            Err(_) => return peer,
            Ok(Ok(length)) => {
                // Held for this moment only, so that the port is free when the relay has ended.
                let Some(socket) = socket.upgrade() else {
                    return peer;
                };
                let _ = socket.try_send_to(&buffer[..length], peer);
            }
            // The container does not listen yet.
            Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
