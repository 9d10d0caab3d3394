//! Names, ids and ARNs as callers write them. Wherever ECS says "name or ARN", both are accepted,
//! the old short ARNs too; an ARN of another account is refused.

use crate::error::ApiError;
use crate::messages;
use windlass_model::arn::{Arn, Scope};
use windlass_model::command::Resource;
use windlass_model::definition::{DefinitionKey, DefinitionRef};
use windlass_model::id::{InstanceId, Name, TaskId};

/// The cluster meant by an absent or empty `cluster`.
pub const DEFAULT_CLUSTER: &str = "default";

/// `cluster`: name or ARN; absent is `default`.
///
/// # Errors
/// `InvalidParameterException` when it is neither, or of another account.
pub fn cluster(scope: &Scope, given: Option<&str>) -> Result<Name, ApiError> {
    let text = match given {
        None | Some("") => DEFAULT_CLUSTER,
        Some(text) => text,
    };
    let name = match Arn::parse(text) {
        None => text,
        Some(arn) => own(scope, &arn)?
            .id_of("cluster")
            .ok_or_else(|| ApiError::invalid_parameter("Invalid cluster identifier."))?,
    };
    Name::new(name).map_err(|_| {
        ApiError::invalid_parameter(
            "Identifier contains invalid characters. A cluster name has 1 to 255 letters, \
             digits, hyphens and underscores.",
        )
    })
}

/// A task's id or ARN, in `cluster`. `None` when the ARN is of another cluster: such a task is
/// simply not there.
///
/// # Errors
/// `InvalidParameterException` with ECS's words for ids of a wrong length.
pub fn task(scope: &Scope, cluster: &Name, given: &str) -> Result<Option<TaskId>, ApiError> {
    let id = member(scope, cluster, "task", given)?;
    let Some(id) = id else { return Ok(None) };
    if id.len() != 32 && id.len() != 36 {
        return Err(messages::task::id_length());
    }
    // An id of 36 characters is of the old form, which was never given out here.
    Ok(id.parse().ok())
}

/// A container instance's id or ARN, in `cluster`.
///
/// # Errors
/// `InvalidParameterException` when it is neither.
pub fn instance(
    scope: &Scope,
    cluster: &Name,
    given: &str,
) -> Result<Option<InstanceId>, ApiError> {
    let id = member(scope, cluster, "container-instance", given)?;
    let Some(id) = id else { return Ok(None) };
    if id.len() != 32 && id.len() != 36 {
        return Err(ApiError::invalid_parameter(
            "containerInstanceId length should be one of [32,36]",
        ));
    }
    Ok(id.parse().ok())
}

/// The id within `cluster` of `kind/cluster/id`, `kind/id` or `id`.
fn member<'a>(
    scope: &Scope,
    cluster: &Name,
    kind: &str,
    given: &'a str,
) -> Result<Option<&'a str>, ApiError> {
    let Some(arn) = Arn::parse(given) else {
        return Ok(Some(given));
    };
    let rest = own(scope, &arn)?
        .id_of(kind)
        .ok_or_else(|| ApiError::invalid_parameter(format!("Invalid identifier: {given}")))?;
    Ok(match rest.split_once('/') {
        None => Some(rest),
        Some((of, id)) => (of == cluster.as_str()).then_some(id),
    })
}

/// `family`, `family:revision`, or the ARN of either.
///
/// # Errors
/// `ClientException` as ECS words a definition it cannot find.
pub fn definition(scope: &Scope, given: &str) -> Result<DefinitionRef, ApiError> {
    definition_or(scope, given, messages::task_definition::not_described)
}

/// [`definition`], with the caller's words for one that cannot be found: they differ by operation.
pub(super) fn definition_or(
    scope: &Scope,
    given: &str,
    not_found: fn() -> ApiError,
) -> Result<DefinitionRef, ApiError> {
    let text = match Arn::parse(given) {
        None => given,
        Some(arn) => own(scope, &arn)?
            .id_of("task-definition")
            .ok_or_else(not_found)?,
    };
    let (family, revision) = match text.split_once(':') {
        None => (text, None),
        Some((family, revision)) => (family, Some(revision)),
    };
    let family = Name::new(family).map_err(|_| not_found())?;
    Ok(match revision {
        None => DefinitionRef::Latest(family),
        Some(revision) => {
            let revision = revision.parse().map_err(|_| {
                ApiError::invalid_parameter(format!("Invalid revision number. Number: {revision}"))
            })?;
            DefinitionRef::Exact(DefinitionKey { family, revision })
        }
    })
}

/// A taggable resource by its ARN.
///
/// # Errors
/// `InvalidParameterException` when it is no ARN of a kind that carries tags.
pub fn resource(scope: &Scope, given: &str) -> Result<Resource, ApiError> {
    let invalid = || ApiError::invalid_parameter("The ARN provided is invalid.");
    let arn = Arn::parse(given).ok_or_else(invalid)?;
    let arn = own(scope, &arn)?;
    let (kind, rest) = arn.resource.split_once('/').ok_or_else(invalid)?;
    let in_cluster = || {
        let (cluster, id) = rest.split_once('/').ok_or_else(invalid)?;
        Ok::<_, ApiError>((Name::new(cluster).map_err(|_| invalid())?, id))
    };
    match kind {
        "cluster" => Ok(Resource::Cluster(Name::new(rest).map_err(|_| invalid())?)),
        "task" => {
            let (cluster, id) = in_cluster()?;
            Ok(Resource::Task(cluster, id.parse().map_err(|_| invalid())?))
        }
        "container-instance" => {
            let (cluster, id) = in_cluster()?;
            Ok(Resource::Instance(
                cluster,
                id.parse().map_err(|_| invalid())?,
            ))
        }
        "task-definition" => match definition(scope, rest).map_err(|_| invalid())? {
            DefinitionRef::Exact(key) => Ok(Resource::Definition(key)),
            DefinitionRef::Latest(_) => Err(invalid()),
        },
        _ => Err(invalid()),
    }
}

/// The ARN, when it is of this account, region and service.
fn own<'a, 'b>(scope: &Scope, arn: &'b Arn<'a>) -> Result<&'b Arn<'a>, ApiError> {
    if arn.service != "ecs" || arn.partition != "aws" {
        return Err(ApiError::invalid_parameter("The ARN provided is invalid."));
    }
    if arn.account != scope.account {
        return Err(messages::arn::account_mismatch());
    }
    if arn.region != scope.region {
        return Err(ApiError::invalid_parameter(format!(
            "Invalid identifier: the ARN is of region {}, this endpoint serves {}",
            arn.region, scope.region
        )));
    }
    Ok(arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope {
            region: "us-east-1".into(),
            account: "111122223333".into(),
        }
    }

    #[test]
    fn clusters_by_name_arn_or_silence() {
        let name = |given| cluster(&scope(), given).map(|name| name.to_string());
        assert_eq!(name(None).as_deref(), Ok("default"));
        assert_eq!(name(Some("")).as_deref(), Ok("default"));
        assert_eq!(name(Some("prod")).as_deref(), Ok("prod"));
        assert_eq!(
            name(Some("arn:aws:ecs:us-east-1:111122223333:cluster/prod")).as_deref(),
            Ok("prod")
        );
        let other = name(Some("arn:aws:ecs:us-east-1:999999999999:cluster/prod")).unwrap_err();
        assert_eq!(other.message, "AccountIDs mismatch");
        assert!(name(Some("a b")).is_err());
        assert!(name(Some("arn:aws:ecs:eu-west-1:111122223333:cluster/prod")).is_err());
    }

    #[test]
    fn tasks_by_id_or_arn() {
        let cluster = Name::new("default").unwrap();
        let id = "0f9de17a6465404e8b1b2356dc13c2f8";
        let read = |given: &str| task(&scope(), &cluster, given);
        assert_eq!(read(id).unwrap().unwrap().to_string(), id);
        let arn = format!("arn:aws:ecs:us-east-1:111122223333:task/default/{id}");
        assert_eq!(read(&arn).unwrap().unwrap().to_string(), id);
        let elsewhere = format!("arn:aws:ecs:us-east-1:111122223333:task/other/{id}");
        assert_eq!(read(&elsewhere).unwrap(), None);
        assert_eq!(
            read("abc").unwrap_err().message,
            "taskId length should be one of [32,36]"
        );
    }

    #[test]
    fn definitions_by_family_revision_or_arn() {
        let read = |given: &str| definition(&scope(), given);
        assert!(matches!(read("web"), Ok(DefinitionRef::Latest(_))));
        assert!(matches!(read("web:3"), Ok(DefinitionRef::Exact(_))));
        let arn = "arn:aws:ecs:us-east-1:111122223333:task-definition/web:3";
        assert!(matches!(read(arn), Ok(DefinitionRef::Exact(_))));
        assert_eq!(
            read("web:x").unwrap_err().message,
            "Invalid revision number. Number: x"
        );
        assert!(read("").is_err());
    }
}
