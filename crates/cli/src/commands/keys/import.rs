//! Where the key to import comes from: never from the arguments, which every process may read.

use super::aws_files;
use crate::client::Keys;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::limits;
use serde::Deserialize;
use std::io::Read;

pub(super) enum Source<'a> {
    Variables,
    Profile(&'a str),
    Stdin,
}

impl Source<'_> {
    pub(super) fn read(&self, environment: &Environment) -> Result<Keys, Failure> {
        match self {
            Source::Variables => of_variables(environment),
            Source::Profile(profile) => of_profile(profile, environment),
            Source::Stdin => {
                let mut text = String::new();
                let stdin = std::io::stdin().lock();
                let read = stdin
                    .take(limits::DATA_FILE_BYTES_MAX)
                    .read_to_string(&mut text);
                read.map_err(Failure::file("read standard input"))?;
                of_export(&text)
            }
        }
    }
}

fn of_variables(environment: &Environment) -> Result<Keys, Failure> {
    let var = |name: &str| environment.var(name).map(str::to_owned);
    let (Some(access_key_id), Some(secret_access_key)) =
        (var("AWS_ACCESS_KEY_ID"), var("AWS_SECRET_ACCESS_KEY"))
    else {
        let why = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set: set them, or name a \
                   --profile, or use --stdin";
        return Err(Failure::Usage(why.to_owned()));
    };
    Ok(Keys {
        access_key_id,
        secret_access_key,
        session_token: var("AWS_SESSION_TOKEN"),
    })
}

fn of_profile(profile: &str, environment: &Environment) -> Result<Keys, Failure> {
    for path in aws_files(environment).into_iter().flatten() {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => continue,
            Err(err) => return Err(Failure::file(format!("read {}", path.display()))(err)),
        };
        if let Some(keys) = find_profile(&text, profile) {
            return Ok(keys);
        }
    }
    Err(Failure::NotFound(format!(
        "no key of profile {profile} is in ~/.aws/credentials or ~/.aws/config: where it comes from \
         a role or a sign-in, use `aws configure export-credentials --profile {profile} | windlass \
         keys import --stdin --name {profile}`"
    )))
}

/// The key of a profile in the text of an AWS file.
fn find_profile(text: &str, profile: &str) -> Option<Keys> {
    let (mut is_inside, mut id, mut secret, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            let section = section.trim();
            let name = section.strip_prefix("profile ").unwrap_or(section);
            is_inside = name.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_inside) {
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match name.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(Keys {
        access_key_id: id?,
        secret_access_key: secret?,
        session_token: token,
    })
}

/// What `aws configure export-credentials` prints, the format of credential processes.
fn of_export(text: &str) -> Result<Keys, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Export {
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
    }
    // What is wrong is not shown: it may hold a part of the secret.
    let export: Export = serde_json::from_str(text).map_err(|_| {
        let why = "standard input is not what `aws configure export-credentials` prints: an object \
                   with AccessKeyId and SecretAccessKey";
        Failure::Usage(why.to_owned())
    })?;
    Ok(Keys {
        access_key_id: export.access_key_id,
        secret_access_key: export.secret_access_key,
        session_token: export.session_token.filter(|token| !token.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_found_in_either_file() {
        let text = "[default]\naws_access_key_id = AKIAONE\naws_secret_access_key=one=1\n\
                    # a comment\n[profile work]\nregion=eu-west-1\naws_access_key_id=AKIATWO\n\
                    aws_secret_access_key = two\naws_session_token = t\n[sso]\nsso_session = x\n";
        let default = find_profile(text, "default").unwrap();
        assert_eq!(
            (default.secret_access_key.as_str(), default.session_token),
            ("one=1", None)
        );
        let work = find_profile(text, "work").unwrap();
        assert_eq!(work.access_key_id, "AKIATWO");
        assert_eq!(work.session_token.as_deref(), Some("t"));
        assert!(find_profile(text, "sso").is_none());
        assert!(find_profile(text, "none").is_none());
    }

    #[test]
    fn an_export_is_read_and_its_secret_never_shown() {
        let text = r#"{"Version":1,"AccessKeyId":"ASIA","SecretAccessKey":"s","SessionToken":"t"}"#;
        assert_eq!(of_export(text).unwrap().session_token.as_deref(), Some("t"));
        for bad in ["AKIA hush", r#"{"SecretAccessKey":"hush"}"#] {
            let refused = of_export(bad).unwrap_err().to_string();
            assert!(!refused.contains("hush"), "{refused}");
        }
    }
}
