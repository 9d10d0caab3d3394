//! The rules in the kernel: as `nft` lists them, and after somebody flushed them.

use std::time::{Duration, Instant};

use windlass_network::{Network, Protocol};

use crate::machine::{HOST, Task, ask, closed, on_machine, sh};

#[test]
fn nft_reads_the_tables_as_meant() {
    on_machine(|machine| async move {
        let mut options = machine.options("test");
        options.metadata_port = Some(7000);
        let network = Network::open(options).await.expect("opens");
        let web = Task::start(&network, "web", &[]).await;
        network
            .publish(&[web.mapping(Protocol::Udp, 5000, 53)])
            .await
            .expect("publishes");
        let listed =
            sh("nft -n list ruleset | sed 's/counter packets [0-9]* bytes [0-9]*/counter/'");
        for line in [
            "table ip windlass_test {",
            "type inet_proto . inet_service : ipv4_addr . inet_service",
            "17 . 5000 : 10.77.0.2 . 53",
            "iifname != \"lo\" ip daddr 127.0.0.0/8 counter drop",
            "iifname @bridges ip daddr 169.254.170.2 tcp dport 80 dnat to 10.77.0.1:7000",
            "fib daddr type 2 dnat ip to meta l4proto . ip daddr . th dport map @ports_at",
            "fib daddr type 2 dnat ip to meta l4proto . th dport map @ports",
            "ip saddr 10.77.0.0/16 oifname != @bridges masquerade",
            "ip saddr 10.77.0.0/16 oifname @bridges ct status 0x20 masquerade",
            "iifname @bridges ip daddr 169.254.0.0/16 counter drop",
            "oifname @bridges ct status 0x20 accept",
            "oifname @bridges counter drop",
            "elements = { \"wltest\" }",
            "ip daddr 10.77.0.1 udp dport 53 accept",
            "table bridge windlass_test {",
            "type ifname . ether_addr . ipv4_addr",
            "\"wltest-2\" . 02:57:0a:4d:00:02 . 10.77.0.2",
            "iifname != \"wltest-*\" accept",
        ] {
            assert!(listed.contains(line), "{line}\nis not in\n{listed}");
        }
        network.release("web").await.expect("releases");
        let listed = sh("nft -n list ruleset");
        assert!(
            !listed.contains("5000") && !listed.contains("wltest-2"),
            "{listed}"
        );
    });
}

#[test]
fn rules_survive_a_flush() {
    on_machine(|machine| async move {
        let network = machine.network().await;
        let web = Task::start(&network, "web", &[80, 81]).await;
        network
            .publish(&[web.mapping(Protocol::Tcp, 8080, 80)])
            .await
            .expect("publishes");
        let rules = "nft list ruleset | sed 's/counter packets [0-9]* bytes [0-9]*/counter/'";
        let before = sh(rules);
        for damage in [
            "nft flush ruleset",
            "nft delete table ip windlass_test",
            "nft delete table bridge windlass_test",
            "nft flush chain ip windlass_test forward",
            "nft flush set bridge windlass_test links",
            "nft add rule ip windlass_test input accept",
        ] {
            let start = Instant::now();
            sh(damage);
            while sh(rules) != before {
                let waited = start.elapsed();
                assert!(
                    waited < Duration::from_secs(20),
                    "{damage}\n{}\nwas\n{before}",
                    sh(rules)
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let said = ask(Some(&machine.neighbour), ([192, 0, 2, 2], 8080));
            assert!(said.is_ok(), "{damage}: {said:?}");
        }
        // What is published after a flush is kept, and what was published before too.
        sh("nft flush ruleset");
        network
            .publish(&[web.mapping(Protocol::Tcp, 8081, 81)])
            .await
            .expect("publishes");
        sh("nft flush ruleset");
        let start = Instant::now();
        while sh(rules).matches(" : 10.77.0.2 . ").count() != 2 {
            assert!(start.elapsed() < Duration::from_secs(20), "{}", sh(rules));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn flushes_leave_no_container_open() {
    on_machine(|machine| async move {
        let network = machine.network().await;
        let web = Task::start(&network, "web", &[81]).await;
        let file = machine.neighbour.display();
        sh(&format!(
            "nsenter --net={file} ip route add 10.77.0.0/16 via {HOST}"
        ));
        for _ in 0..20 {
            sh("nft flush ruleset");
        }
        let start = Instant::now();
        while !closed(Some(&machine.neighbour), web.at(81)) {
            assert!(start.elapsed() < Duration::from_secs(20), "still open");
        }
        for _ in 0..5 {
            assert!(closed(Some(&machine.neighbour), web.at(81)), "open again");
        }
    });
}

#[test]
fn chains_of_others_that_drop_are_named() {
    on_machine(|machine| async move {
        let network = machine.network().await;
        assert_eq!(network.foreign_drops().await.expect("lists"), [""; 0]);
        let hook = "type filter hook forward priority 0; policy";
        sh(&format!(
            "nft 'add table ip filter; add chain ip filter FORWARD {{ {hook} drop; }}'
             nft 'add table inet calm; add chain inet calm forward {{ {hook} accept; }}'
             nft 'add table ip6 six; add chain ip6 six forward {{ {hook} drop; }}'"
        ));
        let found = network.foreign_drops().await.expect("lists");
        assert_eq!(found, ["ip filter FORWARD"]);
    });
}
