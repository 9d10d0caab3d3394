//! What RunTask and StartTask have in common: checking a new task against its definition, saying
//! what it needs of a node, and writing its rows once a place is found.

use crate::decision::Effect;
use crate::describe_task_definition::latest;
use crate::draft::Draft;
use crate::launch::Provided;
use crate::limits::EPHEMERAL_STORAGE_GIB;
use crate::overrides;
use crate::placement::Needs;
use crate::reject::Reject;
use crate::state::State;
use crate::unsupported::unsupported;
use std::collections::BTreeSet;
use std::sync::Arc;
use windlass_model::command::NewTask;
use windlass_model::container::{ContainerDefinition, PortMapping};
use windlass_model::definition::{
    Compatibility, DefinitionRef, NetworkMode, TaskDefinition, Template,
};
use windlass_model::history::Event;
use windlass_model::id::{AttachmentId, ContainerId, InstanceId, NodeId, TaskId};
use windlass_model::instance::Attribute;
use windlass_model::limits::TAGS_MAX;
use windlass_model::resources::{HostPort, Resources};
use windlass_model::row::Row;
use windlass_model::status::{
    AttachmentStatus, ContainerStatus, DefinitionStatus, Desired, Health, TaskStatus,
};
use windlass_model::tag::Tag;
use windlass_model::task::{
    AttachmentState, ContainerState, Launch, TaskOverrides, TaskSpec, TaskState,
};
use windlass_model::volume::VolumeKind;

/// Log drivers that mean the node's own log files, so that nothing has to be said.
const LOCAL_LOGS: [&str; 2] = ["json-file", "local"];

/// A checked request for tasks of one definition.
pub(crate) struct Plan<'a> {
    pub new: &'a NewTask,
    pub definition: Arc<TaskDefinition>,
    pub group: String,
    pub tags: Vec<Tag>,
    pub by: &'a str,
}

/// Where a task goes.
pub(crate) struct Place {
    pub instance: InstanceId,
    pub node: NodeId,
    pub considered: u32,
    pub fitting: u32,
}

impl<'a> Plan<'a> {
    /// Checks all of the request that does not depend on nodes.
    pub(crate) fn check(state: &State, new: &'a NewTask, by: &'a str) -> Result<Plan<'a>, Reject> {
        let definition = resolve(state, &new.definition)?;
        let template = &definition.template;
        match (template.network(), &new.network) {
            (NetworkMode::Awsvpc, None) => return Err(Reject::AwsvpcNeedsNetwork),
            (NetworkMode::Awsvpc, Some(_)) | (_, None) => {}
            (_, Some(_)) => return Err(Reject::NetworkNotAllowed),
        }
        let role = new.overrides.task_role.as_ref();
        if new.enable_execute_command && role.or(template.task_role.as_ref()).is_none() {
            return Err(Reject::NoTaskRole);
        }
        check_volumes(template, &new.volumes)?;
        let named = |name| {
            template
                .containers
                .iter()
                .any(|container| container.name == name)
        };
        let mut overrides = new.overrides.containers.iter();
        if let Some(unknown) = overrides.find(|given| !named(given.name.clone())) {
            return Err(Reject::UnknownOverride(unknown.name.to_string()));
        }
        let group = new
            .group
            .clone()
            .unwrap_or_else(|| format!("family:{}", template.family));
        let tags = tags(state, new, &definition);
        if too_many(&tags) {
            return Err(Reject::TooManyTagsOfTask);
        }
        Ok(Plan {
            new,
            definition,
            group,
            tags,
            by,
        })
    }

    /// Whether the definition can run on a launch type, and the request's network fits it.
    pub(crate) fn check_launch(&self, launch: Launch) -> Result<(), Reject> {
        let compatibility = match launch {
            Launch::Ec2 => Compatibility::Ec2,
            Launch::External => Compatibility::External,
            Launch::Fargate => Compatibility::Fargate,
        };
        if !self
            .definition
            .template
            .compatibilities
            .contains(&compatibility)
        {
            return Err(Reject::IncompatibleLaunch(launch));
        }
        let public = self
            .new
            .network
            .as_ref()
            .is_some_and(|network| network.assign_public_ip);
        if public && launch != Launch::Fargate {
            return Err(Reject::PublicIpNotAllowed);
        }
        overrides::check(&self.definition.template, &self.new.overrides, launch)
    }

    pub(crate) fn needs(&self, launch: Launch) -> Needs {
        let template = &self.definition.template;
        let mut attributes = match launch {
            Launch::Ec2 | Launch::External => template.requires_attributes.clone(),
            Launch::Fargate => Vec::new(),
        };
        attributes.extend(architecture(template));
        Needs {
            resources: reserved(template, &self.new.overrides),
            attributes,
            unsupported: unsupported(template, &self.new.overrides),
            group: self.group.clone(),
            ..Needs::default()
        }
    }

    /// Writes one task's rows.
    pub(crate) fn create(&self, draft: &mut Draft, provided: &Provided, place: &Place) -> TaskId {
        let id = fresh_id(draft);
        let spec = self.spec(draft, id, provided, place);
        let state = self.first_state(&spec);
        draft.put(Row::TaskSpec(Arc::new(spec)));
        draft.put(Row::TaskState(Arc::new(state)));
        draft.log_task(
            id,
            Event::Created {
                by: self.by.to_owned(),
            },
        );
        draft.log_task(
            id,
            Event::Placed {
                instance: place.instance,
                node: place.node,
                definition: self.definition.key.clone(),
                considered: place.considered,
                fitting: place.fitting,
            },
        );
        for container in &self.definition.template.containers {
            let driver = container.log.as_ref().map(|log| log.driver.as_str());
            if let Some(driver) = driver.filter(|driver| !LOCAL_LOGS.contains(driver)) {
                let name = &container.name;
                let note = format!("{driver} of container {name} is kept in its local log");
                draft.log_task(id, Event::Note(note));
            }
        }
        draft.effect(Effect::Assign {
            node: place.node,
            task: id,
        });
        id
    }

    fn spec(&self, draft: &mut Draft, id: TaskId, provided: &Provided, place: &Place) -> TaskSpec {
        let template = &self.definition.template;
        let containers = template.containers.iter();
        let containers = containers.map(|_| ContainerId(uuid(draft))).collect();
        let awsvpc = template.network() == NetworkMode::Awsvpc;
        let attachment = awsvpc.then(|| AttachmentId(uuid(draft)));
        let node = draft.state.nodes.get(&place.node);
        let reserved = reserved(template, &self.new.overrides);
        let fargate = provided.launch == Launch::Fargate;
        let storage = self
            .new
            .overrides
            .ephemeral_storage_gib
            .or(template.ephemeral_storage_gib);
        TaskSpec {
            id,
            cluster: self.new.cluster.clone(),
            definition: self.definition.key.clone(),
            launch: provided.launch,
            capacity_provider: provided.provider.clone(),
            group: self.group.clone(),
            started_by: self.new.started_by.clone(),
            created_at: draft.now(),
            created_by: self.by.to_owned(),
            overrides: self.new.overrides.clone(),
            network: self.new.network.clone(),
            enable_execute_command: self.new.enable_execute_command,
            containers,
            attachment,
            instance: place.instance,
            node: place.node,
            boot: node.map_or(windlass_model::id::BootId(0), |node| node.boot),
            cpu_units: Some(reserved.cpu_units),
            memory_mib: Some(reserved.memory_mib),
            reserved,
            availability_zone: node.map_or(String::new(), |node| node.availability_zone.clone()),
            ephemeral_storage_gib: fargate.then(|| storage.unwrap_or(EPHEMERAL_STORAGE_GIB)),
            reference_id: self.new.reference_id.clone(),
            pull: self.new.pull,
        }
    }

    fn first_state(&self, spec: &TaskSpec) -> TaskState {
        let container = |container: &ContainerDefinition| ContainerState {
            name: container.name.clone(),
            status: ContainerStatus::Pending,
            runtime_id: None,
            image_digest: None,
            exit_code: None,
            reason: None,
            bindings: Vec::new(),
            health: Health::Unknown,
            started_at: None,
            stopped_at: None,
            health_output: None,
            oom: None,
            killed_after_s: None,
        };
        TaskState {
            id: spec.id,
            version: 1,
            // A network interface is made before the task is handed over; without one there is
            // nothing to provision.
            last: match spec.attachment {
                Some(_) => TaskStatus::Provisioning,
                None => TaskStatus::Pending,
            },
            desired: Desired::Running,
            connected_at: None,
            pull_started_at: None,
            pull_stopped_at: None,
            started_at: None,
            stopping_at: None,
            execution_stopped_at: None,
            stopped_at: None,
            stop: None,
            containers: self
                .definition
                .template
                .containers
                .iter()
                .map(container)
                .collect(),
            attachment: spec.attachment.map(|_| AttachmentState {
                status: AttachmentStatus::Precreated,
                interface_id: None,
                mac: None,
                private_dns_name: None,
                private_ipv4: None,
            }),
            tags: self.tags.clone(),
            reported: None,
            restored_at: None,
            stop_within_s: None,
            out_of_reach: false,
            notes: 0,
        }
    }
}

/// Volumes that the call configures are those that the definition leaves to it.
fn check_volumes(template: &Template, given: &[String]) -> Result<(), Reject> {
    let volumes = template.volumes.iter();
    let left: Vec<&str> = volumes
        .filter(|volume| volume.kind == VolumeKind::ConfiguredAtLaunch)
        .map(|volume| volume.name.as_str())
        .collect();
    match given.iter().find(|name| !left.contains(&name.as_str())) {
        None => Ok(()),
        Some(_) if left.is_empty() => Err(Reject::NoVolumeConfigurable),
        Some(other) => Err(Reject::VolumeNotConfigurable(other.clone())),
    }
}

fn resolve(state: &State, which: &DefinitionRef) -> Result<Arc<TaskDefinition>, Reject> {
    let key = match which {
        DefinitionRef::Exact(key) => key,
        DefinitionRef::Latest(family) => {
            latest(state, family).ok_or_else(|| Reject::DefinitionNotFound(family.to_string()))?
        }
    };
    let view = state
        .definition_view(key)
        .ok_or_else(|| Reject::DefinitionNotFound(key.to_string()))?;
    if view.state.status != DefinitionStatus::Active {
        return Err(Reject::DefinitionInactive(key.clone()));
    }
    Ok(view.definition)
}

/// Managed, propagated and own tags; the later win.
fn tags(state: &State, new: &NewTask, definition: &TaskDefinition) -> Vec<Tag> {
    let mut tags = Vec::new();
    if new.enable_ecs_managed_tags {
        let (key, value) = (String::from("aws:ecs:clusterName"), new.cluster.to_string());
        tags.push(Tag { key, value });
    }
    let defined = state.definition_states.get(&definition.key);
    if let Some(defined) = defined.filter(|_| new.propagate_definition_tags) {
        merge_tags(&mut tags, &defined.tags);
    }
    merge_tags(&mut tags, &new.tags);
    tags
}

/// Tags that the service itself put do not count.
pub(crate) fn too_many(tags: &[Tag]) -> bool {
    let own = |tag: &&Tag| !tag.key.to_ascii_lowercase().starts_with("aws:");
    tags.iter().filter(own).count() > TAGS_MAX
}

/// Tags of one key are replaced, others appended.
pub(crate) fn merge_tags(tags: &mut Vec<Tag>, more: &[Tag]) {
    for tag in more {
        match tags.iter_mut().find(|held| held.key == tag.key) {
            Some(held) => held.value.clone_from(&tag.value),
            None => tags.push(tag.clone()),
        }
    }
}

/// What the task holds of its node. Source: ECS, placement: the task's sizes where it has them,
/// else the containers' sums, a soft memory limit before a hard one.
fn reserved(template: &Template, given: &TaskOverrides) -> Resources {
    let mut sums = Resources::default();
    for container in &template.containers {
        let size = overrides::size(container, given);
        sums.cpu_units = sums.cpu_units.saturating_add(u64::from(size.cpu));
        let memory = u64::from(size.reserved_mib());
        sums.memory_mib = sums.memory_mib.saturating_add(memory);
        let ports = container.port_mappings.iter();
        sums.ports
            .extend(ports.flat_map(|mapping| host_ports(template.network(), mapping)));
    }
    sums.links = match template.network() {
        NetworkMode::Awsvpc => 1,
        NetworkMode::Bridge => u64::try_from(template.containers.len()).unwrap_or(u64::MAX),
        NetworkMode::Host | NetworkMode::None => 0,
    };
    if let Some(cpu) = given.cpu.or(template.cpu) {
        sums.cpu_units = u64::from(cpu);
    }
    if let Some(memory) = given.memory.or(template.memory) {
        sums.memory_mib = u64::from(memory);
    }
    sums
}

/// The ports of the machine that a mapping holds: dynamic ones are the agent's to choose.
fn host_ports(mode: NetworkMode, mapping: &PortMapping) -> BTreeSet<HostPort> {
    let protocol = mapping.protocol;
    let given = match mode {
        NetworkMode::Awsvpc | NetworkMode::None => return BTreeSet::new(),
        NetworkMode::Bridge => {
            return mapping
                .host_port
                .filter(|port| *port != 0)
                .into_iter()
                .map(|port| HostPort { protocol, port })
                .collect();
        }
        NetworkMode::Host => mapping.host_port.filter(|port| *port != 0),
    };
    let range = mapping
        .container_port_range
        .map(|(first, last)| first..=last);
    let single = given.or(mapping.container_port);
    range
        .into_iter()
        .flatten()
        .chain(single)
        .map(|port| HostPort { protocol, port })
        .collect()
}

fn architecture(template: &Template) -> Option<Attribute> {
    let platform = template.runtime_platform.as_ref()?;
    let value = match platform.cpu_architecture.as_deref()? {
        "X86_64" => "x86_64",
        "ARM64" => "arm64",
        other => other,
    };
    Some(Attribute {
        name: String::from("ecs.cpu-architecture"),
        value: Some(value.to_owned()),
    })
}

/// Ids that are tried before one that begins as another task's is taken.
const FRESH_TRIES: u32 = 64;

/// A new task's id. None of the known tasks begins with the same short digits, so that those which
/// are shown name one task.
fn fresh_id(draft: &mut Draft) -> TaskId {
    let mut tries = 0;
    loop {
        let id = TaskId(draft.state.random());
        let specs = &draft.state.specs;
        let is_alike = tries < FRESH_TRIES && specs.range(id.alike()).next().is_some();
        if !is_alike && !specs.contains_key(&id) {
            return id;
        }
        tries = tries.saturating_add(1);
    }
}

/// A random UUID: version 4, variant 1.
pub(crate) fn uuid(draft: &mut Draft) -> u128 {
    let random = draft.state.random();
    random & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62
}
