//! The image configuration: what an image wants to run, read with types and limits.
//!
//! Every value here ends up in a system call or a path, so that a text with a zero byte, a relative
//! folder or a volume at `/` is refused when the image arrives, not when a task starts.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::digest::Digest;
use crate::error::{Error, Result};

/// One argument or variable: the kernel's limit for a string of execve.
const STRING_BYTES_MAX: usize = 128 << 10;
const STRINGS_MAX: usize = 10_000;
const USER_BYTES_MAX: usize = 256;
const PATH_BYTES_MAX: usize = 4_095;
const PORTS_MAX: usize = 65_535;

/// What an image says about its process. Values that a task definition leaves out come from here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageConfig {
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// The words in front of the command; empty when the image has none.
    pub entrypoint: Vec<String>,
    /// The command, or the arguments of the entry point.
    pub cmd: Vec<String>,
    /// Names and values, in the image's order.
    pub env: Vec<(String, String)>,
    /// Absolute; `/` when the image says nothing.
    pub working_dir: String,
    /// `USER`, `UID`, `USER:GROUP` or a mix; `None` is root. Names are looked up in the image.
    pub user: Option<String>,
    /// The number of the signal that asks the process to end; `None` is SIGTERM.
    pub stop_signal: Option<i32>,
    /// Ports the image says it listens on. Documentation only: nothing is opened.
    pub exposed_ports: Vec<ExposedPort>,
    /// Absolute paths inside the image, other than `/`.
    pub volumes: Vec<String>,
    /// Whatever the image's author wrote.
    pub labels: BTreeMap<String, String>,
}

/// A port of EXPOSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExposedPort {
    /// 1 to 65535.
    pub port: u16,
    /// What it speaks.
    pub protocol: Protocol,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// The default of EXPOSE.
    Tcp,
    /// Datagrams.
    Udp,
    /// Hardly used; kept because images may say it.
    Sctp,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    config: Option<Process>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Process {
    user: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    volumes: Option<BTreeMap<String, serde_json::Value>>,
    working_dir: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    stop_signal: Option<String>,
}

impl ImageConfig {
    /// Reads the configuration and the digests of the uncompressed layers, the lowest first.
    ///
    /// # Errors
    /// [`Error::Document`] with the field and what is wrong with it.
    pub fn parse(json: &[u8]) -> Result<(Self, Vec<Digest>)> {
        let document: Document = serde_json::from_slice(json).map_err(|e| bad(e.to_string()))?;
        if !matches!(document.os.as_str(), "linux" | "") {
            return Err(bad(format!("it is for {:?}, not for linux", document.os)));
        }
        let process = document.config.unwrap_or_default();
        let config = Self {
            architecture: document.architecture,
            entrypoint: strings("Entrypoint", process.entrypoint)?,
            cmd: strings("Cmd", process.cmd)?,
            env: environment(process.env)?,
            working_dir: working_dir(process.working_dir)?,
            user: user(process.user)?,
            stop_signal: process
                .stop_signal
                .as_deref()
                .map_or(Ok(None), stop_signal)?,
            exposed_ports: ports(process.exposed_ports)?,
            volumes: volumes(process.volumes)?,
            labels: process.labels.unwrap_or_default(),
        };
        Ok((config, document.rootfs.diff_ids))
    }
}

/// The number of a signal by name or number: `SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`. `None` for no
/// signal of Linux.
pub fn signal_number(text: &str) -> Option<i32> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    // The C library keeps 32 and 33 for itself, hence RTMIN is 34.
    const RTMIN: i32 = 34;
    const RTMAX: i32 = 64;
    if let Ok(number) = text.parse::<i32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = NAMES.iter().position(|&known| known == name) {
        return i32::try_from(at + 1).ok();
    }
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        _ => rest.strip_prefix(sign)?.parse::<u8>().ok().map(i32::from),
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => RTMIN + offset(rest, '+')?,
        (_, Some(rest)) => RTMAX - offset(rest, '-')?,
        _ => return None,
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

fn strings(field: &str, values: Option<Vec<String>>) -> Result<Vec<String>> {
    let values = values.unwrap_or_default();
    if values.len() > STRINGS_MAX {
        return Err(bad(format!(
            "{field} has {} values, more than {STRINGS_MAX}",
            values.len()
        )));
    }
    for value in &values {
        if value.len() > STRING_BYTES_MAX {
            return Err(bad(format!("{field} has a value of {} bytes", value.len())));
        }
        if value.contains('\0') {
            return Err(bad(format!("{field} has a value with a zero byte")));
        }
    }
    Ok(values)
}

fn environment(values: Option<Vec<String>>) -> Result<Vec<(String, String)>> {
    let split = |variable: String| match variable.split_once('=') {
        Some((name, value)) if !name.is_empty() && !name.contains(char::is_control) => {
            Ok((name.to_string(), value.to_string()))
        }
        // The value stays out of the message: it may be a secret.
        _ => Err(bad("Env has a value that is not NAME=VALUE")),
    };
    strings("Env", values)?.into_iter().map(split).collect()
}

fn working_dir(value: Option<String>) -> Result<String> {
    match value.as_deref() {
        None | Some("") => Ok("/".to_string()),
        Some(path) => match absolute(path) {
            // A process's own descriptors lie there: a known way out of a container.
            Some(path) if path == "/proc" || path.starts_with("/proc/") => {
                Err(bad("WorkingDir lies in /proc"))
            }
            Some(path) => Ok(path),
            None => Err(bad(format!("WorkingDir {path:?} is no absolute path"))),
        },
    }
}

fn user(value: Option<String>) -> Result<Option<String>> {
    match value.filter(|user| !user.is_empty()) {
        Some(user) if user.len() > USER_BYTES_MAX || user.contains(char::is_control) => {
            Err(bad(format!(
                "User {:?} is no user",
                user.chars().take(80).collect::<String>()
            )))
        }
        user => Ok(user),
    }
}

fn stop_signal(text: &str) -> Result<Option<i32>> {
    match text {
        "" => Ok(None),
        _ => signal_number(text).map(Some).ok_or_else(|| {
            bad(format!(
                "StopSignal {:?} is no signal",
                text.chars().take(80).collect::<String>()
            ))
        }),
    }
}

fn ports(values: Option<BTreeMap<String, serde_json::Value>>) -> Result<Vec<ExposedPort>> {
    let mut ports = Vec::new();
    for text in values.unwrap_or_default().into_keys() {
        let parsed = (|| {
            let (range, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let protocol = match protocol.to_ascii_lowercase().as_str() {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                "sctp" => Protocol::Sctp,
                _ => return None,
            };
            let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
            (first > 0 && first <= last).then_some((first, last, protocol))
        })();
        let Some((first, last, protocol)) = parsed else {
            return Err(bad(format!("ExposedPorts has {text:?}, which is no port")));
        };
        ports.extend((first..=last).map(|port| ExposedPort { port, protocol }));
        if ports.len() > PORTS_MAX {
            return Err(bad(format!("ExposedPorts has more than {PORTS_MAX} ports")));
        }
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

fn volumes(values: Option<BTreeMap<String, serde_json::Value>>) -> Result<Vec<String>> {
    let path = |text: String| match absolute(&text) {
        Some(path) if path != "/" => Ok(path),
        _ => Err(bad(format!(
            "Volumes has {text:?}, which is no absolute path below /"
        ))),
    };
    let volumes: Vec<String> = values
        .unwrap_or_default()
        .into_keys()
        .map(path)
        .collect::<Result<_>>()?;
    if volumes.len() > STRINGS_MAX {
        return Err(bad(format!("Volumes has more than {STRINGS_MAX} paths")));
    }
    Ok(volumes)
}

/// An absolute path without `.`, `..`, empty parts and control characters.
fn absolute(text: &str) -> Option<String> {
    let inside = text.strip_prefix('/')?;
    if text.len() > PATH_BYTES_MAX || text.contains(char::is_control) {
        return None;
    }
    let parts: Vec<&str> = inside
        .split('/')
        .filter(|p| !matches!(*p, "" | "."))
        .collect();
    (!parts.contains(&"..")).then(|| format!("/{}", parts.join("/")))
}

fn bad(reason: impl Into<String>) -> Error {
    Error::document("configuration", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(config: &str) -> Result<ImageConfig> {
        let json = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{config},"rootfs":{{"diff_ids":[]}}}}"#
        );
        ImageConfig::parse(json.as_bytes()).map(|(config, _)| config)
    }

    #[test]
    fn a_full_configuration() {
        let config = parse(
            r#"{"User":"33:www","Env":["A=1","B=x=y\nz"],"Entrypoint":["/e"],"Cmd":["a","b"],
                "WorkingDir":"/srv//app/.","ExposedPorts":{"80/tcp":{},"53/udp":{},"90-91":{}},
                "Volumes":{"/data/":{}},"Labels":{"k":"v"},"StopSignal":"SIGQUIT"}"#,
        )
        .unwrap();
        let port = |port, protocol| ExposedPort { port, protocol };
        assert_eq!(
            config,
            ImageConfig {
                architecture: "amd64".into(),
                entrypoint: vec!["/e".into()],
                cmd: vec!["a".into(), "b".into()],
                env: vec![("A".into(), "1".into()), ("B".into(), "x=y\nz".into())],
                working_dir: "/srv/app".into(),
                user: Some("33:www".into()),
                stop_signal: Some(3),
                exposed_ports: vec![
                    port(53, Protocol::Udp),
                    port(80, Protocol::Tcp),
                    port(90, Protocol::Tcp),
                    port(91, Protocol::Tcp),
                ],
                volumes: vec!["/data".into()],
                labels: [("k".to_string(), "v".to_string())].into(),
            }
        );
    }

    #[test]
    fn nothing_said() {
        for text in [
            "null",
            "{}",
            r#"{"Cmd":null,"Env":null,"User":"","WorkingDir":""}"#,
        ] {
            let config = parse(text).unwrap();
            assert_eq!(config.working_dir, "/");
            assert_eq!((config.user, config.stop_signal), (None, None));
        }
    }

    #[test]
    fn what_is_refused() {
        let long = format!(r#"{{"Cmd":["{}"]}}"#, "a".repeat(STRING_BYTES_MAX + 1));
        for text in [
            r#"{"Env":["A\u0000=1"]}"#,
            r#"{"Env":["A"]}"#,
            r#"{"Env":["=1"]}"#,
            r#"{"Env":["A\nB=1"]}"#,
            r#"{"Env":{"A":"1"}}"#,
            r#"{"Entrypoint":"/bin/sh -c x"}"#,
            r#"{"Cmd":["a\u0000b"]}"#,
            r#"{"Cmd":[1]}"#,
            r#"{"Cmd":[],"Cmd":[]}"#,
            r#"{"WorkingDir":"srv"}"#,
            r#"{"WorkingDir":"/a/../b"}"#,
            r#"{"WorkingDir":"/proc/self/fd/7"}"#,
            r#"{"WorkingDir":"//proc/./self/fd/7"}"#,
            r#"{"Volumes":{"":{}}}"#,
            r#"{"Volumes":{"/":{}}}"#,
            r#"{"Volumes":{"../../etc":{}}}"#,
            r#"{"Volumes":{"/x/../../etc":{}}}"#,
            r#"{"User":"a\nb"}"#,
            r#"{"StopSignal":"SIGNOPE"}"#,
            r#"{"ExposedPorts":{"0/tcp":{}}}"#,
            r#"{"ExposedPorts":{"70000/tcp":{}}}"#,
            r#"{"ExposedPorts":{"90-80/tcp":{}}}"#,
            r#"{"ExposedPorts":{"80/quic":{}}}"#,
            &long,
        ] {
            assert!(
                parse(text).is_err(),
                "{} was accepted",
                &text[..text.len().min(80)]
            );
        }
        assert!(ImageConfig::parse(br#"{"os":"windows","rootfs":{}}"#).is_err());
        assert!(ImageConfig::parse(br#"{"rootfs":{"diff_ids":["sha256:../x"]}}"#).is_err());
    }

    #[test]
    fn signals() {
        for (text, number) in [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("9", Some(9)),
            ("SIGSYS", Some(31)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMIN", Some(34)),
            ("SIGRTMAX-1", Some(63)),
            ("SIGRTMAX-40", None),
            ("0", None),
            ("65", None),
            ("-1", None),
            ("SIG", None),
            ("SIGRTMIN3", None),
        ] {
            assert_eq!(signal_number(text), number, "{text}");
        }
    }
}
