//! Images of the machine's store, pulled into it when they are not there.
//!
//! A name that the store has, loaded or pulled before, asks nobody: starts stay fast and work
//! without a registry. One that it has not is pulled once for all that ask at the same time.

use super::{Answer, Content, Images};
use crate::reason;
use windlass_image::{Digest, Image, PullOptions, Reference, Store};
use windlass_model::stop::{ContainerReason, ReasonName};

pub struct Stored {
    store: Store,
    /// Mirrors and credentials for every pull.
    options: PullOptions,
}

impl Stored {
    pub fn new(store: Store, options: PullOptions) -> Stored {
        Stored { store, options }
    }

    /// An image that was loaded from an archive may be known by its name alone.
    fn by_name(&self, image: &str, digest: Option<&str>) -> Option<Image> {
        let found = self.store.resolve(&reference(image, None).ok()?)?;
        let is = |known: &Digest| digest.is_none_or(|digest| known.to_string() == digest);
        let same = is(&found.manifest_digest) || found.index_digest.as_ref().is_some_and(is);
        same.then_some(found)
    }

    fn content(&self, image: Image, holder: &str) -> Result<Content, ContainerReason> {
        let pin = self
            .store
            .pin(image.manifest_digest, holder)
            .map_err(|e| cannot_pull(&e))?;
        Ok(Content {
            config: image.config,
            layers: image.layers,
            digest: image
                .index_digest
                .unwrap_or(image.manifest_digest)
                .to_string(),
            pin: Some(pin),
        })
    }
}

impl Images for Stored {
    fn resolve<'a>(
        &'a self,
        image: &'a str,
        digest: Option<&'a str>,
        holder: &'a str,
    ) -> Answer<'a, Option<Content>> {
        Box::pin(async move {
            let exact = reference(image, digest)?;
            let found = self
                .store
                .resolve(&exact)
                .or_else(|| self.by_name(image, digest));
            found.map(|image| self.content(image, holder)).transpose()
        })
    }

    fn collect(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let store = self.store.clone();
            let collected = tokio::task::spawn_blocking(move || store.gc());
            let collected = collected
                .await
                .unwrap_or_else(|error| Err(windlass_image::Error::BrokenOff(error.to_string())));
            collected
                .map(|collected| tracing::debug!(?collected, "unused images"))
                .map_err(|error| reason::of(ReasonName::CannotPullContainerError, error.detail()))
        })
    }

    fn pull<'a>(
        &'a self,
        image: &'a str,
        digest: Option<&'a str>,
        holder: &'a str,
    ) -> Answer<'a, Content> {
        Box::pin(async move {
            let reference = reference(image, digest)?;
            let pulled = self.store.pull(&reference, self.options.clone()).await;
            self.content(pulled.map_err(|error| cannot_pull(&error))?, holder)
        })
    }
}

fn reference(image: &str, digest: Option<&str>) -> Result<Reference, ContainerReason> {
    let reference: Reference = image.parse().map_err(|error| {
        reason::of(
            ReasonName::CannotPullContainerError,
            format!("invalid reference format: {}", reason::chain(&error)),
        )
    })?;
    let digest = digest.and_then(|digest| digest.parse::<Digest>().ok());
    Ok(digest.map_or(reference.clone(), |digest| reference.with_digest(digest)))
}

fn cannot_pull(error: &windlass_image::Error) -> ContainerReason {
    reason::of(ReasonName::CannotPullContainerError, error.detail())
}
