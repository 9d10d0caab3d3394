//! Where a container's image comes from. [`stored::Stored`] is the machine's store with its
//! registries, [`fake::Fake`] is for tests; the constructor decides.

pub mod fake;
mod fault;
pub mod stored;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use windlass_image::ImageConfig;
use windlass_model::pull::PullBehavior;
use windlass_model::stop::ContainerReason;

/// A boxed future, so that the trait has objects.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ContainerReason>> + Send + 'a>>;

/// An image a container can be started from, kept from being removed while this lives.
pub struct Content {
    pub config: Arc<ImageConfig>,
    /// Folders of the unpacked layers, topmost first.
    pub layers: Vec<PathBuf>,
    /// As shown: of the manifest, or of the index its name led to.
    pub digest: String,
    /// What the task's history is to say of where it comes from.
    pub note: Option<String>,
    /// Held, never looked at.
    pub pin: Option<windlass_image::Pin>,
}

/// An image of a task's container, and how to come by it.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    pub image: &'a str,
    /// That an earlier answer gave: a restart of the agent does not change what a task runs.
    pub digest: Option<&'a str>,
    pub pull: PullBehavior,
    /// Who needs it, for people.
    pub holder: &'a str,
}

pub trait Images: Send + Sync + 'static {
    /// The image as it is here. Asks nobody.
    fn resolve<'a>(
        &'a self,
        image: &'a str,
        digest: Option<&'a str>,
        holder: &'a str,
    ) -> Answer<'a, Option<Content>>;

    /// The image that a start is to take, if its layers are here; `None` when it is to be pulled.
    /// Where the behaviour says so its registry is asked what the name means now.
    fn choose<'a>(&'a self, wanted: Wanted<'a>) -> Answer<'a, Option<Content>>;

    /// Removes what nothing uses. Called once, when all that runs holds its images.
    fn collect(&self) -> Answer<'_, ()>;

    /// Brings the image here. Where the behaviour allows it a copy is given when that fails.
    fn pull<'a>(&'a self, wanted: Wanted<'a>) -> Answer<'a, Content>;
}
