//! The server's side of the relay: starts it with the first port, hands it sockets, and starts
//! another when it dies.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::net::SocketAddrUnix;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use super::carry::Relays;
use super::message::{self, Message, Verb};
use super::{ANSWER, Starter, connect, end, receive, send, socket, socket_path, watched};
use crate::limits;
use crate::ports::{PortKey, listen};

/// Host ports and where they lead.
type Held = BTreeMap<PortKey, SocketAddrV4>;

/// Sockets that listen on a host port and are not carried yet.
#[derive(Debug)]
pub(crate) struct Listening(pub(crate) Vec<OwnedFd>);

/// Hands ports to the relay. The last clone dropped leaves the relay as it is.
#[derive(Debug, Clone)]
pub(crate) struct Keeper(mpsc::UnboundedSender<Order>);

#[derive(Debug)]
enum Order {
    Hold {
        key: PortKey,
        target: SocketAddrV4,
        sockets: Listening,
    },
    Release {
        keys: Vec<PortKey>,
        done: oneshot::Sender<()>,
    },
    End {
        done: oneshot::Sender<()>,
    },
}

impl Keeper {
    /// Finds the relay of an earlier run, and makes it forget all but the ports that are wanted.
    /// Answers those it carries. Without a starter, or when that fails, ports are
    /// carried by this process and end with it.
    ///
    /// Must be called within a tokio runtime.
    pub(crate) fn open(run_dir: &Path, starter: Option<Starter>, wanted: &Held) -> (Self, Held) {
        let found = starter.is_some().then(|| find(run_dir, wanted));
        let (way, held) = match found.unwrap_or(Ok(None)) {
            Ok(Some((socket, held))) => (Way::Process(socket, Instant::now()), held),
            Ok(None) => (Way::None, BTreeMap::new()),
            Err(error) => {
                tracing::warn!(%error, "the relay of an earlier run is of no use; it is ended");
                if let Err(error) = end(run_dir) {
                    tracing::warn!(%error, "the relay of an earlier run does not end");
                }
                (Way::None, BTreeMap::new())
            }
        };
        let (orders, inbox) = mpsc::unbounded_channel();
        let carrier = Carrier {
            run_dir: run_dir.to_owned(),
            starter,
            way,
            held: held.clone(),
        };
        tokio::spawn(carrier.run(inbox));
        (Self(orders), held)
    }

    /// Carries what reaches the sockets to the target.
    pub(crate) fn hold(&self, key: PortKey, target: SocketAddrV4, sockets: Listening) {
        // Its end is the runtime's: nobody is served then.
        let _ = self.0.send(Order::Hold {
            key,
            target,
            sockets,
        });
    }

    /// Ends ports; they are free when this returns.
    pub(crate) async fn release(&self, keys: Vec<PortKey>) {
        if keys.is_empty() {
            return;
        }
        let (done, answer) = oneshot::channel();
        let _ = self.0.send(Order::Release { keys, done });
        let _ = answer.await;
    }

    /// Ends the relay.
    pub(crate) async fn end(&self) {
        let (done, answer) = oneshot::channel();
        let _ = self.0.send(Order::End { done });
        let _ = answer.await;
    }
}

/// Who carries.
#[derive(Debug)]
enum Way {
    /// Nobody yet.
    None,
    /// A relay, and since when it is known.
    Process(AsyncFd<OwnedFd>, Instant),
    /// This process.
    Within(Relays),
}

#[derive(Debug)]
struct Carrier {
    run_dir: PathBuf,
    starter: Option<Starter>,
    way: Way,
    /// What should be carried: it can be bound again when a relay dies.
    held: Held,
}

impl Carrier {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.follow(order).await,
                    None => return,
                },
                () = ended(&self.way) => self.start_again().await,
            }
        }
    }

    async fn follow(&mut self, order: Order) {
        match order {
            Order::Hold {
                key,
                target,
                sockets,
            } => {
                self.held.insert(key, target);
                if matches!(self.way, Way::None) {
                    self.way = self.begin();
                }
                if let Err(error) = self.hold(key, target, sockets).await {
                    tracing::warn!(%error, "the relay takes no port");
                    self.start_again().await;
                }
            }
            Order::Release { keys, done } => {
                for key in &keys {
                    self.held.remove(key);
                }
                if let Err(error) = self.release(&keys).await {
                    tracing::warn!(%error, "the relay gives no port back");
                    self.start_again().await;
                }
                let _ = done.send(());
            }
            Order::End { done } => {
                self.held.clear();
                self.end_process().await;
                self.way = Way::None;
                let _ = done.send(());
            }
        }
    }

    async fn hold(
        &mut self,
        key: PortKey,
        target: SocketAddrV4,
        Listening(sockets): Listening,
    ) -> io::Result<()> {
        match &mut self.way {
            Way::None => Ok(()),
            Way::Within(relays) => relays.hold(key, target, sockets),
            Way::Process(relay, _) => {
                let message = Message {
                    verb: Verb::Hold,
                    key,
                    target,
                };
                let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
                send(relay, &message, &sockets).await
            }
        }
    }

    async fn release(&mut self, keys: &[PortKey]) -> io::Result<()> {
        match &mut self.way {
            Way::None => Ok(()),
            Way::Within(relays) => {
                for key in keys {
                    relays.release(*key).await;
                }
                Ok(())
            }
            Way::Process(relay, _) => {
                let giving_back = async {
                    for key in keys {
                        let message = Message {
                            key: *key,
                            ..Message::plain(Verb::Release)
                        };
                        send(relay, &message, &[]).await?;
                        loop {
                            let answer = receive(relay).await?;
                            let answer = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
                            if answer.0.key == *key {
                                break;
                            }
                        }
                    }
                    Ok(())
                };
                tokio::time::timeout(ANSWER, giving_back)
                    .await
                    .unwrap_or(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Carries everything anew, after the relay died or hung.
    async fn start_again(&mut self) {
        let died_young = match &self.way {
            Way::Process(_, since) => since.elapsed() < limits::RELAY_YOUNG,
            _ => false,
        };
        self.end_process().await;
        if died_young {
            tracing::warn!("the relay of published ports does not live; the server carries them");
            self.way = Way::Within(Relays::default());
        } else {
            tracing::warn!("the relay of published ports died; another is started");
            self.way = self.begin();
        }
        let held = self.held.clone();
        for (key, target) in held {
            let held = match listen(key) {
                Ok(sockets) => self.hold(key, target, sockets).await,
                Err(error) => Err(error),
            };
            if let Err(error) = held {
                let port = key.port;
                tracing::warn!(port, %error, "a port cannot be reached over loopback any more");
            }
        }
    }

    async fn end_process(&mut self) {
        if !matches!(self.way, Way::Process(..)) {
            return;
        }
        let run_dir = self.run_dir.clone();
        let ended = tokio::task::spawn_blocking(move || end(&run_dir)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(%error, "the relay of published ports does not end");
        }
    }

    fn begin(&self) -> Way {
        let Some(starter) = &self.starter else {
            return Way::Within(Relays::default());
        };
        match start(&self.run_dir, starter) {
            Ok(relay) => Way::Process(relay, Instant::now()),
            Err(error) => {
                tracing::warn!(%error, "no relay of published ports; the server carries them");
                Way::Within(Relays::default())
            }
        }
    }
}

/// Connects to the relay of an earlier run, and releases what is not wanted.
fn find(run_dir: &Path, wanted: &Held) -> io::Result<Option<(AsyncFd<OwnedFd>, Held)>> {
    use rustix::net::sockopt::{Timeout, set_socket_timeout};
    let Some(socket) = connect(run_dir)? else {
        return Ok(None);
    };
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER))?;
    message::send(&socket, &Message::plain(Verb::List), &[])?;
    let mut held = BTreeMap::new();
    loop {
        let Some((message, _)) = message::receive(&socket)? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if message.verb == Verb::List {
            break;
        }
        held.insert(message.key, message.target);
    }
    let unwanted = |(key, target): &(&PortKey, &SocketAddrV4)| wanted.get(*key) != Some(*target);
    let strays: Vec<_> = held.iter().filter(unwanted).map(|(key, _)| *key).collect();
    for key in strays {
        let release = Message {
            key,
            ..Message::plain(Verb::Release)
        };
        message::send(&socket, &release, &[])?;
        if message::receive(&socket)?.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        held.remove(&key);
    }
    Ok(Some((watched(socket)?, held)))
}

/// Starts a relay. Its socket listens before it lives, so that nobody waits for it.
fn start(run_dir: &Path, starter: &Starter) -> io::Result<AsyncFd<OwnedFd>> {
    end(run_dir)?;
    let listener = socket()?;
    rustix::net::bind(&listener, &SocketAddrUnix::new(socket_path(run_dir))?)?;
    rustix::net::listen(&listener, 8)?;
    (starter.0)(listener)?;
    let socket = connect(run_dir)?.ok_or(io::ErrorKind::ConnectionRefused)?;
    watched(socket)
}

/// Returns when the relay is gone.
async fn ended(way: &Way) {
    let Way::Process(relay, _) = way else {
        return std::future::pending().await;
    };
    while let Ok(Some((message, _))) = receive(relay).await {
        // It gives back what it was not asked for: the sockets could not be watched.
        let port = message.key.port;
        tracing::warn!(port, "the relay cannot carry a published port");
    }
}
