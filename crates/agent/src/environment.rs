//! The variables of a container.

use crate::container_spec::{Source, override_of};
use std::collections::BTreeMap;
use windlass_model::task::Launch;

/// What programs take a terminal for. Source: Docker.
const TERMINAL: (&str, &str) = ("TERM", "xterm");

/// `NAME=value`: what the engine says, then [`configured`]; a name keeps its first place and its
/// last value.
pub(crate) fn environment(source: Source<'_>, hostname: &str) -> Vec<String> {
    let terminal = source.definition.pseudo_terminal == Some(true);
    let mut all = Variables::default();
    all.set("HOSTNAME", hostname);
    if terminal {
        all.set(TERMINAL.0, TERMINAL.1);
    }
    for (name, value) in source.links {
        all.set(name, value);
    }
    let configured = configured(source);
    for (name, value) in &configured {
        all.set(name, value);
    }
    all.in_order()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// Image, then definition, then overrides. What AWS's programs look for comes last, where none of
/// these has it.
pub(crate) fn configured(source: Source<'_>) -> Vec<(String, String)> {
    let overrides = override_of(source.task, source.definition)
        .and_then(|o| o.environment.as_deref())
        .unwrap_or_default();
    let own = source.definition.environment.iter().chain(overrides);
    let mut all = Variables::default();
    for (name, value) in &source.image.env {
        all.set(name, value);
    }
    for pair in own {
        all.set(&pair.name, &pair.value);
    }
    for (name, value) in aws(source, &all.values) {
        all.set(name, value);
    }
    all.in_order()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[derive(Default)]
struct Variables<'a> {
    order: Vec<&'a str>,
    values: BTreeMap<&'a str, &'a str>,
}

impl<'a> Variables<'a> {
    fn set(&mut self, name: &'a str, value: &'a str) {
        if self.values.insert(name, value).is_none() {
            self.order.push(name);
        }
    }

    fn in_order(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let value = |name| self.values.get(name).copied().unwrap_or_default();
        self.order.iter().map(move |name| (*name, value(name)))
    }
}

/// Source: ECS agent, which gives the region under both names or neither; the environment's name is
/// the control plane's.
fn aws<'a>(source: Source<'a>, given: &BTreeMap<&str, &str>) -> Vec<(&'static str, &'a str)> {
    const REGION: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
    const PLACE: &str = "AWS_EXECUTION_ENV";
    let mut added = Vec::new();
    if !REGION.iter().any(|name| given.contains_key(name)) {
        added.extend(REGION.map(|name| (name, source.region)));
    }
    let place = match source.task.launch {
        Launch::Ec2 => Some("AWS_ECS_EC2"),
        Launch::Fargate => Some("AWS_ECS_FARGATE"),
        Launch::External => None,
    };
    let place = place.filter(|_| !given.contains_key(PLACE));
    added.extend(place.map(|place| (PLACE, place)));
    added
}
