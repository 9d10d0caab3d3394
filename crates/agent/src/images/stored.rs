//! Images of the machine's store, pulled into it when they are not there.
//!
//! A name that was loaded asks nobody: starts stay fast and work without a registry. A tag that a
//! registry gave is asked for again at every start, by its digest alone; where no answer comes the
//! copy runs, and the task's history says so. One that the store has not is pulled once for all that
//! ask at the same time.

use super::{Answer, Content, Images, Wanted};
use crate::reason;
use windlass_image::{Digest, Image, PullOptions, Reference, Store};
use windlass_model::container_fault::{ContainerFault, ImageProblem};
use windlass_model::pull::{Copy, PullBehavior, Step};
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

    fn find(&self, image: &str, digest: Option<&str>) -> Result<Option<Image>, ContainerReason> {
        let exact = reference(image, digest)?;
        let found = self.store.resolve(&exact);
        Ok(found.or_else(|| self.by_name(image, digest)))
    }

    async fn ask(&self, copy: &Image) -> Result<Digest, windlass_image::Error> {
        let options = self.options.clone();
        self.store.ask_digest(&copy.reference, options).await
    }

    fn content(&self, image: Image, holder: &str) -> Result<Content, ContainerReason> {
        let pin = self
            .store
            .pin(image.manifest_digest, holder)
            .map_err(|e| cannot_pull(&e))?;
        Ok(Content {
            digest: image.digest().to_string(),
            config: image.config,
            layers: image.layers,
            note: None,
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
            let found = self.find(image, digest)?;
            found.map(|image| self.content(image, holder)).transpose()
        })
    }

    fn choose<'a>(&'a self, wanted: Wanted<'a>) -> Answer<'a, Option<Content>> {
        Box::pin(async move {
            let found = self.find(wanted.image, wanted.digest)?;
            // What an earlier answer decided is not asked about again.
            let step = match wanted.digest {
                Some(_) => PullBehavior::PreferCached.step(found.as_ref().map(copy)),
                None => wanted.pull.step(found.as_ref().map(copy)),
            };
            let Some(found) = found.filter(|_| step != Step::Pull) else {
                return Ok(None);
            };
            let note = match step {
                Step::Ask => match self.ask(&found).await {
                    Ok(digest) if digest != found.digest() => return Ok(None),
                    Ok(_) => None,
                    Err(error) => Some(fell_back(&found, &error)),
                },
                Step::Run | Step::Pull => None,
            };
            let content = self.content(found, wanted.holder)?;
            Ok(Some(Content { note, ..content }))
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

    fn pull<'a>(&'a self, wanted: Wanted<'a>) -> Answer<'a, Content> {
        Box::pin(async move {
            let reference = reference(wanted.image, wanted.digest)?;
            let before = self.store.resolve(&reference);
            let pulled = self.store.pull(&reference, self.options.clone()).await;
            let (image, note) = match (pulled, before) {
                (Ok(pulled), before) => {
                    let note = before.and_then(|before| moved(&before, &pulled));
                    (pulled, note)
                }
                (Err(error), Some(copy)) if wanted.pull.falls_back() => {
                    let note = fell_back(&copy, &error);
                    (copy, Some(note))
                }
                (Err(error), _) => return Err(cannot_pull(&error)),
            };
            let content = self.content(image, wanted.holder)?;
            Ok(Content { note, ..content })
        })
    }
}

fn copy(image: &Image) -> Copy {
    match image.from_registry {
        true => Copy::OfRegistry,
        false => Copy::Fixed,
    }
}

fn fell_back(copy: &Image, error: &windlass_image::Error) -> String {
    format!(
        "{} is started from the copy that is here ({}): {}",
        copy.reference.familiar(),
        copy.digest(),
        error.detail()
    )
}

fn moved(before: &Image, pulled: &Image) -> Option<String> {
    let (old, new) = (before.digest(), pulled.digest());
    let name = pulled.reference.familiar();
    (old != new).then(|| format!("{name} was {old} here, and is {new} at its registry: pulled"))
}

fn reference(image: &str, digest: Option<&str>) -> Result<Reference, ContainerReason> {
    let reference: Reference = image.parse().map_err(|error| {
        reason::of(
            ReasonName::CannotPullContainerError,
            format!("invalid reference format: {}", reason::chain(&error)),
        )
        .with_fault(ContainerFault::Image(ImageProblem::Other {
            error: format!("the name is not valid: {}", reason::chain(&error)),
        }))
    })?;
    let digest = digest.and_then(|digest| digest.parse::<Digest>().ok());
    Ok(digest.map_or(reference.clone(), |digest| reference.with_digest(digest)))
}

fn cannot_pull(error: &windlass_image::Error) -> ContainerReason {
    reason::of(ReasonName::CannotPullContainerError, error.agent_text())
        .with_fault(super::fault::of(error))
}
