//! Containers as plain processes: a process group each.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, PidfdFlags, Signal};
use windlass_runtime::shim::launch::{Launched, Launcher};
use windlass_runtime::spec::{ContainerSpec, Limits, Oom, Process, StartError};
use windlass_runtime::start::{Shared, Stdio};

#[derive(Default)]
pub(crate) struct Plain {
    groups: BTreeMap<u32, Pid>,
}

pub(crate) struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Launched for Child {
    fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    fn take_pty(&mut self) -> Option<OwnedFd> {
        None
    }
}

fn run(process: &Process, stdio: Stdio) -> Result<Child, StartError> {
    let mut command = Command::new(&process.args[0]);
    command
        .args(&process.args[1..])
        .env_clear()
        .envs(process.env.iter().filter_map(|pair| pair.split_once('=')));
    spawn(command, stdio)
}

fn spawn(mut command: Command, stdio: Stdio) -> Result<Child, StartError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| StartError {
        stage: "exec".into(),
        errno: error.raw_os_error().unwrap_or(0),
        detail: program.clone(),
    };
    let child = command
        .stdin(stdio.stdin)
        .stdout(stdio.stdout)
        .stderr(stdio.stderr)
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let pid = Pid::from_child(&child);
    let pidfd =
        rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|e| failed(e.into()))?;
    Ok(Child { pid, pidfd })
}

impl Launcher for Plain {
    type Running = Child;

    fn sandbox(&mut self, _: &Limits) -> Result<(), StartError> {
        Ok(())
    }

    fn park(&mut self, _: u32) -> Result<(), StartError> {
        Ok(())
    }

    fn start(
        &mut self,
        slot: u32,
        spec: &ContainerSpec,
        _: &Shared<'_>,
        stdio: Stdio,
    ) -> Result<Child, StartError> {
        let child = run(&spec.process, stdio)?;
        self.groups.insert(slot, child.pid);
        Ok(child)
    }

    fn hold(&mut self, slot: u32, _: Option<u64>, stdio: Stdio) -> Result<Child, StartError> {
        let mut command = Command::new("/bin/sleep");
        command.arg("1000");
        let child = spawn(command, stdio)?;
        self.groups.insert(slot, child.pid);
        Ok(child)
    }

    fn exec(
        &mut self,
        _: &Child,
        _: &ContainerSpec,
        process: &Process,
        stdio: Stdio,
    ) -> Result<Child, StartError> {
        run(process, stdio)
    }

    fn oom(&self, _: u32) -> Option<Oom> {
        None
    }

    fn kill_all(&self, slot: u32) {
        if let Some(pid) = self.groups.get(&slot) {
            let _ = rustix::process::kill_process_group(*pid, Signal::KILL);
        }
    }

    fn remove_container(&mut self, slot: u32) -> Vec<StartError> {
        self.groups.remove(&slot);
        Vec::new()
    }

    fn remove_sandbox(&mut self) -> Vec<StartError> {
        Vec::new()
    }
}
