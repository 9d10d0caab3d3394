//! Images without files, for tests of the agent: every name is an image, unless a test says that
//! it is missing.

use super::{Answer, Content, Images, Wanted};
use crate::reason;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use windlass_image::ImageConfig;
use windlass_model::stop::ReasonName;

#[derive(Default)]
pub struct Fake {
    missing: Mutex<BTreeSet<String>>,
    remote: Mutex<BTreeSet<String>>,
}

impl Fake {
    /// The image cannot be pulled.
    pub fn lose(&self, image: &str) {
        self.missing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(image.to_owned());
    }

    /// The image has to be pulled.
    pub fn make_remote(&self, image: &str) {
        self.remote
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(image.to_owned());
    }

    fn has(set: &Mutex<BTreeSet<String>>, image: &str) -> bool {
        set.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(image)
    }
}

fn content() -> Content {
    Content {
        config: Arc::new(ImageConfig {
            cmd: vec!["run".into()],
            ..ImageConfig::default()
        }),
        layers: vec!["/nowhere".into()],
        digest: "sha256:fake".into(),
        note: None,
        pin: None,
    }
}

impl Images for Fake {
    fn resolve<'a>(
        &'a self,
        image: &'a str,
        _: Option<&'a str>,
        _: &'a str,
    ) -> Answer<'a, Option<Content>> {
        let far = Fake::has(&self.remote, image) || Fake::has(&self.missing, image);
        Box::pin(async move { Ok((!far).then(content)) })
    }

    fn choose<'a>(&'a self, wanted: Wanted<'a>) -> Answer<'a, Option<Content>> {
        self.resolve(wanted.image, wanted.digest, wanted.holder)
    }

    fn collect(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn pull<'a>(&'a self, wanted: Wanted<'a>) -> Answer<'a, Content> {
        let image = wanted.image;
        let missing = Fake::has(&self.missing, image);
        Box::pin(async move {
            match missing {
                true => Err(reason::of(
                    ReasonName::CannotPullContainerError,
                    format!("{image}: not found"),
                )),
                false => Ok(content()),
            }
        })
    }
}
