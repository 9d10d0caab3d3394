//! Where a container's image comes from. [`stored::Stored`] is the machine's store with its
//! registries, [`fake::Fake`] is for tests; the constructor decides.

pub mod fake;
pub mod stored;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use windlass_image::ImageConfig;
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
    /// Held, never looked at.
    pub pin: Option<windlass_image::Pin>,
}

/// Both questions take the digest that an earlier answer gave, so that a restart of the agent
/// does not change what a task runs.
pub trait Images: Send + Sync + 'static {
    /// The image if its layers are here and nobody has to be asked; `None` when it is to be
    /// pulled.
    fn resolve<'a>(
        &'a self,
        image: &'a str,
        digest: Option<&'a str>,
        holder: &'a str,
    ) -> Answer<'a, Option<Content>>;

    /// Removes what nothing uses. Called once, when all that runs holds its images.
    fn collect(&self) -> Answer<'_, ()>;

    /// Brings the image here.
    fn pull<'a>(
        &'a self,
        image: &'a str,
        digest: Option<&'a str>,
        holder: &'a str,
    ) -> Answer<'a, Content>;
}
