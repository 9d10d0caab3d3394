//! `make bench`: measures the real executable through its signed API, in one run and in turns with
//! a Docker daemon of the bench's own, and prints one table.
//!
//! - [`starts`]: RunTask call to the container's first word; [`phases`]: where that time goes
//! - [`rate`]: tasks per second; [`memory`]: idle and per task
//! - [`attacks`]: signed calls while strangers do their worst
//! - [`load`]: requests per second; [`recovery`]: after `kill -9`
//!
//! Absolute figures hold for the machine and its load, which are printed; the ratio to the peer is
//! what to compare. Needs root. Leaves nothing on the machine.

mod attacks;
mod client;
mod docker;
mod figures;
mod load;
mod machine;
mod memory;
mod node;
mod phases;
mod rate;
mod recovery;
mod sign;
mod speech;
mod starts;

use anyhow::Result;
use clap::Parser;
use std::path::PathBuf;

#[derive(Parser)]
struct Args {
    /// The optimised executable.
    #[arg(long)]
    executable: PathBuf,
    /// The OCI archive of the sample image.
    #[arg(long)]
    image: PathBuf,
    /// Measure Docker in turns.
    #[arg(long)]
    peers: bool,
    /// Alternating rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Starts of a case in a round.
    #[arg(long, default_value_t = 20)]
    starts: usize,
    /// Only these: starts, phases, rate, memory, load, recovery; attacks runs when it is named.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let scratch = tempfile::Builder::new()
        .prefix("windlass-bench-")
        .tempdir()?;
    println!("windlass bench: {}", machine::describe());
    println!(
        "  other work on the machine now: {:.0} % of its processors",
        machine::busy().await * 100.0
    );
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let mut speech = speech::Speech::open(&scratch.path().join("speech"))?;
    let peer = match args.peers {
        true => {
            let docker = docker::Docker::start(&scratch.path().join("docker")).await?;
            docker.load_image(&args.image).await?;
            Some(docker)
        }
        false => None,
    };
    let mut node =
        node::Node::start(&args.executable, &scratch.path().join("node"), "warn").await?;
    node.load_image(&args.image).await?;
    let shape = node::Shape {
        network: "bridge",
        containers: 1,
        waits: true,
    };
    // First, while nothing has run: idle means idle.
    if wanted("memory") {
        memory::measure(&node, peer.as_ref(), &mut speech).await?;
    }
    if wanted("starts") {
        let plan = starts::Plan {
            rounds: args.rounds,
            ours: args.starts,
            peers: args.starts.div_ceil(5),
        };
        starts::measure(&plan, &node, peer.as_ref(), &mut speech).await?;
    }
    if wanted("rate") {
        rate::measure(args.rounds, &node, peer.as_ref(), &mut speech).await?;
    }
    drop(peer);
    if wanted("load") || wanted("recovery") {
        let mut client = node.client().await?;
        node::register(&mut client, shape, &speech.folder).await?;
        starts::one(&mut client, shape, &mut speech).await?;
    }
    if wanted("recovery") {
        recovery::measure(args.rounds, &mut node, shape, "10,000 tasks known").await?;
    }
    if wanted("load") {
        load::measure(args.rounds, &node).await?;
        // The engine reads its journal again at every start, and the load has filled it.
        if wanted("recovery") {
            recovery::measure(args.rounds, &mut node, shape, "  and after that load").await?;
        }
    }
    // Three minutes, and no figure to compare: only when it is asked for.
    if args.only.iter().any(|only| only == "attacks") {
        attacks::measure(&node).await?;
    }
    node.down()?;
    if wanted("phases") {
        let folder = scratch.path().join("phases");
        let mut node = node::Node::start(&args.executable, &folder, phases::LOG).await?;
        node.load_image(&args.image).await?;
        for (network, containers) in [("none", 1), ("bridge", 1), ("awsvpc", 1), ("awsvpc", 2)] {
            let shape = node::Shape {
                network,
                containers,
                waits: true,
            };
            phases::measure(&node, shape, &mut speech).await?;
        }
        node.down()?;
    }
    println!("\nload at the end: {}", machine::load());
    Ok(())
}
