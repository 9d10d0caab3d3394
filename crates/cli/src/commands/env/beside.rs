//! `env --beside-aws`: what would still go wrong with the caller's own key.

use crate::client::{Client, Keys};
use crate::commands::Context;
use crate::failure::Failure;
use serde_json::json;

/// Tells what stands in the way of a call with the keys of this shell.
pub(super) async fn warn(client: &Client, context: &mut Context<'_>) {
    for warning in warnings(client, context).await {
        context.out.note(&format!("windlass: {warning}"));
    }
}

async fn warnings(client: &Client, context: &Context<'_>) -> Vec<String> {
    let var = |name: &str| context.environment.var(name);
    let mut warnings = Vec::new();
    if var("AWS_ENDPOINT_URL") == Some(&client.url) {
        warnings.push(
            "AWS_ENDPOINT_URL of an earlier `windlass env` is set in this shell and sends the other \
             services here too: open a new shell"
                .to_owned(),
        );
    }
    let region = var("AWS_REGION").or_else(|| var("AWS_DEFAULT_REGION"));
    if let Some(region) = region.filter(|region| *region != client.region) {
        warnings.push(format!(
            "this server is region {}, and this shell asks for {region}: call it with --region {}",
            client.region, client.region
        ));
    }
    let keys = (var("AWS_ACCESS_KEY_ID"), var("AWS_SECRET_ACCESS_KEY"));
    if let (Some(id), Some(secret)) = keys
        && id != client.keys.access_key_id
    {
        let keys = Keys {
            access_key_id: id.to_owned(),
            secret_access_key: secret.to_owned(),
            session_token: var("AWS_SESSION_TOKEN").map(str::to_owned),
        };
        let mut own = client.clone();
        own.keys = keys;
        if let Err(Failure::Denied(_) | Failure::Api(_)) =
            own.windlass("GetStatus", &json!({})).await
        {
            warnings.push(format!(
                "this server does not know the access key {id} of this shell: `windlass keys import` \
                 makes it known"
            ));
        }
    }
    warnings
}
