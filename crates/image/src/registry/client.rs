//! The HTTP clients of a registry: one for itself, one for this machine, one for all others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::{Client, ClientBuilder, Url};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::endpoint::is_loopback;
use crate::hosts::Hosts;
use crate::limits::CONNECT;

type Certificates = Arc<Vec<CertificateDer<'static>>>;

/// Made at their first use: reading the machine's authorities takes a while.
pub(super) struct Clients {
    hosts: Hosts,
    made: Mutex<BTreeMap<Kind, Client>>,
}

/// What tells clients apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Trusts what the operator gave for this host and port.
    Trusting(String),
    /// For this machine.
    Direct,
    Usual,
}

impl Clients {
    pub(super) fn new(hosts: Hosts) -> Self {
        Self {
            hosts,
            made: Mutex::default(),
        }
    }

    /// Whether the operator said how the URL's host is reached, and the URL is of that kind.
    pub(super) fn is_set_up(&self, url: &Url) -> bool {
        let host = authority(url);
        match url.scheme() {
            "http" => self.hosts.is_plain(&host),
            "https" => self.hosts.certificates(&host).is_some(),
            _ => false,
        }
    }

    /// The client for a URL.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub(super) fn of(&self, url: &Url) -> Result<Client, String> {
        let host = authority(url);
        let is_local = url.host_str().is_some_and(is_loopback);
        let certificates = self.hosts.certificates(&host);
        let kind = match (&certificates, is_local) {
            (Some(_), _) => Kind::Trusting(host),
            (None, true) => Kind::Direct,
            (None, false) => Kind::Usual,
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(&kind) {
            return Ok(client.clone());
        }
        let builder = match (&kind, certificates) {
            (Kind::Trusting(_), Some(certificates)) => trusting(builder(), &certificates)?,
            // A machine without root certificates can still use its own registry.
            (Kind::Direct, _) => builder().tls_certs_only(std::iter::empty()),
            _ => builder(),
        };
        // A proxy's loopback is not this machine's.
        let builder = if is_local {
            builder.no_proxy()
        } else {
            builder
        };
        let client = builder.build().map_err(|e| super::causes(&e))?;
        made.insert(kind, client.clone());
        Ok(client)
    }
}

/// Host and port as image names have them.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_string(), |port| format!("{host}:{port}"))
}

/// Names are resolved by the client's own resolver: the static executable has no other. Redirects
/// are followed by hand, so that each target is looked at.
fn builder() -> ClientBuilder {
    // Fails only when another part of the process was first, which is as good.
    let _ = ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .hickory_dns(true)
}

fn trusting(builder: ClientBuilder, certificates: &Certificates) -> Result<ClientBuilder, String> {
    let wrong = |e: &dyn std::error::Error| format!("its certificates cannot be used: {e}");
    let mut roots = RootCertStore::empty();
    for certificate in certificates.iter() {
        roots.add(certificate.clone()).map_err(|e| wrong(&e))?;
    }
    let provider = Arc::new(ring::default_provider());
    let authorities =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier = Verifier {
        authorities: authorities.build().map_err(|e| wrong(&e))?,
        certificates: certificates.clone(),
    };
    let config = tls(provider, verifier).map_err(|e| wrong(&e))?;
    Ok(builder.tls_backend_preconfigured(config))
}

fn tls(provider: Arc<CryptoProvider>, verifier: Verifier) -> Result<ClientConfig, rustls::Error> {
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Beside certificates of the given authorities, one that is given itself is trusted: a registry's
/// that signed its own is an authority by its form, which is refused as a server's otherwise.
#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    certificates: Certificates,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // Whether it is still valid was found to be so before these.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Other(_) | CertificateError::UnknownIssuer,
            )) if self.certificates.iter().any(|given| given == end_entity) => {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&parsed, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}
