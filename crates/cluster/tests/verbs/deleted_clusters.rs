//! A deleted cluster, and one that bears its name after it.

use crate::core::{Core, seen};
use crate::nouns::{self, fargate, name, run, subnets, template};
use windlass_cluster::{Answer, Reject};
use windlass_model::command::{
    Command, ListContainerInstances, ListTasks, NewTask, Page, Resource, RunTask, StartTask,
    StopTask,
};
use windlass_model::id::{InstanceId, NodeId, TaskId};
use windlass_model::status::{ContainerStatus, Desired, TaskStatus};
use windlass_model::tag::Tag;
use windlass_model::task::Launch;

fn fargate_run(token: Option<&str>) -> RunTask {
    RunTask {
        launch: Some(Launch::Fargate),
        client_token: token.map(String::from),
        task: NewTask {
            network: subnets(),
            ..nouns::new_task("web", "app")
        },
        ..run("web", "app", 1)
    }
}

/// A cluster `web` that ran a task, and is deleted.
fn deleted() -> (Core, TaskId) {
    let mut core = Core::with_nodes(1);
    core.ok(nouns::create_cluster("web"));
    core.register(fargate("app", 256, 512));
    core.register(template("t", 1, 4));
    let task = core.run(fargate_run(Some("token")))[0].spec.id;
    core.report(seen(task, 1, TaskStatus::Stopped, ContainerStatus::Stopped));
    core.ok(Command::DeleteCluster(name("web")));
    (core, task)
}

fn page() -> Page {
    Page {
        after: None,
        limit: 100,
    }
}

fn list(desired: Desired) -> Command {
    Command::ListTasks(ListTasks {
        cluster: name("web"),
        instance: None,
        family: None,
        started_by: None,
        service: None,
        desired: Some(desired),
        launch: None,
        page: page(),
    })
}

fn describe(task: TaskId) -> Command {
    Command::DescribeTasks {
        cluster: name("web"),
        tasks: vec![task],
    }
}

#[test]
fn every_verb_says_that_the_cluster_is_inactive() {
    let (mut core, task) = deleted();
    let tags = || {
        vec![Tag {
            key: "a".into(),
            value: "b".into(),
        }]
    };
    let of_task = || Resource::Task(name("web"), task);
    let of_cluster = || Resource::Cluster(name("web"));
    let instance = InstanceId(7);
    for command in [
        Command::DeleteCluster(name("web")),
        Command::RunTask(Box::new(run("web", "t", 1))),
        // The token's tasks are the deleted cluster's.
        Command::RunTask(Box::new(fargate_run(Some("token")))),
        Command::StartTask(Box::new(StartTask {
            task: nouns::new_task("web", "t"),
            instances: vec![instance],
        })),
        Command::StopTask(StopTask {
            cluster: name("web"),
            task,
            reason: None,
        }),
        describe(task),
        list(Desired::Stopped),
        Command::DescribeContainerInstances {
            cluster: name("web"),
            instances: vec![instance],
        },
        Command::ListContainerInstances(ListContainerInstances {
            cluster: name("web"),
            status: None,
            filter: None,
            page: page(),
        }),
        Command::AddNode {
            node: NodeId(0),
            cluster: name("web"),
        },
        Command::Tag {
            resource: of_task(),
            tags: tags(),
        },
        Command::ListTags(Resource::Instance(name("web"), instance)),
    ] {
        let told = format!("{command:?}");
        let reject = core.reject(command);
        assert_eq!(reject, Reject::ClusterInactive(name("web")), "{told}");
    }
    for command in [
        Command::Tag {
            resource: of_cluster(),
            tags: tags(),
        },
        Command::Untag {
            resource: of_cluster(),
            keys: vec!["a".into()],
        },
        Command::ListTags(of_cluster()),
    ] {
        let reject = core.reject(command);
        assert_eq!(reject, Reject::TagsOfInactiveCluster(name("web")));
    }
    // It can still be described, and its tasks be found by who knows their ids.
    let Answer::Clusters { found, .. } = core.answer(Command::DescribeClusters(vec![name("web")]))
    else {
        panic!()
    };
    assert_eq!(found.len(), 1);
    assert!(core.find(task).is_some());
}

#[test]
fn a_cluster_made_again_shows_nothing_of_the_old_one() {
    let (mut core, task) = deleted();
    let mut steps = 0;
    while matches!(
        core.answer(nouns::create_cluster("web")),
        Answer::Unfinished
    ) {
        steps += 1;
        assert!(steps < 10);
    }
    for desired in [Desired::Running, Desired::Stopped] {
        let Answer::TaskIds { tasks, .. } = core.answer(list(desired)) else {
            panic!()
        };
        assert_eq!(tasks, [], "{desired:?}");
    }
    let Answer::Tasks { found, missing } = core.answer(describe(task)) else {
        panic!()
    };
    assert_eq!((found.len(), missing), (0, vec![task]));
    let fresh = core.run(fargate_run(Some("token")));
    assert_eq!(fresh.len(), 1, "the old cluster's token counts for nothing");
    let again = core.run(fargate_run(Some("token")));
    assert_eq!(again[0].spec.id, fresh[0].spec.id);
}
