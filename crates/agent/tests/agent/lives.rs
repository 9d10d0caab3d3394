//! Whole lives of tasks.

use crate::definitions::{assignment, stopped};
use crate::world::{World, all_running, container, sandbox};
use windlass_model::container::{PortMapping, Secret};
use windlass_model::definition::NetworkMode;
use windlass_model::id::BootId;
use windlass_model::observation::Observation;
use windlass_model::resources::Protocol;
use windlass_model::status::{AttachmentStatus, ContainerStatus, TaskStatus};
use windlass_model::stop::{ReasonName, Stop, StopCode, StopReason};
use windlass_runtime::spec::{Exit, MountKind, Oom, StartError};
use windlass_session::{Assignment, Mark, ToAgent};

type Definition = windlass_model::container::ContainerDefinition;

/// The task with its first container changed.
fn with(mut task: Assignment, change: impl FnOnce(&mut Definition)) -> Assignment {
    let mut definition = (*task.definition).clone();
    change(&mut definition.template.containers[0]);
    task.definition = definition.into();
    task
}

#[tokio::test]
async fn a_task_runs_is_stopped_and_leaves_nothing() {
    let world = World::new();
    let mut node = world.agent().await;
    let task = assignment(1, NetworkMode::Awsvpc, "web!");
    node.assign(1, vec![task.clone()]).await;
    let running = node.until_status(TaskStatus::Running).await;
    let attachment = running.attachment.clone().unwrap();
    assert_eq!(attachment.status, AttachmentStatus::Attached);
    assert_eq!(attachment.private_ipv4.as_deref(), Some("10.77.0.2"));
    assert_eq!(
        attachment.private_dns_name.as_deref(),
        Some("ip-10-77-0-2.eu-central-1.compute.internal")
    );
    assert_eq!(
        container(&running, "web")
            .runtime_id
            .as_ref()
            .map(String::len),
        Some(64)
    );
    assert_eq!(
        container(&running, "web").image_digest.as_deref(),
        Some("sha256:fake")
    );
    node.assign(2, vec![stopped(&task)]).await;
    let end = node.until_status(TaskStatus::Stopped).await;
    assert_eq!(container(&end, "web").exit_code, Some(143));
    assert_eq!(end.stop, None, "the control plane knows its own reason");
    assert_eq!(end.attachment.unwrap().status, AttachmentStatus::Deleted);
    node.until_forgotten().await;
    world.assert_empty().await;
}

#[tokio::test]
async fn bridge_mode_reports_its_bindings() {
    let world = World::new();
    let mut node = world.agent().await;
    let mapping = |container, host, range| PortMapping {
        container_port: container,
        host_port: host,
        protocol: Protocol::Tcp,
        name: None,
        app_protocol: None,
        container_port_range: range,
    };
    let task = with(assignment(1, NetworkMode::Bridge, "web!"), |web| {
        web.port_mappings = vec![
            mapping(Some(80), Some(8080), None),
            mapping(Some(81), Some(0), None),
            mapping(None, None, Some((9000, 9003))),
        ];
    });
    node.assign(1, vec![task.clone()]).await;
    let running = node.until_status(TaskStatus::Running).await;
    let bindings = &container(&running, "web").bindings;
    assert_eq!(
        (bindings[0].container_port, bindings[0].host_port),
        (80, 8080)
    );
    assert!(bindings[1].container_port == 81 && bindings[1].host_port > 0);
    let (container_end, host_end) = bindings[2].range_end.unwrap();
    assert_eq!((bindings[2].container_port, container_end), (9000, 9003));
    assert_eq!(host_end - bindings[2].host_port, 3);
    assert_eq!(world.network.published().len(), 6);
    node.assign(2, vec![stopped(&task)]).await;
    node.until_forgotten().await;
    world.assert_empty().await;
}

#[tokio::test]
async fn links_and_exits_and_memory_are_told() {
    let world = World::new();
    let mut node = world.agent().await;
    let task = assignment(1, NetworkMode::Bridge, "db!\nweb! links=db:database");
    node.assign(1, vec![task.clone()]).await;
    node.until(all_running).await;
    let mut mounts = world.runtime.mounts("web").into_iter();
    let hosts = mounts.find(|mount| mount.target == "/etc/hosts").unwrap();
    let MountKind::File { text } = hosts.kind else {
        panic!("no file");
    };
    assert!(text.contains("\tdatabase\n"), "{text}");
    let oom = Oom {
        peak_bytes: 10,
        limit_bytes: 9,
    };
    assert!(
        world
            .runtime
            .exit(&sandbox(&task), "web", Exit::Signal(9), Some(oom))
    );
    let end = node.until_status(TaskStatus::Stopped).await;
    let web = container(&end, "web");
    assert_eq!(web.exit_code, Some(137));
    assert_eq!(
        web.reason.as_ref().unwrap().name,
        ReasonName::OutOfMemoryError
    );
    assert_eq!(web.oom.unwrap().limit_bytes, 9);
    let because = StopReason::EssentialContainerExited {
        container: "web".into(),
    };
    let stop = Stop {
        code: StopCode::EssentialContainerExited,
        reason: because,
    };
    assert_eq!(end.stop, Some(stop));
    node.until_forgotten().await;
    world.assert_empty().await;
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let world = World::new();
    let mut node = world.agent().await;
    world.images.lose("gone");
    let error = StartError {
        stage: "exec".into(),
        errno: 2,
        detail: "nope".into(),
    };
    world.runtime.fail_start("bad", error);
    world.network.occupy_port(8081);
    let missing = with(assignment(1, NetworkMode::Host, "web!"), |web| {
        web.image = "gone".into()
    });
    let program = assignment(2, NetworkMode::Host, "bad!");
    let secret = with(assignment(3, NetworkMode::Host, "web!"), |web| {
        web.secrets = vec![Secret {
            name: "A".into(),
            value_from: "arn".into(),
        }];
    });
    let mut other_boot = assignment(4, NetworkMode::Host, "web!");
    std::sync::Arc::make_mut(&mut other_boot.spec).boot = BootId(1);
    let expected = [
        (
            missing,
            ReasonName::CannotPullContainerError,
            "gone: not found",
        ),
        (
            program,
            ReasonName::CannotStartContainerError,
            "exec: \"nope\": executable file not found in $PATH",
        ),
        (
            secret,
            ReasonName::ResourceInitializationError,
            "secrets: not provided by this release of Windlass; remove it from the task definition",
        ),
    ];
    for (turn, (task, reason, detail)) in expected.into_iter().enumerate() {
        node.assign(turn as u64 + 1, vec![task.clone()]).await;
        let end = node
            .until(|o| o.task == task.spec.id && o.status == TaskStatus::Stopped)
            .await;
        let shown = end.containers[0].reason.clone().unwrap();
        assert_eq!((shown.name, shown.detail.as_str()), (reason, detail));
        assert_eq!(end.stop.unwrap().code, StopCode::TaskFailedToStart);
    }
    node.assign(9, vec![other_boot]).await;
    let end = node
        .until(|o| o.task.0 == 4 && o.status == TaskStatus::Stopped)
        .await;
    assert_eq!(end.stop.unwrap().reason, StopReason::NodeRebooted);
    node.until_forgotten().await;
    assert_eq!(world.starts().len(), 1, "{:?}", world.starts());
    world.assert_empty().await;
}

#[tokio::test]
async fn an_older_mark_is_refused_and_a_missing_task_is_only_named() {
    let world = World::new();
    let mut node = world.agent().await;
    let task = assignment(1, NetworkMode::Host, "web!");
    node.assign(5, vec![task.clone()]).await;
    node.until_status(TaskStatus::Running).await;
    node.assign(4, vec![stopped(&task)]).await;
    node.assign(6, Vec::new()).await;
    let other = assignment(2, NetworkMode::Host, "web!");
    node.assign(7, vec![task.clone(), other.clone()]).await;
    let last = node
        .until(|o| o.task.0 == 2 && o.status == TaskStatus::Running)
        .await;
    assert_eq!(container(&last, "web").status, ContainerStatus::Running);
    assert_eq!(node.unassigned, [task.spec.id]);
    assert!(node.seen.iter().all(|o| o.status != TaskStatus::Stopping));
    // A new agent still refuses the old leader.
    node.crash().await;
    let mut node = world.agent().await;
    node.assign(4, vec![stopped(&task)]).await;
    let reason = StopReason::User {
        reason: None,
        by: "x".into(),
    };
    let stop = Stop {
        code: StopCode::UserInitiated,
        reason,
    };
    let mark = Mark { term: 1, turn: 8 };
    node.send(ToAgent::Stop {
        mark,
        task: other.spec.id,
        stop,
    })
    .await;
    // Nobody waits for its report: it ends and is forgotten, and the other one runs on.
    node.until_known(&[task.spec.id]).await;
    assert!(
        !world
            .folder
            .path()
            .join("data/tasks")
            .join(other.spec.id.to_string())
            .exists()
    );
    assert!(
        node.seen
            .iter()
            .all(|o| o.task != task.spec.id || o.status == TaskStatus::Running)
    );
}

/// A restore raises the term: its turns are older, and still the newest word. What the restored
/// state has and this node does not may have run and ended here.
#[tokio::test]
async fn a_restored_state_is_followed_and_starts_nothing_again() {
    let world = World::new();
    let mut node = world.agent().await;
    let known = assignment(1, NetworkMode::Host, "web!");
    node.assign(500, vec![known.clone()]).await;
    node.until_status(TaskStatus::Running).await;
    let restored = |number| Assignment {
        restored: true,
        ..assignment(number, NetworkMode::Host, "web!")
    };
    node.send(ToAgent::Full {
        mark: Mark { term: 2, turn: 3 },
        assignments: vec![restored(1), restored(2)],
    })
    .await;
    let end = node
        .until(|o| o.task.0 == 2 && o.status == TaskStatus::Stopped)
        .await;
    assert_eq!(end.stop.unwrap().reason, StopReason::LostByNode);
    assert_eq!(world.starts().len(), 1, "{:?}", world.starts());
    // The old leader's word no longer counts.
    node.assign(501, vec![stopped(&known)]).await;
    let new = assignment(3, NetworkMode::Host, "web!");
    node.send(ToAgent::Full {
        mark: Mark { term: 2, turn: 4 },
        assignments: vec![restored(1), new],
    })
    .await;
    node.until(|o| o.task.0 == 3 && o.status == TaskStatus::Running)
        .await;
    let mut of_known = node.seen.iter().filter(|o| o.task == known.spec.id);
    assert_eq!(of_known.next_back().unwrap().status, TaskStatus::Running);
}

#[tokio::test]
async fn the_last_report_is_repeated_until_it_is_durable() {
    let world = World::new();
    let mut node = world.agent().await;
    node.acknowledges = false;
    let task = assignment(1, NetworkMode::Host, "web!");
    node.assign(1, vec![task.clone()]).await;
    node.until_status(TaskStatus::Running).await;
    world
        .runtime
        .exit(&sandbox(&task), "web", Exit::Code(3), None);
    let end = node.until_status(TaskStatus::Stopped).await;
    let again = node.until_status(TaskStatus::Stopped).await;
    assert_eq!(end, again);
    node.crash().await;
    let mut node = world.agent().await;
    let after_crash = node.until_status(TaskStatus::Stopped).await;
    // It numbers its own above those that may not have been written down.
    assert!(after_crash.sequence > end.sequence);
    let sequence = end.sequence;
    assert_eq!(
        end,
        Observation {
            sequence,
            ..after_crash
        }
    );
    node.until_forgotten().await;
    assert_eq!(world.starts(), [format!("{} web", sandbox(&task))]);
    world.assert_empty().await;
}

#[tokio::test]
async fn a_dead_shim_ends_its_task() {
    let world = World::new();
    let mut node = world.agent().await;
    let task = assignment(1, NetworkMode::Bridge, "web!");
    node.assign(1, vec![task.clone()]).await;
    node.until_status(TaskStatus::Running).await;
    world
        .runtime
        .kill_shim(&sandbox(&task), "killed by signal 9");
    let end = node.until_status(TaskStatus::Stopped).await;
    let reason = container(&end, "web").reason.clone().unwrap();
    assert_eq!(reason.name, ReasonName::ContainerRuntimeError);
    assert!(
        end.notes.iter().any(|note| note.contains("signal 9")),
        "{:?}",
        end.notes
    );
    node.until_forgotten().await;
    world.assert_empty().await;
}

/// What a task left on disk and nobody can remove is told; it holds up neither the task nor the
/// next start of the node, which tries again.
#[tokio::test]
async fn files_that_stay_hold_nothing_up() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let world = World::new();
    let mut node = world.agent().await;
    let task = assignment(1, NetworkMode::Bridge, "web!");
    node.assign(1, vec![task.clone()]).await;
    node.until_status(TaskStatus::Running).await;
    let folder = world.folder.path().join("data/tasks");
    let folder = folder.join(task.spec.id.to_string());
    let kept = folder.join("b");
    std::fs::create_dir_all(&kept).unwrap();
    mount("test", &kept, "tmpfs", MountFlags::empty(), c"size=64k").unwrap();
    node.assign(2, vec![stopped(&task)]).await;
    let end = node.until_status(TaskStatus::Stopped).await;
    node.until_forgotten().await;
    node.crash().await;
    let node = world.agent().await;
    assert!(kept.exists());
    unmount(&kept, UnmountFlags::DETACH).unwrap();
    node.crash().await;
    assert!(
        end.notes
            .iter()
            .any(|note| note.contains("could not be removed") && note.contains("\"b\"")),
        "{:?}",
        end.notes
    );
    let _node = world.agent().await;
    for _ in 0..1_000 {
        if !folder.exists() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the files are still there");
}

#[tokio::test]
async fn a_sandbox_without_a_ledger_record_is_removed() {
    use windlass_runtime::Runtime;
    use windlass_runtime::spec::{Limits, SandboxId, SandboxSpec};
    let world = World::new();
    let id = SandboxId("stray".into());
    world
        .runtime
        .create_sandbox(SandboxSpec {
            id,
            limits: Limits::default(),
        })
        .await
        .unwrap();
    let _node = world.agent().await;
    for _ in 0..1_000 {
        if world.runtime.list().await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it is still there");
}
