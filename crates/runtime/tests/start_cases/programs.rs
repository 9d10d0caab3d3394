//! Programs that are found and that the kernel does not run: to the outside they ran and failed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use windlass_model::program_fault::ProgramCause;
use windlass_runtime::spec::{ContainerSpec, Exit};
use windlass_runtime::start::Shared;

use crate::Case;
use crate::bed::{Bed, pipes, process, read, wait};

pub(crate) const CASES: &[Case] = &[
    ("programs_that_cannot_run", programs_that_cannot_run),
    ("runc_ends_them_alike", runc_ends_them_alike),
    ("an_exec_that_cannot_run", an_exec_that_cannot_run),
];

/// Name, contents, what execve says of it.
fn programs() -> Vec<(&'static str, Vec<u8>, &'static str, ProgramCause)> {
    let format = "exec format error";
    let missing = "no such file or directory";
    let mut other = fs::read("/bin/busybox").unwrap();
    other.truncate(4096);
    other[18..20].copy_from_slice(&183u16.to_le_bytes());
    let architecture = ProgramCause::Architecture {
        program: "aarch64".into(),
        machine: std::env::consts::ARCH.into(),
    };
    vec![
        (
            "plain",
            b"echo hi\n".to_vec(),
            format,
            ProgramCause::NoInterpreterLine,
        ),
        ("empty", Vec::new(), format, ProgramCause::Empty),
        ("foreign", other, format, architecture),
        (
            "windows",
            b"#!/bin/sh\r\necho hi\r\n".to_vec(),
            missing,
            ProgramCause::CarriageReturn("/bin/sh\r".into()),
        ),
        (
            "python",
            b"#!/usr/bin/python9 -u\n".to_vec(),
            missing,
            ProgramCause::Interpreter("/usr/bin/python9".into()),
        ),
        (
            "folder",
            b"#! /etc\n".to_vec(),
            "permission denied",
            ProgramCause::Interpreter("/etc".into()),
        ),
        (
            "dynamic",
            dynamic(),
            missing,
            ProgramCause::Loader("/lib/ld-other.so.1".into()),
        ),
    ]
}

/// A program of this machine that names a loader, and is nothing else.
fn dynamic() -> Vec<u8> {
    let loader = b"/lib/ld-other.so.1\0";
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    let machine: u16 = if cfg!(target_arch = "aarch64") {
        183
    } else {
        62
    };
    bytes.extend(3u16.to_le_bytes());
    bytes.extend(machine.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    for word in [0u64, 64, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(4u32.to_le_bytes());
    let length = loader.len() as u64;
    for word in [120, 0, 0, length, length, 1] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(loader);
    bytes
}

fn install(bed: &Bed) {
    let folder = bed.base().join("programs");
    fs::create_dir_all(&folder).unwrap();
    for (name, bytes, ..) in programs() {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn command(bed: &mut Bed, command: &str) -> ContainerSpec {
    let mut spec = bed.spec("true");
    spec.process.args = process(&[command, "argument"]).args;
    spec.process.env = vec!["PATH=/nowhere:/programs".into()];
    spec
}

fn programs_that_cannot_run() {
    let mut bed = Bed::new();
    install(&bed);
    for (name, _, error, cause) in programs() {
        for (given, init, tty) in [
            (format!("/programs/{name}"), false, false),
            (name.to_owned(), false, false),
            (format!("/programs/{name}"), true, false),
            (name.to_owned(), true, false),
            (name.to_owned(), false, true),
        ] {
            let mut spec = command(&mut bed, &given);
            spec.init = init;
            spec.process.tty = tty;
            let slot = bed.slot();
            let (stdio, out) = pipes();
            let started = bed.starter.start(slot, &spec, &Shared::default(), stdio);
            let mut running = started.unwrap_or_else(|error| panic!("{given}: {error}"));
            let text = read(running.pty.take().unwrap_or(out));
            assert_eq!(text.trim_end(), format!("exec /programs/{name}: {error}"));
            assert_eq!(wait(&running), Exit::Code(1), "{given}");
            let fault = running.fault.expect("the reason is known");
            assert_eq!(
                (fault.path, fault.error),
                (format!("/programs/{name}"), error.to_owned())
            );
            assert_eq!(fault.cause, cause, "{given} {init}");
            assert!(bed.starter.remove_container(slot).is_empty());
        }
    }
    // What another user may not read cannot be looked into.
    let hidden = bed.base().join("programs/windows");
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o711)).unwrap();
    let mut spec = command(&mut bed, "windows");
    spec.process.user = "web".into();
    let slot = bed.slot();
    let (stdio, out) = pipes();
    let started = bed.starter.start(slot, &spec, &Shared::default(), stdio);
    let running = started.unwrap();
    assert_eq!(
        read(out),
        "exec /programs/windows: no such file or directory\n"
    );
    assert_eq!(wait(&running), Exit::Code(1));
    assert_eq!(running.fault.unwrap().cause, ProgramCause::Unknown);
    assert!(bed.starter.remove_container(slot).is_empty());
}

/// The words and the code are those of runc, but for the log's own prefix.
fn runc_ends_them_alike() {
    let bed = Bed::new();
    install(&bed);
    for (name, _, error, _) in programs() {
        let path = format!("/programs/{name}");
        let output = crate::oracle::runc_output(&bed, &[&path], &["PATH=/bin"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(error), "{name}: {text}");
        assert_eq!(output.status.code(), Some(1), "{name}: {text}");
    }
}

fn an_exec_that_cannot_run() {
    let mut bed = Bed::new();
    install(&bed);
    let spec = bed.spec("exec sleep 1000");
    let running = bed.start(&spec);
    let (exit, text) = bed
        .exec(&running, &spec, &process(&["/programs/plain"]))
        .unwrap();
    assert_eq!(
        (exit, text.as_str()),
        (Exit::Code(1), "exec /programs/plain: exec format error\n")
    );
    bed.stop(&running);
}
