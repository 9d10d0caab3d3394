//! Everything a container needs before its start: its writable layer, volumes, generated files,
//! names, and from them the finished values for the runtime.

use crate::agent::Context;
use crate::container_files::{self, Contents};
use crate::container_spec::{self, Prepared, Source};
use crate::executor::Job;
use crate::images::Content;
use crate::ledger::{NetworkRecord, Record};
use crate::link::{self, Link};
use crate::{environment, reason, sandbox_id, task_network, volume};
use std::fs::DirBuilder;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use windlass_image::ImageConfig;
use windlass_model::container::ContainerDefinition;
use windlass_model::definition::{NetworkMode, Template};
use windlass_model::stop::{ContainerReason, ReasonName};
use windlass_network::ResolvConf;
use windlass_node::plan::Scope;
use windlass_runtime::spec::{ContainerSpec, ExecSpec, Network, Root};

/// Makes what has to be on disk, and answers the finished values.
///
/// # Errors
/// The reason to show.
pub(crate) async fn prepare(
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
    let (cx, job) = (cx.clone(), job.clone());
    let prepared = tokio::task::spawn_blocking(move || build(&cx, &job, at, &content, resolv_conf));
    prepared
        .await
        .unwrap_or_else(|error| Err(cannot(error.to_string())))
}

/// Makes folders that every start needs while the sandbox is made. What fails here is met again,
/// and told, by [`prepare`].
pub(crate) async fn make_folders(cx: &Arc<Context>, job: &Job) {
    let (cx, record) = (cx.clone(), job.record.clone());
    let made = tokio::task::spawn_blocking(move || {
        let containers = cx.task_folder(&record).join("containers");
        for definition in &record.assignment.definition.template.containers {
            make_upper(&containers.join(definition.name.as_str()))?;
        }
        make_folder(&cx.logs.folder(record.assignment.spec.id))
    });
    if let Ok(Err(error)) = made.await {
        tracing::debug!(%error, "make folders ahead of a start");
    }
}

fn build(
    cx: &Context,
    job: &Job,
    at: usize,
    content: &Content,
    resolv_conf: ResolvConf,
) -> Result<ContainerSpec, ContainerReason> {
    let cannot = |detail: String| reason::of(ReasonName::CannotCreateContainerError, detail);
    let record = &job.record;
    let task = &record.assignment.spec;
    let (template, definition) = (job.template(), job.definition(at));
    let links = links(cx, job, at)?;
    let variables = link_variables(&links, definition);
    let source = source(cx, job, at, &content.config, &variables);
    container_spec::refuse_unsupported(source)?;
    let folder = cx.task_folder(record);
    let network = task_network::of_container(record, template, at);
    let hostname = hostname(cx, record, at);
    let contents = Contents {
        address: network.and_then(NetworkRecord::address),
        extra: names(&links, definition)?,
        resolv_conf: with_own_servers(resolv_conf, definition)?,
        host_hosts: container_spec::network_kind(template, definition) == NetworkMode::Host,
        hostname: hostname.clone(),
    };
    let readonly = definition.readonly_root_filesystem.unwrap_or(false);
    let generated = container_files::mounts(&contents, readonly);
    let mut mounts = generated.map_err(|error| cannot(reason::chain(&error)))?;
    let shared = cx.options.data_dir.join("volumes");
    let folders = volume::Folders {
        task: &folder,
        shared: &shared,
        policy: &cx.policy,
        layers: &content.layers,
    };
    for mount in volume::mounts(&folders, template, definition)? {
        volume::put(&mut mounts, mount);
    }
    let wanted = &content.config.volumes;
    mounts.extend(volume::image_volumes(
        &folders, definition, wanted, &mounts,
    )?);
    let run = record.view.containers[at].run;
    let root = root(
        &folder.join("containers").join(definition.name.as_str()),
        run,
        &content.layers,
        &cx.base_layer,
    );
    let root = root.map_err(|error| cannot(format!("make its writable layer: {error}")))?;
    let log_path = cx.logs.path(task.id, &definition.name);
    make_folder(&cx.logs.folder(task.id))
        .map_err(|e| cannot(format!("make its log folder: {e}")))?;
    container_spec::container(
        source,
        Prepared {
            root,
            mounts,
            network: runtime_network(template, definition, network)?,
            hostname,
            log: container_spec::log(definition, log_path.to_string_lossy().into_owned())?,
        },
    )
}

/// The writable layer stays over restarts in place; overlayfs wants a new work folder each time.
fn root(folder: &Path, run: u32, layers: &[PathBuf], base: &Path) -> io::Result<Root> {
    let work = folder.join(format!("work-{run}"));
    // One that an agent made before it died was perhaps used already.
    windlass_tree::remove(&work)?;
    let upper = make_upper(folder)?;
    make_folder(&work)?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    Ok(Root::Layers {
        lower: layers
            .iter()
            .map(|layer| text(layer))
            .chain([text(base)])
            .collect(),
        upper: text(&upper),
        work: text(&work),
    })
}

/// The folder of a container's own files in its folder.
fn make_upper(folder: &Path) -> io::Result<PathBuf> {
    let upper = folder.join("upper");
    make_folder(folder)?;
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o755).create(&upper)?;
    Ok(upper)
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

pub(crate) fn hostname(cx: &Context, record: &Record, at: usize) -> String {
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

/// The health check's program of container `at`.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn health_probe(
    cx: &Context,
    job: &Job,
    at: usize,
    image: &ImageConfig,
) -> Result<ExecSpec, ContainerReason> {
    let variables = link_variables(&links(cx, job, at)?, job.definition(at));
    let source = source(cx, job, at, image, &variables);
    container_spec::health_probe(source, &hostname(cx, &job.record, at))
}

fn source<'a>(
    cx: &'a Context,
    job: &'a Job,
    at: usize,
    image: &'a ImageConfig,
    links: &'a [(String, String)],
) -> Source<'a> {
    Source {
        task: &job.record.assignment.spec,
        template: job.template(),
        definition: job.definition(at),
        image,
        region: &cx.options.region,
        open_files_max: cx.open_files_max,
        links,
    }
}

/// The containers that container `at` links to.
///
/// # Errors
/// One of them has no address.
fn links<'a>(cx: &Context, job: &'a Job, at: usize) -> Result<Vec<Link<'a>>, ContainerReason> {
    let template = job.template();
    let links = job.definition(at).links.iter().flatten();
    links
        .map(|link| {
            let (name, alias) = link::parse(link);
            let mut containers = template.containers.iter();
            let found = containers.position(|c| c.name.as_str() == name);
            let address = found
                .and_then(|at| job.record.network(Scope::Container(at)))
                .and_then(NetworkRecord::address);
            let (Some(at), Some(address)) = (found, address) else {
                let detail = format!("could not get container for {name}: it has no address");
                return Err(reason::of(ReasonName::CannotCreateContainerError, detail));
            };
            let content = job.linked.get(&at);
            let image = content
                .map(|content| content.config.clone())
                .unwrap_or_default();
            let definition = &template.containers[at];
            let source = source(cx, job, at, &image, &[]);
            Ok(Link {
                alias,
                name,
                hostname: hostname(cx, &job.record, at),
                address,
                ports: link::ports(definition, Some(&image)),
                environment: environment::configured(source),
            })
        })
        .collect()
}

/// The names of links, then the definition's extra hosts.
fn names(
    links: &[Link<'_>],
    definition: &ContainerDefinition,
) -> Result<Vec<(String, IpAddr)>, ContainerReason> {
    let mut names: Vec<_> = links.iter().flat_map(Link::hosts).collect();
    for host in definition.extra_hosts.iter().flatten() {
        let address: IpAddr = host.ip_address.parse().map_err(|_| {
            let detail = format!("invalid IP address in extraHosts: {:?}", host.ip_address);
            reason::of(ReasonName::CannotCreateContainerError, detail)
        })?;
        names.push((host.hostname.clone(), address));
    }
    Ok(names)
}

/// The variables of links.
fn link_variables(links: &[Link<'_>], of: &ContainerDefinition) -> Vec<(String, String)> {
    let all = links
        .iter()
        .flat_map(|link| link.variables(of.name.as_str()));
    all.collect()
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
        conf.search = search_domains(domains)?;
    }
    Ok(conf)
}

/// One word each: a line break would make a line of its own.
fn search_domains(domains: &[String]) -> Result<Vec<String>, ContainerReason> {
    let is_bad = |text: &&String| text.contains(|c: char| c.is_whitespace() || c.is_control());
    match domains.iter().find(is_bad) {
        None => Ok(domains.to_vec()),
        Some(domain) => Err(reason::of(
            ReasonName::CannotCreateContainerError,
            format!("invalid domain in dnsSearchDomains: {domain:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_domains_are_words() {
        let own = ["ok.example".to_owned(), "b.example".to_owned()];
        assert_eq!(search_domains(&own).unwrap(), own);
        for domain in ["a\nnameserver 192.0.2.1", "a b", "a\u{85}b", "a\0b"] {
            let reason = search_domains(&[domain.to_owned()]).unwrap_err();
            assert!(reason.detail.contains("dnsSearchDomains"), "{reason:?}");
        }
    }
}
