//! Tries a Windlass endpoint with the unmodified AWS SDK for Rust: a batch task to its exit code,
//! typed errors, paging. `windlass-sdk-check URL REGION`, with the key in the usual variables.

use anyhow::{Context, Result, bail, ensure};
use aws_credential_types::Credentials;
use aws_sdk_ecs::config::Region;
use aws_sdk_ecs::error::ProvideErrorMetadata;
use aws_sdk_ecs::types::{ContainerDefinition, Task};
use aws_sdk_ecs::{Client, Config};
use std::time::Duration;

const FAMILY: &str = "sdk-check";
const POLLS_MAX: u32 = 600;
const POLL: Duration = Duration::from_millis(50);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let url = args
        .next()
        .context("the first argument is the endpoint's URL")?;
    let region = args.next().context("the second argument is the region")?;
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let credentials = Credentials::new(
        variable("AWS_ACCESS_KEY_ID")?,
        variable("AWS_SECRET_ACCESS_KEY")?,
        None,
        None,
        "environment",
    );
    let config = Config::builder()
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(url)
        .region(Region::new(region))
        .credentials_provider(credentials)
        .build();
    let client = Client::from_conf(config);
    runs_a_task(&client).await?;
    pages_definitions(&client).await?;
    has_typed_errors(&client).await?;
    println!("the AWS SDK for Rust is served");
    Ok(())
}

async fn runs_a_task(client: &Client) -> Result<()> {
    let container = ContainerDefinition::builder()
        .name("main")
        .image("busybox")
        .memory(32)
        .set_command(Some(["sh", "-c", "exit 3"].map(String::from).into()))
        .build();
    for _ in 0..3 {
        let register = client.register_task_definition().family(FAMILY);
        register
            .container_definitions(container.clone())
            .send()
            .await?;
    }
    let run = client
        .run_task()
        .task_definition(FAMILY)
        .started_by("sdk")
        .send()
        .await?;
    ensure!(run.failures().is_empty(), "failures: {:?}", run.failures());
    let arn = run
        .tasks()
        .first()
        .and_then(Task::task_arn)
        .context("no task")?;
    let task = stopped(client, arn).await?;
    let container = task.containers().first().context("no container")?;
    ensure!(
        container.exit_code() == Some(3),
        "exit code {:?}",
        container.exit_code()
    );
    ensure!(
        task.stop_code()
            .is_some_and(|code| code.as_str() == "EssentialContainerExited")
    );
    ensure!(
        task.stopped_at() >= task.started_at(),
        "stopped before it started"
    );
    Ok(())
}

async fn stopped(client: &Client, arn: &str) -> Result<Task> {
    for _ in 0..POLLS_MAX {
        let described = client.describe_tasks().tasks(arn).send().await?;
        let task = described.tasks().first().context("the task is missing")?;
        if task.last_status() == Some("STOPPED") {
            return Ok(task.clone());
        }
        tokio::time::sleep(POLL).await;
    }
    bail!("{arn} did not stop in time")
}

async fn pages_definitions(client: &Client) -> Result<()> {
    let list = client
        .list_task_definitions()
        .family_prefix(FAMILY)
        .max_results(2);
    let mut pages = list.into_paginator().items().send();
    let mut found = 0;
    while let Some(arn) = pages.next().await {
        ensure!(arn?.contains(FAMILY));
        found += 1;
    }
    ensure!(found >= 3, "{found} revisions over all pages");
    Ok(())
}

async fn has_typed_errors(client: &Client) -> Result<()> {
    let missing = client.list_tasks().cluster("no-such-cluster").send().await;
    let err = missing
        .err()
        .context("an unknown cluster was listed")?
        .into_service_error();
    ensure!(err.is_cluster_not_found_exception(), "{err:?}");
    ensure!(err.message() == Some("Cluster not found."), "{err:?}");
    let bad = client
        .stop_task()
        .task("0123456789abcdef0123456789abcdef")
        .send()
        .await;
    let err = bad
        .err()
        .context("an unknown task was stopped")?
        .into_service_error();
    ensure!(err.is_invalid_parameter_exception(), "{err:?}");
    Ok(())
}
