//! A machine for one test: a network namespace with a neighbour on a cable, and programs to run.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use windlass_network::{Attached, Network, Options, PortMapping, Protocol};

/// The machine's address on the cable to its neighbour.
pub(crate) const HOST: &str = "192.0.2.2";
pub(crate) const NEIGHBOUR: &str = "192.0.2.9";
pub(crate) const SUBNET: &str = "10.77.0.0/16";

/// How long a probe waits for an answer that should come: long, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a probe waits before it counts as refused in silence.
const SILENCE: Duration = Duration::from_millis(400);

/// A machine. The test's thread is in its namespace.
pub(crate) struct Machine {
    pub(crate) folder: tempfile::TempDir,
    /// The other end of the cable.
    pub(crate) neighbour: PathBuf,
}

/// Runs a test on a machine of its own.
pub(crate) fn on_machine<F: Future<Output = ()>>(test: impl FnOnce(Machine) -> F + Send + 'static) {
    let run = move || {
        // SAFETY: only this thread's network namespace changes.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }
            .expect("tests of the network need root");
        let folder = tempfile::tempdir().expect("folder");
        let neighbour = folder.path().join("neighbour");
        std::fs::write(&neighbour, "").expect("file");
        let machine = Machine { folder, neighbour };
        let file = machine.neighbour.display();
        sh(&format!(
            "unshare --net={file} true; ip link set lo up; nsenter --net={file} ip link set lo up
             ip link add h0 type veth peer name n0 netns {file}
             ip addr add {HOST}/24 dev h0; ip link set h0 up; ip route add default via {NEIGHBOUR}
             nsenter --net={file} sh -c 'ip addr add {NEIGHBOUR}/24 dev n0; ip link set n0 up'
             echo 0 > /proc/sys/net/ipv4/ip_forward"
        ));
        // Its threads are started from this one, and so are on the machine too.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("runtime");
        runtime.block_on(test(machine));
    };
    let outcome = std::thread::spawn(run).join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for path in [&self.neighbour]
            .into_iter()
            .cloned()
            .chain(self.namespaces())
        {
            let _ = rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

impl Machine {
    pub(crate) fn options(&self, installation: &str) -> Options {
        let run_dir = self.folder.path().join(installation);
        let installation = installation.parse().expect("valid");
        Options::new(installation, run_dir, SUBNET.parse().expect("valid"))
    }

    pub(crate) async fn network(&self) -> Network {
        Network::open(self.options("test")).await.expect("opens")
    }

    fn namespaces(&self) -> Vec<PathBuf> {
        let runs = std::fs::read_dir(self.folder.path())
            .into_iter()
            .flatten()
            .flatten();
        runs.filter_map(|run| std::fs::read_dir(run.path().join("netns")).ok())
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect()
    }
}

/// A sandbox with a server on some ports.
pub(crate) struct Task {
    pub(crate) path: PathBuf,
    pub(crate) attached: Attached,
    _servers: Vec<Server>,
}

impl Task {
    /// Starts a task whose servers say `name` and who asks.
    pub(crate) async fn start(network: &Network, name: &str, ports: &[u16]) -> Self {
        let handle = network.create_namespace(name).await.expect("namespace");
        let attached = network.attach(name, None).await.expect("attaches");
        let servers = ports
            .iter()
            .map(|port| Server::start(Some(&handle.path), *port, name))
            .collect();
        Self {
            path: handle.path,
            attached,
            _servers: servers,
        }
    }

    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.attached.address, port))
    }

    pub(crate) fn mapping(&self, protocol: Protocol, host: u16, container: u16) -> PortMapping {
        PortMapping {
            protocol,
            host_address: None,
            host_port: host,
            target: std::net::SocketAddrV4::new(self.attached.address, container),
        }
    }
}

/// Says its name, and who asks, to everybody who asks by TCP or UDP.
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(namespace: Option<&Path>, port: u16, name: &str) -> Self {
        Self::start_at(namespace, SocketAddr::from(([0, 0, 0, 0], port)), name)
    }

    pub(crate) fn start_at(namespace: Option<&Path>, at: SocketAddr, name: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, namespace, name) = (
            Arc::clone(&stop),
            namespace.map(Path::to_owned),
            name.to_owned(),
        );
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            enter(namespace.as_deref());
            let tcp = TcpListener::bind(at).expect("binds");
            let udp = UdpSocket::bind(at).expect("binds");
            tcp.set_nonblocking(true).expect("nonblocking");
            udp.set_nonblocking(true).expect("nonblocking");
            ready.send(()).expect("waits");
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((mut client, peer)) = tcp.accept() {
                    let _ = write!(client, "{name} {}", peer.ip());
                } else if let Ok((_, peer)) = udp.recv_from(&mut buffer) {
                    let _ = udp.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
                } else {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        is_ready.recv().expect("server starts");
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What a server says over TCP to somebody in this namespace, or on the machine.
pub(crate) fn ask(from: Option<&Path>, at: impl Into<SocketAddr>) -> io::Result<String> {
    connect(from, at.into(), PATIENCE)
}

/// What a server says over UDP.
pub(crate) fn ask_udp(from: Option<&Path>, at: impl Into<SocketAddr>) -> io::Result<String> {
    let at = at.into();
    within(from, move || {
        let any: SocketAddr = if at.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            ([0u16; 8], 0).into()
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(SILENCE))?;
        socket.connect(at)?;
        let mut buffer = [0; 2048];
        let start = Instant::now();
        // Datagrams may be lost, and nobody repeats them for us.
        let length = loop {
            socket.send(b"?")?;
            match socket.recv(&mut buffer) {
                Err(_) if start.elapsed() < PATIENCE => {}
                other => break other?,
            }
        };
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    })
}

/// Whether nobody answers, over TCP.
pub(crate) fn closed(from: Option<&Path>, at: impl Into<SocketAddr>) -> bool {
    connect(from, at.into(), SILENCE).is_err()
}

fn connect(from: Option<&Path>, at: SocketAddr, wait: Duration) -> io::Result<String> {
    within(from, move || {
        let mut stream = TcpStream::connect_timeout(&at, wait)?;
        stream.set_read_timeout(Some(wait * 3))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        // The relay accepts before it knows whether anybody is there.
        if text.is_empty() {
            Err(io::ErrorKind::UnexpectedEof.into())
        } else {
            Ok(text)
        }
    })
}

/// Runs something in a namespace, or on the machine.
pub(crate) fn within<T: Send + 'static>(
    namespace: Option<&Path>,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let namespace = namespace.map(Path::to_owned);
    let thread = std::thread::spawn(move || {
        enter(namespace.as_deref());
        work()
    });
    thread.join().expect("no panic")
}

fn enter(namespace: Option<&Path>) {
    let Some(path) = namespace else { return };
    let file = std::fs::File::open(path).expect("namespace");
    let kind = rustix::thread::LinkNameSpaceType::Network;
    rustix::thread::move_into_link_name_space(file.as_fd(), Some(kind)).expect("enters");
}

/// Runs a script on the machine and returns what it printed.
pub(crate) fn sh(script: &str) -> String {
    let output = Command::new("sh")
        .args(["-ec", script])
        .output()
        .expect("sh");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{text}{error}");
    text
}
