//! What a data folder holds beside the store: who this installation is, and its keys. Made at the
//! first start, and fixed by the first that served.
//!
//! ```text
//! DATA/installation.json   id, account, region, node: readable by all
//! DATA/credentials.json    the access key: readable by its owner, and by the user behind sudo
//! DATA/keys.json          further access keys: its owner alone; see [`crate::keys`]
//! DATA/registries.json     passwords for registries: root's alone
//! DATA/page.key            authenticates page tokens: its owner alone
//! DATA/endpoint            where the API serves, and the pid that does: of interest while
//!                          DATA/store/lock is held
//! DATA/store, DATA/images, DATA/logs, DATA/tasks, DATA/volumes: root's alone
//! ```
//!
//! The folder's own mode: see [`crate::data_folder`].

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use windlass_model::arn::Scope;
use windlass_model::id::NodeId;
use windlass_model::pull::PullBehavior;

/// Letters and digits in an installation's short id, which every host-wide name carries.
const ID_LENGTH: usize = 6;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Installation {
    pub(crate) id: String,
    pub(crate) account_id: String,
    pub(crate) region: String,
    /// 32 hexadecimal digits.
    pub(crate) node_id: String,
    /// The address range of tasks, once one was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subnet: Option<String>,
    /// Where the API serves when nothing else is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where tasks' ports are published when nothing else is said; on all addresses without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) publish_address: Option<Ipv4Addr>,
    /// When tasks' images are asked for, where a start chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pull: Option<String>,
    /// Whether a start got as far as serving. Until then account and region may still be chosen.
    #[serde(default = "always")]
    pub(crate) served: bool,
    /// The leader's term: a restore raises it.
    #[serde(default = "first_term")]
    pub(crate) term: u64,
}

/// Before it was kept, only what served was of interest.
fn always() -> bool {
    true
}

fn first_term() -> u64 {
    1
}

/// The key pair that `windlass env` prints. No `Debug`: the secret is not shown by accident.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

/// Who is served where: read by the other commands, and by a second `up`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) pid: u32,
}

/// What `up` may fix at the first start.
pub(crate) struct Wanted<'a> {
    pub(crate) account_id: Option<&'a str>,
    pub(crate) region: Option<&'a str>,
    /// The user behind sudo, who may read the credentials too.
    pub(crate) reader: Option<(u32, u32)>,
}

/// What a start used, and later ones do when nothing else is said.
pub(crate) struct Used<'a> {
    pub(crate) subnet: &'a str,
    pub(crate) listen: SocketAddr,
    /// When it was chosen.
    pub(crate) publish_address: Option<Ipv4Addr>,
    /// When it was chosen.
    pub(crate) pull: Option<PullBehavior>,
}

/// The account that ARNs show when none was chosen.
const ACCOUNT_ID: &str = "000000000000";
const REGION: &str = "us-east-1";

impl Installation {
    /// Reads the folder's identity, or makes one.
    pub(crate) fn open(data: &Path, wanted: &Wanted<'_>) -> Result<Installation> {
        let path = data.join("installation.json");
        let known = read_json::<Installation>(&path)?;
        if let Some(known) = known.as_ref().filter(|known| known.served) {
            known.check(data, wanted)?;
            return Ok(known.clone());
        }
        let account_id = wanted.account_id.unwrap_or(ACCOUNT_ID);
        if !is_account(account_id) {
            bail!("--account-id {account_id}: an account id has 12 digits");
        }
        let region = wanted.region.unwrap_or(REGION);
        if !is_region(region) {
            bail!("--region {region}: a region looks like us-east-1");
        }
        // What an earlier start left on this machine carries the id of that start.
        let (id, node_id) = known.map_or_else(
            || (random_id(), NodeId(rand::random()).to_string()),
            |known| (known.id, known.node_id),
        );
        let made = Installation {
            id,
            account_id: account_id.to_owned(),
            region: region.to_owned(),
            node_id,
            subnet: None,
            listen: None,
            publish_address: None,
            pull: None,
            served: false,
            term: first_term(),
        };
        write_json(&path, &made, 0o644)?;
        Ok(made)
    }

    /// Reads the identity of a folder that has one.
    pub(crate) fn find(data: &Path) -> Result<Option<Installation>> {
        let path = data.join("installation.json");
        let known: Option<Installation> = read_json(&path)?;
        if let Some(known) = &known {
            let checked = known.check_names();
            checked.with_context(|| format!("{} is damaged", path.display()))?;
        }
        Ok(known)
    }

    /// It serves: the next start uses the same identity and addresses.
    pub(crate) fn remember(&mut self, data: &Path, used: &Used<'_>) -> Result<()> {
        let before = (self.served, self.subnet.clone(), self.listen);
        let chosen = (self.publish_address, self.pull.clone());
        self.served = true;
        self.subnet = Some(used.subnet.to_owned());
        self.listen = Some(used.listen);
        self.publish_address = used.publish_address.or(self.publish_address);
        let pull = used.pull.map(|pull| pull.to_string());
        self.pull = pull.or_else(|| self.pull.clone());
        let after = (self.served, self.subnet.clone(), self.listen);
        match before == after && chosen == (self.publish_address, self.pull.clone()) {
            true => Ok(()),
            false => self.write(data),
        }
    }

    /// The chosen pull behavior.
    pub(crate) fn pull(&self) -> Option<PullBehavior> {
        self.pull.as_ref().and_then(|name| name.parse().ok())
    }

    pub(crate) fn write(&self, data: &Path) -> Result<()> {
        write_json(&data.join("installation.json"), self, 0o644)
    }

    /// Another installation of the same account and region, on a machine that has this one already.
    pub(crate) fn beside(&self) -> Installation {
        Installation {
            id: random_id(),
            node_id: NodeId(rand::random()).to_string(),
            subnet: None,
            listen: None,
            publish_address: None,
            ..self.clone()
        }
    }

    /// As a backup carries it.
    pub(crate) fn label(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }

    /// From a backup; one of the first version has none.
    pub(crate) fn of_label(label: &[u8]) -> Result<Option<Installation>> {
        if label.is_empty() {
            return Ok(None);
        }
        let known: Installation =
            serde_json::from_slice(label).context("reading whose backup it is")?;
        known.check_names().context("reading whose backup it is")?;
        Ok(Some(known))
    }

    /// What becomes part of paths and names must be what [`Installation::open`] would make.
    fn check_names(&self) -> Result<()> {
        self.id.parse::<windlass_network::Installation>()?;
        self.node_id.parse::<NodeId>().map_err(|_| {
            anyhow::anyhow!("node id {:?} is not 32 hexadecimal digits", self.node_id)
        })?;
        if !is_account(&self.account_id) {
            bail!("account id {:?} is not 12 digits", self.account_id);
        }
        if !is_region(&self.region) {
            bail!("{:?} is not the name of a region", self.region);
        }
        Ok(())
    }

    fn check(&self, data: &Path, wanted: &Wanted<'_>) -> Result<()> {
        let fixed = |flag: &str, was: &str, wanted: Option<&str>| match wanted {
            Some(wanted) if wanted != was => bail!(
                "{flag} {wanted}: {} has {was} since its first start, and what runs there is named \
                 by it; leave the flag out, or use another --data",
                data.display()
            ),
            _ => Ok(()),
        };
        fixed("--account-id", &self.account_id, wanted.account_id)?;
        fixed("--region", &self.region, wanted.region)
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope {
            region: self.region.clone(),
            account: self.account_id.clone(),
        }
    }

    /// Everything that a reboot ends lies here, on tmpfs.
    pub(crate) fn run_dir(&self) -> PathBuf {
        PathBuf::from(format!("/run/windlass-{}", self.id))
    }

    pub(crate) fn cgroup(&self) -> String {
        format!("/windlass-{}", self.id)
    }
}

impl Credentials {
    pub(crate) fn open(data: &Path, wanted: &Wanted<'_>) -> Result<Credentials> {
        let path = data.join("credentials.json");
        let credentials = match read_json(&path)? {
            Some(known) => known,
            None => {
                let made = Credentials {
                    access_key_id: format!("AKIA{}", random_text(16, UPPER)),
                    secret_access_key: random_text(40, ALL),
                };
                write_json(&path, &made, 0o600)?;
                made
            }
        };
        // Repaired at every start: a copied folder may have lost them.
        make_private(&path)?;
        if let Some((uid, gid)) = wanted.reader {
            chown(&path, Some(uid), Some(gid))
                .with_context(|| format!("giving {} to the user behind sudo", path.display()))?;
        }
        Ok(credentials)
    }
}

/// For its owner alone.
pub(crate) fn make_private(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("making {} private", path.display()))
}

/// The key of page tokens.
pub(crate) fn page_key(data: &Path) -> Result<[u8; 32]> {
    let path = data.join("page.key");
    match fs::read(&path) {
        Ok(bytes) => bytes
            .try_into()
            .map_err(|_| anyhow::anyhow!("{} has not 32 bytes: remove it", path.display())),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
            let key: [u8; 32] = rand::random();
            write_file(&path, &key, 0o600)?;
            Ok(key)
        }
        Err(err) => Err(err).with_context(|| format!("reading {}", path.display())),
    }
}

impl Endpoint {
    pub(crate) fn write(&self, data: &Path) -> Result<()> {
        write_json(&data.join("endpoint"), self, 0o644)
    }

    pub(crate) fn find(data: &Path) -> Result<Option<Endpoint>> {
        read_json(&data.join("endpoint"))
    }

    pub(crate) fn remove(data: &Path) {
        // Absent is what is wanted.
        let _ = fs::remove_file(data.join("endpoint"));
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_region(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (3..=32).contains(&text.len()) && text.bytes().all(good) && text.contains('-')
}

const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const ALL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";

fn random_id() -> String {
    random_text(ID_LENGTH, LOWER)
}

/// The alphabets have a power of two of letters, so every letter is as likely.
fn random_text(length: usize, alphabet: &[u8]) -> String {
    let bytes: [u8; 64] = rand::random();
    let letters = bytes
        .iter()
        .take(length)
        .map(|b| alphabet[usize::from(*b) % alphabet.len()]);
    letters.map(char::from).collect()
}

pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("{} is damaged: restore it from a copy", path.display())),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err).with_context(|| format!("reading {}", path.display())),
    }
}

pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T, mode: u32) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    write_file(path, &bytes, mode)
}

/// Whole or not at all.
fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let written = (|| {
        // One that a killed process left may have another mode.
        match fs::remove_file(&temporary) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    written.with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Wanted<'static> = Wanted {
        account_id: None,
        region: None,
        reader: None,
    };

    #[test]
    fn an_identity_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = Wanted {
            account_id: Some("111122223333"),
            region: Some("eu-west-1"),
            reader: None,
        };
        let mut made = Installation::open(dir.path(), &wanted).unwrap();
        let listen = "127.0.0.1:7737".parse().unwrap();
        let used = |publish_address, pull| Used {
            subnet: "10.77.0.0/16",
            listen,
            publish_address,
            pull,
        };
        let loopback = Some(Ipv4Addr::LOCALHOST);
        let pull = Some(PullBehavior::PreferCached);
        made.remember(dir.path(), &used(loopback, pull)).unwrap();
        made.remember(dir.path(), &used(None, None)).unwrap();
        let again = Installation::open(dir.path(), &NOTHING).unwrap();
        assert_eq!(again.publish_address, loopback, "it stays as it was chosen");
        assert_eq!(again.pull(), pull, "and so does this");
        assert_eq!((&made.id, &made.node_id), (&again.id, &again.node_id));
        assert_eq!(again.scope().region, "eu-west-1");
        let other = Wanted {
            account_id: Some("999999999999"),
            ..NOTHING
        };
        let refused = Installation::open(dir.path(), &other)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("111122223333"), "{refused}");
        for bad in ["1", "abcdefghijkl", "1234567890123"] {
            let dir = tempfile::tempdir().unwrap();
            let wanted = Wanted {
                account_id: Some(bad),
                ..NOTHING
            };
            assert!(Installation::open(dir.path(), &wanted).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_label_holds_names_and_no_paths() {
        let dir = tempfile::tempdir().unwrap();
        let made = Installation::open(dir.path(), &NOTHING).unwrap();
        let label = String::from_utf8(made.label().unwrap()).unwrap();
        assert!(Installation::of_label(label.as_bytes()).unwrap().is_some());
        for (good, bad) in [
            (made.id.as_str(), "x/../../etc"),
            (made.node_id.as_str(), "../node"),
            (ACCOUNT_ID, "1"),
            (made.region.as_str(), "../eu-west-1"),
        ] {
            let forged = label.replace(&format!("\"{good}\""), &format!("\"{bad}\""));
            assert_ne!(forged, label);
            let refused = Installation::of_label(forged.as_bytes()).map(|_| ());
            assert!(refused.is_err(), "{bad}");
        }
    }

    #[test]
    fn a_start_that_failed_fixes_nothing_but_the_names() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = Wanted {
            account_id: Some("111122223333"),
            ..NOTHING
        };
        let failed = Installation::open(dir.path(), &wanted).unwrap();
        let made = Installation::open(dir.path(), &NOTHING).unwrap();
        assert_eq!((&made.id, &made.node_id), (&failed.id, &failed.node_id));
        assert_eq!((made.account_id.as_str(), made.subnet), (ACCOUNT_ID, None));
    }

    #[test]
    fn a_file_of_the_first_release_is_one_that_served() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"id":"abcdef","accountId":"111122223333","region":"eu-west-1",
            "nodeId":"00000000000000000000000000000001","subnet":"10.78.0.0/16"}"#;
        fs::write(dir.path().join("installation.json"), text).unwrap();
        let known = Installation::open(dir.path(), &NOTHING).unwrap();
        assert_eq!((known.served, known.term), (true, 1));
        assert_eq!(known.account_id, "111122223333");
    }

    #[test]
    fn credentials_are_private_again_after_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let made = Credentials::open(dir.path(), &NOTHING).unwrap();
        assert_eq!(
            (made.access_key_id.len(), made.secret_access_key.len()),
            (20, 40)
        );
        let path = dir.path().join("credentials.json");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let again = Credentials::open(dir.path(), &NOTHING).unwrap();
        assert_eq!(again.secret_access_key, made.secret_access_key);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("installation.json"), b"{").unwrap();
        let err = Installation::open(dir.path(), &NOTHING)
            .unwrap_err()
            .to_string();
        assert!(err.contains("installation.json"), "{err}");
    }
}
