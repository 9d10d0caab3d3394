//! RunTask and StartTask: launch decision, placement, refusals, tokens.

use crate::core::{Core, seen};
use crate::nouns::{self, fargate, name, run, subnets, template, with_port};
use std::collections::{BTreeMap, BTreeSet};
use windlass_cluster::{Answer, Effect, Reject};
use windlass_model::cluster::StrategyItem;
use windlass_model::command::{Command, NewTask, RunTask, StartTask};
use windlass_model::container::{LogConfiguration, ResourceRequirement, Secret};
use windlass_model::definition::{DefinitionKey, DefinitionRef, NetworkMode, Template};
use windlass_model::history::Event;
use windlass_model::id::{InstanceId, NodeId};
use windlass_model::instance::Attribute;
use windlass_model::placement::{
    BinpackField, PlacementConstraint, PlacementStrategy, Refusal, SpreadField,
};
use windlass_model::resources::{HostPort, Protocol};
use windlass_model::status::{ContainerStatus, Desired, TaskStatus};
use windlass_model::tag::Tag;
use windlass_model::task::{ContainerOverride, Launch, TaskOverrides};
use windlass_model::volume::{DockerVolume, EfsVolume, Volume, VolumeKind};

fn boxed(run: RunTask) -> Command {
    Command::RunTask(Box::new(run))
}

#[test]
fn a_task_is_placed_and_assigned() {
    let mut core = Core::with_nodes(1);
    core.register(template("web", 100, 200));
    let decision = core.ok(boxed(run("default", "web", 2)));
    let Answer::Run { tasks, refused, .. } = &decision.answer else {
        panic!()
    };
    assert_eq!((tasks.len(), refused.len()), (2, 0));
    let task = &tasks[0];
    assert_eq!(task.state.last, TaskStatus::Pending);
    assert_eq!(
        (task.state.desired, task.state.version),
        (Desired::Running, 1)
    );
    assert_eq!(task.spec.group, "family:web");
    assert_eq!(
        (task.spec.cpu_units, task.spec.memory_mib),
        (Some(100), Some(200))
    );
    assert_eq!(task.spec.created_by, "arn:user/dev");
    assert!(task.connected);
    let assigned: Vec<Effect> = tasks
        .iter()
        .map(|view| Effect::Assign {
            node: NodeId(0),
            task: view.spec.id,
        })
        .collect();
    assert_eq!(decision.effects, assigned);
    assert!(
        decision
            .history
            .iter()
            .any(|entry| matches!(entry.event, Event::Placed { .. }))
    );
    assert_eq!(core.state.assignments(NodeId(0)).len(), 2);
}

#[test]
fn what_is_wrong_is_rejected_and_changes_nothing() {
    let mut core = Core::with_nodes(1);
    core.register(template("web", 100, 200));
    core.register(fargate("app", 256, 512));
    core.register(template("old", 1, 1));
    let old = DefinitionKey {
        family: name("old"),
        revision: 1,
    };
    core.ok(Command::DeregisterTaskDefinition(old.clone()));
    core.ok(nouns::create_cluster("empty"));
    let item = |provider: &str, weight, base| StrategyItem {
        provider: provider.into(),
        weight,
        base,
    };
    let web = || run("default", "web", 1);
    let app = || RunTask {
        launch: Some(Launch::Fargate),
        ..run("default", "app", 1)
    };
    let with = |task: NewTask, run: RunTask| RunTask { task, ..run };
    let unknown = ContainerOverride {
        name: name("other"),
        command: None,
        environment: None,
        environment_files: None,
        cpu: None,
        memory: None,
        memory_reservation: None,
        resource_requirements: None,
    };
    let overrides = TaskOverrides {
        containers: vec![unknown],
        ..TaskOverrides::default()
    };
    let public = || {
        subnets().map(|network| windlass_model::task::AwsvpcConfiguration {
            assign_public_ip: true,
            ..network
        })
    };
    let exact = |key: &DefinitionKey| NewTask {
        definition: DefinitionRef::Exact(key.clone()),
        ..nouns::new_task("default", "web")
    };
    let never = DefinitionKey {
        family: name("web"),
        revision: 9,
    };
    for (run, reject) in [
        (
            run("nowhere", "web", 1),
            Reject::ClusterNotFound(name("nowhere")),
        ),
        (
            run("empty", "web", 1),
            Reject::NoInstances {
                cluster: name("empty"),
            },
        ),
        (
            run("default", "none", 1),
            Reject::DefinitionNotFound("none".into()),
        ),
        (
            run("default", "old", 1),
            Reject::DefinitionNotFound("old".into()),
        ),
        (
            with(exact(&old), web()),
            Reject::DefinitionInactive(old.clone()),
        ),
        (
            with(exact(&never), web()),
            Reject::DefinitionNotFound("web:9".into()),
        ),
        (
            RunTask {
                launch: Some(Launch::Fargate),
                ..web()
            },
            Reject::IncompatibleLaunch(Launch::Fargate),
        ),
        (
            RunTask {
                launch: Some(Launch::Ec2),
                strategy: vec![item("FARGATE", 1, 0)],
                ..web()
            },
            Reject::LaunchAndStrategy,
        ),
        (
            RunTask {
                strategy: vec![item("gpus", 1, 0)],
                ..web()
            },
            Reject::ProviderNotAssociated("gpus".into()),
        ),
        (
            RunTask {
                strategy: vec![item("FARGATE", 0, 1), item("FARGATE_SPOT", 0, 0)],
                ..web()
            },
            Reject::StrategyWithoutWeight,
        ),
        (
            with(
                NewTask {
                    enable_execute_command: true,
                    ..nouns::new_task("default", "web")
                },
                web(),
            ),
            Reject::NoTaskRole,
        ),
        (
            with(
                NewTask {
                    volumes: vec!["data".into()],
                    ..nouns::new_task("default", "web")
                },
                web(),
            ),
            Reject::NoVolumeConfigurable,
        ),
        (
            RunTask {
                platform_version: Some("LATEST".into()),
                ..web()
            },
            Reject::PlatformVersionNotAllowed,
        ),
        (app(), Reject::AwsvpcNeedsNetwork),
        (
            with(
                NewTask {
                    network: subnets(),
                    ..nouns::new_task("default", "web")
                },
                web(),
            ),
            Reject::NetworkNotAllowed,
        ),
        (
            with(
                NewTask {
                    network: public(),
                    ..nouns::new_task("default", "app")
                },
                run("default", "app", 1),
            ),
            Reject::PublicIpNotAllowed,
        ),
        (
            RunTask {
                constraints: vec![PlacementConstraint::DistinctInstance],
                ..with(
                    NewTask {
                        network: subnets(),
                        ..nouns::new_task("default", "app")
                    },
                    app(),
                )
            },
            Reject::ConstraintsNotAllowed,
        ),
        (
            with(
                NewTask {
                    overrides,
                    ..nouns::new_task("default", "web")
                },
                web(),
            ),
            Reject::UnknownOverride("other".into()),
        ),
    ] {
        assert_eq!(core.reject(boxed(run)), reject);
    }
    let bad = PlacementConstraint::MemberOf("colour == red".into());
    let reject = core.reject(boxed(RunTask {
        constraints: vec![bad],
        ..web()
    }));
    assert!(matches!(reject, Reject::BadExpression { .. }), "{reject}");
}

#[test]
fn ports_that_others_listen_on_are_refused() {
    let mut core = Core::with_nodes(1);
    core.register(with_port(template("web", 1, 1), 80, 8080));
    core.register(with_port(template("other", 1, 1), 80, 9090));
    let port = |port| HostPort {
        protocol: Protocol::Tcp,
        port,
    };
    let in_use = |ports: &[u16]| Command::PortsInUse {
        node: NodeId(0),
        ports: ports.iter().map(|number| port(*number)).collect(),
    };
    core.ok(in_use(&[8080]));
    let refused = vec![Refusal::Port(port(8080))];
    assert_eq!(core.refused(run("default", "web", 1)), refused);
    // The same again is no news.
    assert!(core.ok(in_use(&[8080])).changes.is_empty());
    core.ok(in_use(&[]));
    let task = core.run(run("default", "web", 1))[0].spec.id;

    // What a task holds is its own, and is free as soon as the task has stopped.
    core.ok(in_use(&[8080, 9090]));
    core.report(seen(task, 1, TaskStatus::Stopped, ContainerStatus::Stopped));
    core.run(run("default", "web", 1));
    let refused = vec![Refusal::Port(port(9090))];
    assert_eq!(core.refused(run("default", "other", 1)), refused);

    // A node that registers tells them too.
    let mut node = nouns::node(0, 1);
    node.ports_in_use = [port(8080)].into();
    core.ok(Command::NodeConnected(Box::new(node)));
    core.run(run("default", "other", 1));
    let nobody = Command::PortsInUse {
        node: NodeId(9),
        ports: BTreeSet::new(),
    };
    assert_eq!(core.reject(nobody), Reject::NodeNotFound(NodeId(9)));
}

#[test]
fn fargate_needs_a_node_and_no_instance() {
    let mut core = Core::with_nodes(2);
    core.ok(nouns::create_cluster("empty"));
    core.register(fargate("app", 256, 512));
    let request = |count| {
        let mut run = run("empty", "app", count);
        run.task.network = subnets();
        run.launch = Some(Launch::Fargate);
        run
    };
    let tasks = core.run(request(2));
    assert_eq!(tasks.len(), 2, "one fits on each node");
    assert_eq!(tasks[0].state.last, TaskStatus::Provisioning);
    assert!(tasks[0].spec.attachment.is_some());
    assert_eq!(tasks[0].spec.ephemeral_storage_gib, Some(20));
    assert_eq!(tasks[0].spec.instance, InstanceId(tasks[0].spec.node.0));
    assert_ne!(tasks[0].spec.node, tasks[1].spec.node);
    let full = Refusal::Memory {
        need: 512,
        free: 488,
    };
    assert_eq!(core.refused(request(1)), vec![full.clone(), full]);

    let mut spot = request(1);
    spot.launch = None;
    let provider = String::from("FARGATE_SPOT");
    spot.strategy = vec![StrategyItem {
        provider,
        weight: 1,
        base: 0,
    }];
    core.ok(Command::NodeConnected(Box::new(nouns::node(9, 1))));
    let tasks = core.run(spot);
    assert_eq!(
        tasks[0].spec.capacity_provider.as_deref(),
        Some("FARGATE_SPOT")
    );
    assert_eq!(tasks[0].spec.launch, Launch::Fargate);
    assert_eq!(tasks[0].spec.node, NodeId(9));
}

#[test]
fn fargate_without_nodes_says_so() {
    let mut core = Core::with_nodes(0);
    core.register(fargate("app", 256, 512));
    let mut request = run("default", "app", 1);
    request.task.network = subnets();
    request.launch = Some(Launch::Fargate);
    assert_eq!(core.refused(request), vec![Refusal::AgentDisconnected]);
}

#[test]
fn resources_bound_what_is_placed() {
    for (made, fitting, refusal) in [
        (
            template("t", 300, 1),
            3,
            Refusal::Cpu {
                need: 300,
                free: 124,
            },
        ),
        (
            template("t", 0, 400),
            2,
            Refusal::Memory {
                need: 400,
                free: 200,
            },
        ),
        (
            with_port(template("t", 0, 1), 80, 8080),
            1,
            Refusal::Port(HostPort {
                protocol: Protocol::Tcp,
                port: 8080,
            }),
        ),
        (
            Template {
                network_mode: Some(NetworkMode::Host),
                ..with_port(template("t", 0, 1), 80, 0)
            },
            1,
            Refusal::Port(HostPort {
                protocol: Protocol::Tcp,
                port: 80,
            }),
        ),
        (
            with_port(template("t", 0, 1), 22, 22),
            0,
            Refusal::Port(HostPort {
                protocol: Protocol::Tcp,
                port: 22,
            }),
        ),
        (
            Template {
                cpu: Some(600),
                memory: Some(300),
                ..template("t", 10, 10)
            },
            1,
            Refusal::Cpu {
                need: 600,
                free: 424,
            },
        ),
    ] {
        let mut core = Core::with_nodes(1);
        core.register(made.clone());
        let answer = core.answer(boxed(run("default", "t", 10)));
        let Answer::Run { tasks, refused, .. } = answer else {
            panic!()
        };
        assert_eq!(tasks.len(), fitting, "{refusal:?}");
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].refusal, refusal);
    }
    // Dynamic ports are the agent's to choose: they bound nothing here.
    let mut core = Core::with_nodes(1);
    core.register(with_port(template("t", 0, 1), 80, 0));
    assert_eq!(core.run(run("default", "t", 10)).len(), 10);
}

#[test]
fn history_keeps_a_few_refusals_and_their_count() {
    let mut core = Core::with_nodes(8);
    core.register(template("t", 2000, 1));
    let decision = core.ok(boxed(run("default", "t", 3)));
    let Answer::Run { refused, .. } = &decision.answer else {
        panic!()
    };
    assert_eq!(refused.len(), 8);
    let not_placed = decision
        .history
        .iter()
        .find_map(|entry| match &entry.event {
            Event::NotPlaced { refused, total, .. } => Some((refused.len(), *total)),
            _ => None,
        });
    assert_eq!(not_placed, Some((5, 8)));
    assert!(decision.changes.is_empty() && decision.effects.is_empty());
}

#[test]
fn a_stopped_task_gives_back_what_it_held() {
    let mut core = Core::with_nodes(1);
    core.register(with_port(template("t", 1000, 900), 80, 8080));
    let task = core.run(run("default", "t", 1))[0].spec.id;
    assert_eq!(core.refused(run("default", "t", 1)).len(), 1);
    core.report(seen(task, 1, TaskStatus::Running, ContainerStatus::Running));
    assert_eq!(core.refused(run("default", "t", 1)).len(), 1);
    core.report(seen(task, 2, TaskStatus::Stopped, ContainerStatus::Stopped));
    assert_eq!(core.run(run("default", "t", 1)).len(), 1);
}

#[test]
fn what_no_node_provides_is_refused_by_name() {
    let log = |driver: &str| {
        Some(LogConfiguration {
            driver: driver.into(),
            options: None,
            secret_options: None,
        })
    };
    let container = |change: &dyn Fn(&mut windlass_model::container::ContainerDefinition)| {
        let mut made = template("t", 1, 1);
        change(&mut made.containers[0]);
        made
    };
    let volume = |kind| Template {
        volumes: vec![Volume {
            name: name("data"),
            kind,
        }],
        ..template("t", 1, 1)
    };
    let secret = Secret {
        name: "A".into(),
        value_from: "arn".into(),
    };
    let gpu = ResourceRequirement {
        kind: "GPU".into(),
        value: Some("1".into()),
        sharing: None,
    };
    let plugin = DockerVolume {
        driver: Some("rexray".into()),
        ..DockerVolume::default()
    };
    for (made, what) in [
        (
            container(&|c| c.secrets = vec![secret.clone()]),
            "secrets (container main)",
        ),
        (
            container(&|c| c.log = log("awsfirelens")),
            "log driver awsfirelens (container main)",
        ),
        (
            container(&|c| c.environment_files = vec!["arn:s3".into()]),
            "environmentFiles (container main)",
        ),
        (
            container(&|c| c.resource_requirements = Some(vec![gpu.clone()])),
            "resourceRequirements GPU (container main)",
        ),
        (
            volume(VolumeKind::Efs(EfsVolume::default())),
            "efsVolumeConfiguration (volume data)",
        ),
        (
            volume(VolumeKind::Docker(plugin)),
            "docker volume driver rexray (volume data)",
        ),
    ] {
        let mut core = Core::with_nodes(1);
        core.register(made);
        assert_eq!(
            core.refused(run("default", "t", 1)),
            [Refusal::Unsupported(what.into())]
        );
    }
    let mut core = Core::with_nodes(1);
    for driver in ["awslogs", "syslog", "json-file"] {
        core.register(container(&|c| c.log = log(driver)));
    }
    core.register(volume(VolumeKind::Docker(DockerVolume::default())));
    for (revision, driver) in [(1, Some("awslogs")), (2, Some("syslog")), (3, None)] {
        let decision = core.ok(boxed(RunTask {
            task: NewTask {
                definition: DefinitionRef::Exact(DefinitionKey {
                    family: name("t"),
                    revision,
                }),
                ..nouns::new_task("default", "t")
            },
            ..run("default", "t", 1)
        }));
        let note = decision
            .history
            .iter()
            .find_map(|entry| match &entry.event {
                Event::Note(note) => note.split(' ').next(),
                _ => None,
            });
        assert_eq!(note, driver);
    }
    assert_eq!(core.run(run("default", "t", 1)).len(), 1);
}

#[test]
fn attributes_and_constraints_choose_instances() {
    let mut core = Core::with_nodes(4);
    let needs = Attribute {
        name: "ecs.capability.x".into(),
        value: None,
    };
    core.register(Template {
        requires_attributes: vec![needs.clone()],
        ..template("special", 1, 1)
    });
    core.register(template("t", 1, 1));
    let missing = Refusal::Attribute("ecs.capability.x".into());
    assert_eq!(core.refused(run("default", "special", 1)), vec![missing; 4]);
    let mut able = nouns::node(3, 1);
    able.attributes.push(needs);
    core.ok(Command::NodeConnected(Box::new(able)));
    assert_eq!(
        core.run(run("default", "special", 1))[0].spec.node,
        NodeId(3)
    );

    let zone = "attribute:ecs.availability-zone == zone-1";
    let constraints = vec![PlacementConstraint::MemberOf(zone.into())];
    let tasks = core.run(RunTask {
        constraints,
        ..run("default", "t", 6)
    });
    assert!(
        tasks.iter().all(|view| view.spec.node.0 % 2 == 1),
        "{tasks:?}"
    );
    assert_eq!(tasks.len(), 6);

    let constraints = vec![PlacementConstraint::DistinctInstance];
    let mut request = RunTask {
        constraints,
        ..run("default", "t", 5)
    };
    request.task.group = Some("apart".into());
    let Answer::Run { tasks, refused, .. } = core.answer(boxed(request)) else {
        panic!()
    };
    let nodes: BTreeSet<NodeId> = tasks.iter().map(|view| view.spec.node).collect();
    assert_eq!((tasks.len(), nodes.len()), (4, 4));
    assert_eq!(refused.len(), 4);
    assert_eq!(
        refused[0].refusal,
        Refusal::Constraint("distinctInstance".into())
    );
}

#[test]
fn strategies_order_the_choice() {
    let spread = |field| PlacementStrategy::Spread(field);
    let zone = || SpreadField::Attribute("ecs.availability-zone".into());
    let per_node = |strategies: Vec<PlacementStrategy>, count| {
        let mut core = Core::with_nodes(4);
        core.register(template("t", 10, 10));
        let tasks = core.run(RunTask {
            strategies,
            ..run("default", "t", count)
        });
        assert_eq!(tasks.len(), count as usize);
        let mut nodes: BTreeMap<NodeId, usize> = BTreeMap::new();
        tasks
            .iter()
            .for_each(|view| *nodes.entry(view.spec.node).or_default() += 1);
        nodes
    };
    let even = per_node(vec![spread(SpreadField::InstanceId)], 8);
    assert!(
        even.values().all(|tasks| *tasks == 2) && even.len() == 4,
        "{even:?}"
    );
    let packed = per_node(vec![PlacementStrategy::Binpack(BinpackField::Memory)], 8);
    assert_eq!(packed.len(), 1, "{packed:?}");
    let zones = per_node(
        vec![
            spread(zone()),
            PlacementStrategy::Binpack(BinpackField::Cpu),
        ],
        6,
    );
    assert_eq!(
        zones.values().copied().collect::<Vec<_>>(),
        [3, 3],
        "{zones:?}"
    );
    let random = per_node(Vec::new(), 10);
    assert!(random.len() > 1, "{random:?}");
}

#[test]
fn disconnected_nodes_take_nothing() {
    let mut core = Core::with_nodes(2);
    core.register(template("t", 1, 1));
    core.ok(Command::NodeDisconnected(NodeId(0)));
    let tasks = core.run(run("default", "t", 4));
    assert!(tasks.iter().all(|view| view.spec.node == NodeId(1)));
    core.ok(Command::NodeDisconnected(NodeId(1)));
    assert_eq!(
        core.refused(run("default", "t", 1)),
        vec![Refusal::AgentDisconnected; 2]
    );
    assert!(!core.task(tasks[0].spec.id).connected);
}

#[test]
fn a_client_token_runs_once() {
    let mut core = Core::with_nodes(1);
    core.register(template("t", 1, 1));
    let request = |token: &str, fingerprint| RunTask {
        client_token: Some(token.into()),
        fingerprint: [fingerprint; 32],
        ..run("default", "t", 2)
    };
    let ids = |tasks: Vec<windlass_cluster::TaskView>| {
        tasks
            .into_iter()
            .map(|view| view.spec.id)
            .collect::<Vec<_>>()
    };
    let first = ids(core.run(request("a", 1)));
    let decision = core.ok(boxed(request("a", 1)));
    assert!(decision.changes.is_empty() && decision.effects.is_empty());
    assert_eq!(ids(core.run(request("a", 1))), first);
    assert_eq!(
        core.reject(boxed(request("a", 2))),
        Reject::TokenConflict {
            tasks: first.clone(),
            cluster: name("default")
        }
    );
    assert_ne!(ids(core.run(request("b", 1))), first);
    core.pass(86_400_000);
    assert_ne!(ids(core.run(request("a", 1))), first);
}

#[test]
fn overrides_and_tags_reach_the_task() {
    let mut core = Core::with_nodes(1);
    let tags = |pairs: &[(&str, &str)]| -> Vec<Tag> {
        let tag = |(key, value): &(&str, &str)| Tag {
            key: (*key).into(),
            value: (*value).into(),
        };
        pairs.iter().map(tag).collect()
    };
    core.ok(Command::RegisterTaskDefinition(Box::new(
        windlass_model::command::RegisterTaskDefinition {
            template: template("t", 100, 100),
            tags: tags(&[("team", "red"), ("tier", "back")]),
        },
    )));
    let mut request = run("default", "t", 1);
    request.task.enable_ecs_managed_tags = true;
    request.task.propagate_definition_tags = true;
    request.task.tags = tags(&[("team", "blue")]);
    request.task.overrides.cpu = Some(512);
    request.task.group = Some("batch".into());
    request.task.started_by = Some("me".into());
    let task = core.run(request).remove(0);
    assert_eq!(
        task.state.tags,
        tags(&[
            ("aws:ecs:clusterName", "default"),
            ("team", "blue"),
            ("tier", "back")
        ])
    );
    assert_eq!(
        (task.spec.cpu_units, task.spec.memory_mib),
        (Some(512), Some(100))
    );
    assert_eq!(
        (task.spec.group.as_str(), task.spec.started_by.as_deref()),
        ("batch", Some("me"))
    );
}

#[test]
fn start_task_takes_the_named_instances() {
    let mut core = Core::with_nodes(2);
    core.register(template("t", 600, 1));
    let ids = core.instance_ids();
    let nowhere = InstanceId(12345);
    let start = |instances: Vec<InstanceId>| {
        let task = nouns::new_task("default", "t");
        Command::StartTask(Box::new(StartTask { task, instances }))
    };
    let answer = core.answer(start(vec![ids[0], nowhere, ids[1], ids[0]]));
    let Answer::Run { tasks, refused, .. } = answer else {
        panic!()
    };
    let places: Vec<InstanceId> = tasks.iter().map(|view| view.spec.instance).collect();
    assert_eq!(places, [ids[0], ids[1]]);
    let refusals: Vec<_> = refused
        .into_iter()
        .map(|item| (item.instance, item.refusal))
        .collect();
    assert_eq!(
        refusals,
        [
            (nowhere, Refusal::Missing),
            (
                ids[0],
                Refusal::Cpu {
                    need: 600,
                    free: 424
                }
            )
        ]
    );
}

#[test]
fn one_node_in_two_clusters_has_one_set_of_resources() {
    let mut core = Core::with_nodes(1);
    core.ok(nouns::create_cluster("other"));
    core.ok(Command::AddNode {
        node: NodeId(0),
        cluster: name("other"),
    });
    core.register(template("t", 600, 1));
    assert_eq!(core.run(run("default", "t", 1)).len(), 1);
    assert_eq!(
        core.refused(run("other", "t", 1)),
        [Refusal::Cpu {
            need: 600,
            free: 424
        }]
    );
}

#[test]
fn a_node_takes_as_many_interfaces_as_its_network_has() {
    let mut core = Core::empty();
    core.ok(nouns::create_cluster("default"));
    let mut node = nouns::node(0, 1);
    node.total.links = 3;
    core.ok(Command::NodeConnected(Box::new(node)));
    core.ok(Command::AddNode {
        node: NodeId(0),
        cluster: name("default"),
    });
    let two = |family: &str, mode| {
        let mut template = template(family, 1, 1);
        template.containers.push(nouns::container("second", 1, 1));
        template.network_mode = Some(mode);
        template
    };
    core.register(two("bridge", NetworkMode::Bridge));
    core.register(two("awsvpc", NetworkMode::Awsvpc));
    core.register(two("host", NetworkMode::Host));
    let in_vpc = || {
        let mut run = run("default", "awsvpc", 1);
        run.task.network = subnets();
        run
    };
    // One for each container in bridge mode, one for the task in awsvpc, none with the host's own.
    assert_eq!(core.run(run("default", "bridge", 1)).len(), 1);
    let refusal = Refusal::Links { need: 2, free: 1 };
    assert_eq!(core.refused(run("default", "bridge", 1)), [refusal]);
    let last = core.run(in_vpc());
    assert_eq!(last.len(), 1);
    let refusal = Refusal::Links { need: 1, free: 0 };
    assert_eq!(core.refused(in_vpc()), [refusal]);
    assert_eq!(core.run(run("default", "host", 1)).len(), 1);
    let Answer::Nodes(nodes) = core.answer(Command::ListNodes) else {
        panic!()
    };
    assert_eq!(nodes[0].remaining.links, 0);
    let id = last[0].spec.id;
    core.report(seen(id, 1, TaskStatus::Stopped, ContainerStatus::Stopped));
    assert_eq!(core.run(in_vpc()).len(), 1, "its room is free again");
}
