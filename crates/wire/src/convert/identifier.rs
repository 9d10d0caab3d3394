//! Names, ids and ARNs as callers write them. Wherever ECS says "name or ARN", both are accepted,
//! the old short ARNs too; an ARN of another account is refused.

use crate::error::ApiError;
use crate::messages;
use windlass_model::arn::{Arn, Scope};
use windlass_model::command::Resource;
use windlass_model::definition::{DefinitionKey, DefinitionRef};
use windlass_model::id::{InstanceId, Name, TaskId};

/// The cluster meant by an absent `cluster`.
pub const DEFAULT_CLUSTER: &str = "default";

/// `cluster`: name or ARN; absent is `default`.
///
/// # Errors
/// `InvalidParameterException` when it is neither, or of another account.
pub fn cluster(scope: &Scope, given: Option<&str>) -> Result<Name, ApiError> {
    let text = match given {
        None => DEFAULT_CLUSTER,
        Some("") => return Err(messages::cluster::blank()),
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

/// A task's id or ARN, in `cluster`. `None` when it cannot be the id of a task here.
///
/// # Errors
/// `InvalidParameterException` with ECS's words for ids of a wrong length, and for ARNs that name
/// another cluster.
pub fn task(scope: &Scope, cluster: &Name, given: &str) -> Result<Option<TaskId>, ApiError> {
    let id = member(scope, cluster, "task", given)?;
    if id.len() != 32 && id.len() != 36 {
        return Err(messages::task::id_length());
    }
    // An id of 36 characters is of the old form, which was never given out here.
    Ok(id.parse().ok())
}

/// A container instance's id or ARN, in `cluster`: see [`task`].
///
/// # Errors
/// As [`task`].
pub fn instance(
    scope: &Scope,
    cluster: &Name,
    given: &str,
) -> Result<Option<InstanceId>, ApiError> {
    let id = member(scope, cluster, "container-instance", given)?;
    if id.len() != 32 && id.len() != 36 {
        return Err(messages::container_instance::id_length());
    }
    Ok(id.parse().ok())
}

/// The ARN by which an answer names an instance that cannot be there.
pub fn instance_arn(scope: &Scope, cluster: &Name, given: String) -> String {
    match given.starts_with("arn:") {
        true => given,
        false => scope.arn(&format!("container-instance/{cluster}/{given}")),
    }
}

/// The id within `cluster` of `kind/cluster/id`, `kind/id` or `id`. Source: ECS; its old ARNs say no
/// cluster and are looked for in the call's.
fn member<'a>(
    scope: &Scope,
    cluster: &Name,
    kind: &str,
    given: &'a str,
) -> Result<&'a str, ApiError> {
    let Some(arn) = Arn::parse(given) else {
        return Ok(given);
    };
    let rest = own(scope, &arn)?
        .id_of(kind)
        .ok_or_else(|| ApiError::invalid_parameter(format!("Invalid identifier: {given}")))?;
    match rest.split_once('/') {
        None => Ok(rest),
        Some((of, id)) if of == cluster.as_str() => Ok(id),
        Some((of, _)) => Err(messages::arn::of_other_cluster(of, cluster.as_str())),
    }
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

/// Whether it is the ARN of a revision elsewhere: well-formed, and of another account, region or
/// partition than this one's.
pub fn is_definition_elsewhere(scope: &Scope, given: &str) -> bool {
    let Some(arn) = Arn::parse(given).filter(|arn| arn.service == "ecs") else {
        return false;
    };
    let is_account = arn.account.len() == 12 && arn.account.bytes().all(|b| b.is_ascii_digit());
    let revision = arn.id_of("task-definition").map(|id| definition(scope, id));
    is_account && own(scope, &arn).is_err() && matches!(revision, Some(Ok(DefinitionRef::Exact(_))))
}

/// A taggable resource by its ARN.
///
/// # Errors
/// `InvalidParameterException` when it is no ARN of a kind that carries tags.
pub fn resource(scope: &Scope, given: &str) -> Result<Resource, ApiError> {
    let invalid = messages::arn::invalid;
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
        return Err(messages::arn::invalid());
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
        assert_eq!(
            name(Some("")).unwrap_err().message,
            "Cluster can not be blank."
        );
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
        assert_eq!(
            read(&elsewhere).unwrap_err().message,
            "Invalid identifier: Identifier is for cluster other. Your cluster is default"
        );
        // The old form of an ARN names no cluster.
        let short = format!("arn:aws:ecs:us-east-1:111122223333:task/{id}");
        assert_eq!(read(&short).unwrap().unwrap().to_string(), id);
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

    /// Each kind of identifier that is another's: of an account, region, partition or service.
    #[test]
    fn what_is_elsewhere_is_refused() {
        let default = Name::new("default").unwrap();
        let id = "0f9de17a6465404e8b1b2356dc13c2f8";
        let refused = |kind: &str, arn: &str| {
            let scope = scope();
            let err = match kind {
                "cluster" => cluster(&scope, Some(arn)).err(),
                "task" => task(&scope, &default, arn).err(),
                "container-instance" => instance(&scope, &default, arn).err(),
                "task-definition" => definition(&scope, arn).err(),
                _ => resource(&scope, arn).err(),
            };
            err.unwrap_or_else(|| panic!("{kind} {arn} is taken"))
        };
        let resources = [
            ("cluster", String::from("cluster/default")),
            ("task", format!("task/default/{id}")),
            (
                "container-instance",
                format!("container-instance/default/{id}"),
            ),
            ("task-definition", String::from("task-definition/web:3")),
        ];
        for (kind, resource) in &resources {
            for (partition, service, region, account, message) in [
                (
                    "aws",
                    "ecs",
                    "us-east-1",
                    "999999999999",
                    "AccountIDs mismatch",
                ),
                (
                    "aws-cn",
                    "ecs",
                    "us-east-1",
                    "111122223333",
                    "The ARN provided is invalid.",
                ),
                (
                    "aws",
                    "sqs",
                    "us-east-1",
                    "111122223333",
                    "The ARN provided is invalid.",
                ),
            ] {
                let arn = format!("arn:{partition}:{service}:{region}:{account}:{resource}");
                assert_eq!(refused(kind, &arn).message, message, "{arn}");
                assert_eq!(refused("tags", &arn).message, message, "{arn}");
            }
            let arn = format!("arn:aws:ecs:eu-west-1:111122223333:{resource}");
            assert!(refused(kind, &arn).message.contains("eu-west-1"), "{arn}");
            assert!(refused("tags", &arn).message.contains("eu-west-1"), "{arn}");
        }
        for (kind, other) in [
            ("task", "container-instance"),
            ("container-instance", "task"),
        ] {
            let arn = format!("arn:aws:ecs:us-east-1:111122223333:{other}/default/{id}");
            refused(kind, &arn);
            let elsewhere = format!("arn:aws:ecs:us-east-1:111122223333:{kind}/other/{id}");
            assert_eq!(
                refused(kind, &elsewhere).message,
                "Invalid identifier: Identifier is for cluster other. Your cluster is default"
            );
        }
        for bad in [
            "",
            "web",
            "arn:aws:ecs:us-east-1:111122223333:service/default/web",
        ] {
            refused("tags", bad);
        }
    }

    #[test]
    fn revisions_of_others_are_told_from_nonsense() {
        for (given, elsewhere) in [
            (
                "arn:aws:ecs:us-east-1:999999999999:task-definition/web:3",
                true,
            ),
            (
                "arn:aws:ecs:eu-west-1:111122223333:task-definition/web:3",
                true,
            ),
            (
                "arn:aws-cn:ecs:us-east-1:111122223333:task-definition/web:3",
                true,
            ),
            (
                "arn:aws:ecs:us-east-1:111122223333:task-definition/web:3",
                false,
            ),
            (
                "arn:aws:ecs:us-east-1:999999999999:task-definition/web",
                false,
            ),
            ("arn:aws:ecs:us-east-1:999999999999:cluster/web", false),
            ("arn:aws:ecs:us-east-1:99:task-definition/web:3", false),
            (
                "arn:aws:sqs:us-east-1:999999999999:task-definition/web:3",
                false,
            ),
            ("web:3", false),
            ("a b:1", false),
        ] {
            assert_eq!(
                is_definition_elsewhere(&scope(), given),
                elsewhere,
                "{given}"
            );
        }
    }
}
