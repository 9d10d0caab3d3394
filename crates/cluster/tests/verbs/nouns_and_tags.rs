//! Clusters, task definitions, instances, nodes and tags.

use crate::core::{Core, seen};
use crate::nouns::{self, name, run, template};
use windlass_cluster::{Answer, DeleteFailure, Reject};
use windlass_model::cluster::ClusterStatus;
use windlass_model::command::{
    Command, ListContainerInstances, ListTaskDefinitionFamilies, ListTaskDefinitions, Page,
    RegisterTaskDefinition, Resource,
};
use windlass_model::definition::{DefinitionKey, DefinitionRef, Template};
use windlass_model::id::{InstanceId, NodeId, TaskId};
use windlass_model::status::{ContainerStatus, DefinitionStatus, TaskStatus};
use windlass_model::tag::Tag;

fn key(family: &str, revision: u32) -> DefinitionKey {
    DefinitionKey {
        family: name(family),
        revision,
    }
}

fn page() -> Page {
    Page {
        after: None,
        limit: 100,
    }
}

fn cluster(answer: Answer) -> windlass_cluster::ClusterView {
    match answer {
        Answer::Cluster(view) => view,
        other => panic!("{other:?}"),
    }
}

#[test]
fn clusters_come_and_go() {
    let mut core = Core::empty();
    let first = cluster(core.answer(nouns::create_cluster("web")));
    assert_eq!(first.cluster.status, ClusterStatus::Active);
    let again = core.ok(nouns::create_cluster("web"));
    assert!(again.changes.is_empty());
    assert_eq!(cluster(again.answer).cluster, first.cluster);

    let deleted = cluster(core.answer(Command::DeleteCluster(name("web"))));
    assert_eq!(deleted.cluster.status, ClusterStatus::Inactive);
    let delete = Command::DeleteCluster(name("web"));
    assert_eq!(
        core.reject(delete.clone()),
        Reject::ClusterInactive(name("web"))
    );
    core.register(template("t", 1, 1));
    let run = Command::RunTask(Box::new(run("web", "t", 1)));
    assert_eq!(core.reject(run), Reject::ClusterInactive(name("web")));
    let list = |core: &mut Core| match core.answer(Command::ListClusters(page())) {
        Answer::Names { names, .. } => names,
        other => panic!("{other:?}"),
    };
    assert!(list(&mut core).is_empty());

    let fresh = cluster(core.answer(nouns::create_cluster("web")));
    assert!(fresh.cluster.created_at > first.cluster.created_at);
    assert_eq!(list(&mut core), ["web"]);
    core.ok(delete);
    core.pass(3_600_000);
    let describe = Command::DescribeClusters(vec![name("web")]);
    let Answer::Clusters { found, missing } = core.answer(describe) else {
        panic!()
    };
    assert_eq!((found.len(), missing), (0, vec![name("web")]));
}

#[test]
fn a_cluster_in_use_is_not_deleted() {
    let mut core = Core::with_nodes(1);
    let delete = |cluster: &str| Command::DeleteCluster(name(cluster));
    let default = name("default");
    assert_eq!(
        core.reject(delete("default")),
        Reject::ClusterContainsInstances(default)
    );
    core.ok(nouns::create_cluster("empty"));
    core.register(nouns::fargate("app", 256, 512));
    let mut request = run("empty", "app", 1);
    request.launch = Some(windlass_model::task::Launch::Fargate);
    request.task.network = nouns::subnets();
    let task = core.run(request)[0].spec.id;
    assert_eq!(
        core.reject(delete("empty")),
        Reject::ClusterContainsTasks(name("empty"))
    );
    core.report(seen(task, 1, TaskStatus::Stopped, ContainerStatus::Stopped));
    core.ok(delete("empty"));
    assert!(core.find(task).is_some());
}

#[test]
fn a_cluster_counts_its_tasks() {
    let mut core = Core::with_nodes(2);
    core.register(template("t", 1, 1));
    let tasks = core.run(run("default", "t", 3));
    core.report(seen(
        tasks[0].spec.id,
        1,
        TaskStatus::Running,
        ContainerStatus::Running,
    ));
    core.report(seen(
        tasks[1].spec.id,
        1,
        TaskStatus::Stopped,
        ContainerStatus::Stopped,
    ));
    let describe = Command::DescribeClusters(vec![name("default")]);
    let Answer::Clusters { found, .. } = core.answer(describe) else {
        panic!()
    };
    let view = &found[0];
    let counts = (
        view.registered_instances,
        view.running_tasks,
        view.pending_tasks,
    );
    assert_eq!(counts, (2, 1, 1));
    assert_eq!((view.ec2.running, view.fargate.running), (1, 0));
}

#[test]
fn revisions_are_never_used_again() {
    let mut core = Core::with_nodes(1);
    for _ in 0..3 {
        core.register(template("web", 1, 1));
    }
    let describe = |core: &mut Core, which| match core.give(Command::DescribeTaskDefinition(which))
    {
        Ok(decision) => match decision.answer {
            Answer::Definition(view) => Ok((view.definition.key.revision, view.state.status)),
            other => panic!("{other:?}"),
        },
        Err(reject) => Err(reject),
    };
    let latest = || DefinitionRef::Latest(name("web"));
    assert_eq!(
        describe(&mut core, latest()),
        Ok((3, DefinitionStatus::Active))
    );
    core.ok(Command::DeregisterTaskDefinition(key("web", 3)));
    assert!(
        core.ok(Command::DeregisterTaskDefinition(key("web", 3)))
            .changes
            .is_empty()
    );
    assert_eq!(
        describe(&mut core, latest()),
        Ok((2, DefinitionStatus::Active))
    );
    let exact = DefinitionRef::Exact(key("web", 3));
    assert_eq!(
        describe(&mut core, exact.clone()),
        Ok((3, DefinitionStatus::Inactive))
    );

    let delete = vec![key("web", 3), key("web", 2), key("web", 9)];
    let answer = core.answer(Command::DeleteTaskDefinitions(delete));
    let Answer::Definitions { found, failures } = answer else {
        panic!()
    };
    assert_eq!(found[0].state.status, DefinitionStatus::DeleteInProgress);
    let expected = [
        (key("web", 2), DeleteFailure::StillActive),
        (key("web", 9), DeleteFailure::NotFound),
    ];
    assert_eq!(failures, expected);
    core.pass(0);
    let gone = Reject::DefinitionNotDescribable("web:3".into());
    assert_eq!(describe(&mut core, exact), Err(gone));
    core.register(template("web", 1, 1));
    assert_eq!(
        describe(&mut core, latest()),
        Ok((4, DefinitionStatus::Active))
    );
    let none = core.reject(Command::DeregisterTaskDefinition(key("web", 9)));
    assert_eq!(none, Reject::DefinitionNotDeregistrable(key("web", 9)));
}

#[test]
fn a_deleted_revision_stays_while_a_task_shows_it() {
    let mut core = Core::with_nodes(1);
    core.register(template("web", 1, 1));
    let task = core.run(run("default", "web", 1))[0].spec.id;
    core.ok(Command::DeregisterTaskDefinition(key("web", 1)));
    core.ok(Command::DeleteTaskDefinitions(vec![key("web", 1)]));
    core.pass(0);
    assert!(core.find(task).is_some());
    core.report(seen(task, 1, TaskStatus::Stopped, ContainerStatus::Stopped));
    core.pass(3_600_000);
    let which = DefinitionRef::Exact(key("web", 1));
    assert!(core.give(Command::DescribeTaskDefinition(which)).is_err());
    let families = ListTaskDefinitionFamilies {
        prefix: None,
        active: None,
        page: page(),
    };
    let answer = core.answer(Command::ListTaskDefinitionFamilies(families));
    assert!(matches!(answer, Answer::Names { names, .. } if names.is_empty()));
}

#[test]
fn definitions_are_listed_in_order() {
    let mut core = Core::empty();
    for family in ["b", "a", "ab", "b", "a"] {
        core.register(template(family, 1, 1));
    }
    core.ok(Command::DeregisterTaskDefinition(key("ab", 1)));
    let list = |core: &mut Core, family: Option<&str>, status, descending, page| {
        let family = family.map(String::from);
        let list = ListTaskDefinitions {
            family,
            status,
            descending,
            page,
        };
        match core.answer(Command::ListTaskDefinitions(list)) {
            Answer::DefinitionKeys { keys, more } => {
                let keys: Vec<String> = keys.iter().map(DefinitionKey::to_string).collect();
                (keys.join(" "), more)
            }
            other => panic!("{other:?}"),
        }
    };
    use DefinitionStatus::{Active, Inactive};
    for (family, status, descending, expected) in [
        (None, Active, false, "a:1 a:2 b:1 b:2"),
        (None, Active, true, "b:2 b:1 a:2 a:1"),
        (Some("a"), Active, false, "a:1 a:2"),
        (None, Inactive, false, "ab:1"),
        (Some("none"), Active, false, ""),
    ] {
        let listed = list(&mut core, family, status, descending, page());
        assert_eq!(listed, (expected.to_owned(), false));
    }
    let after = |text: &str| Page {
        after: Some(text.into()),
        limit: 2,
    };
    assert_eq!(
        list(&mut core, None, Active, false, after("a:1")),
        ("a:2 b:1".into(), true)
    );
    assert_eq!(
        list(&mut core, None, Active, true, after("b:1")),
        ("a:2 a:1".into(), false)
    );
    for (prefix, active, expected) in [
        (None, None, "a ab b"),
        (Some("a"), None, "a ab"),
        (None, Some(true), "a b"),
        (None, Some(false), "ab"),
    ] {
        let prefix = prefix.map(String::from);
        let list = ListTaskDefinitionFamilies {
            prefix,
            active,
            page: page(),
        };
        let answer = core.answer(Command::ListTaskDefinitionFamilies(list));
        let Answer::Names { names, .. } = answer else {
            panic!()
        };
        assert_eq!(names.join(" "), expected);
    }
    let constrained = Template {
        placement_constraints: vec!["attribute:x".into()],
        ..template("c", 1, 1)
    };
    assert!(matches!(
        core.reject(nouns::register(constrained)),
        Reject::BadExpression { .. }
    ));
}

#[test]
fn nodes_join_clusters() {
    let mut core = Core::with_nodes(1);
    let add = |node, cluster: &str| Command::AddNode {
        node: NodeId(node),
        cluster: name(cluster),
    };
    assert_eq!(
        core.reject(add(0, "none")),
        Reject::ClusterNotFound(name("none"))
    );
    assert_eq!(
        core.reject(add(9, "default")),
        Reject::NodeNotFound(NodeId(9))
    );
    assert!(core.ok(add(0, "default")).changes.is_empty());
    core.ok(nouns::create_cluster("other"));
    core.ok(add(0, "other"));
    let Answer::Nodes(nodes) = core.answer(Command::ListNodes) else {
        panic!()
    };
    assert_eq!((nodes.len(), nodes[0].instances.len()), (1, 2));
}

#[test]
fn instances_show_what_is_left() {
    let mut core = Core::with_nodes(1);
    core.register(nouns::with_port(template("t", 100, 200), 80, 8080));
    core.run(run("default", "t", 1));
    let id = core.instance_ids()[0];
    let describe = |instances| Command::DescribeContainerInstances {
        cluster: name("default"),
        instances,
    };
    let answer = core.answer(describe(vec![id, InstanceId(1)]));
    let Answer::Instances { found, missing } = answer else {
        panic!()
    };
    assert_eq!(missing, [InstanceId(1)]);
    let left = &found[0].remaining;
    assert_eq!((left.cpu_units, left.memory_mib), (924, 800));
    let ports: Vec<u16> = left.ports.iter().map(|port| port.port).collect();
    assert_eq!(ports, [22, 8080]);
    assert_eq!((found[0].running_tasks, found[0].pending_tasks), (0, 1));
}

#[test]
fn instances_are_filtered_by_expression() {
    let mut core = Core::with_nodes(4);
    core.register(template("t", 1, 1));
    core.run(run("default", "t", 1));
    for (filter, count) in [
        ("", 4),
        ("agentConnected == true", 4),
        ("attribute:ecs.availability-zone == zone-1", 2),
        ("task:group == family:t", 1),
        ("runningTasksCount > 0", 0),
        ("ec2InstanceId in [i-00000000000000000]", 4),
    ] {
        let list = ListContainerInstances {
            cluster: name("default"),
            status: None,
            filter: Some(filter.into()),
            page: page(),
        };
        let answer = core.answer(Command::ListContainerInstances(list));
        let Answer::InstanceIds { instances, .. } = answer else {
            panic!()
        };
        assert_eq!(instances.len(), count, "{filter}");
    }
    let list = ListContainerInstances {
        cluster: name("default"),
        status: None,
        filter: Some("nonsense".into()),
        page: page(),
    };
    let reject = core.reject(Command::ListContainerInstances(list));
    assert!(matches!(reject, Reject::BadExpression { .. }));
}

#[test]
fn every_kind_of_resource_carries_tags() {
    let mut core = Core::with_nodes(1);
    core.register(template("t", 1, 1));
    let task = core.run(run("default", "t", 1))[0].spec.id;
    let default = || name("default");
    let instance = core.instance_ids()[0];
    let tag = |key: &str, value: &str| Tag {
        key: key.into(),
        value: value.into(),
    };
    for resource in [
        Resource::Cluster(default()),
        Resource::Task(default(), task),
        Resource::Instance(default(), instance),
        Resource::Definition(key("t", 1)),
    ] {
        let tags = |core: &mut Core| match core.answer(Command::ListTags(resource.clone())) {
            Answer::Tags(tags) => tags,
            other => panic!("{other:?}"),
        };
        let add = |tags| Command::Tag {
            resource: resource.clone(),
            tags,
        };
        core.ok(add(vec![tag("a", "1"), tag("b", "2")]));
        core.ok(add(vec![tag("a", "3")]));
        assert_eq!(tags(&mut core), [tag("a", "3"), tag("b", "2")]);
        let many = (0..49).map(|at| tag(&format!("k{at}"), "")).collect();
        assert_eq!(core.reject(add(many)), Reject::TooManyTags);
        let keys = vec!["a".into(), "none".into()];
        core.ok(Command::Untag {
            resource: resource.clone(),
            keys,
        });
        assert_eq!(tags(&mut core), [tag("b", "2")]);
    }
    for (resource, reject) in [
        (
            Resource::Cluster(name("no")),
            Reject::ClusterNotFound(name("no")),
        ),
        (
            Resource::Task(name("no"), task),
            Reject::ClusterNotFound(name("no")),
        ),
        (
            Resource::Task(default(), TaskId(1)),
            Reject::ResourceNotFound,
        ),
        (
            Resource::Instance(default(), InstanceId(1)),
            Reject::ResourceNotFound,
        ),
        (Resource::Definition(key("t", 2)), Reject::ResourceNotFound),
    ] {
        assert_eq!(core.reject(Command::ListTags(resource)), reject);
    }
}

#[test]
fn a_task_has_a_bounded_number_of_tags() {
    let mut core = Core::with_nodes(1);
    let tags = |prefix: &str, count: usize| -> Vec<Tag> {
        let tag = |n| Tag {
            key: format!("{prefix}{n}"),
            value: String::new(),
        };
        (0..count).map(tag).collect()
    };
    core.ok(Command::RegisterTaskDefinition(Box::new(
        RegisterTaskDefinition {
            template: template("t", 1, 4),
            tags: tags("defined", 30),
        },
    )));
    for (propagate, own, reject) in [
        (true, tags("own", 20), None),
        (true, tags("own", 21), Some(Reject::TooManyTagsOfTask)),
        // The same keys are the same tags.
        (true, tags("defined", 30), None),
        (false, tags("own", 50), None),
    ] {
        let mut run = run("default", "t", 1);
        run.task.propagate_definition_tags = propagate;
        run.task.enable_ecs_managed_tags = true;
        run.task.tags = own;
        let given = core.give(Command::RunTask(Box::new(run)));
        assert_eq!(given.err(), reject, "{propagate}");
    }
}
