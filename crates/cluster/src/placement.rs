//! Finds nodes for tasks, and says why one was refused.
//!
//! Scope: [`place`] chooses among candidates, [`refusal`] explains one. Neither reserves anything:
//! a placed task's rows do, when they are applied. Pure, so that dry runs and simulation share it.
//! The language of `memberOf` is [`query`].

pub(crate) mod candidate;
pub(crate) mod query;

pub(crate) use candidate::Candidate;

use query::{Query, Subject};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use windlass_model::instance::{Attribute, InstanceStatus};
use windlass_model::placement::{BinpackField, PlacementStrategy, Refusal, SpreadField};
use windlass_model::resources::Resources;

/// What one task asks of its node.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    pub resources: Resources,
    /// A name alone must exist; a value must not contradict.
    pub attributes: Vec<Attribute>,
    /// Something this release does not provide anywhere.
    pub unsupported: Option<String>,
    pub group: String,
    pub constraints: Vec<Constraint>,
    /// StartTask names its instance, so draining does not keep it away.
    pub even_draining: bool,
}

#[derive(Debug)]
pub(crate) enum Constraint {
    DistinctInstance,
    MemberOf { written: String, query: Query },
}

/// A place, and how much of the choice was looked at.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub place: Candidate<'a>,
    pub considered: u32,
    pub fitting: u32,
}

/// Chooses a candidate. They come in ring order from a point of the turn's seed, so the first of
/// equals is a random one.
pub(crate) fn place<'a>(
    candidates: impl Iterator<Item = Candidate<'a>>,
    needs: &Needs,
    strategies: &[PlacementStrategy],
) -> Option<Found<'a>> {
    let ranks = strategies
        .iter()
        .any(|strategy| *strategy != PlacementStrategy::Random);
    if ranks {
        return ranked(candidates.collect(), needs, strategies);
    }
    for (considered, place) in (1..).zip(candidates) {
        if fits(&place, needs) {
            return Some(Found {
                place,
                considered,
                fitting: 1,
            });
        }
    }
    None
}

fn ranked<'a>(
    candidates: Vec<Candidate<'a>>,
    needs: &Needs,
    strategies: &[PlacementStrategy],
) -> Option<Found<'a>> {
    let considered = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
    let ranking = Ranking::new(&candidates, needs, strategies);
    let mut fitting = 0;
    let (mut rank, mut least) = (Vec::new(), Vec::new());
    let mut best: Option<Candidate<'a>> = None;
    for place in candidates {
        if !fits(&place, needs) {
            continue;
        }
        fitting += 1;
        ranking.rank(&place, &mut rank);
        if best.is_none() || rank < least {
            std::mem::swap(&mut rank, &mut least);
            best = Some(place);
        }
    }
    best.map(|place| Found {
        place,
        considered,
        fitting,
    })
}

/// Strategies in order: each one's number, the least first; the next breaks its ties.
struct Ranking<'n, 'a> {
    steps: Vec<Step<'n, 'a>>,
    group: &'n str,
}

enum Step<'n, 'a> {
    PerInstance,
    /// Tasks of the group by the attribute's value, over all candidates.
    PerValue(&'n str, BTreeMap<&'a str, u64>),
    FreeCpu,
    FreeMemory,
    Random,
}

impl<'n, 'a> Ranking<'n, 'a> {
    fn new(
        candidates: &[Candidate<'a>],
        needs: &'n Needs,
        strategies: &'n [PlacementStrategy],
    ) -> Ranking<'n, 'a> {
        let step = |strategy: &'n PlacementStrategy| match strategy {
            PlacementStrategy::Random => Step::Random,
            PlacementStrategy::Spread(SpreadField::InstanceId) => Step::PerInstance,
            PlacementStrategy::Spread(SpreadField::Attribute(name)) => {
                let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
                for place in candidates {
                    let count = place.in_group(&needs.group);
                    if count > 0 {
                        *counts.entry(place.value_of(name)).or_default() += u64::from(count);
                    }
                }
                Step::PerValue(name, counts)
            }
            PlacementStrategy::Binpack(BinpackField::Cpu) => Step::FreeCpu,
            PlacementStrategy::Binpack(BinpackField::Memory) => Step::FreeMemory,
        };
        Ranking {
            steps: strategies.iter().map(step).collect(),
            group: &needs.group,
        }
    }

    /// Into a buffer that is used again: thousands are ranked for one task.
    fn rank(&self, place: &Candidate, rank: &mut Vec<u64>) {
        rank.clear();
        let number = |step: &Step| match step {
            Step::PerInstance => u64::from(place.in_group(self.group)),
            Step::PerValue(name, counts) => counts.get(place.value_of(name)).copied().unwrap_or(0),
            Step::FreeCpu => place.free_cpu(),
            Step::FreeMemory => place.free_memory(),
            Step::Random => 0,
        };
        rank.extend(self.steps.iter().map(number));
    }
}

/// The cheap checks first: most candidates of a full cluster fail on them.
fn fits(place: &Candidate, needs: &Needs) -> bool {
    place.free_cpu() >= needs.resources.cpu_units
        && place.free_memory() >= needs.resources.memory_mib
        && refusal(place, needs).is_none()
}

/// Why a candidate cannot take the task: the first reason in the order in which ECS looks.
pub(crate) fn refusal(place: &Candidate, needs: &Needs) -> Option<Refusal> {
    availability(place, needs)
        .or_else(|| needs.unsupported.clone().map(Refusal::Unsupported))
        .or_else(|| missing_attribute(place, needs))
        .or_else(|| shortage(place, &needs.resources))
        .or_else(|| unmet_constraint(place, needs))
}

fn availability(place: &Candidate, needs: &Needs) -> Option<Refusal> {
    match place.instance.map(|instance| instance.status) {
        Some(InstanceStatus::Inactive) => return Some(Refusal::Inactive),
        Some(InstanceStatus::Draining) if !needs.even_draining => return Some(Refusal::Draining),
        _ => {}
    }
    (!place.node.connected).then_some(Refusal::AgentDisconnected)
}

fn missing_attribute(place: &Candidate, needs: &Needs) -> Option<Refusal> {
    let missing = |needed: &&Attribute| match (&needed.value, place.attribute(&needed.name)) {
        (None, found) => found.is_none(),
        // A node that does not state an attribute does not contradict it.
        (Some(value), Some(Some(found))) => found != value,
        (Some(_), _) => false,
    };
    let missing = needs.attributes.iter().find(missing)?;
    Some(Refusal::Attribute(missing.name.clone()))
}

fn shortage(place: &Candidate, need: &Resources) -> Option<Refusal> {
    let (cpu, memory) = (place.free_cpu(), place.free_memory());
    if cpu < need.cpu_units {
        return Some(Refusal::Cpu {
            need: need.cpu_units,
            free: cpu,
        });
    }
    if memory < need.memory_mib {
        return Some(Refusal::Memory {
            need: need.memory_mib,
            free: memory,
        });
    }
    let links = place.free_links();
    if links < need.links {
        return Some(Refusal::Links {
            need: need.links,
            free: links,
        });
    }
    need.ports
        .iter()
        .find(|port| !place.port_is_free(port))
        .map(|port| Refusal::Port(*port))
}

fn unmet_constraint(place: &Candidate, needs: &Needs) -> Option<Refusal> {
    needs
        .constraints
        .iter()
        .find_map(|constraint| match constraint {
            Constraint::DistinctInstance => (place.in_group(&needs.group) > 0)
                .then(|| Refusal::Constraint(String::from("distinctInstance"))),
            Constraint::MemberOf { written, query } => {
                (!query.matches(place)).then(|| Refusal::Constraint(written.clone()))
            }
        })
}

/// The most telling refusals first: those that came nearest to fitting.
pub(crate) fn sort_for_reading<T>(refused: &mut [T], refusal: impl Fn(&T) -> &Refusal) {
    // Refusals are ordered from resources, which may come free, to states, which someone must
    // change; within a kind the roomiest comes first.
    refused.sort_by_key(|item| match refusal(item) {
        Refusal::Cpu { free, .. } | Refusal::Memory { free, .. } | Refusal::Links { free, .. } => {
            (0u8, Reverse(*free))
        }
        Refusal::Port(_) => (1, Reverse(0)),
        Refusal::Constraint(_) | Refusal::Attribute(_) => (2, Reverse(0)),
        _ => (3, Reverse(0)),
    });
}
