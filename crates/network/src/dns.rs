//! Answers name questions at the gateway's port 53 by asking the servers of the host.
//!
//! Needed where the host's server is out of a container's reach, as a resolver on 127.0.0.53 is.
//! Questions and answers are passed on as they are; nothing is cached or read but their number. Who asks
//! much has a share of the places and no more: see [`places`].

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use self::places::{Places, Seen};
use crate::limits;
use crate::resolv::ResolvConf;

mod places;

const PORT: u16 = 53;
/// Bytes that are read of a connection at once.
const CARRIED: usize = 16 << 10;

/// Where the host keeps its resolver's settings.
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Sockets at the gateway, not yet served.
#[derive(Debug)]
pub(crate) struct Forwarder {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    gateway: Ipv4Addr,
    resolv_conf: PathBuf,
}

impl Forwarder {
    pub(crate) async fn bind(gateway: Ipv4Addr, resolv_conf: PathBuf) -> io::Result<Self> {
        Ok(Self {
            udp: Arc::new(UdpSocket::bind((gateway, PORT)).await?),
            tcp: TcpListener::bind((gateway, PORT)).await?,
            gateway,
            resolv_conf,
        })
    }

    /// Serves until dropped.
    pub(crate) async fn run(self) {
        let mut questions = Work::new(limits::DNS_QUESTIONS, limits::DNS_QUESTIONS_PER_SOURCE);
        let mut connections =
            Work::new(limits::DNS_CONNECTIONS, limits::DNS_CONNECTIONS_PER_SOURCE);
        let mut buffer = vec![0; 65_536];
        loop {
            tokio::select! {
                received = self.udp.recv_from(&mut buffer) => {
                    let Ok((length, peer)) = received else { continue };
                    // Without a place a question is dropped; the asker repeats it.
                    if !questions.places.make_room(peer.ip()) {
                        continue;
                    }
                    let question = buffer[..length].to_vec();
                    let servers = self.servers().await;
                    let socket = Arc::clone(&self.udp);
                    questions.start(peer.ip(), |_| async move {
                        if let Some(answer) = ask(&servers, &question).await {
                            let _ = socket.send_to(&answer, peer).await;
                        }
                    });
                }
                accepted = self.tcp.accept() => {
                    let Ok((client, peer)) = accepted else {
                        tokio::time::sleep(limits::QUARANTINE_LOOK).await;
                        continue;
                    };
                    if !connections.places.make_room(peer.ip()) {
                        continue;
                    }
                    let servers = self.servers().await;
                    connections.start(peer.ip(), |seen| async move {
                        let carry = carry(client, &servers, &seen);
                        let _ = tokio::time::timeout(limits::DNS_CONNECTION, carry).await;
                    });
                }
                () = questions.ended() => {}
                () = connections.ended() => {}
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

/// Work of one kind, each at its place.
struct Work {
    places: Places,
    running: JoinSet<()>,
}

impl Work {
    fn new(limit: usize, share: usize) -> Self {
        Self {
            places: Places::new(limit, share),
            running: JoinSet::new(),
        }
    }

    /// Starts work at a place that there is.
    fn start<F>(&mut self, source: IpAddr, work: impl FnOnce(Seen) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let seen = self.places.seen();
        let handle = self.running.spawn(work(seen.clone()));
        self.places.give(source, seen, handle);
    }

    /// Waits until one ends, and frees its place. Never while none runs.
    async fn ended(&mut self) {
        let id = match self.running.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => error.id(),
            None => std::future::pending().await,
        };
        self.places.free(id);
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

/// Carries one connection to the first server that takes it, once the client has said something. It
/// ends when neither side says anything for a while.
async fn carry(mut client: TcpStream, servers: &[SocketAddr], seen: &Seen) -> io::Result<()> {
    in_time(client.readable()).await?;
    let mut upstream = None;
    for server in servers {
        if let Ok(connected) = in_time(TcpStream::connect(server)).await {
            upstream = Some(connected);
            break;
        }
    }
    let Some(mut upstream) = upstream else {
        return Ok(());
    };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = upstream.split();
    let (mut question, mut answer) = (vec![0; CARRIED], vec![0; CARRIED]);
    let mut asking = true;
    loop {
        let read = async {
            tokio::select! {
                read = from_client.read(&mut question), if asking => read.map(|n| (true, n)),
                read = from_server.read(&mut answer) => read.map(|n| (false, n)),
            }
        };
        match in_time(read).await? {
            (true, 0) => {
                asking = false;
                to_server.shutdown().await?;
            }
            (true, length) => in_time(to_server.write_all(&question[..length])).await?,
            (false, 0) => return to_client.shutdown().await,
            (false, length) => in_time(to_client.write_all(&answer[..length])).await?,
        }
        seen.touch();
    }
}

/// One step of a connection, which may not take longer than it may be idle.
async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(limits::DNS_IDLE, step).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
