//! Who reaches whom.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use windlass_network::{Error, PortMapping, Protocol};

use crate::machine::{HOST, NEIGHBOUR, Server, Task, ask, ask_udp, closed, on_machine, sh};

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("address"), port)
}

#[test]
fn published_ports_are_reached_from_everywhere() {
    on_machine(|machine| async move {
        let network = machine.network().await;
        let web = Task::start(&network, "web", &[80]).await;
        let other = Task::start(&network, "other", &[80]).await;
        let neighbour = Some(machine.neighbour.as_path());
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let mapping = web.mapping(protocol, 8080, 80);
            network.publish(&[mapping]).await.expect("publishes");
            let ask = if protocol == Protocol::Tcp {
                ask
            } else {
                ask_udp
            };
            let gateway = network.gateway().to_string();
            for (who, from, to, answer) in [
                ("host by 127.0.0.1", None, "127.0.0.1", "web 10.77.0.1"),
                ("host by ::1", None, "::1", "web 10.77.0.1"),
                ("host by its own address", None, HOST, "web 192.0.2.2"),
                ("host by the bridge", None, &*gateway, "web 10.77.0.1"),
                ("neighbour", neighbour, HOST, "web 192.0.2.9"),
                ("other container", Some(&*other.path), HOST, "web 10.77.0.1"),
                (
                    "other container by the bridge",
                    Some(&*other.path),
                    &*gateway,
                    "web 10.77.0.1",
                ),
                (
                    "the container itself",
                    Some(&*web.path),
                    HOST,
                    "web 10.77.0.1",
                ),
            ] {
                let said = ask(from, at(to, 8080));
                assert_eq!(said.ok().as_deref(), Some(answer), "{who} {protocol}");
            }
        }
        let direct = ask(Some(&other.path), web.at(80)).expect("container to container");
        assert_eq!(direct, format!("web {}", other.attached.address));
    });
}

#[test]
fn what_is_not_published_is_closed_to_others() {
    on_machine(|machine| async move {
        let network = machine.network().await;
        let web = Task::start(&network, "web", &[80, 81]).await;
        network
            .publish(&[web.mapping(Protocol::Tcp, 8080, 80)])
            .await
            .expect("publishes");
        let loopback = PortMapping {
            host_address: Some(Ipv4Addr::LOCALHOST),
            ..web.mapping(Protocol::Tcp, 8081, 80)
        };
        network.publish(&[loopback]).await.expect("publishes");
        let neighbour = Some(machine.neighbour.as_path());
        let file = machine.neighbour.display();
        // The neighbour may have any route, and does not mind about martians.
        sh(&format!(
            "nsenter --net={file} sh -ec '
             ip route add 10.77.0.0/16 via {HOST}
             echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet
             ip route del local 127.0.0.0/8 table local
             ip route del local 127.0.0.1 table local
             ip addr del 127.0.0.1/8 dev lo || true
             ip route add 127.0.0.0/8 via {HOST} src {NEIGHBOUR}'"
        ));
        let secret = Server::start_at(None, at("127.0.0.1", 9000), "secret");
        assert!(
            ask(None, at("127.0.0.1", 8081)).is_ok(),
            "loopback mapping from the host"
        );
        assert!(
            ask(None, web.at(81)).is_ok(),
            "the host itself reaches its containers"
        );
        for (what, to) in [
            ("published container port, by a static route", web.at(80)),
            ("unpublished container port, by a static route", web.at(81)),
            ("unpublished host port", at(HOST, 8082)),
            ("loopback mapping by the host's address", at(HOST, 8081)),
            ("loopback mapping by 127.0.0.1", at("127.0.0.1", 8081)),
            ("loopback service of the host", at("127.0.0.1", 9000)),
        ] {
            assert!(closed(neighbour, to), "{what} is open");
        }
        // The same with a host that lets loopback addresses through, as other programs ask for.
        sh("echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet");
        assert!(closed(neighbour, at("127.0.0.1", 9000)), "guarded");
        assert!(
            ask(neighbour, at(HOST, 8080)).is_ok(),
            "the published one is open all the same"
        );
        drop(secret);
    });
}

#[test]
fn containers_reach_the_outside_and_little_of_the_host() {
    on_machine(|machine| async move {
        let mut options = machine.options("test");
        options.metadata_port = Some(7000);
        let network = windlass_network::Network::open(options)
            .await
            .expect("opens");
        let task = Task::start(&network, "task", &[53]).await;
        let from = Some(&*task.path);
        let _everywhere = Server::start(None, 9000, "host");
        let _secret = Server::start_at(None, at("127.0.0.1", 9001), "secret");
        let _metadata = Server::start_at(None, (network.gateway(), 7000).into(), "metadata");
        let _outside = Server::start(Some(&machine.neighbour), 53, "outside");
        let file = machine.neighbour.display();
        sh(&format!(
            "nsenter --net={file} ip addr add 169.254.169.254/32 dev n0"
        ));
        sh("ip route add 169.254.169.254/32 dev h0");
        // A container's own published port 53 must not catch what others ask elsewhere.
        network
            .publish(&[task.mapping(Protocol::Tcp, 5353, 53)])
            .await
            .expect("publishes");

        assert_eq!(
            ask(from, at(NEIGHBOUR, 53)).expect("outside"),
            format!("outside {HOST}")
        );
        assert_eq!(
            ask(from, at("169.254.170.2", 80)).expect("metadata"),
            format!("metadata {}", task.attached.address),
            "with the asker's own address, by which it is known"
        );
        assert!(
            ask(None, at("169.254.169.254", 53)).is_ok(),
            "the host reaches it"
        );
        for (what, to) in [
            ("instance metadata of the cloud", at("169.254.169.254", 53)),
            (
                "host service by the bridge",
                (network.gateway(), 9000).into(),
            ),
            ("host service by the host's address", at(HOST, 9000)),
            (
                "metadata port without its address",
                (network.gateway(), 7000).into(),
            ),
            ("host's loopback", at("127.0.0.1", 9001)),
        ] {
            assert!(closed(from, to), "{what} is open");
        }
    });
}

#[test]
fn a_published_port_does_not_catch_other_machines() {
    on_machine(|machine| async move {
        let network = machine.network().await;
        let web = Task::start(&network, "web", &[443]).await;
        let other = Task::start(&network, "other", &[]).await;
        let _outside = Server::start(Some(&machine.neighbour), 443, "outside");
        network
            .publish(&[web.mapping(Protocol::Tcp, 443, 443)])
            .await
            .expect("publishes");
        let said = ask(Some(&other.path), at(NEIGHBOUR, 443)).expect("answers");
        assert_eq!(said, format!("outside {HOST}"));
    });
}

#[test]
fn one_address_of_the_host() {
    on_machine(|machine| async move {
        sh("ip addr add 192.0.2.3/24 dev h0");
        let network = machine.network().await;
        let a = Task::start(&network, "a", &[80]).await;
        let b = Task::start(&network, "b", &[80]).await;
        let second: Ipv4Addr = "192.0.2.3".parse().expect("address");
        let on = |task: &Task, host_address| PortMapping {
            host_address: Some(host_address),
            ..task.mapping(Protocol::Tcp, 80, 80)
        };
        let first: Ipv4Addr = HOST.parse().expect("address");
        network
            .publish(&[on(&a, first), on(&b, second)])
            .await
            .expect("publishes");
        let neighbour = Some(&*machine.neighbour);
        assert_eq!(
            ask(neighbour, (first, 80)).expect("a"),
            format!("a {NEIGHBOUR}")
        );
        assert_eq!(
            ask(neighbour, (second, 80)).expect("b"),
            format!("b {NEIGHBOUR}")
        );
        let everywhere = a.mapping(Protocol::Tcp, 80, 80);
        let refused = network.publish(&[everywhere]).await;
        assert!(
            matches!(refused, Err(Error::PortInUse { port: 80, .. })),
            "{refused:?}"
        );
        let foreign = on(&a, Ipv4Addr::new(203, 0, 113, 1));
        let refused = network.publish(&[foreign]).await;
        assert!(
            matches!(refused, Err(Error::HostAddress { .. })),
            "{refused:?}"
        );
    });
}

#[test]
fn addresses_cannot_be_borrowed() {
    on_machine(|machine| async move {
        let network = machine.network().await;
        let web = Task::start(&network, "web", &[80]).await;
        let thief = Task::start(&network, "thief", &[]).await;
        let victim = Task::start(&network, "victim", &[]).await;
        assert!(ask(Some(&victim.path), web.at(80)).is_ok());
        let (file, stolen) = (thief.path.display(), victim.attached.address);
        sh(&format!(
            "nsenter --net={file} ip addr replace {stolen}/24 dev eth0"
        ));
        sh(&format!(
            "nsenter --net={file} ip addr del {}/24 dev eth0",
            thief.attached.address
        ));
        assert!(
            closed(Some(&thief.path), web.at(80)),
            "another task's address"
        );
        // Its questions about neighbours were not heard either.
        assert!(
            ask(Some(&victim.path), web.at(80)).is_ok(),
            "the owner is not disturbed"
        );
        let own = thief.attached.address;
        sh(&format!(
            "nsenter --net={file} sh -ec 'ip addr flush dev eth0; ip addr add {own}/24 dev eth0
             ip link set eth0 address 02:57:00:00:00:99'"
        ));
        assert!(
            closed(Some(&thief.path), web.at(80)),
            "another hardware address"
        );
    });
}

#[test]
fn containers_have_no_ipv6_but_loopback() {
    on_machine(|machine| async move {
        let network = machine.network().await;
        let task = Task::start(&network, "task", &[]).await;
        let own = sh(&format!(
            "nsenter --net={} ip -6 addr show",
            task.path.display()
        ));
        assert!(own.contains("::1/128") && !own.contains("fe80"), "{own}");
        let hosts = sh("ip -6 addr show");
        assert!(!hosts.contains("wltest"), "{hosts}");
        let localhost = SocketAddr::from((Ipv6Addr::LOCALHOST, 4000));
        let _server = Server::start_at(Some(&task.path), localhost, "inside");
        assert!(ask(Some(&task.path), localhost).is_ok());
    });
}

#[test]
fn the_machine_does_not_become_a_router() {
    on_machine(|machine| async move {
        let far = machine.folder.path().join("far");
        std::fs::write(&far, "").expect("file");
        let (file, near) = (far.display(), machine.neighbour.display());
        sh(&format!(
            "unshare --net={file} true
             ip link add h1 type veth peer name f0 netns {file}
             ip addr add 198.51.100.1/24 dev h1; ip link set h1 up
             nsenter --net={file} sh -ec 'ip link set lo up; ip link set f0 up
               ip addr add 198.51.100.9/24 dev f0; ip route add default via 198.51.100.1'
             nsenter --net={near} ip route add 198.51.100.0/24 via {HOST}"
        ));
        let _far = Server::start(Some(&far), 80, "far");
        let neighbour = Some(&*machine.neighbour);
        assert!(
            closed(neighbour, at("198.51.100.9", 80)),
            "forwarding is off"
        );
        let network = machine.network().await;
        let task = Task::start(&network, "task", &[]).await;
        assert!(
            closed(neighbour, at("198.51.100.9", 80)),
            "and stays so for others"
        );
        assert!(
            ask(Some(&task.path), at("198.51.100.9", 80)).is_ok(),
            "but not for tasks"
        );
        drop(network);
        let network = machine.network().await;
        assert!(
            closed(neighbour, at("198.51.100.9", 80)),
            "also after a restart"
        );
        network.down().await.expect("goes down");
        assert!(
            closed(neighbour, at("198.51.100.9", 80)),
            "also after the end"
        );
        drop(_far);
        sh(&format!("umount {file}"));
    });
}
