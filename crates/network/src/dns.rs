//! Answers name questions at the gateway's port 53 by asking the servers of the host.
//!
//! Needed where the host's server is out of a container's reach, as a resolver on 127.0.0.53 is.
//! Questions and answers are passed on as they are; nothing is cached or read but their number.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::limits;
use crate::resolv::ResolvConf;

const PORT: u16 = 53;

/// Where the host keeps its resolver's settings.
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Sockets at the gateway, not yet served.
#[derive(Debug)]
pub(crate) struct Forwarder {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    gateway: Ipv4Addr,
    resolv_conf: PathBuf,
    in_flight: Arc<Semaphore>,
}

impl Forwarder {
    pub(crate) async fn bind(gateway: Ipv4Addr, resolv_conf: PathBuf) -> io::Result<Self> {
        Ok(Self {
            udp: Arc::new(UdpSocket::bind((gateway, PORT)).await?),
            tcp: TcpListener::bind((gateway, PORT)).await?,
            gateway,
            resolv_conf,
            in_flight: Arc::new(Semaphore::new(limits::DNS_QUESTIONS)),
        })
    }

    /// Serves until dropped.
    pub(crate) async fn run(self) {
        let mut questions = JoinSet::new();
        let mut buffer = vec![0; 65_536];
        loop {
            tokio::select! {
                received = self.udp.recv_from(&mut buffer) => {
                    let Ok((length, peer)) = received else { continue };
                    // Over the limit a question is dropped; the asker repeats it.
                    let Ok(permit) = Arc::clone(&self.in_flight).try_acquire_owned() else {
                        continue;
                    };
                    let question = buffer[..length].to_vec();
                    let servers = self.servers().await;
                    let socket = Arc::clone(&self.udp);
                    questions.spawn(async move {
                        if let Some(answer) = ask(&servers, &question).await {
                            let _ = socket.send_to(&answer, peer).await;
                        }
                        drop(permit);
                    });
                }
                accepted = self.tcp.accept() => {
                    let Ok((client, _)) = accepted else {
                        tokio::time::sleep(limits::QUARANTINE_LOOK).await;
                        continue;
                    };
                    let Ok(permit) = Arc::clone(&self.in_flight).try_acquire_owned() else {
                        continue;
                    };
                    let servers = self.servers().await;
                    questions.spawn(async move {
                        let carry = carry(client, &servers);
                        let _ = tokio::time::timeout(limits::DNS_CONNECTION, carry).await;
                        drop(permit);
                    });
                }
                Some(_) = questions.join_next(), if !questions.is_empty() => {}
            }
        }
    }

    /// The host's servers of this moment; the file changes when a laptop changes networks.
    async fn servers(&self) -> Vec<SocketAddr> {
        let conf = read_host_file(&self.resolv_conf).await.unwrap_or_default();
        let elsewhere = |server: &IpAddr| *server != IpAddr::V4(self.gateway);
        conf.servers()
            .into_iter()
            .filter(elsewhere)
            .map(|ip| SocketAddr::new(ip, PORT))
            .collect()
    }
}

/// Reads the host's file. An absent one is empty: then the server is the local one.
pub(crate) async fn read_host_file(path: &Path) -> io::Result<ResolvConf> {
    let file = match tokio::fs::File::open(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ResolvConf::default()),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(limits::RESOLV_CONF)
        .read_to_end(&mut bytes)
        .await?;
    Ok(ResolvConf::parse(&String::from_utf8_lossy(&bytes)))
}

/// Asks one server after the other.
async fn ask(servers: &[SocketAddr], question: &[u8]) -> Option<Vec<u8>> {
    for server in servers {
        let answer = tokio::time::timeout(limits::DNS_ANSWER, ask_one(*server, question));
        if let Ok(Ok(answer)) = answer.await {
            return Some(answer);
        }
    }
    None
}

async fn ask_one(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A port of its own for each question: the kernel takes answers of this server only.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; 65_536];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // An answer to another question is somebody's guess.
        if buffer[..length].first_chunk::<2>() == question.first_chunk::<2>() {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn carry(mut client: TcpStream, servers: &[SocketAddr]) -> io::Result<()> {
    for server in servers {
        if let Ok(mut upstream) = TcpStream::connect(server).await {
            tokio::io::copy_bidirectional(&mut client, &mut upstream).await?;
            return Ok(());
        }
    }
    Ok(())
}
