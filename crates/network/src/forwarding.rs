//! `net.ipv4.ip_forward`: packets of tasks need it, and turning it on makes the machine a router
//! between all of its networks. Whoever turned it on must therefore keep that door shut, also
//! after a restart, so a file says that it was us.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Result, Trying};

const SYSCTL: &str = "/proc/sys/net/ipv4/ip_forward";

/// Whether this installation turned forwarding on.
#[derive(Debug, Clone)]
pub(crate) struct Forwarding {
    marker: PathBuf,
    ours: bool,
}

impl Forwarding {
    pub(crate) fn look(run_dir: &Path) -> Result<Self> {
        let marker = run_dir.join("ip_forward");
        let on = fs::read_to_string(SYSCTL).trying(|| format!("read {SYSCTL}"))?;
        let ours = on.trim() == "0" || marker.exists();
        Ok(Self { marker, ours })
    }

    /// Whether rules must drop what the machine did not forward before.
    pub(crate) fn needs_guard(&self) -> bool {
        self.ours
    }

    /// Turns forwarding on. The rules must be in place.
    pub(crate) fn enable(&self) -> Result<()> {
        if self.ours {
            let marker = &self.marker;
            fs::write(marker, "").trying(|| format!("write {}", marker.display()))?;
        }
        fs::write(SYSCTL, "1").trying(|| format!("write 1 to {SYSCTL}"))
    }

    /// Turns it off again if this installation turned it on and nobody else needs it.
    pub(crate) fn restore(&self, other_bridges: bool) -> Result<()> {
        if !self.ours {
            return Ok(());
        }
        if other_bridges {
            tracing::warn!("net.ipv4.ip_forward stays on: other bridges may need it");
        } else {
            fs::write(SYSCTL, "0").trying(|| format!("write 0 to {SYSCTL}"))?;
        }
        match fs::remove_file(&self.marker) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.trying(|| format!("remove {}", self.marker.display())),
        }
    }
}
