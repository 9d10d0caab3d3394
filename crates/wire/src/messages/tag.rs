//! Tags.

use crate::error::ApiError;

pub fn characters_invalid() -> ApiError {
    ApiError::invalid_parameter(
        "Some tags contain invalid characters. Valid characters: UTF-8 letters, spaces, numbers \
         and _ . / = + - : @.",
    )
}
