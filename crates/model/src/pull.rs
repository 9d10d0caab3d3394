//! When a node asks a registry for an image that it already has. Source: ECS agent,
//! `ECS_IMAGE_PULL_BEHAVIOR`.

use minicbor::{Decode, Encode};
use std::fmt;
use std::str::FromStr;

/// The four behaviours, by the names that the ECS agent gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum PullBehavior {
    /// A tag that came from a registry is asked for again; what is here runs when that fails.
    #[default]
    #[n(0)]
    Default,
    /// The registry is always asked, and the task fails when that fails.
    #[n(1)]
    Always,
    /// What this node pulled once is not asked for again; a pull that fails fails the task.
    #[n(2)]
    Once,
    /// What is here runs; a registry is asked for what is not.
    #[n(3)]
    PreferCached,
}

/// What to do about one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Start from the copy.
    Run,
    /// Ask the registry whether the copy is what the tag means now.
    Ask,
    Pull,
}

/// A copy of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// Loaded or imported, or asked for by a digest, which cannot move.
    Fixed,
    /// By a tag that a registry gave.
    OfRegistry,
}

impl PullBehavior {
    pub const ALL: [PullBehavior; 4] = [
        PullBehavior::Default,
        PullBehavior::Always,
        PullBehavior::Once,
        PullBehavior::PreferCached,
    ];

    pub fn name(self) -> &'static str {
        match self {
            PullBehavior::Default => "default",
            PullBehavior::Always => "always",
            PullBehavior::Once => "once",
            PullBehavior::PreferCached => "prefer-cached",
        }
    }

    /// What a start does first.
    pub fn step(self, copy: Option<Copy>) -> Step {
        match (self, copy) {
            (_, None) | (PullBehavior::Always, _) => Step::Pull,
            (PullBehavior::Default, Some(Copy::OfRegistry)) => Step::Ask,
            _ => Step::Run,
        }
    }

    /// Whether a copy runs where the pull failed.
    pub fn falls_back(self) -> bool {
        matches!(self, PullBehavior::Default | PullBehavior::PreferCached)
    }
}

impl fmt::Display for PullBehavior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is none of the four names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pull behavior: it is default, always, once or prefer-cached")]
pub struct UnknownBehavior(String);

impl FromStr for PullBehavior {
    type Err = UnknownBehavior;

    fn from_str(text: &str) -> Result<PullBehavior, UnknownBehavior> {
        let found = PullBehavior::ALL.into_iter().find(|b| b.name() == text);
        found.ok_or_else(|| UnknownBehavior(text.chars().take(100).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_start_does_first() {
        use PullBehavior::*;
        for (behavior, none, fixed, of_registry) in [
            (Default, Step::Pull, Step::Run, Step::Ask),
            (Always, Step::Pull, Step::Pull, Step::Pull),
            (Once, Step::Pull, Step::Run, Step::Run),
            (PreferCached, Step::Pull, Step::Run, Step::Run),
        ] {
            assert_eq!(behavior.step(None), none, "{behavior}");
            assert_eq!(behavior.step(Some(Copy::Fixed)), fixed, "{behavior}");
            assert_eq!(
                behavior.step(Some(Copy::OfRegistry)),
                of_registry,
                "{behavior}"
            );
            assert_eq!(behavior.name().parse(), Ok(behavior));
        }
        assert!("missing".parse::<PullBehavior>().is_err());
    }
}
