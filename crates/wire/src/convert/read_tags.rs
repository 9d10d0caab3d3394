//! Tags as callers give them.

use crate::error::ApiError;
use crate::messages;
use crate::shape::Text;
use crate::shapes::tag;
use std::collections::BTreeMap;
use windlass_model::limits;
use windlass_model::tag::Tag;

/// A request's tags.
///
/// # Errors
/// `InvalidParameterException` for keys that are missing, reserved, too long or given twice, for
/// characters that no tag has, and for too many.
pub fn tags(given: Option<Vec<tag::Tag>>) -> Result<Vec<Tag>, ApiError> {
    let mut by_key = BTreeMap::new();
    for given in given.unwrap_or_default() {
        let key = given.key.unwrap_or_default();
        check_key(&key)?;
        let value = given.value.unwrap_or_default();
        if value.chars().count() > limits::TAG_VALUE_CHARS_MAX {
            return Err(ApiError::invalid_parameter(format!(
                "The value of tag '{key}' is longer than {} characters.",
                limits::TAG_VALUE_CHARS_MAX
            )));
        }
        if !(Text::Tag.allows(&key) && Text::Tag.allows(&value)) {
            return Err(messages::tag::characters_invalid());
        }
        if by_key.contains_key(&key) {
            return Err(ApiError::invalid_parameter(format!(
                "The tag key '{key}' is given more than once."
            )));
        }
        by_key.insert(key, value);
    }
    if by_key.len() > limits::TAGS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "The maximum number of tags of a resource is {}.",
            limits::TAGS_MAX
        )));
    }
    Ok(by_key
        .into_iter()
        .map(|(key, value)| Tag { key, value })
        .collect())
}

/// Keys to remove.
///
/// # Errors
/// `InvalidParameterException` for keys that no tag can have.
pub fn tag_keys(given: Option<Vec<String>>) -> Result<Vec<String>, ApiError> {
    let keys = given.unwrap_or_default();
    keys.iter().try_for_each(|key| check_key(key))?;
    Ok(keys)
}

fn check_key(key: &str) -> Result<(), ApiError> {
    if key.is_empty() || key.chars().count() > limits::TAG_KEY_CHARS_MAX {
        return Err(ApiError::invalid_parameter(
            "Tag keys have 1 to 128 characters.",
        ));
    }
    if key
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("aws:"))
    {
        return Err(ApiError::invalid_parameter(format!(
            "Tag keys starting with 'aws:' are reserved for system use: '{key}'"
        )));
    }
    Ok(())
}
