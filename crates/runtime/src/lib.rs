//! Runs containers. One *sandbox* is one task: a shim process, a parent cgroup and the containers
//! in them.
//!
//! Scope: from a complete [`spec::ContainerSpec`] to a running process and its exit status, and
//! what the kernel holds for it. Not here: images, networks and the decision what runs when; the
//! agent hands over layers, a network namespace and finished values.
//!
//! The layers, outermost first:
//! - [`Runtime`]: what the agent uses. [`embedded`] talks to shims; [`fake`] is for tests.
//! - [`shim`]: the process that owns one sandbox: starts, reaps, stops, keeps the logs, and
//!   outlives the agent. Single-threaded, no tokio.
//! - [`start`]: the sequence of system calls from a spec to `execve`.

pub mod spec;
