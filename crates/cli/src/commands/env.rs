//! `env`: variables that point the AWS tools at this server, for a shell to evaluate.

mod beside;
mod profile;

use super::Context;
use crate::args::DATA_DEFAULT;
use crate::client::Client;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::find;
use crate::limits;
use clap::ValueEnum;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::process::Stdio;

const EXAMPLES: &str = "\
Examples:
  eval \"$(windlass env)\"                       bash, zsh and other POSIX shells
  windlass env --shell fish | source
  windlass env --shell github >> \"$GITHUB_ENV\"   for the later steps of a GitHub job
  windlass env --profile windlass              then: aws --profile windlass ecs list-clusters
  eval \"$(windlass env --beside-aws)\"          ECS here, everything else at Amazon

The variables hold Windlass's own keys, with which no other service of AWS answers. So they send the
calls for every service here, and Windlass refuses those that it does not serve (it serves ECS and
STS): no call with its keys leaves the machine. To use both, take --profile, or import your own access
key (`windlass keys import`) and take --beside-aws.

The server is that of --data, else that of /var/lib/windlass, else the one that the variables of this
shell name.";

/// Print the variables that point aws, SDKs and windlass at this server.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct EnvArgs {
    /// For which shell; found from SHELL otherwise.
    #[arg(long, value_enum)]
    shell: Option<Shell>,
    /// Print nothing, and write a profile of this name into the configuration of the AWS tools:
    /// `aws --profile NAME` reaches this server, every other profile and shell stays as it is.
    #[arg(long, value_name = "NAME", value_parser = profile::name, conflicts_with_all = ["shell", "beside_aws"])]
    profile: Option<String>,
    /// Only what sends calls for ECS here: no keys, and nothing for the other services. For an
    /// access key of yours that `windlass keys import` made known here.
    #[arg(long)]
    beside_aws: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// bash, zsh, dash and other POSIX shells.
    Bash,
    Fish,
    /// An object; null for what must not be set.
    Json,
    /// Lines for the file that GITHUB_ENV names.
    Github,
}

/// Variables by which an AWS tool would go elsewhere, or with other keys, in spite of ours.
const RIVALS: [&str; 9] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_ENDPOINT_URL_ECS",
    "AWS_ENDPOINT_URL_STS",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];

/// What goes into the shell: variables that are set, and those that are unset.
struct Settings<'c> {
    set: Vec<(&'static str, &'c str)>,
    unset: &'static [&'static str],
}

/// Under --beside-aws: what would turn the one variable off.
const RIVALS_BESIDE: [&str; 1] = ["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"];

impl Settings<'_> {
    fn all(client: &Client) -> Settings<'_> {
        Settings {
            set: variables(client).to_vec(),
            unset: &RIVALS,
        }
    }

    fn beside(client: &Client) -> Settings<'_> {
        Settings {
            set: vec![("AWS_ENDPOINT_URL_ECS", &client.url)],
            unset: &RIVALS_BESIDE,
        }
    }
}

pub(crate) async fn run(args: EnvArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let client = server(context)?;
    if let Some(name) = &args.profile {
        for note in profile::write(name, &client, context.environment)? {
            context.out.note(&note);
        }
        let next = format!("next: `aws --profile {name} ecs list-clusters`");
        context.out.hint(&next);
    } else {
        print(&args, &client, context).await?;
    }
    if let Some(warning) = old_aws(context.environment, &client).await {
        context.out.note(&warning);
    }
    Ok(())
}

async fn print(args: &EnvArgs, client: &Client, context: &mut Context<'_>) -> Result<(), Failure> {
    let settings = match args.beside_aws {
        true => Settings::beside(client),
        false => Settings::all(client),
    };
    let shell = args.shell.unwrap_or_else(|| shell_of(context.environment));
    let lines = render(shell, &settings)?;
    context.out.lines(&lines)?;
    context.out.flush()?;
    if shell == Shell::Github {
        warn_of_rivals(settings.unset, context);
    }
    if args.beside_aws {
        beside::warn(client, context).await;
    }
    Ok(())
}

/// The server whose variables are printed. Those of this shell may be of an earlier one, so the
/// folder is looked at first.
fn server(context: &mut Context<'_>) -> Result<Client, Failure> {
    if let Some(data) = &context.data {
        return find::in_folder(data);
    }
    let named = find::in_variables(context.environment).ok().flatten();
    match (find::in_folder(Path::new(DATA_DEFAULT)), named) {
        (Ok(client), named) => {
            let other = named.filter(|named| named.url != client.url);
            if let Some(named) = other {
                context.out.note(&format!(
                    "windlass: this is of the server of {DATA_DEFAULT}, {}; the variables of this \
                     shell name {}, whose folder --data can name",
                    client.url, named.url
                ));
            }
            Ok(client)
        }
        (Err(_), Some(named)) => Ok(named),
        (Err(failure), None) => Err(failure),
    }
}

fn warn_of_rivals(rivals: &[&str], context: &mut Context<'_>) {
    let set = rivals
        .iter()
        .filter(|name| context.environment.var(name).is_some());
    for name in set {
        context.out.note(&format!(
            "windlass: {name} is set and would win; GITHUB_ENV cannot unset it, so unset it in the \
             job"
        ));
    }
}

fn shell_of(environment: &Environment) -> Shell {
    match environment
        .var("SHELL")
        .and_then(|shell| shell.rsplit('/').next())
    {
        Some("fish") => Shell::Fish,
        _ => Shell::Bash,
    }
}

fn variables(client: &Client) -> [(&'static str, &str); 5] {
    [
        ("AWS_ENDPOINT_URL", &client.url),
        ("AWS_ACCESS_KEY_ID", &client.keys.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &client.keys.secret_access_key),
        ("AWS_REGION", &client.region),
        ("AWS_DEFAULT_REGION", &client.region),
    ]
}

fn render(shell: Shell, settings: &Settings<'_>) -> Result<Vec<String>, Failure> {
    let variables = &settings.set;
    if let Some((name, _)) = variables
        .iter()
        .find(|(_, value)| value.chars().any(char::is_control))
    {
        return Err(Failure::Failed(format!(
            "{name} holds a control character: the data folder's files are damaged"
        )));
    }
    let each = |write: fn(&str, &str) -> String| variables.iter().map(move |(n, v)| write(n, v));
    let rivals = settings.unset.join(" ");
    Ok(match shell {
        Shell::Bash => std::iter::once(format!("unset {rivals}"))
            .chain(each(|name, value| {
                format!("export {name}={}", posix(value))
            }))
            .collect(),
        Shell::Fish => std::iter::once(format!("set -e {rivals}"))
            .chain(each(|name, value| {
                format!("set -gx {name} {}", fish(value))
            }))
            .collect(),
        Shell::Github => each(|name, value| format!("{name}={value}")).collect(),
        Shell::Json => {
            let set = variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
            let unset = settings
                .unset
                .iter()
                .map(|name| ((*name).to_owned(), Value::Null));
            let object: Map<String, Value> = set.chain(unset).collect();
            vec![format!("{:#}", Value::Object(object))]
        }
    })
}

/// Between single quotes a POSIX shell takes everything as it is, but the quote.
fn posix(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Between single quotes fish knows `\\` and `\'`.
fn fish(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

/// The first releases of the AWS CLI that go by AWS_ENDPOINT_URL. Source: both change logs, of July
/// 2023, and botocore 1.31.0, which version 1.29.0 uses.
const ENDPOINT_SINCE: [(u32, u32); 2] = [(1, 29), (2, 13)];

/// A warning when the `aws` of this shell would ignore the endpoint and ask Amazon.
async fn old_aws(environment: &Environment, client: &Client) -> Option<String> {
    let path = environment.var("PATH")?;
    let program = path
        .split(':')
        .map(|dir| PathBuf::from(dir).join("aws"))
        .find(|it| it.is_file())?;
    let mut command = tokio::process::Command::new(&program);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(limits::AWS_TIMEOUT, command.output())
        .await
        .ok()?
        .ok()?;
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = too_old(&version)?;
    Some(format!(
        "windlass: {} is version {version}, which ignores these variables and the services of a \
         profile, and would ask Amazon: call it as `aws --endpoint-url {}`, or install 2.13 or newer \
         (of version 1, 1.29; boto3 with botocore 1.31)",
        program.display(),
        client.url
    ))
}

/// The version that `aws-cli/2.9.19 Python/3.11 …` says, when it is too old.
fn too_old(text: &str) -> Option<&str> {
    let version = text
        .trim()
        .strip_prefix("aws-cli/")?
        .split_whitespace()
        .next()?;
    let mut numbers = version
        .split('.')
        .map_while(|part| part.parse::<u32>().ok());
    let (major, minor) = (numbers.next()?, numbers.next()?);
    let (_, since) = ENDPOINT_SINCE.into_iter().find(|(of, _)| *of == major)?;
    (minor < since).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Keys;

    fn render(shell: Shell, client: &Client) -> Result<Vec<String>, Failure> {
        super::render(shell, &Settings::all(client))
    }

    #[test]
    fn beside_aws_only_ecs_comes_here() {
        let client = client("s");
        let lines = super::render(Shell::Bash, &Settings::beside(&client)).unwrap();
        assert_eq!(
            lines,
            [
                "unset AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
                "export AWS_ENDPOINT_URL_ECS='http://127.0.0.1:7737'"
            ]
        );
    }

    fn client(secret: &str) -> Client {
        let keys = Keys {
            access_key_id: "AKIA".into(),
            secret_access_key: secret.into(),
            session_token: None,
        };
        Client::new("http://127.0.0.1:7737", "eu-west-1", keys).unwrap()
    }

    #[test]
    fn values_are_quoted_for_each_shell() {
        let client = client(r"a'b\c$(d)`e`");
        let line = |shell, at: usize| render(shell, &client).unwrap().swap_remove(at);
        assert!(line(Shell::Bash, 0).starts_with("unset AWS_PROFILE AWS_DEFAULT_PROFILE "));
        assert_eq!(
            line(Shell::Bash, 1),
            "export AWS_ENDPOINT_URL='http://127.0.0.1:7737'"
        );
        assert_eq!(
            line(Shell::Bash, 3),
            r"export AWS_SECRET_ACCESS_KEY='a'\''b\c$(d)`e`'"
        );
        assert_eq!(
            line(Shell::Fish, 3),
            r"set -gx AWS_SECRET_ACCESS_KEY 'a\'b\\c$(d)`e`'"
        );
        assert_eq!(line(Shell::Github, 3), "AWS_REGION=eu-west-1");
        assert_eq!(render(Shell::Github, &client).unwrap().len(), 5);
        let json: Value = serde_json::from_str(&line(Shell::Json, 0)).unwrap();
        assert_eq!(json["AWS_SECRET_ACCESS_KEY"], r"a'b\c$(d)`e`");
        assert_eq!(json["AWS_PROFILE"], Value::Null);
        assert_eq!(json.as_object().unwrap().len(), 14);
    }

    #[test]
    fn a_real_shell_reads_the_quotes_back() {
        let secret = r#"a'b"\c$(exit 1)`exit 1` *;&|"#;
        let lines = render(Shell::Bash, &client(secret)).unwrap().join("\n");
        let script = format!("{lines}\nprintf %s \"$AWS_SECRET_ACCESS_KEY\"");
        let output = std::process::Command::new("/bin/sh")
            .arg("-c")
            .arg(script)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), secret);
    }

    #[test]
    fn a_line_end_in_a_value_is_refused() {
        assert!(render(Shell::Github, &client("a\nPATH=/evil")).is_err());
    }

    #[test]
    fn the_shell_is_found_from_the_environment() {
        for (shell, expected) in [("/usr/bin/fish", Shell::Fish), ("/bin/zsh", Shell::Bash)] {
            let vars = [("SHELL".to_owned(), shell.to_owned())].into();
            assert_eq!(
                shell_of(&Environment {
                    vars,
                    ..Environment::default()
                }),
                expected
            );
        }
    }

    #[test]
    fn old_versions_are_known() {
        for (text, expected) in [
            (
                "aws-cli/2.9.19 Python/3.11.2 Linux/6.1 source/x86_64\n",
                Some("2.9.19"),
            ),
            ("aws-cli/2.13.0 Python/3.11", None),
            ("aws-cli/2.31.4", None),
            ("aws-cli/1.22.34 Python/3.10", Some("1.22.34")),
            ("aws-cli/1.29.0", None),
            ("aws-cli/3.0.0", None),
            ("something else", None),
        ] {
            assert_eq!(too_old(text), expected, "{text}");
        }
    }
}
