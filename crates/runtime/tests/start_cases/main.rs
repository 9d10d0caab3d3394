//! Containers on the real kernel: needs root, busybox-static, and runc for the comparisons.
//!
//! Its own main, because a starter needs a process with one thread that runs sealed. The same
//! program is copied into the test images as `/probe`: it is static, and tells what a container
//! looks like from inside.
//!
//! `cargo test -p windlass-runtime --test start_cases [name]…`

mod bed;
mod confinement;
mod failures;
mod hostile;
mod lifecycle;
mod oracle;
mod pressure;
mod probe;
mod programs;
mod sharing;
mod surroundings;
mod version2;

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

/// A name and what it does; a panic is a failure.
type Case = (&'static str, fn());

fn main() {
    let mut args = std::env::args_os();
    let arg0 = args.next().unwrap_or_default();
    if windlass_runtime::start::is_init(&arg0) {
        windlass_runtime::start::init_main(args, std::env::var_os("PATH"));
    }
    let rest: Vec<OsString> = args.collect();
    if rest.first().is_some_and(|arg| arg == "probe") {
        probe::main(&rest[1..]);
        return;
    }
    let names: Vec<String> = rest
        .iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let cases: Vec<Case> = [
        lifecycle::CASES,
        confinement::CASES,
        failures::CASES,
        hostile::CASES,
        sharing::CASES,
        surroundings::CASES,
        oracle::CASES,
        pressure::CASES,
        programs::CASES,
        version2::CASES,
    ]
    .concat();
    if std::env::args().any(|arg| arg == "--list") {
        for (name, _) in cases {
            println!("{name}: test");
        }
        return;
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: these cases start containers and need root");
        return;
    }
    let again: Vec<CString> = std::env::args_os()
        .map(|arg| CString::new(arg.into_vec()).unwrap())
        .collect();
    let again: Vec<_> = again.iter().map(CString::as_c_str).collect();
    windlass_runtime::start::seal_self(&again).expect("sealing the test program");
    if std::env::args().any(|arg| arg == "--v2") {
        version2::enter();
    }
    run(&cases, &names);
}

fn run(cases: &[Case], names: &[String]) {
    let mut failed = Vec::new();
    for (name, case) in cases {
        if !names.is_empty() && !names.iter().any(|wanted| name.contains(wanted.as_str())) {
            continue;
        }
        let before = bed::Residue::now();
        let outcome = std::panic::catch_unwind(case);
        let left = bed::Residue::now().beyond(&before);
        if outcome.is_err() || !left.is_empty() {
            println!("{name} ... FAILED {left}");
            failed.push(*name);
        } else {
            println!("{name} ... ok");
        }
    }
    println!("{} failed: {failed:?}", failed.len());
    if !failed.is_empty() {
        std::process::exit(1);
    }
}
