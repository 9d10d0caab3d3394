//! `windlass restore`: a new store from a backup, in a data folder that has none.
//!
//! The restored state is older than what its machines have seen since. So its leader gets a higher
//! term, which their agents follow; every node counts as gone until it greets; and no task of the
//! backup is started again by a node that does not know it, for it may have ended there since.

use crate::data_folder;
use crate::installation::Installation;
use crate::served::server_of;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use windlass_model::id::Millis;
use windlass_model::instance::Node;
use windlass_model::row::Row;
use windlass_model::status::TaskStatus;
use windlass_model::task::TaskState;

pub(crate) fn run(file: &Path, data: &Path) -> Result<()> {
    let mut source: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let opened = File::open(file).with_context(|| format!("reading {}", file.display()))?;
        Box::new(BufReader::new(opened))
    };
    data_folder::prepare(data)?;
    if let Some(server) = server_of(data)? {
        let process = server.pid.map_or(String::from("a process"), |pid| {
            format!("process {pid} ({})", server.name)
        });
        bail!(
            "{} is served by {process}: stop it first, with `windlass down`",
            data.display()
        );
    }
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let store = data.join("store");
    let mut mend = |key: &[u8], value: Vec<u8>| match Row::decode(key, &value) {
        Ok(row) => Ok(mended(row, now).map_or(value, |row| row.encode())),
        Err(err) => Err(windlass_store::Error::Backup {
            what: err.to_string(),
        }),
    };
    // Before the store is in its place: under the old term its messages would be refused.
    let mut settle = |label: &[u8]| {
        let settled = Installation::of_label(label)
            .and_then(|of_backup| identify(data, of_backup, since.as_secs()));
        settled.map_err(|err| windlass_store::Error::Backup {
            what: format!("{err:#}"),
        })
    };
    let options = Default::default();
    let restored =
        windlass_store::backup::restore(&mut source, &store, options, &mut mend, &mut settle);
    if restored.is_err() {
        // Only when it is empty: then it was made here.
        let _ = std::fs::remove_dir(&store);
    }
    let restored = restored?;
    eprintln!(
        "restored {} rows and {} history records into {}",
        restored.rows,
        restored.records,
        store.display()
    );
    eprintln!("next: windlass up --data {}", data.display());
    Ok(())
}

/// The row as it is to be known from now on, where that differs.
fn mended(row: Row, now: Millis) -> Option<Row> {
    match row {
        Row::Node(node) if node.connected => Some(Row::Node(Arc::new(Node {
            connected: false,
            ..Node::clone(&node)
        }))),
        Row::TaskState(task) if task.last != TaskStatus::Stopped => {
            Some(Row::TaskState(Arc::new(TaskState {
                restored_at: Some(now),
                ..TaskState::clone(&task)
            })))
        }
        _ => None,
    }
}

/// The folder's own identity stays; one that has none gets the backup's. Terms only grow, from one
/// restore to the next too, whichever backup and folder they use: hence the time.
fn identify(data: &Path, of_backup: Option<Installation>, seconds: u64) -> Result<()> {
    let own = Installation::find(data)?;
    let terms = [&own, &of_backup]
        .into_iter()
        .flatten()
        .map(|known| known.term);
    let term = terms.max().map_or(1, |term| term + 1).max(seconds);
    let known = match (own, of_backup) {
        (Some(own), Some(backup)) if own.scope() != backup.scope() => {
            eprintln!(
                "warning: the backup is of account {} in {}, and {} keeps its own: {} in {}",
                backup.account_id,
                backup.region,
                data.display(),
                own.account_id,
                own.region
            );
            own
        }
        (Some(own), _) => own,
        (None, Some(backup)) if windlass_network::is_open(&backup.run_dir().join("network")) => {
            eprintln!(
                "installation {} is served on this machine: what is restored gets another id, and \
                 this machine is a new node in it",
                backup.id
            );
            backup.beside()
        }
        (None, Some(backup)) => backup,
        // Of the first version: the next `up` makes an identity.
        (None, None) => return Ok(()),
    };
    let known = Installation {
        served: true,
        term,
        ..known
    };
    known.write(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::installation::Wanted;

    fn made(data: &Path, account_id: &str) -> Installation {
        let wanted = Wanted {
            account_id: Some(account_id),
            region: None,
            reader: None,
        };
        Installation::open(data, &wanted).unwrap()
    }

    fn found(data: &Path) -> Installation {
        Installation::find(data).unwrap().unwrap()
    }

    #[test]
    fn a_new_folder_gets_the_backups_names_and_a_higher_term() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let label = made(old.path(), "111122223333").label().unwrap();
        let of_backup = || Installation::of_label(&label).unwrap();
        identify(new.path(), of_backup(), 100).unwrap();
        let first = found(new.path());
        let backup = of_backup().unwrap();
        assert_eq!((&first.id, &first.node_id), (&backup.id, &backup.node_id));
        assert_eq!(first.account_id, "111122223333");
        assert_eq!((first.term, first.served), (100, true));
        // From the same old backup again, and with a clock that was set back.
        identify(new.path(), of_backup(), 50).unwrap();
        assert_eq!(found(new.path()).term, 101);
    }

    #[test]
    fn a_folder_that_has_an_identity_keeps_it() {
        let (old, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let label = made(old.path(), "111122223333").label().unwrap();
        let before = made(own.path(), "444455556666");
        identify(own.path(), Installation::of_label(&label).unwrap(), 7).unwrap();
        let after = found(own.path());
        assert_eq!(
            (&after.id, &after.account_id),
            (&before.id, &before.account_id)
        );
        assert_eq!(after.term, 7);
        // A backup of the first version names nobody.
        identify(own.path(), Installation::of_label(&[]).unwrap(), 3).unwrap();
        assert_eq!(found(own.path()).term, 8);
    }
}
