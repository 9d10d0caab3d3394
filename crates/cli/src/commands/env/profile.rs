//! `env --profile NAME`: a profile for the AWS tools, in the files where they look for profiles.
//! Only the sections that stand for it are touched.

use crate::client::Client;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::limits;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The first line of a section that is ours to change.
const MARK: &str = "# Written by `windlass env --profile`, which replaces this section.";

/// A name that stands in a section's heading as it is.
pub(super) fn name(given: &str) -> Result<String, String> {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    match !given.is_empty() && given.len() <= limits::PROFILE_CHARS_MAX && given.bytes().all(known)
    {
        true => Ok(given.to_owned()),
        false => Err("a profile's name has letters, digits, -, _ and . only".to_owned()),
    }
}

/// Writes both files; what to tell of it.
pub(super) fn write(
    name: &str,
    client: &Client,
    environment: &Environment,
) -> Result<Vec<String>, Failure> {
    let values = [
        &client.url,
        &client.region,
        &client.keys.access_key_id,
        &client.keys.secret_access_key,
    ];
    if values
        .iter()
        .any(|value| value.chars().any(char::is_control))
    {
        let why = "the data folder's files hold a control character: they are damaged";
        return Err(Failure::Failed(why.to_owned()));
    }
    let config = path(environment, "AWS_CONFIG_FILE", "config")?;
    let credentials = path(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials")?;
    // Both are read before one is written: a refusal leaves both as they are.
    let new_config = merged(&config, &config_sections(name, client))?;
    let new_credentials = merged(&credentials, &credential_sections(name, client))?;
    let mut notes = Vec::new();
    for (path, text) in [(&credentials, new_credentials), (&config, new_config)] {
        let what = match text {
            Some(text) => {
                replace(path, &text)?;
                "written"
            }
            None => "as it was",
        };
        notes.push(format!("{}: profile {name} {what}", path.display()));
    }
    Ok(notes)
}

fn path(environment: &Environment, variable: &str, file: &str) -> Result<PathBuf, Failure> {
    let home = environment.var("HOME");
    let given = environment
        .var(variable)
        .map(|given| match given.strip_prefix("~/") {
            Some(rest) => Path::new(home.unwrap_or("/")).join(rest),
            None => PathBuf::from(given),
        });
    let usual = || home.map(|home| Path::new(home).join(".aws").join(file));
    given.or_else(usual).ok_or_else(|| {
        Failure::Usage(format!(
            "neither {variable} nor HOME says where profiles are kept"
        ))
    })
}

/// A section's heading, and its lines.
type Section = (String, Vec<String>);

/// Every service is sent here, so that no call with these keys leaves the machine; those that are
/// served are named besides.
fn config_sections(name: &str, client: &Client) -> Vec<Section> {
    let url = &client.url;
    let profile = match name {
        "default" => "default".to_owned(),
        name => format!("profile {name}"),
    };
    vec![
        (
            profile,
            vec![
                format!("region = {}", client.region),
                format!("endpoint_url = {url}"),
                format!("services = {name}"),
            ],
        ),
        (
            format!("services {name}"),
            vec![
                "ecs =".to_owned(),
                format!("  endpoint_url = {url}"),
                "sts =".to_owned(),
                format!("  endpoint_url = {url}"),
            ],
        ),
    ]
}

fn credential_sections(name: &str, client: &Client) -> Vec<Section> {
    let lines = vec![
        format!("aws_access_key_id = {}", client.keys.access_key_id),
        format!("aws_secret_access_key = {}", client.keys.secret_access_key),
    ];
    vec![(name.to_owned(), lines)]
}

/// The file's text with the sections in it; nothing when it has them already.
fn merged(path: &Path, sections: &[Section]) -> Result<Option<String>, Failure> {
    let limit = limits::AWS_FILE_BYTES_MAX;
    let mut old = String::new();
    match File::open(path).and_then(|file| file.take(limit + 1).read_to_string(&mut old)) {
        Ok(length) if length as u64 > limit => {
            return Err(Failure::Failed(format!(
                "{} has over {limit} bytes",
                path.display()
            )));
        }
        Ok(_) => {}
        Err(err) if err.kind() == io::ErrorKind::NotFound => {}
        Err(err) => return Err(Failure::file(format!("read {}", path.display()))(err)),
    }
    let mut text = old.clone();
    for section in sections {
        text = with_section(&text, section).map_err(|heading| {
            Failure::Failed(format!(
                "{} has a section [{heading}] that is not of Windlass: choose another name for the \
                 profile, or remove that section",
                path.display()
            ))
        })?;
    }
    Ok((text != old).then_some(text))
}

/// # Errors
/// The heading of a section that somebody else wrote.
fn with_section(text: &str, (heading, lines): &Section) -> Result<String, String> {
    let section = format!("[{heading}]\n{MARK}\n{}\n", lines.join("\n"));
    let Some((begin, end)) = find(text, heading) else {
        let gap = match text {
            "" => "",
            text if text.ends_with('\n') => "\n",
            _ => "\n\n",
        };
        return Ok(format!("{text}{gap}{section}"));
    };
    let (before, rest) = text.split_at(begin);
    let (old, after) = rest.split_at(end.saturating_sub(begin));
    if old.lines().nth(1) != Some(MARK) {
        return Err(heading.clone());
    }
    // Empty lines before the next section belong to what follows.
    let gap = &old[old.trim_end().len()..];
    let gap = gap.strip_prefix('\n').unwrap_or(gap);
    Ok(format!("{before}{section}{gap}{after}"))
}

/// Where a section begins and ends, in bytes.
fn find(text: &str, heading: &str) -> Option<(usize, usize)> {
    let mut begin = None;
    let mut at = 0_usize;
    for line in text.split_inclusive('\n') {
        if line.starts_with('[') {
            if let Some(begin) = begin {
                return Some((begin, at));
            }
            if is_heading(line, heading) {
                begin = Some(at);
            }
        }
        at = at.saturating_add(line.len());
    }
    begin.map(|begin| (begin, text.len()))
}

/// The tools take any space between a section's words, and quotes around the name.
fn is_heading(line: &str, heading: &str) -> bool {
    let inside = line
        .trim_start_matches('[')
        .split(']')
        .next()
        .unwrap_or_default();
    let words = |text: &str| {
        let words = text.split_whitespace();
        words
            .map(|word| word.trim_matches(['"', '\'']).to_owned())
            .collect::<Vec<_>>()
    };
    words(inside) == words(heading)
}

/// Whole or not at all, with the mode and the owner that the file had.
fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = || Failure::file(format!("write {}", path.display()));
    // A link to a folder of settings stays one.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.exists() {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder);
        made.map_err(failed())?;
        if let Some(owner) = folder.parent().and_then(|it| it.metadata().ok()) {
            give(folder, &owner).map_err(failed())?;
        }
    }
    let old = path.metadata().ok();
    let owner = match &old {
        Some(old) => old.clone(),
        None => folder.metadata().map_err(failed())?,
    };
    let mut temporary = path.clone().into_os_string();
    temporary.push(".windlass");
    let temporary = PathBuf::from(temporary);
    let written = (|| {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(text.as_bytes())?;
        if let Some(old) = &old {
            fs::set_permissions(&temporary, Permissions::from_mode(old.mode() & 0o777))?;
        }
        give(&temporary, &owner)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    })();
    if written.is_err() {
        // The failure is told already.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed())
}

/// To who owns the place: under sudo the files in a home would be root's.
fn give(path: &Path, owner: &fs::Metadata) -> io::Result<()> {
    let own = path.metadata()?;
    match (own.uid(), own.gid()) == (owner.uid(), owner.gid()) {
        true => Ok(()),
        false => std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Keys;

    fn client(url: &str) -> Client {
        let keys = Keys {
            access_key_id: "AKIA".into(),
            secret_access_key: "secret".into(),
            session_token: None,
        };
        Client::new(url, "eu-west-1", keys).unwrap()
    }

    fn environment(home: &Path) -> Environment {
        let vars = [("HOME".to_owned(), home.display().to_string())].into();
        Environment {
            vars,
            ..Environment::default()
        }
    }

    #[test]
    fn a_profile_is_added_and_changed_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let environment = environment(home.path());
        let config = home.path().join(".aws/config");
        write("wl", &client("http://a:1"), &environment).unwrap();
        let fresh = fs::read_to_string(&config).unwrap();
        assert_eq!(
            fresh,
            format!(
                "[profile wl]\n{MARK}\nregion = eu-west-1\nendpoint_url = http://a:1\nservices = wl\n\n\
                 [services wl]\n{MARK}\necs =\n  endpoint_url = http://a:1\nsts =\n  endpoint_url = http://a:1\n"
            )
        );
        let credentials = home.path().join(".aws/credentials");
        assert_eq!(credentials.metadata().unwrap().mode() & 0o777, 0o600);
        // The caller's own sections stay to the byte, before, between and after.
        let own = format!(
            "# mine\n[default]\nregion=us-west-2\n\n{fresh}\n\n[profile other] # x\nrole_arn = r"
        );
        fs::write(&config, &own).unwrap();
        fs::set_permissions(&config, Permissions::from_mode(0o640)).unwrap();
        let notes = write("wl", &client("http://a:1"), &environment).unwrap();
        assert!(
            notes.iter().all(|note| note.ends_with("as it was")),
            "{notes:?}"
        );
        write("wl", &client("http://b:2"), &environment).unwrap();
        assert_eq!(
            fs::read_to_string(&config).unwrap(),
            own.replace("http://a:1", "http://b:2")
        );
        assert_eq!(config.metadata().unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn what_others_wrote_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let environment = environment(home.path());
        fs::create_dir(home.path().join(".aws")).unwrap();
        let credentials = home.path().join(".aws/credentials");
        for own in ["[wl]\naws_access_key_id = X\n", "[ wl ]\n"] {
            fs::write(&credentials, own).unwrap();
            let err = write("wl", &client("http://a:1"), &environment).unwrap_err();
            assert!(err.to_string().contains("[wl]"), "{err}");
            assert_eq!(fs::read_to_string(&credentials).unwrap(), own);
            assert!(!home.path().join(".aws/config").exists());
        }
    }

    #[test]
    fn a_link_to_settings_stays_one() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().join("dotfiles");
        fs::write(&real, "").unwrap();
        let link = home.path().join("config");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        replace(&link, "x").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "x");
    }

    #[test]
    fn names_that_end_a_heading_are_refused() {
        assert_eq!(name("wl-1.a_b").as_deref(), Ok("wl-1.a_b"));
        for given in ["", "a]", "a b", "a\n", "ü"] {
            assert!(name(given).is_err(), "{given}");
        }
    }
}
