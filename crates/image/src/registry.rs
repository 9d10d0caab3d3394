//! The reading half of the registry protocol (OCI distribution, version 2 of Docker's).
//!
//! Own code on an HTTP client and not a registry crate, because three rules must hold that none
//! keeps: every body has a limit; credentials go only to the registry they are for and to the token
//! server it names, which must be https and not this machine; and connecting has a deadline of its
//! own that covers name resolution, so that one that is away is told from one that is slow.

mod challenge;
mod client;
pub(crate) mod encoding;
mod refusal;
mod retry;
mod sign_in;

pub use sign_in::check_login;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, RANGE,
};
use reqwest::{Method, Response, StatusCode, Url};

use self::client::Clients;
use self::encoding::plain_document;
use self::refusal::no_answer;
use self::retry::{Again, CONTENT, MANIFEST, QUICK, Schedule};
use crate::digest::Digest;
use crate::endpoint::{Credentials, endpoint, is_local, is_loopback};
use crate::error::{Error, Result};
use crate::hosts::Hosts;
use crate::limits::{ERROR_BODY_BYTES, FIRST_ANSWER, NEXT_ANSWER, REDIRECTS, UNREACHABLE_ALL};
use crate::manifest::ACCEPTED;
use crate::pull::PullOptions;
use crate::reference::{Reference, Version};

/// One image's repository at one registry.
pub(crate) struct Registry {
    clients: Clients,
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
    /// How often the last question was asked.
    tries: AtomicU32,
}

/// A manifest or index with the type it was announced with.
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    pub(crate) media_type: Option<String>,
}

impl Registry {
    pub(crate) fn new(reference: &Reference, options: &PullOptions) -> Result<Self> {
        let mirror = options.mirrors.of(reference.registry());
        let (scheme, host) = endpoint(reference.registry(), mirror, &options.hosts);
        let asked = mirror.unwrap_or(reference.registry());
        let asked = asked.strip_prefix("http://").unwrap_or(asked);
        let own = options.credentials.clone().filter(|_| mirror.is_none());
        let credentials = match (own, &options.logins) {
            (None, Some(logins)) => logins.of(asked)?,
            (own, _) => own,
        };
        Ok(Self {
            clients: Clients::new(options.hosts.clone()),
            base: format!("{scheme}://{host}/v2/{}", reference.repository()),
            scheme,
            host,
            image: reference.to_string(),
            repository: reference.repository().to_string(),
            credentials,
            authorization: Mutex::new(None),
            has_answered: AtomicBool::new(false),
            silence: None,
            tries: AtomicU32::new(0),
        })
    }

    /// A registry without a repository.
    fn of_host(host: &str, credentials: Credentials, hosts: &Hosts) -> Self {
        let (scheme, asked) = endpoint(host, None, hosts);
        Self {
            clients: Clients::new(hosts.clone()),
            base: format!("{scheme}://{asked}/v2"),
            scheme,
            host: asked,
            image: "a login".to_string(),
            repository: String::new(),
            credentials: Some(credentials),
            authorization: Mutex::new(None),
            has_answered: AtomicBool::new(false),
            silence: None,
            tries: AtomicU32::new(0),
        }
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
        if let Ok(answer) = self.ask(Method::HEAD, url, (&accept, None)).await? {
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
        let response = self.get(url, &ACCEPTED.join(", "), None).await;
        let response =
            response.map_err(|error| error.of_manifest(self.tries.load(Ordering::Relaxed)))?;
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
        match self.ask(Method::GET, url, (accept, range)).await? {
            Ok(response) => Ok(response),
            Err(refusal) => Err(self.explained(refusal).await),
        }
    }

    /// Asks for a URL of the registry, again where that may help. The inner error is an answer that
    /// says no.
    async fn ask(
        &self,
        method: Method,
        url: Url,
        wanted: (&str, Option<&str>),
    ) -> Result<Result<Response, Response>> {
        let schedule = self.schedule(&url);
        let begun = Instant::now();
        let mut tried = 0;
        loop {
            let answer = self.ask_once(method.clone(), url.clone(), wanted).await;
            tried += 1;
            self.tries.store(tried, Ordering::Relaxed);
            let again = match &answer {
                Ok(Ok(_)) => None,
                Ok(Err(no)) => refusal::again(no.status(), no.headers()),
                Err(error) if error.is_unreachable() => {
                    let enough = self.silence.unwrap_or(UNREACHABLE_ALL);
                    (begun.elapsed() < enough).then_some(Again::Soon)
                }
                Err(_) => None,
            };
            match again.and_then(|again| schedule.pause(tried, again, retry::luck())) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return answer,
            }
        }
    }

    fn schedule(&self, url: &Url) -> Schedule {
        match url.path().contains("/blobs/") {
            _ if self.silence.is_some() => QUICK,
            true => CONTENT,
            false => MANIFEST,
        }
    }

    /// Signs in when asked to, follows redirects.
    async fn ask_once(
        &self,
        method: Method,
        first: Url,
        (accept, range): (&str, Option<&str>),
    ) -> Result<Result<Response, Response>> {
        let mut url = first.clone();
        let mut redirects = 0;
        let mut signed_in = false;
        loop {
            let own = url.origin() == first.origin();
            let request = self.client(&url)?.request(method.clone(), url.clone());
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

    fn client(&self, url: &Url) -> Result<reqwest::Client> {
        let client = self.clients.of(url);
        client.map_err(|e| self.unreachable(format!("the HTTP client cannot be set up: {e}")))
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        accept: &str,
        range: Option<&str>,
        own: bool,
    ) -> Result<Response> {
        let request = request.header(ACCEPT, accept);
        let mut request = request.header(ACCEPT_ENCODING, "identity");
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
        plain_document(what, bytes, bytes_max)
    }

    /// A registry may name other hosts, but not turn this machine against itself: only https, and
    /// no address of this machine or its link. A registry that itself is spoken to in plain HTTP
    /// may name plain HTTP on its own host or on loopback. What the operator set up may be named in
    /// the way that it is set up.
    fn check_target(&self, url: &Url, does: &str) -> Result<()> {
        let host = url.host_str().unwrap_or_default();
        let own = Url::parse(&self.base).is_ok_and(|base| base.origin() == url.origin());
        let good = match self.scheme {
            _ if own || self.clients.is_set_up(url) => true,
            "https" => url.scheme() == "https" && !is_local(host),
            _ => (url.scheme() == "http" && is_loopback(host)) || url.scheme() == "https",
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
        let status = response.status();
        let body = self.body(response, "the error", ERROR_BODY_BYTES).await;
        self.refused(refusal::meaning(status, &body.unwrap_or_default()))
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
            manifest_tries: None,
        }
    }

    pub(crate) fn unreachable(&self, reason: String) -> Error {
        Error::Unreachable {
            registry: self.host.clone(),
            image: self.image.clone(),
            reason,
            manifest_tries: None,
        }
    }
}

/// Where registries tell the digest of a manifest.
const CONTENT_DIGEST: &str = "docker-content-digest";
const DENIED: &str = "access denied; sign in with `windlass login HOST`";

/// What is behind an error of the client, innermost last, in one line. Its own first words only say
/// that a request failed, which the reader knows.
fn causes(error: &dyn std::error::Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        // The resolver shows its question as a structure; the host is named elsewhere already.
        let text = error.to_string();
        let text = text
            .split(" for Query {")
            .next()
            .unwrap_or(&text)
            .to_owned();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Mirrors;

    fn registry(name: &str, mirrors: &str) -> Registry {
        let mirrors = Mirrors::parse(mirrors.split(' ').filter(|m| !m.is_empty())).unwrap();
        let credentials = Credentials {
            username: "u".into(),
            password: "p".into(),
        };
        let options = PullOptions {
            credentials: Some(credentials),
            mirrors,
            ..PullOptions::default()
        };
        Registry::new(&name.parse().unwrap(), &options).unwrap()
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
            let found = endpoint(registry, None, &Hosts::default());
            assert_eq!(found, ("https", host.to_string()));
        }
        let plain = Hosts::new(["10.0.0.1:5".to_string()], []).unwrap();
        let found = endpoint("10.0.0.1:5", None, &plain);
        assert_eq!(found, ("http", "10.0.0.1:5".to_string()));
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
