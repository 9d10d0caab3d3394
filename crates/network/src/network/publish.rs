//! Publishing: host ports that lead to ports of tasks.

use super::{Network, finish, forget};
use crate::conntrack::Flow;
use crate::error::{Error, Result, Trying};
use crate::kernel::Kernel;
use crate::ports::{PortKey, PortMapping};

impl Network {
    /// Publishes ports: all of them or none. Host port zero asks for a dynamic one; the answer
    /// holds the ports given, in the order asked, and the host's address that each is open on.
    ///
    /// # Errors
    /// [`Error::PortInUse`], [`Error::NoPort`], [`Error::HostAddress`], [`Error::Target`], or
    /// what the kernel refuses.
    pub async fn publish(&self, mappings: &[PortMapping]) -> Result<Vec<PortMapping>> {
        let (given, refused) = self.reserve(mappings);
        if let Some(error) = refused {
            self.free_ports(given.iter().map(PortMapping::key).collect())
                .await;
            return Err(error);
        }
        let elements: Vec<_> = given
            .iter()
            .map(|mapping| (mapping.key(), mapping.target))
            .collect();
        let keys: Vec<_> = given.iter().map(PortMapping::key).collect();
        let work = move |kernel: &mut Kernel| {
            let added = kernel.firewall.add_ports(&kernel.netfilter, &elements);
            if added.is_err() {
                let _ = kernel
                    .firewall
                    .remove_elements(&kernel.netfilter, None, &keys);
            }
            added
        };
        let added = self.0.kernel.run(work).await;
        let added = added.and_then(|added| added.trying(|| "publish ports".into()));
        if let Err(error) = added {
            self.free_ports(given.iter().map(PortMapping::key).collect())
                .await;
            return Err(error);
        }
        Ok(given)
    }

    /// Ends the publishing of ports, and forgets the connections that came by them. The ports may
    /// be published again when this returns.
    ///
    /// # Errors
    /// [`Error::NotPublished`] or [`Error::Teardown`]; all other mappings are removed all the same.
    pub async fn unpublish(&self, mappings: &[PortMapping]) -> Result<()> {
        let mut errors = Vec::new();
        let mut keys = Vec::new();
        let mut flows = Vec::new();
        for mapping in mappings {
            let key = mapping.key();
            if self.state().ports.of(*mapping.target.ip()).contains(&key) {
                keys.push(key);
                flows.push(Flow::Published {
                    protocol: key.protocol,
                    host_port: key.port,
                    target: *mapping.target.ip(),
                });
            } else {
                errors.push(Error::NotPublished {
                    port: key.port,
                    protocol: key.protocol,
                });
            }
        }
        // The reservation outlives the rule and the connections: nobody gets the port before.
        errors.extend(self.remove_rules(None, keys.clone()).await.err());
        errors.extend(forget(flows).await.err());
        self.free_ports(keys).await;
        finish("unpublish ports".into(), errors)
    }

    /// Reserves host ports up to the first that is refused.
    fn reserve(&self, mappings: &[PortMapping]) -> (Vec<PortMapping>, Option<Error>) {
        let mut state = self.state();
        let mut given = Vec::new();
        for mapping in mappings {
            let mapping = PortMapping {
                host_address: mapping.host_address.or(self.0.publish_address),
                ..*mapping
            };
            let reserved = if state.addresses.is_taken(*mapping.target.ip()) {
                state.ports.reserve(mapping)
            } else {
                Err(Error::Target(mapping.target))
            };
            match reserved {
                Ok(reserved) => given.push(reserved),
                Err(error) => return (given, Some(error)),
            }
        }
        (given, None)
    }

    /// Gives host ports back; they are free when this returns.
    pub(super) async fn free_ports(&self, keys: Vec<PortKey>) {
        let keeper = self.state().ports.remove(&keys);
        keeper.release(keys).await;
    }
}
