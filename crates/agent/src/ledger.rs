//! The ledger: what the agent is about to do, written before it does it.
//!
//! One file a task in a folder on tmpfs, replaced whole by write and rename. No fsync: it is for a
//! killed process, not for a reboot, after which nothing runs. It binds a task to its sandbox and
//! holds its assignment (secrets only as references), addresses, ports and newest report.

use crate::limits::{PAGE_BYTES, RECORD_BYTES_MAX, RECORDS_MAX};
use minicbor::{Decode, Encode};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use windlass_model::id::TaskId;
use windlass_model::observation::Observation;
use windlass_model::task::NetworkBinding;
use windlass_network::Attached;
use windlass_node::plan::Scope;
use windlass_node::view::{Part, TaskView};
use windlass_session::{Assignment, Mark};

/// Everything the agent has to know of a task to go on with it after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Record {
    #[n(0)]
    pub assignment: Assignment,
    /// Names the task's kernel objects.
    #[n(1)]
    pub sandbox: String,
    #[n(2)]
    pub view: TaskView,
    #[n(3)]
    pub networks: Vec<NetworkRecord>,
    /// Of the newest report.
    #[n(4)]
    pub sequence: u64,
    #[n(5)]
    pub reported: Option<Observation>,
    /// Of the newest report that is known to be durable.
    #[n(6)]
    pub acknowledged: u64,
    /// The control plane has the task as STOPPED, or knows nothing of it: nobody waits for a
    /// report.
    #[n(7)]
    pub unwanted: bool,
}

/// A network that was made: what is needed to use, show and release it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NetworkRecord {
    /// The container's place in the definition; `None` is the task's own.
    #[n(0)]
    pub container: Option<u32>,
    #[n(1)]
    pub namespace: String,
    /// The file that stands for the namespace.
    #[n(2)]
    pub path: String,
    #[n(3)]
    pub interface: Option<InterfaceRecord>,
    /// What is published, as shown.
    #[n(4)]
    pub bindings: Vec<NetworkBinding>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct InterfaceRecord {
    #[n(0)]
    pub host_name: String,
    #[n(1)]
    pub name: String,
    #[n(2)]
    pub mac: [u8; 6],
    #[n(3)]
    address_bits: u32,
    #[n(4)]
    pub prefix: u8,
    #[n(5)]
    gateway_bits: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing} {path}; the agent writes what it does there before it does it")]
    File {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("encode the ledger's record of task {task}: {why}")]
    Encode { task: TaskId, why: String },
    #[error("the ledger in {folder} holds more than {RECORDS_MAX} tasks")]
    TooMany { folder: PathBuf },
}

/// What a start finds.
#[derive(Debug, Default)]
pub struct Found {
    pub records: Vec<Record>,
    /// Tasks whose record cannot be read: they were started, and must not be again.
    pub lost: Vec<TaskId>,
}

#[derive(Clone, Debug)]
pub struct Ledger {
    folder: PathBuf,
    mark: PathBuf,
}

impl Ledger {
    /// Opens the ledger below `run_dir`, which must lie on a file system that a reboot empties.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(run_dir: &Path) -> Result<Ledger, Error> {
        let folder = run_dir.join("ledger");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|source| file("make", &folder, source))?;
        Ok(Ledger {
            folder,
            mark: run_dir.join("mark"),
        })
    }

    /// Replaces the task's record.
    ///
    /// # Errors
    /// The record could not be written; the old one is still whole.
    pub fn write(&self, record: &Record) -> Result<(), Error> {
        let task = record.assignment.spec.id;
        let bytes = minicbor::to_vec(record).map_err(|error| Error::Encode {
            task,
            why: error.to_string(),
        })?;
        replace(&self.folder.join(task.to_string()), &bytes)
    }

    /// Forgets a task. No error when it is not known.
    ///
    /// # Errors
    /// The file could not be removed.
    pub fn remove(&self, task: TaskId) -> Result<(), Error> {
        let path = self.folder.join(task.to_string());
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(file("remove", &path, source))
            }
            _ => Ok(()),
        }
    }

    /// Every task of the ledger. Drafts of a write that a crash broke off are removed.
    ///
    /// # Errors
    /// The folder cannot be read, or holds more than any node runs.
    pub fn read(&self) -> Result<Found, Error> {
        let mut found = Found::default();
        let entries =
            fs::read_dir(&self.folder).map_err(|source| file("read", &self.folder, source))?;
        for (count, entry) in entries.enumerate() {
            let path = entry
                .map_err(|source| file("read", &self.folder, source))?
                .path();
            if count >= RECORDS_MAX {
                return Err(Error::TooMany {
                    folder: self.folder.clone(),
                });
            }
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let Ok(task) = name.parse::<TaskId>() else {
                // Best effort: a draft does no harm.
                let _ = fs::remove_file(&path);
                continue;
            };
            match read_record(&path, task) {
                Some(record) => found.records.push(record),
                None => found.lost.push(task),
            }
        }
        found
            .records
            .sort_by_key(|record| record.assignment.spec.id);
        Ok(found)
    }

    /// The newest mark that was accepted.
    pub fn mark(&self) -> Mark {
        let bytes = fs::read(&self.mark).unwrap_or_default();
        minicbor::decode(&bytes).unwrap_or_default()
    }

    /// # Errors
    /// The mark could not be written.
    pub fn set_mark(&self, mark: Mark) -> Result<(), Error> {
        let bytes = minicbor::to_vec(mark).unwrap_or_default();
        replace(&self.mark, &bytes)
    }
}

impl Record {
    pub fn network(&self, scope: Scope) -> Option<&NetworkRecord> {
        let container = container_of(scope);
        self.networks
            .iter()
            .find(|network| network.container == container)
    }

    pub fn set_network(&mut self, network: NetworkRecord) {
        self.networks
            .retain(|other| other.container != network.container);
        self.networks.push(network);
        self.networks.sort_by_key(|network| network.container);
    }

    /// Networks that the view does not hold for made are not shown, and not kept.
    pub(crate) fn forget_unmade_networks(&mut self) {
        let view = &self.view;
        let made = |network: &NetworkRecord| {
            let part = match network.container {
                None => Some(view.network),
                Some(at) => view.containers.get(at as usize).map(|c| c.network),
            };
            part.is_some_and(|part| !part.is_clear() && part != Part::Unknown)
        };
        self.networks.retain(made);
    }
}

impl NetworkRecord {
    pub fn new(scope: Scope, namespace: String, path: String) -> NetworkRecord {
        let container = container_of(scope);
        NetworkRecord {
            container,
            namespace,
            path,
            interface: None,
            bindings: Vec::new(),
        }
    }

    pub fn address(&self) -> Option<Ipv4Addr> {
        self.interface.as_ref().map(InterfaceRecord::address)
    }
}

impl InterfaceRecord {
    pub fn new(attached: &Attached) -> InterfaceRecord {
        InterfaceRecord {
            host_name: attached.host_interface.clone(),
            name: attached.interface.clone(),
            mac: attached.mac,
            address_bits: attached.address.to_bits(),
            prefix: attached.prefix,
            gateway_bits: attached.gateway.to_bits(),
        }
    }

    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address_bits)
    }

    pub fn attached(&self) -> Attached {
        Attached {
            host_interface: self.host_name.clone(),
            interface: self.name.clone(),
            mac: self.mac,
            address: self.address(),
            prefix: self.prefix,
            gateway: Ipv4Addr::from_bits(self.gateway_bits),
        }
    }
}

fn container_of(scope: Scope) -> Option<u32> {
    match scope {
        Scope::Task => None,
        Scope::Container(at) => u32::try_from(at).ok(),
    }
}

fn read_record(path: &Path, task: TaskId) -> Option<Record> {
    let whole = fs::metadata(path)
        .ok()
        .filter(|meta| meta.len() <= RECORD_BYTES_MAX)?;
    let bytes = fs::read(path)
        .ok()
        .filter(|bytes| bytes.len() as u64 == whole.len())?;
    let record: Record = minicbor::decode(&bytes).ok()?;
    let definition = &record.assignment.definition.template;
    let consistent = record.assignment.spec.id == task
        && record.view.containers.len() == definition.containers.len();
    consistent.then_some(record)
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let draft = path.with_extension("draft");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(bytes));
    if let Err(source) = written {
        // Best effort: a draft does no harm but to the room there is.
        let _ = fs::remove_file(&draft);
        return match overwrite(path, bytes) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(file("write", path, source)),
        };
    }
    fs::rename(&draft, path).map_err(|source| file("replace", path, source))
}

/// Writes into the page that a file has already, which needs no room: whole or not at all, for a
/// process is not ended within a page. False when there is no such page or it is too small.
fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    if bytes.len() > PAGE_BYTES || file.metadata()?.len() == 0 {
        return Ok(false);
    }
    // What an older, longer record leaves behind is not read.
    file.write_all(bytes)?;
    Ok(true)
}

fn file(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File {
        doing,
        path: path.to_owned(),
        source,
    }
}
