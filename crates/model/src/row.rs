//! Rows: what is durable. A change is a row put or removed; recovery loads rows and applies them.
//!
//! A key is one kind byte and the parts that order it. Values are CBOR with numbered fields.
//! Nothing derivable is a row.

use crate::cluster::Cluster;
use crate::definition::{DefinitionKey, DefinitionState, TaskDefinition};
use crate::id::{InstanceId, Millis, Name, NodeId, TaskId};
use crate::instance::{Instance, Node};
use crate::task::{TaskSpec, TaskState};
use minicbor::{Decode, Encode};
use std::sync::Arc;

/// One durable fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    Cluster(Arc<Cluster>),
    Definition(Arc<TaskDefinition>),
    DefinitionState(Arc<DefinitionState>),
    /// The last revision given in a family: numbers are never used again.
    Family(Family),
    Node(Arc<Node>),
    Instance(Arc<Instance>),
    TaskSpec(Arc<TaskSpec>),
    TaskState(Arc<TaskState>),
    ClientToken(Arc<ClientToken>),
}

/// What names a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Cluster(Name),
    Definition(DefinitionKey),
    DefinitionState(DefinitionKey),
    Family(Name),
    Node(NodeId),
    Instance(InstanceId),
    TaskSpec(TaskId),
    TaskState(TaskId),
    ClientToken(String),
}

/// A row put, or the row of a key removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Put(Row),
    Remove(Key),
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Family {
    #[n(0)]
    pub name: Name,
    #[n(1)]
    pub last_revision: u32,
}

/// A RunTask's client token, its request's fingerprint and what it started.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ClientToken {
    /// The caller's ARN, a slash, the token.
    #[n(0)]
    pub token: String,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub fingerprint: [u8; 32],
    #[n(2)]
    pub tasks: Vec<TaskId>,
    #[n(3)]
    pub created_at: Millis,
    #[n(4)]
    pub cluster: Name,
}

/// Bytes that are no row of this release.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    #[error("row kind {0} is unknown: the data was written by a newer release")]
    UnknownKind(u8),
    #[error("a row of kind {kind} does not decode")]
    Undecodable {
        kind: u8,
        #[source]
        err: minicbor::decode::Error,
    },
    #[error("a row without a key")]
    Empty,
}

macro_rules! kinds {
    ($($variant:ident = $byte:literal),+ $(,)?) => {
        impl Key {
            fn kind(&self) -> u8 {
                match self { $(Key::$variant(..) => $byte),+ }
            }
        }
    };
}

kinds! {
    Cluster = b'c',
    Definition = b'd',
    DefinitionState = b'e',
    Family = b'f',
    Node = b'n',
    Instance = b'i',
    TaskSpec = b't',
    TaskState = b'u',
    ClientToken = b'k',
}

impl Key {
    /// Sorts as its parts do: a family's revisions by number.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind()];
        match self {
            Key::Cluster(name) | Key::Family(name) => bytes.extend(name.as_str().as_bytes()),
            Key::Definition(key) | Key::DefinitionState(key) => {
                bytes.extend(key.family.as_str().as_bytes());
                bytes.push(0);
                bytes.extend(key.revision.to_be_bytes());
            }
            Key::Node(id) => bytes.extend(id.0.to_be_bytes()),
            Key::Instance(id) => bytes.extend(id.0.to_be_bytes()),
            Key::TaskSpec(id) | Key::TaskState(id) => bytes.extend(id.0.to_be_bytes()),
            Key::ClientToken(token) => bytes.extend(token.as_bytes()),
        }
        bytes
    }
}

impl Row {
    pub fn key(&self) -> Key {
        match self {
            Row::Cluster(row) => Key::Cluster(row.name.clone()),
            Row::Definition(row) => Key::Definition(row.key.clone()),
            Row::DefinitionState(row) => Key::DefinitionState(row.key.clone()),
            Row::Family(row) => Key::Family(row.name.clone()),
            Row::Node(row) => Key::Node(row.id),
            Row::Instance(row) => Key::Instance(row.id),
            Row::TaskSpec(row) => Key::TaskSpec(row.id),
            Row::TaskState(row) => Key::TaskState(row.id),
            Row::ClientToken(row) => Key::ClientToken(row.token.clone()),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        match self {
            Row::Cluster(row) => bytes(row.as_ref()),
            Row::Definition(row) => bytes(row.as_ref()),
            Row::DefinitionState(row) => bytes(row.as_ref()),
            Row::Family(row) => bytes(row),
            Row::Node(row) => bytes(row.as_ref()),
            Row::Instance(row) => bytes(row.as_ref()),
            Row::TaskSpec(row) => bytes(row.as_ref()),
            Row::TaskState(row) => bytes(row.as_ref()),
            Row::ClientToken(row) => bytes(row.as_ref()),
        }
    }

    /// From a stored key and value. The value alone says what the row is; the key gives its kind.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Row, RowError> {
        let kind = *key.first().ok_or(RowError::Empty)?;
        let row = match kind {
            b'c' => minicbor::decode(value).map(|row| Row::Cluster(Arc::new(row))),
            b'd' => minicbor::decode(value).map(|row| Row::Definition(Arc::new(row))),
            b'e' => minicbor::decode(value).map(|row| Row::DefinitionState(Arc::new(row))),
            b'f' => minicbor::decode(value).map(Row::Family),
            b'n' => minicbor::decode(value).map(|row| Row::Node(Arc::new(row))),
            b'i' => minicbor::decode(value).map(|row| Row::Instance(Arc::new(row))),
            b't' => minicbor::decode(value).map(|row| Row::TaskSpec(Arc::new(row))),
            b'u' => minicbor::decode(value).map(|row| Row::TaskState(Arc::new(row))),
            b'k' => minicbor::decode(value).map(|row| Row::ClientToken(Arc::new(row))),
            other => return Err(RowError::UnknownKind(other)),
        };
        row.map_err(|err| RowError::Undecodable { kind, err })
    }
}

fn bytes<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("writing to memory cannot fail, and no row's encoder does")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_what_they_write() {
        let row = Row::Family(Family {
            name: Name::new("web").unwrap(),
            last_revision: 7,
        });
        let read = Row::decode(&row.key().encode(), &row.encode()).unwrap();
        assert_eq!(read, row);
        assert!(matches!(
            Row::decode(b"?", b""),
            Err(RowError::UnknownKind(b'?'))
        ));
        assert!(matches!(
            Row::decode(b"f", b"\xff"),
            Err(RowError::Undecodable { .. })
        ));
    }

    #[test]
    fn revisions_sort_by_number() {
        let key = |revision| {
            Key::Definition(DefinitionKey {
                family: Name::new("web").unwrap(),
                revision,
            })
            .encode()
        };
        assert!(key(9) < key(10) && key(255) < key(256));
    }
}
