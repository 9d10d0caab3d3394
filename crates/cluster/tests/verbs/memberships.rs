//! How nodes become container instances of clusters, and how that ends.

use crate::core::{Core, seen};
use crate::nouns::{self, name, run, template};
use windlass_cluster::{Answer, InstanceView, Reject};
use windlass_model::command::{
    Command, DeregisterContainerInstance, ListContainerInstances, Page, StopTask,
};
use windlass_model::history::Event;
use windlass_model::id::{InstanceId, NodeId};
use windlass_model::instance::{InstanceStatus, Node};
use windlass_model::placement::Refusal;
use windlass_model::status::{ContainerStatus, TaskStatus};

/// Node 0 joins by itself what has no instance; cluster `web` has none.
fn on_demand() -> Core {
    let mut core = Core::empty();
    core.ok(nouns::create_cluster("web"));
    core.ok(Command::NodeConnected(Box::new(eager(0))));
    core.register(template("app", 600, 10));
    core
}

fn eager(id: u128) -> Node {
    Node {
        joins_on_demand: true,
        ..nouns::node(id, 1)
    }
}

fn instances(core: &mut Core, cluster: &str, status: Option<InstanceStatus>) -> Vec<InstanceId> {
    let list = ListContainerInstances {
        cluster: name(cluster),
        status,
        filter: None,
        page: Page {
            after: None,
            limit: 100,
        },
    };
    match core.answer(Command::ListContainerInstances(list)) {
        Answer::InstanceIds { instances, .. } => instances,
        other => panic!("{other:?}"),
    }
}

fn only(core: &mut Core, cluster: &str) -> InstanceView {
    let ids = instances(core, cluster, None);
    assert_eq!(ids.len(), 1, "{cluster}");
    let describe = Command::DescribeContainerInstances {
        cluster: name(cluster),
        instances: ids,
    };
    match core.answer(describe) {
        Answer::Instances { mut found, .. } => found.remove(0),
        other => panic!("{other:?}"),
    }
}

fn registered(core: &mut Core, cluster: &str) -> u32 {
    match core.answer(Command::DescribeClusters(vec![name(cluster)])) {
        Answer::Clusters { found, .. } => found[0].registered_instances,
        other => panic!("{other:?}"),
    }
}

fn deregister(cluster: &str, instance: InstanceId, force: bool) -> Command {
    Command::DeregisterContainerInstance(DeregisterContainerInstance {
        cluster: name(cluster),
        instance,
        force,
    })
}

fn set(cluster: &str, instances: Vec<InstanceId>, status: InstanceStatus) -> Command {
    Command::UpdateContainerInstancesState {
        cluster: name(cluster),
        instances,
        status,
    }
}

fn add(cluster: &str) -> Command {
    Command::AddNode {
        node: NodeId(0),
        cluster: name(cluster),
    }
}

/// Ends all its tasks, as their node would.
fn end(core: &mut Core, cluster: &str, tasks: &[windlass_cluster::TaskView]) {
    for task in tasks {
        let id = task.spec.id;
        core.ok(Command::StopTask(StopTask {
            cluster: name(cluster),
            task: id,
            reason: None,
        }));
        core.report(seen(id, 1, TaskStatus::Stopped, ContainerStatus::Stopped));
    }
}

/// Until nothing of it is unfinished.
fn delete(core: &mut Core, cluster: &str) {
    while matches!(
        core.answer(Command::DeleteCluster(name(cluster))),
        Answer::Unfinished
    ) {}
}

#[test]
fn a_cluster_without_instance_gets_one_when_a_task_is_to_be_placed() {
    let mut core = on_demand();
    assert_eq!(registered(&mut core, "web"), 0);
    let decided = core.ok(Command::RunTask(Box::new(run("web", "app", 1))));
    let joined = |subject: &str| {
        decided.history.iter().any(|entry| {
            let by_itself = matches!(
                entry.event,
                Event::Joined {
                    on_demand: true,
                    ..
                }
            );
            by_itself && entry.subject.starts_with(subject)
        })
    };
    assert!(joined("cluster/web") && joined("instance/"));
    let view = only(&mut core, "web");
    assert_eq!((view.instance.node, view.pending_tasks), (NodeId(0), 1));
    assert!(view.instance.on_demand);
    assert_eq!(registered(&mut core, "web"), 1);
}

#[test]
fn room_is_one_for_all_memberships() {
    let mut core = on_demand();
    core.ok(nouns::create_cluster("other"));
    assert_eq!(core.run(run("web", "app", 1)).len(), 1);
    assert_eq!(
        core.refused(run("other", "app", 1)),
        [Refusal::Cpu {
            need: 600,
            free: 424
        }]
    );
    let (web, other) = (only(&mut core, "web"), only(&mut core, "other"));
    assert_ne!(web.instance.id, other.instance.id);
    assert_eq!(web.remaining, other.remaining);
    assert_eq!(other.remaining.cpu_units, 424);
    assert_eq!((web.pending_tasks, other.pending_tasks), (1, 0));
}

#[test]
fn only_nodes_that_may_join_do() {
    let mut core = Core::empty();
    core.ok(nouns::create_cluster("web"));
    core.ok(Command::NodeConnected(Box::new(nouns::node(0, 1))));
    core.register(template("app", 1, 1));
    let none = Reject::NoInstances {
        cluster: name("web"),
    };
    let ask = || Command::RunTask(Box::new(run("web", "app", 1)));
    assert_eq!(core.reject(ask()), none);
    core.ok(Command::NodeConnected(Box::new(eager(1))));
    core.ok(Command::NodeDisconnected(NodeId(1)));
    assert_eq!(core.reject(ask()), none, "nobody is there");
    core.ok(Command::NodeConnected(Box::new(eager(1))));
    core.ok(ask());
    assert_eq!(only(&mut core, "web").instance.node, NodeId(1));
    // The membership of a machine that is away for good keeps no other from it.
    core.ok(Command::NodeDisconnected(NodeId(1)));
    core.ok(Command::NodeConnected(Box::new(eager(2))));
    core.ok(ask());
    assert_eq!(instances(&mut core, "web", None).len(), 2);
}

#[test]
fn what_somebody_ended_does_not_come_back_by_itself() {
    let mut core = on_demand();
    let tasks = core.run(run("web", "app", 1));
    let id = only(&mut core, "web").instance.id;
    assert_eq!(
        core.reject(deregister("web", id, false)),
        Reject::InstanceHasTasks(id)
    );
    end(&mut core, "web", &tasks);
    core.ok(deregister("web", id, false));
    assert_eq!(instances(&mut core, "web", None), []);
    let inactive = Some(InstanceStatus::Inactive);
    assert_eq!(instances(&mut core, "web", inactive), [id]);
    assert_eq!(registered(&mut core, "web"), 0);
    assert_eq!(
        core.reject(deregister("web", id, true)),
        Reject::InstanceNotFound(id)
    );
    let ask = || Command::RunTask(Box::new(run("web", "app", 1)));
    let none = || Reject::NoInstances {
        cluster: name("web"),
    };
    assert_eq!(core.reject(ask()), none());
    core.ok(Command::JoinAtStart {
        node: NodeId(0),
        cluster: name("web"),
    });
    assert_eq!(core.reject(ask()), none(), "a start brings it back");
    core.ok(add("web"));
    assert_eq!(core.run(run("web", "app", 1)).len(), 1);
    let again = only(&mut core, "web").instance;
    assert!(again.id != id && !again.on_demand);
}

#[test]
fn a_start_joins_what_it_is_told_and_makes_it_stay() {
    let mut core = on_demand();
    core.ok(nouns::create_cluster("other"));
    let tasks = core.run(run("web", "app", 1));
    end(&mut core, "web", &tasks);
    for cluster in ["web", "other"] {
        core.ok(Command::JoinAtStart {
            node: NodeId(0),
            cluster: name(cluster),
        });
        assert!(!only(&mut core, cluster).instance.on_demand);
        assert_eq!(
            core.reject(Command::DeleteCluster(name(cluster))),
            Reject::ClusterContainsInstances(name(cluster))
        );
    }
}

#[test]
fn a_forced_deregistration_lets_tasks_run_and_keeps_their_room() {
    let mut core = on_demand();
    let tasks = core.run(run("web", "app", 1));
    let id = only(&mut core, "web").instance.id;
    let decided = core.ok(deregister("web", id, true));
    assert!(decided.effects.is_empty(), "its node hears nothing of it");
    assert!(
        decided
            .history
            .iter()
            .any(|entry| matches!(entry.event, Event::Left { tasks: 1, .. }))
    );
    let task = tasks[0].spec.id;
    assert_eq!(core.task(task).state.last, TaskStatus::Pending);
    core.ok(add("web"));
    assert_eq!(only(&mut core, "web").remaining.cpu_units, 424);
    // Deregistered again, the first record stays, for its task names it.
    let second = only(&mut core, "web").instance.id;
    core.ok(deregister("web", second, false));
    let inactive = Some(InstanceStatus::Inactive);
    assert_eq!(instances(&mut core, "web", inactive).len(), 2);
    end(&mut core, "web", &tasks);
    core.ok(add("web"));
    let third = only(&mut core, "web").instance.id;
    core.ok(deregister("web", third, false));
    assert_eq!(instances(&mut core, "web", inactive), [third]);
}

#[test]
fn a_draining_instance_takes_nothing_until_it_is_active_again() {
    let mut core = on_demand();
    core.register(template("small", 1, 1));
    let tasks = core.run(run("web", "small", 1));
    let id = only(&mut core, "web").instance.id;
    let update = set("web", vec![id, InstanceId(7)], InstanceStatus::Draining);
    let Answer::UpdatedInstances {
        found,
        missing,
        inactive,
    } = core.answer(update)
    else {
        panic!()
    };
    assert_eq!(found[0].instance.status, InstanceStatus::Draining);
    assert_eq!((missing, inactive), (vec![InstanceId(7)], vec![]));
    assert_eq!(registered(&mut core, "web"), 1, "it counts as registered");
    assert_eq!(core.refused(run("web", "small", 1)), [Refusal::Draining]);
    let running = core.task(tasks[0].spec.id);
    assert_eq!(running.state.last, TaskStatus::Pending, "it is untouched");
    core.ok(Command::JoinAtStart {
        node: NodeId(0),
        cluster: name("web"),
    });
    assert_eq!(core.refused(run("web", "small", 1)), [Refusal::Draining]);
    core.ok(set("web", vec![id], InstanceStatus::Active));
    assert_eq!(core.run(run("web", "small", 1)).len(), 1);
    core.ok(set("web", vec![id], InstanceStatus::Draining));
    core.ok(add("web"));
    assert_eq!(core.run(run("web", "small", 1)).len(), 1);
    core.ok(deregister("web", id, true));
    let Answer::UpdatedInstances { inactive, .. } =
        core.answer(set("web", vec![id], InstanceStatus::Active))
    else {
        panic!()
    };
    assert_eq!(
        inactive,
        [id],
        "what was deregistered does not come back so"
    );
}

#[test]
fn a_deleted_cluster_takes_along_what_joined_by_itself() {
    let mut core = on_demand();
    let tasks = core.run(run("web", "app", 1));
    assert_eq!(
        core.reject(Command::DeleteCluster(name("web"))),
        Reject::ClusterContainsTasks(name("web"))
    );
    end(&mut core, "web", &tasks);
    delete(&mut core, "web");
    assert_eq!(registered(&mut core, "web"), 0);
    while matches!(
        core.answer(nouns::create_cluster("web")),
        Answer::Unfinished
    ) {}
    let tasks = core.run(run("web", "app", 1));
    assert_eq!(tasks.len(), 1, "a cluster made again begins afresh");
    end(&mut core, "web", &tasks);
    // Once somebody added it, it is theirs to remove.
    core.ok(add("web"));
    assert_eq!(
        core.reject(Command::DeleteCluster(name("web"))),
        Reject::ClusterContainsInstances(name("web"))
    );
    let id = only(&mut core, "web").instance.id;
    core.ok(deregister("web", id, false));
    delete(&mut core, "web");
}

#[test]
fn every_verb_wants_an_active_cluster() {
    let mut core = on_demand();
    for command in [
        deregister("none", InstanceId(1), true),
        set("none", vec![], InstanceStatus::Active),
        add("none"),
        Command::JoinAtStart {
            node: NodeId(0),
            cluster: name("none"),
        },
    ] {
        assert_eq!(core.reject(command), Reject::ClusterNotFound(name("none")));
    }
    assert_eq!(
        core.reject(deregister("web", InstanceId(1), true)),
        Reject::InstanceNotFound(InstanceId(1))
    );
}
