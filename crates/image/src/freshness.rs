//! What a tag leads to at its registry now: its digest, and none of its layers.

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits::{FRESHNESS_ALL, FRESHNESS_SILENCE};
use crate::pull::{PullOptions, flight_key};
use crate::reference::Reference;
use crate::registry::Registry;
use crate::store::Store;

impl Store {
    /// The digest that the name has at its registry, of an index where it leads to one. Callers
    /// that ask for the same at the same time share one question. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the registry says nothing for two seconds;
    /// [`Error::Registry`] when it says no.
    pub async fn ask_digest(&self, reference: &Reference, options: PullOptions) -> Result<Digest> {
        let key = flight_key(reference, &options);
        let (wanted, limit) = (reference.clone(), self.inner.limits.manifest_bytes);
        let work = |_| async move {
            let mut registry = Registry::new(&wanted, &options)?;
            registry.be_quick(FRESHNESS_SILENCE);
            let asked = registry.digest(wanted.version(), limit);
            match tokio::time::timeout(FRESHNESS_ALL, asked).await {
                Ok(asked) => asked,
                Err(_) => Err(late(&registry)),
            }
        };
        self.inner.flights.questions.join(key, work).await
    }
}

fn late(registry: &Registry) -> Error {
    let seconds = FRESHNESS_ALL.as_secs();
    registry.unreachable(format!("it has not said the digest in {seconds} seconds"))
}
