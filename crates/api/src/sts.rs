//! STS GetCallerIdentity, which nearly every tool calls first. The Query protocol: a form in, XML
//! out.

use crate::caller::Caller;
use crate::protocol::{escaped, query_error};
use windlass_model::arn::Scope;
use windlass_wire::check::quoted;

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
            query_error(
                "InvalidAction",
                &format!(
                    "{} is not served here: of STS, only GetCallerIdentity is.",
                    quoted(other)
                ),
                request_id,
            ),
        ),
        None => (
            400,
            query_error("MissingAction", "The request names no Action.", request_id),
        ),
    }
}
