//! What all sandboxes hold, and shims that do not answer: stopped ones, and those of a machine that is
//! very busy. They must not look dead, must not hide the others, and must not be waited for.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::folder::Folder;
use super::{Inner, KILL_TIME, LIST_TIME, LOOK_AGAIN_MIN, MUTE_PAUSE_MAX, lock, process};
use crate::protocol::{Reply, Request};
use crate::spec::SandboxId;
use crate::state::SandboxState;
use crate::{Answer, Error, Event, EventKind, shim};

impl Inner {
    /// All shims are asked at once.
    pub(super) async fn list(self: Arc<Self>) -> Result<Vec<SandboxState>, Error> {
        let mut asked = JoinSet::new();
        for (id, folder) in self.run_dir.sandboxes()? {
            asked.spawn(self.clone().list_one(id, folder));
        }
        let listed = asked.join_all().await;
        let mut states: Vec<SandboxState> = listed.into_iter().flatten().collect();
        states.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(states)
    }

    /// `None` when it was removed meanwhile.
    async fn list_one(self: Arc<Self>, id: SandboxId, folder: Folder) -> Option<SandboxState> {
        // One that is waited for already is asked by whoever waits.
        let is_mute = lock(&self.mute).contains(&id);
        let answer = match is_mute {
            true => None,
            false => tokio::time::timeout(LIST_TIME, self.ask_list(&id))
                .await
                .ok(),
        };
        let (alive, answers, containers) = match answer {
            Some(Ok(Reply::Containers(containers))) => (true, true, containers),
            Some(Ok(_) | Err(Error::ShimDead(_) | Error::Disconnected(_))) => {
                (false, false, shim::record::read_lost(folder.path()))
            }
            Some(Err(Error::NoSandbox(_))) => return None,
            // Which of the two times is over first is chance.
            None | Some(Err(Error::Mute { .. })) => {
                if !is_mute {
                    tracing::warn!(sandbox = %id, "its shim does not answer; listed by its records");
                    tokio::spawn(self.wait_for(id.clone()));
                }
                (true, false, shim::record::read_all(folder.path()))
            }
            // A shim of another release still holds running containers.
            Some(Err(error)) => {
                tracing::warn!(%error, sandbox = %id, "listed by its records alone");
                (true, false, shim::record::read_all(folder.path()))
            }
        };
        Some(SandboxState {
            id,
            alive,
            answers,
            containers,
        })
    }

    async fn ask_list(self: &Arc<Self>, id: &SandboxId) -> Result<Reply, Error> {
        match self.ask(id, Request::List, LIST_TIME).await {
            // Another connection tells whether only this one has ended.
            Err(Error::Disconnected(_)) => self.ask(id, Request::List, LIST_TIME).await,
            answer => answer,
        }
    }

    /// Asks a mute shim until it answers, is dead, or is removed, and tells.
    fn wait_for(self: Arc<Self>, id: SandboxId) -> Answer<'static, ()> {
        lock(&self.mute).insert(id.clone());
        Box::pin(async move {
            let weak = Arc::downgrade(&self);
            let (mut inner, mut pause) = (self, LOOK_AGAIN_MIN);
            loop {
                let end = match inner.ask_list(&id).await {
                    Ok(_) => Some(EventKind::Answered),
                    Err(Error::ShimDead(_)) => {
                        lock(&inner.mute).remove(&id);
                        return inner.mourn(id);
                    }
                    Err(Error::NoSandbox(_)) => {
                        lock(&inner.mute).remove(&id);
                        return;
                    }
                    Err(_) => None,
                };
                if let Some(kind) = end {
                    lock(&inner.mute).remove(&id);
                    inner.tell(Event { sandbox: id, kind });
                    return;
                }
                drop(inner);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MUTE_PAUSE_MAX);
                // Without a runtime nobody wants to know.
                let Some(again) = weak.upgrade() else { return };
                inner = again;
            }
        })
    }

    /// Kills a container by its shim, or the whole sandbox where the shim does not.
    pub(super) async fn kill(
        self: Arc<Self>,
        id: &SandboxId,
        container: &str,
    ) -> Result<(), Error> {
        let request = Request::Kill(container.to_owned());
        let asked = tokio::time::timeout(KILL_TIME, self.ask(id, request, KILL_TIME)).await;
        let error = match asked {
            Ok(Err(error @ Error::Mute { .. })) => error,
            Ok(answer) => return answer.map(drop),
            Err(_) => Error::Mute {
                sandbox: id.clone(),
                seconds: KILL_TIME.as_secs(),
            },
        };
        tracing::warn!(%error, sandbox = %id, "its shim is killed with its containers");
        let (inner, killed) = (self.clone(), id.clone());
        let done = tokio::task::spawn_blocking(move || {
            process::kill(&inner.run_dir, &inner.options.cgroup_root, &killed)
        });
        match done.await {
            Ok(Ok(())) => {
                let reason = format!("{error}, and was killed with its containers");
                self.tell_death(id.clone(), reason);
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(error),
        }
    }
}
