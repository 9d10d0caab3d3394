//! The errors of the API: codes, HTTP statuses, and the body that carries them.
//!
//! The sentences lie in [`crate::messages`]; which operation may answer which code is in
//! [`crate::operation::Operation::errors`].

use std::fmt;

use serde_json::{Map, Value};

/// An answer that refuses a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    pub code: ErrorCode,
    pub message: String,
    /// What the conflict is with; only `Conflict` carries it.
    pub resource_ids: Vec<String>,
}

/// One table for all codes: variant, name on the wire, HTTP status, and whether the ECS model
/// lists it (the others come from the framework in front of every AWS service).
macro_rules! error_codes {
    ($( $variant:ident $name:literal $status:literal $origin:ident; )*) => {
        /// The code of an error, `__type` on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode { $( $variant, )* }

        impl ErrorCode {
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $name, )* }
            }

            /// HTTP status of an answer with this code.
            pub const fn status(self) -> u16 {
                match self { $( Self::$variant => $status, )* }
            }

            /// Whether the ECS model lists the code.
            pub const fn is_modelled(self) -> bool {
                match self { $( Self::$variant => matches!(Origin::$origin, Origin::Ecs), )* }
            }

            /// The code that `name` says, with the namespace before `#` and the address after `:`
            /// that some services add.
            pub fn from_name(name: &str) -> Option<Self> {
                let name = name.rsplit_once('#').map_or(name, |(_, name)| name);
                let name = name.split_once(':').map_or(name, |(name, _)| name);
                match name { $( $name => Some(Self::$variant), )* _ => None }
            }
        }
    };
}

enum Origin {
    Ecs,
    Framework,
}

error_codes! {
    AccessDenied "AccessDeniedException" 400 Ecs;
    AttributeLimitExceeded "AttributeLimitExceededException" 400 Ecs;
    Blocked "BlockedException" 400 Ecs;
    Client "ClientException" 400 Ecs;
    ClusterContainsCapacityProvider "ClusterContainsCapacityProviderException" 400 Ecs;
    ClusterContainsContainerInstances "ClusterContainsContainerInstancesException" 400 Ecs;
    ClusterContainsServices "ClusterContainsServicesException" 400 Ecs;
    ClusterContainsTasks "ClusterContainsTasksException" 400 Ecs;
    ClusterNotFound "ClusterNotFoundException" 400 Ecs;
    Conflict "ConflictException" 400 Ecs;
    DaemonNotActive "DaemonNotActiveException" 400 Ecs;
    DaemonNotFound "DaemonNotFoundException" 400 Ecs;
    GatewayNotFound "GatewayNotFoundException" 400 Ecs;
    InvalidParameter "InvalidParameterException" 400 Ecs;
    LimitExceeded "LimitExceededException" 400 Ecs;
    MissingVersion "MissingVersionException" 400 Ecs;
    NamespaceNotFound "NamespaceNotFoundException" 400 Ecs;
    NoUpdateAvailable "NoUpdateAvailableException" 400 Ecs;
    PlatformTaskDefinitionIncompatibility "PlatformTaskDefinitionIncompatibilityException" 400 Ecs;
    PlatformUnknown "PlatformUnknownException" 400 Ecs;
    ResourceInUse "ResourceInUseException" 400 Ecs;
    ResourceNotFound "ResourceNotFoundException" 400 Ecs;
    Server "ServerException" 500 Ecs;
    ServiceDeploymentNotFound "ServiceDeploymentNotFoundException" 400 Ecs;
    ServiceNotActive "ServiceNotActiveException" 400 Ecs;
    ServiceNotFound "ServiceNotFoundException" 400 Ecs;
    TargetNotConnected "TargetNotConnectedException" 400 Ecs;
    TargetNotFound "TargetNotFoundException" 400 Ecs;
    TaskSetNotFound "TaskSetNotFoundException" 400 Ecs;
    UnsupportedFeature "UnsupportedFeatureException" 400 Ecs;
    UpdateInProgress "UpdateInProgressException" 400 Ecs;
    ExpiredToken "ExpiredTokenException" 400 Framework;
    IncompleteSignature "IncompleteSignatureException" 400 Framework;
    InvalidSignature "InvalidSignatureException" 400 Framework;
    MissingAuthenticationToken "MissingAuthenticationTokenException" 400 Framework;
    RequestEntityTooLarge "RequestEntityTooLarge" 413 Framework;
    Serialization "SerializationException" 400 Framework;
    ServiceUnavailable "ServiceUnavailable" 503 Framework;
    Throttling "ThrottlingException" 400 Framework;
    UnknownOperation "UnknownOperationException" 400 Framework;
    UnrecognizedClient "UnrecognizedClientException" 400 Framework;
}

impl ApiError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            resource_ids: Vec::new(),
        }
    }

    /// `ClientException`: nearly everything about task definitions.
    pub fn client(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Client, message)
    }

    /// `InvalidParameterException`: nearly everything else that a caller gets wrong.
    pub fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidParameter, message)
    }

    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::UnsupportedFeature, message)
    }

    pub fn platform_unknown(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::PlatformUnknown, message)
    }

    /// HTTP status of the answer.
    pub const fn status(&self) -> u16 {
        self.code.status()
    }

    /// The body of the answer: `{"__type":…,"message":…}`.
    pub fn to_json(&self) -> String {
        let mut body = Map::new();
        body.insert("__type".to_owned(), self.code.as_str().into());
        body.insert("message".to_owned(), self.message.as_str().into());
        if !self.resource_ids.is_empty() {
            body.insert("resourceIds".to_owned(), self.resource_ids.clone().into());
        }
        Value::Object(body).to_string()
    }

    /// Reads an error's answer, as clients do: the code from the header `x-amzn-ErrorType` or else
    /// from `__type`, the text from `message` or `Message`. Nothing when no code is known by
    /// either; the caller then has only the HTTP status to show.
    pub fn from_answer(error_type: Option<&str>, body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let code = error_type
            .and_then(ErrorCode::from_name)
            .or_else(|| ErrorCode::from_name(body.get("__type")?.as_str()?))?;
        let message = body.get("message").or_else(|| body.get("Message"));
        let message = message
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let ids = body.get("resourceIds").and_then(Value::as_array);
        let ids = ids
            .into_iter()
            .flatten()
            .filter_map(|id| Some(id.as_str()?.to_owned()));
        Some(Self {
            code,
            message,
            resource_ids: ids.collect(),
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_wire() {
        let plain = ApiError::new(ErrorCode::ClusterNotFound, "Cluster not found.");
        assert_eq!(
            plain.to_json(),
            r#"{"__type":"ClusterNotFoundException","message":"Cluster not found."}"#
        );
        let conflict = ApiError {
            resource_ids: vec!["arn:1".to_owned()],
            ..ApiError::new(ErrorCode::Conflict, "taken")
        };
        for error in [plain, conflict] {
            let body = error.to_json();
            assert_eq!(ApiError::from_answer(None, body.as_bytes()), Some(error));
        }
    }

    #[test]
    fn codes_are_read_as_clients_read_them() {
        let long = "com.amazonaws.ecs#ClientException:http://x/";
        assert_eq!(ErrorCode::from_name(long), Some(ErrorCode::Client));
        let answer = ApiError::from_answer(Some("ServerException"), b"<html>").unwrap();
        assert_eq!((answer.status(), answer.message.as_str()), (500, ""));
        assert_eq!(
            ApiError::from_answer(None, b"{\"__type\":\"Nameless\"}"),
            None
        );
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_name(code.as_str()), Some(*code));
        }
    }
}
