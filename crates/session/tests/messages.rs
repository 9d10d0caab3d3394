//! A remote agent gets what a local one is handed: every message reads back as it was written, and
//! bytes that are none are an error.

use std::sync::Arc;
use windlass_model::definition::{DefinitionKey, TaskDefinition, Template};
use windlass_model::id::{BootId, ContainerId, InstanceId, Millis, Name, NodeId, TaskId};
use windlass_model::instance::Node;
use windlass_model::observation::{ContainerObservation, Observation};
use windlass_model::resources::{HostPort, Protocol, Resources};
use windlass_model::status::{ContainerStatus, Desired, Health, TaskStatus};
use windlass_model::stop::{Stop, StopCode, StopReason};
use windlass_model::task::{Launch, TaskOverrides, TaskSpec};
use windlass_session::{Assignment, Mark, ToAgent, ToServer};

const MARK: Mark = Mark { term: 1, turn: 42 };

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn stop() -> Stop {
    let reason = StopReason::User {
        reason: Some("enough".into()),
        by: "me".into(),
    };
    Stop {
        code: StopCode::UserInitiated,
        reason,
    }
}

fn assignment() -> Assignment {
    let key = DefinitionKey {
        family: name("web"),
        revision: 1,
    };
    let template = Template {
        family: name("web"),
        task_role: None,
        execution_role: None,
        network_mode: None,
        containers: Vec::new(),
        volumes: Vec::new(),
        placement_constraints: Vec::new(),
        requires_compatibilities: Vec::new(),
        cpu: None,
        memory: Some(64),
        pid_mode: None,
        ipc_mode: None,
        proxy: None,
        ephemeral_storage_gib: None,
        runtime_platform: None,
        enable_fault_injection: None,
        trusted_execution: None,
        compatibilities: Vec::new(),
        requires_attributes: Vec::new(),
    };
    let spec = TaskSpec {
        id: TaskId(1),
        cluster: name("default"),
        definition: key.clone(),
        launch: Launch::Ec2,
        capacity_provider: None,
        group: "family:web".into(),
        started_by: None,
        created_at: Millis(1),
        created_by: "me".into(),
        overrides: TaskOverrides::default(),
        network: None,
        enable_execute_command: false,
        containers: vec![ContainerId(2)],
        attachment: None,
        instance: InstanceId(3),
        node: NodeId(4),
        boot: BootId(5),
        reserved: Resources::default(),
        cpu_units: None,
        memory_mib: Some(64),
        availability_zone: "us-east-1a".into(),
        ephemeral_storage_gib: None,
        reference_id: None,
        pull: None,
    };
    let definition = TaskDefinition {
        key,
        template,
        registered_at: Millis(0),
        registered_by: "me".into(),
    };
    Assignment {
        spec: Arc::new(spec),
        definition: Arc::new(definition),
        desired: Desired::Stopped,
        stop: Some(stop()),
        restored: false,
        reported: 0,
        stop_within_s: None,
    }
}

fn observation() -> Observation {
    let container = ContainerObservation {
        name: name("main"),
        status: ContainerStatus::Running,
        runtime_id: Some("abc".into()),
        image_digest: None,
        exit_code: None,
        reason: None,
        bindings: Vec::new(),
        health: Some(Health::Healthy),
        health_output: None,
        started_at: Some(Millis(7)),
        stopped_at: None,
        oom: None,
        last_lines: vec!["bye".into()],
        killed_after_s: Some(30),
    };
    Observation {
        task: TaskId(1),
        sequence: 9,
        status: TaskStatus::Running,
        containers: vec![container],
        pull_started_at: None,
        pull_stopped_at: None,
        execution_stopped_at: None,
        attachment: None,
        stop: None,
        notes: vec!["a note".into()],
        out_of_reach: false,
    }
}

fn node() -> Node {
    Node {
        id: NodeId(4),
        name: "host".into(),
        boot: BootId(5),
        total: Resources::default(),
        attributes: Vec::new(),
        availability_zone: "us-east-1a".into(),
        agent_version: "0.1.0".into(),
        address: "127.0.0.1".into(),
        connected: true,
        isolation: String::new(),
        ports_in_use: Default::default(),
        connection_changed_at: None,
        joins_on_demand: false,
    }
}

#[test]
fn agents_read_what_the_server_wrote() {
    let messages = [
        ToAgent::Full {
            mark: MARK,
            assignments: vec![assignment()],
        },
        ToAgent::Delta {
            mark: MARK,
            put: vec![assignment()],
            forget: vec![TaskId(8)],
        },
        ToAgent::Acknowledge {
            task: TaskId(1),
            sequence: 3,
        },
        ToAgent::Stop {
            mark: MARK,
            task: TaskId(1),
            stop: stop(),
        },
    ];
    for message in messages {
        let bytes = minicbor::to_vec(&message).unwrap();
        assert_eq!(minicbor::decode::<ToAgent>(&bytes).unwrap(), message);
        for end in 0..bytes.len() {
            assert!(
                minicbor::decode::<ToAgent>(&bytes[..end]).is_err(),
                "cut at {end}"
            );
        }
    }
}

#[test]
fn the_server_reads_what_agents_wrote() {
    let (node_id, boot) = (NodeId(4), BootId(5));
    let messages = [
        ToServer::Hello(node()),
        ToServer::Report {
            node: node_id,
            boot,
            observation: observation(),
        },
        ToServer::Unassigned {
            node: node_id,
            tasks: vec![TaskId(1), TaskId(2)],
        },
        ToServer::Heartbeat { node: node_id },
        ToServer::PortsInUse {
            node: node_id,
            ports: [HostPort {
                protocol: Protocol::Udp,
                port: 53,
            }]
            .into(),
        },
    ];
    for message in messages {
        let bytes = minicbor::to_vec(&message).unwrap();
        assert_eq!(minicbor::decode::<ToServer>(&bytes).unwrap(), message);
    }
}

#[test]
fn a_later_releases_member_is_skipped() {
    // An assignment with an eighth member, as a later release may send it.
    let mut bytes = minicbor::to_vec(assignment()).unwrap();
    assert_eq!(bytes[0], 0x87, "an array of seven");
    bytes[0] = 0x88;
    bytes.extend(minicbor::to_vec("something new").unwrap());
    assert_eq!(
        minicbor::decode::<Assignment>(&bytes).unwrap(),
        assignment()
    );
}

#[test]
fn an_assignment_of_the_first_release_is_read() {
    // A ledger may hold one: four members, and none of `restored`, `reported` and what hurries a stop.
    let mut bytes = minicbor::to_vec(assignment()).unwrap();
    let last = [bytes.pop(), bytes.pop(), bytes.pop()];
    assert_eq!(last, [Some(0xf6), Some(0), Some(0xf4)]);
    bytes[0] = 0x84;
    assert_eq!(
        minicbor::decode::<Assignment>(&bytes).unwrap(),
        assignment()
    );
}
