//! A seeded world around the core: random commands, agents that run tasks, a network that loses,
//! delays, repeats and reorders reports, machines that reboot, and commits that fail. After every
//! step the core's promises are checked; at the end, with faults off, every task must end.
//!
//! `WINDLASS_SEED=<n>` replays one seed, `WINDLASS_SEEDS=<n>` and `WINDLASS_STEPS=<n>` say how many.

#[path = "driver/agent.rs"]
mod agent;
#[path = "driver/checks.rs"]
mod checks;
#[path = "driver/commands.rs"]
mod commands;
#[path = "fixture/nouns.rs"]
mod nouns;
#[path = "driver/random.rs"]
mod random;
#[path = "driver/world.rs"]
mod world;

use world::World;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Runs one seed; returns its trace's digest and how many tasks ran.
fn play(seed: u64, steps: u64) -> (u64, u64) {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    world.settle();
    (world.trace, world.started())
}

/// How many tasks a seed's world started; a failing seed is named with the command to replay it.
fn play_or_name(seed: u64, steps: u64) -> u64 {
    match std::panic::catch_unwind(|| play(seed, steps)) {
        Ok((_, started)) => started,
        Err(_) => panic!(
            "seed {seed} failed; replay: WINDLASS_SEED={seed} WINDLASS_STEPS={steps} \
             cargo test -p windlass-cluster --test driver"
        ),
    }
}

#[test]
fn promises_hold_under_faults() {
    let steps = number("WINDLASS_STEPS", 300);
    let seeds = match std::env::var("WINDLASS_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
    {
        Some(seed) => seed..seed + 1,
        None => 0..number("WINDLASS_SEEDS", 200),
    };
    // Worlds share nothing, so every processor plays some.
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let started: u64 = std::thread::scope(|scope| {
        let share = |worker| seeds.clone().skip(worker).step_by(workers);
        let played = (0..workers).map(|worker| {
            let share = share(worker);
            scope.spawn(move || share.map(|seed| play_or_name(seed, steps)).sum::<u64>())
        });
        let played: Vec<_> = played.collect();
        played
            .into_iter()
            .map(|worker| worker.join().expect("a seed failed, see above"))
            .sum()
    });
    // A world in which nothing runs would keep every promise.
    assert!(
        started >= seeds.end - seeds.start,
        "only {started} tasks were started"
    );
}

#[test]
fn a_seed_gives_the_same_trace_twice() {
    let steps = number("WINDLASS_STEPS", 300);
    for seed in 1_000..1_010 {
        assert_eq!(play(seed, steps), play(seed, steps), "seed {seed}");
    }
    assert_ne!(play(1, steps).0, play(2, steps).0);
}
