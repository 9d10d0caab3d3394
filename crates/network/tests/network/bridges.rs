//! More links than one bridge carries.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use windlass_network::{Existing, Network, Protocol};

use crate::machine::{Task, ask, ask_udp, closed, on_machine, sh, within};

/// One bridge carries 253, and the kernel would take 1,023.
const FILLERS: usize = 1_110;

#[test]
fn tasks_reach_each_other_across_bridges() {
    on_machine(|machine| async move {
        let network = machine.network().await;
        assert_eq!(network.capacity(), 64_768);
        let first = Task::start(&network, "first", &[80]).await;
        for number in 0..FILLERS {
            let name = format!("filler{number}");
            network.create_namespace(&name).await.expect("namespace");
            network.attach(&name, None).await.expect("attaches");
        }
        let last = Task::start(&network, "last", &[80]).await;
        let bridge = |task: &Task| {
            let link = &task.attached.host_interface;
            let shown = sh(&format!("ip -o link show {link}"));
            let mut words = shown.split_whitespace().map(String::from);
            words
                .find(|word| word == "master")
                .and_then(|_| words.next())
        };
        assert_eq!(bridge(&first).as_deref(), Some("wltest"));
        assert_eq!(bridge(&last).as_deref(), Some("wltest_4"));
        let gateway = Ipv4Addr::new(10, 77, 4, 1);
        assert_eq!((last.attached.gateway, last.attached.prefix), (gateway, 24));
        let published = [last.mapping(Protocol::Tcp, 8080, 80)];
        network.publish(&published).await.expect("publishes");
        reachable(&machine.neighbour, &first, &last);

        // The next agent knows both bridges again.
        drop(network);
        let known = [("first", &first), ("last", &last)].map(|(name, task)| Existing {
            namespace: name.into(),
            attached: Some(task.attached.clone()),
            ports: match name {
                "last" => published.to_vec(),
                _ => Vec::new(),
            },
        });
        let mut options = machine.options("test");
        options.sandboxes = known.to_vec();
        let network = Network::open(options).await.expect("opens");
        reachable(&machine.neighbour, &first, &last);
        sh("nft flush ruleset");
        while !sh("nft list ruleset").contains("wltest_4") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        reachable(&machine.neighbour, &first, &last);
        drop((first, last));
        network.down().await.expect("goes down");
        let left = sh("ip -o link; ip route");
        assert!(!left.contains("wltest"), "{left}");
    });
}

fn reachable(neighbour: &std::path::Path, first: &Task, last: &Task) {
    let answer = |asker: &Task, name: &str| format!("{name} {}", asker.attached.address);
    for (asker, other, name) in [(first, last, "last"), (last, first, "first")] {
        let from = Some(&*asker.path);
        // Each is seen with its own address.
        let answered = ask(from, other.at(80)).expect("answers");
        assert_eq!(answered, answer(asker, name));
        assert_eq!(ask_udp(from, other.at(80)).expect("answers"), answered);
        // Names are asked for at the first bridge's address, whichever the asker's is.
        let names = SocketAddr::from(([10, 77, 0, 1], 53));
        within(from, move || TcpStream::connect(names)).expect("the forwarder listens");
    }
    ask(Some(neighbour), ([192, 0, 2, 2], 8080)).expect("by its published port");
    ask(Some(&first.path), ([192, 0, 2, 2], 8080)).expect("by its published port");
    assert!(closed(Some(neighbour), last.at(80)), "not by its address");
}

#[test]
fn what_a_small_range_holds_is_known_and_used_to_the_last() {
    on_machine(|machine| async move {
        let mut options = machine.options("test");
        options.subnet = "10.77.0.0/28".parse().expect("valid");
        options.spares = 2;
        let network = Network::open(options).await.expect("opens");
        let capacity = network.capacity();
        assert_eq!(capacity, 13);
        for round in 0..2 {
            for number in 0..capacity {
                let name = format!("task{number}");
                // Those of the round before may be on their way out.
                let made = network.create(&name).await;
                made.unwrap_or_else(|error| panic!("round {round}, {name}: {error}"));
            }
            for number in 0..capacity {
                network
                    .release(&format!("task{number}"))
                    .await
                    .expect("releases");
            }
        }
        network.down().await.expect("goes down");
    });
}
