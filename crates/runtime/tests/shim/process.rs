//! The shim that the tests start as `shim-under-test shim CGROUP_ROOT`. With a cgroup root
//! `/windlass-plain…` its containers are plain processes of the machine, so that the shim itself can
//! be tested without privileges; with any other it is the product's.

mod plain;

use std::ffi::OsString;

use windlass_runtime::{shim, start};

fn main() {
    let mut args = std::env::args_os();
    let arg0 = args.next().unwrap_or_default();
    if start::is_init(&arg0) {
        start::init_main(args, std::env::var_os("PATH"));
    }
    let args: Vec<OsString> = std::env::args_os().collect();
    let root = args.get(2).map(|root| root.to_string_lossy().into_owned());
    if !root.is_some_and(|root| root.starts_with("/windlass-plain")) {
        shim::main(args);
    }
    if let Err(error) = shim::serve(|_, _| Ok(plain::Plain::default())) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
