//! Remembers that a store was refused, so that the next start refuses it too.
//!
//! Without it a second start would see a store that the first one's engine has already cut short, and
//! might find the rest sound.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::journals;
use crate::error::{Error, mend};

/// Why a store is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Damaged { what: String, acknowledged: u64 },
    Behind { store_turn: u64, acknowledged: u64 },
}

impl Verdict {
    /// The verdict of an earlier start.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, Error> {
        match fs::read_to_string(path(dir)) {
            Ok(text) => Ok(Some(Self::parse(&text))),
            Err(source) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::io("read the verdict", &path(dir))(source)),
        }
    }

    /// Writes the verdict down and gives the error that says it.
    pub(crate) fn pronounce(self, dir: &Path) -> Error {
        // When even this cannot be written, the error at hand is still the one to show.
        drop(fs::write(path(dir), self.text()));
        self.error(dir)
    }

    pub(crate) fn error(self, dir: &Path) -> Error {
        let (copy, mend, name) = (
            journals::existing(dir),
            mend(dir),
            dir.display().to_string(),
        );
        match self {
            Self::Damaged { what, acknowledged } => Error::Damaged {
                dir: name,
                what,
                acknowledged,
                copy,
                mend,
            },
            Self::Behind {
                store_turn,
                acknowledged,
            } => Error::Behind {
                dir: name,
                store_turn,
                acknowledged,
                copy,
                mend,
            },
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Damaged { what, acknowledged } => format!("damaged {acknowledged} {what}\n"),
            Self::Behind {
                store_turn,
                acknowledged,
            } => format!("behind {acknowledged} {store_turn}\n"),
        }
    }

    /// Whatever the file says, the store stays refused.
    fn parse(text: &str) -> Self {
        let mut words = text.trim().splitn(3, ' ');
        let (kind, acknowledged, rest) = (
            words.next(),
            words.next(),
            words.next().unwrap_or("unknown"),
        );
        let acknowledged = acknowledged.and_then(|word| word.parse().ok()).unwrap_or(0);
        match (kind, rest.parse()) {
            (Some("behind"), Ok(store_turn)) => Self::Behind {
                store_turn,
                acknowledged,
            },
            _ => Self::Damaged {
                what: rest.to_owned(),
                acknowledged,
            },
        }
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("refused")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(Verdict::read(dir.path()).expect("readable"), None);
        for verdict in [
            Verdict::Damaged {
                what: "row \"a b\" changed".to_owned(),
                acknowledged: 4,
            },
            Verdict::Behind {
                store_turn: 3,
                acknowledged: 9,
            },
        ] {
            drop(verdict.clone().pronounce(dir.path()));
            assert_eq!(Verdict::read(dir.path()).expect("readable"), Some(verdict));
        }
        fs::write(path(dir.path()), "").expect("written");
        assert!(matches!(
            Verdict::read(dir.path()),
            Ok(Some(Verdict::Damaged { .. }))
        ));
    }
}
