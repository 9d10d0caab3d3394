//! Where a container's lines go.

use super::fargate;
use super::read_container::Surroundings;
use super::read_environment::secrets;
use crate::error::ApiError;
use crate::messages;
use crate::shapes::log_configuration as wire;
use crate::shapes::log_configuration::LogDriver;
use std::collections::BTreeMap;
use windlass_model::container::{Firelens, LogConfiguration};
use windlass_model::id::Name;

pub(super) fn log_configuration(
    container: &Name,
    within: &Surroundings,
    given: wire::LogConfiguration,
) -> Result<LogConfiguration, ApiError> {
    let driver = match &given.log_driver {
        None => {
            return Err(ApiError::client(format!(
                "Container '{container}': logConfiguration requires a logDriver."
            )));
        }
        Some(driver) => driver.as_str().to_owned(),
    };
    let known: &[&str] = if within.fargate {
        &fargate::LOG_DRIVERS
    } else {
        LogDriver::VALUES
    };
    if !known.contains(&driver.as_str()) {
        return Err(messages::logging::driver_invalid(&driver, known));
    }
    if driver == "awslogs" {
        check_awslogs(container, given.options.as_ref())?;
    }
    Ok(LogConfiguration {
        driver,
        options: given.options.filter(|options| !options.is_empty()),
        secret_options: given
            .secret_options
            .map(|given| secrets(container, "secretOptions", within.account, Some(given)))
            .transpose()?,
    })
}

fn check_awslogs(
    container: &Name,
    options: Option<&BTreeMap<String, String>>,
) -> Result<(), ApiError> {
    let has = |option: &str| options.is_some_and(|options| options.contains_key(option));
    let required = ["awslogs-region", "awslogs-group"];
    let missing: Vec<&str> = required.into_iter().filter(|option| !has(option)).collect();
    if !missing.is_empty() {
        return Err(messages::logging::options_missing("awslogs", &missing));
    }
    if has("awslogs-datetime-format") && has("awslogs-multiline-pattern") {
        return Err(ApiError::client(format!(
            "Container '{container}': log driver awslogs takes awslogs-datetime-format or \
             awslogs-multiline-pattern, not both."
        )));
    }
    Ok(())
}

pub(super) fn firelens(given: wire::FirelensConfiguration) -> Firelens {
    Firelens {
        kind: given
            .r#type
            .map(|kind| kind.as_str().to_owned())
            .unwrap_or_default(),
        options: given.options,
    }
}
