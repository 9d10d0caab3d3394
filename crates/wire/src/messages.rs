//! The sentences with which ECS refuses, by the noun they are about.
//!
//! Clients match on some of them, so they are ECS's to the letter, and each stands here once. A
//! sentence that only one operation uses and no client matches may lie with that operation.

use crate::error::{ApiError, ErrorCode};

pub mod arn;
pub mod capacity_provider;
pub mod cluster;
pub mod container;
pub mod container_instance;
pub mod fargate;
pub mod logging;
pub mod network;
pub mod placement;
pub mod port;
pub mod proxy;
pub mod request;
pub mod service;
pub mod tag;
pub mod task;
pub mod task_definition;
pub mod volume;

fn error(code: ErrorCode, message: impl Into<String>) -> ApiError {
    ApiError::new(code, message)
}
