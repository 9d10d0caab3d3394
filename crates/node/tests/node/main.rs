//! Tests of the node's decisions, as tables and as random interleavings.

mod fixture;
mod interleavings;
mod recovery;
mod scripts;
