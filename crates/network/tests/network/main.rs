//! The network on real kernels: every test makes a machine of its own, out of network namespaces,
//! so that tests run side by side and never touch the machine they run on. Needs root, `nft`,
//! `ip`, `nsenter` and `unshare`.

mod bridges;
mod figures;
mod firewall;
mod lifecycle;
mod machine;
mod names;
mod reachability;
mod relay;
mod reserved;
