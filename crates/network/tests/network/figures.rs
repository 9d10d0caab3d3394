//! Times of the steps of a task's start and stop. Prints figures, asserts nothing about them:
//! `cargo test -p windlass-network --release -- --ignored --nocapture figures`.

use std::time::{Duration, Instant};

use windlass_network::{PortMapping, Protocol};

use crate::machine::on_machine;

const TASKS: usize = 200;

#[test]
#[ignore = "prints figures"]
fn figures() {
    on_machine(|machine| async move {
        let network = machine.network().await;
        let mut steps: [Vec<Duration>; 5] = Default::default();
        for number in 0..TASKS {
            let name = format!("task{number}");
            let start = Instant::now();
            network.create_namespace(&name).await.expect("namespace");
            let created = start.elapsed();
            let attached = network.attach(&name, None).await.expect("attaches");
            let joined = start.elapsed();
            let mapping = PortMapping {
                protocol: Protocol::Tcp,
                host_address: None,
                host_port: 0,
                target: std::net::SocketAddrV4::new(attached.address, 80),
            };
            network.publish(&[mapping]).await.expect("publishes");
            let all = start.elapsed();
            let times = [created, joined - created, all - joined, all];
            for (step, time) in steps.iter_mut().zip(times) {
                step.push(time);
            }
        }
        let ending = Instant::now();
        for number in 0..TASKS {
            let start = Instant::now();
            network
                .release(&format!("task{number}"))
                .await
                .expect("releases");
            steps[4].push(start.elapsed());
        }
        network.settled().await;
        let settled = ending.elapsed();
        let names = [
            "create_namespace",
            "attach",
            "publish",
            "all three",
            "release",
        ];
        for (name, mut times) in names.into_iter().zip(steps) {
            times.sort();
            let at = |percent: usize| times[(times.len() - 1) * percent / 100];
            println!(
                "{name:>16}: p50 {:?} p95 {:?} max {:?}",
                at(50),
                at(95),
                at(100)
            );
        }
        println!("{TASKS} released and settled in {settled:?}");
        network.down().await.expect("goes down");
    });
}
