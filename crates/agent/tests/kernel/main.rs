//! The agent with real containers and a real network: needs root, `unshare`, `ip` and the sample
//! images of `scripts/sample-images.sh`. Without one of them it says so and passes.
//!
//! It runs in a network namespace of its own, in folders and a cgroup of its own, and looks at what
//! is left at the end.

#[path = "../agent/definitions.rs"]
mod definitions;
#[path = "../../../node/tests/node/fixture.rs"]
mod fixture;
mod node;
mod scenarios;

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};
use windlass_runtime::{shim, start};

const INSIDE: &str = "inside-its-own-network";
const IMAGE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../.cache/images/busybox.tar"
);

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.first().is_some_and(start::is_init) {
        start::init_main(args.into_iter().skip(1), std::env::var_os("PATH"));
    }
    match args.get(1).and_then(|arg| arg.to_str()) {
        Some("shim") => shim::main(args),
        Some(INSIDE) => inside(),
        _ => outside(),
    }
}

fn outside() -> ExitCode {
    // Tools that list tests ask every one of them.
    if std::env::args().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout == b"0\n");
    if !root || !Path::new(IMAGE).exists() {
        println!("skipped: needs root and {IMAGE}; run scripts/sample-images.sh");
        return ExitCode::SUCCESS;
    }
    let exe = std::env::current_exe().expect("this program's path");
    let status = Command::new("unshare")
        .arg("--net")
        .arg("--")
        .arg(exe)
        .arg(INSIDE)
        .status();
    match status.expect("unshare") {
        status if status.success() => ExitCode::SUCCESS,
        status => {
            println!("FAILED: {status}");
            ExitCode::FAILURE
        }
    }
}

fn inside() -> ExitCode {
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(up.expect("ip").success());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a tokio runtime");
    runtime.block_on(scenarios::all());
    ExitCode::SUCCESS
}
