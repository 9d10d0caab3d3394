//! `DATA/keys.json`: the access keys beside the first one, which `credentials.json` holds for
//! `windlass env`. Its owner alone may read it: secrets of keys are needed to check signatures, so
//! they cannot be kept as digests.

use crate::installation::{self, Credentials, read_json, write_json};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use windlass_api::{AccessKey, Keeper, Keys};

/// Whose key `credentials.json` is: the data folder's owner.
const OWNER: &str = "windlass";

#[derive(Default, Serialize, Deserialize)]
struct KeyFile {
    keys: Vec<Kept>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    name: String,
    access_key_id: String,
    secret_access_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_at_ms: Option<i64>,
    #[serde(default)]
    imported: bool,
}

/// All keys of the data folder, and changes of them kept there.
pub(crate) fn open(data: &Path, owner: Credentials) -> Result<Keys> {
    let path = data.join("keys.json");
    let others: KeyFile = read_json(&path)?.unwrap_or_default();
    if path.exists() {
        // Repaired at every start: a copied folder may have lost it.
        installation::make_private(&path)?;
    }
    let owner = AccessKey {
        id: owner.access_key_id,
        secret: owner.secret_access_key,
        session_token: None,
        user: String::from(OWNER),
        created_ms: None,
        imported: false,
    };
    let others = others.keys.into_iter().map(|kept| AccessKey {
        id: kept.access_key_id,
        secret: kept.secret_access_key,
        session_token: kept.session_token,
        user: kept.name,
        created_ms: kept.created_at_ms,
        imported: kept.imported,
    });
    let keeper = InFolder {
        data: data.to_owned(),
    };
    Ok(Keys::kept(
        std::iter::once(owner).chain(others),
        Arc::new(keeper),
    ))
}

struct InFolder {
    data: PathBuf,
}

impl Keeper for InFolder {
    fn keep(&self, keys: &[Arc<AccessKey>]) -> io::Result<()> {
        let others = keys.iter().filter(|key| key.user != OWNER);
        let file = KeyFile {
            keys: others.map(|key| kept(key)).collect(),
        };
        let written = write_json(&self.data.join("keys.json"), &file, 0o600);
        written.map_err(|err| io::Error::other(format!("{err:#}")))?;
        if keys.iter().any(|key| key.user == OWNER) {
            return Ok(());
        }
        // The next start makes another: who owns the folder is never locked out.
        match std::fs::remove_file(self.data.join("credentials.json")) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
            _ => Ok(()),
        }
    }

    fn reserves(&self, user: &str) -> bool {
        user == OWNER
    }
}

fn kept(key: &AccessKey) -> Kept {
    Kept {
        name: key.user.clone(),
        access_key_id: key.id.clone(),
        secret_access_key: key.secret.clone(),
        session_token: key.session_token.clone(),
        created_at_ms: key.created_ms,
        imported: key.imported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn key(name: &str) -> Arc<AccessKey> {
        Arc::new(AccessKey {
            id: format!("AKIA{name:A>16}"),
            secret: "secret".into(),
            session_token: Some("token".into()),
            user: name.into(),
            created_ms: Some(7),
            imported: true,
        })
    }

    #[test]
    fn keys_are_found_again_and_their_file_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        std::fs::write(data.join("credentials.json"), "{}").unwrap();
        let keeper = InFolder {
            data: data.to_owned(),
        };
        keeper.keep(&[key(OWNER), key("ALICE")]).unwrap();
        assert!(data.join("credentials.json").exists());
        let path = data.join("keys.json");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let owner = || Credentials {
            access_key_id: "AKIAOWNEROWNEROWNER0".into(),
            secret_access_key: "s".into(),
        };
        let keys = open(data, owner()).unwrap();
        assert_eq!(format!("{keys:?}"), "2 access keys");
        assert_eq!(mode(), 0o600);
        let read: KeyFile = read_json(&path).unwrap().unwrap();
        assert_eq!(read.keys[0].session_token.as_deref(), Some("token"));
        assert_eq!((read.keys.len(), read.keys[0].name.as_str()), (1, "ALICE"));
        keeper.keep(&[key("ALICE")]).unwrap();
        assert!(!data.join("credentials.json").exists());
    }
}
