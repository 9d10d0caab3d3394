//! What a shim must do, whatever its containers are.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use windlass_runtime::protocol::{Frame, Hello, Message, Refusal, Reply, Request, VERSION};
use windlass_runtime::spec::*;
use windlass_runtime::state::Status;
use windlass_runtime::{Error, EventKind, Runtime};

use super::bed::*;

pub(crate) async fn exits_are_reported(mut bed: Bed) {
    let id = bed.sandbox("a1").await;
    assert_eq!(
        bed.run(&id, bed.shell("zero", "exit 0")).await,
        Exit::Code(0)
    );
    assert_eq!(
        bed.run(&id, bed.shell("three", "exit 3")).await,
        Exit::Code(3)
    );
    let started = bed
        .runtime
        .start(&id, bed.shell("signal", "sleep 100"))
        .await
        .unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(started.pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    assert_eq!(bed.exit("signal").await, Exit::Signal(9));
    // Again, and its run counts.
    bed.runtime
        .start(&id, bed.shell("three", "exit 4"))
        .await
        .unwrap();
    match bed.event().await {
        EventKind::Exited {
            container,
            run,
            exit,
            oom,
            at_ms,
            fault: None,
        } => {
            assert_eq!(
                (container.as_str(), run, exit, oom),
                ("three", 2, Exit::Code(4), None)
            );
            let state = bed.container_state(&id, "three").await;
            assert_eq!(state.status, Status::Exited);
            assert_eq!((state.exit, state.exited_at_ms), (Some(exit), Some(at_ms)));
            assert!(state.started_at_ms <= at_ms);
        }
        other => panic!("{other:?}"),
    }
    let known = bed.state(&id).await.containers;
    assert_eq!(
        known
            .iter()
            .map(|state| state.name.as_str())
            .collect::<Vec<_>>(),
        ["signal", "three", "zero"]
    );
    bed.close().await;
}

pub(crate) async fn output_is_logged(mut bed: Bed) {
    let id = bed.sandbox("a1").await;
    let script = "echo one; echo two >&2; sleep 0.1; printf 'no newline'";
    bed.run(&id, bed.shell("web", script)).await;
    let mut records = bed.records("web");
    records[..2].sort();
    assert_eq!(
        records,
        ["stderr F two", "stdout F one", "stdout F no newline"]
    );
    // One line of 40,000 bytes, in pieces that join.
    bed.run(
        &id,
        bed.shell("long", "head -c 40000 /dev/zero | tr '\\0' x"),
    )
    .await;
    let records = bed.records("long");
    assert!(records.len() >= 3);
    let (last, pieces) = records.split_last().unwrap();
    assert!(pieces.iter().all(|piece| piece.starts_with("stdout P x")));
    assert!(last.starts_with("stdout F "));
    assert_eq!(
        records
            .iter()
            .map(|piece| piece.len() - "stdout P ".len())
            .sum::<usize>(),
        40_000
    );
    bed.close().await;
}

pub(crate) async fn logs_rotate(mut bed: Bed) {
    let id = bed.sandbox("a1").await;
    let mut spec = bed.shell(
        "chatty",
        "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done",
    );
    spec.log.max_bytes = 8192;
    spec.log.files = 3;
    bed.run(&id, spec).await;
    let mut text = String::new();
    for name in ["chatty.log.2", "chatty.log.1", "chatty.log"] {
        let file = std::fs::read_to_string(bed.folder.path().join(name)).unwrap();
        assert!(file.len() <= 8192, "{name} has {} bytes", file.len());
        text.push_str(&file);
    }
    assert!(!exists(&bed.folder.path().join("chatty.log.3")));
    let numbers: Vec<u32> = text
        .lines()
        .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
        .collect();
    assert_eq!(numbers.last(), Some(&1999));
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    bed.close().await;
}

pub(crate) async fn stop_sends_its_signal(mut bed: Bed) {
    let id = bed.sandbox("a1").await;
    let script = "trap 'echo bye; exit 7' USR1; echo ready; while :; do sleep 0.02; done";
    let mut spec = bed.shell("polite", script);
    spec.stop_signal = libc::SIGUSR1;
    bed.runtime.start(&id, spec).await.unwrap();
    let log = bed.log_path("polite");
    until("it is ready", || {
        std::fs::read_to_string(&log).unwrap().contains("ready")
    })
    .await;
    bed.runtime.stop(&id, "polite").await.unwrap();
    assert_eq!(bed.exit("polite").await, Exit::Code(7));
    assert_eq!(bed.records("polite"), ["stdout F ready", "stdout F bye"]);
    // Twice is no error, and neither is a stop of what has ended.
    bed.runtime.stop(&id, "polite").await.unwrap();
    bed.runtime.kill(&id, "polite").await.unwrap();
    let unknown = bed.runtime.stop(&id, "other").await.unwrap_err();
    let source = Refusal::NoContainer("other".into());
    assert_eq!(
        unknown,
        Error::Refused {
            sandbox: id.clone(),
            source
        }
    );
    bed.close().await;
}

/// The kill comes from the shim: no agent is there when it is due.
pub(crate) async fn stop_turns_into_a_kill_without_an_agent(mut bed: Bed) {
    let id = bed.sandbox("a1").await;
    let script = "trap '' TERM; sleep 1000 & echo ready; while :; do sleep 0.02; done";
    let mut spec = bed.shell("stubborn", script);
    spec.stop_timeout_ms = 300;
    bed.runtime.start(&id, spec).await.unwrap();
    let log = bed.log_path("stubborn");
    until("it is ready", || {
        std::fs::read_to_string(&log).unwrap().contains("ready")
    })
    .await;
    bed.runtime.stop(&id, "stubborn").await.unwrap();
    assert_eq!(
        bed.container_state(&id, "stubborn").await.status,
        Status::Stopping
    );
    bed.leave();
    let record = bed.options.run_dir.join("a1/container-0");
    let before = std::fs::read(&record).unwrap();
    until("the exit is written down", || {
        std::fs::read(&record).unwrap() != before
    })
    .await;
    bed.come_back();
    let state = bed.container_state(&id, "stubborn").await;
    assert_eq!(
        (state.status, state.exit),
        (Status::Exited, Some(Exit::Signal(9)))
    );
    // The event was kept for whoever comes.
    assert_eq!(bed.exit("stubborn").await, Exit::Signal(9));
    bed.close().await;
}

pub(crate) async fn an_event_is_told_until_it_is_heard(mut bed: Bed) {
    let id = bed.sandbox("a1").await;
    bed.runtime
        .start(&id, bed.shell("web", "echo up; sleep 0.3; exit 5"))
        .await
        .unwrap();
    bed.leave();
    let record = bed.options.run_dir.join("a1/container-0");
    let before = std::fs::read(&record).unwrap();
    until("the exit is written down", || {
        std::fs::read(&record).unwrap() != before
    })
    .await;
    bed.come_back();
    assert!(bed.state(&id).await.alive);
    assert_eq!(bed.exit("web").await, Exit::Code(5));
    // An acknowledged event is not told to the next agent; the list still knows.
    assert_eq!(
        bed.container_state(&id, "web").await.exit,
        Some(Exit::Code(5))
    );
    bed.leave();
    bed.come_back();
    assert_eq!(
        bed.container_state(&id, "web").await.exit,
        Some(Exit::Code(5))
    );
    bed.run(&id, bed.shell("next", "exit 6")).await;
    bed.close().await;
}

pub(crate) async fn execs_answer(mut bed: Bed) {
    let id = bed.sandbox("a1").await;
    bed.runtime
        .start(&id, bed.shell("web", "sleep 1000"))
        .await
        .unwrap();
    let result = bed
        .runtime
        .exec(&id, bed.exec_spec("web", "echo out; echo err >&2; exit 2"))
        .await
        .unwrap();
    assert_eq!(
        (result.exit, result.timed_out, result.truncated),
        (Exit::Code(2), false, false)
    );
    assert_eq!(String::from_utf8(result.output).unwrap(), "out\nerr\n");

    let mut endless = bed.exec_spec("web", "yes");
    endless.timeout_ms = Some(300);
    endless.output_max_bytes = 100;
    let result = bed.runtime.exec(&id, endless).await.unwrap();
    assert!(result.timed_out && result.truncated);
    assert_eq!((result.exit, result.output.len()), (Exit::Signal(9), 100));

    // A timeout ends what the program started, too, and a daemon's open pipe keeps no exec waiting.
    let mut parent = bed.exec_spec("web", "sleep 2000 & wait");
    parent.timeout_ms = Some(200);
    assert!(bed.runtime.exec(&id, parent).await.unwrap().timed_out);
    let daemon = bed.exec_spec("web", "sleep 10 & echo started");
    let result = bed.runtime.exec(&id, daemon).await.unwrap();
    assert_eq!(
        (result.exit, result.output.as_slice()),
        (Exit::Code(0), &b"started\n"[..])
    );

    // Several at once do not wait for one another.
    let slow = bed
        .runtime
        .exec(&id, bed.exec_spec("web", "sleep 1; echo slow"));
    let fast = bed.runtime.exec(&id, bed.exec_spec("web", "echo fast"));
    let (slow, fast) = tokio::join!(slow, fast);
    assert_eq!(slow.unwrap().output, b"slow\n");
    assert_eq!(fast.unwrap().output, b"fast\n");

    bed.runtime.kill(&id, "web").await.unwrap();
    bed.exit("web").await;
    let refused = bed
        .runtime
        .exec(&id, bed.exec_spec("web", "true"))
        .await
        .unwrap_err();
    let source = Refusal::NotRunning("web".into());
    assert_eq!(
        refused,
        Error::Refused {
            sandbox: id.clone(),
            source
        }
    );
    bed.close().await;
}

pub(crate) async fn missing_commands_leak_nothing(mut bed: Bed) {
    let id = bed.sandbox("a1").await;
    // Two, so that nothing that was prepared ahead goes while this counts.
    for name in ["web", "side"] {
        let spec = bed.shell(name, "sleep 1000");
        bed.runtime.start(&id, spec).await.unwrap();
    }
    let pid = bed.shim_pid(&id);
    let count = || {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .count();
        let path = format!("/proc/{pid}/task/{pid}/children");
        (
            fds,
            std::fs::read_to_string(path)
                .unwrap()
                .split_whitespace()
                .count(),
        )
    };
    let mut missing = bed.exec_spec("web", "");
    missing.process.args = vec!["/missing".into()];
    bed.runtime.exec(&id, missing.clone()).await.unwrap_err();
    let before = count();
    for _ in 0..200 {
        match bed.runtime.exec(&id, missing.clone()).await {
            Err(Error::Start { source, .. }) => {
                assert_eq!(
                    (source.stage.as_str(), source.errno),
                    ("exec", libc::ENOENT)
                );
            }
            other => panic!("{:?}", other.map(|result| result.exit)),
        }
        let mut start = bed.shell("never", "");
        start.process.args = vec!["/missing".into()];
        if let Err(Error::Start { source, .. }) = bed.runtime.start(&id, start).await {
            assert_eq!(source.errno, libc::ENOENT);
        } else {
            panic!("started");
        }
    }
    until("the shim is as it was", || count() == before).await;
    assert_eq!(bed.state(&id).await.containers.len(), 2);
    for name in ["web", "side"] {
        bed.runtime.kill(&id, name).await.unwrap();
        bed.exit(name).await;
    }
    bed.close().await;
}

/// What a killed shim leaves is found, told and removed.
pub(crate) async fn a_killed_shim_is_noticed(mut bed: Bed) {
    let id = bed.sandbox("a1").await;
    bed.run(&id, bed.shell("done", "exit 9")).await;
    bed.runtime
        .start(&id, bed.shell("web", "sleep 1"))
        .await
        .unwrap();
    let pid = rustix::process::Pid::from_raw(bed.shim_pid(&id)).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert!(matches!(bed.event().await, EventKind::ShimDied { .. }));
    let state = bed.state(&id).await;
    assert!(!state.alive);
    let of = |name: &str| state.containers.iter().find(|c| c.name == name).unwrap();
    assert_eq!(
        (of("done").status, of("done").exit),
        (Status::Exited, Some(Exit::Code(9)))
    );
    assert_eq!((of("web").status, of("web").exit), (Status::Lost, None));
    assert_eq!(
        bed.runtime.start(&id, bed.shell("more", "true")).await,
        Err(Error::ShimDead(id.clone()))
    );
    bed.runtime.remove_sandbox(&id).await.unwrap();
    bed.runtime.remove_sandbox(&id).await.unwrap();
    assert!(bed.runtime.list().await.unwrap().is_empty());
    bed.close().await;
}

pub(crate) async fn removal_takes_all_with_it(mut bed: Bed) {
    let id = bed.sandbox("a1").await;
    let mut pids = Vec::new();
    for name in ["one", "two", "three"] {
        let spec = bed.shell(name, "trap '' TERM; while :; do sleep 1000; done");
        pids.push(bed.runtime.start(&id, spec).await.unwrap().pid);
    }
    let shim = bed.shim_pid(&id);
    let refused = bed.runtime.create_sandbox(SandboxSpec {
        id: id.clone(),
        limits: Limits::default(),
    });
    assert_eq!(refused.await, Err(Error::SandboxExists(id.clone())));
    bed.runtime.remove_sandbox(&id).await.unwrap();
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
    assert!(!is_alive(shim));
    assert!(!exists(&bed.options.run_dir.join("a1")));
    // The name may be used again.
    let id = bed.sandbox("a1").await;
    bed.events = bed.runtime.events();
    assert_eq!(
        bed.run(&id, bed.shell("one", "exit 1")).await,
        Exit::Code(1)
    );
    bed.close().await;
}

pub(crate) async fn hostile_frames_end_only_their_connection(mut bed: Bed) {
    let id = bed.sandbox("a1").await;
    bed.runtime
        .start(&id, bed.shell("web", "sleep 1000"))
        .await
        .unwrap();
    let socket = bed.options.run_dir.join("a1/shim.sock");
    let dial = || UnixStream::connect(&socket).unwrap();
    let ends = |mut stream: UnixStream| {
        let mut rest = Vec::new();
        // Reset or ended: closed in either case.
        let _ = stream.read_to_end(&mut rest);
        rest
    };
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..200_usize {
        let mut stream = dial();
        let mut bytes: Vec<u8> = (0..round * 7)
            .map(|_| {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                noise.to_be_bytes()[0]
            })
            .collect();
        if round % 2 == 0 {
            // A true length, so that the noise is taken for a frame.
            let length = u32::try_from(bytes.len()).unwrap();
            bytes.splice(0..0, length.to_be_bytes());
        }
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        ends(stream);
    }
    let mut huge = dial();
    huge.write_all(&u32::MAX.to_be_bytes()).unwrap();
    assert!(ends(huge).is_empty());

    // Well-formed but wrong: refused by id, on a connection that lives on.
    let mut stream = dial();
    let mut ask = |frame: Frame| {
        stream.write_all(&frame.bytes().unwrap()).unwrap();
        let mut buffer = Vec::new();
        let mut byte = [0];
        loop {
            if let Some(frame) = Frame::take(&mut buffer).unwrap() {
                return Message::decode(&frame).unwrap();
            }
            stream.read_exact(&mut byte).unwrap();
            buffer.push(byte[0]);
        }
    };
    let mut refusal = |frame: Frame| match ask(frame) {
        Some(Message::Reply(id, Reply::Refused(refusal))) => (id, refusal),
        _ => panic!("not refused"),
    };
    assert_eq!(
        refusal(Request::List.frame(1).unwrap()),
        (1, Refusal::NotGreeted)
    );
    let unknown = Frame {
        id: 2,
        kind: 4_000_000,
        body: vec![1, 2, 3],
    };
    assert_eq!(refusal(unknown), (2, Refusal::UnknownMessage(4_000_000)));
    let bad = Frame {
        id: 3,
        kind: 3,
        body: vec![0xff; 100],
    };
    assert_eq!(refusal(bad), (3, Refusal::BadMessage(3)));
    let hello = Request::Hello(Hello {
        version: VERSION + 1,
    })
    .frame(4)
    .unwrap();
    let version = Refusal::Version {
        shim: VERSION,
        agent: VERSION + 1,
    };
    assert_eq!(refusal(hello), (4, version));

    // The agent's own connection has seen nothing of it.
    assert_eq!(
        bed.container_state(&id, "web").await.status,
        Status::Running
    );
    bed.runtime.kill(&id, "web").await.unwrap();
    assert_eq!(bed.exit("web").await, Exit::Signal(9));
    bed.close().await;
}

/// Without input a program meets its end at once, or waits for some that never comes.
pub(crate) async fn standard_input_ends_or_stays_open(mut bed: Bed) {
    let id = bed.sandbox("a1").await;
    let script = "read line; echo $?";
    assert_eq!(bed.run(&id, bed.shell("ends", script)).await, Exit::Code(0));
    assert_eq!(bed.records("ends"), ["stdout F 1"]);
    let mut open = bed.shell("stays", "(sleep 0.3; kill -USR1 $$) & read line; echo $?");
    open.process.args[2] = format!("trap 'echo asked; exit 7' USR1; {}", open.process.args[2]);
    open.stdin_open = true;
    assert_eq!(bed.run(&id, open).await, Exit::Code(7));
    assert_eq!(bed.records("stays"), ["stdout F asked"]);
    bed.close().await;
}

pub(crate) async fn bad_requests_are_refused(bed: Bed) {
    for bad in ["", "UPPER", "a/b", "..", "a-b", "aaaaaaaaaaaaaaaaaaaaaaaaa"] {
        let id = SandboxId(bad.into());
        let spec = SandboxSpec {
            id: id.clone(),
            limits: Limits::default(),
        };
        let error = Error::BadSandboxId(bad.into());
        assert_eq!(bed.runtime.create_sandbox(spec).await, Err(error.clone()));
        assert_eq!(bed.runtime.remove_sandbox(&id).await, Err(vec![error]));
    }
    let unknown = SandboxId("nothere".into());
    assert_eq!(
        bed.runtime.stop(&unknown, "a").await,
        Err(Error::NoSandbox(unknown.clone()))
    );
    let id = bed.sandbox("a1").await;
    let refused = |source| {
        Err(Error::Refused {
            sandbox: id.clone(),
            source,
        })
    };
    let start = |spec| bed.runtime.start(&id, spec);
    let mut slash = bed.shell("ok", "true");
    slash.name = "a/b".into();
    assert_eq!(start(slash).await, refused(Refusal::BadName("a/b".into())));
    let mut shared = bed.shell("web", "true");
    shared.pid = Namespace::Container("other".into());
    assert_eq!(
        start(shared).await,
        refused(Refusal::NoContainer("other".into()))
    );
    let mut log = bed.shell("web", "true");
    log.log.path = "/dev/null".into();
    assert!(matches!(start(log).await, Err(Error::Start { source, .. }) if source.stage == "log"));
    let mut signal = bed.shell("web", "true");
    signal.stop_signal = 65;
    assert!(matches!(start(signal).await, Err(Error::Start { .. })));
    let mut large = bed.shell("web", "true");
    large.process.env.push(format!("A={}", "a".repeat(5 << 20)));
    assert!(matches!(start(large).await, Err(Error::Host { .. })));
    start(bed.shell("web", "sleep 1000")).await.unwrap();
    let again = start(bed.shell("web", "true")).await;
    assert_eq!(again, refused(Refusal::AlreadyRunning("web".into())));
    bed.close().await;
}

pub(crate) async fn a_spare_ends_with_its_agent(mut bed: Bed) {
    let spare = || {
        let entries = std::fs::read_dir(&bed.options.run_dir).unwrap().flatten();
        let pid = entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("spare-"))
            .find_map(|entry| std::fs::read_to_string(entry.path().join("shim.pid")).ok())?;
        pid.split_once(' ')?.0.parse::<i32>().ok()
    };
    until("a spare waits", || {
        spare().is_some() && bed.runtime.spare_shims() == 1
    })
    .await;
    let pid = spare().unwrap();
    assert!(is_alive(pid));
    bed.leave();
    until("the spare has ended", || !is_alive(pid)).await;
    bed.close().await;
}

/// A shim that is stopped cannot answer, and must not look dead.
pub(crate) async fn a_mute_shim_is_listed(mut bed: Bed) {
    let id = bed.sandbox("a1").await;
    let pid = bed
        .runtime
        .start(&id, bed.shell("web", "sleep 1"))
        .await
        .unwrap()
        .pid;
    let shim = rustix::process::Pid::from_raw(bed.shim_pid(&id)).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::STOP).unwrap();
    let state = bed.state(&id).await;
    assert!(state.alive && !state.answers);
    assert_eq!(state.containers[0].status, Status::Running);
    rustix::process::kill_process(shim, rustix::process::Signal::CONT).unwrap();
    let mut news = vec![bed.event().await, bed.event().await];
    news.sort_by_key(|kind| *kind != EventKind::Answered);
    assert_eq!(news[0], EventKind::Answered);
    let EventKind::Exited { exit, .. } = &news[1] else {
        panic!("{news:?}");
    };
    assert_eq!(*exit, Exit::Code(0));
    assert!(bed.state(&id).await.answers);
    assert!(!is_alive(pid));
    bed.close().await;
}
