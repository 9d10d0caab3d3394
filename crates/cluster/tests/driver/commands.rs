//! Random commands: mostly sensible, sometimes wrong.

use crate::nouns;
use crate::random::Random;
use windlass_cluster::State;
use windlass_model::cluster::{FARGATE_PROVIDERS, StrategyItem};
use windlass_model::command::{
    Command, DeregisterContainerInstance, ListTasks, Page, PutClusterCapacityProviders, Resource,
    StartTask, StopTask,
};
use windlass_model::definition::{DefinitionKey, DefinitionRef};
use windlass_model::id::{InstanceId, NodeId, TaskId};
use windlass_model::instance::InstanceStatus;
use windlass_model::placement::{
    BinpackField, PlacementConstraint, PlacementStrategy, SpreadField,
};
use windlass_model::resources::{HostPort, Protocol};
use windlass_model::row::Row;
use windlass_model::status::Desired;
use windlass_model::tag::Tag;
use windlass_model::task::Launch;

const CLUSTERS: [&str; 2] = ["one", "two"];
const FAMILIES: [&str; 4] = ["small", "large", "port", "fargate"];

pub(crate) fn any(random: &mut Random, state: &State, nodes: usize) -> Command {
    let cluster = *random.pick(&CLUSTERS);
    match random.below(28) {
        0 if random.one_in(3) => providers(random, cluster),
        0 => nouns::create_cluster(cluster),
        1 if random.one_in(4) => Command::DeleteCluster(nouns::name(cluster)),
        1 | 2 => register(random),
        3 => match random.below(4) {
            0 => Command::DeregisterTaskDefinition(key(random)),
            1 => Command::DeleteTaskDefinitions(vec![key(random), key(random)]),
            _ => Command::DescribeTaskDefinition(DefinitionRef::Exact(key(random))),
        },
        4..=10 => run(random, cluster),
        11 => start(random, state, cluster),
        12..=15 => stop(random, state, cluster),
        16 => tag(random, state, cluster),
        17 | 18 => Command::AddNode {
            node: NodeId(random.below(nodes + 1) as u128),
            cluster: nouns::name(cluster),
        },
        19 => Command::ListTasks(ListTasks {
            cluster: nouns::name(cluster),
            instance: None,
            family: None,
            started_by: None,
            service: None,
            desired: Some(Desired::Running),
            launch: None,
            page: Page {
                after: None,
                limit: 10,
            },
        }),
        20 => Command::DescribeClusters(CLUSTERS.iter().map(|name| nouns::name(name)).collect()),
        21 => Command::FindTask("0".into()),
        22 => Command::ListNodes,
        23 => Command::PortsInUse {
            node: NodeId(random.below(nodes + 1) as u128),
            ports: (random.below(2) as u16..1)
                .map(|_| HostPort {
                    protocol: Protocol::Tcp,
                    port: 8080,
                })
                .collect(),
        },
        24 => Command::JoinAtStart {
            node: NodeId(random.below(nodes + 1) as u128),
            cluster: nouns::name(cluster),
        },
        25 => Command::DeregisterContainerInstance(DeregisterContainerInstance {
            cluster: nouns::name(cluster),
            instance: instance(random, state),
            force: random.one_in(2),
        }),
        26 => Command::UpdateContainerInstancesState {
            cluster: nouns::name(cluster),
            instances: vec![instance(random, state)],
            status: match random.one_in(3) {
                true => InstanceStatus::Draining,
                false => InstanceStatus::Active,
            },
        },
        _ => Command::NodeDisconnected(NodeId(random.below(nodes + 1) as u128)),
    }
}

/// Both of them, or one, or none.
fn providers(random: &mut Random, cluster: &str) -> Command {
    let from = random.below(FARGATE_PROVIDERS.len() + 1);
    let capacity_providers = FARGATE_PROVIDERS[from..].iter();
    Command::PutClusterCapacityProviders(PutClusterCapacityProviders {
        cluster: nouns::name(cluster),
        capacity_providers: capacity_providers.map(|name| (*name).into()).collect(),
        default_strategy: Vec::new(),
    })
}

fn register(random: &mut Random) -> Command {
    let template = match *random.pick(&FAMILIES) {
        "small" => nouns::template("small", 64, 50),
        "large" => nouns::template("large", 600, 700),
        "port" => nouns::with_port(nouns::template("port", 10, 10), 80, 8080),
        _ => nouns::fargate("fargate", 256, 512),
    };
    nouns::register(template)
}

fn key(random: &mut Random) -> DefinitionKey {
    let family = nouns::name(FAMILIES[random.below(FAMILIES.len())]);
    DefinitionKey {
        family,
        revision: 1 + random.below(4) as u32,
    }
}

fn run(random: &mut Random, cluster: &str) -> Command {
    let family = *random.pick(&FAMILIES);
    let mut run = nouns::run(cluster, family, 1 + random.below(4) as u32);
    if family == "fargate" {
        run.launch = Some(Launch::Fargate);
        run.task.network = nouns::subnets();
        if random.one_in(3) {
            run.launch = None;
            run.strategy = vec![StrategyItem {
                provider: (*random.pick(&FARGATE_PROVIDERS)).into(),
                weight: 1,
                base: 0,
            }];
        }
    } else {
        run.strategies = match random.below(4) {
            0 => vec![PlacementStrategy::Binpack(BinpackField::Memory)],
            1 => vec![
                PlacementStrategy::Spread(SpreadField::Attribute("ecs.availability-zone".into())),
                PlacementStrategy::Spread(SpreadField::InstanceId),
            ],
            _ => Vec::new(),
        };
        if random.one_in(6) {
            run.constraints = vec![PlacementConstraint::DistinctInstance];
        }
    }
    if random.one_in(4) {
        let token = random.below(6);
        run.client_token = Some(format!("token-{token}"));
        run.fingerprint = [u8::try_from(token).unwrap(); 32];
    }
    Command::RunTask(Box::new(run))
}

fn start(random: &mut Random, state: &State, cluster: &str) -> Command {
    let ids = state.rows().into_iter().filter_map(|row| match row {
        Row::Instance(instance) => Some(instance.id),
        _ => None,
    });
    let mut instances: Vec<InstanceId> = ids.take(2).collect();
    instances.push(InstanceId(random.below(9) as u128));
    let task = nouns::new_task(cluster, "small");
    Command::StartTask(Box::new(StartTask { task, instances }))
}

fn instance(random: &mut Random, state: &State) -> InstanceId {
    let ids = state.rows().into_iter().filter_map(|row| match row {
        Row::Instance(instance) => Some(instance.id),
        _ => None,
    });
    let ids: Vec<InstanceId> = ids.chain([InstanceId(7)]).collect();
    *random.pick(&ids)
}

fn some_task(random: &mut Random, state: &State) -> TaskId {
    let tasks: Vec<TaskId> = state
        .rows()
        .into_iter()
        .filter_map(|row| match row {
            Row::TaskState(task) => Some(task.id),
            _ => None,
        })
        .collect();
    if tasks.is_empty() {
        TaskId(7)
    } else {
        *random.pick(&tasks)
    }
}

fn stop(random: &mut Random, state: &State, cluster: &str) -> Command {
    let task = some_task(random, state);
    let reason = random.one_in(2).then(|| String::from("enough"));
    Command::StopTask(StopTask {
        cluster: nouns::name(cluster),
        task,
        reason,
    })
}

fn tag(random: &mut Random, state: &State, cluster: &str) -> Command {
    let cluster = nouns::name(cluster);
    let resource = match random.below(3) {
        0 => Resource::Cluster(cluster),
        1 => Resource::Definition(key(random)),
        _ => Resource::Task(cluster, some_task(random, state)),
    };
    if random.one_in(3) {
        return Command::Untag {
            resource,
            keys: vec!["team".into()],
        };
    }
    let value = random.below(3).to_string();
    Command::Tag {
        resource,
        tags: vec![Tag {
            key: "team".into(),
            value,
        }],
    }
}
