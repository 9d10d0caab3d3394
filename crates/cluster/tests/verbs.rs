//! Every verb, by commands given to a core one turn each.

#[path = "verbs/capacity_providers.rs"]
mod capacity_providers;
#[path = "fixture/core.rs"]
mod core;
#[path = "verbs/deleted_clusters.rs"]
mod deleted_clusters;
#[path = "verbs/memberships.rs"]
mod memberships;
#[path = "fixture/nouns.rs"]
mod nouns;
#[path = "verbs/nouns_and_tags.rs"]
mod nouns_and_tags;
#[path = "verbs/overrides.rs"]
mod overrides;
#[path = "verbs/placing.rs"]
mod placing;
#[path = "verbs/tasks.rs"]
mod tasks;
