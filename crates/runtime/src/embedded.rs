//! The product's [`Runtime`]: one shim process per sandbox, found through a run folder.
//!
//! ```text
//! RUN_DIR/                 0700, on tmpfs, one per installation
//!   SANDBOX/               one per sandbox; its name is all an agent needs to find it again
//!     shim.sock  shim.pid  stderr  container-SLOT  staging/
//!   spare-PID-NUMBER/      the same, of a shim that waits for a sandbox
//! ```
//!
//! Scope: shims as processes (start, find, remove) and their connections (in `link`). What a
//! sandbox holds beside its shim is named by its id, so that it can be removed without the shim.

mod folder;
mod link;
mod list;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

pub use self::process::spawn_role;
use crate::protocol::{Reply, Request};
use crate::spec::{ContainerSpec, ExecSpec, SandboxId, SandboxSpec};
use crate::state::{ExecResult, SandboxState, Started};
use crate::{Answer, Error, Event, EventKind, Runtime, is_sandbox_id};
use folder::{Folder, RunDir};
use link::{Link, News};

/// Events kept for a slow receiver.
const EVENTS_MAX: usize = 4096;
/// How long a shim may take for an ordinary answer. A start mounts and may wait for slow disks.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Pauses between attempts to reach a shim whose connection has ended; they double.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(100);
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(30);
/// How long a shim may take to greet and to say what it holds, before it is listed as one that does
/// not answer: whoever lists waits for all.
const LIST_TIME: Duration = Duration::from_secs(2);
/// Longest pause between questions to a shim that does not answer.
const MUTE_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a shim may take to send a signal, before the kernel is asked instead.
const KILL_TIME: Duration = Duration::from_secs(20);
/// How long a shim may take beyond an exec's own timeout.
const EXEC_GRACE: Duration = Duration::from_secs(10);

/// How long the pool waits before it fills up again while it is not empty: making shims would take
/// the processors from the start that has just emptied it by one.
const REFILL_PAUSE: Duration = Duration::from_millis(60);

/// What an [`Embedded`] runtime needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// A folder on tmpfs for this installation alone; made when missing.
    pub run_dir: PathBuf,
    /// What is run as `EXECUTABLE shim CGROUP_ROOT`: usually `/proc/self/exe`.
    pub executable: PathBuf,
    /// The cgroup that holds all sandboxes of the installation, from the hierarchy's root:
    /// `/windlass-ab12`.
    pub cgroup_root: String,
    /// Shims kept waiting, so that a sandbox need not wait for one.
    pub spare_shims: usize,
}

/// Talks to one shim per sandbox. Must be made and used in a tokio runtime.
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    run_dir: RunDir,
    links: Mutex<BTreeMap<SandboxId, Arc<Link>>>,
    /// Sandboxes that were listed as not answering and are waited for.
    mute: Mutex<BTreeSet<SandboxId>>,
    spares: Mutex<Vec<Spare>>,
    spawned: AtomicU64,
    /// One refill at a time, or there would be too many spares.
    refill: tokio::sync::Mutex<()>,
    events: broadcast::Sender<Event>,
}

/// A shim that waits for its sandbox. It ends when its link is dropped.
struct Spare {
    folder: Folder,
    link: Arc<Link>,
}

impl Embedded {
    /// Opens the run folder and begins to fill the pool. Sandboxes of an earlier agent are found
    /// by [`Runtime::list`].
    ///
    /// # Errors
    /// The run folder cannot be made, or belongs to somebody else.
    pub fn new(options: Options) -> Result<Embedded, Error> {
        let run_dir = RunDir::open(&options.run_dir)?;
        run_dir.remove_dead_spares(&options.cgroup_root);
        let inner = Arc::new(Inner {
            options,
            run_dir,
            links: Mutex::default(),
            mute: Mutex::default(),
            spares: Mutex::default(),
            spawned: AtomicU64::new(0),
            refill: tokio::sync::Mutex::default(),
            events: broadcast::channel(EVENTS_MAX).0,
        });
        inner.refill_later();
        Ok(Embedded { inner })
    }

    /// Shims that wait for a sandbox.
    pub fn spare_shims(&self) -> usize {
        lock(&self.inner.spares).len()
    }
}

impl Runtime for Embedded {
    fn create_sandbox(&self, spec: SandboxSpec) -> Answer<'_, Result<(), Error>> {
        Box::pin(self.inner.clone().create(spec))
    }

    fn start<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        spec: ContainerSpec,
    ) -> Answer<'a, Result<Started, Error>> {
        Box::pin(async move {
            match self
                .inner
                .ask(sandbox, Request::Start(Box::new(spec)), ANSWER_TIME)
                .await?
            {
                Reply::Started(started) => Ok(started),
                _ => Err(Error::Disconnected(sandbox.clone())),
            }
        })
    }

    fn exec<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        spec: ExecSpec,
    ) -> Answer<'a, Result<ExecResult, Error>> {
        Box::pin(async move {
            let time = match spec.timeout_ms {
                Some(ms) => Duration::from_millis(ms).saturating_add(EXEC_GRACE),
                None => Duration::MAX,
            };
            match self
                .inner
                .ask(sandbox, Request::Exec(Box::new(spec)), time)
                .await?
            {
                Reply::Executed(result) => Ok(result),
                _ => Err(Error::Disconnected(sandbox.clone())),
            }
        })
    }

    fn stop<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        container: &'a str,
    ) -> Answer<'a, Result<(), Error>> {
        let request = Request::Stop(container.to_owned());
        Box::pin(async move { self.inner.ask(sandbox, request, KILL_TIME).await.map(drop) })
    }

    fn kill<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        container: &'a str,
    ) -> Answer<'a, Result<(), Error>> {
        Box::pin(self.inner.clone().kill(sandbox, container))
    }

    fn remove_sandbox<'a>(&'a self, sandbox: &'a SandboxId) -> Answer<'a, Result<(), Vec<Error>>> {
        Box::pin(self.inner.clone().remove(sandbox.clone()))
    }

    fn list(&self) -> Answer<'_, Result<Vec<SandboxState>, Error>> {
        Box::pin(self.inner.clone().list())
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }
}

impl Inner {
    async fn create(self: Arc<Self>, spec: SandboxSpec) -> Result<(), Error> {
        let id = spec.id.clone();
        if !is_sandbox_id(&id.0) {
            return Err(Error::BadSandboxId(id.0));
        }
        let spare = lock(&self.spares).pop();
        let spare = match spare {
            // One that died while it waited is of no use.
            Some(spare) if !spare.link.is_closed() => spare,
            _ => self.spawn_spare().await?,
        };
        // The folder gets its name before the shim its sandbox: whatever a crash leaves between the
        // two is found by that name.
        if let Err(error) = spare.folder.rename(&self.run_dir, &id) {
            lock(&self.spares).push(spare);
            return Err(error);
        }
        spare.link.name(&id);
        lock(&self.links).insert(id.clone(), spare.link.clone());
        let asked = spare
            .link
            .ask(&id, Request::Sandbox(spec), ANSWER_TIME)
            .await;
        self.refill_later();
        match asked {
            Ok(_) => Ok(()),
            Err(error) => {
                // Nothing has run in it; what cannot be removed now is listed as a dead sandbox.
                let _ = self.remove(id).await;
                Err(error)
            }
        }
    }

    async fn ask(
        self: &Arc<Self>,
        id: &SandboxId,
        request: Request,
        time: Duration,
    ) -> Result<Reply, Error> {
        self.link(id).await?.ask(id, request, time).await
    }

    /// The sandbox's connection, made when there is none.
    async fn link(self: &Arc<Self>, id: &SandboxId) -> Result<Arc<Link>, Error> {
        if !is_sandbox_id(&id.0) {
            return Err(Error::BadSandboxId(id.0.clone()));
        }
        let known = lock(&self.links).get(id).cloned();
        if let Some(link) = known.filter(|link| !link.is_closed()) {
            return Ok(link);
        }
        let Some(folder) = self.run_dir.find(id) else {
            return Err(Error::NoSandbox(id.clone()));
        };
        let link = self.connect(&folder).await.map_err(|error| match error {
            link::ConnectError::Dead => Error::ShimDead(id.clone()),
            link::ConnectError::Refused(source) => Error::Refused {
                sandbox: id.clone(),
                source,
            },
            link::ConnectError::Mute => Error::Mute {
                sandbox: id.clone(),
                seconds: link::GREETING_TIME.as_secs(),
            },
            link::ConnectError::Other(reason) => Error::Host {
                what: format!("connect to the shim of sandbox {id}"),
                reason,
            },
        })?;
        link.name(id);
        lock(&self.links).insert(id.clone(), link.clone());
        Ok(link)
    }

    async fn connect(self: &Arc<Self>, folder: &Folder) -> Result<Arc<Link>, link::ConnectError> {
        let weak = Arc::downgrade(self);
        let told = move |news: News| {
            let Some(inner) = weak.upgrade() else {
                return false;
            };
            match news {
                News::Event(event) => inner.tell(event),
                News::Lost(id) => {
                    tokio::spawn(inner.look_after(id));
                    true
                }
            }
        };
        Link::connect(folder.path(), Arc::new(told)).await
    }

    /// Hands an event on; false when nobody listens, so that its shim keeps it.
    fn tell(&self, event: Event) -> bool {
        self.events.send(event).is_ok()
    }

    /// A connection has ended unasked: makes another, which tells whether the shim is dead. A
    /// listening socket alone does not: it may be that of a process about to end. One that cannot be
    /// reached, for want of descriptors perhaps, is tried again: its containers may have ended.
    fn look_after(self: Arc<Self>, id: SandboxId) -> Answer<'static, ()> {
        Box::pin(async move {
            let weak = Arc::downgrade(&self);
            let (mut inner, mut pause) = (self, LOOK_AGAIN_MIN);
            loop {
                match inner.link(&id).await {
                    Err(Error::ShimDead(_)) => return inner.mourn(id),
                    // It was removed meanwhile, or lives and is connected again.
                    Ok(_) | Err(Error::NoSandbox(_)) => return,
                    Err(error) => tracing::warn!(%error, ?pause, "shim out of reach; trying again"),
                }
                drop(inner);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LOOK_AGAIN_MAX);
                // Without a runtime nobody wants to know.
                let Some(again) = weak.upgrade() else { return };
                inner = again;
            }
        })
    }

    fn mourn(&self, id: SandboxId) {
        let words = self
            .run_dir
            .find(&id)
            .and_then(|folder| folder.last_words());
        let reason =
            words.unwrap_or_else(|| "it ended without a word, as when it is killed".into());
        self.tell_death(id, reason);
    }

    fn tell_death(&self, id: SandboxId, reason: String) {
        lock(&self.links).remove(&id);
        self.tell(Event {
            sandbox: id,
            kind: EventKind::ShimDied { reason },
        });
    }

    async fn remove(self: Arc<Self>, id: SandboxId) -> Result<(), Vec<Error>> {
        if !is_sandbox_id(&id.0) {
            return Err(vec![Error::BadSandboxId(id.0)]);
        }
        let mut errors = Vec::new();
        if let Ok(Ok(link)) = tokio::time::timeout(LIST_TIME, self.link(&id)).await {
            link.expect_end();
            // What a shim no longer does, because it is dead or mute, is done without it.
            if let Ok(Reply::Removed(left)) = link.ask(&id, Request::Remove, ANSWER_TIME).await {
                errors.extend(left.into_iter().map(|reason| Error::Left {
                    sandbox: id.clone(),
                    what: "the sandbox".into(),
                    reason,
                }));
            }
        }
        lock(&self.links).remove(&id);
        if !errors.is_empty() {
            return Err(errors);
        }
        // By now the shim has nothing left, or is dead, or mute.
        let inner = self.clone();
        let gone = tokio::task::spawn_blocking(move || {
            process::remove(&inner.run_dir, &inner.options.cgroup_root, &id)
        });
        gone.await.unwrap_or_else(|error| {
            Err(vec![Error::Host {
                what: "remove a sandbox".into(),
                reason: error.to_string(),
            }])
        })
    }

    async fn spawn_spare(self: &Arc<Self>) -> Result<Spare, Error> {
        let number = self.spawned.fetch_add(1, Ordering::Relaxed);
        let folder = self.run_dir.spare(number)?;
        let spawned = process::spawn(&self.options.executable, &self.options.cgroup_root, &folder);
        let link = match spawned {
            Ok(()) => self.connect(&folder).await.map_err(|error| Error::Host {
                what: format!("start {} as a shim", self.options.executable.display()),
                reason: match folder.last_words() {
                    Some(words) => words,
                    None => error.to_string(),
                },
            }),
            Err(error) => Err(error),
        };
        match link {
            Ok(link) => Ok(Spare { folder, link }),
            Err(error) => {
                folder.remove();
                Err(error)
            }
        }
    }

    /// Fills the pool behind the caller's back: the next sandbox profits, this one must not wait.
    fn refill_later(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        let pause = !lock(&self.spares).is_empty();
        tokio::spawn(async move {
            if pause {
                tokio::time::sleep(REFILL_PAUSE).await;
            }
            let Some(inner) = weak.upgrade() else { return };
            let _one = inner.refill.lock().await;
            while lock(&inner.spares).len() < inner.options.spare_shims {
                match inner.spawn_spare().await {
                    Ok(spare) => lock(&inner.spares).push(spare),
                    Err(error) => {
                        // A sandbox will meet the same error and report it.
                        tracing::warn!(%error, "no spare shim");
                        return;
                    }
                }
            }
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The spares' shims end when their links close, some time; their folders would be left, and
        // whoever removes the installation's cgroups now would find theirs.
        let spares: Vec<Spare> = lock(&self.spares).drain(..).collect();
        for spare in &spares {
            spare.link.close();
            spare.folder.kill_shim();
        }
        for spare in spares {
            spare.folder.remove_groups(&self.options.cgroup_root);
            spare.folder.remove();
        }
        for link in lock(&self.links).values() {
            link.close();
        }
    }
}

/// A panic elsewhere does not make the maps wrong: every change to them is one call.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
