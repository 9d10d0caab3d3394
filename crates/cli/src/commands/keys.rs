//! `keys`: access keys of the server, so that each person has one of their own.

mod import;

use super::Context;
use crate::args::DATA_DEFAULT;
use crate::failure::Failure;
use crate::find;
use crate::output::{Format, Shown};
use crate::table::Table;
use crate::words;
use import::Source;
use serde::Deserialize;
use serde_json::json;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  windlass keys                           who may call
  windlass keys create alice              make a key; its secret is shown once
  windlass keys rm alice
  windlass keys import                    take the AWS key of this shell's AWS_* variables
  windlass keys import --profile work     take the key of a profile of ~/.aws
  aws configure export-credentials | windlass keys import --stdin --name alice";

/// List, make, import and remove access keys.
///
/// Each key has a name, which is its holder's in ARNs and histories. A key that is removed is refused
/// from then on; the last one cannot be removed. `import` takes a key that its holder has already, so
/// that the same credentials reach AWS and Windlass; it goes by the data folder, not by the AWS_*
/// variables, and its secret is never an argument.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct KeysArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the keys, without their secrets.
    Ls,
    /// Make a key and show it.
    Create {
        /// Its holder: letters, digits and =,.@_-
        name: String,
    },
    /// Take a key that its holder has already.
    Import(ImportArgs),
    /// Remove a key.
    Rm {
        /// Name or access key id.
        key: String,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// Its holder; the profile's name or the user's otherwise.
    #[arg(long)]
    name: Option<String>,
    /// A profile of ~/.aws/credentials or ~/.aws/config; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
    /// and AWS_SESSION_TOKEN otherwise.
    #[arg(long, value_name = "PROFILE", conflicts_with = "stdin")]
    profile: Option<String>,
    /// Read what `aws configure export-credentials` prints.
    #[arg(long)]
    stdin: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    name: String,
    access_key_id: String,
    created_at_ms: Option<i64>,
    imported: bool,
    temporary: bool,
    caller: bool,
}

pub(crate) async fn run(args: KeysArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let format = args.shown.output;
    match args.action.unwrap_or(Action::Ls) {
        Action::Ls => list(format, context).await,
        Action::Create { name } => create(&name, format, context).await,
        Action::Import(args) => import(args, format, context).await,
        Action::Rm { key } => {
            let client = context.client()?;
            client.windlass("RemoveKey", &json!({ "key": key })).await?;
            context.out.hint(&format!("removed {key}"));
            Ok(())
        }
    }
}

async fn list(format: Format, context: &mut Context<'_>) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Listed {
        keys: Vec<Key>,
    }
    let answer = context.client()?.windlass("ListKeys", &json!({})).await?;
    if format == Format::Json {
        return context.out.json(&answer);
    }
    let listed: Result<Listed, _> = serde_json::from_value(answer);
    let listed = listed.map_err(|err| Failure::Failed(format!("ListKeys: {err}")))?;
    let lines = context.out.table(&table(&listed.keys));
    context.out.lines(&lines)
}

fn table(keys: &[Key]) -> Table {
    let mut table = Table::new(&["NAME", "ACCESS KEY ID", "CREATED", "KIND"]);
    for key in keys {
        let mut kinds = Vec::new();
        kinds.extend(key.imported.then_some("imported"));
        kinds.extend(key.temporary.then_some("temporary"));
        kinds.extend(key.caller.then_some("this one calls"));
        table.push([
            key.name.clone(),
            key.access_key_id.clone(),
            key.created_at_ms.map_or_else(String::new, words::rfc3339),
            kinds.join(", "),
        ]);
    }
    table
}

async fn create(name: &str, format: Format, context: &mut Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    let answer = client
        .windlass("CreateKey", &json!({ "name": name }))
        .await?;
    if format == Format::Json {
        return context.out.json(&answer);
    }
    let shown = |member: &str| answer["key"][member].as_str().unwrap_or("").to_owned();
    let lines = [
        format!("AWS_ACCESS_KEY_ID={}", shown("accessKeyId")),
        format!("AWS_SECRET_ACCESS_KEY={}", shown("secretAccessKey")),
    ];
    context.out.lines(&lines)?;
    context.out.hint(&format!(
        "the secret of {name} is not shown again; its holder also needs AWS_ENDPOINT_URL_ECS={} and \
         AWS_REGION={}",
        client.url, client.region
    ));
    Ok(())
}

async fn import(
    args: ImportArgs,
    format: Format,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let data = context.data.as_deref().unwrap_or(Path::new(DATA_DEFAULT));
    let client = find::in_folder(data)?;
    if !is_loopback(client.host()) {
        return Err(Failure::Usage(format!(
            "the secret of a key would go to {} unencrypted: import it on the server's machine",
            client.url
        )));
    }
    let environment = context.environment;
    let source = match (&args.profile, args.stdin) {
        (Some(profile), _) => Source::Profile(profile),
        (None, true) => Source::Stdin,
        (None, false) => Source::Variables,
    };
    let keys = source.read(environment)?;
    let user = || {
        environment
            .var("SUDO_USER")
            .or_else(|| environment.var("USER"))
    };
    let name = args.name.as_deref().or(args.profile.as_deref());
    let name = name.or_else(user).unwrap_or("imported");
    let request = json!({
        "name": name,
        "accessKeyId": keys.access_key_id,
        "secretAccessKey": keys.secret_access_key,
        "sessionToken": keys.session_token,
    });
    let answer = client.windlass("ImportKey", &request).await?;
    if format == Format::Json {
        return context.out.json(&answer);
    }
    context
        .out
        .line(&format!("{} is the key of {name}", keys.access_key_id))
}

fn is_loopback(host: &str) -> bool {
    let address: Option<std::net::IpAddr> = host.parse().ok();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

/// Files of the AWS tools, in the order in which they look: credentials, then configuration.
pub(super) fn aws_files(environment: &crate::environment::Environment) -> [Option<PathBuf>; 2] {
    let home = environment.var("HOME").map(Path::new);
    let file = |variable: &str, name: &str| {
        let chosen = environment.var(variable).map(PathBuf::from);
        chosen.or_else(|| home.map(|home| home.join(".aws").join(name)))
    };
    [
        file("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
        file("AWS_CONFIG_FILE", "config"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listed_without_secrets() {
        let keys = json!([
            { "name": "alice", "accessKeyId": "ASIAEXAMPLE", "createdAtMs": 0, "imported": true,
              "temporary": true, "caller": false },
            { "name": "windlass", "accessKeyId": "AKIAEXAMPLE", "createdAtMs": null,
              "imported": false, "temporary": false, "caller": true },
        ]);
        let keys: Vec<Key> = serde_json::from_value(keys).unwrap();
        assert_eq!(
            table(&keys).render(false),
            [
                "NAME      ACCESS KEY ID  CREATED               KIND",
                "alice     ASIAEXAMPLE    1970-01-01T00:00:00Z  imported, temporary",
                "windlass  AKIAEXAMPLE    -                     this one calls",
            ]
        );
    }

    #[test]
    fn a_secret_stays_on_the_machine() {
        for (host, expected) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("localhost", true),
            ("10.0.0.5", false),
            ("localhost.example", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }
}
