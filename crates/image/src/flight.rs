//! Work that several callers want at the same time and that is done once for all of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::digest::Digest;
use crate::error::{Error, Result};

type Outcome<T> = Option<Result<T>>;

/// Work in progress, by what tells it from other work.
pub(crate) struct Flight<T>(Arc<Mutex<InProgress<T>>>);

struct InProgress<T> {
    by_key: HashMap<Digest, Work<T>>,
    begun: u64,
}

struct Work<T> {
    /// Tells it from earlier work of the same key.
    number: u64,
    outcome: watch::Receiver<Outcome<T>>,
    waiting: usize,
    unwanted: watch::Sender<bool>,
}

/// Tells work that nobody waits for it any more.
#[derive(Clone)]
pub(crate) struct Unwanted(watch::Receiver<bool>);

impl Unwanted {
    /// Why the work is to end, if it is.
    pub(crate) fn why(&self) -> Option<String> {
        self.0
            .borrow()
            .then(|| "nobody waits for it any more".to_string())
    }

    /// Does a part of the work that may be given up in the middle.
    ///
    /// # Errors
    /// Its own, and [`Error::Stopped`] as soon as nobody waits any more.
    pub(crate) async fn or<R>(&self, part: impl Future<Output = Result<R>>) -> Result<R> {
        let mut told = self.0.clone();
        tokio::select! {
            biased;
            Ok(_) = told.wait_for(|unwanted| *unwanted) => {
                Err(Error::Stopped(self.why().unwrap_or_default()))
            }
            done = part => done,
        }
    }
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(InProgress {
            by_key: HashMap::new(),
            begun: 0,
        })))
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// Waits for the work of this key that is in progress, or begins it. It is told when the last
    /// caller has given up; who comes later has it done again.
    pub(crate) async fn join<W>(&self, key: Digest, work: impl FnOnce(Unwanted) -> W) -> Result<T>
    where
        W: Future<Output = Result<T>> + Send + 'static,
    {
        let mut waiter = self.begin(key, work);
        match waiter.outcome.wait_for(Option::is_some).await {
            Ok(done) => match &*done {
                Some(outcome) => outcome.clone(),
                None => Err(Error::BrokenOff(
                    "the work ended without a result".to_string(),
                )),
            },
            Err(_) => Err(Error::BrokenOff("the work panicked".to_string())),
        }
    }

    fn begin<W>(&self, key: Digest, work: impl FnOnce(Unwanted) -> W) -> Waiter<T>
    where
        W: Future<Output = Result<T>> + Send + 'static,
    {
        let mut all = locked(&self.0);
        if let Some(work) = all.by_key.get_mut(&key) {
            work.waiting += 1;
            return Waiter {
                outcome: work.outcome.clone(),
                place: self.place(key, work.number),
            };
        }
        let (sender, outcome) = watch::channel(None);
        let (unwanted, told) = watch::channel(false);
        let number = all.begun;
        all.begun += 1;
        let entry = Work {
            number,
            outcome: outcome.clone(),
            waiting: 1,
            unwanted,
        };
        all.by_key.insert(key, entry);
        drop(all);
        let landing = Landing(self.place(key, number));
        let work = work(Unwanted(told));
        tokio::spawn(async move {
            let done = work.await;
            // First out of the list, then the news: who comes later has it done again.
            drop(landing);
            sender.send_replace(Some(done));
        });
        Waiter {
            outcome,
            place: self.place(key, number),
        }
    }

    fn place(&self, key: Digest, number: u64) -> Place<T> {
        Place {
            all: self.0.clone(),
            key,
            number,
        }
    }
}

/// Where one piece of work is in the list.
struct Place<T> {
    all: Arc<Mutex<InProgress<T>>>,
    key: Digest,
    number: u64,
}

impl<T> Place<T> {
    /// Looks at the work, if it is in the list still, and takes it off when `is_over` says so.
    fn leave(&self, is_over: impl FnOnce(&mut Work<T>) -> bool) {
        let mut all = locked(&self.all);
        if let Entry::Occupied(mut work) = all.by_key.entry(self.key)
            && work.get().number == self.number
            && is_over(work.get_mut())
        {
            work.remove();
        }
    }
}

/// Takes work off the list, also when it panics.
struct Landing<T>(Place<T>);

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        self.0.leave(|_| true);
    }
}

/// One caller who waits.
struct Waiter<T> {
    outcome: watch::Receiver<Outcome<T>>,
    place: Place<T>,
}

impl<T> Drop for Waiter<T> {
    fn drop(&mut self) {
        self.place.leave(|work| {
            work.waiting -= 1;
            let unwanted = work.waiting == 0;
            if unwanted {
                work.unwanted.send_replace(true);
            }
            unwanted
        });
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Work without end, unless nobody wants it; counts how often it began and ended.
    #[derive(Clone, Default)]
    struct Endless {
        begun: Arc<AtomicUsize>,
        ended: Arc<AtomicUsize>,
    }

    impl Endless {
        fn join(&self, flight: &Arc<Flight<()>>) -> tokio::task::JoinHandle<Result<()>> {
            let (flight, counts) = (flight.clone(), self.clone());
            tokio::spawn(async move {
                let key = Digest::of(b"key");
                let work = |unwanted: Unwanted| async move {
                    counts.begun.fetch_add(1, Ordering::SeqCst);
                    let done = unwanted.or(std::future::pending()).await;
                    counts.ended.fetch_add(1, Ordering::SeqCst);
                    done
                };
                flight.join(key, work).await
            })
        }

        fn counts(&self) -> (usize, usize) {
            let count = |it: &AtomicUsize| it.load(Ordering::SeqCst);
            (count(&self.begun), count(&self.ended))
        }

        async fn reaches(&self, counts: (usize, usize)) {
            let reached = async {
                while self.counts() != counts {
                    tokio::task::yield_now().await;
                }
            };
            let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
            reached.unwrap_or_else(|_| panic!("{:?}, not {counts:?}", self.counts()));
        }
    }

    async fn give_up(caller: tokio::task::JoinHandle<Result<()>>) {
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
    }

    #[tokio::test]
    async fn work_ends_with_the_last_who_waits_for_it() {
        let (flight, work) = (Arc::new(Flight::default()), Endless::default());
        let first = work.join(&flight);
        work.reaches((1, 0)).await;
        let second = work.join(&flight);
        while locked(&flight.0).by_key.values().all(|it| it.waiting < 2) {
            tokio::task::yield_now().await;
        }
        give_up(first).await;
        assert_eq!(work.counts(), (1, 0));
        give_up(second).await;
        // Who comes now does not get what was given up.
        let third = work.join(&flight);
        work.reaches((2, 1)).await;
        assert_eq!(locked(&flight.0).by_key.len(), 1);
        give_up(third).await;
        work.reaches((2, 2)).await;
        assert!(locked(&flight.0).by_key.is_empty());
    }

    #[tokio::test]
    async fn all_who_wait_get_what_came_of_it() {
        let flight = Flight::default();
        let join = |n: i32| flight.join(Digest::of(b"key"), move |_| async move { Ok(n) });
        let (first, second) = tokio::join!(join(1), join(2));
        assert_eq!((first.unwrap(), second.unwrap()), (1, 1));
        assert_eq!(join(3).await.unwrap(), 3);
    }
}
