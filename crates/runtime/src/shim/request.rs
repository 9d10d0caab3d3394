//! What agents ask of the shim, and the answers.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::container::{Container, Live, Output, pipe, signal, unblock};
use super::exec::{Exec, OUTPUT_BYTES_MAX};
use super::launch::{Launched, Launcher};
use super::log::Log;
use super::removal::Removal;
use super::service::{Service, give_memory_back, report_lost};
use super::words::say;
use super::{clock, record};
use crate::protocol::{Frame, Greeting, Hello, Push, Refusal, Reply, Request, VERSION};
use crate::spec::{ContainerSpec, ExecSpec, Namespace, SandboxId, SandboxSpec, StartError};
use crate::start::{Shared, Stdio};
use crate::state::{ContainerState, Started, Status};
use crate::{is_container_name, is_sandbox_id};

const CONTAINERS_MAX: usize = 128;
const EXECS_MAX: usize = 64;
/// How long what was prepared for containers waits for them: they come with the sandbox, or after
/// others of the task.
const UNPARK_MS: u64 = 5_000;

impl<L: Launcher> Service<'_, L> {
    /// Does what a frame asks. `None`: the answer comes later.
    pub(crate) fn handle(&mut self, key: u64, frame: &Frame) -> Option<Reply> {
        let answer = Request::decode(frame).and_then(|request| match request {
            Request::Hello(hello) => self.hello(key, frame.id, &hello).map(|()| None),
            _ if !self.is_greeted(key) => Err(Refusal::NotGreeted),
            Request::Sandbox(spec) => self.bind(&spec).map(Some),
            Request::Start(spec) => self
                .start(*spec)
                .map(|started| Some(Reply::Started(started))),
            Request::Exec(spec) => self.exec(key, frame.id, &spec).map(|()| None),
            Request::Stop(name) => self.stop(&name).map(|()| Some(Reply::Done)),
            Request::Kill(name) => self.kill(&name).map(|()| Some(Reply::Done)),
            Request::List => Ok(Some(Reply::Containers(self.list()))),
            Request::Remove => {
                self.remove(key, frame.id);
                Ok(None)
            }
            Request::Acknowledge(sequence) => {
                self.journal.retain(|exited| exited.sequence > sequence);
                Ok(Some(Reply::Done))
            }
        });
        answer.unwrap_or_else(|refusal| Some(Reply::Refused(refusal)))
    }

    fn is_greeted(&self, key: u64) -> bool {
        self.connections
            .get(&key)
            .is_some_and(|connection| connection.greeted)
    }

    /// The greeting goes out before the events that wait for it: they are of its sandbox.
    fn hello(&mut self, key: u64, request: u64, hello: &Hello) -> Result<(), Refusal> {
        if hello.version != VERSION {
            return Err(Refusal::Version {
                shim: VERSION,
                agent: hello.version,
            });
        }
        for (other, connection) in &mut self.connections {
            if *other != key && connection.greeted {
                connection.greeted = false;
                // A broken one is found so by its next read.
                connection.ending = connection.push(&Push::Replaced).is_ok();
            }
        }
        self.was_greeted = true;
        let greeting = Greeting {
            version: VERSION,
            pid: rustix::process::getpid().as_raw_nonzero().get(),
            sandbox: self.sandbox.as_ref().map(|(id, _)| id.clone()),
        };
        self.answer(key, request, &Reply::Greeting(greeting));
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.greeted = true;
            let events = self.journal.iter().cloned().map(Push::Exited);
            let told = events
                .map(|event| connection.push(&event))
                .collect::<Result<Vec<()>, _>>();
            if told.is_err() {
                self.disconnect(key);
            }
        }
        Ok(())
    }

    fn bind(&mut self, spec: &SandboxSpec) -> Result<Reply, Refusal> {
        if let Some((id, _)) = &self.sandbox {
            return Err(Refusal::SandboxExists(id.0.clone()));
        }
        if !is_sandbox_id(&spec.id.0) {
            return Err(Refusal::BadName(spec.id.0.clone()));
        }
        let mut launcher = self.launcher_for(&spec.id)?;
        if let Err(error) = launcher.sandbox(&spec.limits) {
            for left in launcher.remove_sandbox() {
                say(&format!("after a failed sandbox: {left}"));
            }
            return Err(error.into());
        }
        self.sandbox = Some((spec.id.clone(), launcher));
        self.park = Some(0);
        self.unpark_at_ms = Some(clock::steady_ms().saturating_add(UNPARK_MS));
        Ok(Reply::Done)
    }

    /// The one that was made ahead, or a new one.
    fn launcher_for(&mut self, id: &SandboxId) -> Result<L, StartError> {
        let staging = super::staging(self.folder)?;
        if let Some(mut launcher) = self.ahead.take() {
            match launcher.adopt(id, &staging) {
                Ok(()) => return Ok(launcher),
                Err(error) => {
                    say(&format!("made ahead and of no use: {error}"));
                    self.ahead = Some(launcher);
                    self.drop_ahead();
                }
            }
        }
        (self.prepare)(id, &staging)
    }

    fn start(&mut self, spec: ContainerSpec) -> Result<Started, Refusal> {
        if self.removal.is_some() {
            return Err(Refusal::Removing);
        }
        if !is_container_name(&spec.name) {
            return Err(Refusal::BadName(spec.name));
        }
        self.hold_for(&spec)?;
        let (slot, run) = self.slot_for(&spec.name)?;
        let (mut running, output, stdin) = self.launch(slot, &spec)?;
        let started = Started {
            pid: running.pid(),
            started_at_ms: clock::wall_ms(),
            run,
        };
        let state = ContainerState {
            name: spec.name.clone(),
            run,
            status: Status::Running,
            pid: started.pid,
            started_at_ms: started.started_at_ms,
            exited_at_ms: None,
            exit: None,
            oom: None,
            log_records_dropped: 0,
            fault: running.take_fault(),
        };
        report_lost(record::write(self.folder, slot, &state), &state.name);
        let live = Some(Live {
            running,
            spec,
            output,
            _stdin: stdin,
            kill_at_ms: None,
        });
        self.containers.insert(
            slot,
            Container {
                state,
                live,
                cleanup_at_ms: None,
            },
        );
        Ok(started)
    }

    /// Where a container goes, and which start of it this is.
    fn slot_for(&mut self, name: &str) -> Result<(u32, u32), Refusal> {
        let Some((_, launcher)) = &mut self.sandbox else {
            return Err(Refusal::NoSandbox);
        };
        let known = self
            .containers
            .iter_mut()
            .find(|(_, container)| container.state.name == name);
        if let Some((slot, container)) = known {
            if container.live.is_some() {
                return Err(Refusal::AlreadyRunning(name.into()));
            }
            if container.cleanup_at_ms.take().is_some() {
                // The new start meets what cannot be removed, and says so.
                let _ = launcher.remove_container(*slot);
            }
            return Ok((*slot, container.state.run.saturating_add(1)));
        }
        if self.containers.len() >= CONTAINERS_MAX {
            let limit = CONTAINERS_MAX as u64;
            return Err(Refusal::TooMany {
                what: "containers".into(),
                limit,
            });
        }
        Ok((self.next_slot(), 1))
    }

    pub(super) fn next_slot(&self) -> u32 {
        let last = self.containers.last_key_value().map(|(slot, _)| *slot);
        let holder = self.holder.as_ref().map(|holder| holder.slot);
        last.max(holder).map_or(0, |slot| slot + 1)
    }

    /// The first process, its output, and what keeps its standard input open.
    fn launch(
        &mut self,
        slot: u32,
        spec: &ContainerSpec,
    ) -> Result<(L::Running, Output, Option<OwnedFd>), Refusal> {
        let Some((_, launcher)) = &mut self.sandbox else {
            return Err(Refusal::NoSandbox);
        };
        if signal(spec.stop_signal).is_none() {
            let (stage, detail) = ("stop signal".into(), spec.stop_signal.to_string());
            return Err(StartError {
                stage,
                errno: libc::EINVAL,
                detail,
            }
            .into());
        }
        let log = Log::open(&spec.log)?;
        let (out, stdout) = pipe().map_err(stdio_error)?;
        let (err, stderr) = pipe().map_err(stdio_error)?;
        let (stdin, open) = stdin(spec.stdin_open).map_err(stdio_error)?;
        let stdio = Stdio {
            stdin,
            stdout,
            stderr,
        };
        let holder = self.holder.as_ref().and_then(|h| h.running.as_ref());
        let from = (&self.containers, holder);
        let shared = Shared {
            pid: namespace(from, &spec.pid)?,
            ipc: namespace(from, &spec.ipc)?,
        };
        let mut running = launcher.start(slot, spec, &shared, stdio)?;
        let sources = match running.take_pty() {
            Some(pty) => {
                // A master that blocks would stop the shim; this cannot fail on an open descriptor.
                let _ = unblock(&pty);
                vec![("stdout", pty)]
            }
            None => vec![("stdout", out), ("stderr", err)],
        };
        Ok((running, Output::new(sources, log), open))
    }

    fn exec(&mut self, key: u64, request: u64, spec: &ExecSpec) -> Result<(), Refusal> {
        if self.execs.len() >= EXECS_MAX {
            let limit = EXECS_MAX as u64;
            return Err(Refusal::TooMany {
                what: "execs".into(),
                limit,
            });
        }
        let container = find(&self.containers, &spec.container)?;
        let Some(live) = &container.live else {
            return Err(Refusal::NotRunning(spec.container.clone()));
        };
        let Some((_, launcher)) = &mut self.sandbox else {
            return Err(Refusal::NoSandbox);
        };
        let (source, stdout) = pipe().map_err(stdio_error)?;
        let stderr = stdout.try_clone().map_err(|_| stdio_error(Errno::MFILE))?;
        let stdio = Stdio {
            stdin: null().map_err(stdio_error)?,
            stdout,
            stderr,
        };
        let mut running = launcher.exec(&live.running, &live.spec, &spec.process, stdio)?;
        let source = match running.take_pty() {
            Some(pty) => {
                let _ = unblock(&pty);
                pty
            }
            None => source,
        };
        let exec = Exec {
            running,
            connection: key,
            request,
            deadline_ms: spec
                .timeout_ms
                .map(|ms| clock::steady_ms().saturating_add(ms)),
            timed_out: false,
            source: Some(source),
            output: Vec::new(),
            output_bytes_max: usize::try_from(spec.output_max_bytes.min(OUTPUT_BYTES_MAX))
                .unwrap_or(0),
            truncated: false,
        };
        let key = self.next_key();
        self.execs.insert(key, exec);
        Ok(())
    }

    fn stop(&mut self, name: &str) -> Result<(), Refusal> {
        self.slot_of(name).map(|slot| {
            if let Some(container) = self.containers.get_mut(&slot) {
                container.stop();
            }
        })
    }

    fn kill(&mut self, name: &str) -> Result<(), Refusal> {
        let slot = self.slot_of(name)?;
        self.kill_slot(slot);
        Ok(())
    }

    fn kill_slot(&mut self, slot: u32) {
        if let Some(container) = self.containers.get_mut(&slot) {
            container.kill();
        }
        if let Some((_, launcher)) = &self.sandbox {
            launcher.kill_all(slot);
        }
    }

    fn slot_of(&self, name: &str) -> Result<u32, Refusal> {
        let found = self
            .containers
            .iter()
            .find(|(_, container)| container.state.name == name);
        found
            .map(|(slot, _)| *slot)
            .ok_or_else(|| Refusal::NoContainer(name.into()))
    }

    fn list(&self) -> Vec<ContainerState> {
        let mut states: Vec<ContainerState> = self
            .containers
            .values()
            .map(|container| container.state.clone())
            .collect();
        states.sort_by(|a, b| a.name.cmp(&b.name));
        states
    }

    fn remove(&mut self, key: u64, request: u64) {
        if self.removal.is_none() {
            let slots: Vec<u32> = self.containers.keys().copied().collect();
            for slot in slots {
                self.kill_slot(slot);
            }
            for exec in self.execs.values_mut() {
                exec.kill();
            }
            self.kill_holder();
            give_memory_back();
        }
        let removal = self.removal.get_or_insert_with(Removal::new);
        removal.add_asker(key, request);
    }
}

fn find<'a, R>(
    containers: &'a std::collections::BTreeMap<u32, Container<R>>,
    name: &str,
) -> Result<&'a Container<R>, Refusal> {
    let found = containers
        .values()
        .find(|container| container.state.name == name);
    found.ok_or_else(|| Refusal::NoContainer(name.into()))
}

/// The pidfd of the process whose namespace is to be shared: a container's, or the holder.
fn namespace<'a, R: Launched>(
    (containers, holder): (
        &'a std::collections::BTreeMap<u32, Container<R>>,
        Option<&'a R>,
    ),
    namespace: &Namespace,
) -> Result<Option<BorrowedFd<'a>>, Refusal> {
    let name = match namespace {
        Namespace::Private | Namespace::Host => return Ok(None),
        Namespace::Sandbox => return Ok(holder.map(Launched::pidfd)),
        Namespace::Container(name) => name,
    };
    let live = find(containers, name)?.live.as_ref();
    live.map(|live| Some(live.running.pidfd()))
        .ok_or_else(|| Refusal::NotRunning(name.clone()))
}

/// A standard input that ends at once, or one that stays open as long as the second descriptor.
fn stdin(open: bool) -> Result<(OwnedFd, Option<OwnedFd>), Errno> {
    if !open {
        return Ok((null()?, None));
    }
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((reader, Some(writer)))
}

pub(super) fn null() -> Result<OwnedFd, Errno> {
    rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

pub(super) fn stdio_error(errno: Errno) -> StartError {
    StartError {
        stage: "stdio".into(),
        errno: errno.raw_os_error(),
        detail: "pipes".into(),
    }
}
