//! Work that several callers want at the same time and that is done once for all of them.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::digest::Digest;
use crate::error::{Error, Result};

type Outcome<T> = Option<Result<T>>;
type InProgress<T> = Mutex<HashMap<Digest, watch::Receiver<Outcome<T>>>>;

/// Work in progress, by what tells it from other work.
pub(crate) struct Flight<T>(Arc<InProgress<T>>);

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// Waits for the work of this key that is in progress, or begins it. It goes on when the caller
    /// gives up.
    pub(crate) async fn join(
        &self,
        key: Digest,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let mut outcome = self.begin(key, work);
        match outcome.wait_for(Option::is_some).await {
            Ok(done) => match &*done {
                Some(outcome) => outcome.clone(),
                None => Err(Error::BrokenOff(
                    "the work ended without a result".to_string(),
                )),
            },
            Err(_) => Err(Error::BrokenOff("the work panicked".to_string())),
        }
    }

    fn begin(
        &self,
        key: Digest,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> watch::Receiver<Outcome<T>> {
        let mut all = locked(&self.0);
        if let Some(outcome) = all.get(&key) {
            return outcome.clone();
        }
        let (sender, outcome) = watch::channel(None);
        all.insert(key, outcome.clone());
        let landing = Landing {
            all: self.0.clone(),
            key,
        };
        tokio::spawn(async move {
            let done = work.await;
            // First out of the list, then the news: who comes later has it done again.
            drop(landing);
            sender.send_replace(Some(done));
        });
        outcome
    }
}

/// Takes work off the list, also when it panics.
struct Landing<T> {
    all: Arc<InProgress<T>>,
    key: Digest,
}

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        locked(&self.all).remove(&self.key);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
