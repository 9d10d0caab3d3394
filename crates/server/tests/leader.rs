//! The leader over a store in memory and a clock that the test moves: what callers and agents hear,
//! and when.

#[path = "fixture/bed.rs"]
mod bed;
#[path = "../../cluster/tests/fixture/nouns.rs"]
#[expect(dead_code, reason = "the nouns serve other tests too")]
mod nouns;

use bed::{Bed, LIMITS, ask, polled};
use windlass_cluster::{Answer, Reject};
use windlass_model::command::{Command, Page, StopTask};
use windlass_model::id::NodeId;
use windlass_model::status::Desired;
use windlass_server::{Refused, Stopped, limits};
use windlass_session::{ToAgent, ToServer};
use windlass_store::memory::Fault;
use windlass_store::{Memory, Store};

const DAY_MS: i64 = 86_400_000;

fn clusters(bed: &Bed) -> Vec<String> {
    let list = Command::ListClusters(Page {
        after: None,
        limit: 100,
    });
    match bed.ask(list) {
        Ok(Answer::Names { names, .. }) => names,
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_wait_for_their_commit() {
    let bed = Bed::start(Memory::default());
    let gate = bed.store.close_gate();
    let mut write = Box::pin(ask(&bed.leader, nouns::create_cluster("web")));
    assert!(polled(&mut write).is_none());
    gate.wait_for_commit();
    assert!(
        polled(&mut write).is_none(),
        "answered before it is durable"
    );
    gate.open();
    assert!(matches!(bed.wait(write), Ok(Answer::Cluster(_))));
    assert_eq!(clusters(&bed), ["web"]);
}

#[test]
fn a_rejection_changes_nothing_and_the_leader_goes_on() {
    let bed = Bed::start(Memory::default());
    let refused = bed.ask(Command::DeleteCluster(nouns::name("web")));
    assert!(matches!(
        refused,
        Err(Refused::Rejected(Reject::ClusterNotFound(_)))
    ));
    assert_eq!(bed.store.commits(), 0);
    assert_eq!(clusters(&bed), [""; 0]);
}

#[test]
fn a_failed_commit_stops_the_leader_and_answers_nobody_falsely() {
    for (fault, after) in [
        (Fault::FailUnwritten, &["kept"][..]),
        (Fault::FailWritten, &["kept", "lost"][..]),
    ] {
        let mut bed = Bed::start(Memory::default());
        bed.ask(nouns::create_cluster("kept")).unwrap();
        bed.store.inject(fault);
        let gate = bed.store.close_gate();
        let mut failing = Box::pin(ask(&bed.leader, nouns::create_cluster("lost")));
        assert!(polled(&mut failing).is_none());
        gate.wait_for_commit();
        // These wait in the inbox while the commit fails: they must not wait for ever.
        let mut waiting = Box::pin(ask(&bed.leader, nouns::create_cluster("later")));
        assert!(polled(&mut waiting).is_none());
        let mut session = Box::pin(bed.leader.open_session(NodeId(1)));
        assert!(polled(&mut session).is_none());
        gate.open();
        assert!(matches!(bed.wait(failing), Err(Refused::Stopping)));
        assert!(matches!(bed.wait(waiting), Err(Refused::Stopping)));
        assert!(matches!(bed.wait(session), Err(Refused::Stopping)));
        assert!(matches!(bed.end(), Stopped::Commit { turn: 2, .. }));
        let refused = bed.ask(nouns::create_cluster("late"));
        assert!(matches!(refused, Err(Refused::Stopping)));
        let again = Bed::start(bed.store.crash_image());
        assert_eq!(clusters(&again), after, "{fault:?}");
    }
}

#[test]
fn a_leader_that_never_ran_answers_that_it_stops() {
    let bed = Bed::open(Memory::default());
    let leader = bed.leader.clone();
    let mut waiting = Box::pin(ask(&leader, Command::ListNodes));
    assert!(polled(&mut waiting).is_none());
    drop(bed);
    assert!(matches!(bed::block_on(waiting), Err(Refused::Stopping)));
    let late = bed::block_on(ask(&leader, Command::ListNodes));
    assert!(matches!(late, Err(Refused::Stopping)));
}

#[test]
fn a_full_inbox_throttles_calls_and_still_takes_reports() {
    let mut bed = Bed::open(Memory::default());
    let leader = bed.leader.clone();
    let mut waiting: Vec<_> = (0..limits::INBOX_CALLS_MAX)
        .map(|_| Box::pin(ask(&leader, Command::ListNodes)))
        .collect();
    for call in &mut waiting {
        assert!(polled(call).is_none());
    }
    let refused = bed.ask(Command::ListNodes);
    assert!(matches!(refused, Err(Refused::Throttled)), "{refused:?}");
    let heartbeat = ToServer::Heartbeat { node: NodeId(0) };
    assert!(bed.leader.receive(heartbeat).is_ok());
    bed.run();
    for call in waiting {
        assert!(matches!(bed.wait(call), Ok(Answer::Nodes(_))));
    }
}

#[test]
fn a_disk_below_its_reserve_refuses_what_adds_and_takes_the_rest() {
    let mut memory = Memory::default();
    let mut bed = Bed::start(memory.clone());
    bed.add_node(0, 1);
    let task = bed.run_tasks(1)[0];
    assert!(matches!(bed.end(), Stopped::Asked));

    memory = bed.store.crash_image();
    memory.set_free_bytes(memory.free_space().unwrap().reserve_bytes - 1);
    let bed = Bed::start(memory);
    let refused = bed.ask(nouns::create_cluster("web")).unwrap_err();
    assert!(matches!(&refused, Refused::DiskLow { .. }));
    assert!(refused.to_string().contains("the disk memory"), "{refused}");
    let refused = bed.ask(Command::RunTask(Box::new(nouns::run("default", "t", 1))));
    assert!(matches!(refused, Err(Refused::DiskLow { .. })));
    let before = bed.store.commits();
    let stop = Command::StopTask(StopTask {
        cluster: nouns::name("default"),
        task,
        reason: None,
    });
    assert!(matches!(bed.ask(stop), Ok(Answer::Task(_))));
    let hello = Command::NodeConnected(Box::new(nouns::node(0, 2)));
    bed.ask(hello).unwrap();
    assert_eq!(bed.store.commits(), before + 2);
}

fn cluster_names(answer: Result<Answer, Refused>) -> Vec<String> {
    match answer {
        Ok(Answer::Names { names, .. }) => names,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_disk_takes_its_turn_back_and_the_leader_goes_on() {
    let mut bed = Bed::open(Memory::default());
    let leader = bed.leader.clone();
    // All in one turn: as a whole it finds no room, and alone the first one does not either.
    bed.store.inject(Fault::Full);
    bed.store.inject(Fault::Full);
    let mut refused = Box::pin(ask(&leader, nouns::create_cluster("lost")));
    let list = || {
        ask(
            &leader,
            Command::ListClusters(Page {
                after: None,
                limit: 100,
            }),
        )
    };
    let mut reading = Box::pin(list());
    let mut taken = Box::pin(ask(&leader, nouns::create_cluster("kept")));
    assert!(polled(&mut refused).is_none());
    assert!(polled(&mut reading).is_none());
    assert!(polled(&mut taken).is_none());
    bed.run();
    let refused = bed.wait(refused).unwrap_err();
    assert!(matches!(refused, Refused::DiskFull { .. }));
    let said = refused.to_string();
    assert!(said.contains("the disk memory of the data folder is full"));
    assert_eq!(cluster_names(bed.wait(reading)), [""; 0], "saw what is not");
    assert!(matches!(bed.wait(taken), Ok(Answer::Cluster(_))));
    assert_eq!(clusters(&bed), ["kept"]);
    bed.ask(nouns::create_cluster("lost")).unwrap();
    assert!(matches!(bed.end(), Stopped::Asked));
    let again = Bed::start(bed.store.crash_image());
    assert_eq!(clusters(&again), ["kept", "lost"]);
}

#[test]
fn stopping_everything_on_a_full_disk_is_refused_and_works_when_there_is_room() {
    let bed = Bed::start(Memory::with_limits(LIMITS));
    bed.add_node(0, 1);
    let tasks: Vec<_> = (0..12).flat_map(|_| bed.run_tasks(10)).collect();
    bed.store.inject(Fault::Full);
    bed.store.inject(Fault::Full);
    let refused = bed.ask(Command::StopEverything);
    assert!(matches!(refused, Err(Refused::DiskFull { .. })));
    let wanted = |task| bed.task(task).state.desired;
    assert!(tasks.iter().all(|task| wanted(*task) == Desired::Running));
    bed.ask(Command::StopEverything).unwrap();
    assert!(tasks.iter().all(|task| wanted(*task) == Desired::Stopped));
}

/// Its word is lost with the turn, and it would wait for its tasks for ever.
#[test]
fn an_agent_whose_greeting_found_no_room_is_cut_off_and_greets_again() {
    let bed = Bed::start(Memory::default());
    bed.add_node(0, 1);
    let mut session = bed.wait(bed.leader.open_session(NodeId(0))).unwrap();
    bed.store.inject(Fault::Full);
    bed.store.inject(Fault::Full);
    let greet = || {
        let hello = ToServer::Hello(nouns::node(0, 2));
        bed.leader.receive(hello).unwrap();
    };
    greet();
    assert_eq!(session.from_server.blocking_recv(), None);
    let mut session = bed.wait(bed.leader.open_session(NodeId(0))).unwrap();
    greet();
    let first = session.from_server.blocking_recv();
    assert!(matches!(first, Some(ToAgent::Full { .. })), "{first:?}");
}

#[test]
fn a_batch_is_split_at_the_stores_limits() {
    let mut bed = Bed::open(Memory::with_limits(LIMITS));
    let leader = bed.leader.clone();
    let names: Vec<String> = (0..90).map(|n| format!("c{n:02}")).collect();
    let mut waiting: Vec<_> = names
        .iter()
        .map(|name| Box::pin(ask(&leader, nouns::create_cluster(name))))
        .collect();
    for call in &mut waiting {
        assert!(polled(call).is_none());
    }
    bed.run();
    for call in waiting {
        assert!(matches!(bed.wait(call), Ok(Answer::Cluster(_))));
    }
    assert_eq!(clusters(&bed), names);
    assert!(bed.store.commits() >= 90 / LIMITS.rows_max);
}

#[test]
fn stopping_everything_takes_as_many_turns_as_it_needs() {
    let bed = Bed::start(Memory::with_limits(LIMITS));
    bed.add_node(0, 1);
    let tasks: Vec<_> = (0..12).flat_map(|_| bed.run_tasks(10)).collect();
    assert!(tasks.len() > LIMITS.rows_max);
    assert!(matches!(bed.ask(Command::StopEverything), Ok(Answer::Done)));
    for task in &tasks {
        assert_eq!(bed.task(*task).state.desired, Desired::Stopped, "{task}");
    }
    // Nothing is left to do, and asking again is no fault.
    let commits = bed.store.commits();
    assert!(matches!(bed.ask(Command::StopEverything), Ok(Answer::Done)));
    assert_eq!(bed.store.commits(), commits);
}

#[test]
fn a_reboot_ends_more_tasks_than_one_turn_holds() {
    let bed = Bed::start(Memory::with_limits(LIMITS));
    bed.add_node(0, 1);
    let tasks: Vec<_> = (0..12).flat_map(|_| bed.run_tasks(10)).collect();
    let mut session = bed.wait(bed.leader.open_session(NodeId(0))).unwrap();
    bed.leader
        .receive(ToServer::Hello(nouns::node(0, 2)))
        .unwrap();
    let mut forgotten = 0;
    loop {
        match session.from_server.blocking_recv().expect("cut off") {
            ToAgent::Delta { forget, .. } => forgotten += forget.len(),
            ToAgent::Full { assignments, .. } => {
                assert_eq!(assignments, [], "nothing of the old boot is left to run");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    // A whole set and what it cannot name travel together, so the last ones may follow it.
    while forgotten < tasks.len() {
        match session.from_server.blocking_recv().expect("cut off") {
            ToAgent::Delta { forget, .. } => forgotten += forget.len(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(forgotten, tasks.len());
}

#[test]
fn a_new_session_replaces_the_old_one() {
    let bed = Bed::start(Memory::default());
    bed.add_node(0, 1);
    let mut old = bed.wait(bed.leader.open_session(NodeId(0))).unwrap();
    let mut new = bed.wait(bed.leader.open_session(NodeId(0))).unwrap();
    bed.leader
        .receive(ToServer::Hello(nouns::node(0, 1)))
        .unwrap();
    let first = new.from_server.blocking_recv();
    assert!(matches!(first, Some(ToAgent::Full { .. })), "{first:?}");
    assert_eq!(old.from_server.blocking_recv(), None);
}

/// The end of an old session, told late, must not end the one that replaced it.
#[test]
fn a_disconnect_ends_the_session_it_came_after_and_no_later_one() {
    let mut bed = Bed::open(Memory::default());
    bed.give_node(0, 1);
    let leader = bed.leader.clone();
    let mut first = Box::pin(leader.open_session(NodeId(0)));
    assert!(polled(&mut first).is_none());
    let mut gone = Box::pin(ask(&leader, Command::NodeDisconnected(NodeId(0))));
    assert!(polled(&mut gone).is_none());
    bed.run();
    let mut first = bed.wait(first).unwrap();
    bed.wait(gone).unwrap();
    assert_eq!(first.from_server.blocking_recv(), None);
    let mut second = bed.wait(bed.leader.open_session(NodeId(0))).unwrap();
    bed.leader
        .receive(ToServer::Hello(nouns::node(0, 1)))
        .unwrap();
    assert!(matches!(
        second.from_server.blocking_recv(),
        Some(ToAgent::Full { .. })
    ));
}

#[test]
fn a_slow_agent_is_cut_off_and_gets_everything_whole_again() {
    let bed = Bed::start(Memory::default());
    bed.add_node(0, 1);
    let mut slow = bed.wait(bed.leader.open_session(NodeId(0))).unwrap();
    let mut tasks = Vec::new();
    // One message a turn, none of them taken.
    for _ in 0..=limits::SESSION_MESSAGES_MAX {
        tasks.extend(bed.run_tasks(1));
    }
    // Callers hear of a turn before agents do: this one is answered after the last message.
    bed.ask(Command::ListNodes).unwrap();
    let mut taken = 0;
    while slow.from_server.blocking_recv().is_some() {
        taken += 1;
    }
    assert_eq!(taken, limits::SESSION_MESSAGES_MAX);
    let mut again = bed.wait(bed.leader.open_session(NodeId(0))).unwrap();
    bed.leader
        .receive(ToServer::Hello(nouns::node(0, 1)))
        .unwrap();
    match again.from_server.blocking_recv() {
        Some(ToAgent::Full { assignments, .. }) => assert_eq!(assignments.len(), tasks.len()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn history_leaves_after_its_days() {
    let bed = Bed::start(Memory::default());
    let entries = |subject: &str| {
        let entries = bed.wait(bed.leader.history(subject, 10));
        entries.unwrap().len()
    };
    bed.ask(nouns::create_cluster("old")).unwrap();
    bed.clock.pass(20 * DAY_MS);
    bed.ask(nouns::create_cluster("new")).unwrap();
    assert_eq!((entries("cluster/old"), entries("cluster/new")), (1, 1));
    bed.clock.pass(12 * DAY_MS);
    bed.ask(Command::ListNodes).unwrap();
    // That turn may have answered before it dropped; the next request comes after.
    bed.ask(Command::ListNodes).unwrap();
    assert_eq!((entries("cluster/old"), entries("cluster/new")), (0, 1));
    assert_eq!(clusters(&bed), ["new", "old"], "only history is dropped");
}
