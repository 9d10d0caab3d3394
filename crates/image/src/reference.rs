//! Image names: parsing and the one canonical form. Pure; asks nobody.
//!
//! The grammar is the one Docker and Amazon ECR share: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`. A first
//! part without a dot, a colon or the name `localhost` is not a host, and Docker Hub is meant.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// The host of names that name none.
pub const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const NAME_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;

/// A parsed image name. Two texts that mean the same image compare equal: `nginx` is
/// `docker.io/library/nginx:latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    /// What the name selects. A tag beside a digest says nothing and is dropped.
    version: Version,
}

/// What selects one image of a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// A name that may move.
    Tag(String),
    /// The content itself.
    Digest(Digest),
}

/// Why a text is no image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReference {
    /// Nothing there.
    #[error("the image name is empty; give a name such as nginx or registry.example/app:v1")]
    Empty,
    /// A URL instead of a name.
    #[error("an image name has no scheme; leave out everything up to and including ://")]
    Scheme,
    /// Longer than 255 bytes without tag and digest.
    #[error("the image name has {0} bytes, more than 255")]
    TooLong(usize),
    /// Not a host name with an optional port.
    #[error("{0:?} is no registry host")]
    Registry(String),
    /// A path part outside the grammar.
    #[error(
        "{0:?} is no repository name; use lower-case letters and digits, joined by one of . _ - /"
    )]
    Repository(String),
    /// A tag outside the grammar.
    #[error("{0:?} is no tag; use up to 128 letters, digits, dots, dashes and underscores")]
    Tag(String),
    /// What follows `@` is no digest. The rest is not repeated: it may hold a password.
    #[error("what follows @ in an image name must be sha256: and 64 lower-case hexadecimal digits")]
    Digest,
}

impl Reference {
    /// The registry's host, with its port if it has one: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry: `library/nginx`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag or digest.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The digest, when the name has one.
    pub fn digest(&self) -> Option<Digest> {
        match self.version {
            Version::Digest(digest) => Some(digest),
            Version::Tag(_) => None,
        }
    }

    /// The tag, when the name has one (`latest` when it was left out).
    pub fn tag(&self) -> Option<&str> {
        match &self.version {
            Version::Tag(tag) => Some(tag),
            Version::Digest(_) => None,
        }
    }

    /// The same repository at a digest.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            version: Version::Digest(digest),
            ..self.clone()
        }
    }

    /// Host and path without tag or digest: `docker.io/library/nginx`.
    pub fn full_repository(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The short form that people write: `nginx:latest`, other registries in full.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let short = full.strip_prefix("docker.io/").unwrap_or(&full);
        short.strip_prefix("library/").unwrap_or(short).to_string()
    }
}

impl fmt::Display for Reference {
    /// The canonical form: `docker.io/library/nginx:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match &self.version {
            Version::Tag(tag) => write!(f, ":{tag}"),
            Version::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

impl FromStr for Reference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        if text.is_empty() {
            return Err(BadReference::Empty);
        }
        if text.contains("://") {
            return Err(BadReference::Scheme);
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (
                name,
                Some(digest.parse().map_err(|_| BadReference::Digest)?),
            ),
            None => (text, None),
        };
        let (host, rest) = split_host(name);
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if name.len() - tag.map_or(0, |t| t.len() + 1) > NAME_BYTES_MAX {
            return Err(BadReference::TooLong(name.len()));
        }
        if let Some(tag) = tag.filter(|t| !is_tag(t)) {
            return Err(BadReference::Tag(shortened(tag)));
        }
        if path.is_empty() || !path.split('/').all(is_path_part) {
            return Err(BadReference::Repository(shortened(path)));
        }
        let registry = registry_name(host)?;
        let repository = match registry.as_str() {
            DEFAULT_REGISTRY if !path.contains('/') => format!("library/{path}"),
            _ => path.to_string(),
        };
        let version = match digest {
            Some(digest) => Version::Digest(digest),
            None => Version::Tag(tag.unwrap_or(DEFAULT_TAG).to_string()),
        };
        Ok(Self {
            registry,
            repository,
            version,
        })
    }
}

fn split_host(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

fn registry_name(host: Option<&str>) -> Result<String, BadReference> {
    let Some(host) = host else {
        return Ok(DEFAULT_REGISTRY.to_string());
    };
    if !is_host(host) {
        return Err(BadReference::Registry(shortened(host)));
    }
    // Host names have no case; keys of credentials and mirrors must meet them.
    let host = host.to_ascii_lowercase();
    Ok(match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY.to_string(),
        _ => host,
    })
}

/// A registry's host as image names have it: lower case, `docker.io` for each of its names.
///
/// # Errors
/// [`BadReference::Registry`].
pub fn registry_host(text: &str) -> Result<String, BadReference> {
    registry_name(Some(text))
}

/// A DNS name, an IPv4 address or a bracketed IPv6 address, each with an optional port.
pub(crate) fn is_host(host: &str) -> bool {
    let port_ok = |port: &str| {
        !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
    };
    if let Some(rest) = host.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((ip, "")) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
            Some((ip, port)) => {
                ip.parse::<std::net::Ipv6Addr>().is_ok()
                    && port.strip_prefix(':').is_some_and(port_ok)
            }
            None => false,
        };
    }
    let (name, port) = match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label) && port.is_none_or(port_ok)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_part(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !word(*first) || !word(*last) {
        return false;
    }
    part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_BYTES_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

    #[test]
    fn one_canonical_form() {
        let digest = format!("host:5000/x@{D}");
        let tag_and_digest = format!("nginx:1.22@{D}");
        let digest_only = format!("docker.io/library/nginx@{D}");
        for (text, canonical) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("library/nginx", "docker.io/library/nginx:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            (
                "docker.io/library/nginx:latest",
                "docker.io/library/nginx:latest",
            ),
            (
                "index.docker.io/library/nginx",
                "docker.io/library/nginx:latest",
            ),
            ("registry-1.docker.io/nginx:1", "docker.io/library/nginx:1"),
            (
                "nginx:1.22-alpine_3",
                "docker.io/library/nginx:1.22-alpine_3",
            ),
            ("grafana/grafana", "docker.io/grafana/grafana:latest"),
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:v1",
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:v1",
            ),
            (
                "public.ecr.aws/docker/library/nginx:1.27",
                "public.ecr.aws/docker/library/nginx:1.27",
            ),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/a/b/c:t", "localhost:5000/a/b/c:t"),
            ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest"),
            ("[::1]:5000/x:1", "[::1]:5000/x:1"),
            ("Registry.Example/x", "registry.example/x:latest"),
            ("a__b/c--d/e.f_g", "docker.io/a__b/c--d/e.f_g:latest"),
            (&digest, &digest),
            (&tag_and_digest, &digest_only),
        ] {
            let parsed: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(parsed.to_string(), canonical, "{text}");
            assert_eq!(canonical.parse::<Reference>().unwrap(), parsed, "{text}");
        }
    }

    #[test]
    fn what_is_no_name() {
        let long = format!("example.com/{}", "a".repeat(300));
        let long_tag = format!("nginx:{}", "a".repeat(129));
        let upper = format!("nginx@{}", D.to_uppercase());
        for text in [
            "",
            ":",
            "/",
            "nginx:",
            "nginx@",
            ":latest",
            "nginx:la test",
            "nginx:-x",
            "Nginx",
            "NGINX/x y",
            "a//b",
            "/a",
            "a/",
            "../x",
            "a/../b",
            "a/.hidden",
            "a/-b",
            "a-",
            "a_.b",
            "a___b",
            "https://nginx",
            "host:70000/x",
            "host:/x",
            "host:abc/x",
            "-host.com/x",
            "ho_st.com/x",
            "[::1/x",
            "[zz]:1/x",
            "x y",
            "nginx\n",
            "nginx\0",
            "n\u{e9}",
            "a:b:c",
            "user:secret@host.example/app",
            "nginx@sha256:abc",
            "nginx@md5:00",
            &long,
            &long_tag,
            &upper,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_password_is_not_repeated() {
        for text in [
            "user:secret@host.example/app",
            "https://user:secret@host/app",
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn familiar_names() {
        for (text, familiar) in [
            ("nginx", "nginx:latest"),
            ("grafana/grafana:1", "grafana/grafana:1"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().familiar(), familiar);
        }
    }
}
