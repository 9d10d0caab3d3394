//! A task after it was placed: reports, stops, reboots, and what time takes away.

use crate::core::{Core, seen};
use crate::nouns::{self, fargate, name, run, subnets, template};
use std::collections::BTreeMap;
use windlass_cluster::{Answer, Effect, Reject, next_due, take};
use windlass_model::command::{Command, HurryStop, ListTasks, Page, Report, Request, StopTask};
use windlass_model::history::Event;
use windlass_model::id::{BootId, NodeId, TaskId};
use windlass_model::limits::{STOPPED_TASK_KEPT_MS, STOPPED_TASKS_KEPT_MAX};
use windlass_model::observation::AttachmentObservation;
use windlass_model::row::Row;
use windlass_model::status::{AttachmentStatus, ContainerStatus, Desired, Health, TaskStatus};
use windlass_model::stop::{ContainerReason, ReasonName, Stop, StopCode, StopReason};
use windlass_model::tag::Tag;
use windlass_model::task::Launch;

fn one_task() -> (Core, TaskId) {
    let mut core = Core::with_nodes(1);
    core.register(template("t", 10, 10));
    let task = core.run(run("default", "t", 1))[0].spec.id;
    (core, task)
}

fn stop(task: TaskId, reason: Option<&str>) -> Command {
    let reason = reason.map(String::from);
    Command::StopTask(StopTask {
        cluster: name("default"),
        task,
        reason,
    })
}

#[test]
fn a_task_runs_and_exits() {
    let (mut core, task) = one_task();
    core.report(seen(
        task,
        1,
        TaskStatus::Activating,
        ContainerStatus::Pending,
    ));
    let view = core.task(task);
    assert_eq!(
        (view.state.last, view.state.version),
        (TaskStatus::Activating, 2)
    );
    assert_eq!(view.state.connected_at, Some(core.now));

    core.report(seen(task, 2, TaskStatus::Running, ContainerStatus::Running));
    let started = core.now;
    let view = core.task(task);
    assert_eq!(
        (view.state.last, view.state.started_at),
        (TaskStatus::Running, Some(started))
    );

    let mut exit = seen(task, 3, TaskStatus::Stopped, ContainerStatus::Stopped);
    exit.containers[0].exit_code = Some(3);
    let decision = core.report(exit);
    let view = core.task(task);
    assert_eq!(view.state.last, TaskStatus::Stopped);
    assert_eq!(view.state.desired, Desired::Stopped);
    assert_eq!(view.state.stopped_at, Some(core.now));
    assert_eq!(view.state.execution_stopped_at, Some(core.now));
    assert_eq!(view.state.containers[0].exit_code, Some(3));
    let stop = view.state.stop.clone().unwrap();
    assert_eq!(stop.code, StopCode::EssentialContainerExited);
    assert!(decision.effects.contains(&Effect::Acknowledge {
        node: NodeId(0),
        task,
        sequence: 3
    }));
    assert!(decision.effects.contains(&Effect::Forget {
        node: NodeId(0),
        task
    }));
    assert!(core.state.assignment(task).is_none());
    let moves = decision
        .history
        .iter()
        .filter(|entry| matches!(entry.event, Event::TaskStatus { .. } | Event::StopWanted(_)));
    assert_eq!(moves.count(), 2);
}

#[test]
fn last_lines_are_kept_once() {
    let (mut core, task) = one_task();
    let mut ended = seen(task, 1, TaskStatus::Stopping, ContainerStatus::Stopped);
    ended.containers[0].exit_code = Some(3);
    ended.containers[0].last_lines = vec!["bye".into()];
    let mut again = ended.clone();
    (again.sequence, again.status) = (2, TaskStatus::Stopped);
    let kept = [ended, again].map(|report| {
        let history = core.report(report).history;
        let lines = history
            .iter()
            .filter(|it| matches!(it.event, Event::LastLines { .. }));
        lines.count()
    });
    assert_eq!(kept, [1, 0]);
}

#[test]
fn late_and_repeated_reports_change_nothing() {
    let (mut core, task) = one_task();
    let mut healthy = seen(task, 5, TaskStatus::Running, ContainerStatus::Running);
    healthy.containers[0].health = Some(Health::Healthy);
    core.report(healthy.clone());
    let before = core.task(task).state;
    let mut sick = seen(task, 4, TaskStatus::Pending, ContainerStatus::Pending);
    sick.containers[0].health = Some(Health::Unhealthy);
    for late in [healthy, sick] {
        let sequence = late.sequence;
        let decision = core.report(late);
        assert!(decision.changes.is_empty());
        let acknowledged = Effect::Acknowledge {
            node: NodeId(0),
            task,
            sequence,
        };
        assert_eq!(decision.effects, [acknowledged]);
    }
    assert_eq!(core.task(task).state, before);
    // A newer one that would move the status back keeps it and brings its other news.
    let mut newer = seen(task, 6, TaskStatus::Pending, ContainerStatus::Running);
    newer.containers[0].health = Some(Health::Unhealthy);
    core.report(newer);
    let after = core.task(task).state;
    assert_eq!(
        (after.last, after.containers[0].health),
        (TaskStatus::Running, Health::Unhealthy)
    );
    assert_eq!(after.version, before.version + 1);
    // Without news the version stays.
    core.report(seen(task, 7, TaskStatus::Running, ContainerStatus::Running));
    assert_eq!(core.task(task).state.version, after.version);
}

#[test]
fn reports_of_strangers_are_answered_with_a_stop() {
    let (mut core, task) = one_task();
    let send = |core: &mut Core, task, node, boot, status| {
        let observation = seen(task, 1, status, ContainerStatus::Running);
        core.ok(Command::Report(Box::new(Report {
            node,
            boot,
            observation,
        })))
    };
    let unknown = TaskId(99);
    for (id, node, boot) in [
        (unknown, NodeId(0), BootId(1)),
        (task, NodeId(7), BootId(1)),
        (task, NodeId(0), BootId(2)),
    ] {
        let decision = send(&mut core, id, node, boot, TaskStatus::Running);
        assert!(decision.changes.is_empty());
        assert_eq!(decision.effects.len(), 2);
        assert!(matches!(decision.effects[1], Effect::Stop { task, .. } if task == id));
        let decision = send(&mut core, id, node, boot, TaskStatus::Stopped);
        assert_eq!(decision.effects[1], Effect::Forget { node, task: id });
    }
    let tasks = vec![task, unknown];
    let decision = core.ok(Command::Unassigned {
        node: NodeId(0),
        tasks,
    });
    assert_eq!(
        decision.effects[0],
        Effect::Assign {
            node: NodeId(0),
            task
        }
    );
    assert!(
        matches!(&decision.effects[1], Effect::Stop { task, stop, .. }
            if *task == unknown && stop.reason == StopReason::NotInState)
    );
    // Nothing else will ever say why it ended.
    assert_eq!(decision.history[0].subject, format!("task/{unknown}"));
}

#[test]
fn the_first_cause_of_a_stop_wins() {
    let (mut core, task) = one_task();
    let decision = core.ok(stop(task, Some("first")));
    assert_eq!(
        decision.effects,
        [Effect::Assign {
            node: NodeId(0),
            task
        }]
    );
    let first = core.task(task).state;
    assert_eq!(
        (first.desired, first.last),
        (Desired::Stopped, TaskStatus::Pending)
    );
    assert_eq!(first.stopping_at, Some(core.now));
    let by = String::from("arn:user/dev");
    let reason = StopReason::User {
        reason: Some("first".into()),
        by,
    };
    assert_eq!(
        first.stop,
        Some(Stop {
            code: StopCode::UserInitiated,
            reason
        })
    );
    assert_eq!(core.state.assignment(task).unwrap().state.stop, first.stop);

    assert!(core.ok(stop(task, Some("second"))).changes.is_empty());
    assert_eq!(core.task(task).state, first);
    core.report(seen(task, 1, TaskStatus::Stopped, ContainerStatus::Stopped));
    let last = core.task(task).state;
    assert_eq!((last.last, &last.stop), (TaskStatus::Stopped, &first.stop));
    // It never ran: nothing says that it did.
    assert_eq!(
        (last.started_at, last.execution_stopped_at.is_some()),
        (None, true)
    );
    assert!(core.ok(stop(task, None)).changes.is_empty());
}

#[test]
fn stop_task_removes_tags_and_rejects_strangers() {
    let mut core = Core::with_nodes(1);
    core.ok(nouns::create_cluster("other"));
    core.register(template("t", 10, 10));
    let mut request = run("default", "t", 1);
    request.task.tags = vec![Tag {
        key: "a".into(),
        value: "b".into(),
    }];
    let task = core.run(request)[0].spec.id;
    let elsewhere = Command::StopTask(StopTask {
        cluster: name("other"),
        task,
        reason: None,
    });
    assert_eq!(core.reject(elsewhere), Reject::TaskNotFound(task));
    assert_eq!(
        core.reject(stop(TaskId(1), None)),
        Reject::TaskNotFound(TaskId(1))
    );
    core.ok(stop(task, None));
    assert!(core.task(task).state.tags.is_empty());
}

#[test]
fn a_container_that_cannot_start_says_why() {
    let (mut core, task) = one_task();
    let detail = String::from("no such image");
    let reason = ContainerReason::new(ReasonName::CannotPullContainerError, detail);
    let mut failed = seen(task, 1, TaskStatus::Stopped, ContainerStatus::Stopped);
    failed.containers[0].reason = Some(reason.clone());
    core.report(failed);
    let state = core.task(task).state;
    let reason = StopReason::FailedToStart(reason);
    assert_eq!(
        state.stop,
        Some(Stop {
            code: StopCode::TaskFailedToStart,
            reason
        })
    );
    assert_eq!(state.started_at, None);
}

#[test]
fn an_essential_exit_stops_the_task_before_it_is_stopped() {
    let (mut core, task) = one_task();
    core.report(seen(task, 1, TaskStatus::Running, ContainerStatus::Running));
    let decision = core.report(seen(task, 2, TaskStatus::Running, ContainerStatus::Stopped));
    assert!(decision.effects.contains(&Effect::Assign {
        node: NodeId(0),
        task
    }));
    let state = core.task(task).state;
    assert_eq!(
        (state.last, state.desired),
        (TaskStatus::Running, Desired::Stopped)
    );
    assert_eq!(
        state.stop.as_ref().unwrap().code,
        StopCode::EssentialContainerExited
    );
    assert!(state.execution_stopped_at.is_some());
}

#[test]
fn an_interface_is_attached_and_its_details_stay() {
    let mut core = Core::with_nodes(1);
    core.register(fargate("app", 256, 512));
    let mut request = run("default", "app", 1);
    request.launch = Some(Launch::Fargate);
    request.task.network = subnets();
    let task = core.run(request)[0].spec.id;
    let status = |core: &Core| core.task(task).state.attachment.clone().unwrap().status;
    assert_eq!(status(&core), AttachmentStatus::Precreated);
    let mut attached = seen(task, 1, TaskStatus::Pending, ContainerStatus::Pending);
    attached.attachment = Some(AttachmentObservation {
        status: AttachmentStatus::Attached,
        interface_id: Some("eni-1".into()),
        mac: None,
        private_dns_name: None,
        private_ipv4: Some("10.0.0.2".into()),
    });
    core.report(attached);
    assert_eq!(status(&core), AttachmentStatus::Attached);
    core.report(seen(task, 2, TaskStatus::Stopped, ContainerStatus::Stopped));
    assert_eq!(status(&core), AttachmentStatus::Deleted);
    let kept = core.task(task).state.attachment.clone().unwrap();
    assert_eq!(kept.private_ipv4.as_deref(), Some("10.0.0.2"));
}

#[test]
fn a_reboot_ends_the_old_boots_tasks() {
    let (mut core, task) = one_task();
    core.report(seen(task, 1, TaskStatus::Running, ContainerStatus::Running));
    // The same boot again: everything goes on.
    let decision = core.ok(Command::NodeConnected(Box::new(nouns::node(0, 1))));
    assert_eq!(decision.effects, [Effect::Full { node: NodeId(0) }]);
    assert_eq!(core.state.assignments(NodeId(0)).len(), 1);

    let decision = core.ok(Command::NodeConnected(Box::new(nouns::node(0, 2))));
    let forget = Effect::Forget {
        node: NodeId(0),
        task,
    };
    assert_eq!(decision.effects, [forget, Effect::Full { node: NodeId(0) }]);
    let state = core.task(task).state;
    assert_eq!(
        (state.last, state.desired),
        (TaskStatus::Stopped, Desired::Stopped)
    );
    assert_eq!(
        state.stop.as_ref().unwrap().reason,
        StopReason::NodeRebooted
    );
    assert_eq!(state.containers[0].status, ContainerStatus::Stopped);
    assert_eq!(state.containers[0].exit_code, None);
    assert!(core.state.assignments(NodeId(0)).is_empty());
    assert_eq!(core.run(run("default", "t", 1))[0].spec.boot, BootId(2));
}

#[test]
fn everything_can_be_stopped() {
    let mut core = Core::with_nodes(2);
    core.register(template("t", 10, 10));
    core.run(run("default", "t", 5));
    let decision = core.ok(Command::StopEverything);
    assert_eq!(decision.effects.len(), 5);
    let list = |desired| {
        Command::ListTasks(ListTasks {
            cluster: name("default"),
            instance: None,
            family: None,
            started_by: None,
            service: None,
            desired,
            launch: None,
            page: Page {
                after: None,
                limit: 100,
            },
        })
    };
    for (desired, count) in [
        (Some(Desired::Running), 0),
        (Some(Desired::Stopped), 5),
        (None, 0),
    ] {
        let Answer::TaskIds { tasks, .. } = core.answer(list(desired)) else {
            panic!()
        };
        assert_eq!(tasks.len(), count, "{desired:?}");
    }
}

#[test]
fn stopped_tasks_stay_an_hour() {
    let (mut core, task) = one_task();
    core.report(seen(task, 1, TaskStatus::Stopped, ContainerStatus::Stopped));
    let due = core.now.plus_ms(STOPPED_TASK_KEPT_MS);
    core.ok(Command::NodeDisconnected(NodeId(0)));
    assert_eq!(next_due(&core.state), Some(due));
    core.pass(STOPPED_TASK_KEPT_MS - 5_000);
    assert!(core.find(task).is_some());
    core.pass(5_000);
    assert!(core.find(task).is_none());
    assert_eq!(next_due(&core.state), None);
}

#[test]
fn silence_counts_as_a_disconnection_until_the_next_heartbeat() {
    let (mut core, task) = one_task();
    core.pass(20_000);
    core.ok(Command::Heartbeat(NodeId(0)));
    core.pass(20_000);
    assert!(core.task(task).connected);
    core.pass(20_000);
    assert!(!core.task(task).connected);
    core.ok(Command::Heartbeat(NodeId(0)));
    assert!(core.task(task).connected);
    assert_eq!(
        core.reject(Command::Heartbeat(NodeId(5))),
        Reject::NodeNotFound(NodeId(5))
    );
}

#[test]
fn a_task_is_found_by_the_start_of_its_id() {
    let (mut core, task) = one_task();
    let mut ids = vec![task.to_string()];
    // Of seventeen two begin with the same digit.
    while ids.len() < 17 {
        ids.push(core.run(run("default", "t", 1))[0].spec.id.to_string());
    }
    let find = |prefix: &str| Command::FindTask(prefix.into());
    for id in &ids {
        for prefix in [id, &id[..8]] {
            let Answer::Task(view) = core.answer(find(prefix)) else {
                panic!()
            };
            assert_eq!(view.spec.id.to_string(), *id);
        }
    }
    ids.sort();
    let twins = ids.windows(2).find(|pair| pair[0][..1] == pair[1][..1]);
    let both = twins.unwrap()[0][..1].to_owned();
    assert_eq!(core.reject(find(&both)), Reject::AmbiguousTask(both));
    for none in ["", "XYZ", "é", &format!("{task}0")] {
        assert_eq!(
            core.reject(find(none)),
            Reject::NoTaskBeginsWith(none.into())
        );
    }
}

#[test]
fn lists_are_paged_and_filtered() {
    let mut core = Core::with_nodes(2);
    core.register(template("t", 10, 10));
    core.register(template("u", 10, 10));
    let mut all: Vec<TaskId> = core
        .run(run("default", "t", 5))
        .iter()
        .map(|view| view.spec.id)
        .collect();
    let mut mine = run("default", "u", 2);
    mine.task.started_by = Some("me".into());
    let mine: Vec<TaskId> = core.run(mine).iter().map(|view| view.spec.id).collect();
    all.extend(&mine);
    all.sort();
    let base = ListTasks {
        cluster: name("default"),
        instance: None,
        family: None,
        started_by: None,
        service: None,
        desired: Some(Desired::Running),
        launch: None,
        page: Page {
            after: None,
            limit: 3,
        },
    };
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = Page {
            after: after.clone(),
            limit: 3,
        };
        let list = ListTasks {
            page,
            ..base.clone()
        };
        let Answer::TaskIds { tasks, more } = core.answer(Command::ListTasks(list)) else {
            panic!()
        };
        after = tasks.last().map(TaskId::to_string);
        listed.extend(tasks);
        if !more {
            break;
        }
    }
    assert_eq!(listed, all);
    let count = |core: &mut Core, change: &dyn Fn(&mut ListTasks)| {
        let mut list = ListTasks {
            page: Page {
                after: None,
                limit: 100,
            },
            ..base.clone()
        };
        change(&mut list);
        match core.answer(Command::ListTasks(list)) {
            Answer::TaskIds { tasks, .. } => tasks.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(count(&mut core, &|list| list.family = Some("u".into())), 2);
    assert_eq!(
        count(&mut core, &|list| list.started_by = Some("me".into())),
        2
    );
    assert_eq!(
        count(&mut core, &|list| list.launch = Some(Launch::Fargate)),
        0
    );
    let ids = core.instance_ids();
    let per: usize = ids
        .iter()
        .map(|id| count(&mut core, &|list| list.instance = Some(*id)))
        .sum();
    assert_eq!(per, 7);
    let bad = ListTasks {
        page: Page {
            after: Some("x".into()),
            limit: 1,
        },
        ..base.clone()
    };
    assert_eq!(
        core.reject(Command::ListTasks(bad)),
        Reject::BadPage("x".into())
    );
    let service = ListTasks {
        service: Some("web".into()),
        ..base
    };
    assert_eq!(
        core.reject(Command::ListTasks(service)),
        Reject::ServiceNotFound("web".into())
    );
}

#[test]
fn stopped_tasks_are_bounded_in_number() {
    let mut core = Core::with_nodes(1);
    core.register(template("t", 0, 0));
    let mut give = |command| {
        let request = Request {
            caller: "arn:user/dev".into(),
            command,
        };
        take(&mut core.state, &request).unwrap().answer
    };
    for _ in 0..=STOPPED_TASKS_KEPT_MAX / 10 {
        let run = Command::RunTask(Box::new(run("default", "t", 10)));
        let Answer::Run { tasks, .. } = give(run) else {
            panic!()
        };
        for view in tasks {
            let task = view.spec.id;
            let observation = seen(task, 1, TaskStatus::Stopped, ContainerStatus::Stopped);
            let report = Report {
                node: NodeId(0),
                boot: BootId(1),
                observation,
            };
            give(Command::Report(Box::new(report)));
        }
    }
    let kept = |core: &Core| {
        let rows = core.state.rows().into_iter();
        rows.filter(|row| matches!(row, Row::TaskState(_))).count()
    };
    assert_eq!(kept(&core), STOPPED_TASKS_KEPT_MAX + 10);
    assert!(next_due(&core.state).unwrap() <= core.now);
    core.pass(0);
    assert_eq!(kept(&core), STOPPED_TASKS_KEPT_MAX);
}

/// All tasks of a node or a region are more than one turn can hold.
#[test]
fn what_concerns_every_task_goes_in_bounded_steps() {
    let run_all = |core: &mut Core| {
        core.register(template("t", 1, 4));
        for _ in 0..5 {
            core.run(run("default", "t", 10));
        }
    };
    let steps = |core: &mut Core, command: Command| {
        let mut steps = 0;
        loop {
            let decision = core.ok(command.clone());
            assert!(decision.changes.len() <= 20, "{}", decision.changes.len());
            steps += 1;
            match decision.answer {
                Answer::Unfinished => assert!(steps < 10),
                Answer::Done => return steps,
                other => panic!("{other:?}"),
            }
        }
    };
    let mut core = Core::with_nodes(1);
    run_all(&mut core);
    assert_eq!(steps(&mut core, Command::StopEverything), 4);
    assert_eq!(steps(&mut core, Command::StopEverything), 1);
    let hurry = |task, within_s| Command::HurryStop(HurryStop { task, within_s });
    assert_eq!(steps(&mut core, hurry(None, 9)), 4);
    assert_eq!(steps(&mut core, hurry(None, 9)), 1);
    let within = |core: &Core| -> BTreeMap<TaskId, Option<u32>> {
        let rows = core.state.rows().into_iter();
        rows.filter_map(|row| match row {
            Row::TaskState(task) => Some((task.id, task.stop_within_s)),
            _ => None,
        })
        .collect()
    };
    let all = within(&core);
    assert_eq!(all.len(), 50);
    assert!(all.values().all(|within_s| *within_s == Some(9)));
    // The shortest time counts, and one that runs on is left alone.
    let id = *all.keys().next().unwrap();
    assert_eq!(core.ok(hurry(Some(id), 20)).effects, []);
    assert_eq!(core.ok(hurry(Some(id), 0)).effects.len(), 1);
    assert_eq!(within(&core)[&id], Some(0));
    let runs = core.run(run("default", "t", 1))[0].spec.id;
    assert_eq!(core.ok(hurry(Some(runs), 0)).effects, []);

    let mut core = Core::with_nodes(1);
    run_all(&mut core);
    let returned = Command::NodeConnected(Box::new(nouns::node(0, 2)));
    assert_eq!(steps(&mut core, returned.clone()), 4);
    assert!(core.state.assignments(NodeId(0)).is_empty());
    let decision = core.ok(returned);
    assert_eq!(decision.effects, [Effect::Full { node: NodeId(0) }]);
}
