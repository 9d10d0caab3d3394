//! The reading half of the registry protocol (OCI distribution, version 2 of Docker's).
//!
//! Own code on an HTTP client and not a registry crate, because three rules must hold that none
//! keeps: every body has a limit; credentials go only to the registry they are for and to the token
//! server it names, which must be https and not this machine; and the first answer has a deadline
//! that covers name resolution, so that a registry that is away fails a task within three seconds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE,
};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use crate::digest::Digest;
use crate::endpoint::{Challenge, Credentials, Mirrors, endpoint, is_local, is_loopback};
use crate::error::{Error, Result};
use crate::limits::{ERROR_BODY_BYTES, FIRST_ANSWER, NEXT_ANSWER, REDIRECTS, TOKEN_BYTES};
use crate::manifest::ACCEPTED;
use crate::reference::{Reference, Version};

/// One image's repository at one registry.
pub(crate) struct Registry {
    client: reqwest::Client,
    /// `https://host/v2/repository`
    base: String,
    scheme: &'static str,
    /// As shown in messages and asked on the network.
    host: String,
    image: String,
    repository: String,
    /// Only for the registry that the image names: a mirror is another host.
    credentials: Option<Credentials>,
    authorization: Mutex<Option<HeaderValue>>,
    /// Whether the registry is there. One that is and is slow gets time, as do its token server and
    /// the storage that it leads to.
    has_answered: AtomicBool,
    /// How long any answer may take, where nobody waits for as long as usual.
    silence: Option<Duration>,
}

/// A manifest or index with the type it was announced with.
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    pub(crate) media_type: Option<String>,
}

impl Registry {
    pub(crate) fn new(
        reference: &Reference,
        credentials: Option<Credentials>,
        mirrors: &Mirrors,
    ) -> Result<Self> {
        let mirror = mirrors.of(reference.registry());
        let (scheme, host) = endpoint(reference.registry(), mirror);
        let repository = reference.repository().to_string();
        let image = reference.to_string();
        let client = client(scheme).map_err(|e| Error::Unreachable {
            registry: host.clone(),
            image: image.clone(),
            reason: format!("the HTTP client cannot be set up: {}", causes(&e)),
        })?;
        Ok(Self {
            client,
            base: format!("{scheme}://{host}/v2/{repository}"),
            scheme,
            host,
            image,
            repository,
            credentials: credentials.filter(|_| mirror.is_none()),
            authorization: Mutex::new(None),
            has_answered: AtomicBool::new(false),
            silence: None,
        })
    }

    /// Gives up on any answer that takes longer.
    pub(crate) fn be_quick(&mut self, silence: Duration) {
        self.silence = Some(silence);
    }

    /// The digest of a tag's manifest or index. Registries tell it in a header; of one that does
    /// not, the document itself is read.
    pub(crate) async fn digest(&self, version: &Version, bytes_max: u64) -> Result<Digest> {
        let url = self.manifest_url(version)?;
        let accept = ACCEPTED.join(", ");
        if let Ok(answer) = self.ask(Method::HEAD, url, &accept, None).await? {
            let told = answer.headers().get(CONTENT_DIGEST);
            let told = told.and_then(|digest| digest.to_str().ok()?.parse().ok());
            if let Some(digest) = told {
                return Ok(digest);
            }
        }
        // Why it said no stands in the body, which an answer to HEAD has not.
        let received = self.manifest(version, bytes_max).await?;
        Ok(Digest::of(&received.bytes))
    }

    /// The manifest or index of a tag or digest, at most `bytes_max` long. Not verified.
    pub(crate) async fn manifest(&self, version: &Version, bytes_max: u64) -> Result<Received> {
        let url = self.manifest_url(version)?;
        let response = self.get(url, &ACCEPTED.join(", "), None).await?;
        let media_type = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(|value| value.split(';').next().unwrap_or(value).trim().to_string());
        let bytes = self.body(response, "the manifest", bytes_max).await?;
        Ok(Received { bytes, media_type })
    }

    /// A small blob. Not verified.
    pub(crate) async fn small_blob(&self, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>> {
        let response = self.blob(digest, 0).await?;
        self.body(response, "the configuration", bytes_max).await
    }

    /// A blob from a byte on. The registry may ignore where to start; the status tells.
    pub(crate) async fn blob(&self, digest: &Digest, from: u64) -> Result<Response> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let range = (from > 0).then(|| format!("bytes={from}-"));
        self.get(url, "*/*", range.as_deref()).await
    }

    /// The next piece of a body, or `None` at its end.
    pub(crate) async fn piece(&self, response: &mut Response) -> Result<Option<Vec<u8>>> {
        match tokio::time::timeout(NEXT_ANSWER, response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece.map(Vec::from)),
            Ok(Err(e)) => Err(self.unreachable(causes(&e.without_url()))),
            Err(_) => Err(self.unreachable(no_answer(NEXT_ANSWER))),
        }
    }

    fn manifest_url(&self, version: &Version) -> Result<Url> {
        match version {
            Version::Tag(tag) => self.url(&format!("manifests/{tag}")),
            Version::Digest(digest) => self.url(&format!("manifests/{digest}")),
        }
    }

    fn url(&self, path: &str) -> Result<Url> {
        Url::parse(&format!("{}/{path}", self.base)).map_err(|e| self.refused(e.to_string()))
    }

    /// Gets a URL of the registry.
    async fn get(&self, url: Url, accept: &str, range: Option<&str>) -> Result<Response> {
        match self.ask(Method::GET, url, accept, range).await? {
            Ok(response) => Ok(response),
            Err(refusal) => Err(self.explained(refusal).await),
        }
    }

    /// Asks for a URL of the registry: signs in when asked to, follows redirects. The inner error is
    /// an answer that says no.
    async fn ask(
        &self,
        method: Method,
        first: Url,
        accept: &str,
        range: Option<&str>,
    ) -> Result<Result<Response, Response>> {
        let mut url = first.clone();
        let mut redirects = 0;
        let mut signed_in = false;
        loop {
            let own = url.origin() == first.origin();
            let request = self.client.request(method.clone(), url.clone());
            let response = self.send(request, accept, range, own).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(Ok(response));
            }
            if status == StatusCode::UNAUTHORIZED && own && !signed_in {
                self.sign_in(response.headers()).await?;
                signed_in = true;
                continue;
            }
            if status.is_redirection() {
                redirects += 1;
                if redirects > REDIRECTS {
                    return Err(self.refused("it redirects in circles".to_string()));
                }
                let location = response
                    .headers()
                    .get(LOCATION)
                    .and_then(|l| l.to_str().ok());
                let target = location.and_then(|l| url.join(l).ok());
                url = target.ok_or_else(|| self.refused("it redirects to nowhere".to_string()))?;
                self.check_target(&url, "redirects")?;
                continue;
            }
            return Ok(Err(response));
        }
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        accept: &str,
        range: Option<&str>,
        own: bool,
    ) -> Result<Response> {
        let mut request = request.header(ACCEPT, accept);
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        let authorization = self
            .authorization
            .lock()
            .map(|a| a.clone())
            .unwrap_or_default();
        // Another host, such as the storage behind a registry, must not see them.
        if let Some(authorization) = authorization.filter(|_| own) {
            request = request.header(AUTHORIZATION, authorization);
        }
        self.answer(request).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Response> {
        let within = match self.has_answered.load(Ordering::Relaxed) {
            true => NEXT_ANSWER,
            false => FIRST_ANSWER,
        };
        let within = self.silence.unwrap_or(within);
        match tokio::time::timeout(within, request.send()).await {
            Ok(Ok(response)) => {
                self.has_answered.store(true, Ordering::Relaxed);
                Ok(response)
            }
            Ok(Err(e)) => Err(self.unreachable(causes(&e.without_url()))),
            Err(_) => Err(self.unreachable(no_answer(within))),
        }
    }

    async fn body(&self, mut response: Response, what: &str, bytes_max: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece(&mut response).await? {
            if bytes.len() as u64 + piece.len() as u64 > bytes_max {
                let what = format!("the size of {what} from registry {}", self.host);
                return Err(Error::Limit {
                    what,
                    limit: bytes_max,
                });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Answers a challenge: with the credentials themselves, or with a token for this repository.
    async fn sign_in(&self, headers: &HeaderMap) -> Result<()> {
        let challenge = headers
            .get(reqwest::header::WWW_AUTHENTICATE)
            .and_then(|value| value.to_str().ok())
            .and_then(Challenge::parse);
        let value = match challenge {
            Some(Challenge::Basic) => match &self.credentials {
                Some(credentials) => basic(credentials),
                None => return Err(self.refused(DENIED.to_string())),
            },
            Some(Challenge::Bearer { realm, service }) => {
                format!("Bearer {}", self.token(&realm, service.as_deref()).await?)
            }
            None => return Err(self.refused("it wants a kind of sign-in that is not known".into())),
        };
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| self.refused("the token cannot be sent in a header".into()))?;
        value.set_sensitive(true);
        if let Ok(mut authorization) = self.authorization.lock() {
            *authorization = Some(value);
        }
        Ok(())
    }

    async fn token(&self, realm: &str, service: Option<&str>) -> Result<String> {
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let mut url = Url::parse(realm)
            .map_err(|_| self.refused("its token server is no valid URL".to_string()))?;
        self.check_target(&url, "sends credentials")?;
        let scope = format!("repository:{}:pull", self.repository);
        url.query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .append_pair("scope", &scope);
        let mut request = self.client.get(url);
        if let Some(credentials) = &self.credentials {
            let mut value = HeaderValue::from_str(&basic(credentials))
                .map_err(|_| self.refused("the credentials cannot be sent in a header".into()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let response = self.answer(request).await?;
        if !response.status().is_success() {
            let status = response.status().as_u16();
            return Err(self.refused(format!("its token server answered {status}: {DENIED}")));
        }
        let json = self.body(response, "the token", TOKEN_BYTES).await?;
        serde_json::from_slice::<Token>(&json)
            .ok()
            .and_then(|token| token.token.or(token.access_token))
            .ok_or_else(|| self.refused("its token server gave no token".to_string()))
    }

    /// A registry may name other hosts, but not turn this machine against itself: only https, and
    /// no address of this machine or its link. A registry that itself is spoken to in plain HTTP
    /// may name plain HTTP on its own host or on loopback.
    fn check_target(&self, url: &Url, does: &str) -> Result<()> {
        let host = url.host_str().unwrap_or_default();
        let own = Url::parse(&self.base).is_ok_and(|base| base.origin() == url.origin());
        let good = match self.scheme {
            "https" => url.scheme() == "https" && (own || !is_local(host)),
            _ => own || (url.scheme() == "http" && is_loopback(host)) || url.scheme() == "https",
        };
        let no_user = url.username().is_empty() && url.password().is_none();
        match good && no_user {
            true => Ok(()),
            false => Err(self.refused(format!(
                "it {does} to {}://{host}, which is not allowed",
                url.scheme()
            ))),
        }
    }

    async fn explained(&self, response: Response) -> Error {
        #[derive(Deserialize)]
        struct Problem {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        #[derive(Deserialize)]
        struct Problems {
            errors: Vec<Problem>,
        }
        let status = response.status();
        let body = self
            .body(response, "the error", ERROR_BODY_BYTES)
            .await
            .unwrap_or_default();
        let said = serde_json::from_slice::<Problems>(&body)
            .ok()
            .and_then(|problems| problems.errors.into_iter().next())
            .map(|p| format!(": {} {}", p.code.escape_debug(), p.message.escape_debug()))
            .unwrap_or_default();
        let said: String = said.chars().take(300).collect();
        let meaning = match status {
            StatusCode::NOT_FOUND => "there is no such image or tag",
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => DENIED,
            StatusCode::TOO_MANY_REQUESTS => "it limits how often this machine may pull",
            _ => "it answered with an error",
        };
        self.refused(format!("{meaning} (HTTP {}{said})", status.as_u16()))
    }

    /// Host and port that are asked.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    fn refused(&self, reason: String) -> Error {
        Error::Registry {
            registry: self.host.clone(),
            image: self.image.clone(),
            reason,
        }
    }

    pub(crate) fn unreachable(&self, reason: String) -> Error {
        Error::Unreachable {
            registry: self.host.clone(),
            image: self.image.clone(),
            reason,
        }
    }
}

/// Where registries tell the digest of a manifest.
const CONTENT_DIGEST: &str = "docker-content-digest";
const DENIED: &str = "access denied; check the credentials for this repository";

/// Names are resolved by the client's own resolver: the static executable has no other. Redirects
/// are followed by hand, so that each target is looked at.
fn client(scheme: &str) -> reqwest::Result<reqwest::Client> {
    // Fails only when another part of the process was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(FIRST_ANSWER)
        .hickory_dns(true);
    if scheme == "http" {
        // A machine without root certificates can still use its own registry.
        builder = builder.tls_certs_only(std::iter::empty());
    }
    builder.build()
}

fn basic(credentials: &Credentials) -> String {
    use base64::Engine as _;
    let pair = format!("{}:{}", credentials.username, credentials.password);
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    )
}

/// What is behind an error of the client, innermost last, in one line. Its own first words only say
/// that a request failed, which the reader knows.
fn causes(error: &dyn std::error::Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    let is_noise = |text: &&String| {
        text.starts_with("error sending request") || text.starts_with("client error")
    };
    let skipped = texts.iter().take_while(is_noise).count();
    texts[skipped.min(texts.len() - 1)..].join(": ")
}

fn no_answer(within: Duration) -> String {
    format!("no answer within {:.1} s", within.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(name: &str, mirrors: &str) -> Registry {
        let mirrors = Mirrors::parse(mirrors.split(' ').filter(|m| !m.is_empty())).unwrap();
        let credentials = Credentials {
            username: "u".into(),
            password: "p".into(),
        };
        Registry::new(&name.parse().unwrap(), Some(credentials), &mirrors).unwrap()
    }

    #[test]
    fn where_a_registry_is() {
        for (name, mirrors, base) in [
            ("127.0.0.1:5000/x", "", "http://127.0.0.1:5000/v2/x"),
            ("localhost/x", "", "http://localhost/v2/x"),
            ("[::1]:5000/x", "", "http://[::1]:5000/v2/x"),
            (
                "nginx",
                "docker.io=localhost:1",
                "http://localhost:1/v2/library/nginx",
            ),
            (
                "nginx",
                "docker.io=http://10.0.0.1:1",
                "http://10.0.0.1:1/v2/library/nginx",
            ),
        ] {
            assert_eq!(registry(name, mirrors).base, base);
        }
        for (registry, host) in [
            ("docker.io", "registry-1.docker.io"),
            ("127.example", "127.example"),
            ("10.0.0.1:5", "10.0.0.1:5"),
        ] {
            assert_eq!(endpoint(registry, None), ("https", host.to_string()));
        }
    }

    #[test]
    fn a_mirror_sees_no_credentials() {
        assert!(registry("localhost/x", "").credentials.is_some());
        assert!(
            registry("localhost/x", "localhost=127.0.0.1:1")
                .credentials
                .is_none()
        );
    }

    #[test]
    fn targets_of_an_https_registry() {
        let mut registry = registry("localhost/x", "");
        registry.scheme = "https";
        registry.base = "https://registry.example/v2/x".into();
        for (url, good) in [
            ("https://auth.example/token", true),
            ("https://registry.example/token", true),
            ("http://auth.example/token", false),
            ("https://169.254.169.254/token", false),
            ("https://127.0.0.1/token", false),
            ("https://2130706433/token", false),
            ("https://[::ffff:127.0.0.1]/token", false),
            ("https://[fe80::1]/token", false),
            ("https://0.0.0.0/token", false),
            ("https://localhost/token", false),
            ("https://user:secret@auth.example/token", false),
            ("file:///etc/passwd", false),
        ] {
            let checked = registry.check_target(&Url::parse(url).unwrap(), "redirects");
            assert_eq!(checked.is_ok(), good, "{url}");
            let text = checked.err().map(|e| e.to_string()).unwrap_or_default();
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
