//! The deterministic world: virtual time, simulated nodes, faults, workloads and checkers.
//!
//! Today the seeded driver of the control plane's core lives with the core, in
//! `crates/cluster/tests/driver.rs`; what joins it with simulated nodes grows here.
