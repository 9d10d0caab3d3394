//! Kernel parameters of a container: an allow list of those that belong to its own namespaces.

use std::ffi::CString;

use windlass_model::kernel_parameter::{Owner, is_name, owner};

use super::{StartError, cstring, failed};
use crate::spec::{ContainerSpec, Namespace, Network};

/// Longest value, bytes.
const VALUE_MAX: usize = 4096;

/// Paths below /proc and values. Refuses what is not namespaced, what would be the host's, and what
/// could be read as more than one name and one value.
pub(super) fn prepare(spec: &ContainerSpec) -> Result<Vec<(CString, CString)>, StartError> {
    spec.sysctls
        .iter()
        .map(|(name, value)| {
            check(name, value, &spec.network, &spec.ipc)?;
            let path = format!("sys/{}", name.replace('.', "/"));
            Ok((cstring("sysctl", &path)?, cstring("sysctl", value)?))
        })
        .collect()
}

fn check(name: &str, value: &str, network: &Network, ipc: &Namespace) -> Result<(), StartError> {
    let refused = |errno, why: &str| Err(failed("sysctl", errno, format!("{name:?}: {why}")));
    if !is_name(name) {
        return refused(
            libc::EINVAL,
            "not a name of letters, digits, _ and - between dots",
        );
    }
    if value.len() > VALUE_MAX || value.bytes().any(|b| b == b'\n' || b == 0) {
        return refused(libc::EINVAL, "the value has to be one line");
    }
    match owner(name) {
        Some(Owner::Network) => match network {
            Network::Host => refused(libc::EPERM, "the network namespace is the host's"),
            Network::None | Network::Path(_) => Ok(()),
        },
        Some(Owner::Ipc) => match ipc {
            Namespace::Host => refused(libc::EPERM, "the ipc namespace is the host's"),
            Namespace::Private | Namespace::Container(_) | Namespace::Sandbox => Ok(()),
        },
        None => refused(libc::EPERM, "not a parameter of the container's own"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_parameters_pass() {
        let path = Network::Path("/x".into());
        for (name, value, network, ipc, want) in [
            ("net.core.somaxconn", "5", &path, Namespace::Host, None),
            (
                "net.ipv4.ping_group_range",
                "0 9",
                &Network::None,
                Namespace::Private,
                None,
            ),
            (
                "net.core.somaxconn",
                "5",
                &Network::Host,
                Namespace::Private,
                Some(libc::EPERM),
            ),
            ("kernel.shmmax", "5", &path, Namespace::Private, None),
            (
                "kernel.shmmax",
                "5",
                &path,
                Namespace::Container("a".into()),
                None,
            ),
            (
                "fs.mqueue.msg_max",
                "5",
                &path,
                Namespace::Host,
                Some(libc::EPERM),
            ),
            (
                "kernel.core_pattern",
                "|x",
                &path,
                Namespace::Private,
                Some(libc::EPERM),
            ),
            (
                "kernel.shmmax+kernel.core_pattern",
                "1",
                &path,
                Namespace::Private,
                Some(libc::EINVAL),
            ),
            (
                "net/../kernel/core_pattern",
                "1",
                &path,
                Namespace::Private,
                Some(libc::EINVAL),
            ),
            (
                "net...kernel.core_pattern",
                "1",
                &path,
                Namespace::Private,
                Some(libc::EINVAL),
            ),
            ("net.", "1", &path, Namespace::Private, Some(libc::EINVAL)),
            ("", "1", &path, Namespace::Private, Some(libc::EINVAL)),
            (
                "net.core.somaxconn",
                "5\nkernel.core_pattern=x",
                &path,
                Namespace::Private,
                Some(libc::EINVAL),
            ),
        ] {
            let got = check(name, value, network, &ipc).err().map(|e| e.errno);
            assert_eq!(got, want, "{name} {value}");
        }
    }
}
