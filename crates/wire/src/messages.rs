//! The sentences with which ECS refuses, by the noun they are about.
//!
//! Clients match on some of them, so they are ECS's to the letter, and each stands here once. A
//! sentence that only one operation uses and no client matches may lie with that operation.

use crate::error::{ApiError, ErrorCode};

fn error(code: ErrorCode, message: impl Into<String>) -> ApiError {
    ApiError::new(code, message)
}

pub mod cluster {
    use super::*;

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

    /// A cluster's capacity providers are being attached or detached.
    pub fn busy() -> ApiError {
        error(
            ErrorCode::UpdateInProgress,
            "The specified cluster is in a busy state. Cluster attachments must be in \
             UPDATE_COMPLETE or UPDATE_FAILED state before they can be updated.",
        )
    }
}

pub mod service {
    use super::*;

    pub fn not_found() -> ApiError {
        error(ErrorCode::ServiceNotFound, "Service not found.")
    }

    pub fn not_active() -> ApiError {
        error(ErrorCode::ServiceNotActive, "Service was not ACTIVE.")
    }

    /// A service of that name exists, with other parameters.
    pub fn not_idempotent() -> ApiError {
        error(
            ErrorCode::InvalidParameter,
            "Creation of service was not idempotent.",
        )
    }

    pub fn draining() -> ApiError {
        error(
            ErrorCode::InvalidParameter,
            "Unable to Start a service that is still Draining.",
        )
    }

    pub fn scaled_above_zero() -> ApiError {
        error(
            ErrorCode::InvalidParameter,
            "The service cannot be stopped while it is scaled above 0.",
        )
    }
}

pub mod task {
    use super::*;

    pub fn not_found() -> ApiError {
        error(
            ErrorCode::InvalidParameter,
            "The referenced task was not found.",
        )
    }

    pub fn none_named() -> ApiError {
        error(ErrorCode::InvalidParameter, "Tasks cannot be empty.")
    }

    pub fn id_length() -> ApiError {
        error(
            ErrorCode::InvalidParameter,
            "taskId length should be one of [32,36]",
        )
    }
}

pub mod task_definition {
    use super::*;

    /// Answered where a task definition is started.
    pub fn not_found() -> ApiError {
        error(ErrorCode::Client, "TaskDefinition not found.")
    }

    pub fn inactive() -> ApiError {
        error(ErrorCode::Client, "TaskDefinition is inactive")
    }

    /// Answered by DescribeTaskDefinition.
    pub fn not_described() -> ApiError {
        error(ErrorCode::Client, "Unable to describe task definition.")
    }

    /// Answered by DeregisterTaskDefinition.
    pub fn not_deregistered() -> ApiError {
        error(
            ErrorCode::Client,
            "The specified task definition does not exist.",
        )
    }

    pub fn revision_missing() -> ApiError {
        error(ErrorCode::Client, "Revision is missing.")
    }

    /// Both in bytes.
    pub fn too_long(actual: usize, max: usize) -> ApiError {
        error(
            ErrorCode::Client,
            format!("Actual length: '{actual}'. Max allowed length is '{max}' bytes."),
        )
    }

    pub fn concurrent_registrations() -> ApiError {
        error(
            ErrorCode::Client,
            "Too many concurrent attempts to create a new revision of the specified family.",
        )
    }

    /// The task's `cpu` or `memory` cannot be read or is out of range.
    pub fn invalid_setting(setting: &str) -> ApiError {
        error(
            ErrorCode::Client,
            format!(
                "Invalid '{setting}' setting for task. For more information, see the \
                 Troubleshooting section of the Amazon ECS Developer Guide."
            ),
        )
    }

    /// No such pair of cpu and memory on Fargate.
    pub fn no_fargate_configuration() -> ApiError {
        error(
            ErrorCode::Client,
            "No Fargate configuration exists for given values.",
        )
    }
}

pub mod container_instance {
    use super::*;

    /// Answered where tasks would be placed.
    pub fn none_in_cluster() -> ApiError {
        error(
            ErrorCode::InvalidParameter,
            "No Container Instances were found in your cluster.",
        )
    }

    pub fn none_named() -> ApiError {
        error(ErrorCode::Client, "Container Instances cannot be empty.")
    }

    pub fn running_tasks() -> ApiError {
        error(
            ErrorCode::InvalidParameter,
            "Found running tasks on the instance.",
        )
    }

    pub fn status_unknown() -> ApiError {
        error(
            ErrorCode::InvalidParameter,
            "Container instance status should be one of [ACTIVE, DRAINING]",
        )
    }
}

pub mod attribute {
    use super::*;

    pub fn target_not_found(target: &str) -> ApiError {
        error(
            ErrorCode::TargetNotFound,
            format!("Could not find {target}"),
        )
    }
}

pub mod task_set {
    use super::*;

    pub fn not_found() -> ApiError {
        error(
            ErrorCode::TaskSetNotFound,
            "The specified task set does not exist.",
        )
    }
}

pub mod network {
    use super::*;

    pub fn no_subnets() -> ApiError {
        error(ErrorCode::InvalidParameter, "subnets can not be empty.")
    }
}

pub mod execute_command {
    use super::*;

    /// The task runs, but its exec agent does not answer.
    pub fn not_connected() -> ApiError {
        error(
            ErrorCode::TargetNotConnected,
            "The execute command failed due to an internal error. Try again later.",
        )
    }
}

pub mod arn {
    use super::*;

    /// An ARN of another account.
    pub fn account_mismatch() -> ApiError {
        error(ErrorCode::InvalidParameter, "AccountIDs mismatch")
    }
}

pub mod request {
    use super::*;

    /// A client token came again with other parameters. `resources` are the ARNs it is bound to.
    pub fn token_reused(resources: Vec<String>) -> ApiError {
        ApiError {
            resource_ids: resources,
            ..error(
                ErrorCode::Conflict,
                "Arguments on this idempotent request are inconsistent with arguments used in \
                 previous request(s).",
            )
        }
    }

    /// `principal` and `resource` are ARNs; `action` is e.g. `ecs:RunTask`.
    pub fn access_denied(principal: &str, action: &str, resource: &str) -> ApiError {
        error(
            ErrorCode::AccessDenied,
            format!(
                "User: {principal} is not authorized to perform: {action} on resource: \
                 {resource} because no identity-based policy allows the {action} action"
            ),
        )
    }

    pub fn throttled() -> ApiError {
        error(ErrorCode::Throttling, "Rate exceeded")
    }

    pub fn unknown_operation(target: &str) -> ApiError {
        let target = crate::check::quoted(target);
        error(
            ErrorCode::UnknownOperation,
            format!("The operation '{target}' is not known"),
        )
    }

    /// An ECS operation that Windlass does not have yet.
    pub fn not_built(operation: crate::operation::Operation) -> ApiError {
        error(
            ErrorCode::UnsupportedFeature,
            format!(
                "{} is not supported by Windlass yet; docs/coverage.md lists what is",
                operation.name()
            ),
        )
    }

    pub fn signature_missing() -> ApiError {
        error(
            ErrorCode::MissingAuthenticationToken,
            "Missing Authentication Token",
        )
    }

    /// `what` says what the `Authorization` header lacks.
    pub fn signature_incomplete(what: &str) -> ApiError {
        error(ErrorCode::IncompleteSignature, what)
    }

    pub fn signature_mismatch() -> ApiError {
        error(
            ErrorCode::InvalidSignature,
            "The request signature we calculated does not match the signature you provided. \
             Check your AWS Secret Access Key and signing method. Consult the service \
             documentation for details.",
        )
    }

    /// The access key or its token is unknown.
    pub fn client_unrecognized() -> ApiError {
        error(
            ErrorCode::UnrecognizedClient,
            "The security token included in the request is invalid.",
        )
    }

    pub fn token_expired() -> ApiError {
        error(
            ErrorCode::ExpiredToken,
            "The security token included in the request is expired",
        )
    }

    /// Limit in bytes.
    pub fn too_large(max: usize) -> ApiError {
        error(
            ErrorCode::RequestEntityTooLarge,
            format!("The request body is larger than {max} bytes"),
        )
    }
}
