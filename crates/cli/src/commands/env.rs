//! `env`: variables that point the AWS tools at this server, for a shell to evaluate.

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
  windlass env --shell github >> \"$GITHUB_ENV\"   for the later steps of a GitHub job";

/// Print the variables that point aws, SDKs and windlass at this server.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct EnvArgs {
    /// For which shell; found from SHELL otherwise.
    #[arg(long, value_enum)]
    shell: Option<Shell>,
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

pub(crate) async fn run(args: EnvArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let data = context.data.as_deref().unwrap_or(Path::new(DATA_DEFAULT));
    let client = find::in_folder(data)?;
    let shell = args.shell.unwrap_or_else(|| shell_of(context.environment));
    let lines = render(shell, &client)?;
    context.out.lines(&lines)?;
    context.out.flush()?;
    if shell == Shell::Github {
        for name in RIVALS
            .iter()
            .filter(|name| context.environment.var(name).is_some())
        {
            context.out.note(&format!(
                "windlass: {name} is set and would win; GITHUB_ENV cannot unset it, so unset it in \
                 the job"
            ));
        }
    }
    if let Some(warning) = old_aws(context.environment, &client).await {
        context.out.note(&warning);
    }
    Ok(())
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

fn render(shell: Shell, client: &Client) -> Result<Vec<String>, Failure> {
    let variables = variables(client);
    if let Some((name, _)) = variables
        .iter()
        .find(|(_, value)| value.chars().any(char::is_control))
    {
        return Err(Failure::Failed(format!(
            "{name} holds a control character: the data folder's files are damaged"
        )));
    }
    let each = |write: fn(&str, &str) -> String| variables.iter().map(move |(n, v)| write(n, v));
    let rivals = RIVALS.join(" ");
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
            let unset = RIVALS.iter().map(|name| ((*name).to_owned(), Value::Null));
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
        "windlass: {} is version {version}, which ignores AWS_ENDPOINT_URL and would ask Amazon: \
         call it as `aws --endpoint-url {}`, or install 2.13 or newer",
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
