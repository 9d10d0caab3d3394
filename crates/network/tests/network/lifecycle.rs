//! Making, taking over and removing; addresses and ports.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use windlass_network::{Error, Existing, Network, PortMapping, Protocol};

use crate::machine::{HOST, Machine, NEIGHBOUR, Server, Task, ask, closed, on_machine, sh, within};

/// All that a network could leave behind.
fn traces(machine: &Machine) -> String {
    let folder = machine.folder.path().display();
    let files = sh(&format!("find {folder} -mindepth 2 | sort"));
    let mounts = sh(&format!(
        "grep -F {folder} /proc/self/mountinfo | cut -d' ' -f5 | sort"
    ));
    let links =
        sh("ip -o link | cut -d: -f2; ip addr | grep inet | sed 's, tentative,,'; ip route");
    let rules = sh(
        "nft list ruleset; cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ip_local_reserved_ports; ss -Hltnu | sort",
    );
    format!("{files}{mounts}{links}{rules}")
}

#[test]
fn down_leaves_nothing() {
    on_machine(|machine| async move {
        std::fs::create_dir(machine.folder.path().join("test")).expect("folder");
        let before = traces(&machine);
        let network = machine.network().await;
        let web = Task::start(&network, "web", &[80]).await;
        network.create_namespace("none").await.expect("namespace");
        network
            .publish(&[web.mapping(Protocol::Tcp, 8080, 80)])
            .await
            .expect("publishes");
        drop(web);
        assert_ne!(traces(&machine), before);
        network.down().await.expect("goes down");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(traces(&machine), before);
    });
}

#[test]
fn what_carries_the_name_is_removed_without_opening_the_network() {
    on_machine(|machine| async move {
        std::fs::create_dir(machine.folder.path().join("test")).expect("folder");
        let before = traces(&machine);
        let options = machine.options("test");
        let network = machine.network().await;
        let web = Task::start(&network, "web", &[80]).await;
        network.create_namespace("none").await.expect("namespace");
        let remove = || Network::remove(options.installation.clone(), options.run_dir.clone());
        let refused = remove().await;
        assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
        drop(web);
        drop(network);
        // The network's tasks end with it, each at its next pause.
        while let Err(Error::Locked { .. }) = remove().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(traces(&machine), before);
        // A range that overlaps is no hindrance, and neither is that nothing is there.
        remove().await.expect("nothing is left to remove");
        assert_eq!(traces(&machine), before);
    });
}

#[test]
fn two_installations_do_not_disturb_each_other() {
    on_machine(|machine| async move {
        let network = machine.network().await;
        let web = Task::start(&network, "web", &[80]).await;
        network
            .publish(&[web.mapping(Protocol::Tcp, 8080, 80)])
            .await
            .expect("publishes");
        // Its id begins with the other's.
        let mut options = machine.options("test2");
        let refused = Network::open(options.clone()).await;
        assert!(
            matches!(&refused, Err(Error::SubnetOverlap { interface, .. }) if interface == "wltest"),
            "{refused:?}"
        );
        options.subnet = "10.78.0.0/16".parse().expect("valid");
        let second = Network::open(options).await.expect("opens");
        let other = Task::start(&second, "web", &[80]).await;
        let taken = second
            .publish(&[other.mapping(Protocol::Tcp, 8080, 80)])
            .await;
        assert!(
            matches!(taken, Err(Error::PortInUse { port: 8080, .. })),
            "{taken:?}"
        );
        second
            .publish(&[other.mapping(Protocol::Tcp, 8081, 80)])
            .await
            .expect("publishes");
        let neighbour = Some(&*machine.neighbour);
        assert!(ask(neighbour, ([192, 0, 2, 2], 8080)).is_ok());
        assert!(ask(neighbour, ([192, 0, 2, 2], 8081)).is_ok());
        assert!(
            ask(Some(&other.path), ([192, 0, 2, 2], 8080)).is_ok(),
            "by its published port"
        );
        assert!(closed(Some(&other.path), web.at(80)), "not by its address");
        drop(other);
        second.down().await.expect("goes down");
        assert!(
            ask(neighbour, ([192, 0, 2, 2], 8080)).is_ok(),
            "still there"
        );
        let listed = sh("nft list ruleset; ip -o link");
        assert!(!listed.contains("test2"), "{listed}");
    });
}

#[test]
fn a_restarted_agent_takes_over() {
    on_machine(|machine| async move {
        let network = machine.network().await;
        let web = Task::start(&network, "web", &[80]).await;
        let ports = network
            .publish(&[web.mapping(Protocol::Tcp, 0, 80)])
            .await
            .expect("publishes");
        network
            .create_namespace("forgotten")
            .await
            .expect("namespace");
        network.attach("forgotten", None).await.expect("attaches");
        let locked = Network::open(machine.options("test")).await;
        assert!(matches!(locked, Err(Error::Locked { .. })), "{locked:?}");
        drop(network);
        let published = SocketAddr::from(([192, 0, 2, 2], ports[0].host_port));
        let neighbour = Some(&*machine.neighbour);
        assert!(ask(neighbour, published).is_ok(), "works without an agent");
        // The sockets of the first are closed by its runtime, somewhat later.
        while TcpListener::bind(("127.0.0.1", ports[0].host_port)).is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }

        let mut options = machine.options("test");
        options.sandboxes = vec![Existing {
            namespace: "web".into(),
            attached: Some(web.attached.clone()),
            ports: ports.clone(),
        }];
        let network = Network::open(options).await.expect("opens");
        assert!(ask(neighbour, published).is_ok());
        assert!(ask(None, ([127, 0, 0, 1], ports[0].host_port)).is_ok());
        assert!(!machine.folder.path().join("test/netns/forgotten").exists());
        network.settled().await;
        let links = sh("ip -o link");
        assert!(
            links.contains("wltest-2") && !links.contains("wltest-3"),
            "{links}"
        );
        // The namespace is entered again for what is attached later.
        network.create_namespace("later").await.expect("namespace");
        drop(network);
        let mut options = machine.options("test");
        let namespaces = ["web", "later"].map(|namespace| Existing {
            namespace: namespace.into(),
            attached: (namespace == "web").then(|| web.attached.clone()),
            ports: Vec::new(),
        });
        options.sandboxes = namespaces.to_vec();
        let network = Network::open(options).await.expect("opens");
        let attached = network.attach("later", None).await.expect("attaches");
        assert_ne!(attached.address, web.attached.address);
        let again = network.attach("later", None).await;
        assert!(matches!(again, Err(Error::AlreadyAttached(_))), "{again:?}");
        assert!(
            closed(neighbour, published),
            "what is not named is not published"
        );
    });
}

#[test]
fn an_overlapping_range_is_refused() {
    on_machine(|machine| async move {
        for (route, named) in [
            (
                "ip route add 10.77.4.0/24 via 192.0.2.9",
                "route 10.77.4.0/24",
            ),
            ("ip route add 10.0.0.0/8 via 192.0.2.9", "route 10.0.0.0/8"),
            ("ip addr add 10.77.9.9/32 dev h0", "address 10.77.9.9/32"),
        ] {
            sh(route);
            let refused = Network::open(machine.options("test"))
                .await
                .expect_err("overlaps");
            let text = refused.to_string();
            assert!(text.contains(named), "{text}");
            assert!(text.contains("h0") && text.contains("--subnet"), "{text}");
            sh(&route.replace(" add ", " del "));
        }
        assert!(!sh("ip -o link").contains("wltest"), "nothing was made");
        machine.network().await;
    });
}

#[test]
fn host_ports_conflict_with_programs_and_tasks() {
    on_machine(|machine| async move {
        let network = machine.network().await;
        let web = Task::start(&network, "web", &[80]).await;
        let taken = TcpListener::bind("127.0.0.1:9000").expect("binds");
        let refused = network
            .publish(&[
                web.mapping(Protocol::Tcp, 9001, 80),
                web.mapping(Protocol::Tcp, 9000, 80),
            ])
            .await;
        assert!(
            matches!(refused, Err(Error::PortInUse { port: 9000, .. })),
            "{refused:?}"
        );
        drop(taken);
        let both = [
            web.mapping(Protocol::Tcp, 9001, 80),
            web.mapping(Protocol::Tcp, 9000, 80),
        ];
        network
            .publish(&both)
            .await
            .expect("nothing was left of the first try");
        let refused = network.publish(&both[..1]).await;
        assert!(
            matches!(refused, Err(Error::PortInUse { port: 9001, .. })),
            "{refused:?}"
        );
        assert!(
            TcpListener::bind("0.0.0.0:9000").is_err(),
            "programs get a conflict too"
        );
        UdpSocket::bind("0.0.0.0:9000").expect("the other protocol is free");
        network.unpublish(&both).await.expect("unpublishes");
        assert!(closed(Some(&machine.neighbour), ([192, 0, 2, 2], 9000)));
        assert!(matches!(
            network.unpublish(&both).await,
            Err(Error::Teardown { .. })
        ));
        network.publish(&both).await.expect("again");
        let target = "10.77.0.99:80".parse().expect("address");
        let foreign = PortMapping {
            target,
            ..web.mapping(Protocol::Tcp, 9002, 80)
        };
        assert!(matches!(
            network.publish(&[foreign]).await,
            Err(Error::Target(_))
        ));
    });
}

#[test]
fn dynamic_ports_go_round() {
    on_machine(|machine| async move {
        sh("echo 40000 40002 > /proc/sys/net/ipv4/ip_local_port_range");
        let network = machine.network().await;
        let web = Task::start(&network, "web", &[80]).await;
        let _taken = TcpListener::bind("0.0.0.0:40001").expect("binds");
        let any = web.mapping(Protocol::Tcp, 0, 80);
        let given = network.publish(&[any, any]).await.expect("publishes");
        let ports: Vec<_> = given.iter().map(|mapping| mapping.host_port).collect();
        assert_eq!(ports, [40000, 40002]);
        let none = network.publish(&[any]).await;
        assert!(
            matches!(
                none,
                Err(Error::NoPort {
                    first: 40000,
                    last: 40002,
                    ..
                })
            ),
            "{none:?}"
        );
        network.unpublish(&given[..1]).await.expect("unpublishes");
        let again = network.publish(&[any]).await.expect("publishes");
        assert_eq!(again[0].host_port, 40000);
    });
}

#[test]
fn a_released_address_waits_for_its_link_and_connections() {
    on_machine(|machine| async move {
        let mut options = machine.options("test");
        options.subnet = "10.77.0.0/28".parse().expect("valid");
        let network = Network::open(options).await.expect("opens");
        let first = Task::start(&network, "first", &[5000]).await;
        network
            .publish(&[first.mapping(Protocol::Udp, 5000, 5000)])
            .await
            .expect("publishes");
        let neighbour = Some(&*machine.neighbour);
        // A client that keeps its port, so that its datagrams are one tracked connection.
        let talk = || {
            within(Some(&machine.neighbour.clone()), || {
                let socket = UdpSocket::bind("0.0.0.0:6000").expect("binds");
                socket
                    .set_read_timeout(Some(Duration::from_millis(400)))
                    .expect("sets");
                socket.send_to(b"?", "192.0.2.2:5000").expect("sends");
                let mut buffer = [0; 100];
                let length = socket.recv(&mut buffer).ok()?;
                Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
            })
        };
        // A new cable may lose the first datagrams.
        let said = (0..40).find_map(|_| talk());
        assert_eq!(said, Some(format!("first {NEIGHBOUR}")));
        let address = first.attached.address;
        let held = std::fs::File::open(&first.path).expect("opens");
        drop(first);
        network.release("first").await.expect("releases");
        network.release("first").await.expect("a second time too");
        assert_eq!(talk(), None, "the port leads nowhere");
        network.create_namespace("second").await.expect("namespace");
        let early = network.attach("second", Some(address)).await;
        assert!(matches!(early, Err(Error::Address { .. })), "{early:?}");
        drop(held);
        network.settled().await;
        network
            .attach("second", Some(address))
            .await
            .expect("free now");
        let path = machine.folder.path().join("test/netns/second");
        let _server = Server::start(Some(&path), 5000, "second");
        assert_eq!(
            talk(),
            None,
            "datagrams of the old connection do not reach the new owner"
        );
        assert!(closed(neighbour, (address, 5000)));
    });
}

#[test]
fn names_are_forwarded_to_the_hosts_server() {
    on_machine(|machine| async move {
        let conf = machine.folder.path().join("resolv.conf");
        std::fs::write(&conf, "nameserver 127.0.0.53\nsearch lan\n").expect("writes");
        let mut options = machine.options("test");
        options.resolv_conf = conf.clone();
        let network = Network::open(options).await.expect("opens");
        let task = Task::start(&network, "task", &[]).await;
        let told = network.resolv_conf().await.expect("reads");
        assert_eq!(told.to_string(), "nameserver 10.77.0.1\nsearch lan\n");
        // The server answers with what it likes, if it begins as the question does.
        let _stub = Server::start_at(None, SocketAddr::from(([127, 0, 0, 53], 53)), "?!");
        let gateway = (Ipv4Addr::new(10, 77, 0, 1), 53);
        let over_tcp = ask(Some(&task.path), gateway).expect("over TCP");
        assert_eq!(over_tcp, "?! 127.0.0.1");
        let over_udp = within(Some(&task.path), move || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("binds");
            socket
                .set_read_timeout(Some(Duration::from_secs(5)))
                .expect("sets");
            socket.send_to(b"?! question", gateway).expect("sends");
            let mut buffer = [0; 100];
            let length = socket.recv(&mut buffer).expect("answers");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        });
        assert_eq!(over_udp, "?! 127.0.0.1");
        std::fs::write(&conf, format!("nameserver {HOST}\n")).expect("writes");
        let told = network.resolv_conf().await.expect("reads");
        assert_eq!(
            told.to_string(),
            "nameserver 10.77.0.1\n",
            "the host's own address"
        );
        std::fs::write(&conf, format!("nameserver {NEIGHBOUR}\n")).expect("writes");
        let told = network.resolv_conf().await.expect("reads");
        assert_eq!(told.to_string(), format!("nameserver {NEIGHBOUR}\n"));
    });
}

#[test]
fn bad_names_are_refused() {
    on_machine(|machine| async move {
        let network = machine.network().await;
        for name in ["", "..", "a/b", "\"; flush ruleset; \"", "a\nb"] {
            let refused = network.create_namespace(name).await;
            assert!(
                matches!(refused, Err(Error::NamespaceName(_))),
                "{refused:?}"
            );
        }
        network.create_namespace("twice").await.expect("namespace");
        let refused = network.create_namespace("twice").await;
        assert!(
            matches!(refused, Err(Error::NamespaceExists(_))),
            "{refused:?}"
        );
        let refused = network.attach("absent", None).await;
        assert!(matches!(refused, Err(Error::NoNamespace(_))), "{refused:?}");
    });
}

#[test]
fn networks_made_ahead_are_like_others() {
    on_machine(|machine| async move {
        std::fs::create_dir(machine.folder.path().join("test")).expect("folder");
        let before = traces(&machine);
        let mut options = machine.options("test");
        options.spares = 2;
        let network = Network::open(options.clone()).await.expect("opens");
        let links = || {
            let all = sh("ip -o link");
            all.matches(" wltest-").count()
        };
        let become_many = async |wanted: usize| {
            for _ in 0..2_000 {
                if links() == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            panic!("{} links, not {wanted}", links());
        };
        become_many(2).await;
        let mut tasks = Vec::new();
        for name in ["first", "second", "third", "fourth"] {
            let (handle, attached) = network.create(name).await.expect("creates");
            let refused = network.create(name).await;
            assert!(
                matches!(refused, Err(Error::NamespaceExists(_))),
                "{refused:?}"
            );
            let server = Server::start(Some(&handle.path), 80, name);
            tasks.push((handle, attached, server));
        }
        for (_, attached, _) in &tasks {
            for (handle, _, _) in &tasks {
                let answer = ask(Some(&handle.path), (attached.address, 80));
                assert!(
                    answer.is_ok(),
                    "{} to {attached:?}: {answer:?}",
                    handle.name
                );
            }
        }
        // Four are used and two are ready again.
        become_many(6).await;
        // A dead agent's spares go by themselves, and their addresses come back.
        drop(network);
        let existing = tasks.iter().map(|(handle, attached, _)| Existing {
            namespace: handle.name.clone(),
            attached: Some(attached.clone()),
            ports: Vec::new(),
        });
        options.sandboxes = existing.collect();
        options.spares = 0;
        let mut network = Network::open(options.clone()).await;
        while matches!(network, Err(Error::Locked { .. })) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            network = Network::open(options.clone()).await;
        }
        let network = network.expect("opens");
        network.settled().await;
        assert_eq!(links(), 4);
        drop(tasks);
        network.down().await.expect("goes down");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(traces(&machine), before);

        options.spares = 3;
        options.sandboxes = Vec::new();
        let network = Network::open(options.clone()).await.expect("opens");
        become_many(3).await;
        let ended = tokio::time::timeout(windlass_network::limits::DOWN_WAIT, network.down());
        ended.await.expect("waits for nothing").expect("goes down");
        assert_eq!(traces(&machine), before, "with spares alone");
        let network = Network::open(options).await.expect("opens");
        network.create("one").await.expect("creates");
        network.down().await.expect("goes down");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(traces(&machine), before, "with spares under way");
    });
}
