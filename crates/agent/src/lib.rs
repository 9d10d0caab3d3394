//! The agent of one node: turns assignments into running containers and observations into reports.
//!
//! Scope: the session with the control plane, the ledger, the execution of what `windlass-node`
//! decides, and what containers are given: files, volumes, networks, logs. Not here: the decisions
//! themselves (`node`), system calls (`runtime`, `network`), layers and registries (`image`).
//!
//! ```text
//!   session ──► agent ──► worker (one a task) ──► executor ──► runtime, network, images
//!      ▲                    │      ▲   ledger first, action second   │
//!      └──── reporter ◄─────┘      └──────── outcomes, events ◄──────┘
//! ```
//! Where to begin: [`Agent::open`] takes over what an earlier agent left, [`Agent::run`] serves a
//! session; `worker` is the loop of one task; [`container_spec`] maps a definition to what the
//! runtime starts. Agents stop, crash and are replaced while tasks run on.
//!
//! What lies where:
//! - `RUN_DIR/ledger/TASK`, `RUN_DIR/mark`, `RUN_DIR/files/SANDBOX/CONTAINER/{hosts,…}`: on tmpfs;
//! - `DATA_DIR/tasks/TASK/{containers,volumes}`: gone with the task;
//! - `DATA_DIR/base`: the layer that every image lies on; stays;
//! - `DATA_DIR/volumes/NAME`: shared volumes; `DATA_DIR/logs/TASK/CONTAINER`: logs. Both stay.

pub mod agent;
mod base_layer;
mod clock;
pub mod container_files;
pub mod container_spec;
mod environment;
mod executor;
pub mod host_path;
pub mod images;
pub mod ledger;
pub mod limits;
mod link;
mod listening;
pub mod logs;
pub mod machine;
mod prepare;
pub mod reason;
mod reporter;
pub mod sandbox_id;
mod session;
mod task_network;
pub mod volume;
mod worker;

pub use agent::{Agent, Error, Options};
pub use host_path::AllowedPath;
pub use images::Images;
pub use logs::Logs;
pub use machine::{Identity, Share, facts};
pub use task_network::surviving as surviving_networks;
