//! `net.ipv4.ip_local_reserved_ports`: dynamic host ports lie in the range from which the kernel gives
//! outgoing connections their local ports. While a published port is listened on nobody gets it; but
//! when everything of the installation was killed, a connection could take it before it is listened on
//! again. So published ports of that range are reserved, one by one: without any port of the range the
//! machine could not connect to anything.
//!
//! The kernel has one list a network namespace, which others write too. It is changed under a lock on
//! its own file, and a file on tmpfs says which of its ports are ours, so that they are given back
//! whoever was killed, and nothing else is.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

const SYSCTL: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// The ports that this installation reserved.
#[derive(Debug)]
pub(crate) struct Reserved {
    record: PathBuf,
    ours: BTreeSet<u16>,
    /// From where the kernel takes local ports: others need no reservation.
    range: (u16, u16),
}

impl Reserved {
    /// With what an earlier run reserved.
    pub(crate) fn open(run_dir: &Path, range: (u16, u16)) -> Self {
        let record = run_dir.join("reserved_ports");
        let ours = fs::read_to_string(&record).map_or(BTreeSet::new(), |text| parse(&text));
        Self {
            record,
            ours,
            range,
        }
    }

    /// Reserves a port, if the kernel could give it away.
    pub(crate) fn add(&mut self, port: u16) {
        if (self.range.0..=self.range.1).contains(&port) && !self.ours.contains(&port) {
            self.change(&BTreeSet::from([port]), &BTreeSet::new());
        }
    }

    /// Gives back all but these.
    pub(crate) fn keep(&mut self, wanted: &BTreeSet<u16>) {
        let gone: BTreeSet<u16> = self.ours.difference(wanted).copied().collect();
        if !gone.is_empty() {
            self.change(&BTreeSet::new(), &gone);
        }
    }

    /// Gives all back.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.keep(&BTreeSet::new());
        match fs::remove_file(&self.record) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A list that cannot be changed is no reason to refuse a port: it is told and left.
    fn change(&mut self, more: &BTreeSet<u16>, gone: &BTreeSet<u16>) {
        if let Err(error) = self.try_change(more, gone) {
            tracing::warn!(%error, "cannot change {SYSCTL}: a connection of this machine may take a \
                           published port while Windlass is killed");
        }
    }

    fn try_change(&mut self, more: &BTreeSet<u16>, gone: &BTreeSet<u16>) -> io::Result<()> {
        let mut list = File::options().read(true).write(true).open(SYSCTL)?;
        rustix::fs::flock(&list, FlockOperation::LockExclusive)?;
        let mut all = parse(&read_whole(&mut list)?);
        // What somebody else reserved is theirs to give back.
        let fresh: BTreeSet<u16> = more.difference(&all).copied().collect();
        let mut ours: BTreeSet<u16> = self.ours.union(&fresh).copied().collect();
        // Noted first: a port that is noted and not in the list does no harm, the other way round it
        // would stay for ever.
        self.note(&ours)?;
        all.extend(&fresh);
        all.retain(|port| !gone.contains(port));
        list.rewind()?;
        list.write_all(show(&all).as_bytes())?;
        ours.retain(|port| !gone.contains(port));
        self.ours = ours;
        match gone.is_empty() {
            true => Ok(()),
            false => self.note(&self.ours),
        }
    }

    /// Writes down which are ours, whole or not at all.
    fn note(&self, ours: &BTreeSet<u16>) -> io::Result<()> {
        let draft = self.record.with_extension("draft");
        fs::write(&draft, show(ours))?;
        fs::rename(&draft, &self.record)
    }
}

/// All of the kernel's list. It answers the first read alone, with as much as there is room for.
fn read_whole(list: &mut File) -> io::Result<String> {
    // Every second port is the longest list.
    let mut bytes = vec![0; usize::from(u16::MAX) * "65535,".len()];
    let length = list.read(&mut bytes)?;
    bytes.truncate(length);
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// Reads `80,8080-8090`, the kernel's form.
fn parse(text: &str) -> BTreeSet<u16> {
    let ranges = text.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse::<u16>().ok()?..=last.trim().parse::<u16>().ok()?)
    });
    ranges.flatten().collect()
}

fn show(ports: &BTreeSet<u16>) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*port) => *last = *port,
            _ => ranges.push((*port, *port)),
        }
    }
    let ranges = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    // The kernel takes a line of its own for an empty list.
    ranges.collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_shown_as_the_kernels() {
        for (text, ports, shown) in [
            ("\n", &[][..], "\n"),
            ("80\n", &[80], "80\n"),
            ("1-3,5", &[1, 2, 3, 5], "1-3,5\n"),
            ("3,2,1,65535", &[1, 2, 3, 65_535], "1-3,65535\n"),
            ("x,5,70000-70001", &[5], "5\n"),
        ] {
            let read = parse(text);
            assert_eq!(read.iter().copied().collect::<Vec<_>>(), ports, "{text:?}");
            assert_eq!(show(&read), shown);
        }
    }
}
