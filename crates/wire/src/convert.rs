//! Between the wire and the model: requests are decoded and validated once, here, with ECS's own
//! errors; answers are rendered here, so that AWS's words are in one place.
//!
//! `read_*` modules go from request to model, `show_*` from model to answer.

mod check_controls;
mod check_definition;
mod check_network_mode;
mod check_ports;
mod check_text;
mod fargate;
pub mod identifier;
mod read_cluster;
mod read_container;
mod read_definition;
mod read_environment;
mod read_linux;
mod read_logging;
mod read_overrides;
mod read_placement;
mod read_port;
mod read_role;
mod read_run;
mod read_strategy;
mod read_tags;
mod read_volume;
mod requirements;
mod show_cluster;
mod show_container;
mod show_definition;
mod show_instance;
mod show_task;
mod stop_text;

pub use read_cluster::{create_cluster, put_cluster_capacity_providers};
pub use read_definition::register_task_definition;
pub use read_run::{launch_type, run_task, start_task};
pub use read_tags::{tag_keys, tags};
pub use show_cluster::{ClusterCounts, ClusterParts, show_cluster};
pub use show_definition::show_definition;
pub use show_instance::{InstanceInclude, InstanceParts, show_instance};
pub use show_task::{TaskParts, show_tags, show_task};
pub use stop_text::{
    fargate_refusal_reason, refusal_detail, refusal_reason, stop_code, stopped_reason,
};
