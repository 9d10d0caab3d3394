//! Names that people give to images, and the ids of images without a name.

use std::str::FromStr;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Reference;

/// A name for an image that is to get one: with a tag, or with whatever tags it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewName {
    reference: Reference,
    has_tag: bool,
}

impl NewName {
    /// The name, with tag `latest` when it was given without one.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The name with the tag that an archive has; one that was given wins.
    pub(crate) fn with_tag(&self, tag: &str) -> Result<Reference> {
        match self.has_tag {
            true => Ok(self.reference.clone()),
            false => Ok(format!("{}:{tag}", self.reference.full_repository()).parse()?),
        }
    }
}

impl From<Reference> for NewName {
    fn from(reference: Reference) -> Self {
        Self {
            reference,
            has_tag: true,
        }
    }
}

impl FromStr for NewName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let reference: Reference = text.parse()?;
        if reference.digest().is_some() || id_in(&reference).is_some() {
            let why = "a digest follows from the content; give NAME:TAG";
            return Err(Error::document("new name", why));
        }
        // A port stands before the last slash.
        let last = text.rsplit('/').next().unwrap_or(text);
        Ok(Self {
            has_tag: last.contains(':'),
            reference,
        })
    }
}

/// What an image without a name is called, in the form that Docker shows ids: `sha256:` and the
/// digits. As a name it is one of a repository `sha256`, which nobody can have at Docker Hub.
pub(crate) fn of_id(digest: Digest) -> Result<Reference> {
    Ok(digest.to_string().parse()?)
}

/// The digest that a name of this form means.
pub(crate) fn id_in(reference: &Reference) -> Option<Digest> {
    match reference.full_repository().as_str() {
        "docker.io/library/sha256" => format!("sha256:{}", reference.tag()?).parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_tag_wins() {
        for (given, tag, name) in [
            ("web", "v1", "docker.io/library/web:v1"),
            ("web:2", "v1", "docker.io/library/web:2"),
            ("localhost:5000/web", "v1", "localhost:5000/web:v1"),
        ] {
            let given: NewName = given.parse().unwrap();
            assert_eq!(given.with_tag(tag).unwrap().to_string(), name);
        }
        let latest: NewName = "web".parse().unwrap();
        assert_eq!(latest.reference().tag(), Some("latest"));
        let digest = Digest::of(b"x");
        for text in [&format!("web@{digest}"), &digest.to_string(), "Web", ""] {
            assert!(text.parse::<NewName>().is_err(), "{text}");
        }
        assert!(latest.with_tag("not a tag").is_err());
    }

    #[test]
    fn an_id_is_a_name_that_nothing_else_has() {
        let digest = Digest::of(b"x");
        let name = of_id(digest).unwrap();
        assert_eq!(name.familiar(), digest.to_string());
        assert_eq!(id_in(&name), Some(digest));
        for other in ["sha256:1", "x:latest", "sha256"] {
            assert_eq!(id_in(&other.parse().unwrap()), None, "{other}");
        }
    }
}
