//! How registries are reached that are no public ones: which speak plain HTTP, and whose
//! certificates are trusted beside the machine's.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::error::{Error, Result};
use crate::reference::registry_host;

/// Settings of registries, by host. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Arc<BTreeMap<String, Host>>);

#[derive(Debug, Clone, Default)]
struct Host {
    plain_http: bool,
    certificates: Arc<Vec<CertificateDer<'static>>>,
}

impl Hosts {
    /// Takes the hosts that speak plain HTTP, and for others the text of a PEM file: certificates
    /// of authorities, or a registry's own certificate that it signed itself.
    ///
    /// # Errors
    /// [`Error::Host`] with what is wrong.
    pub fn new(
        plain_http: impl IntoIterator<Item = String>,
        authorities: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<Self> {
        let mut all: BTreeMap<String, Host> = BTreeMap::new();
        let named = |host: &str| {
            registry_host(host).map_err(|_| Error::Host {
                host: host.chars().take(200).collect(),
                reason: "it is no registry host; write it as image names do, HOST or HOST:PORT"
                    .to_string(),
            })
        };
        for host in plain_http {
            all.entry(named(&host)?).or_default().plain_http = true;
        }
        for (host, pem) in authorities {
            let wrong = |reason: String| Error::Host {
                host: host.clone(),
                reason,
            };
            let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            let certificates = read.map_err(|e| wrong(format!("its certificates: {e}")))?;
            if certificates.is_empty() {
                return Err(wrong(
                    "the file holds no certificate in PEM form".to_string(),
                ));
            }
            all.entry(named(&host)?).or_default().certificates = Arc::new(certificates);
        }
        let both = |host: &&String| {
            let host = &all[*host];
            host.plain_http && !host.certificates.is_empty()
        };
        if let Some(host) = all.keys().find(both) {
            return Err(Error::Host {
                host: host.clone(),
                reason: "it cannot speak plain HTTP and have a certificate".to_string(),
            });
        }
        Ok(Self(Arc::new(all)))
    }

    pub(crate) fn is_plain(&self, host: &str) -> bool {
        self.0.get(host).is_some_and(|host| host.plain_http)
    }

    /// None where the machine's own authorities are trusted.
    pub(crate) fn certificates(&self, host: &str) -> Option<Arc<Vec<CertificateDer<'static>>>> {
        let certificates = self.0.get(host).map(|host| host.certificates.clone());
        certificates.filter(|certificates| !certificates.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_are_refused() {
        let plain = |host: &str| Hosts::new([host.to_string()], []);
        assert!(
            plain("registry.example:5000")
                .unwrap()
                .is_plain("registry.example:5000")
        );
        for bad in ["", "http://x.example", "a/b", "user@host"] {
            assert!(plain(bad).is_err(), "{bad:?}");
        }
        let authority = |pem: &[u8]| Hosts::new([], [("x.example".to_string(), pem.to_vec())]);
        for bad in [
            &b""[..],
            b"no certificate",
            b"-----BEGIN CERTIFICATE-----\n!\n",
        ] {
            let error = authority(bad).unwrap_err().to_string();
            assert!(error.contains("x.example"), "{error}");
        }
    }
}
