//! Killing and removing groups: a container's, a sandbox's, and whole trees that a crash left.
//!
//! Everything goes on past an error and is safe to repeat; every wait is bounded.

use std::fs;
use std::time::{Duration, Instant};

use super::{Layout, SHIMS, check_parent, get, io_failed, set};
use crate::start::kernel;
use crate::start::{StartError, failed};

/// How long an emptied group may take to be removable.
const REMOVE_WAIT: Duration = Duration::from_secs(2);
/// Rounds of freeze and kill; each sees everything that was there, so few are needed.
const KILL_ROUNDS: u32 = 100;
/// Deepest nesting inside a group that is followed; a privileged container may make groups.
const DEPTH_MAX: usize = 32;

/// Kills every process in and below the group `parent`, an absolute path below each hierarchy's
/// root: for what a dead shim left. Errors only when hierarchies cannot be read or the path is none.
pub fn kill_cgroup(parent: &str) -> Result<(), StartError> {
    check_parent(parent)?;
    kill(&Layout::read()?, parent);
    Ok(())
}

/// Kills the shims of an installation, and its relay: they are in groups of hierarchies where nothing
/// is frozen.
///
/// # Errors
/// When the group's name is not one, or the hierarchies are unknown.
pub fn kill_shims(installation: &str) -> Result<(), StartError> {
    let path = format!("{installation}/{SHIMS}");
    check_parent(&path)?;
    for hierarchy in Layout::read()?.managed() {
        for pid in processes(&hierarchy.folder(&path)) {
            let _ = kernel::kill(pid, libc::SIGKILL);
        }
    }
    Ok(())
}

/// Removes the group `parent` and everything below it, in every hierarchy: for trees a crash left.
/// Processes in it are not killed; see [`kill_cgroup`]. Returns what could not be removed.
pub fn remove_cgroups(parent: &str) -> Vec<StartError> {
    match check_parent(parent).and_then(|()| Layout::read()) {
        Ok(layout) => remove(&layout, parent),
        Err(error) => vec![error],
    }
}

pub(super) fn kill(layout: &Layout, path: &str) {
    let Some(folder) = layout.folder("freezer", path) else {
        return;
    };
    // cgroup.kill came with 5.14; the file takes the whole tree at once.
    if layout.v2_only() && set(&folder, "cgroup.kill", 1).is_ok() {
        return;
    }
    let (file, frozen, thawed) = if layout.v2_only() {
        ("cgroup.freeze", "1", "0")
    } else {
        ("freezer.state", "FROZEN", "THAWED")
    };
    for round in 0..KILL_ROUNDS {
        // Frozen processes neither fork nor end, so a number read cannot be someone else's.
        let _ = set(&folder, file, frozen);
        let processes = processes(&folder);
        for pid in &processes {
            let _ = kernel::kill(*pid, libc::SIGKILL);
        }
        let _ = set(&folder, file, thawed);
        if processes.is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_micros(200 + 100 * u64::from(round)));
    }
}

fn processes(folder: &str) -> Vec<i32> {
    tree(folder)
        .iter()
        .filter_map(|folder| get(folder, "cgroup.procs"))
        .flat_map(|text| {
            text.lines()
                .filter_map(|line| line.parse::<i32>().ok())
                .filter(|pid| *pid > 0)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The folder and those below it, children first.
fn tree(folder: &str) -> Vec<String> {
    fn visit(folder: &str, depth: usize, out: &mut Vec<String>) {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries.filter(|_| depth < DEPTH_MAX) {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name();
                visit(
                    &format!("{folder}/{}", name.to_string_lossy()),
                    depth + 1,
                    out,
                );
            }
        }
        out.push(folder.to_owned());
    }
    let mut out = Vec::new();
    visit(folder, 0, &mut out);
    out
}

pub(super) fn remove(layout: &Layout, path: &str) -> Vec<StartError> {
    let until = Instant::now() + REMOVE_WAIT;
    let mut errors = Vec::new();
    for hierarchy in &layout.hierarchies {
        for folder in tree(&hierarchy.folder(path)) {
            if let Err(error) = remove_one(&folder, until) {
                errors.push(error);
            }
        }
    }
    errors
}

/// A group is busy for a moment after its last process was reaped.
fn remove_one(folder: &str, until: Instant) -> Result<(), StartError> {
    let mut pause = Duration::from_micros(100);
    loop {
        match fs::remove_dir(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                if Instant::now() >= until {
                    return Err(failed(
                        "cgroup",
                        libc::EBUSY,
                        format!("{folder} still has processes"),
                    ));
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(10));
            }
            Err(error) => return Err(io_failed(folder, &error)),
        }
    }
}
