//! The store against archives, hostile ones among them, and against registries. Needs root: owners,
//! whiteouts and file capabilities are real.

mod build;
mod freshness;
mod hostile;
mod layers;
mod registry;
mod samples;
mod stand_in;
mod store;
