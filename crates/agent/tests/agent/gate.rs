//! Wraps what an agent uses, counts its calls, and lets one of them never return: the moment to
//! drop the agent.

use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::{Notify, broadcast};
use windlass_agent::images::{
    Answer as ImageAnswer, Content, Images, Wanted, fake::Fake as FakeImages,
};
use windlass_network::{
    Attached, Driver, FakeNetwork, NamespaceHandle, PortMapping, ResolvConf,
    Result as NetworkResult,
};
use windlass_runtime::fake::Fake as FakeRuntime;
use windlass_runtime::spec::{ContainerSpec, ExecSpec, SandboxId, SandboxSpec};
use windlass_runtime::state::{ExecResult, SandboxState, Started};
use windlass_runtime::{Answer, Error, Event, Runtime};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Hangs at one call: before it does anything, or after it did and before it answers.
#[derive(Default)]
pub(crate) struct Gate {
    /// Calls until the one that hangs; negative: none does.
    left: AtomicI64,
    after: bool,
    reached: Notify,
}

impl Gate {
    pub(crate) fn open() -> Arc<Gate> {
        Arc::new(Gate {
            left: AtomicI64::new(-1),
            ..Gate::default()
        })
    }

    pub(crate) fn at(call: i64, after: bool) -> Arc<Gate> {
        Arc::new(Gate {
            left: AtomicI64::new(call),
            after,
            reached: Notify::new(),
        })
    }

    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    async fn pass<T>(&self, work: impl Future<Output = T>) -> T {
        let hangs = self.left.fetch_sub(1, Ordering::SeqCst) == 0;
        if hangs && !self.after {
            self.hang().await;
        }
        let result = work.await;
        if hangs {
            self.hang().await;
        }
        result
    }

    async fn hang(&self) {
        self.reached.notify_one();
        std::future::pending::<()>().await;
    }
}

pub(crate) struct GatedRuntime(pub(crate) Arc<FakeRuntime>, pub(crate) Arc<Gate>);

impl Runtime for GatedRuntime {
    fn create_sandbox(&self, spec: SandboxSpec) -> Answer<'_, Result<(), Error>> {
        Box::pin(self.1.pass(self.0.create_sandbox(spec)))
    }
    fn start<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        spec: ContainerSpec,
    ) -> Answer<'a, Result<Started, Error>> {
        Box::pin(self.1.pass(self.0.start(sandbox, spec)))
    }
    fn exec<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        spec: ExecSpec,
    ) -> Answer<'a, Result<ExecResult, Error>> {
        Box::pin(self.1.pass(self.0.exec(sandbox, spec)))
    }
    fn stop<'a>(&'a self, sandbox: &'a SandboxId, name: &'a str) -> Answer<'a, Result<(), Error>> {
        Box::pin(self.1.pass(self.0.stop(sandbox, name)))
    }
    fn kill<'a>(&'a self, sandbox: &'a SandboxId, name: &'a str) -> Answer<'a, Result<(), Error>> {
        Box::pin(self.1.pass(self.0.kill(sandbox, name)))
    }
    fn remove_sandbox<'a>(&'a self, sandbox: &'a SandboxId) -> Answer<'a, Result<(), Vec<Error>>> {
        Box::pin(self.1.pass(self.0.remove_sandbox(sandbox)))
    }
    fn list(&self) -> Answer<'_, Result<Vec<SandboxState>, Error>> {
        // The agent lists while it opens; there is nothing to crash yet.
        self.0.list()
    }
    fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events()
    }
}

pub(crate) struct GatedNetwork(pub(crate) Arc<FakeNetwork>, pub(crate) Arc<Gate>);

impl Driver for GatedNetwork {
    fn create<'a>(
        &'a self,
        name: &'a str,
    ) -> Boxed<'a, NetworkResult<(NamespaceHandle, Attached)>> {
        Box::pin(self.1.pass(self.0.create(name)))
    }
    fn publish<'a>(
        &'a self,
        mappings: &'a [PortMapping],
    ) -> Boxed<'a, NetworkResult<Vec<PortMapping>>> {
        Box::pin(self.1.pass(self.0.publish(mappings)))
    }
    fn unpublish<'a>(&'a self, mappings: &'a [PortMapping]) -> Boxed<'a, NetworkResult<()>> {
        Box::pin(self.1.pass(self.0.unpublish(mappings)))
    }
    fn release<'a>(&'a self, name: &'a str) -> Boxed<'a, NetworkResult<()>> {
        Box::pin(self.1.pass(self.0.release(name)))
    }
    fn resolv_conf(&self) -> Boxed<'_, NetworkResult<ResolvConf>> {
        Box::pin(self.1.pass(self.0.resolv_conf()))
    }
    fn capacity(&self) -> u64 {
        self.0.capacity()
    }

    fn gateway(&self) -> Ipv4Addr {
        self.0.gateway()
    }
}

pub(crate) struct GatedImages(pub(crate) Arc<FakeImages>, pub(crate) Arc<Gate>);

impl Images for GatedImages {
    fn resolve<'a>(
        &'a self,
        image: &'a str,
        digest: Option<&'a str>,
        holder: &'a str,
    ) -> ImageAnswer<'a, Option<Content>> {
        Box::pin(self.1.pass(self.0.resolve(image, digest, holder)))
    }
    fn collect(&self) -> ImageAnswer<'_, ()> {
        self.0.collect()
    }
    fn choose<'a>(&'a self, wanted: Wanted<'a>) -> ImageAnswer<'a, Option<Content>> {
        Box::pin(self.1.pass(self.0.choose(wanted)))
    }
    fn pull<'a>(&'a self, wanted: Wanted<'a>) -> ImageAnswer<'a, Content> {
        Box::pin(self.1.pass(self.0.pull(wanted)))
    }
}
