//! The shim's loop: waits for sockets, pipes, children and deadlines, and does what is due.
//!
//! One thread, no blocking call but `poll`; what an event *means* stands in `request` (what agents
//! ask) and `container`/`exec` (what processes do).

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::process::{Pid, WaitId, WaitIdOptions};

use super::connection::Connection;
use super::container::{Container, Live, reap};
use super::exec::Exec;
use super::holder::Holder;
use super::launch::{Launched, Launcher};
use super::removal::Removal;
use super::words::say;
use super::{clock, record};
use crate::protocol::{Exited, Push, Reply};
use crate::spec::{SandboxId, StartError};
use crate::state::Status;

const CONNECTIONS_MAX: usize = 8;
const SCRATCH_BYTES: usize = 32 * 1024;
/// Events kept for an agent that is away. The list holds each container's newest exit besides.
const JOURNAL_EVENTS_MAX: usize = 1024;
/// A shim that no agent has given a sandbox by then will not get one.
const LONELY_MS: u64 = 30_000;
/// How often what is not done yet is looked at.
pub(crate) const RETRY_MS: u64 = 50;
/// What killed processes get to be gone, before their groups are removed.
const DYING_MS: u64 = 20;
/// A group that cannot be removed is tried again that often. Each attempt may block for a while.
const CLEANUP_RETRY_MS: u64 = 5_000;
/// How long the last answer may take to leave.
pub(crate) const FAREWELL_MS: u64 = 5_000;

/// Makes the launcher when the sandbox is known.
pub(crate) type Prepare<'a, L> = &'a mut dyn FnMut(&SandboxId, &Path) -> Result<L, StartError>;

pub(crate) struct Service<'a, L: Launcher> {
    pub(crate) folder: BorrowedFd<'a>,
    listener: BorrowedFd<'a>,
    signals: BorrowedFd<'a>,
    pub(crate) prepare: Prepare<'a, L>,
    pub(crate) sandbox: Option<(SandboxId, L)>,
    /// Made while the shim is a spare, for the sandbox that it will have.
    pub(crate) ahead: Option<L>,
    /// By slot.
    pub(crate) containers: BTreeMap<u32, Container<L::Running>>,
    pub(crate) holder: Option<Holder<L::Running>>,
    pub(crate) execs: BTreeMap<u64, Exec<L::Running>>,
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) journal: VecDeque<Exited>,
    sequence: u64,
    last_key: u64,
    pub(crate) removal: Option<Removal>,
    /// Everything is removed; the loop ends when the answer has left or at this time.
    pub(crate) farewell_ms: Option<u64>,
    started_ms: u64,
    /// A slot to prepare when nothing else is to be done.
    pub(crate) park: Option<u32>,
    /// When what was prepared for further containers goes.
    pub(crate) unpark_at_ms: Option<u64>,
    orphans: bool,
    pub(crate) was_greeted: bool,
    prepared_ahead: bool,
    has_left_service: bool,
    scratch: Vec<u8>,
}

/// What is ready.
#[derive(Clone, Copy)]
enum Ready {
    Listener,
    Signals,
    Readable(u64),
    Writable(u64),
    Stream(u32, usize),
    Container(u32),
    ExecOutput(u64),
    Exec(u64),
    Holder,
}

impl<'a, L: Launcher> Service<'a, L> {
    pub(crate) fn new(
        listener: BorrowedFd<'a>,
        folder: BorrowedFd<'a>,
        signals: BorrowedFd<'a>,
        prepare: Prepare<'a, L>,
    ) -> Self {
        Service {
            folder,
            listener,
            signals,
            prepare,
            sandbox: None,
            ahead: None,
            containers: BTreeMap::new(),
            holder: None,
            execs: BTreeMap::new(),
            connections: BTreeMap::new(),
            journal: VecDeque::new(),
            sequence: 0,
            last_key: 0,
            removal: None,
            farewell_ms: None,
            started_ms: clock::steady_ms(),
            park: None,
            unpark_at_ms: None,
            orphans: true,
            was_greeted: false,
            prepared_ahead: false,
            has_left_service: false,
            scratch: vec![0; SCRATCH_BYTES],
        }
    }

    /// Runs until the sandbox is removed, or until it is clear that there will be none.
    ///
    /// # Errors
    /// `poll` failed: nothing can be waited for.
    pub(crate) fn run(mut self) -> Result<(), Errno> {
        loop {
            for ready in self.wait()? {
                self.act(ready);
            }
            self.reap_orphans();
            self.meet_deadlines();
            if self.is_over() {
                self.drop_ahead();
                return Ok(());
            }
        }
    }

    /// While the shim is a spare: what a start would wait for.
    fn prepare_ahead(&mut self) {
        let made = super::staging(self.folder).and_then(|staging| {
            let name = staging.parent().and_then(Path::file_name);
            let name = SandboxId(name.unwrap_or_default().to_string_lossy().into_owned());
            let mut launcher = (self.prepare)(&name, &staging)?;
            leave_service(&launcher);
            self.has_left_service = true;
            let parked = launcher.park_ahead();
            self.ahead = Some(launcher);
            parked
        });
        if let Err(error) = made {
            // The start does it itself then.
            say(&format!("not prepared ahead: {error}"));
            self.drop_ahead();
        }
        give_memory_back();
    }

    pub(crate) fn drop_ahead(&mut self) {
        for left in self.ahead.take().iter_mut().flat_map(L::remove_sandbox) {
            say(&format!("prepared ahead and left: {left}"));
        }
    }

    fn wait(&self) -> Result<Vec<Ready>, Errno> {
        let sources = self.sources();
        let mut fds: Vec<PollFd<'_>> = sources
            .iter()
            .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        let now = clock::steady_ms();
        let timeout = self
            .next_deadline_ms()
            .map(|at| timespec(at.saturating_sub(now)));
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno),
        }
        let ready = fds
            .iter()
            .zip(&sources)
            .filter(|(fd, _)| !fd.revents().is_empty());
        Ok(ready.map(|(_, (ready, _, _))| *ready).collect())
    }

    /// Streams come before the ends of their processes, so that output is read in its order.
    fn sources(&self) -> Vec<(Ready, BorrowedFd<'_>, PollFlags)> {
        let read = PollFlags::IN;
        let mut sources = vec![
            (Ready::Listener, self.listener, read),
            (Ready::Signals, self.signals, read),
        ];
        for (key, connection) in &self.connections {
            let socket = connection.socket.as_fd();
            if !connection.ending {
                sources.push((Ready::Readable(*key), socket, read));
            }
            if connection.wants_write() {
                sources.push((Ready::Writable(*key), socket, PollFlags::OUT));
            }
        }
        for (slot, container) in &self.containers {
            let Some(live) = &container.live else {
                continue;
            };
            for (index, source) in live.output.sources().enumerate() {
                sources.push((Ready::Stream(*slot, index), source.as_fd(), read));
            }
            sources.push((Ready::Container(*slot), live.running.pidfd(), read));
        }
        for (key, exec) in &self.execs {
            if let Some(source) = &exec.source {
                sources.push((Ready::ExecOutput(*key), source.as_fd(), read));
            }
            sources.push((Ready::Exec(*key), exec.running.pidfd(), read));
        }
        if let Some(running) = self.holder() {
            sources.push((Ready::Holder, running.pidfd(), read));
        }
        sources
    }

    fn act(&mut self, ready: Ready) {
        match ready {
            Ready::Listener => self.accept(),
            Ready::Signals => self.note_children(),
            Ready::Readable(key) => self.read(key),
            Ready::Writable(key) => {
                if self
                    .connections
                    .get_mut(&key)
                    .is_some_and(|c| c.flush().is_err())
                {
                    self.disconnect(key);
                }
            }
            Ready::Stream(slot, index) => {
                if let Some(container) = self.containers.get_mut(&slot)
                    && let Some(live) = &mut container.live
                {
                    live.output.pump(index, &mut self.scratch);
                    container.state.log_records_dropped = live.output.dropped();
                }
            }
            Ready::Container(slot) => self.container_ended(slot),
            Ready::ExecOutput(key) => {
                if let Some(exec) = self.execs.get_mut(&key) {
                    exec.pump(&mut self.scratch);
                }
            }
            Ready::Exec(key) => self.exec_ended(key),
            Ready::Holder => self.holder_ended(),
        }
    }

    pub(crate) fn next_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = rustix::net::accept_with(self.listener, flags) else {
            return;
        };
        // The folder is closed to others already; this holds when somebody opens it.
        let own = rustix::process::geteuid();
        let trusted = rustix::net::sockopt::socket_peercred(&socket)
            .is_ok_and(|peer| peer.uid == own || peer.uid.is_root());
        if trusted && self.connections.len() < CONNECTIONS_MAX {
            let key = self.next_key();
            self.connections.insert(key, Connection::new(socket));
        }
    }

    fn read(&mut self, key: u64) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let Ok(frames) = connection.read(&mut self.scratch) else {
            return self.disconnect(key);
        };
        for frame in frames {
            let Some(reply) = self.handle(key, &frame) else {
                continue;
            };
            self.answer(key, frame.id, &reply);
        }
    }

    pub(crate) fn answer(&mut self, key: u64, id: u64, reply: &Reply) {
        // The asker may have gone meanwhile; what it asked is done all the same.
        if self
            .connections
            .get_mut(&key)
            .is_some_and(|c| c.answer(id, reply).is_err())
        {
            self.disconnect(key);
        }
    }

    /// Ends a connection and what only it could want.
    pub(crate) fn disconnect(&mut self, key: u64) {
        self.connections.remove(&key);
        for exec in self
            .execs
            .values_mut()
            .filter(|exec| exec.connection == key)
        {
            exec.kill();
        }
    }

    /// Children that are not known by a pidfd: orphans of containers that share the host's
    /// processes, and what the launcher used on its way.
    fn note_children(&mut self) {
        let mut buffer = [0; 128];
        while rustix::io::read(self.signals, &mut buffer).is_ok_and(|count| count == buffer.len()) {
        }
        self.orphans = true;
    }

    fn reap_orphans(&mut self) {
        while self.orphans {
            let Some(pid) = ended_child() else {
                self.orphans = false;
                return;
            };
            if self.is_known(pid.as_raw_nonzero().get()) {
                // Its pidfd is ready: the next turn takes it, and looks here again.
                return;
            }
            let take = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            if rustix::process::waitid(WaitId::Pid(pid), take).is_err() {
                return;
            }
        }
    }

    fn is_known(&self, pid: i32) -> bool {
        let live = self
            .containers
            .values()
            .filter_map(|container| container.live.as_ref());
        live.map(|live| live.running.pid())
            .any(|known| known == pid)
            || self.execs.values().any(|exec| exec.running.pid() == pid)
            || self.holder().is_some_and(|running| running.pid() == pid)
    }

    pub(crate) fn holder(&self) -> Option<&L::Running> {
        self.holder.as_ref()?.running.as_ref()
    }

    fn container_ended(&mut self, slot: u32) {
        let Some(container) = self.containers.get_mut(&slot) else {
            return;
        };
        let Some(exit) = container.live.as_ref().and_then(|live| reap(&live.running)) else {
            return;
        };
        let Some(Live { mut output, .. }) = container.live.take() else {
            return;
        };
        if let Some((_, launcher)) = &self.sandbox {
            // What shared the host's process numbers outlives its first process otherwise.
            launcher.kill_all(slot);
            container.state.oom = launcher.oom(slot);
        }
        output.drain(&mut self.scratch);
        let state = &mut container.state;
        state.log_records_dropped = output.dropped();
        state.status = Status::Exited;
        state.exit = Some(exit);
        let at_ms = clock::wall_ms();
        state.exited_at_ms = Some(at_ms);
        container.cleanup_at_ms = Some(clock::steady_ms() + DYING_MS);
        report_lost(record::write(self.folder, slot, state), &state.name);
        self.sequence += 1;
        let exited = Exited {
            sequence: self.sequence,
            container: state.name.clone(),
            run: state.run,
            exit,
            oom: state.oom,
            at_ms,
            fault: state.fault.clone(),
        };
        self.tell(exited);
    }

    fn tell(&mut self, exited: Exited) {
        let agent = self
            .connections
            .iter_mut()
            .find(|(_, connection)| connection.greeted);
        let push = Push::Exited(exited.clone());
        let broken = agent.and_then(|(key, c)| c.push(&push).is_err().then_some(*key));
        if let Some(key) = broken {
            self.disconnect(key);
        }
        if self.journal.len() == JOURNAL_EVENTS_MAX {
            self.journal.pop_front();
        }
        self.journal.push_back(exited);
    }

    fn exec_ended(&mut self, key: u64) {
        let Some(exit) = self.execs.get(&key).and_then(|exec| reap(&exec.running)) else {
            return;
        };
        let Some(exec) = self.execs.remove(&key) else {
            return;
        };
        let (connection, request) = (exec.connection, exec.request);
        let result = exec.finish(exit, &mut self.scratch);
        self.answer(connection, request, &Reply::Executed(result));
    }

    fn next_deadline_ms(&self) -> Option<u64> {
        let containers = self.containers.values().flat_map(|container| {
            let kill_at_ms = container.live.as_ref().and_then(|live| live.kill_at_ms);
            [kill_at_ms, container.cleanup_at_ms]
        });
        let execs = self.execs.values().map(|exec| exec.deadline_ms);
        let own = [
            self.removal.as_ref().map(|removal| removal.retry_at_ms),
            self.farewell_ms,
            (self.sandbox.is_none() && !self.was_greeted).then_some(self.started_ms + LONELY_MS),
            self.park.map(|_| 0),
            self.unpark_at_ms,
            self.is_unprepared().then_some(0),
            self.orphans.then(|| clock::steady_ms() + RETRY_MS),
        ];
        containers.chain(execs).chain(own).flatten().min()
    }

    fn meet_deadlines(&mut self) {
        let now = clock::steady_ms();
        let due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        for (slot, container) in &mut self.containers {
            if due(container.live.as_ref().and_then(|live| live.kill_at_ms)) {
                container.kill();
                if let Some((_, launcher)) = &self.sandbox {
                    launcher.kill_all(*slot);
                }
            }
            if due(container.cleanup_at_ms)
                && let Some((_, launcher)) = &mut self.sandbox
            {
                let left = launcher.remove_container(*slot);
                container.cleanup_at_ms = (!left.is_empty()).then_some(now + CLEANUP_RETRY_MS);
                give_memory_back();
            }
        }
        for exec in self.execs.values_mut().filter(|exec| due(exec.deadline_ms)) {
            exec.timed_out = true;
            exec.kill();
        }
        if self.is_unprepared() {
            self.prepared_ahead = true;
            self.prepare_ahead();
        }
        if due(self.unpark_at_ms.take_if(|at| *at <= now))
            && let Some((_, launcher)) = &mut self.sandbox
        {
            launcher.unpark();
            // One that was never a spare had no time for it before.
            if !std::mem::replace(&mut self.has_left_service, true) {
                leave_service(launcher);
            }
            give_memory_back();
        }
        if let Some(slot) = self.park.take()
            && let Some((_, launcher)) = &mut self.sandbox
        {
            // The start prepares its slot itself when this did not.
            let _ = launcher.park(slot);
            give_memory_back();
        }
        if due(self.removal.as_ref().map(|removal| removal.retry_at_ms)) {
            self.go_on_removing(now);
        }
    }

    /// A spare that has not prepared yet.
    fn is_unprepared(&self) -> bool {
        self.was_greeted && self.sandbox.is_none() && !self.prepared_ahead
    }

    fn is_over(&mut self) -> bool {
        let ended: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.ending && !connection.wants_write())
            .map(|(key, _)| *key)
            .collect();
        for key in ended {
            self.disconnect(key);
        }
        let now = clock::steady_ms();
        if let Some(at) = self.farewell_ms {
            return at <= now || !self.connections.values().any(Connection::wants_write);
        }
        // A spare shim ends with the agent that holds it.
        let held = self
            .connections
            .values()
            .any(|connection| connection.greeted);
        self.sandbox.is_none() && !held && (self.was_greeted || now >= self.started_ms + LONELY_MS)
    }
}

fn leave_service(launcher: &impl Launcher) {
    if let Err(error) = launcher.leave_service() {
        say(&format!("the shim stays in its agent's group: {error}"));
    }
}

/// A child that has ended and whose status nobody has taken. It is left so.
fn ended_child() -> Option<Pid> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: siginfo_t is plain data, valid when zeroed; waitid writes it through a valid pointer,
    // and si_pid reads the field that waitid fills, or the zero it was.
    let pid = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        if libc::waitid(libc::P_ALL, 0, &raw mut info, flags) != 0 {
            return None;
        }
        info.si_pid()
    };
    Pid::from_raw(pid)
}

/// An exit that could not be written down is still told and listed; only a later death of this
/// shim would lose it.
pub(crate) fn report_lost(written: Result<(), Errno>, container: &str) {
    if let Err(errno) = written {
        say(&format!(
            "record of container {container} not written: {errno}"
        ));
    }
}

/// The shim is one process per task and idle most of its life: what a start used goes back.
pub(crate) fn give_memory_back() {
    // SAFETY: malloc_trim takes a number and touches only the allocator's own free memory.
    unsafe { libc::malloc_trim(0) };
}

fn timespec(ms: u64) -> Timespec {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(ms % 1000 * 1_000_000).unwrap_or(0),
    }
}
