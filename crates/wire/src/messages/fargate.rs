//! What Fargate asks of a task definition.

use crate::error::ApiError;

/// `setting` is `cpu` or `memory`.
pub fn no_size(setting: &str) -> ApiError {
    ApiError::client(format!(
        "Fargate requires that '{setting}' be defined at the task level."
    ))
}

/// No such pair: `cpu` in units, `memory` in MiB.
pub fn no_configuration(cpu: u32, memory: u32) -> ApiError {
    ApiError::client(format!(
        "No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. See the \
         Amazon ECS documentation for the valid values."
    ))
}

pub fn network_mode() -> ApiError {
    ApiError::client("Fargate only supports network mode 'awsvpc'.")
}

pub fn pid_mode() -> ApiError {
    ApiError::client(
        "Tasks using the Fargate launch type do not support pidMode 'host'. The supported value \
         for pidMode is 'task'.",
    )
}

/// `member` as the API names it.
pub fn not_supported(member: &str) -> ApiError {
    ApiError::client(format!(
        "Fargate compatible task definitions do not support {member}"
    ))
}

pub fn gpu() -> ApiError {
    ApiError::client(
        "Tasks using the Fargate launch type do not support GPU resource requirements.",
    )
}

pub fn privileged() -> ApiError {
    ApiError::client(
        "Fargate requires that the ‘privileged’ setting be ‘false’ at the container level.",
    )
}

pub fn capability(name: &str) -> ApiError {
    ApiError::client(format!("{name} is not allowed on Fargate."))
}

/// `what` needs an execution role, e.g. `ECR images`.
pub fn no_execution_role(what: &str) -> ApiError {
    ApiError::client(format!(
        "Fargate requires task definition to have execution role ARN to support {what}."
    ))
}

pub fn no_stream_prefix() -> ApiError {
    ApiError::client(
        "Fargate requires log configuration options to include awslogs-stream-prefix to support \
         log driver awslogs.",
    )
}
