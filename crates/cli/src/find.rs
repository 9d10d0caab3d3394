//! Looks for the server: the data folder of `--data`; else the `AWS_*` variables that `windlass
//! env` prints; else the default data folder.
//!
//! The data folder's files are written by the server: `endpoint` while it serves, `credentials.json`
//! and `installation.json` at its first start.

use crate::args::DATA_DEFAULT;
use crate::client::{Client, Keys};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::limits;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Region of signatures where none is known.
const REGION: &str = "us-east-1";

/// The server that is meant.
///
/// # Errors
/// When there is none, or its keys may not be read; says how to mend it.
pub fn find_server(data: Option<&Path>, environment: &Environment) -> Result<Client, Failure> {
    if let Some(data) = data {
        return in_folder(data);
    }
    let data = Path::new(DATA_DEFAULT);
    match in_variables(environment) {
        Ok(Some(client)) => return Ok(client),
        Ok(None) => {}
        // `env --beside-aws` names the server and leaves the keys to profiles, which are not read
        // here: the folder of the same server has some.
        Err(failure) => {
            let named = endpoint(environment);
            let same = in_folder(data)
                .ok()
                .filter(|it| named == Some(it.url.as_str()));
            return same.ok_or(failure);
        }
    }
    if data.join("installation.json").exists() || data.join("endpoint").exists() {
        return in_folder(data);
    }
    Err(Failure::Unreachable(format!(
        "no server found: AWS_ENDPOINT_URL is not set, and {DATA_DEFAULT} has no installation; \
         start one with `sudo windlass up`, or name its folder with --data"
    )))
}

#[derive(Deserialize)]
struct Endpoint {
    url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credentials {
    access_key_id: String,
    secret_access_key: String,
}

#[derive(Deserialize)]
struct Installation {
    region: String,
}

/// The server of a data folder.
pub(crate) fn in_folder(data: &Path) -> Result<Client, Failure> {
    let shown = data.display();
    let Some(endpoint) = read::<Endpoint>(data, "endpoint")? else {
        return Err(Failure::Unreachable(
            match data.join("installation.json").exists() {
                true => {
                    format!("no server runs on {shown}: start it with `windlass up --data {shown}`")
                }
                false => format!(
                    "{shown} is no data folder of Windlass: `windlass up --data {shown}` makes one"
                ),
            },
        ));
    };
    let credentials = read::<Credentials>(data, "credentials.json")?;
    let credentials = credentials.ok_or_else(|| {
        Failure::Denied(format!(
            "{shown}/credentials.json is missing: `windlass down` and `windlass up --data {shown}` \
             make new keys"
        ))
    })?;
    let region = read::<Installation>(data, "installation.json")?;
    let keys = Keys {
        access_key_id: credentials.access_key_id,
        secret_access_key: credentials.secret_access_key,
        session_token: None,
    };
    Client::new(
        &endpoint.url,
        region.as_ref().map_or(REGION, |it| &it.region),
        keys,
    )
}

fn read<T: DeserializeOwned>(data: &Path, name: &str) -> Result<Option<T>, Failure> {
    let path = data.join(name);
    let opened = File::open(&path).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(limits::DATA_FILE_BYTES_MAX)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    match opened {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|err| {
            Failure::Failed(format!(
                "{} is damaged ({err}): restore it from a copy",
                path.display()
            ))
        }),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
            let owner = path.metadata().or_else(|_| data.metadata());
            let owner = owner.map_or(String::new(), |meta| {
                format!(", which user {} owns", meta.uid())
            });
            Err(Failure::Denied(format!(
                "you may not read {}{owner}: run `eval \"$(sudo windlass env --data {})\"` once in \
                 this shell, or use sudo",
                path.display(),
                data.display()
            )))
        }
        Err(err) => Err(Failure::File {
            what: format!("read {}", path.display()),
            err,
        }),
    }
}

fn endpoint(environment: &Environment) -> Option<&str> {
    let var = |name| environment.var(name);
    var("AWS_ENDPOINT_URL_ECS").or_else(|| var("AWS_ENDPOINT_URL"))
}

/// The server that the variables name; nothing when no endpoint is set.
pub(crate) fn in_variables(environment: &Environment) -> Result<Option<Client>, Failure> {
    let var = |name| environment.var(name);
    let Some(url) = endpoint(environment) else {
        return Ok(None);
    };
    let (Some(id), Some(secret)) = (var("AWS_ACCESS_KEY_ID"), var("AWS_SECRET_ACCESS_KEY")) else {
        return Err(Failure::Denied(format!(
            "the endpoint {url} is set without AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: run \
             `eval \"$(windlass env)\"`, or name the data folder with --data"
        )));
    };
    let region = var("AWS_REGION")
        .or_else(|| var("AWS_DEFAULT_REGION"))
        .unwrap_or(REGION);
    let keys = Keys {
        access_key_id: id.to_owned(),
        secret_access_key: secret.to_owned(),
        session_token: var("AWS_SESSION_TOKEN").map(str::to_owned),
    };
    Client::new(url, region, keys).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn environment(vars: &[(&str, &str)]) -> Environment {
        let vars = vars
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        Environment {
            vars,
            ..Environment::default()
        }
    }

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |name, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("endpoint", r#"{"url":"http://127.0.0.1:7737","pid":1}"#);
        write(
            "credentials.json",
            r#"{"accessKeyId":"AKIA","secretAccessKey":"s"}"#,
        );
        write(
            "installation.json",
            r#"{"id":"a","accountId":"000000000000","region":"eu-west-1","nodeId":"0"}"#,
        );
        dir
    }

    #[test]
    fn a_folder_wins_over_variables() {
        let dir = folder();
        let vars = environment(&[("AWS_ENDPOINT_URL", "http://other:1")]);
        let client = find_server(Some(dir.path()), &vars).unwrap();
        assert_eq!(client.url, "http://127.0.0.1:7737");
        assert_eq!(
            (client.region.as_str(), client.keys.access_key_id.as_str()),
            ("eu-west-1", "AKIA")
        );
    }

    #[test]
    fn the_services_own_variable_wins() {
        let mut vars = vec![
            ("AWS_ENDPOINT_URL", "http://all:1"),
            ("AWS_ENDPOINT_URL_ECS", "http://ecs:1"),
            ("AWS_ACCESS_KEY_ID", "A"),
            ("AWS_SECRET_ACCESS_KEY", "S"),
            ("AWS_DEFAULT_REGION", "eu-north-1"),
            ("AWS_SESSION_TOKEN", ""),
        ];
        let client = find_server(None, &environment(&vars)).unwrap();
        assert_eq!(
            (client.url.as_str(), client.region.as_str()),
            ("http://ecs:1", "eu-north-1")
        );
        assert_eq!(client.keys.session_token, None);
        vars.retain(|(name, _)| *name != "AWS_SECRET_ACCESS_KEY");
        let err = find_server(None, &environment(&vars)).unwrap_err();
        assert_eq!(err.exit_code(), 4);
        assert!(err.to_string().contains("windlass env"), "{err}");
    }

    #[test]
    fn what_is_missing_is_named_with_its_mend() {
        let dir = folder();
        fs::remove_file(dir.path().join("endpoint")).unwrap();
        let err = in_folder(dir.path()).unwrap_err();
        assert_eq!(err.exit_code(), 69);
        assert!(err.to_string().contains("windlass up --data"), "{err}");
        let err = in_folder(&dir.path().join("none")).unwrap_err();
        assert!(err.to_string().contains("no data folder"), "{err}");
        let dir = folder();
        fs::write(dir.path().join("credentials.json"), "{").unwrap();
        let err = in_folder(dir.path()).unwrap_err();
        assert_eq!(err.exit_code(), 1);
        assert!(
            err.to_string().contains("credentials.json is damaged"),
            "{err}"
        );
        fs::remove_file(dir.path().join("credentials.json")).unwrap();
        assert_eq!(in_folder(dir.path()).unwrap_err().exit_code(), 4);
    }
}
