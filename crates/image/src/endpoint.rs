//! Where registries are and how they want to be addressed: mirrors and schemes. Pure.

use std::net::IpAddr;

use reqwest::Url;

use crate::error::{Error, Result};
use crate::hosts::Hosts;
use crate::reference::is_host;

/// A user and password, or token, for one registry. Never shown: it has no `Debug`.
#[derive(Clone)]
pub struct Credentials {
    /// The user; Amazon ECR's is `AWS`.
    pub username: String,
    /// The password or token.
    pub password: String,
}

/// Other hosts to ask instead of registries.
#[derive(Debug, Clone, Default)]
pub struct Mirrors(Vec<(String, String)>);

impl Mirrors {
    /// Reads settings of the form `HOST=HOST`: `docker.io=mirror.example:5000`. A mirror that
    /// speaks plain HTTP is given with its scheme: `docker.io=http://10.0.0.1:5000`.
    ///
    /// # Errors
    /// [`Error::Mirror`] with the setting that is wrong.
    pub fn parse<'a>(settings: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut mirrors = Vec::new();
        for setting in settings {
            let split = setting.split_once('=').filter(|(registry, mirror)| {
                let host = mirror.strip_prefix("http://").unwrap_or(mirror);
                is_host(registry) && is_host(host)
            });
            let Some((registry, mirror)) = split else {
                return Err(Error::Mirror(setting.chars().take(200).collect()));
            };
            mirrors.push((registry.to_ascii_lowercase(), mirror.to_ascii_lowercase()));
        }
        Ok(Self(mirrors))
    }

    pub(crate) fn of(&self, registry: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(from, _)| from == registry)
            .map(|(_, to)| to.as_str())
    }
}

/// Scheme and host for a registry. Plain HTTP is for this machine only, or by explicit setting.
pub(crate) fn endpoint(
    registry: &str,
    mirror: Option<&str>,
    hosts: &Hosts,
) -> (&'static str, String) {
    let host = mirror.unwrap_or(registry);
    if let Some(host) = host.strip_prefix("http://") {
        return ("http", host.to_string());
    }
    if hosts.is_plain(host) {
        return ("http", host.to_string());
    }
    if hosts.certificates(host).is_some() {
        return ("https", host.to_string());
    }
    let host = match host {
        "docker.io" => "registry-1.docker.io",
        host => host,
    };
    let name = Url::parse(&format!("http://{host}/")).ok();
    match name
        .as_ref()
        .and_then(Url::host_str)
        .is_some_and(is_loopback)
    {
        true => ("http", host.to_string()),
        false => ("https", host.to_string()),
    }
}

pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || address(host).is_some_and(|address| address.is_loopback())
}

pub(crate) fn is_local(host: &str) -> bool {
    let link_local = |address| match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified(),
    };
    is_loopback(host) || address(host).is_some_and(link_local)
}

fn address(host: &str) -> Option<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_settings() {
        for bad in [
            "",
            "docker.io",
            "=x",
            "docker.io=",
            "docker.io=a/b",
            "a=ftp://b",
            "a b=c",
        ] {
            assert!(Mirrors::parse([bad]).is_err(), "{bad:?}");
        }
    }
}
