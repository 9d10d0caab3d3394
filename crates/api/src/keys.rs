//! Access keys: who may call, made and removed while the server runs.

use crate::limits;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;

/// A key that may call. The secret is never shown: there is no `Debug` or `Display` of it.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    pub id: String,
    pub secret: String,
    /// Present for temporary keys.
    pub session_token: Option<String>,
    /// The principal's name, as in its ARN after `user/`. No two keys share one.
    pub user: String,
    /// Milliseconds since the epoch; nothing when it is not known.
    pub created_ms: Option<i64>,
    /// Its holder had it before, for another service.
    pub imported: bool,
}

/// Keeps keys across restarts.
pub trait Keeper: Send + Sync + 'static {
    /// Keeps just these, all or none. Blocks.
    ///
    /// # Errors
    /// When they could not be written; those of before are kept then.
    fn keep(&self, keys: &[Arc<AccessKey>]) -> io::Result<()>;

    /// Whether only the keeper itself makes keys of this name.
    fn reserves(&self, user: &str) -> bool;
}

/// Why the keys stay as they are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("no access key has the name or id {0}")]
    NotFound(String),
    #[error("the name {0:?} has to be 1 to 64 letters, digits and =,.@_-")]
    BadName(String),
    #[error("an access key has the name {0} already: remove it first, or choose another name")]
    NameTaken(String),
    #[error("the name {0} is for the key that a start makes for the installation's owner")]
    NameReserved(String),
    #[error("the access key {id} is there already, with the name {name}")]
    IdTaken { id: String, name: String },
    #[error("an access key id has 16 to 128 letters, digits and underscores")]
    BadId,
    #[error("the secret of an access key is text without spaces, 512 characters at most")]
    BadSecret,
    #[error("the last access key cannot be removed: nobody could call any more")]
    Last,
    #[error(
        "there are {} access keys, which is the most there may be",
        limits::KEYS_MAX
    )]
    TooMany,
    #[error("the access keys could not be written: {0}")]
    NotKept(String),
}

/// Every key that may call.
#[derive(Clone)]
pub struct Keys {
    shared: Arc<Shared>,
}

type ById = BTreeMap<String, Arc<AccessKey>>;

struct Shared {
    by_id: RwLock<ById>,
    /// One change at a time.
    changing: Mutex<()>,
    changes: watch::Sender<()>,
    keeper: Option<Arc<dyn Keeper>>,
}

impl Keys {
    /// Keys that nobody keeps.
    pub fn new(keys: impl IntoIterator<Item = AccessKey>) -> Keys {
        Keys::of(keys, None)
    }

    /// Keys whose changes last.
    pub fn kept(keys: impl IntoIterator<Item = AccessKey>, keeper: Arc<dyn Keeper>) -> Keys {
        Keys::of(keys, Some(keeper))
    }

    fn of(keys: impl IntoIterator<Item = AccessKey>, keeper: Option<Arc<dyn Keeper>>) -> Keys {
        let keys = keys.into_iter().map(|key| (key.id.clone(), Arc::new(key)));
        Keys {
            shared: Arc::new(Shared {
                by_id: RwLock::new(keys.collect()),
                changing: Mutex::default(),
                changes: watch::Sender::new(()),
                keeper,
            }),
        }
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<AccessKey>> {
        let keys = self.shared.by_id.read();
        keys.unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    /// All of them, by name.
    pub(crate) fn list(&self) -> Vec<Arc<AccessKey>> {
        let keys = self.shared.by_id.read();
        let keys = keys.unwrap_or_else(PoisonError::into_inner);
        let mut keys: Vec<Arc<AccessKey>> = keys.values().cloned().collect();
        keys.sort_by(|a, b| a.user.cmp(&b.user));
        keys
    }

    /// Makes a key.
    pub(crate) async fn create(&self, name: &str, now_ms: i64) -> Result<Arc<AccessKey>, KeyError> {
        let key = AccessKey {
            id: format!("AKIA{}", random_text(16, ID_LETTERS)),
            secret: random_text(40, SECRET_LETTERS),
            session_token: None,
            user: name.to_owned(),
            created_ms: Some(now_ms),
            imported: false,
        };
        self.add(key).await
    }

    /// Takes a key that its holder has from elsewhere. One that was taken before under the same name
    /// is replaced: temporary keys change.
    pub(crate) async fn add(&self, key: AccessKey) -> Result<Arc<AccessKey>, KeyError> {
        check(&key)?;
        let keeper = self.shared.keeper.as_ref();
        if keeper.is_some_and(|keeper| keeper.reserves(&key.user)) {
            return Err(KeyError::NameReserved(key.user));
        }
        let key = Arc::new(key);
        let added = key.clone();
        self.change(move |keys| {
            if let Some(same) = keys.values().find(|it| it.user == key.user) {
                if !(same.imported && key.imported) {
                    return Err(KeyError::NameTaken(key.user.clone()));
                }
                let old = same.id.clone();
                keys.remove(&old);
            }
            if let Some(other) = keys.get(&key.id) {
                return Err(KeyError::IdTaken {
                    id: key.id.clone(),
                    name: other.user.clone(),
                });
            }
            if keys.len() >= limits::KEYS_MAX {
                return Err(KeyError::TooMany);
            }
            keys.insert(key.id.clone(), key);
            Ok(())
        })
        .await?;
        Ok(added)
    }

    /// Removes the key of a name or an id.
    pub(crate) async fn remove(&self, wanted: &str) -> Result<(), KeyError> {
        let wanted = wanted.to_owned();
        self.change(move |keys| {
            let found = keys.values().find(|key| key.user == wanted);
            let id = found.map_or(&wanted, |key| &key.id).to_owned();
            if !keys.contains_key(&id) {
                return Err(KeyError::NotFound(wanted));
            }
            if keys.len() == 1 {
                return Err(KeyError::Last);
            }
            keys.remove(&id);
            Ok(())
        })
        .await
    }

    /// Returns when this key may not call any more.
    pub(crate) fn removed(&self, key: Arc<AccessKey>) -> impl Future<Output = ()> + use<> {
        let keys = self.clone();
        async move {
            let mut changes = keys.shared.changes.subscribe();
            let may_call = || {
                let now = keys.find(&key.id);
                now.is_some_and(|now| Arc::ptr_eq(&now, &key))
            };
            while may_call() {
                // Never an error: the sender lives as long as this.
                let _ = changes.changed().await;
            }
        }
    }

    /// Kept first, then known: a key that was shown must not be gone after a restart. Whole, however
    /// soon the caller goes away.
    async fn change(
        &self,
        change: impl FnOnce(&mut ById) -> Result<(), KeyError> + Send + 'static,
    ) -> Result<(), KeyError> {
        let shared = self.shared.clone();
        let changed = tokio::task::spawn_blocking(move || shared.change(change)).await;
        changed.map_err(|err| KeyError::NotKept(err.to_string()))?
    }
}

impl Shared {
    fn change(
        &self,
        change: impl FnOnce(&mut ById) -> Result<(), KeyError>,
    ) -> Result<(), KeyError> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.by_id.read();
        let mut keys = known.unwrap_or_else(PoisonError::into_inner).clone();
        change(&mut keys)?;
        if let Some(keeper) = &self.keeper {
            let all: Vec<Arc<AccessKey>> = keys.values().cloned().collect();
            let kept = keeper.keep(&all);
            kept.map_err(|err| KeyError::NotKept(err.to_string()))?;
        }
        let known = self.by_id.write();
        *known.unwrap_or_else(PoisonError::into_inner) = keys;
        self.changes.send_replace(());
        Ok(())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} access keys", self.list().len())
    }
}

/// Names are part of ARNs. Source of the characters: IAM, user names; of an id's: STS, access keys.
fn check(key: &AccessKey) -> Result<(), KeyError> {
    let in_name = |b: u8| b.is_ascii_alphanumeric() || b"=,.@_-".contains(&b);
    if !(1..=64).contains(&key.user.len()) || !key.user.bytes().all(in_name) {
        return Err(KeyError::BadName(key.user.chars().take(64).collect()));
    }
    let in_id = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if !(16..=128).contains(&key.id.len()) || !key.id.bytes().all(in_id) {
        return Err(KeyError::BadId);
    }
    let is_text = |text: &str, max: usize| {
        (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
    };
    let token = key.session_token.as_deref();
    match is_text(&key.secret, 512) && token.is_none_or(|token| is_text(token, 4_096)) {
        true => Ok(()),
        false => Err(KeyError::BadSecret),
    }
}

const ID_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_LETTERS: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The alphabets have a power of two of letters, so every letter is as likely.
fn random_text(length: usize, letters: &[u8]) -> String {
    let bytes: [u8; 64] = rand::random();
    let bytes = bytes.iter().take(length);
    bytes
        .map(|b| char::from(letters[usize::from(*b) % letters.len()]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps names, or nothing.
    #[derive(Default)]
    struct Kept {
        names: Mutex<Vec<String>>,
        is_broken: Mutex<bool>,
    }

    impl Keeper for Kept {
        fn keep(&self, keys: &[Arc<AccessKey>]) -> io::Result<()> {
            if *self.is_broken.lock().unwrap() {
                return Err(io::Error::other("no room"));
            }
            *self.names.lock().unwrap() = keys.iter().map(|key| key.user.clone()).collect();
            Ok(())
        }

        fn reserves(&self, user: &str) -> bool {
            user == "owner"
        }
    }

    fn imported(name: &str, id: &str) -> AccessKey {
        AccessKey {
            id: id.into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: None,
            user: name.into(),
            created_ms: None,
            imported: true,
        }
    }

    fn names(keys: &Keys) -> Vec<String> {
        keys.list().iter().map(|key| key.user.clone()).collect()
    }

    #[tokio::test]
    async fn keys_come_and_go_and_are_kept() {
        let kept = Arc::new(Kept::default());
        let first = AccessKey {
            imported: false,
            ..imported("windlass", "AKIAEXAMPLEEXAMPLE00")
        };
        let keys = Keys::kept([first], kept.clone());
        assert!(matches!(keys.remove("windlass").await, Err(KeyError::Last)));
        let made = keys.create("alice", 7).await.unwrap();
        assert_eq!((made.id.len(), made.secret.len()), (20, 40));
        assert!(keys.find(&made.id).is_some());
        for taken in ["alice", "windlass"] {
            let refused = keys.create(taken, 7).await;
            assert!(matches!(refused, Err(KeyError::NameTaken(_))), "{taken}");
        }
        let reserved = keys.create("owner", 7).await;
        assert!(matches!(reserved, Err(KeyError::NameReserved(_))));
        keys.add(imported("bob", "AKIABOBBOBBOBBOBBOB0"))
            .await
            .unwrap();
        let again = keys.add(imported("carol", "AKIABOBBOBBOBBOBBOB0")).await;
        assert!(matches!(again, Err(KeyError::IdTaken { .. })));
        // Temporary keys are imported again and again.
        keys.add(imported("bob", "ASIABOBBOBBOBBOBBOB1"))
            .await
            .unwrap();
        assert!(keys.find("AKIABOBBOBBOBBOBBOB0").is_none());
        keys.remove("windlass").await.unwrap();
        keys.remove(&made.id).await.unwrap();
        assert_eq!(*kept.names.lock().unwrap(), ["bob"]);
        assert!(matches!(keys.remove("bob").await, Err(KeyError::Last)));
        assert!(matches!(
            keys.remove("alice").await,
            Err(KeyError::NotFound(_))
        ));
        *kept.is_broken.lock().unwrap() = true;
        assert!(matches!(
            keys.create("dan", 7).await,
            Err(KeyError::NotKept(_))
        ));
        assert_eq!(names(&keys), ["bob"]);
    }

    #[tokio::test]
    async fn what_becomes_part_of_an_arn_or_a_header_is_checked() {
        let keys = Keys::new([]);
        for name in ["", "a b", "a/b", "a\n", "é", &"a".repeat(65)] {
            let refused = keys.create(name, 0).await;
            assert!(matches!(refused, Err(KeyError::BadName(_))), "{name:?}");
        }
        for id in ["AKIA", "AKIA/EXAMPLE/EXAMPLE", &"A".repeat(129)] {
            let refused = keys.add(imported("bob", id)).await;
            assert!(matches!(refused, Err(KeyError::BadId)), "{id:?}");
        }
        for secret in ["", "a b", "a\r\n"] {
            let mut key = imported("bob", "AKIABOBBOBBOBBOBBOB0");
            key.secret = secret.into();
            assert!(
                matches!(keys.add(key).await, Err(KeyError::BadSecret)),
                "{secret:?}"
            );
        }
        assert!(keys.list().is_empty());
    }
}
