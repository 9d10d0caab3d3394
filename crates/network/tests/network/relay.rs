//! Published ports over loopback while the server is away, and when the relay dies.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use windlass_network::{Existing, Network, Options, PortMapping, Protocol, relay};

use crate::machine::{Machine, Task, ask, ask_udp, on_machine, sh};

/// Longer than a relay must live to be thought healthy.
const OF_AGE: Duration = Duration::from_millis(1_100);

fn options(machine: &Machine) -> Options {
    let start = |listener: OwnedFd| {
        let mut relay = Command::new(env!("CARGO_BIN_EXE_relay-under-test"));
        let mut relay = relay.stdin(Stdio::from(listener)).spawn()?;
        std::thread::spawn(move || relay.wait());
        Ok(())
    };
    Options {
        relay: Some(relay::Starter(Arc::new(start))),
        ..machine.options("test")
    }
}

fn local(mapping: &PortMapping) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], mapping.host_port))
}

/// The relays that carry a port of this thread's machine.
fn relays() -> Vec<Pid> {
    let listed = sh("ss -Hltnp");
    let mut pids: Vec<i32> = listed
        .split("windlass-relay")
        .skip(1)
        .filter_map(|rest| {
            let digits = rest.split_once("pid=")?.1;
            let end = digits.find(|c: char| !c.is_ascii_digit())?;
            digits.get(..end)?.parse().ok()
        })
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter().filter_map(Pid::from_raw).collect()
}

async fn until(what: &str, mut met: impl FnMut() -> bool) {
    for _ in 0..1_500 {
        if met() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within 15 s");
}

fn takes_over(task: &Task, ports: &[PortMapping], machine: &Machine) -> Options {
    Options {
        sandboxes: vec![Existing {
            namespace: "web".into(),
            attached: Some(task.attached.clone()),
            ports: ports.to_vec(),
        }],
        ..options(machine)
    }
}

#[test]
fn published_ports_outlive_the_server() {
    on_machine(|machine| async move {
        let network = Network::open(options(&machine)).await.expect("opens");
        assert_eq!(relays(), [], "nothing is published");
        let web = Task::start(&network, "web", &[80]).await;
        let wanted = [
            web.mapping(Protocol::Tcp, 8080, 80),
            web.mapping(Protocol::Udp, 8080, 80),
            web.mapping(Protocol::Tcp, 8081, 80),
        ];
        let ports = network.publish(&wanted).await.expect("publishes");
        assert!(ask(None, local(&ports[0])).is_ok());
        let relay = relays();
        assert_eq!(relay.len(), 1);
        let mut open = TcpStream::connect(local(&ports[0])).expect("connects");
        drop(network);

        assert!(ask(None, local(&ports[0])).is_ok(), "nobody serves");
        assert!(ask_udp(None, local(&ports[1])).is_ok(), "nobody serves");
        let network = Network::open(takes_over(&web, &ports[..2], &machine)).await;
        let network = network.expect("opens");
        assert_eq!(relays(), relay, "the same relay");
        assert!(ask(None, local(&ports[0])).is_ok());
        std::io::Read::read_to_string(&mut open, &mut String::new()).expect("is not cut");
        let free = TcpListener::bind(local(&ports[2]));
        assert!(free.is_ok(), "what no task has is given back: {free:?}");
        let again = [web.mapping(Protocol::Tcp, 8080, 80)];
        let taken = network.publish(&again).await;
        assert!(taken.is_err(), "what it has is taken");

        network.unpublish(&ports[..2]).await.expect("unpublishes");
        TcpListener::bind(local(&ports[0])).expect("free at once");
        UdpSocket::bind(local(&ports[1])).expect("free at once");
        network.publish(&again).await.expect("publishes");
        drop(web);
        network.down().await.expect("goes down");
        assert_eq!(relays(), []);
    });
}

#[test]
fn a_relay_that_dies_is_replaced() {
    on_machine(|machine| async move {
        let network = Network::open(options(&machine)).await.expect("opens");
        let web = Task::start(&network, "web", &[80]).await;
        let ports = [
            web.mapping(Protocol::Tcp, 8080, 80),
            web.mapping(Protocol::Tcp, 8081, 80),
        ];
        network.publish(&ports).await.expect("publishes");
        until("a relay", || relays().len() == 1).await;
        let first = relays();
        tokio::time::sleep(OF_AGE).await;
        rustix::process::kill_process(first[0], Signal::KILL).expect("kills");
        for port in &ports {
            until("it is carried again", || ask(None, local(port)).is_ok()).await;
        }
        let second = relays();
        assert!(second.len() == 1 && second != first, "{second:?}");
        // This one is young, so the server does it by itself.
        rustix::process::kill_process(second[0], Signal::KILL).expect("kills");
        for port in &ports {
            until("it is carried again", || ask(None, local(port)).is_ok()).await;
        }
        assert_eq!(relays(), []);
        network.unpublish(&ports).await.expect("unpublishes");
        TcpListener::bind(local(&ports[0])).expect("free at once");
        drop(web);
        network.down().await.expect("goes down");
    });
}

#[test]
fn a_relay_without_work_ends_with_its_server() {
    on_machine(|machine| async move {
        let network = Network::open(options(&machine)).await.expect("opens");
        let web = Task::start(&network, "web", &[80]).await;
        let port = [web.mapping(Protocol::Tcp, 8080, 80)];
        network.publish(&port).await.expect("publishes");
        until("a relay", || relays().len() == 1).await;
        let relay = relays()[0];
        network.unpublish(&port).await.expect("unpublishes");
        drop(network);
        let gone = || rustix::process::test_kill_process(relay).is_err();
        until("the relay ends", gone).await;

        let network = Network::open(options(&machine)).await.expect("opens");
        let web = Task::start(&network, "other", &[80]).await;
        let port = [web.mapping(Protocol::Tcp, 8080, 80)];
        network.publish(&port).await.expect("publishes");
        until("a relay", || relays().len() == 1).await;
        drop(network);
        assert!(ask(None, local(&port[0])).is_ok(), "nobody serves");
        relay::end(&machine.folder.path().join("test")).expect("ends");
        TcpListener::bind(local(&port[0])).expect("free at once");
        relay::end(&machine.folder.path().join("test")).expect("there is none");
    });
}
