//! Performs one action of `node` and says what came of it. Every action may be repeated after a
//! crash.

use crate::agent::Context;
use crate::container_files::{self, Contents};
use crate::container_spec::{self, Prepared, Source};
use crate::images::Content;
use crate::ledger::{NetworkRecord, Record};
use crate::limits::*;
use crate::{reason, sandbox_id, task_network, volume};
use std::fs::{self, DirBuilder};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use windlass_model::container::ContainerDefinition;
use windlass_model::definition::{NetworkMode, Template};
use windlass_model::id::Millis;
use windlass_model::stop::{ContainerReason, ReasonName};
use windlass_network::ResolvConf;
use windlass_node::dependency::namespace_owner;
use windlass_node::event::Event;
use windlass_node::plan::{Action, Scope};
use windlass_runtime::Error as RuntimeError;
use windlass_runtime::protocol::Refusal;
use windlass_runtime::spec::{ContainerSpec, Exit, Network, Root, SandboxId};

/// What came of an action, with what only the agent keeps of it.
pub(crate) struct Outcome {
    /// `None` when an event of the runtime will tell.
    pub(crate) event: Option<Event>,
    pub(crate) network: Option<NetworkRecord>,
    pub(crate) content: Option<(usize, Arc<Content>)>,
    /// The runtime and the view disagree: ask the runtime for all it knows.
    pub(crate) resync: bool,
}

impl Outcome {
    const NOTHING: Outcome = Outcome {
        event: None,
        network: None,
        content: None,
        resync: false,
    };
}

impl From<Event> for Outcome {
    fn from(event: Event) -> Outcome {
        Outcome {
            event: Some(event),
            network: None,
            content: None,
            resync: false,
        }
    }
}

/// An action with what it needs; the record is a snapshot.
pub(crate) struct Job {
    pub(crate) action: Action,
    pub(crate) record: Arc<Record>,
    pub(crate) content: Option<Arc<Content>>,
}

impl Job {
    fn template(&self) -> &Template {
        &self.record.assignment.definition.template
    }

    fn sandbox(&self) -> SandboxId {
        SandboxId(self.record.sandbox.clone())
    }

    fn definition(&self, at: usize) -> &ContainerDefinition {
        &self.template().containers[at]
    }
}

pub(crate) async fn perform(cx: Arc<Context>, job: Job) -> Outcome {
    match job.action {
        Action::CreateSandbox => create_sandbox(&cx, &job).await.into(),
        Action::CreateNetwork(scope) => create_network(&cx, &job, scope).await,
        Action::ResolveImage(at) => resolve(&cx, &job, at).await,
        Action::PullImage(at) => pull(&cx, &job, at).await,
        Action::StartContainer(at) => start(&cx, &job, at).await,
        Action::ProbeHealth(at) => probe(&cx, &job, at).await,
        Action::StopContainer(at) => {
            let name = job.definition(at).name.as_str();
            stopped(at, cx.runtime.stop(&job.sandbox(), name).await)
        }
        Action::KillContainer(at) => {
            let name = job.definition(at).name.as_str();
            stopped(at, cx.runtime.kill(&job.sandbox(), name).await)
        }
        Action::RemoveSandbox => remove_sandbox(&cx, &job).await.into(),
        Action::RemoveNetwork(scope) => remove_network(&cx, &job, scope).await.into(),
    }
}

async fn create_sandbox(cx: &Context, job: &Job) -> Event {
    let failed =
        |detail| Event::SandboxFailed(reason::of(ReasonName::ResourceInitializationError, detail));
    let (assignment, id) = (&job.record.assignment, job.sandbox());
    let spec = || container_spec::sandbox(id.clone(), &assignment.spec, job.template());
    let created = within(START_TIME, async {
        match cx.runtime.create_sandbox(spec()).await {
            // One that was half made when an agent died.
            Err(RuntimeError::SandboxExists(_)) => {
                cx.runtime.remove_sandbox(&id).await.map_err(|errors| {
                    errors
                        .iter()
                        .map(|e| reason::chain(e))
                        .collect::<Vec<_>>()
                        .join("; ")
                })?;
                cx.runtime
                    .create_sandbox(spec())
                    .await
                    .map_err(|e| reason::chain(&e))
            }
            other => other.map_err(|error| reason::chain(&error)),
        }
    });
    match created.await {
        Some(Ok(())) => Event::SandboxMade,
        Some(Err(detail)) => failed(detail),
        None => failed(too_long("the sandbox", START_TIME)),
    }
}

async fn create_network(cx: &Context, job: &Job, scope: Scope) -> Outcome {
    let made = task_network::create(cx.network.as_ref(), &job.record, scope);
    match within(START_TIME, made).await {
        Some(Ok(network)) => Outcome {
            network: Some(network),
            ..Event::NetworkMade(scope).into()
        },
        Some(Err(reason)) => Event::NetworkFailed(scope, reason).into(),
        None => {
            let detail = too_long("the network", START_TIME);
            let reason = reason::of(ReasonName::ContainerNetworkingError, detail);
            Event::NetworkFailed(scope, reason).into()
        }
    }
}

async fn resolve(cx: &Context, job: &Job, container: usize) -> Outcome {
    let image = job.definition(container).image.as_str();
    let digest = job.record.view.containers[container]
        .image_digest
        .as_deref();
    match cx.images.resolve(image, digest, &holder(job)).await {
        Ok(Some(content)) => {
            let digest = Some(content.digest.clone());
            Outcome {
                content: Some((container, Arc::new(content))),
                ..Event::ImageResolved {
                    container,
                    digest,
                    local: true,
                }
                .into()
            }
        }
        Ok(None) => Event::ImageResolved {
            container,
            digest: None,
            local: false,
        }
        .into(),
        Err(reason) => Event::ImageFailed { container, reason }.into(),
    }
}

async fn pull(cx: &Context, job: &Job, container: usize) -> Outcome {
    let image = job.definition(container).image.as_str();
    let digest = job.record.view.containers[container]
        .image_digest
        .as_deref();
    let holder = holder(job);
    match within(PULL_TIME, cx.images.pull(image, digest, &holder)).await {
        Some(Ok(content)) => {
            let digest = Some(content.digest.clone());
            Outcome {
                content: Some((container, Arc::new(content))),
                ..Event::ImagePulled { container, digest }.into()
            }
        }
        Some(Err(reason)) => Event::ImageFailed { container, reason }.into(),
        None => {
            let detail = too_long("the pull", PULL_TIME);
            let reason = reason::of(ReasonName::CannotPullContainerError, detail);
            Event::ImageFailed { container, reason }.into()
        }
    }
}

async fn start(cx: &Arc<Context>, job: &Job, container: usize) -> Outcome {
    let failed = |reason, exit_code| Event::StartFailed {
        container,
        reason,
        exit_code,
    };
    let spec = match prepare(cx, job, container).await {
        Ok(spec) => spec,
        Err(reason) => return failed(reason, None).into(),
    };
    let (sandbox, name) = (job.sandbox(), spec.name.clone());
    match within(START_TIME, cx.runtime.start(&sandbox, spec)).await {
        Some(Ok(started)) => {
            let at = millis(started.started_at_ms);
            Event::Started {
                container,
                run: started.run,
                at,
            }
            .into()
        }
        // Whether it runs is known to the runtime alone.
        Some(Err(
            RuntimeError::Disconnected(_)
            | RuntimeError::Refused {
                source: Refusal::AlreadyRunning(_),
                ..
            },
        )) => Outcome {
            resync: true,
            ..Outcome::NOTHING
        },
        Some(Err(error)) => {
            let (reason, exit_code) = reason::of_start(&error);
            failed(reason, exit_code).into()
        }
        None => {
            // Nothing of it may run on under a container that counts as ended.
            let _ = cx.runtime.kill(&sandbox, &name).await;
            let name = ReasonName::ContainerRuntimeTimeoutError;
            failed(
                reason::of(name, too_long("transition to running", START_TIME)),
                None,
            )
            .into()
        }
    }
}

/// Everything on disk, and the finished values.
async fn prepare(
    cx: &Arc<Context>,
    job: &Job,
    at: usize,
) -> Result<ContainerSpec, ContainerReason> {
    let cannot = |detail: String| reason::of(ReasonName::CannotCreateContainerError, detail);
    let content = job
        .content
        .clone()
        .ok_or_else(|| cannot("its image is not at hand".into()))?;
    let own = ResolvConf::default();
    let resolv_conf = match container_spec::network_kind(job.template(), job.definition(at)) {
        NetworkMode::None => own,
        NetworkMode::Host => ResolvConf::parse(
            &tokio::fs::read_to_string("/etc/resolv.conf")
                .await
                .unwrap_or_default(),
        ),
        NetworkMode::Bridge | NetworkMode::Awsvpc => cx
            .network
            .resolv_conf()
            .await
            .map_err(|error| cannot(reason::chain(&error)))?,
    };
    let (cx, record) = (cx.clone(), job.record.clone());
    let prepared =
        tokio::task::spawn_blocking(move || build(&cx, &record, at, &content, resolv_conf));
    prepared
        .await
        .unwrap_or_else(|error| Err(cannot(error.to_string())))
}

fn build(
    cx: &Context,
    record: &Record,
    at: usize,
    content: &Content,
    resolv_conf: ResolvConf,
) -> Result<ContainerSpec, ContainerReason> {
    let cannot = |detail: String| reason::of(ReasonName::CannotCreateContainerError, detail);
    let task = &record.assignment.spec;
    let template = &record.assignment.definition.template;
    let definition = &template.containers[at];
    let source = Source {
        task,
        template,
        definition,
        image: &content.config,
        open_files_max: cx.open_files_max,
    };
    container_spec::refuse_unsupported(source)?;
    let folder = cx.task_folder(record);
    let network = task_network::of_container(record, template, at);
    let hostname = hostname(cx, record, at);
    let contents = Contents {
        address: network.and_then(NetworkRecord::address),
        extra: names(record, template, definition)?,
        resolv_conf: with_own_servers(resolv_conf, definition)?,
        host_hosts: container_spec::network_kind(template, definition) == NetworkMode::Host,
        hostname: hostname.clone(),
    };
    let files = cx
        .files_folder(&record.sandbox)
        .join(definition.name.as_str());
    let generated = container_files::write(&files, &contents);
    let mut mounts = generated.map_err(|error| cannot(reason::chain(&error)))?;
    let shared = cx.options.data_dir.join("volumes");
    let folders = volume::Folders {
        task: &folder,
        shared: &shared,
        policy: &cx.policy,
    };
    for mount in volume::mounts(&folders, template, definition)? {
        volume::put(&mut mounts, mount);
    }
    let run = record.view.containers[at].run;
    let root = root(
        &folder.join("containers").join(definition.name.as_str()),
        run,
        content,
    );
    let root = root.map_err(|error| cannot(format!("make its writable layer: {error}")))?;
    let log_path = cx.logs.path(task.id, &definition.name);
    make_folder(&cx.logs.folder(task.id))
        .map_err(|e| cannot(format!("make its log folder: {e}")))?;
    let owner = namespace_owner(template).and_then(|at| template.containers.get(at));
    container_spec::container(
        source,
        Prepared {
            root,
            mounts,
            network: runtime_network(template, definition, network)?,
            hostname,
            log: container_spec::log(definition, log_path.to_string_lossy().into_owned())?,
            namespace_owner: owner.map(|owner| owner.name.to_string()),
        },
    )
}

/// The writable layer stays over restarts in place; overlayfs wants a new work folder each time.
fn root(folder: &Path, run: u32, content: &Content) -> io::Result<Root> {
    let (upper, work) = (folder.join("upper"), folder.join(format!("work-{run}")));
    // One that an agent made before it died was perhaps used already.
    match fs::remove_dir_all(&work) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    make_folder(folder)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&upper)?;
    make_folder(&work)?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    Ok(Root::Layers {
        lower: content.layers.iter().map(|layer| text(layer)).collect(),
        upper: text(&upper),
        work: text(&work),
    })
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn runtime_network(
    template: &Template,
    definition: &ContainerDefinition,
    network: Option<&NetworkRecord>,
) -> Result<Network, ContainerReason> {
    match (container_spec::network_kind(template, definition), network) {
        (NetworkMode::Host, _) => Ok(Network::Host),
        (NetworkMode::None, _) => Ok(Network::None),
        (_, Some(network)) => Ok(Network::Path(network.path.clone())),
        (_, None) => Err(reason::of(
            ReasonName::ContainerNetworkingError,
            "its network is gone",
        )),
    }
}

fn hostname(cx: &Context, record: &Record, at: usize) -> String {
    let template = &record.assignment.definition.template;
    let spec = &record.assignment.spec;
    let own = template.containers[at]
        .hostname
        .clone()
        .filter(|name| !name.is_empty());
    let address = record.network(Scope::Task).and_then(NetworkRecord::address);
    match (template.network(), address) {
        (NetworkMode::Awsvpc, Some(address)) => {
            sandbox_id::private_dns_name(address, &cx.options.region)
        }
        (NetworkMode::Host, _) => own.unwrap_or_else(|| cx.node.name.clone()),
        // As container engines: the beginning of its id.
        _ => own.unwrap_or_else(|| {
            let id = spec.containers.get(at).map(|id| format!("{:032x}", id.0));
            id.map_or_else(|| record.sandbox.clone(), |id| id[..12].to_owned())
        }),
    }
}

/// Links by alias and name, then the definition's extra hosts.
fn names(
    record: &Record,
    template: &Template,
    definition: &ContainerDefinition,
) -> Result<Vec<(String, IpAddr)>, ContainerReason> {
    let mut names = Vec::new();
    for link in definition.links.iter().flatten() {
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        let at = template
            .containers
            .iter()
            .position(|c| c.name.as_str() == name);
        let address = at
            .and_then(|at| record.network(Scope::Container(at)))
            .and_then(NetworkRecord::address);
        let Some(address) = address else {
            let detail = format!("could not get container for {name}: it has no address");
            return Err(reason::of(ReasonName::CannotCreateContainerError, detail));
        };
        names.push((alias.to_owned(), IpAddr::V4(address)));
        if alias != name {
            names.push((name.to_owned(), IpAddr::V4(address)));
        }
    }
    for host in definition.extra_hosts.iter().flatten() {
        let address: IpAddr = host.ip_address.parse().map_err(|_| {
            let detail = format!("invalid IP address in extraHosts: {:?}", host.ip_address);
            reason::of(ReasonName::CannotCreateContainerError, detail)
        })?;
        names.push((host.hostname.clone(), address));
    }
    Ok(names)
}

fn with_own_servers(
    mut conf: ResolvConf,
    definition: &ContainerDefinition,
) -> Result<ResolvConf, ContainerReason> {
    if let Some(servers) = definition
        .dns_servers
        .as_ref()
        .filter(|list| !list.is_empty())
    {
        let parsed: Result<Vec<IpAddr>, _> = servers.iter().map(|server| server.parse()).collect();
        conf.nameservers = parsed.map_err(|_| {
            let detail = format!("invalid IP address in dnsServers: {servers:?}");
            reason::of(ReasonName::CannotCreateContainerError, detail)
        })?;
    }
    if let Some(domains) = definition
        .dns_search_domains
        .as_ref()
        .filter(|list| !list.is_empty())
    {
        conf.search = domains.clone();
    }
    Ok(conf)
}

async fn probe(cx: &Context, job: &Job, container: usize) -> Outcome {
    let run = job.record.view.containers[container].run;
    let answer = |success, output: String| {
        let output = output.chars().take(HEALTH_OUTPUT_CHARS_MAX).collect();
        Event::Probed {
            container,
            run,
            success,
            output,
        }
        .into()
    };
    let Some(content) = &job.content else {
        return answer(false, "the container's image is not at hand".into());
    };
    let source = Source {
        task: &job.record.assignment.spec,
        template: job.template(),
        definition: job.definition(container),
        image: &content.config,
        open_files_max: cx.open_files_max,
    };
    let spec = match container_spec::health_probe(source, &hostname(cx, &job.record, container)) {
        Ok(spec) => spec,
        Err(reason) => return answer(false, reason.detail),
    };
    match cx.runtime.exec(&job.sandbox(), spec).await {
        Ok(result) if result.timed_out => {
            let check = job.definition(container).health_check.as_ref();
            let seconds = check.map_or(0, |check| check.timeout_s);
            answer(false, format!("Health check exceeded timeout ({seconds}s)"))
        }
        Ok(result) => {
            let output = String::from_utf8_lossy(&result.output).into_owned();
            answer(result.exit == Exit::Code(0), output)
        }
        Err(error) => answer(false, reason::of_start(&error).0.detail),
    }
}

fn stopped(container: usize, result: Result<(), RuntimeError>) -> Outcome {
    match result {
        // Its end comes as an event of its own.
        Ok(()) => Outcome::NOTHING,
        Err(error) => {
            tracing::warn!(container, error = reason::chain(&error), "stop a container");
            Outcome {
                resync: true,
                ..Event::StopFailed { container }.into()
            }
        }
    }
}

async fn remove_sandbox(cx: &Arc<Context>, job: &Job) -> Event {
    let sandbox = job.sandbox();
    match within(REMOVE_TIME, cx.runtime.remove_sandbox(&sandbox)).await {
        Some(Ok(())) => {}
        Some(Err(errors)) => {
            let texts: Vec<String> = errors.iter().map(|error| reason::chain(error)).collect();
            return Event::SandboxNotRemoved(texts.join("; "));
        }
        None => return Event::SandboxNotRemoved(too_long("removing", REMOVE_TIME)),
    }
    let folders = [cx.files_folder(&sandbox.0), cx.task_folder(&job.record)];
    let removed = tokio::task::spawn_blocking(move || remove_folders(&folders)).await;
    match removed.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(()) => Event::SandboxRemoved,
        Err(why) => Event::SandboxNotRemoved(why),
    }
}

/// Tries all and tells what stayed.
pub(crate) fn remove_folders(folders: &[PathBuf]) -> Result<(), String> {
    let mut left = Vec::new();
    for folder in folders {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                left.push(format!("{}: {error}", folder.display()));
            }
            _ => {}
        }
    }
    if left.is_empty() {
        Ok(())
    } else {
        Err(left.join("; "))
    }
}

async fn remove_network(cx: &Context, job: &Job, scope: Scope) -> Event {
    let name = task_network::namespace(&job.record.sandbox, scope);
    match within(REMOVE_TIME, cx.network.release(&name)).await {
        Some(Ok(())) => Event::NetworkRemoved(scope),
        Some(Err(error)) => Event::NetworkNotRemoved(scope, reason::chain(&error)),
        None => Event::NetworkNotRemoved(scope, too_long("releasing", REMOVE_TIME)),
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(time, work).await.ok()
}

fn too_long(what: &str, time: Duration) -> String {
    format!(
        "Could not finish {what}; timed out after waiting {}s",
        time.as_secs()
    )
}

/// Who needs the image, for people.
fn holder(job: &Job) -> String {
    format!("task {}", job.record.assignment.spec.id)
}

pub(crate) fn millis(ms: u64) -> Millis {
    Millis(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// The address shown of a task's own network.
pub(crate) fn task_address(record: &Record) -> Option<Ipv4Addr> {
    record.network(Scope::Task).and_then(NetworkRecord::address)
}
