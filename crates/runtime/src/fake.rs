//! A [`Runtime`] without processes, for tests of what uses one. It keeps the same rules about
//! names and order as the real one; results are scripted, exits happen when the test says so, and
//! time is the test's.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::protocol::Refusal;
use crate::spec::{ContainerSpec, ExecSpec, Exit, Mount, Oom, SandboxId, SandboxSpec, StartError};
use crate::state::{ContainerState, ExecResult, SandboxState, Started, Status};
use crate::{Answer, Error, Event, EventKind, Runtime, is_container_name, is_sandbox_id};

/// Scripted, in memory, shared by cloning an `Arc` of it.
pub struct Fake {
    inner: Mutex<Inner>,
    events: broadcast::Sender<Event>,
}

#[derive(Default)]
struct Inner {
    now_ms: u64,
    last_pid: i32,
    sandboxes: BTreeMap<SandboxId, SandboxState>,
    /// By container name: what its next starts and execs answer.
    starts: BTreeMap<String, VecDeque<StartError>>,
    execs: BTreeMap<String, VecDeque<ExecResult>>,
    /// Containers that do not end by their stop signal.
    stubborn: Vec<String>,
    /// By container name, of its newest start.
    mounts: BTreeMap<String, Vec<Mount>>,
    calls: Vec<String>,
}

impl Default for Fake {
    fn default() -> Fake {
        Fake {
            inner: Mutex::default(),
            events: broadcast::channel(4096).0,
        }
    }
}

impl Fake {
    /// Sets the time of what happens next, in milliseconds since 1970.
    pub fn set_now_ms(&self, now_ms: u64) {
        self.lock().now_ms = now_ms;
    }

    /// The next start of a container of that name fails.
    pub fn fail_start(&self, container: &str, error: StartError) {
        self.lock()
            .starts
            .entry(container.into())
            .or_default()
            .push_back(error);
    }

    /// The next exec in a container of that name ends so. Without one, an exec exits with 0.
    pub fn answer_exec(&self, container: &str, result: ExecResult) {
        self.lock()
            .execs
            .entry(container.into())
            .or_default()
            .push_back(result);
    }

    /// Containers of that name ignore their stop signal: a stop leaves them stopping until
    /// [`Fake::exit`] or a kill.
    pub fn ignore_stop(&self, container: &str) {
        self.lock().stubborn.push(container.into());
    }

    /// Ends a running container. False when it was not running.
    pub fn exit(&self, sandbox: &SandboxId, container: &str, exit: Exit, oom: Option<Oom>) -> bool {
        let mut inner = self.lock();
        let now_ms = inner.now_ms;
        let Some(state) = inner.running(sandbox, container) else {
            return false;
        };
        state.status = Status::Exited;
        state.exit = Some(exit);
        state.oom = oom;
        state.exited_at_ms = Some(now_ms);
        let kind = EventKind::Exited {
            container: container.into(),
            run: state.run,
            exit,
            oom,
            at_ms: now_ms,
            fault: None,
        };
        // Nobody may listen yet.
        let _ = self.events.send(Event {
            sandbox: sandbox.clone(),
            kind,
        });
        true
    }

    /// The sandbox's shim dies; its containers are lost.
    pub fn kill_shim(&self, sandbox: &SandboxId, reason: &str) {
        let mut inner = self.lock();
        let Some(state) = inner.sandboxes.get_mut(sandbox) else {
            return;
        };
        state.alive = false;
        for container in state
            .containers
            .iter_mut()
            .filter(|c| c.status != Status::Exited)
        {
            container.status = Status::Lost;
        }
        let kind = EventKind::ShimDied {
            reason: reason.into(),
        };
        let _ = self.events.send(Event {
            sandbox: sandbox.clone(),
            kind,
        });
    }

    /// Every call so far, in order: `start SANDBOX CONTAINER` and the like.
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// What the newest start of a container of that name was to mount.
    pub fn mounts(&self, container: &str) -> Vec<Mount> {
        let inner = self.lock();
        inner.mounts.get(container).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn running(&mut self, sandbox: &SandboxId, container: &str) -> Option<&mut ContainerState> {
        let state = self
            .sandboxes
            .get_mut(sandbox)
            .filter(|state| state.alive)?;
        let found = state.containers.iter_mut().find(|c| c.name == container)?;
        matches!(
            found.status,
            Status::Running | Status::Stopping | Status::Killing
        )
        .then_some(found)
    }

    /// The container's state when it runs, `None` when it has exited.
    fn known(
        &mut self,
        sandbox: &SandboxId,
        container: &str,
    ) -> Result<Option<&mut ContainerState>, Error> {
        let state = alive(&mut self.sandboxes, sandbox)?;
        if !state.containers.iter().any(|known| known.name == container) {
            let source = Refusal::NoContainer(container.into());
            return Err(Error::Refused {
                sandbox: sandbox.clone(),
                source,
            });
        }
        Ok(self.running(sandbox, container))
    }

    fn create(&mut self, spec: &SandboxSpec) -> Result<(), Error> {
        let id = spec.id.clone();
        self.calls.push(format!("create_sandbox {id}"));
        if !is_sandbox_id(&id.0) {
            return Err(Error::BadSandboxId(id.0));
        }
        if self.sandboxes.contains_key(&id) {
            return Err(Error::SandboxExists(id));
        }
        let state = SandboxState {
            id: id.clone(),
            alive: true,
            answers: true,
            containers: Vec::new(),
        };
        self.sandboxes.insert(id, state);
        Ok(())
    }

    fn start(&mut self, sandbox: &SandboxId, spec: &ContainerSpec) -> Result<Started, Error> {
        let name = &spec.name;
        self.calls.push(format!("start {sandbox} {name}"));
        self.mounts.insert(name.clone(), spec.mounts.clone());
        let refused = |source| Error::Refused {
            sandbox: sandbox.clone(),
            source,
        };
        if !is_container_name(name) {
            return Err(refused(Refusal::BadName(name.clone())));
        }
        alive(&mut self.sandboxes, sandbox)?;
        if self.running(sandbox, name).is_some() {
            return Err(refused(Refusal::AlreadyRunning(name.clone())));
        }
        if let Some(source) = self.starts.get_mut(name).and_then(VecDeque::pop_front) {
            return Err(Error::Start {
                sandbox: sandbox.clone(),
                source,
            });
        }
        self.last_pid += 1;
        let (pid, started_at_ms) = (self.last_pid, self.now_ms);
        let state = alive(&mut self.sandboxes, sandbox)?;
        let before = state
            .containers
            .iter()
            .position(|known| known.name == *name);
        let run = before.map_or(1, |index| state.containers.remove(index).run + 1);
        state.containers.push(ContainerState {
            name: name.clone(),
            run,
            status: Status::Running,
            pid,
            started_at_ms,
            exited_at_ms: None,
            exit: None,
            oom: None,
            log_records_dropped: 0,
            fault: None,
        });
        state.containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Started {
            pid,
            started_at_ms,
            run,
        })
    }

    fn exec(&mut self, sandbox: &SandboxId, spec: &ExecSpec) -> Result<ExecResult, Error> {
        let name = &spec.container;
        self.calls.push(format!("exec {sandbox} {name}"));
        if self.known(sandbox, name)?.is_none() {
            let source = Refusal::NotRunning(name.clone());
            return Err(Error::Refused {
                sandbox: sandbox.clone(),
                source,
            });
        }
        let scripted = self.execs.get_mut(name).and_then(VecDeque::pop_front);
        Ok(scripted.unwrap_or(ExecResult {
            exit: Exit::Code(0),
            output: Vec::new(),
            timed_out: false,
            truncated: false,
        }))
    }
}

fn alive<'a>(
    sandboxes: &'a mut BTreeMap<SandboxId, SandboxState>,
    id: &SandboxId,
) -> Result<&'a mut SandboxState, Error> {
    let state = sandboxes
        .get_mut(id)
        .ok_or_else(|| Error::NoSandbox(id.clone()))?;
    if state.alive {
        Ok(state)
    } else {
        Err(Error::ShimDead(id.clone()))
    }
}

impl Runtime for Fake {
    fn create_sandbox(&self, spec: SandboxSpec) -> Answer<'_, Result<(), Error>> {
        Box::pin(async move { self.lock().create(&spec) })
    }

    fn start<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        spec: ContainerSpec,
    ) -> Answer<'a, Result<Started, Error>> {
        Box::pin(async move { self.lock().start(sandbox, &spec) })
    }

    fn exec<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        spec: ExecSpec,
    ) -> Answer<'a, Result<ExecResult, Error>> {
        Box::pin(async move { self.lock().exec(sandbox, &spec) })
    }

    fn stop<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        container: &'a str,
    ) -> Answer<'a, Result<(), Error>> {
        Box::pin(async move {
            let ends = {
                let mut inner = self.lock();
                inner.calls.push(format!("stop {sandbox} {container}"));
                let stubborn = inner.stubborn.iter().any(|name| name == container);
                let running = inner.known(sandbox, container)?;
                let ends = running.is_some() && !stubborn;
                if let Some(state) = running {
                    state.status = Status::Stopping;
                }
                ends
            };
            if ends {
                self.exit(sandbox, container, Exit::Signal(15), None);
            }
            Ok(())
        })
    }

    fn kill<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        container: &'a str,
    ) -> Answer<'a, Result<(), Error>> {
        Box::pin(async move {
            {
                let mut inner = self.lock();
                inner.calls.push(format!("kill {sandbox} {container}"));
                inner.known(sandbox, container)?;
            }
            self.exit(sandbox, container, Exit::Signal(9), None);
            Ok(())
        })
    }

    fn remove_sandbox<'a>(&'a self, sandbox: &'a SandboxId) -> Answer<'a, Result<(), Vec<Error>>> {
        Box::pin(async move {
            let mut inner = self.lock();
            inner.calls.push(format!("remove_sandbox {sandbox}"));
            inner.sandboxes.remove(sandbox);
            Ok(())
        })
    }

    fn list(&self) -> Answer<'_, Result<Vec<SandboxState>, Error>> {
        Box::pin(async move { Ok(self.lock().sandboxes.values().cloned().collect()) })
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Limits, Log, Namespace, Network, Process, Root, Seccomp};

    fn spec(name: &str) -> ContainerSpec {
        let process = Process {
            args: vec!["true".into()],
            env: Vec::new(),
            cwd: "/".into(),
            user: String::new(),
            capabilities: Vec::new(),
            no_new_privileges: false,
            seccomp: Seccomp::Default,
            rlimits: Vec::new(),
            oom_score_adj: 0,
            tty: false,
        };
        ContainerSpec {
            name: name.into(),
            root: Root::Layers {
                lower: Vec::new(),
                upper: String::new(),
                work: String::new(),
            },
            readonly_root: false,
            process,
            hostname: name.into(),
            network: Network::None,
            pid: Namespace::Private,
            ipc: Namespace::Private,
            mounts: Vec::new(),
            devices: Vec::new(),
            sysctls: Vec::new(),
            limits: Limits::default(),
            shm_bytes: None,
            privileged: false,
            stop_signal: 15,
            stop_timeout_ms: 0,
            log: Log {
                path: String::new(),
                max_bytes: 0,
                files: 0,
            },
            init: false,
            stdin_open: false,
        }
    }

    #[tokio::test]
    async fn a_container_s_life() {
        let fake = Fake::default();
        let mut events = fake.events();
        let id = SandboxId("a1".into());
        assert_eq!(
            fake.start(&id, spec("web")).await,
            Err(Error::NoSandbox(id.clone()))
        );
        let sandbox = SandboxSpec {
            id: id.clone(),
            limits: Limits::default(),
        };
        fake.create_sandbox(sandbox).await.unwrap();
        fake.set_now_ms(1_000);
        let error = StartError {
            stage: "exec".into(),
            errno: 2,
            detail: "true".into(),
        };
        fake.fail_start("web", error.clone());
        let failed = Error::Start {
            sandbox: id.clone(),
            source: error,
        };
        assert_eq!(fake.start(&id, spec("web")).await, Err(failed));
        let started = fake.start(&id, spec("web")).await.unwrap();
        assert_eq!((started.started_at_ms, started.run), (1_000, 1));
        fake.ignore_stop("web");
        fake.stop(&id, "web").await.unwrap();
        assert!(events.try_recv().is_err());
        fake.set_now_ms(2_000);
        fake.kill(&id, "web").await.unwrap();
        let exited = EventKind::Exited {
            container: "web".into(),
            run: 1,
            exit: Exit::Signal(9),
            oom: None,
            at_ms: 2_000,
            fault: None,
        };
        assert_eq!(events.try_recv().unwrap().kind, exited);
        assert_eq!(fake.start(&id, spec("web")).await.unwrap().run, 2);
        fake.kill_shim(&id, "test");
        assert_eq!(
            fake.stop(&id, "web").await,
            Err(Error::ShimDead(id.clone()))
        );
        let states = fake.list().await.unwrap();
        assert_eq!(states[0].containers[0].status, Status::Lost);
        fake.remove_sandbox(&id).await.unwrap();
        assert!(fake.list().await.unwrap().is_empty());
    }
}
