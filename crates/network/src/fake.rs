//! A network that only keeps books, for tests of the agent: no privilege, no kernel, no socket.
//!
//! It refuses what the real one refuses (taken ports and addresses, unknown namespaces), gives the
//! same addresses, and can be told to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, ready};

use crate::addresses::Addresses;
use crate::driver::Driver;
use crate::error::{Error, Result};
use crate::network::{Attached, NamespaceHandle};
use crate::options::Subnet;
use crate::ports::{PortKey, PortMapping};
use crate::resolv::ResolvConf;

const FIRST_DYNAMIC_PORT: u16 = 49_153;

/// A network in memory.
#[derive(Debug)]
pub struct FakeNetwork {
    subnet: Subnet,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    addresses: Addresses,
    namespaces: BTreeMap<String, Attached>,
    ports: BTreeMap<PortKey, PortMapping>,
    busy: BTreeSet<u16>,
    failure: Option<Error>,
    next_port: u16,
}

impl FakeNetwork {
    /// An empty network with these addresses.
    pub fn new(subnet: Subnet) -> Self {
        Self {
            subnet,
            books: Mutex::new(Books {
                addresses: Addresses::new(subnet),
                namespaces: BTreeMap::new(),
                ports: BTreeMap::new(),
                busy: BTreeSet::new(),
                failure: None,
                next_port: FIRST_DYNAMIC_PORT,
            }),
        }
    }

    /// Lets the next operation fail.
    pub fn fail_next(&self, error: Error) {
        self.books().failure = Some(error);
    }

    /// Pretends that a program of the host has this port.
    pub fn occupy_port(&self, port: u16) {
        self.books().busy.insert(port);
    }

    /// The namespaces that were not released, with their interfaces.
    pub fn namespaces(&self) -> BTreeMap<String, Attached> {
        self.books().namespaces.clone()
    }

    /// The ports that are published.
    pub fn published(&self) -> Vec<PortMapping> {
        self.books().ports.values().copied().collect()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an operation unless the test asked for a failure.
    fn act<'a, T: Send + 'a>(
        &self,
        act: impl FnOnce(&mut Books) -> Result<T>,
    ) -> BoxFuture<'a, Result<T>> {
        let mut books = self.books();
        let result = match books.failure.take() {
            Some(error) => Err(error),
            None => act(&mut books),
        };
        Box::pin(ready(result))
    }
}

impl Books {
    fn attach(&mut self, subnet: Subnet) -> Result<Attached> {
        let address = self.addresses.take()?;
        let [a, b, c, d] = address.octets();
        let part = subnet.part(subnet.part_of(address));
        Ok(Attached {
            host_interface: format!("wlfake-{:x}", address.to_bits() & 0xffff),
            interface: "eth0".into(),
            mac: [0x02, 0x57, a, b, c, d],
            address,
            prefix: part.prefix(),
            gateway: part.gateway(),
        })
    }

    fn publish(&mut self, mappings: &[PortMapping]) -> Result<Vec<PortMapping>> {
        let before = self.ports.clone();
        let given: Result<Vec<_>> = mappings
            .iter()
            .map(|mapping| self.publish_one(*mapping))
            .collect();
        if given.is_err() {
            self.ports = before;
        }
        given
    }

    fn publish_one(&mut self, mut mapping: PortMapping) -> Result<PortMapping> {
        if !self.addresses.is_taken(*mapping.target.ip()) {
            return Err(Error::Target(mapping.target));
        }
        if mapping.host_port == 0 {
            while self.is_busy(PortKey {
                port: self.next_port,
                ..mapping.key()
            }) {
                self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_DYNAMIC_PORT);
            }
            mapping.host_port = self.next_port;
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_DYNAMIC_PORT);
        }
        let key = mapping.key();
        if self.is_busy(key) {
            return Err(Error::PortInUse {
                port: key.port,
                protocol: key.protocol,
                source: None,
            });
        }
        self.ports.insert(key, mapping);
        Ok(mapping)
    }

    fn is_busy(&self, key: PortKey) -> bool {
        let same = |other: &PortKey| {
            let everywhere = other.address.is_none() || key.address.is_none();
            other.protocol == key.protocol
                && other.port == key.port
                && (everywhere || other.address == key.address)
        };
        self.busy.contains(&key.port) || self.ports.keys().any(same)
    }
}

impl Driver for FakeNetwork {
    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(NamespaceHandle, Attached)>> {
        self.act(|books| {
            if books.namespaces.contains_key(name) {
                return Err(Error::NamespaceExists(name.to_owned()));
            }
            let attached = books.attach(self.subnet)?;
            books.namespaces.insert(name.to_owned(), attached.clone());
            let path = PathBuf::from("/run/fake/netns").join(name);
            let handle = NamespaceHandle {
                name: name.to_owned(),
                path,
            };
            Ok((handle, attached))
        })
    }

    fn publish<'a>(
        &'a self,
        mappings: &'a [PortMapping],
    ) -> BoxFuture<'a, Result<Vec<PortMapping>>> {
        self.act(|books| books.publish(mappings))
    }

    fn unpublish<'a>(&'a self, mappings: &'a [PortMapping]) -> BoxFuture<'a, Result<()>> {
        self.act(|books| {
            for mapping in mappings {
                let key = mapping.key();
                books.ports.remove(&key).ok_or(Error::NotPublished {
                    port: key.port,
                    protocol: key.protocol,
                })?;
            }
            Ok(())
        })
    }

    fn release<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        self.act(|books| {
            if let Some(attached) = books.namespaces.remove(name) {
                books
                    .ports
                    .retain(|_, mapping| *mapping.target.ip() != attached.address);
                books.addresses.release(attached.address);
                books.addresses.clear(attached.address);
            }
            Ok(())
        })
    }

    fn resolv_conf(&self) -> BoxFuture<'_, Result<ResolvConf>> {
        self.act(|_| {
            let nameservers = vec![self.subnet.gateway().into()];
            Ok(ResolvConf {
                nameservers,
                ..ResolvConf::default()
            })
        })
    }

    fn capacity(&self) -> u64 {
        self.subnet.capacity()
    }

    fn gateway(&self) -> Ipv4Addr {
        self.subnet.gateway()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use super::*;
    use crate::ports::Protocol;

    #[tokio::test]
    async fn refuses_what_the_real_one_refuses() {
        let network = FakeNetwork::new("10.9.0.0/28".parse().expect("valid"));
        let (_, attached) = network.create("a").await.expect("new");
        assert!(matches!(
            network.create("a").await,
            Err(Error::NamespaceExists(_))
        ));
        let to = |host_port| PortMapping {
            protocol: Protocol::Tcp,
            host_address: None,
            host_port,
            target: SocketAddrV4::new(attached.address, 80),
        };
        network.occupy_port(81);
        assert!(matches!(
            network.publish(&[to(80), to(81)]).await,
            Err(Error::PortInUse { port: 81, .. })
        ));
        assert!(network.published().is_empty(), "all or none");
        let given = network.publish(&[to(80), to(0)]).await.expect("free");
        assert_eq!(given[1].host_port, FIRST_DYNAMIC_PORT);
        network.fail_next(Error::ShutDown);
        assert!(network.release("a").await.is_err());
        network.release("a").await.expect("releases");
        assert!(network.namespaces().is_empty() && network.published().is_empty());
    }
}
