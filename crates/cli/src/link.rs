//! A server that may be restarted while a verb stays with a task: it is found again, where it serves
//! by then.

use crate::client::Client;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::find::find_server;
use crate::limits;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// What is said once when the server is gone.
pub(crate) const GONE: &str = "windlass: the server does not answer; its tasks run on, and this \
                               goes on when it is back (Ctrl-C ends it)";

/// A client, and how it was found.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    data: Option<PathBuf>,
    environment: Environment,
}

impl Link {
    pub(crate) fn new(data: Option<PathBuf>, environment: Environment) -> Result<Link, Failure> {
        Ok(Link {
            client: find_server(data.as_deref(), &environment)?,
            data,
            environment,
        })
    }

    /// After a failure: waits until a server answers again.
    ///
    /// # Errors
    /// The failure, when it is no sign that the server is gone, or when it did not come back.
    pub(crate) async fn mend(&mut self, failure: Failure) -> Result<(), Failure> {
        if !failure.is_gone() {
            return Err(failure);
        }
        let begin = Instant::now();
        let mut pauses = Pauses::new(limits::RECONNECT_MIN, limits::RECONNECT_MAX);
        while begin.elapsed() < limits::RECONNECT_TIMEOUT {
            pauses.next().await;
            match self.look().await {
                Ok(client) => {
                    self.client = client;
                    return Ok(());
                }
                Err(again) if again.is_gone() => {}
                Err(other) => return Err(other),
            }
        }
        Err(failure)
    }

    async fn look(&self) -> Result<Client, Failure> {
        let client = find_server(self.data.as_deref(), &self.environment)?;
        client.windlass("GetStatus", &json!({})).await?;
        Ok(client)
    }
}

/// Waits that are twice as long each time, up to a longest one.
pub(crate) struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    pub(crate) fn new(shortest: Duration, longest: Duration) -> Pauses {
        Pauses {
            next: shortest,
            longest,
        }
    }

    pub(crate) async fn next(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = self.next.saturating_mul(2).min(self.longest);
    }
}
