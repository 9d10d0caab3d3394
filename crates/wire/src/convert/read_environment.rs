//! Variables of a container: given, from files, and from secrets.

use crate::error::ApiError;
use crate::messages;
use crate::shapes::container_definition as wire;
use std::collections::BTreeSet;
use windlass_model::arn::Arn;
use windlass_model::container::{ContainerDefinition, KeyValue, Secret};
use windlass_model::id::Name;

/// Environment files of one container at most. Source: ECS API.
const ENVIRONMENT_FILES_MAX: usize = 10;

pub(super) fn key_values(
    container: &Name,
    field: &str,
    given: Option<Vec<wire::KeyValuePair>>,
) -> Result<Vec<KeyValue>, ApiError> {
    given
        .unwrap_or_default()
        .into_iter()
        .map(|pair| {
            let name = pair.name.unwrap_or_default();
            let value = pair.value.unwrap_or_default();
            if name.is_empty() || name.contains('=') {
                return Err(ApiError::client(format!(
                    "Container '{container}': a name in '{field}' is empty or contains '='."
                )));
            }
            if name.contains('\0') || value.contains('\0') {
                return Err(ApiError::client(format!(
                    "Container '{container}': '{field}' {name:?} contains a NUL character."
                )));
            }
            Ok(KeyValue { name, value })
        })
        .collect()
}

/// Objects of S3, by ARN. What the API calls `s3` is the only kind, and another is no ARN of it.
pub(super) fn environment_files(
    given: Option<Vec<wire::EnvironmentFile>>,
) -> Result<Vec<String>, ApiError> {
    let given = given.unwrap_or_default();
    if given.len() > ENVIRONMENT_FILES_MAX {
        return Err(messages::container::too_many_environment_files());
    }
    let object = |file: wire::EnvironmentFile| {
        let of_s3 = !matches!(file.r#type, Some(wire::EnvironmentFileType::Other(_)));
        let arn = file.value.unwrap_or_default();
        if of_s3 && is_object(&arn) {
            return Ok(arn);
        }
        Err(messages::container::environment_file_invalid())
    };
    given.into_iter().map(object).collect()
}

/// `arn:PARTITION:s3:::BUCKET/KEY`.
fn is_object(text: &str) -> bool {
    let arn = Arn::parse(text).filter(|arn| arn.service == "s3");
    let path = arn.and_then(|arn| arn.resource.split_once('/'));
    path.is_some_and(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
}

pub(super) fn secrets(
    container: &Name,
    field: &str,
    account: &str,
    given: Option<Vec<wire::Secret>>,
) -> Result<Vec<Secret>, ApiError> {
    given
        .unwrap_or_default()
        .into_iter()
        .map(|secret| {
            let name = secret.name.unwrap_or_default();
            let value_from = secret.value_from.unwrap_or_default();
            if name.is_empty() || name.contains(['=', '\0']) || value_from.is_empty() {
                return Err(ApiError::client(format!(
                    "Container '{container}': each of '{field}' needs a name without '=' and a \
                     valueFrom."
                )));
            }
            // Without an account it is this one's.
            let arn = Arn::parse(&value_from)
                .filter(|arn| arn.service == "ssm" && !arn.account.is_empty());
            if arn.is_some_and(|arn| arn.account != account) {
                return Err(messages::container::parameter_of_other_account());
            }
            Ok(Secret { name, value_from })
        })
        .collect()
}

/// A name is either a secret's or a variable's.
pub(super) fn check_secret_names(container: &ContainerDefinition) -> Result<(), ApiError> {
    let variables = container.environment.iter().map(|pair| pair.name.as_str());
    let mut taken: BTreeSet<&str> = variables.collect();
    match container
        .secrets
        .iter()
        .find(|secret| !taken.insert(&secret.name))
    {
        None => Ok(()),
        Some(secret) => Err(messages::container::secret_name_taken(&secret.name)),
    }
}
