//! What the machine is and does: the line that every figure needs beside it, and what processes
//! use.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// One line: a figure says little without it.
pub(crate) fn describe() -> String {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let kernel = text("/proc/sys/kernel/osrelease");
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = text("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let cgroups = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        "cgroup v2"
    } else {
        "cgroup v1"
    };
    format!(
        "kernel {}, {cpus} cpus ({model}), {cgroups}, load {}",
        kernel.trim(),
        load()
    )
}

pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Share of processor time that others use, over a moment: 0 to 1.
pub(crate) async fn busy() -> f64 {
    let read = || {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let ticks: Vec<f64> = line
            .split_whitespace()
            .skip(1)
            .filter_map(|t| t.parse().ok())
            .collect();
        let idle: f64 = ticks.iter().skip(3).take(2).sum();
        (ticks.iter().take(8).sum::<f64>(), idle)
    };
    let (all, idle) = read();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let (all_after, idle_after) = read();
    1.0 - (idle_after - idle) / (all_after - all).max(1.0)
}

/// Processes whose arguments are wanted.
pub(crate) fn processes(wanted: impl Fn(&[String]) -> bool) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // It may have ended meanwhile.
        let Ok(text) = fs::read(format!("/proc/{pid}/cmdline")) else {
            continue;
        };
        let arguments: Vec<String> = text
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        if wanted(&arguments) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Proportional set size in MiB: shared pages are counted once over all that share them.
pub(crate) fn pss_mib(pids: &[u32]) -> Result<f64> {
    let mut kib = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let value = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib += value.with_context(|| format!("{path} has no Pss"))?;
    }
    Ok(kib as f64 / 1024.0)
}

/// Processor time that the processes' threads used until now, in ns. Ticks of 10 ms would miss what
/// an idle daemon does.
pub(crate) fn cpu_ns(pids: &[u32]) -> u64 {
    let threads = |pid: &u32| {
        fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
    };
    let used = |thread: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    pids.iter().flat_map(threads).filter_map(used).sum()
}
