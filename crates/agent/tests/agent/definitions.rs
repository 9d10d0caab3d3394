//! Assignments for tests.

use crate::fixture;
use std::sync::Arc;
use windlass_model::definition::{DefinitionKey, NetworkMode, TaskDefinition};
use windlass_model::id::{AttachmentId, ContainerId, InstanceId, Millis, Name, NodeId, TaskId};
use windlass_model::resources::Resources;
use windlass_model::status::Desired;
use windlass_model::task::{Launch, TaskOverrides, TaskSpec};
use windlass_session::Assignment;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A task whose containers are written as in the node's tests.
pub(crate) fn assignment(number: u128, mode: NetworkMode, text: &str) -> Assignment {
    let template = fixture::template(mode, text);
    let key = DefinitionKey {
        family: name("test"),
        revision: 1,
    };
    let count = template.containers.len() as u128;
    let spec = TaskSpec {
        id: TaskId(number),
        cluster: name("default"),
        definition: key.clone(),
        launch: Launch::Ec2,
        capacity_provider: None,
        group: "family:test".into(),
        started_by: None,
        created_at: Millis(1),
        created_by: "arn:aws:iam::111122223333:root".into(),
        overrides: TaskOverrides::default(),
        network: None,
        enable_execute_command: false,
        containers: (0..count)
            .map(|at| ContainerId(number << 16 | at))
            .collect(),
        attachment: (mode == NetworkMode::Awsvpc).then_some(AttachmentId(number)),
        instance: InstanceId(1),
        node: NodeId(7),
        boot: windlass_agent::machine::boot().unwrap(),
        reserved: Resources::default(),
        cpu_units: None,
        memory_mib: None,
        availability_zone: "eu-central-1a".into(),
        ephemeral_storage_gib: None,
        reference_id: None,
        pull: None,
    };
    let definition = TaskDefinition {
        key,
        template,
        registered_at: Millis(1),
        registered_by: "arn:aws:iam::111122223333:root".into(),
    };
    Assignment {
        spec: Arc::new(spec),
        definition: Arc::new(definition),
        desired: Desired::Running,
        stop: None,
        restored: false,
        reported: 0,
        stop_within_s: None,
    }
}

/// The same task, wanted stopped.
pub(crate) fn stopped(assignment: &Assignment) -> Assignment {
    Assignment {
        desired: Desired::Stopped,
        ..assignment.clone()
    }
}
