//! The image configuration: what an image wants to run, read with types and limits.
//!
//! What a process is started with ends up in a system call or a path: a text with a zero byte or a
//! working folder in `/proc` is refused when the image arrives, not when a task starts. Whatever
//! else an image says never refuses it: a field that Docker passes over, or that has a harmless
//! default, is left out (ports that are none, a variable without a value, an unknown signal), and a
//! path is taken as seen from the image's root.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::platform::{Machine, architecture_name};

/// One argument or variable: the kernel's limit for a string of execve.
const STRING_BYTES_MAX: usize = 128 << 10;
const STRINGS_MAX: usize = 10_000;
const USER_BYTES_MAX: usize = 256;
const PATH_BYTES_MAX: usize = 4_095;
/// All ports of all protocols.
const PORTS_MAX: usize = 3 * 65_535;
const CREATED_BYTES_MAX: usize = 64;

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
    /// When the image was built, as RFC 3339 text that was not checked.
    pub created: Option<String>,
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
    architecture: Option<String>,
    os: Option<String>,
    created: Option<Value>,
    config: Option<Process>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<Digest>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Process {
    user: Option<String>,
    exposed_ports: Option<Value>,
    env: Option<Vec<String>>,
    entrypoint: Option<Words>,
    cmd: Option<Words>,
    volumes: Option<Value>,
    working_dir: Option<String>,
    labels: Option<Value>,
    stop_signal: Option<Value>,
}

/// Builders of old wrote a command of one word as a plain text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Many(Vec<String>),
    One(String),
}

impl ImageConfig {
    /// Reads the configuration and the digests of the uncompressed layers, the lowest first.
    ///
    /// # Errors
    /// [`Error::Document`] with the field and what is wrong with it.
    pub fn parse(json: &[u8]) -> Result<(Self, Vec<Digest>)> {
        let document: Document = serde_json::from_slice(json).map_err(|e| bad(e.to_string()))?;
        let os = document.os.unwrap_or_default();
        if !os.is_empty() && !os.eq_ignore_ascii_case("linux") {
            return Err(bad(format!("it is for {os:?}, not for linux")));
        }
        let process = document.config.unwrap_or_default();
        let config = Self {
            architecture: architecture(document.architecture),
            entrypoint: entrypoint(process.entrypoint)?,
            cmd: strings("Cmd", words(process.cmd))?,
            env: environment(process.env)?,
            working_dir: working_dir(process.working_dir)?,
            user: user(process.user)?,
            stop_signal: process.stop_signal.as_ref().and_then(stop_signal),
            exposed_ports: ports(&keys(process.exposed_ports)),
            volumes: volumes(&keys(process.volumes))?,
            labels: labels(process.labels),
            created: created(document.created),
        };
        Ok((config, document.rootfs.diff_ids.unwrap_or_default()))
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
    // Other names of the same signals.
    let name = match name {
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        "POLL" => "IO",
        "UNUSED" => "SYS",
        name => name,
    };
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

/// Tools that put images together by hand leave it out, and mean the machine they run on.
fn architecture(given: Option<String>) -> String {
    match architecture_name(given.as_deref().unwrap_or_default()) {
        name if name.is_empty() => Machine::own().architecture.to_string(),
        name => name,
    }
}

fn words(words: Option<Words>) -> Vec<String> {
    match words {
        None => Vec::new(),
        Some(Words::One(word)) => vec![word],
        Some(Words::Many(words)) => words,
    }
}

/// A single empty word is how an image says that it has no entry point.
fn entrypoint(given: Option<Words>) -> Result<Vec<String>> {
    let words = strings("Entrypoint", words(given))?;
    let is_none = matches!(words.as_slice(), [only] if only.is_empty());
    Ok(if is_none { Vec::new() } else { words })
}

fn strings(field: &str, values: Vec<String>) -> Result<Vec<String>> {
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

/// No program finds a variable without a name or a value, so that these are left out.
fn environment(values: Option<Vec<String>>) -> Result<Vec<(String, String)>> {
    let split = |variable: String| {
        let (name, value) = variable.split_once('=')?;
        let is_name = !name.is_empty() && !name.contains(char::is_control);
        is_name.then(|| (name.to_string(), value.to_string()))
    };
    let values = strings("Env", values.unwrap_or_default())?;
    Ok(values.into_iter().filter_map(split).collect())
}

fn working_dir(value: Option<String>) -> Result<String> {
    let given = value.as_deref().unwrap_or_default();
    match from_root(given) {
        // A process's own descriptors lie there: a known way out of a container.
        Some(path) if path == "/proc" || path.starts_with("/proc/") => {
            Err(bad("WorkingDir lies in /proc"))
        }
        Some(path) => Ok(path),
        None => Err(bad(format!("WorkingDir {given:?} is no path"))),
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

/// A signal that this machine does not know leaves the default, as in Docker.
fn stop_signal(given: &Value) -> Option<i32> {
    match given {
        Value::String(name) => signal_number(name),
        Value::Number(number) => signal_number(&number.to_string()),
        _ => None,
    }
}

/// The members of what is a set in Go: an object with empty values. Some builders write a list.
fn keys(set: Option<Value>) -> Vec<String> {
    match set {
        Some(Value::Object(members)) => members.into_iter().map(|(key, _)| key).collect(),
        Some(Value::Array(members)) => members
            .into_iter()
            .filter_map(|member| member.as_str().map(str::to_string))
            .collect(),
        _ => Vec::new(),
    }
}

fn labels(given: Option<Value>) -> BTreeMap<String, String> {
    let Some(Value::Object(labels)) = given else {
        return BTreeMap::new();
    };
    let text = |value: Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    };
    labels.into_iter().map(|(k, v)| (k, text(v))).collect()
}

fn created(given: Option<Value>) -> Option<String> {
    let text = given?.as_str()?.to_string();
    (text.len() <= CREATED_BYTES_MAX && !text.contains(char::is_control)).then_some(text)
}

/// Those that are ports; an image may say anything here, because nothing is opened for it.
fn ports(texts: &[String]) -> Vec<ExposedPort> {
    let mut ports: Vec<ExposedPort> = texts
        .iter()
        .filter_map(|text| port_range(text))
        .flat_map(|(first, last, protocol)| {
            (first..=last).map(move |port| ExposedPort { port, protocol })
        })
        .take(PORTS_MAX)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn port_range(text: &str) -> Option<(u16, u16, Protocol)> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return None,
    };
    let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
    (first > 0 && first <= last).then_some((first, last, protocol))
}

/// The root as a whole can be no volume.
fn volumes(texts: &[String]) -> Result<Vec<String>> {
    let mut volumes: Vec<String> = texts
        .iter()
        .filter_map(|text| from_root(text))
        .filter(|path| path != "/")
        .collect();
    volumes.sort_unstable();
    volumes.dedup();
    if volumes.len() > STRINGS_MAX {
        return Err(bad(format!("Volumes has more than {STRINGS_MAX} paths")));
    }
    Ok(volumes)
}

/// A path as a process at the image's root would write it, without `.`, `..` and empty parts: the
/// parent of the root is the root. `None` when it is too long or has control characters.
fn from_root(text: &str) -> Option<String> {
    if text.len() > PATH_BYTES_MAX || text.contains(char::is_control) {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
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
                created: None,
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

    /// Each is an image that Docker starts; what is odd about it is left out or has its default.
    #[test]
    fn oddities_refuse_no_image() {
        type Expected = fn(&mut ImageConfig);
        let cases: &[(&str, Expected)] = &[
            (r#"{"ExposedPorts":{"8080,/tcp":{}}}"#, |_| {}),
            (r#"{"ExposedPorts":{"0/tcp":{},"$PORT/tcp":{}}}"#, |_| {}),
            (
                r#"{"ExposedPorts":{"70000":{},"9-8":{},"1/quic":{}}}"#,
                |_| {},
            ),
            (
                r#"{"ExposedPorts":null,"Volumes":null,"Labels":null}"#,
                |_| {},
            ),
            (r#"{"ExposedPorts":["53/udp"]}"#, |c| {
                let protocol = Protocol::Udp;
                c.exposed_ports = vec![ExposedPort { port: 53, protocol }];
            }),
            (r#"{"Volumes":{"data":{}}}"#, |c| {
                c.volumes = vec!["/data".into()];
            }),
            (r#"{"Volumes":{"[/data":{},"/x]":{}}}"#, |c| {
                c.volumes = vec!["/[/data".into(), "/x]".into()];
            }),
            (r#"{"Volumes":{"/a/../data":{},"../../etc":{}}}"#, |c| {
                c.volumes = vec!["/data".into(), "/etc".into()];
            }),
            (
                r#"{"Volumes":{"":{},"/":{},"/x/..":{},"a\u0000":{}}}"#,
                |_| {},
            ),
            (r#"{"Volumes":["/list"]}"#, |c| {
                c.volumes = vec!["/list".into()];
            }),
            (r#"{"Env":["A=1","LONELY","","=1","B\nC=1"]}"#, |c| {
                c.env = vec![("A".into(), "1".into())];
            }),
            (r#"{"Cmd":"/bin/true"}"#, |c| {
                c.cmd = vec!["/bin/true".into()]
            }),
            (r#"{"Entrypoint":"/bin/sh -c x"}"#, |c| {
                c.entrypoint = vec!["/bin/sh -c x".into()];
            }),
            (r#"{"Entrypoint":[""],"Cmd":["x"]}"#, |c| {
                c.cmd = vec!["x".into()];
            }),
            (r#"{"StopSignal":"SIGPOLL"}"#, |c| c.stop_signal = Some(29)),
            (r#"{"StopSignal":3}"#, |c| c.stop_signal = Some(3)),
            (r#"{"StopSignal":"SIGFOO"}"#, |_| {}),
            (r#"{"Labels":{"a":null,"b":1}}"#, |c| {
                let label = |k: &str, v: &str| (k.to_string(), v.to_string());
                c.labels = [label("a", ""), label("b", "1")].into();
            }),
            (r#"{"WorkingDir":"/app/../tmp"}"#, |c| {
                c.working_dir = "/tmp".into();
            }),
            (r#"{"WorkingDir":"../srv"}"#, |c| {
                c.working_dir = "/srv".into()
            }),
            (r#"{"User":"0:"}"#, |c| c.user = Some("0:".into())),
        ];
        for (text, expected) in cases {
            let mut want = ImageConfig {
                architecture: "amd64".into(),
                working_dir: "/".into(),
                ..ImageConfig::default()
            };
            expected(&mut want);
            let read = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(read, want, "{text}");
        }
    }

    #[test]
    fn what_is_said_of_the_machine_and_the_layers() {
        let own = Machine::own().architecture;
        for (text, architecture, created) in [
            (r#"{"rootfs":{}}"#, own, None),
            (
                r#"{"architecture":null,"os":null,"rootfs":{"diff_ids":null}}"#,
                own,
                None,
            ),
            (
                r#"{"architecture":"x86_64","os":"Linux","rootfs":{}}"#,
                "amd64",
                None,
            ),
            (r#"{"architecture":"AMD64","rootfs":{}}"#, "amd64", None),
            (
                r#"{"architecture":"aarch64","created":7,"rootfs":{}}"#,
                "arm64",
                None,
            ),
            (
                r#"{"created":"2024-05-06T07:08:09Z","rootfs":{}}"#,
                own,
                Some("2024-05-06T07:08:09Z"),
            ),
        ] {
            let (config, layers) = ImageConfig::parse(text.as_bytes()).expect(text);
            assert_eq!(config.architecture, architecture, "{text}");
            assert_eq!(config.created.as_deref(), created, "{text}");
            assert!(layers.is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        let long = format!(r#"{{"Cmd":["{}"]}}"#, "a".repeat(STRING_BYTES_MAX + 1));
        for text in [
            r#"{"Env":["A\u0000=1"]}"#,
            r#"{"Env":{"A":"1"}}"#,
            r#"{"Entrypoint":"a\u0000b"}"#,
            r#"{"Cmd":["a\u0000b"]}"#,
            r#"{"Cmd":[1]}"#,
            r#"{"Cmd":[],"Cmd":[]}"#,
            r#"{"WorkingDir":"/a\u0000"}"#,
            r#"{"WorkingDir":"/proc/self/fd/7"}"#,
            r#"{"WorkingDir":"//proc/./self/fd/7"}"#,
            r#"{"WorkingDir":"proc/self/fd/7"}"#,
            r#"{"WorkingDir":"/srv/../proc/self/fd/7"}"#,
            r#"{"WorkingDir":"../proc"}"#,
            r#"{"User":"a\nb"}"#,
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
            ("SIGIOT", Some(6)),
            ("CLD", Some(17)),
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
