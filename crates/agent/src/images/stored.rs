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
            let reference = reference(image, digest)?;
            let found = self.store.resolve(&reference);
            found.map(|image| self.content(image, holder)).transpose()
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
