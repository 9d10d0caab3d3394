//! Bytes that a release wrote are kept here and must decode for ever: what they meant then, they
//! mean now. A release adds its file under `fixtures/`; an existing one is never written again.
//!
//! After adding a field, this test still passes, because a new field is absent in old bytes. A
//! field whose number or meaning changed makes it fail.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use windlass_model::cluster::{Cluster, ClusterStatus, ContainerInsights, StrategyItem};
use windlass_model::definition::{
    Compatibility, DefinitionKey, DefinitionState, NetworkMode, TaskDefinition, Template,
};
use windlass_model::id::{
    AttachmentId, BootId, ContainerId, InstanceId, Millis, Name, NodeId, TaskId,
};
use windlass_model::instance::{Attribute, Instance, InstanceStatus, Node};
use windlass_model::resources::{HostPort, Protocol, Resources};
use windlass_model::row::{ClientToken, Family, Row};
use windlass_model::status::{
    AttachmentStatus, ContainerStatus, DefinitionStatus, Desired, Health, TaskStatus,
};
use windlass_model::stop::{ContainerReason, ReasonName, Stop, StopCode, StopReason};
use windlass_model::tag::Tag;
use windlass_model::task::{
    AttachmentState, AwsvpcConfiguration, ContainerState, Launch, NetworkBinding, OomEvidence,
    TaskOverrides, TaskSpec, TaskState,
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn key() -> DefinitionKey {
    DefinitionKey {
        family: name("web"),
        revision: 3,
    }
}

fn resources() -> Resources {
    let ports = [HostPort {
        protocol: Protocol::Tcp,
        port: 8080,
    }];
    Resources {
        cpu_units: 256,
        memory_mib: 512,
        ports: ports.into(),
        links: 0,
    }
}

fn tags() -> Vec<Tag> {
    vec![Tag {
        key: "team".into(),
        value: "blue".into(),
    }]
}

/// One row of every kind, as release 0.1.0 writes them.
fn rows() -> Vec<Row> {
    let definition_state = DefinitionState {
        key: key(),
        status: DefinitionStatus::Inactive,
        deregistered_at: Some(Millis(5)),
        delete_requested_at: None,
        tags: tags(),
    };
    let token = ClientToken {
        token: "caller/token".into(),
        fingerprint: [7; 32],
        tasks: vec![TaskId(9)],
        created_at: Millis(4),
        cluster: name("default"),
    };
    vec![
        Row::Cluster(Arc::new(cluster())),
        Row::Definition(Arc::new(definition())),
        Row::DefinitionState(Arc::new(definition_state)),
        Row::Family(Family {
            name: name("web"),
            last_revision: 3,
        }),
        Row::Node(Arc::new(node())),
        Row::Instance(Arc::new(instance())),
        Row::TaskSpec(Arc::new(task_spec())),
        Row::TaskState(Arc::new(task_state())),
        Row::ClientToken(Arc::new(token)),
    ]
}

fn cluster() -> Cluster {
    Cluster {
        name: name("default"),
        status: ClusterStatus::Active,
        created_at: Millis(1),
        deleted_at: None,
        container_insights: ContainerInsights::Enhanced,
        configuration: None,
        capacity_providers: vec!["FARGATE".into()],
        default_strategy: vec![StrategyItem {
            provider: "FARGATE".into(),
            weight: 1,
            base: 0,
        }],
        namespace: Some("internal".into()),
        tags: tags(),
    }
}

fn definition() -> TaskDefinition {
    let template = Template {
        family: name("web"),
        task_role: None,
        execution_role: Some("arn:aws:iam::000000000000:role/x".into()),
        network_mode: Some(NetworkMode::Awsvpc),
        containers: Vec::new(),
        volumes: Vec::new(),
        placement_constraints: vec!["attribute:zone == a".into()],
        requires_compatibilities: vec![Compatibility::Fargate],
        cpu: Some(256),
        memory: Some(512),
        pid_mode: None,
        ipc_mode: None,
        proxy: None,
        ephemeral_storage_gib: Some(21),
        runtime_platform: None,
        enable_fault_injection: None,
        trusted_execution: None,
        compatibilities: vec![Compatibility::Ec2, Compatibility::Fargate],
        requires_attributes: vec![Attribute {
            name: "ecs.capability.task-eni".into(),
            value: None,
        }],
    };
    TaskDefinition {
        key: key(),
        template,
        registered_at: Millis(2),
        registered_by: "me".into(),
    }
}

fn node() -> Node {
    Node {
        id: NodeId(11),
        name: "host".into(),
        boot: BootId(12),
        total: resources(),
        attributes: vec![Attribute {
            name: "ecs.os-type".into(),
            value: Some("linux".into()),
        }],
        availability_zone: "us-east-1a".into(),
        agent_version: "0.1.0".into(),
        address: "127.0.0.1".into(),
        connected: true,
        isolation: "namespaces".into(),
        ports_in_use: Default::default(),
        connection_changed_at: None,
        joins_on_demand: false,
    }
}

fn instance() -> Instance {
    Instance {
        id: InstanceId(13),
        cluster: name("default"),
        node: NodeId(11),
        status: InstanceStatus::Draining,
        registered_at: Millis(3),
        version: 2,
        tags: tags(),
        attributes: Vec::new(),
        on_demand: false,
    }
}

fn task_spec() -> TaskSpec {
    TaskSpec {
        id: TaskId(9),
        cluster: name("default"),
        definition: key(),
        launch: Launch::Fargate,
        capacity_provider: Some("FARGATE_SPOT".into()),
        group: "family:web".into(),
        started_by: Some("ci".into()),
        created_at: Millis(4),
        created_by: "me".into(),
        overrides: TaskOverrides::default(),
        network: Some(AwsvpcConfiguration {
            subnets: vec!["subnet-1".into()],
            security_groups: Vec::new(),
            assign_public_ip: true,
        }),
        enable_execute_command: false,
        containers: vec![ContainerId(14)],
        attachment: Some(AttachmentId(15)),
        instance: InstanceId(13),
        node: NodeId(11),
        boot: BootId(12),
        reserved: resources(),
        cpu_units: Some(256),
        memory_mib: Some(512),
        availability_zone: "us-east-1a".into(),
        ephemeral_storage_gib: Some(21),
        reference_id: None,
        pull: None,
    }
}

fn task_state() -> TaskState {
    TaskState {
        id: TaskId(9),
        version: 5,
        last: TaskStatus::Stopped,
        desired: Desired::Stopped,
        connected_at: Some(Millis(5)),
        pull_started_at: Some(Millis(6)),
        pull_stopped_at: Some(Millis(7)),
        started_at: Some(Millis(8)),
        stopping_at: Some(Millis(9)),
        execution_stopped_at: Some(Millis(10)),
        stopped_at: Some(Millis(11)),
        stop: Some(Stop {
            code: StopCode::EssentialContainerExited,
            reason: StopReason::EssentialContainerExited {
                container: "main".into(),
            },
        }),
        containers: vec![container_state()],
        attachment: Some(AttachmentState {
            status: AttachmentStatus::Deleted,
            interface_id: Some("eni-00000000000000001".into()),
            mac: Some("02:00:00:00:00:01".into()),
            private_dns_name: None,
            private_ipv4: Some("10.77.0.2".into()),
        }),
        tags: Vec::new(),
        reported: Some(4),
        restored_at: None,
        stop_within_s: None,
        out_of_reach: false,
        notes: 0,
    }
}

fn container_state() -> ContainerState {
    ContainerState {
        name: name("main"),
        status: ContainerStatus::Stopped,
        runtime_id: Some("abc".into()),
        image_digest: Some("sha256:00".into()),
        exit_code: Some(137),
        reason: Some(ContainerReason::new(
            ReasonName::OutOfMemoryError,
            "Container killed due to memory usage",
        )),
        bindings: vec![NetworkBinding {
            bind_ip: "0.0.0.0".into(),
            container_port: 80,
            host_port: 8080,
            protocol: Protocol::Tcp,
            range_end: None,
        }],
        health: Health::Unhealthy,
        started_at: Some(Millis(8)),
        stopped_at: Some(Millis(10)),
        health_output: Some("no".into()),
        oom: Some(OomEvidence {
            peak_bytes: 1,
            limit_bytes: 2,
        }),
        killed_after_s: None,
    }
}

/// A line a row: key and value in hexadecimal.
fn render(rows: &[Row]) -> String {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    rows.iter()
        .map(|row| format!("{} {}\n", hex(row.key().encode()), hex(row.encode())))
        .collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn rows_of_0_1_0_decode() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/0.1.0.rows");
    let text = fs::read_to_string(&path).unwrap_or_else(|err| {
        panic!(
            "{}: {err}; a new release's rows are:\n{}",
            path.display(),
            render(&rows())
        )
    });
    let read: Vec<Row> = text
        .lines()
        .map(|line| {
            let (key, value) = line.split_once(' ').unwrap();
            Row::decode(&bytes(key), &bytes(value)).unwrap()
        })
        .collect();
    assert_eq!(read, rows());
}
