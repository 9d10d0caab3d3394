//! Starting, exec, terminals, init, killing, running out of memory, parking.

use std::os::fd::AsFd;

use crate::Case;
use crate::bed::{Bed, pipes, process, read, wait};
use windlass_runtime::spec::{Exit, Limits};
use windlass_runtime::start::{Running, Shared};

pub(crate) const CASES: &[Case] = &[
    ("hello", hello),
    ("exec_sees_the_container", exec_sees_the_container),
    ("exec_into_a_dead_container", exec_into_a_dead_container),
    ("terminal", terminal),
    ("terminal_exec", terminal_exec),
    ("init_reaps_and_forwards", init_reaps_and_forwards),
    ("kill_all", kill_all),
    ("out_of_memory", out_of_memory),
    (
        "what_a_dead_shim_left_is_cleaned",
        what_a_dead_shim_left_is_cleaned,
    ),
    ("parked", parked),
    ("parked_unused_and_failing", parked_unused_and_failing),
];

fn hello() {
    let mut bed = Bed::new();
    let mut spec =
        bed.spec("echo hello $X; cat /opt/marker; pwd; hostname; echo $HOME $PATH; exit 7");
    spec.process.env = vec!["X=world".into()];
    spec.process.cwd = "/new/folder".into();
    let (exit, text) = bed.run(&spec).unwrap();
    assert_eq!(
        text,
        "hello world\ntop\n/new/folder\nbox\n\
         /root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    );
    assert_eq!(exit, Exit::Code(7));
}

fn exec_sees_the_container() {
    let mut bed = Bed::new();
    let spec = bed.spec("touch /mark; exec sleep 1000");
    let running = bed.start(&spec);
    let script = "while ! test -e /mark; do sleep 0.01; done; hostname; echo $$; \
                  cat /proc/self/cgroup | grep -v ':/$'; ls /proc/self/fd | wc -l; exit 3";
    let (exit, text) = bed
        .exec(&running, &spec, &process(&["sh", "-c", script]))
        .unwrap();
    assert_eq!(exit, Exit::Code(3));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "box");
    let pid: u32 = lines[1].parse().unwrap();
    assert!(pid > 1 && pid < 100, "{pid}");
    // No group is shown outside the container's own; 0, 1, 2 and the folder ls reads.
    assert_eq!(lines[2..], ["4"]);
    let mut missing = process(&["/nope"]);
    let error = bed.exec(&running, &spec, &missing).unwrap_err();
    assert_eq!((error.stage.as_str(), error.errno), ("exec", libc::ENOENT));
    assert_eq!(error.detail, "/nope");
    missing = process(&["true"]);
    missing.cwd = "/not/there".into();
    let error = bed.exec(&running, &spec, &missing).unwrap_err();
    assert_eq!((error.stage.as_str(), error.errno), ("cwd", libc::ENOENT));
    bed.stop(&running);
}

fn exec_into_a_dead_container() {
    let mut bed = Bed::new();
    let spec = bed.spec("exec sleep 1000");
    let running = bed.start(&spec);
    bed.starter.kill_all(running.slot);
    wait(&running);
    let error = bed.exec(&running, &spec, &process(&["true"])).unwrap_err();
    assert_eq!(error.errno, libc::ESRCH, "{error}");
    assert!(bed.starter.remove_container(running.slot).is_empty());
}

fn master_of(mut running: Running) -> (Running, String) {
    let text = read(running.pty.take().unwrap()).replace('\r', "");
    (running, text)
}

fn terminal() {
    let mut bed = Bed::new();
    let mut spec = bed.spec("tty; test -t 0 && stat -c %F /dev/console; echo x > /dev/console");
    spec.process.tty = true;
    spec.process.user = "web".into();
    let (stdio, out) = pipes();
    drop(out);
    let slot = bed.slot();
    let running = bed
        .starter
        .start(slot, &spec, &Shared::default(), stdio)
        .unwrap();
    let (running, text) = master_of(running);
    assert_eq!(text, "/dev/pts/0\ncharacter special file\nx\n");
    assert_eq!(wait(&running), Exit::Code(0));
    assert!(bed.starter.remove_container(slot).is_empty());
}

fn terminal_exec() {
    let mut bed = Bed::new();
    let spec = bed.spec("exec sleep 1000");
    let running = bed.start(&spec);
    let mut shell = process(&["sh", "-c", "tty; echo $(ps -o pid,tty | grep -c pts)"]);
    shell.tty = true;
    let (stdio, _out) = pipes();
    let exec = bed.starter.exec(&running, &spec, &shell, stdio).unwrap();
    let (exec, text) = master_of(exec);
    assert!(text.starts_with("/dev/pts/0\n"), "{text}");
    assert_eq!(wait(&exec), Exit::Code(0));
    bed.stop(&running);
}

fn init_reaps_and_forwards() {
    let mut bed = Bed::new();
    let mut spec = bed.spec(
        "cat /proc/1/comm >&2; chmod 777 /proc/1/exe; (sleep 0.05 &) ; \
         trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.05; done",
    );
    spec.init = true;
    let slot = bed.slot();
    let (stdio, out) = pipes();
    let running = bed
        .starter
        .start(slot, &spec, &Shared::default(), stdio)
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(400));
    rustix::process::pidfd_send_signal(running.pidfd.as_fd(), rustix::process::Signal::TERM)
        .unwrap();
    let text = read(out);
    assert_eq!(wait(&running), Exit::Code(9), "{text}");
    // The sealed program cannot be changed from inside.
    assert!(text.contains("Read-only file system"), "{text}");
    assert!(text.ends_with("ready\nterm\n"), "{text}");
    assert!(bed.starter.remove_container(slot).is_empty());
    let mut missing = bed.spec("");
    missing.init = true;
    missing.process.args = vec!["nothing".into()];
    let error = bed.run(&missing).unwrap_err();
    assert_eq!((error.stage.as_str(), error.errno), ("exec", libc::ENOENT));
}

fn kill_all() {
    let mut bed = Bed::new();
    let spec = bed.spec("for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait");
    let running = bed.start(&spec);
    std::thread::sleep(std::time::Duration::from_millis(50));
    bed.starter.kill_all(running.slot);
    assert_eq!(wait(&running), Exit::Signal(9));
    assert!(bed.starter.remove_container(running.slot).is_empty());
}

fn what_a_dead_shim_left_is_cleaned() {
    let mut bed = Bed::new();
    let spec = bed.spec("sleep 1000 & wait");
    let first = bed.start(&spec);
    let spec = bed.spec("sleep 1000 & wait");
    let second = bed.start(&spec);
    windlass_runtime::start::kill_cgroup(&bed.parent).unwrap();
    assert_eq!(wait(&first), Exit::Signal(9));
    assert_eq!(wait(&second), Exit::Signal(9));
    let errors = windlass_runtime::start::remove_cgroups(&bed.parent);
    assert!(errors.is_empty(), "{errors:?}");
    assert!(windlass_runtime::start::remove_cgroups(&bed.parent).is_empty());
    assert!(windlass_runtime::start::kill_cgroup("/").is_err());
}

fn out_of_memory() {
    const LIMIT: u64 = 32 << 20;
    let mut bed = Bed::new();
    let mut spec = bed.spec("read go; head -c 200000000 /dev/zero | tail | wc -c; true");
    spec.limits = Limits {
        memory_bytes: Some(LIMIT),
        swap_bytes: Some(0),
        ..Limits::default()
    };
    let slot = bed.slot();
    let (mut stdio, out) = pipes();
    let (go, into) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    stdio.stdin = go;
    let running = bed
        .starter
        .start(slot, &spec, &Shared::default(), stdio)
        .unwrap();
    let events = bed.starter.oom_events(slot).unwrap();
    assert!(bed.starter.oom(slot).is_none());
    rustix::io::write(&into, b"go\n").unwrap();
    wait(&running);
    drop(out);
    let oom = bed.starter.oom(slot).expect("an out-of-memory kill");
    assert_eq!(oom.limit_bytes, LIMIT);
    assert!(
        oom.peak_bytes > LIMIT / 2 && oom.peak_bytes <= LIMIT,
        "{oom:?}"
    );
    let mut poll = [rustix::event::PollFd::new(
        &events,
        rustix::event::PollFlags::IN,
    )];
    assert_eq!(rustix::event::poll(&mut poll, None), Ok(1));
    assert!(bed.starter.remove_container(slot).is_empty());
}

fn parked() {
    let mut bed = Bed::new();
    for tty in [false, true] {
        let slot = bed.slot();
        bed.starter.park(slot).unwrap();
        bed.starter.park(slot).unwrap();
        let mut spec = bed.spec("echo $$; grep -v ':/$' /proc/self/cgroup; echo $SECRET; exit 4");
        spec.process.env = vec!["SECRET=s".into()];
        spec.process.tty = tty;
        spec.limits.pids = Some(50);
        let (stdio, out) = pipes();
        let mut running = bed
            .starter
            .start(slot, &spec, &Shared::default(), stdio)
            .unwrap();
        let out = running.pty.take().unwrap_or(out);
        assert_eq!(read(out).replace('\r', ""), "1\ns\n");
        assert_eq!(wait(&running), Exit::Code(4));
        assert!(bed.starter.remove_container(slot).is_empty());
    }
}

fn parked_unused_and_failing() {
    let mut bed = Bed::new();
    let slot = bed.slot();
    bed.starter.park(slot).unwrap();
    assert!(bed.starter.remove_container(slot).is_empty());
    // One that is killed meanwhile costs time only.
    let slot = bed.slot();
    bed.starter.park(slot).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    bed.starter.kill_all(slot);
    let spec = bed.spec("echo anyway");
    let (stdio, out) = pipes();
    let running = bed
        .starter
        .start(slot, &spec, &Shared::default(), stdio)
        .unwrap();
    assert_eq!(read(out), "anyway\n");
    wait(&running);
    assert!(bed.starter.remove_container(slot).is_empty());
    let slot = bed.slot();
    bed.starter.park(slot).unwrap();
    let mut spec = bed.spec("");
    spec.process.args = vec!["/nope".into()];
    let (stdio, _out) = pipes();
    let error = bed
        .starter
        .start(slot, &spec, &Shared::default(), stdio)
        .err()
        .unwrap();
    assert_eq!((error.stage.as_str(), error.errno), ("exec", libc::ENOENT));
    assert_eq!(error.detail, "/nope");
}
