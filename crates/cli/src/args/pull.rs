//! When images are asked for at their registries, by the names of `ECS_IMAGE_PULL_BEHAVIOR`.

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pull {
    /// A tag that came from a registry is asked for again; the copy runs when that fails
    Default,
    /// The registry is always asked; the task fails when that fails
    Always,
    /// What was pulled once is not asked for again
    Once,
    /// A registry is asked for what is not here alone
    PreferCached,
}

impl Pull {
    /// As the ECS agent spells it.
    pub fn name(self) -> &'static str {
        match self {
            Pull::Default => "default",
            Pull::Always => "always",
            Pull::Once => "once",
            Pull::PreferCached => "prefer-cached",
        }
    }
}
