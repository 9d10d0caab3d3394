//! What the agent needs of a network. [`Network`] is the real one, [`FakeNetwork`](crate::FakeNetwork)
//! the one for tests of the agent; the caller chooses by what it constructs.

use std::net::Ipv4Addr;

use futures_util::future::BoxFuture;

use crate::error::Result;
use crate::network::{Attached, NamespaceHandle, Network};
use crate::ports::PortMapping;
use crate::resolv::ResolvConf;

/// The operations on sandboxes' networks; each is described at [`Network`].
pub trait Driver: Send + Sync + 'static {
    /// Makes a namespace with an interface.
    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(NamespaceHandle, Attached)>>;

    /// Publishes ports, all or none, and answers them with the host ports given.
    fn publish<'a>(
        &'a self,
        mappings: &'a [PortMapping],
    ) -> BoxFuture<'a, Result<Vec<PortMapping>>>;

    /// Ends the publishing of ports.
    fn unpublish<'a>(&'a self, mappings: &'a [PortMapping]) -> BoxFuture<'a, Result<()>>;

    /// Ends a namespace's network, whatever there is of it.
    fn release<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>>;

    /// What containers are told of name servers.
    fn resolv_conf(&self) -> BoxFuture<'_, Result<ResolvConf>>;

    /// How many namespaces can have an interface at once.
    fn capacity(&self) -> u64;

    /// Address of the first bridge.
    fn gateway(&self) -> Ipv4Addr;
}

impl Driver for Network {
    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(NamespaceHandle, Attached)>> {
        Box::pin(self.create(name))
    }

    fn publish<'a>(
        &'a self,
        mappings: &'a [PortMapping],
    ) -> BoxFuture<'a, Result<Vec<PortMapping>>> {
        Box::pin(self.publish(mappings))
    }

    fn unpublish<'a>(&'a self, mappings: &'a [PortMapping]) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.unpublish(mappings))
    }

    fn release<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.release(name))
    }

    fn resolv_conf(&self) -> BoxFuture<'_, Result<ResolvConf>> {
        Box::pin(self.resolv_conf())
    }

    fn capacity(&self) -> u64 {
        self.capacity()
    }

    fn gateway(&self) -> Ipv4Addr {
        self.gateway()
    }
}
