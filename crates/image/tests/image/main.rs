//! The store against archives, hostile ones among them, and against registries. Needs root: owners,
//! whiteouts and file capabilities are real.

mod build;
mod faults;
mod freshness;
mod hostile;
mod layers;
mod odd_archives;
mod odd_layers;
mod real_registry;
mod registry;
mod samples;
mod sign_in;
mod stand_in;
mod store;
