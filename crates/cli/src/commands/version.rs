//! `version`: of this executable and of the server it finds.

use super::Context;
use crate::failure::Failure;
use crate::output::{Format, Shown};
use crate::table::fields;
use serde_json::{Value, json};
use windlass_wire::operation::MODEL_VERSION;

const EXAMPLES: &str = "\
Examples:
  windlass version
  windlass version --output json";

/// Show the versions of the client and the server.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct VersionArgs {
    #[command(flatten)]
    shown: Shown,
}

pub(crate) async fn run(args: VersionArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    // The client's version is an answer too where there is no server, or none that lets us in.
    let server = match context.client() {
        Ok(client) => match client.windlass("GetStatus", &json!({})).await {
            Ok(Value::Object(mut status)) => {
                status.insert("url".to_owned(), client.url.into());
                Ok(Value::Object(status))
            }
            Ok(_) => Err("its answer is no object".to_owned()),
            Err(failure) => Err(failure.to_string()),
        },
        Err(failure) => Err(failure.to_string()),
    };
    let version = env!("CARGO_PKG_VERSION");
    if args.shown.output == Format::Json {
        let server = server.unwrap_or(Value::Null);
        let client = json!({ "version": version, "ecsModel": MODEL_VERSION });
        return context
            .out
            .json(&json!({ "client": client, "server": server }));
    }
    let told = |server: &Value, name: &str| match server.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let lines = match &server {
        Ok(server) => fields(
            0,
            &[
                ("client", version.to_owned()),
                ("server", told(server, "version")),
                ("endpoint", told(server, "url")),
                ("account", told(server, "accountId")),
                ("region", told(server, "region")),
                ("pid", told(server, "pid")),
            ],
        ),
        Err(why) => fields(
            0,
            &[("client", version.to_owned()), ("server", why.clone())],
        ),
    };
    context.out.lines(&lines)
}
