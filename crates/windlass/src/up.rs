//! `windlass up`: control plane and node of one machine, in one process.

use crate::data_folder::make_private;
use crate::installation::{Credentials, Endpoint, Installation, Used, Wanted, page_key};
use crate::keys;
use crate::listener;
use crate::local::LocalMachine;
use crate::plane::{Choices, DEFAULT_CLUSTER, Plane};
use crate::preflight;
use crate::served::server_of;
use crate::traces::remove_traces;
use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use windlass_server::Stopped;

/// How often memory that nothing uses is given back.
const MEMORY_EVERY: Duration = Duration::from_secs(30);

/// What the command line says.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) choices: Choices,
    /// The address of the last start, or the usual one, when none is chosen.
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) account_id: Option<String>,
    pub(crate) region: Option<String>,
    /// Clusters to make and join beside `default`.
    pub(crate) clusters: Vec<String>,
    /// The user behind sudo.
    pub(crate) reader: Option<(u32, u32)>,
}

/// Serves until a signal, or until the control plane cannot go on.
pub(crate) async fn run(options: Options) -> Result<()> {
    let data = options.choices.data.clone();
    refuse_second(&data)?;
    let (listener, listen) = prepare(&data, &options).await?;
    survive_pressure();
    raise_open_files();
    let wanted = Wanted {
        account_id: options.account_id.as_deref(),
        region: options.region.as_deref(),
        reader: options.reader,
    };
    let mut installation = Installation::open(&data, &wanted)?;
    let credentials = Credentials::open(&data, &wanted)?;
    let address = listener.local_addr()?;
    let mut plane = Plane::open(&installation, &options.choices).await?;
    plane.join(&options.clusters).await?;
    installation.remember(&data, &used(&plane, &options, listen))?;
    let upload_dir = data.join("uploads");
    clear(&upload_dir)?;
    let (stop, stopped) = watch::channel(false);
    let local = LocalMachine {
        images: plane.images.clone(),
        pull: options.choices.pull_options(),
        logins: options.choices.logins(),
        logs: plane.logs.clone(),
        leader: plane.leader.clone(),
        upload_dir,
        store_dir: data.join("store"),
        stop: stopped.clone(),
    };
    let door = windlass_api::Options {
        scope: installation.scope(),
        leader: plane.leader.clone(),
        local: Arc::new(local),
        keys: keys::open(&data, credentials)?,
        upload_pace: windlass_api::UploadPace::default(),
        page_key: page_key(&data)?,
        backup_label: installation.label()?,
    };
    // Before anybody may know that it serves: who asks it to end then must be heard.
    let mut signals = Signals::new()?;
    let endpoint = Endpoint {
        url: format!("http://{address}"),
        pid: std::process::id(),
    };
    // Before the first answer: `down` and a second `up` find a server that answers by it. Who connects
    // meanwhile waits, for the address is bound.
    endpoint.write(&data)?;
    let mut serving = tokio::spawn(windlass_api::serve(listener, door, stopped));
    tokio::spawn(give_memory_back());
    announce(&options, &installation, &endpoint);
    tell_manager(NotifyState::Ready);
    // Without its door the control plane serves nobody: better to end and say why.
    let mut served = None;
    let end = tokio::select! {
        end = wait(&mut signals, &mut plane) => end,
        ended = &mut serving => {
            served = Some(ended);
            Err(anyhow!("the front door ended by itself"))
        }
    };
    tell_manager(NotifyState::Stopping);
    Endpoint::remove(&data);
    // Requests that run may end; new ones are refused.
    let _ = stop.send(true);
    let served = match served {
        Some(served) => served,
        None => serving.await,
    };
    let served = served.context("the front door ended")?;
    if end.is_ok() {
        leave(plane, &installation, &options).await?;
    }
    served.context("the front door ended")?;
    end
}

/// Takes the address that is chosen, or that of the last start, and looks whether the machine can
/// run tasks. Returns the listener, and where it was asked to listen.
async fn prepare(data: &Path, options: &Options) -> Result<(TcpListener, SocketAddr)> {
    if let Some(address) = options.choices.publish_address {
        check_own(address)?;
    }
    let known = Installation::find(data)?;
    let listen = match options
        .listen
        .or(known.as_ref().and_then(|known| known.listen))
    {
        Some(listen) => listen,
        None => windlass_cli::LISTEN_DEFAULT.parse()?,
    };
    let listener = listener::bind(listen).await;
    let is_new = known.is_none_or(|known| !known.served);
    preflight::check(data, is_new, listener.as_ref().err())?;
    Ok((listener?, listen))
}

/// What the next start goes by.
fn used<'a>(plane: &'a Plane, options: &Options, listen: SocketAddr) -> Used<'a> {
    Used {
        subnet: &plane.subnet,
        listen,
        publish_address: options.choices.publish_address,
        pull: options.choices.pull,
    }
}

/// Whether ports can be published on an address.
fn check_own(address: Ipv4Addr) -> Result<()> {
    std::net::UdpSocket::bind((address, 0))
        .map(drop)
        .with_context(|| {
            format!(
                "--publish-address {address}: it must be an address of this machine, or 0.0.0.0 for \
                 all of them"
            )
        })
}

/// When the machine runs out of memory, the kernel ends tasks before what manages them. Containers
/// set their own value at their start, so none inherits this one.
fn survive_pressure() {
    if let Err(err) = std::fs::write("/proc/self/oom_score_adj", "-999") {
        tracing::debug!(%err, "the kernel may end this process when memory is short");
    }
}

/// Each connection, container and shim takes some, and shells give few by habit. Containers have
/// limits of their own.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(err) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%err, "the limit of open files stays as it is");
    }
}

/// A peak, as many large requests make one, would stay this process's for ever.
async fn give_memory_back() {
    loop {
        tokio::time::sleep(MEMORY_EVERY).await;
        // It fails when the process ends.
        let _ = tokio::task::spawn_blocking(windlass_runtime::memory::give_back).await;
    }
}

/// A second `up` on the same data says which process serves it.
pub(crate) fn refuse_second(data: &Path) -> Result<()> {
    // One that was killed and one that is about to serve hold the lock for a moment: the store's
    // own lock decides about those.
    let (Some(server), Some(endpoint)) = (server_of(data)?, Endpoint::find(data)?) else {
        return Ok(());
    };
    if server.pid == Some(endpoint.pid) && endpoint.pid != std::process::id() {
        bail!(
            "{} is served already, at {} by process {}; stop it first, or use another --data",
            data.display(),
            endpoint.url,
            endpoint.pid
        );
    }
    Ok(())
}

/// Uploads of a process that was killed are nobody's.
fn clear(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
            return Err(err).with_context(|| format!("emptying {}", dir.display()));
        }
        _ => {}
    }
    make_private(dir)
}

/// Tells the service manager that started this process, if one did: to systemd it is `Type=notify`.
fn tell_manager(state: NotifyState<'_>) {
    if let Err(err) = sd_notify::notify(&[state]) {
        tracing::warn!(%err, "the service manager cannot be told of a change");
    }
}

fn announce(options: &Options, installation: &Installation, endpoint: &Endpoint) {
    let data = options.choices.data.display();
    eprintln!("windlass is ready");
    eprintln!("  api       {}", endpoint.url);
    eprintln!(
        "  account   {} in {}",
        installation.account_id, installation.region
    );
    let mut clusters = vec![DEFAULT_CLUSTER];
    let others = options.clusters.iter().map(String::as_str);
    clusters.extend(others.filter(|name| *name != DEFAULT_CLUSTER));
    eprintln!("  cluster   {}", clusters.join(", "));
    eprintln!("  data      {data}");
    eprintln!("next, in another terminal:");
    eprintln!("  eval \"$(windlass env --data {data})\"");
    eprintln!("  windlass images load ARCHIVE");
    eprintln!("  windlass run taskdef.json");
    eprintln!("  aws ecs list-tasks");
}

/// What asks it to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }
}

/// A signal, or the end of the leader with its reason.
async fn wait(signals: &mut Signals, plane: &mut Plane) -> Result<()> {
    tokio::select! {
        _ = signals.interrupt.recv() => Ok(()),
        _ = signals.terminate.recv() => Ok(()),
        ended = &mut plane.ended => match ended {
            Ok(Stopped::Asked) => Ok(()),
            Ok(stopped) => Err(stopped.into()),
            Err(_) => bail!("the control plane's thread ended without a reason: please report it"),
        },
    }
}

/// Ends the parts and says what goes on. Where nothing does, nothing is left on the machine either.
async fn leave(plane: Plane, installation: &Installation, options: &Options) -> Result<()> {
    let Ok((running, _)) = plane.running().await else {
        return plane.close().await;
    };
    if running == 0 {
        if let Err(err) = remove_traces(plane, installation).await {
            eprintln!("warning: {err:#}");
        }
        eprintln!("windlass stopped; no task is running");
        return Ok(());
    }
    plane.close().await?;
    let data = options.choices.data.display();
    match running {
        1 => eprintln!("windlass stopped; 1 task keeps running"),
        n => eprintln!("windlass stopped; {n} tasks keep running"),
    }
    eprintln!("  windlass up --data {data}      manages them again");
    eprintln!("  windlass down --data {data}    stops them and leaves nothing");
    Ok(())
}
