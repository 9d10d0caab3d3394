//! Published ports in the kernel's range for outgoing connections.

use windlass_network::{Existing, Network, Protocol};

use crate::machine::{Task, on_machine, sh};

/// An operator's own: more than fits into the first read of a file that tells no size.
const OPERATORS: &str = "20000,20002,20004,20006,20008,20010,20012,20014";

fn reserved() -> String {
    sh("cat /proc/sys/net/ipv4/ip_local_reserved_ports")
        .trim()
        .to_owned()
}

#[test]
fn the_kernel_gives_no_published_port_away() {
    on_machine(|machine| async move {
        // The operator's own, one of which is asked for later.
        sh(&format!(
            "echo {OPERATORS},40000-40001 > /proc/sys/net/ipv4/ip_local_reserved_ports"
        ));
        sh("echo 32768 32773 > /proc/sys/net/ipv4/ip_local_port_range");
        let network = machine.network().await;
        let web = Task::start(&network, "web", &[80]).await;
        let dynamic = web.mapping(Protocol::Tcp, 0, 80);
        let given = network
            .publish(&[dynamic, dynamic])
            .await
            .expect("publishes");
        assert_eq!((given[0].host_port, given[1].host_port), (32_768, 32_769));
        let mut asked = vec![web.mapping(Protocol::Udp, 32_768, 80)];
        // Outside of the range nothing has to be reserved.
        asked.push(web.mapping(Protocol::Tcp, 8_080, 80));
        network.publish(&asked).await.expect("publishes");
        assert_eq!(reserved(), format!("{OPERATORS},32768-32769,40000-40001"));

        let mut options = machine.options("other");
        options.subnet = "10.78.0.0/16".parse().expect("valid");
        let second = Network::open(options).await.expect("opens");
        let other = Task::start(&second, "web", &[80]).await;
        let theirs = other.mapping(Protocol::Tcp, 0, 80);
        let theirs = second.publish(&[theirs]).await.expect("publishes");
        assert_eq!(theirs[0].host_port, 32_770);
        network.unpublish(&given[1..]).await.expect("unpublishes");
        // One of two mappings of a port is left.
        network.unpublish(&given[..1]).await.expect("unpublishes");
        assert_eq!(reserved(), format!("{OPERATORS},32768,32770,40000-40001"));

        // An agent that was killed gives nothing back; the next knows what it has to.
        drop(network);
        assert_eq!(reserved(), format!("{OPERATORS},32768,32770,40000-40001"));
        let mut options = machine.options("test");
        options.sandboxes = vec![Existing {
            namespace: "web".into(),
            attached: Some(web.attached.clone()),
            ports: Vec::new(),
        }];
        let network = Network::open(options).await.expect("opens");
        assert_eq!(reserved(), format!("{OPERATORS},32770,40000-40001"));
        let dynamic = network.publish(&[web.mapping(Protocol::Tcp, 0, 80)]).await;
        dynamic.expect("publishes");
        drop((web, other));
        network.down().await.expect("goes down");
        assert_eq!(reserved(), format!("{OPERATORS},32770,40000-40001"));
        drop(second);
        let run_dir = machine.folder.path().join("other");
        let installation = "other".parse().expect("valid");
        // Let the dropped one give its lock back.
        while windlass_network::is_open(&run_dir) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        Network::remove(installation, run_dir)
            .await
            .expect("removes");
        assert_eq!(reserved(), format!("{OPERATORS},40000-40001"));
    });
}

#[test]
fn ports_are_published_where_the_operator_says() {
    on_machine(|machine| async move {
        let mut options = machine.options("test");
        options.publish_address = Some(std::net::Ipv4Addr::LOCALHOST);
        let network = Network::open(options).await.expect("opens");
        let web = Task::start(&network, "web", &[80]).await;
        let given = network
            .publish(&[web.mapping(Protocol::Tcp, 8080, 80)])
            .await
            .expect("publishes");
        assert_eq!(given[0].host_address, Some(std::net::Ipv4Addr::LOCALHOST));
        let rules = sh("nft list ruleset");
        assert!(!rules.contains("8080"), "no rule leads to it: {rules}");
        let listening = sh("ss -Hltn | grep :8080");
        assert!(
            listening.contains("127.0.0.1:8080") && !listening.contains("0.0.0.0:8080"),
            "{listening}"
        );
        drop(web);
        network.down().await.expect("goes down");
    });
}
