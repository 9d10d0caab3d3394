//! The nouns of Windlass: plain data that every other crate speaks about.
//!
//! Scope: typed ids and names, task definitions, tasks, clusters, container instances, resources,
//! the tables of legal status moves, the commands that change them, and the encoding of rows.
//! Not here: who decides what (`cluster`, `node`), how AWS words it (`wire`), how it is stored
//! (`store`).
//!
//! Pure: no clock, no randomness, no IO. Everything encodes to numbered fields; a number is never
//! reused, so that the bytes of the previous release always decode.

pub mod arn;
pub mod capability;
pub mod cluster;
pub mod command;
pub mod container;
pub mod container_fault;
pub mod definition;
pub mod history;
pub mod id;
pub mod instance;
pub mod kernel_parameter;
pub mod limits;
pub mod observation;
pub mod placement;
pub mod program_fault;
pub mod pull;
pub mod resources;
pub mod row;
pub mod sizes;
pub mod status;
pub mod stop;
pub mod tag;
pub mod task;
pub mod volume;
