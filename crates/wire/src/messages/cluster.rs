//! Clusters.

use super::error;
use crate::error::{ApiError, ErrorCode};

pub fn not_found() -> ApiError {
    error(ErrorCode::ClusterNotFound, "Cluster not found.")
}

/// The cluster was deleted.
pub fn inactive() -> ApiError {
    error(
        ErrorCode::ClusterNotFound,
        "The referenced cluster was inactive.",
    )
}

/// The cluster whose tags are meant was deleted. Terraform takes these words for "it is gone".
pub fn tags_of_inactive() -> ApiError {
    ApiError::invalid_parameter(
        "The specified cluster is inactive. Specify an active cluster and try again.",
    )
}

pub fn contains_services() -> ApiError {
    error(
        ErrorCode::ClusterContainsServices,
        "The Cluster cannot be deleted while Services are active.",
    )
}

pub fn contains_container_instances() -> ApiError {
    error(
        ErrorCode::ClusterContainsContainerInstances,
        "The Cluster cannot be deleted while Container Instances are active or draining.",
    )
}

pub fn contains_tasks() -> ApiError {
    error(
        ErrorCode::ClusterContainsTasks,
        "The Cluster cannot be deleted while Tasks are active.",
    )
}

pub fn blank() -> ApiError {
    error(ErrorCode::InvalidParameter, "Cluster can not be blank.")
}

/// The name of a cluster to be made.
pub fn name_invalid() -> ApiError {
    ApiError::invalid_parameter("ClusterName must match ^[a-zA-Z0-9\\-_]{1,255}$")
}

pub fn log_without_override() -> ApiError {
    ApiError::invalid_parameter(
        "You must set logging to 'OVERRIDE' when you supply a log configuration.",
    )
}

pub fn override_without_log() -> ApiError {
    ApiError::invalid_parameter(
        "A CloudWatch log group name or S3 bucket name must be specified when overriding the \
         default log configuration.",
    )
}
