//! From the bytes of a request to its structure, with everything that the model has against it.
//!
//! Elsewhere: limits on the size of a body (`windlass-api`), what ECS checks beyond its model (each
//! operation).

use crate::check::{self, Violation};
use crate::error::{ApiError, ErrorCode};
use crate::inspect;
use crate::operation::Operation;
use crate::shape::{Request, Shape, shape_of};

/// A request that could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded<T> {
    pub input: T,
    /// What the model forbids. Operations make their own checks first, whose sentences ECS's
    /// clients know, and refuse the rest of these after.
    pub violations: Vec<Violation>,
    /// Paths of members that the model does not know, which were ignored.
    pub unknown: Vec<String>,
}

impl<T> Decoded<T> {
    /// The request, unless the model has something against it.
    pub fn checked(self, code: ErrorCode) -> Result<T, ApiError> {
        check::refuse(&self.violations, code)?;
        Ok(self.input)
    }
}

/// Reads the body of a request. An empty body is `{}`, `null` is absent, unknown members are
/// ignored.
///
/// # Errors
/// SerializationException for what is no JSON, holds a wrong type, a key twice or half a surrogate
/// pair, or nests deeper than [`inspect::DEPTH_MAX`].
pub fn decode<T: Request>(body: &[u8]) -> Result<Decoded<T>, ApiError> {
    let text = text_of(body)?;
    let report = report(text, shape_of::<T>())?;
    let input = serde_json::from_str(text)
        .map_err(|error| refused(format!("The request body can not be read: {error}")))?;
    Ok(Decoded {
        input,
        violations: report.violations,
        unknown: report.unknown,
    })
}

/// Paths of the members of `json` that a request of `operation` does not have, for tools that want
/// to warn of what ECS ignores.
///
/// # Errors
/// As [`decode`].
pub fn unknown_members(json: &str, operation: Operation) -> Result<Vec<String>, ApiError> {
    Ok(report(json, operation.request())?.unknown)
}

fn report(text: &str, shape: &'static Shape) -> Result<inspect::Report, ApiError> {
    inspect::text(text, shape).map_err(refused)
}

fn text_of(body: &[u8]) -> Result<&str, ApiError> {
    let text = std::str::from_utf8(body).map_err(|error| {
        refused(format!(
            "The request body is not UTF-8 from byte {} on",
            error.valid_up_to()
        ))
    })?;
    Ok(if text.trim_ascii().is_empty() {
        "{}"
    } else {
        text
    })
}

fn refused(message: String) -> ApiError {
    ApiError::new(ErrorCode::Serialization, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{
        CreateClusterRequest, ListServiceDeploymentsRequest, RegisterTaskDefinitionRequest,
        RunTaskRequest, UpdateServiceRequest,
    };
    use crate::shapes::task::LaunchType;
    use crate::timestamp::Timestamp;

    fn fault<T: Request + std::fmt::Debug>(body: &[u8]) -> String {
        let error = decode::<T>(body).unwrap_err();
        assert_eq!(error.code, ErrorCode::Serialization);
        error.message
    }

    #[test]
    fn nothing_is_an_empty_request() {
        for body in ["", " \n", "{}"] {
            let decoded = decode::<CreateClusterRequest>(body.as_bytes()).unwrap();
            assert_eq!(decoded.input, CreateClusterRequest::default());
        }
    }

    #[test]
    fn null_is_absent_and_an_empty_list_is_not() {
        let body = br#"{"service":"web","cluster":null,"loadBalancers":[],"new":{"x":1}}"#;
        let decoded = decode::<UpdateServiceRequest>(body).unwrap();
        assert_eq!(decoded.input.cluster, None);
        assert_eq!(decoded.input.load_balancers, Some(vec![]));
        assert_eq!(decoded.input.service_registries, None);
        assert_eq!(decoded.unknown, ["new"]);
        assert_eq!(decoded.violations, []);
    }

    #[test]
    fn wrong_types_are_named_in_the_words_of_ecs() {
        let table = [
            (
                r#"{"cluster":1}"#,
                "NUMBER_VALUE can not be converted to a String (at 'cluster')",
            ),
            (
                r#"{"cluster":true}"#,
                "TRUE_VALUE can not be converted to a String (at 'cluster')",
            ),
            (
                r#"{"count":"1"}"#,
                "STRING_VALUE can not be converted to an Integer (at 'count')",
            ),
            (
                r#"{"count":1.5}"#,
                "NUMBER_VALUE can not be converted to an Integer (at 'count')",
            ),
            (
                r#"{"count":4294967296}"#,
                "NUMBER_VALUE can not be converted to an Integer (at 'count')",
            ),
            (r#"{"tags":"a"}"#, "Expected list or null (at 'tags')"),
            (
                r#"{"overrides":[]}"#,
                "Start of list found where not expected (at 'overrides')",
            ),
            (
                r#"{"tags":[{"key":{}}]}"#,
                "Start of structure or map found where not expected (at 'tags[0].key')",
            ),
            (
                r#"{"tags":[null]}"#,
                "NULL_VALUE found where not expected (at 'tags[0]')",
            ),
            (
                r#"{"count":1,"count":1}"#,
                "The member 'count' is given twice",
            ),
            (
                r#"{"x":{"a":1,"a":2}}"#,
                "The member 'a' is given twice (at 'x')",
            ),
            (r#"[]"#, "Start of list found where not expected"),
            (r#"null"#, "Expected a structure"),
            (r#"7"#, "Expected structure or null"),
        ];
        for (body, sentence) in table {
            assert_eq!(fault::<RunTaskRequest>(body.as_bytes()), sentence, "{body}");
        }
    }

    #[test]
    fn broken_json_is_refused_wherever_it_stands() {
        let bodies: [&[u8]; 8] = [
            b"{",
            b"{} {}",
            b"{\"a\":\"\\ud800\"}",
            b"{\"cluster\":\"\\udc00x\"}",
            b"{\"cluster\":\"a\xff\"}",
            b"\xef\xbb\xbf{}",
            b"{\"count\":01}",
            b"{\"x\":1e999}",
        ];
        for body in bodies {
            fault::<RunTaskRequest>(body);
        }
    }

    #[test]
    fn depth_is_bounded_at_its_limit() {
        let nested = |depth: usize| {
            format!(
                "{{\"x\":{}{}}}",
                "[".repeat(depth - 1),
                "]".repeat(depth - 1)
            )
        };
        assert!(decode::<RunTaskRequest>(nested(inspect::DEPTH_MAX).as_bytes()).is_ok());
        let deep = fault::<RunTaskRequest>(nested(inspect::DEPTH_MAX + 1).as_bytes());
        assert!(deep.contains("deeper than 64"), "{deep}");
        fault::<RunTaskRequest>(nested(100_000).as_bytes());
    }

    #[test]
    fn violations_name_their_place_and_the_missing_come_first() {
        let body = br#"{"launchType":"MOON","tags":[{"key":"a,b"},{"key":""}]}"#;
        let decoded = decode::<RunTaskRequest>(body).unwrap();
        assert_eq!(
            decoded.input.launch_type,
            Some(LaunchType::Other("MOON".into()))
        );
        let found: Vec<(&str, &check::Constraint)> = decoded
            .violations
            .iter()
            .map(|v| (v.path.as_str(), &v.constraint))
            .collect();
        let text = check::Constraint::Text(crate::shape::Text::Tag);
        let one_of = check::Constraint::OneOf(LaunchType::VALUES);
        assert_eq!(
            found,
            [
                ("taskDefinition", &check::Constraint::Required),
                ("launchType", &one_of),
                ("tags[0].key", &text),
                ("tags[1].key", &check::Constraint::SizeAtLeast(1)),
            ]
        );
        assert_eq!(decoded.input.check(), decoded.violations);
        let refused = decoded.checked(ErrorCode::InvalidParameter).unwrap_err();
        assert!(
            refused
                .message
                .starts_with("4 validation errors detected: "),
            "{refused}"
        );
    }

    #[test]
    fn moments_are_seconds() {
        let body = br#"{"service":"web","createdAt":{"after":1557119253.821,"before":12}}"#;
        let created = decode::<ListServiceDeploymentsRequest>(body)
            .unwrap()
            .input
            .created_at;
        let created = created.unwrap();
        assert_eq!(created.after, Some(Timestamp(1_557_119_253_821)));
        assert_eq!(created.before, Some(Timestamp(12_000)));
    }

    #[test]
    fn unknown_members_are_listed_by_path() {
        let json = r#"{"family":"web","containerDefinitions":[{"name":"a","imag":"b",
            "dockerLabels":{"free":"x"}}],"Cpu":"1"}"#;
        let unknown = unknown_members(json, Operation::RegisterTaskDefinition).unwrap();
        assert_eq!(unknown, ["containerDefinitions[0].imag", "Cpu"]);
        let decoded = decode::<RegisterTaskDefinitionRequest>(json.as_bytes()).unwrap();
        assert_eq!(decoded.input.container_definitions.unwrap().len(), 1);
    }

    /// Damages a request in every place: nothing may panic, and what passes the inspection must fit
    /// the types, or the two readers of a body would disagree on it.
    #[test]
    fn damaged_bodies_are_judged_alike_by_both_readers() {
        let body = br#"{"taskDefinition":"web:1","count":2,"enableECSManagedTags":true,
            "tags":[{"key":"a","value":"\u00e4"}],"launchType":"EC2","overrides":{"containerOverrides":
            [{"name":"a","cpu":-1,"environment":[{"name":"X","value":null}]}]},"x":{"y":[1e3]}}"#;
        assert!(decode::<RunTaskRequest>(body).is_ok());
        let mut refusals = 0;
        for at in 0..body.len() {
            let mut damaged: Vec<Vec<u8>> = vec![body[..at].to_vec()];
            for byte in *b"\"{}[]:,0-9.ntf\\\x00\xff" {
                let mut copy = body.to_vec();
                copy[at] = byte;
                damaged.push(copy.clone());
                copy[at..].rotate_right(1);
                damaged.push(copy);
            }
            for copy in damaged {
                if let Err(error) = decode::<RunTaskRequest>(&copy) {
                    refusals += 1;
                    assert!(!error.message.contains("can not be read"), "{error}");
                }
            }
        }
        assert!(refusals > body.len(), "{refusals} refusals");
    }
}
