//! The `windlass` executable: parses arguments, loads configuration, wires the parts. It alone
//! reads the environment.

mod data_folder;
mod detach;
mod down;
mod installation;
mod keys;
mod listener;
mod local;
mod plane;
mod preflight;
mod restore;
mod run_folder;
mod served;
mod traces;
mod up;

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;
use windlass_agent::AllowedPath;
use windlass_cli::args::{Join, UpArgs};
use windlass_cli::{Args, Environment, Verb};
use windlass_image::{Hosts, Mirrors};

/// What a server logs when `WINDLASS_LOG` says nothing.
const LOG_DEFAULT: &str = "warn";
/// Of `down`, which tells a person what it does in its own words.
const LOG_DEFAULT_DOWN: &str = "off";
/// One thread decides and commits; these carry requests and tasks.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    // Roles of processes that enter containers come first: they must not have threads.
    if windlass_runtime::start::is_init(&program) {
        windlass_runtime::start::init_main(words, std::env::var_os("PATH"));
    }
    let role = words.next();
    if role.as_deref().is_some_and(|role| role == "shim") {
        windlass_runtime::shim::main(std::env::args_os());
    }
    if role.is_some_and(|role| role == "relay") {
        windlass_network::relay::main();
    }
    let args = match windlass_cli::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(code) => return ExitCode::from(code),
    };
    match dispatch(args) {
        Ok(code) => ExitCode::from(code),
        Err(err) => {
            eprintln!("windlass: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: Args) -> Result<u8> {
    let data = args.data_or_default().to_owned();
    match &args.verb {
        // Of who is not root nothing else is worth saying.
        Verb::Up(_) | Verb::Down(_) => {
            preflight::root()?;
            owner_verb(&args, &data)
        }
        Verb::Restore(_) => owner_verb(&args, &data),
        _ => {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(windlass_cli::run(args, &environment())))
        }
    }
}

/// The verbs that need the machine itself.
fn owner_verb(args: &Args, data: &Path) -> Result<u8> {
    match &args.verb {
        Verb::Up(up) if up.detach => detach::run(data).map(|()| 0),
        Verb::Up(up) => {
            // Run as /proc/self/exe, it would be called `exe`.
            rustix::thread::set_name(c"windlass").context("naming the process")?;
            log(LOG_DEFAULT);
            let options = up_options(data, up)?;
            server_runtime()?.block_on(up::run(options)).map(|()| 0)
        }
        Verb::Down(down) => {
            log(LOG_DEFAULT_DOWN);
            let options = down::Options {
                choices: plane::Choices::new(data),
                timeout_s: down.timeout,
                endpoint: named_endpoint().filter(|_| args.data.is_none()),
            };
            server_runtime()?.block_on(down::run(options)).map(|()| 0)
        }
        Verb::Restore(restore) => restore::run(&restore.file, data).map(|()| 0),
        // The others are a client's.
        _ => Ok(0),
    }
}

fn server_runtime() -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("starting threads")
}

fn log(default: &str) {
    let wanted = std::env::var("WINDLASS_LOG").unwrap_or_else(|_| default.into());
    let filter = EnvFilter::try_new(&wanted).unwrap_or_else(|err| {
        eprintln!("windlass: WINDLASS_LOG={wanted}: {err}; using {default}");
        EnvFilter::new(default)
    });
    let is_terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal && std::env::var_os("NO_COLOR").is_none())
        .with_env_filter(filter);
    // Who sits in front of it knows the time, and has no use for the name of a module.
    match is_terminal {
        true => log.without_time().with_target(false).init(),
        false => log.init(),
    }
}

fn up_options(data: &Path, args: &UpArgs) -> Result<up::Options> {
    let mirrors: Vec<String> = args
        .registry_mirrors
        .iter()
        .map(|m| format!("{}={}", m.registry, m.mirror))
        .collect();
    let allowed = args.allowed_host_paths.iter().map(|allowed| AllowedPath {
        path: allowed.path.clone(),
        readonly: allowed.readonly,
    });
    Ok(up::Options {
        choices: plane::Choices {
            subnet: args.subnet.map(|subnet| subnet.to_string()),
            cpu_overcommit: args.cpu_overcommit,
            reserve_memory_mib: args.reserve_memory.map(u64::from),
            publish_address: args.publish_address,
            joins_on_demand: args.join == Join::OnDemand,
            mirrors: Mirrors::parse(mirrors.iter().map(String::as_str))?,
            allowed_host_paths: allowed.collect(),
            hosts: hosts(args)?,
            pull: args.pull.map(|pull| pull.name().parse()).transpose()?,
            ..plane::Choices::new(data)
        },
        listen: args.listen,
        account_id: args.account_id.clone(),
        region: args.region.clone(),
        clusters: args.clusters.clone(),
        reader: sudo_user(),
    })
}

/// How registries are reached that are no public ones.
fn hosts(args: &UpArgs) -> Result<Hosts> {
    let mut authorities = Vec::new();
    for (host, file) in &args.registry_authorities {
        let pem = std::fs::read(file);
        let pem = pem.with_context(|| format!("reading {} for {host}", file.display()))?;
        authorities.push((host.clone(), pem));
    }
    Ok(Hosts::new(args.insecure_registries.clone(), authorities)?)
}

/// The server that this shell's variables name.
fn named_endpoint() -> Option<String> {
    let var = |name| std::env::var(name).ok().filter(|url| !url.is_empty());
    var("AWS_ENDPOINT_URL_ECS").or_else(|| var("AWS_ENDPOINT_URL"))
}

/// The user behind sudo.
fn sudo_user() -> Option<(u32, u32)> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    Some((number("SUDO_UID")?, number("SUDO_GID")?))
}

fn environment() -> Environment {
    let pairs = std::env::vars_os();
    let vars: BTreeMap<String, String> = pairs
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    Environment {
        vars,
        directory: std::env::current_dir().ok(),
        stdout_is_terminal: std::io::stdout().is_terminal(),
        stdout_columns: rustix::termios::tcgetwinsize(std::io::stdout())
            .ok()
            .map(|size| usize::from(size.ws_col))
            .filter(|columns| *columns > 0),
        stderr_is_terminal: std::io::stderr().is_terminal(),
        stdin_is_terminal: std::io::stdin().is_terminal(),
    }
}
