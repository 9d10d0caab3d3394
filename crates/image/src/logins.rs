//! Passwords and tokens for registries, in a file of Docker's form that its owner alone reads.
//!
//! ```json
//! {"auths": {"registry.example:5000": {"auth": "BASE64 of USER:PASSWORD"}}}
//! ```
//!
//! The file is read at each use: who writes it needs no restart. What Docker keeps elsewhere, with
//! `credsStore` and `credHelpers`, is asked of external programs there and of nobody here.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::endpoint::Credentials;
use crate::error::{At, Error, Result};
use crate::reference::registry_host;

/// Bytes of the file.
const BYTES_MAX: u64 = 1 << 20;

/// The logins in one file. Clones share it.
#[derive(Debug, Clone)]
pub struct Logins {
    path: PathBuf,
    /// Held while the file is changed.
    changes: Arc<Mutex<()>>,
}

/// No `Debug`: a password is not shown by accident.
#[derive(Default, Serialize, Deserialize)]
struct Written {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    /// What else Docker keeps there.
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

#[derive(Default, Serialize, Deserialize)]
struct Auth {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

impl Auth {
    fn credentials(&self) -> Option<Credentials> {
        let made = |username: &str, password: &str| Credentials {
            username: username.to_string(),
            password: password.to_string(),
        };
        if let (Some(username), Some(password)) = (&self.username, &self.password) {
            return Some(made(username, password));
        }
        let bytes = STANDARD.decode(self.auth.as_ref()?).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (username, password) = text.split_once(':')?;
        // Docker ends some of them with a zero byte.
        Some(made(username, password.trim_end_matches('\0')))
    }
}

impl Logins {
    /// The logins in this file, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            changes: Arc::default(),
        }
    }

    /// The credentials for a registry's host.
    pub(crate) fn of(&self, host: &str) -> Result<Option<Credentials>> {
        let written = self.read()?;
        let found = written.auths.iter().find(|(key, auth)| {
            key_host(key).as_deref() == Some(host) && auth.credentials().is_some()
        });
        Ok(found.and_then(|(_, auth)| auth.credentials()))
    }

    /// Keeps credentials for a host, in place of those that it had.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn keep(&self, host: &str, credentials: &Credentials) -> Result<()> {
        let pair = format!("{}:{}", credentials.username, credentials.password);
        let auth = Auth {
            auth: Some(STANDARD.encode(pair)),
            ..Auth::default()
        };
        self.change(host, Some(auth)).map(drop)
    }

    /// Forgets a host's; whether there were some.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn forget(&self, host: &str) -> Result<bool> {
        self.change(host, None)
    }

    fn change(&self, host: &str, auth: Option<Auth>) -> Result<bool> {
        let _changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut written = self.read()?;
        let before = written.auths.len();
        written
            .auths
            .retain(|key, _| key_host(key).as_deref() != Some(host));
        let had = written.auths.len() < before;
        let is_same = auth.is_none() && !had;
        written
            .auths
            .extend(auth.map(|auth| (host.to_string(), auth)));
        if !is_same {
            write(&self.path, &written).at("write", &self.path)?;
        }
        Ok(had)
    }

    fn read(&self) -> Result<Written> {
        let file = match fs::File::open(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Written::default()),
            opened => opened.at("open", &self.path)?,
        };
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, BYTES_MAX), &mut bytes)
            .at("read", &self.path)?;
        // Not what the parser says: it may repeat a part of the text.
        serde_json::from_slice(&bytes).map_err(|e| Error::Store {
            doing: "understand",
            path: self.path.clone(),
            source: Arc::new(io::Error::other(format!("line {} is wrong", e.line()))),
        })
    }
}

/// `https://index.docker.io/v1/` is Docker's key for its own registry.
fn key_host(key: &str) -> Option<String> {
    let rest = key.strip_prefix("https://").or(key.strip_prefix("http://"));
    let rest = rest.unwrap_or(key);
    registry_host(rest.split('/').next().unwrap_or(rest)).ok()
}

/// Whole or not at all, and never readable by others.
fn write(path: &Path, written: &Written) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(&serde_json::to_vec_pretty(written)?)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn docker_files_are_read_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registries.json");
        let logins = Logins::new(&path);
        assert!(logins.of("docker.io").unwrap().is_none() && !logins.forget("docker.io").unwrap());
        let text = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "bWU6c2VjcmV0OjE="},
            "Registry.example:5000": {"username": "you", "password": "p"},
            "stored.example": {}}, "credsStore": "pass"}"#;
        fs::write(&path, text).unwrap();
        let docker = logins.of("docker.io").unwrap().unwrap();
        assert_eq!(
            (docker.username.as_str(), docker.password.as_str()),
            ("me", "secret:1")
        );
        assert!(logins.of("stored.example").unwrap().is_none());
        let new = Credentials {
            username: "AWS".into(),
            password: "t:o".into(),
        };
        logins.keep("docker.io", &new).unwrap();
        assert_eq!(logins.of("docker.io").unwrap().unwrap().password, "t:o");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(fs::read_to_string(&path).unwrap().contains("credsStore"));
        assert!(logins.of("registry.example:5000").unwrap().is_some());
        assert!(logins.forget("docker.io").unwrap());
        assert!(logins.of("docker.io").unwrap().is_none());
    }

    #[test]
    fn a_damaged_file_shows_no_password() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registries.json");
        fs::write(&path, r#"{"auths": "secret"}"#).unwrap();
        let error = Logins::new(&path).of("x").map(drop).unwrap_err();
        assert!(!error.detail().contains("secret"), "{}", error.detail());
    }
}
