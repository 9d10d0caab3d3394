//! Which entries of an index are for this machine, the best one first.
//!
//! Tools name the same machine in several ways (`x86_64`, no variant, no platform at all), and an
//! index may hold what is no image: attestations, signatures. The order here says what is looked at
//! first; what an entry really leads to is seen only when it is read.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::manifest::Descriptor;

/// For whom an image is, as an index says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default, deserialize_with = "crate::manifest::or_default")]
    pub(crate) architecture: String,
    #[serde(default, deserialize_with = "crate::manifest::or_default")]
    pub(crate) os: String,
    #[serde(default, deserialize_with = "crate::manifest::or_default")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) variant: String,
}

/// What a machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    /// As images name it: `amd64`.
    pub(crate) architecture: &'static str,
    /// The level of its instructions: 1 to 4 for amd64, as in `v3`; 8 and up for arm64.
    pub(crate) level: u32,
}

impl Machine {
    /// This one.
    pub(crate) fn own() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            architecture,
            level: own_level(),
        }
    }

    /// How well an entry fits: the higher the better, nothing when it is for others.
    fn fit(&self, entry: &Descriptor) -> Option<u32> {
        let Some(platform) = &entry.platform else {
            // Not known before it is read.
            return (!entry.is_beside_images()).then_some(0);
        };
        let is_linux = platform.os.is_empty() || platform.os.eq_ignore_ascii_case("linux");
        let architecture = architecture_name(&platform.architecture);
        if !is_linux || entry.is_beside_images() {
            return None;
        }
        match architecture.as_str() {
            "" => Some(0),
            name if name == self.architecture => {
                let level = self.level_of(&platform.variant)?;
                (level <= self.level).then_some(level + 1)
            }
            _ => None,
        }
    }

    /// `v3` is 3, `v8.2` is 8; the plain image is for the lowest level. Unknown names fit nothing.
    fn level_of(&self, variant: &str) -> Option<u32> {
        let lowest = if self.architecture == "arm64" { 8 } else { 1 };
        let variant = variant.trim().to_ascii_lowercase();
        if variant.is_empty() {
            return Some(lowest);
        }
        let number = variant.strip_prefix('v').unwrap_or(&variant);
        number.split('.').next()?.parse().ok()
    }
}

#[cfg(target_arch = "x86_64")]
fn own_level() -> u32 {
    // The levels of the x86-64 psABI, each with what it adds.
    macro_rules! has {
        ($($feature:tt)*) => { $(std::arch::is_x86_feature_detected!($feature))&&* };
    }
    let second = has!("cmpxchg16b" "popcnt" "sse3" "sse4.1" "sse4.2" "ssse3");
    let third = second && has!("avx" "avx2" "bmi1" "bmi2" "f16c" "fma" "lzcnt" "movbe");
    let fourth = third && has!("avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl");
    1 + u32::from(second) + u32::from(third) + u32::from(fourth)
}

#[cfg(not(target_arch = "x86_64"))]
fn own_level() -> u32 {
    // Of arm64 the base; an image for more says so and has a plain one beside it.
    8
}

/// An architecture as images name it; other tools' names for the same ones are understood.
pub(crate) fn architecture_name(given: &str) -> String {
    match given.trim().to_ascii_lowercase().as_str() {
        "x86_64" | "x86-64" => "amd64".to_string(),
        "aarch64" => "arm64".to_string(),
        other => other.to_string(),
    }
}

/// The entries that may be for this machine, the best first. Those that say nothing come last, and
/// must be read to know.
///
/// # Errors
/// [`Error::Platform`] with what there is, when there is none.
pub(crate) fn candidates<'a>(
    entries: &'a [Descriptor],
    machine: Machine,
    image: &str,
) -> Result<Vec<&'a Descriptor>, Error> {
    let mut fitting: Vec<(u32, &Descriptor)> = entries
        .iter()
        .filter_map(|entry| Some((machine.fit(entry)?, entry)))
        .collect();
    // Stable: of equals the first one in the index.
    fitting.sort_by_key(|(fit, _)| std::cmp::Reverse(*fit));
    match fitting.is_empty() {
        false => Ok(fitting.into_iter().map(|(_, entry)| entry).collect()),
        true => Err(none_fits(entries, machine, image)),
    }
}

fn none_fits(entries: &[Descriptor], machine: Machine, image: &str) -> Error {
    let platforms = entries.iter().filter(|entry| !entry.is_beside_images());
    let mut found: Vec<String> = platforms
        .filter_map(|entry| entry.platform.as_ref())
        .take(20)
        .map(ToString::to_string)
        .collect();
    found.dedup();
    Error::Platform {
        image: image.to_string(),
        wanted: machine.architecture.to_string(),
        found: match found.is_empty() {
            true => "none".to_string(),
            false => found.join(", "),
        },
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (os, architecture) = (self.os.escape_default(), self.architecture.escape_default());
        write!(f, "{os}/{architecture}")?;
        match self.variant.is_empty() {
            true => Ok(()),
            false => write!(f, "/{}", self.variant.escape_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::manifest::Document;

    const PLAIN: Machine = Machine {
        architecture: "amd64",
        level: 1,
    };
    const THIRD: Machine = Machine {
        architecture: "amd64",
        level: 3,
    };
    const ARM: Machine = Machine {
        architecture: "arm64",
        level: 8,
    };

    /// Each entry is known by its size, from 1 on.
    fn chosen(platforms: &[&str], machine: Machine) -> Vec<u64> {
        let entries: Vec<String> = platforms
            .iter()
            .zip(1..)
            .map(|(rest, size)| {
                let hex = "0".repeat(64);
                format!(r#"{{"digest":"sha256:{hex}","size":{size}{rest}}}"#)
            })
            .collect();
        let json = format!(r#"{{"manifests":[{}]}}"#, entries.join(","));
        let index = Document::parse(json.as_bytes(), None, &Limits::default()).unwrap();
        let Document::Index(entries) = index else {
            panic!("{json} is no index");
        };
        let candidates = candidates(&entries, machine, "test").unwrap_or_default();
        candidates.iter().map(|entry| entry.size).collect()
    }

    fn platform(os: &str, architecture: &str, variant: &str) -> String {
        format!(
            r#","platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}"#
        )
    }

    #[test]
    fn the_best_that_the_processor_runs_comes_first() {
        let [v1, v2, v3, v4] = ["", "v2", "v3", "v4"].map(|v| platform("linux", "amd64", v));
        assert_eq!(chosen(&[&v3, &v1, &v2], PLAIN), [2]);
        assert_eq!(chosen(&[&v4, &v1, &v3, &v2], THIRD), [3, 4, 2]);
        assert_eq!(chosen(&[&v1, &v1], THIRD), [1, 2]);
        assert_eq!(chosen(&[&v4], THIRD), [0; 0]);
        let [v8, v9, plain] = ["v8", "v9", ""].map(|v| platform("linux", "arm64", v));
        assert_eq!(chosen(&[&v9, &v8, &plain], ARM), [2, 3]);
        assert_eq!(chosen(&[&platform("linux", "arm", "v7"), &v1], ARM), [0; 0]);
    }

    #[test]
    fn other_words_for_the_same_machine() {
        for (os, architecture) in [
            ("linux", "x86_64"),
            ("", "amd64"),
            ("Linux", "AMD64"),
            ("linux", ""),
        ] {
            assert_eq!(chosen(&[&platform(os, architecture, "")], PLAIN), [1]);
        }
        for (os, architecture) in [("windows", "amd64"), ("linux", "s390x")] {
            assert_eq!(chosen(&[&platform(os, architecture, "")], PLAIN), [0; 0]);
        }
        assert_eq!(
            chosen(&[r#","platform":null,"annotations":null"#], PLAIN),
            [1]
        );
    }

    /// Attestations and signatures are never an image; what says nothing is looked at last.
    #[test]
    fn what_stands_beside_images_is_passed_over() {
        let amd64 = platform("linux", "amd64", "");
        let unknown = platform("unknown", "unknown", "");
        let attestation = r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#;
        let signature = r#","artifactType":"application/vnd.dev.cosign.artifact.sig.v1+json""#;
        let sides = [&unknown, attestation, signature, "", &amd64];
        assert_eq!(chosen(&sides, PLAIN), [5, 4]);
        assert_eq!(chosen(&sides[..3], PLAIN), [0; 0]);
    }

    #[test]
    fn this_machine_has_a_level() {
        let own = Machine::own();
        assert!(own.level >= 1 && !own.architecture.is_empty());
    }
}
