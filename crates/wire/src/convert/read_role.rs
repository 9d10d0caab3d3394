//! Roles, by name or by ARN. They are kept and shown as ARNs.

use super::read_container::text;
use crate::error::ApiError;
use crate::messages;
use windlass_model::arn::{Arn, Scope};

/// Characters of a role's name. Source: IAM API.
const NAME_CHARS_MAX: usize = 64;

/// A role of any account and partition. Empty is absent.
///
/// # Errors
/// `ClientException` for what is no role.
pub(super) fn role(scope: &Scope, given: Option<String>) -> Result<Option<String>, ApiError> {
    let Some(given) = text(given) else {
        return Ok(None);
    };
    if given.starts_with("arn:") {
        return match Arn::parse(&given) {
            Some(arn) if is_role(&arn) => Ok(Some(given)),
            _ => Err(messages::task_definition::role_invalid()),
        };
    }
    if !is_name(&given) {
        return Err(messages::task_definition::role_invalid());
    }
    Ok(Some(format!("arn:aws:iam::{}:role/{given}", scope.account)))
}

fn is_role(arn: &Arn) -> bool {
    let name = arn.id_of("role").and_then(|path| path.rsplit('/').next());
    arn.service == "iam" && name.is_some_and(is_name)
}

fn is_name(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(letter)
}
