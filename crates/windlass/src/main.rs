//! The `windlass` executable: parses arguments, loads configuration, wires the parts. It alone
//! reads the environment.

mod data_folder;
mod down;
mod installation;
mod local;
mod plane;
mod preflight;
mod up;

use anyhow::Result;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    if windlass_runtime::start::is_init(&std::env::args_os().next().unwrap_or_default()) {
        windlass_runtime::start::init_main(std::env::args_os().skip(1), std::env::var_os("PATH"));
    }
    // Roles of processes that enter containers come first: they must not have threads.
    if args.nth(1).is_some_and(|role| role == "shim") {
        windlass_runtime::shim::main(std::env::args_os());
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("windlass: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(std::env::var("WINDLASS_LOG").unwrap_or("info".into()))
        .init();
    let args: Vec<String> = std::env::args().collect();
    let choices = plane::Choices {
        data: args[2].clone().into(),
        subnet: args.get(4).cloned(),
        cpu_overcommit: 1.0,
        reserve_memory_mib: None,
        mirrors: vec![],
        address: "127.0.0.1".into(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    if args[1] == "down" {
        return runtime.block_on(down::run(choices));
    }
    runtime.block_on(up::run(up::Options {
        choices,
        listen: match args.get(3) {
            Some(listen) => listen.parse()?,
            None => "127.0.0.1:7737".parse()?,
        },
        account_id: None,
        region: None,
        clusters: vec!["default".into()],
        reader: None,
    }))
}
