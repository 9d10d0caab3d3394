//! `login` and `logout`: the server's passwords for registries.

use super::Context;
use crate::failure::Failure;
use crate::limits;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

const LOGIN_EXAMPLES: &str = "\
Examples:
  windlass login registry.example.com -u me --password-stdin < password.txt
  aws ecr get-login-password | windlass login 111122223333.dkr.ecr.us-east-1.amazonaws.com \\
      -u AWS --password-stdin
  windlass login --docker-config                     what `docker login` has kept for you

The server tries the password at the registry and keeps it in a file for root alone.";

/// Give the server a password for a registry.
#[derive(Debug, clap::Args)]
#[command(after_help = LOGIN_EXAMPLES)]
pub struct LoginArgs {
    /// The registry as image names have it, HOST or HOST:PORT; docker.io is Docker Hub.
    #[arg(value_name = "HOST", required_unless_present = "docker_config")]
    host: Option<String>,
    #[arg(long, short, value_name = "USER", requires = "host")]
    username: Option<String>,
    /// Read the password, or token, from standard input.
    #[arg(long, requires = "host")]
    password_stdin: bool,
    /// Take over the passwords of a file of Docker's, for HOST or all [default FILE:
    /// ~/.docker/config.json].
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with_all = ["username", "password_stdin"])]
    docker_config: Option<Option<PathBuf>>,
}

const LOGOUT_EXAMPLES: &str = "\
Examples:
  windlass logout registry.example.com";

/// Make the server forget its password for a registry.
#[derive(Debug, clap::Args)]
#[command(after_help = LOGOUT_EXAMPLES)]
pub struct LogoutArgs {
    #[arg(value_name = "HOST")]
    host: String,
}

/// Shows no password.
struct Login {
    host: String,
    username: String,
    password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({} at {})", self.username, self.host)
    }
}

pub(crate) async fn login(args: LoginArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let logins = match (&args.docker_config, &args.host) {
        (Some(path), host) => of_docker(path.as_deref(), host.as_deref(), context)?,
        (None, Some(host)) => vec![of_stdin(&args, host)?],
        (None, None) => return Err(Failure::Usage("name the registry: HOST".to_owned())),
    };
    let client = context.client()?;
    for login in logins {
        let request = json!({
            "registry": login.host,
            "username": login.username,
            "password": login.password,
        });
        client.windlass("LoginRegistry", &request).await?;
        let done = format!("logged in to {} as {}", login.host, login.username);
        context.out.note(&done);
    }
    Ok(())
}

pub(crate) async fn logout(args: LogoutArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    let request = json!({ "registry": args.host });
    client.windlass("LogoutRegistry", &request).await?;
    let done = format!("logged out of {}", args.host);
    context.out.note(&done);
    Ok(())
}

fn of_stdin(args: &LoginArgs, host: &str) -> Result<Login, Failure> {
    if !args.password_stdin {
        return Err(Failure::Usage(
            "the password is read from standard input with --password-stdin alone, so that it is \
             in no history and no list of processes"
                .to_owned(),
        ));
    }
    let username = args.username.clone();
    let username = username.ok_or_else(|| Failure::Usage("name the user: -u USER".to_owned()))?;
    let mut password = String::new();
    std::io::stdin()
        .take(limits::PASSWORD_BYTES_MAX)
        .read_to_string(&mut password)
        .map_err(Failure::file("read the password".to_owned()))?;
    let password = password.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        return Err(Failure::Usage(
            "the password on standard input is empty".to_owned(),
        ));
    }
    Ok(Login {
        host: host.to_owned(),
        username,
        password,
    })
}

#[derive(Deserialize)]
struct DockerFile {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct DockerAuth {
    #[serde(default)]
    auth: Option<String>,
}

fn of_docker(
    path: Option<&Path>,
    host: Option<&str>,
    context: &Context<'_>,
) -> Result<Vec<Login>, Failure> {
    let path = match (path, context.environment.var("HOME")) {
        (Some(path), _) => path.to_owned(),
        (None, Some(home)) => Path::new(home).join(".docker/config.json"),
        (None, None) => {
            let why = "HOME is not set: name the file after --docker-config";
            return Err(Failure::Usage(why.to_owned()));
        }
    };
    let shown = path.display();
    let text = std::fs::read(&path).map_err(Failure::file(format!("read {shown}")))?;
    let logins = read_docker(&text, host).map_err(|why| Failure::Failed(format!("{shown}: {why}")));
    let (logins, elsewhere) = logins?;
    match logins.is_empty() {
        false => Ok(logins),
        true => Err(Failure::Failed(format!(
            "{shown} holds no password{}{elsewhere}",
            host.map_or_else(String::new, |host| format!(" for {host}"))
        ))),
    }
}

/// The passwords of a file of Docker's, and what is to be said of those that lie elsewhere.
fn read_docker(text: &[u8], host: Option<&str>) -> Result<(Vec<Login>, &'static str), String> {
    // Not what the parser says: it may repeat a part of the text.
    let file: DockerFile = serde_json::from_slice(text)
        .map_err(|err| format!("line {} is not as Docker writes it", err.line()))?;
    let elsewhere = match file.store.is_some() || !file.helpers.is_empty() {
        true => {
            "; Docker keeps them with a credential helper, a program that Windlass does not run: \
             give the password with --password-stdin"
        }
        false => "",
    };
    let mut logins = Vec::new();
    for (key, auth) in file.auths {
        let found = docker_host(&key);
        if host.is_some_and(|host| docker_host(host) != found) {
            continue;
        }
        let Some(auth) = auth.auth.filter(|auth| !auth.is_empty()) else {
            continue;
        };
        let pair = STANDARD.decode(&auth).ok();
        let pair = pair.and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = pair.as_deref().and_then(|pair| pair.split_once(':'));
        let (username, password) = pair.ok_or_else(|| format!("auth of {found} is damaged"))?;
        logins.push(Login {
            host: found,
            username: username.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        });
    }
    Ok((logins, elsewhere))
}

/// `https://index.docker.io/v1/` is Docker's key for its own registry.
fn docker_host(key: &str) -> String {
    let rest = key.strip_prefix("https://").or(key.strip_prefix("http://"));
    let rest = rest.unwrap_or(key);
    match rest.split('/').next().unwrap_or(rest) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_docker() {
        let text = br#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "bWU6c2VjcmV0OjE="},
            "r.example:5000": {"auth": "QVdTOnRva2Vu"}, "other.example": {}},
            "credHelpers": {"x": "ecr-login"}}"#;
        let (all, elsewhere) = read_docker(text, None).unwrap();
        let shown: Vec<_> = all
            .iter()
            .map(|l| (l.host.as_str(), l.username.as_str(), l.password.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                ("docker.io", "me", "secret:1"),
                ("r.example:5000", "AWS", "token")
            ]
        );
        assert!(elsewhere.contains("credential helper"));
        assert!(!format!("{all:?}").contains("secret"));
        let (one, _) = read_docker(text, Some("docker.io")).unwrap();
        assert_eq!(one.len(), 1);
        for bad in [
            &br#"{"auths": {"x": {"auth": "!secret"}}}"#[..],
            br#"{"auths": "secret"}"#,
        ] {
            assert!(!read_docker(bad, None).unwrap_err().contains("secret"));
        }
    }
}
