//! STS GetCallerIdentity, which nearly every tool calls first. The Query protocol: a form in, XML
//! out.

use crate::caller::Caller;
use windlass_model::arn::Scope;

/// The answer's status and body.
pub(crate) fn answer(
    scope: &Scope,
    caller: &Caller,
    body: &[u8],
    request_id: &str,
) -> (u16, String) {
    let form = String::from_utf8_lossy(body);
    let action = form
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(name, value)| (name == "Action").then_some(value));
    match action {
        Some("GetCallerIdentity") => (
            200,
            format!(
                "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                 <GetCallerIdentityResult><Arn>{}</Arn><UserId>{}</UserId><Account>{}</Account>\
                 </GetCallerIdentityResult><ResponseMetadata><RequestId>{request_id}</RequestId>\
                 </ResponseMetadata></GetCallerIdentityResponse>",
                escaped(&caller.arn),
                escaped(&caller.access_key),
                escaped(&scope.account),
            ),
        ),
        Some(other) => (
            400,
            error(
                "InvalidAction",
                &format!("{other} is not served here: of STS, only GetCallerIdentity is."),
                request_id,
            ),
        ),
        None => (
            400,
            error("MissingAction", "The request names no Action.", request_id),
        ),
    }
}

/// An error in the Query protocol's shape.
pub(crate) fn error(code: &str, message: &str, request_id: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
         <Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error>\
         <RequestId>{request_id}</RequestId></ErrorResponse>",
        escaped(code),
        escaped(message)
    )
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}
