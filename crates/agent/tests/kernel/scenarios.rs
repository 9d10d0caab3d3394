//! What is tried, one after the other on one node.

use crate::IMAGE;
use crate::definitions::{assignment, stopped};
use crate::node::{Machine, Node};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};
use windlass_model::container::{
    ContainerDefinition, HealthCheck, LinuxParameters, MountPoint, PortMapping,
};
use windlass_model::definition::NetworkMode;
use windlass_model::id::{Name, TaskId};
use windlass_model::resources::Protocol;
use windlass_model::status::{Health, TaskStatus};
use windlass_model::stop::ReasonName;
use windlass_model::volume::{Volume, VolumeKind};
use windlass_runtime::Runtime;
use windlass_session::Assignment;

pub(crate) async fn all() {
    let machine = Machine::new(IMAGE);
    let mut node = machine.node(0).await;
    awsvpc_serves_and_logs(&machine, &mut node).await;
    bridge_publishes_and_checks_health(&machine, &mut node).await;
    volumes_are_shared(&machine, &mut node).await;
    failures_have_names(&machine, &mut node).await;
    let node = an_agent_dies_and_another_goes_on(&machine, node).await;
    nothing_is_left(machine, node).await;
}

/// A task of busybox containers; every one is changed by its name.
fn task(
    machine: &Machine,
    number: u128,
    mode: NetworkMode,
    text: &str,
    change: impl Fn(&mut ContainerDefinition),
) -> Assignment {
    let mut task = assignment(number << 80 | number, mode, text);
    let mut definition = (*task.definition).clone();
    for container in &mut definition.template.containers {
        container.image = machine.image();
        container.linux_parameters = Some(LinuxParameters {
            init_process_enabled: Some(true),
            ..Default::default()
        });
        change(container);
    }
    definition.template.volumes = vec![Volume {
        name: Name::new("shared").unwrap(),
        kind: VolumeKind::Scratch { host_given: false },
    }];
    task.definition = definition.into();
    task
}

fn shell(script: &str) -> Option<Vec<String>> {
    Some(vec!["sh".into(), "-c".into(), script.into()])
}

fn say(text: &str) {
    println!("kernel: {text}");
}

/// What an HTTP server answers.
fn get(address: &str) -> String {
    let begun = Instant::now();
    loop {
        let answer = TcpStream::connect(address).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text).map(|_| text)
        });
        match answer {
            Ok(text) if !text.is_empty() => return text,
            _ if begun.elapsed() > Duration::from_secs(10) => panic!("{address}: {answer:?}"),
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn log(node: &Node, task: TaskId, container: &str) -> Vec<String> {
    let name = Name::new(container).unwrap();
    let records = node
        .agent
        .logs()
        .open(task, &name, None)
        .unwrap()
        .read()
        .unwrap();
    records.into_iter().map(|record| record.text).collect()
}

const SERVE: &str =
    "mkdir -p /www; hostname > /www/index.html; echo ready; exec httpd -f -p 80 -h /www";

async fn awsvpc_serves_and_logs(machine: &Machine, node: &mut Node) {
    let task = task(machine, 1, NetworkMode::Awsvpc, "web!", |web| {
        web.command = shell(&format!(
            "cat /etc/hosts /etc/hostname; env; ulimit -n; {SERVE}"
        ));
    });
    let id = task.spec.id;
    let begun = Instant::now();
    node.assign(&task).await;
    let running = node.until_status(id, TaskStatus::Running).await;
    say(&format!(
        "awsvpc: RUNNING reported {:?} after the assignment",
        begun.elapsed()
    ));
    let address = running.attachment.unwrap().private_ipv4.unwrap();
    let name = format!(
        "ip-{}.eu-central-1.compute.internal",
        address.replace('.', "-")
    );
    assert!(get(&format!("{address}:80")).contains(&name));
    let log = log(node, id, "web");
    let short = name.split('.').next().unwrap();
    assert!(
        log.contains(&format!("{address}\t{name} {short}")),
        "{log:?}"
    );
    assert!(
        log.contains(&format!("HOSTNAME={name}")) && log.contains(&"1024".to_owned()),
        "{log:?}"
    );
    let begun = Instant::now();
    node.assign(&stopped(&task)).await;
    let end = node.until_status(id, TaskStatus::Stopped).await;
    say(&format!(
        "awsvpc: STOPPED and removed {:?} after the stop",
        begun.elapsed()
    ));
    assert_eq!(end.containers[0].exit_code, Some(143), "{end:#?}");
    node.until_forgotten().await;
}

async fn bridge_publishes_and_checks_health(machine: &Machine, node: &mut Node) {
    let task = task(
        machine,
        2,
        NetworkMode::Bridge,
        "db!\nweb! links=db:database",
        |container| {
            container.command = shell(SERVE);
            if container.name.as_str() == "web" {
                container.port_mappings = vec![PortMapping {
                    container_port: Some(80),
                    host_port: Some(0),
                    protocol: Protocol::Tcp,
                    name: None,
                    app_protocol: None,
                    container_port_range: None,
                }];
                container.health_check = Some(HealthCheck {
                    command: vec!["CMD-SHELL".into(), "wget -q -O - http://database/".into()],
                    interval_s: 1,
                    timeout_s: 5,
                    retries: 3,
                    start_period_s: None,
                });
            }
        },
    );
    let id = task.spec.id;
    node.assign(&task).await;
    let healthy = node
        .until(id, |o| o.containers[1].health == Some(Health::Healthy))
        .await;
    let output = healthy.containers[1].health_output.clone().unwrap();
    assert!(!output.trim().is_empty());
    let port = healthy.containers[1].bindings[0].host_port;
    assert!(get(&format!("127.0.0.1:{port}")).contains("200 OK"));
    node.assign(&stopped(&task)).await;
    node.until_status(id, TaskStatus::Stopped).await;
    node.until_forgotten().await;
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

async fn volumes_are_shared(machine: &Machine, node: &mut Node) {
    let text = "writer\nreader! after=writer:SUCCESS";
    let task = task(machine, 3, NetworkMode::None, text, |container| {
        let reads = container.name.as_str() == "reader";
        container.mount_points = vec![MountPoint {
            source_volume: "shared".into(),
            container_path: "/data".into(),
            read_only: Some(reads),
        }];
        container.command = match reads {
            true => shell("touch /data/no || echo refused; cat /data/note; exit 7"),
            false => shell("echo written > /data/note"),
        };
    });
    let id = task.spec.id;
    node.assign(&task).await;
    let end = node.until_status(id, TaskStatus::Stopped).await;
    assert_eq!(end.containers[1].exit_code, Some(7), "{end:#?}");
    let log = log(node, id, "reader");
    assert!(
        log.contains(&"refused".into()) && log.contains(&"written".into()),
        "{log:?}"
    );
    assert!(end.containers[1].last_lines.contains(&"written".to_owned()));
    node.until_forgotten().await;
}

async fn failures_have_names(machine: &Machine, node: &mut Node) {
    let missing = task(machine, 4, NetworkMode::Host, "web!", |web| {
        web.command = Some(vec!["no-such-program".into()]);
    });
    let hungry = task(machine, 5, NetworkMode::None, "web!", |web| {
        web.memory = Some(16);
        web.linux_parameters = None;
        web.command = shell("x=$(head -c 100000000 /dev/zero | tr '\\0' a); echo $x");
    });
    let denied = {
        let mut task = task(machine, 6, NetworkMode::None, "web!", |web| {
            web.mount_points = vec![MountPoint {
                source_volume: "root".into(),
                container_path: "/host".into(),
                read_only: None,
            }];
        });
        let mut definition = (*task.definition).clone();
        definition.template.volumes = vec![Volume {
            name: Name::new("root").unwrap(),
            kind: VolumeKind::Host {
                source_path: "/".into(),
            },
        }];
        task.definition = definition.into();
        task
    };
    for (task, reason, text) in [
        (
            missing,
            ReasonName::CannotStartContainerError,
            "exec: \"no-such-program\": executable file not found in $PATH",
        ),
        (
            hungry,
            ReasonName::OutOfMemoryError,
            "Container killed due to memory usage",
        ),
        (
            denied,
            ReasonName::CannotCreateContainerError,
            "would hand over the node",
        ),
    ] {
        node.assign(&task).await;
        let end = node.until_status(task.spec.id, TaskStatus::Stopped).await;
        let shown = end.containers[0]
            .reason
            .clone()
            .unwrap_or_else(|| panic!("{end:#?}"));
        assert!(
            shown.name == reason && shown.detail.contains(text),
            "{shown:?}"
        );
    }
    node.until_forgotten().await;
}

async fn an_agent_dies_and_another_goes_on(machine: &Machine, mut node: Node) -> Node {
    let stays = task(machine, 7, NetworkMode::Awsvpc, "web!", |web| {
        web.command = shell(SERVE);
        web.mount_points = vec![MountPoint {
            source_volume: "shared".into(),
            container_path: "/tmp".into(),
            read_only: None,
        }];
        web.health_check = Some(HealthCheck {
            command: vec!["CMD-SHELL".into(), "test -e /tmp/well".into()],
            interval_s: 1,
            timeout_s: 5,
            retries: 1,
            start_period_s: None,
        });
    });
    let ends = task(machine, 8, NetworkMode::Bridge, "web!", |web| {
        web.command = shell("while ! [ -e /tmp/end ]; do sleep 0.1; done; exit 42");
        web.mount_points = vec![MountPoint {
            source_volume: "shared".into(),
            container_path: "/tmp".into(),
            read_only: None,
        }];
    });
    node.assign(&stays).await;
    let running = node.until_status(stays.spec.id, TaskStatus::Running).await;
    let address = running.attachment.unwrap().private_ipv4.unwrap();
    node.until(stays.spec.id, |o| {
        o.containers[0].health == Some(Health::Unhealthy)
    })
    .await;
    node.assign(&ends).await;
    node.until_status(ends.spec.id, TaskStatus::Running).await;
    let turn = node.crash().await;
    assert!(
        get(&format!("{address}:80")).contains("200 OK"),
        "it serves without an agent"
    );
    let tasks = machine
        .data
        .path()
        .join("tasks")
        .join(ends.spec.id.to_string());
    std::fs::write(tasks.join("volumes/shared/end"), "").unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut node = machine.node(turn).await;
    let end = node.until_status(ends.spec.id, TaskStatus::Stopped).await;
    assert_eq!(end.containers[0].exit_code, Some(42), "{end:#?}");
    assert!(
        get(&format!("{address}:80")).contains("200 OK"),
        "it serves under the new agent"
    );
    let folder = machine
        .data
        .path()
        .join("tasks")
        .join(stays.spec.id.to_string());
    std::fs::write(folder.join("volumes/shared/well"), "").unwrap();
    node.until(stays.spec.id, |o| {
        o.containers[0].health == Some(Health::Healthy)
    })
    .await;
    node.assign(&stopped(&stays)).await;
    let end = node.until_status(stays.spec.id, TaskStatus::Stopped).await;
    assert_eq!(end.containers[0].exit_code, Some(143));
    assert_eq!(
        end.containers[0].started_at,
        running.containers[0].started_at
    );
    node.until_forgotten().await;
    node
}

async fn nothing_is_left(machine: Machine, node: Node) {
    assert!(node.runtime.list().await.unwrap().is_empty());
    node.network.settled().await;
    let links = std::fs::read_to_string("/proc/net/dev").unwrap();
    assert!(!links.contains("wlagtt-"), "{links}");
    for folder in [
        machine.run.path().join("agent/ledger"),
        machine.run.path().join("agent/files"),
        machine.run.path().join("network/netns"),
        machine.data.path().join("tasks"),
    ] {
        let left: Vec<_> = std::fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let data = machine.data.path().to_str().unwrap();
    assert!(
        !mounts.lines().any(|mount| mount.contains(data)),
        "{mounts}"
    );
    let network = node.network.clone();
    let runtime = node.runtime.clone();
    node.crash().await;
    drop(runtime);
    network.down().await.expect("the network goes");
    let errors = windlass_runtime::start::remove_cgroups(&machine.cgroup_root);
    assert!(errors.is_empty(), "{errors:?}");
    assert!(
        !Path::new("/sys/fs/cgroup")
            .join(&machine.cgroup_root[1..])
            .exists()
    );
    say("nothing is left");
}
