//! `windlass up`: control plane and node of one machine, in one process.

use crate::data_folder::make_private;
use crate::installation::{Credentials, Endpoint, Installation, Wanted, page_key};
use crate::local::LocalMachine;
use crate::plane::{Choices, Plane};
use crate::preflight;
use anyhow::{Context, Result, anyhow, bail};
use std::io::ErrorKind::AddrInUse;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use windlass_api::{AccessKey, Keys};
use windlass_server::Stopped;

/// How long an address that is in use is tried.
const BIND_TIMEOUT: Duration = Duration::from_secs(1);
const BIND_POLL: Duration = Duration::from_millis(20);

/// What the command line says.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) choices: Choices,
    pub(crate) listen: SocketAddr,
    pub(crate) account_id: Option<String>,
    pub(crate) region: Option<String>,
    /// Clusters to make and join.
    pub(crate) clusters: Vec<String>,
    /// The user behind sudo.
    pub(crate) reader: Option<(u32, u32)>,
}

/// Serves until a signal, or until the control plane cannot go on.
pub(crate) async fn run(options: Options) -> Result<()> {
    let data = options.choices.data.clone();
    preflight::check(&data)?;
    refuse_second(&data)?;
    survive_pressure();
    let wanted = Wanted {
        account_id: options.account_id.as_deref(),
        region: options.region.as_deref(),
        reader: options.reader,
    };
    let installation = Installation::open(&data, &wanted)?;
    let credentials = Credentials::open(&data, &wanted)?;
    let listener = bind(options.listen).await.with_context(|| {
        format!(
            "listening on {}: choose another address with --listen",
            options.listen
        )
    })?;
    let address = listener.local_addr()?;
    let mut plane = Plane::open(&installation, &options.choices).await?;
    plane.join(&options.clusters).await?;
    let upload_dir = data.join("uploads");
    clear(&upload_dir)?;
    let (stop, stopped) = watch::channel(false);
    let local = LocalMachine {
        images: plane.images.clone(),
        mirrors: options.choices.mirrors.clone(),
        logs: plane.logs.clone(),
        leader: plane.leader.clone(),
        upload_dir,
        stop: stopped.clone(),
    };
    let door = windlass_api::Options {
        scope: installation.scope(),
        leader: plane.leader.clone(),
        local: Arc::new(local),
        keys: Keys::new([AccessKey {
            id: credentials.access_key_id,
            secret: credentials.secret_access_key,
            session_token: None,
            user: String::from("windlass"),
        }]),
        page_key: page_key(&data)?,
    };
    // Before anybody may know that it serves: who asks it to end then must be heard.
    let mut signals = Signals::new()?;
    let mut serving = tokio::spawn(windlass_api::serve(listener, door, stopped));
    let endpoint = Endpoint {
        url: format!("http://{address}"),
        pid: std::process::id(),
    };
    endpoint.write(&data)?;
    announce(&options, &installation, &endpoint);
    // Without its door the control plane serves nobody: better to end and say why.
    let mut served = None;
    let end = tokio::select! {
        end = wait(&mut signals, &mut plane) => end,
        ended = &mut serving => {
            served = Some(ended);
            Err(anyhow!("the front door ended by itself"))
        }
    };
    Endpoint::remove(&data);
    // Requests that run may end; new ones are refused.
    let _ = stop.send(true);
    let served = match served {
        Some(served) => served,
        None => serving.await,
    };
    let served = served.context("the front door ended")?;
    if end.is_ok() {
        say_what_goes_on(&plane, &options).await;
        plane.close().await?;
    }
    served.context("the front door ended")?;
    end
}

/// When the machine runs out of memory, the kernel ends tasks before what manages them. Containers
/// set their own value at their start, so none inherits this one.
fn survive_pressure() {
    if let Err(err) = std::fs::write("/proc/self/oom_score_adj", "-999") {
        tracing::debug!(%err, "the kernel may end this process when memory is short");
    }
}

/// A server that was killed while it started a process leaves its listener to that process until it
/// executes its program, so an address that is in use is tried again for a moment.
async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let asked = Instant::now();
    loop {
        match TcpListener::bind(address).await {
            Err(err) if err.kind() == AddrInUse && asked.elapsed() < BIND_TIMEOUT => {
                tokio::time::sleep(BIND_POLL).await;
            }
            bound => return bound,
        }
    }
}

/// A second `up` on the same data says which process serves it.
pub(crate) fn refuse_second(data: &std::path::Path) -> Result<()> {
    let Some(endpoint) = Endpoint::find(data)? else {
        return Ok(());
    };
    if endpoint.is_served() {
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
fn clear(dir: &std::path::Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
            return Err(err).with_context(|| format!("emptying {}", dir.display()));
        }
        _ => {}
    }
    make_private(dir)
}

fn announce(options: &Options, installation: &Installation, endpoint: &Endpoint) {
    let data = options.choices.data.display();
    eprintln!("windlass is ready");
    eprintln!("  api       {}", endpoint.url);
    eprintln!(
        "  account   {} in {}",
        installation.account_id, installation.region
    );
    eprintln!("  cluster   {}", options.clusters.join(", "));
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

async fn say_what_goes_on(plane: &Plane, options: &Options) {
    let Ok(running) = plane.running().await else {
        return;
    };
    let data = options.choices.data.display();
    match running {
        0 => eprintln!("windlass stopped; no task is running"),
        1 => eprintln!("windlass stopped; 1 task keeps running"),
        n => eprintln!("windlass stopped; {n} tasks keep running"),
    }
    if running > 0 {
        eprintln!("  windlass up --data {data}      manages them again");
        eprintln!("  windlass down --data {data}    stops them and leaves nothing");
    }
}
