//! The embedded store against what really happens to stores: killed processes, cut power, damaged
//! files, full disks. Every test compares the whole content with what a store in memory holds after
//! the same turns.

mod backup;
mod contract;
mod damage;
mod full_disk;
mod kill;
mod power_cut;
mod speed;
mod workload;
