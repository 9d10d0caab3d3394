//! Any interleaving of what can happen, with crashes of the agent in between: no container is
//! started while it runs or after it stopped, shutdown is in mirror order, statuses only move
//! along the table, and every task ends with nothing left.

use crate::fixture::template;
use std::collections::BTreeMap;
use windlass_model::definition::{NetworkMode, Template};
use windlass_model::id::{Millis, TaskId};
use windlass_model::status::TaskStatus;
use windlass_model::stop::{ContainerReason, ReasonName};
use windlass_node::dependency;
use windlass_node::event::{Ended, Event, observe};
use windlass_node::plan::{Action, Scope, plan};
use windlass_node::recover::{Found, FoundContainer, FoundEnd, recover};
use windlass_node::report::{Facts, report, status};
use windlass_node::view::{Phase, TaskView};

/// Reproducible choices.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What really exists.
#[derive(Default)]
struct Machine {
    sandbox: bool,
    networks: Vec<Scope>,
    /// Run number, and its exit code once ended.
    containers: BTreeMap<usize, (u32, Option<i32>)>,
}

struct World {
    template: Template,
    view: TaskView,
    machine: Machine,
    under_way: Vec<Action>,
    now: Millis,
    dice: Dice,
    status: TaskStatus,
    starts: u32,
    /// Faults are over.
    calm: bool,
}

impl World {
    fn new(template: Template, seed: u64) -> World {
        World {
            view: TaskView::new(&template),
            template,
            machine: Machine::default(),
            under_way: Vec::new(),
            now: Millis(1_000_000),
            dice: Dice(seed),
            status: TaskStatus::Provisioning,
            starts: 0,
            calm: false,
        }
    }

    fn plan(&mut self) {
        let edges = dependency::edges(&self.template).unwrap();
        let next = plan(&self.template, &mut self.view, self.now);
        for action in next.actions {
            // A kill repeats until the end is seen.
            let repeats = matches!(action, Action::KillContainer(_));
            assert!(
                repeats || !self.under_way.contains(&action),
                "{action:?} handed out twice"
            );
            match action {
                Action::StopContainer(at) => {
                    assert!(
                        dependency::may_stop(&edges, &self.view, at),
                        "stopped before its dependents"
                    );
                }
                Action::RemoveSandbox => assert!(self.view.all_stopped()),
                Action::RemoveNetwork(_) => {
                    assert!(!self.machine.sandbox, "network before sandbox")
                }
                _ => {}
            }
            self.under_way.push(action);
        }
        let status = status(&self.template, &self.view);
        assert!(
            status == self.status || self.status.can_become(status),
            "{:?} became {status:?}",
            self.status
        );
        self.status = status;
        report(TaskId(1), &self.template, &self.view, &Facts::default());
    }

    fn tell(&mut self, event: Event) {
        observe(&self.template, &mut self.view, event, self.now);
    }

    /// Does the action on the machine; the answer is what the agent would observe.
    fn perform(&mut self, action: Action) -> Vec<Event> {
        let fails = !self.calm && self.dice.once_in(12);
        let reason = ContainerReason::new(ReasonName::InternalError, "test");
        match action {
            Action::CreateSandbox if fails => vec![Event::SandboxFailed(reason)],
            Action::CreateSandbox => {
                self.machine.sandbox = true;
                vec![Event::SandboxMade]
            }
            Action::CreateNetwork(scope) if fails => vec![Event::NetworkFailed(scope, reason)],
            Action::CreateNetwork(scope) => {
                self.machine.networks.retain(|other| *other != scope);
                self.machine.networks.push(scope);
                vec![Event::NetworkMade(scope)]
            }
            Action::ResolveImage(container) | Action::PullImage(container) if fails => {
                vec![Event::ImageFailed { container, reason }]
            }
            Action::ResolveImage(container) => {
                let local = self.dice.once_in(2);
                vec![Event::ImageResolved {
                    container,
                    digest: Some("sha256:1".into()),
                    local,
                }]
            }
            Action::PullImage(container) => vec![Event::ImagePulled {
                container,
                digest: None,
            }],
            Action::StartContainer(container) => self.start(container, fails, reason),
            Action::ProbeHealth(container) => vec![Event::Probed {
                container,
                run: self.view.containers[container].run,
                success: !self.dice.once_in(3),
                output: String::new(),
            }],
            Action::StopContainer(container) if fails => vec![Event::StopFailed { container }],
            Action::StopContainer(container) | Action::KillContainer(container) => {
                self.end(container, 137).into_iter().collect()
            }
            Action::RemoveSandbox if fails => vec![Event::SandboxNotRemoved("busy".into())],
            Action::RemoveSandbox => {
                self.machine.sandbox = false;
                self.machine.containers.clear();
                vec![Event::SandboxRemoved]
            }
            Action::RemoveNetwork(scope) if fails => {
                vec![Event::NetworkNotRemoved(scope, "busy".into())]
            }
            Action::RemoveNetwork(scope) => {
                self.machine.networks.retain(|other| *other != scope);
                vec![Event::NetworkRemoved(scope)]
            }
        }
    }

    fn start(&mut self, container: usize, fails: bool, reason: ContainerReason) -> Vec<Event> {
        assert!(self.machine.sandbox, "started without a sandbox");
        if fails {
            return vec![Event::StartFailed {
                container,
                reason,
                exit_code: None,
            }];
        }
        let run = match self.machine.containers.get(&container) {
            None => 1,
            Some((run, ended)) => {
                assert!(
                    ended.is_some(),
                    "container {container} started while it runs"
                );
                run + 1
            }
        };
        self.starts += 1;
        self.machine.containers.insert(container, (run, None));
        let started = Event::Started {
            container,
            run,
            at: self.now,
        };
        // It may end before the answer arrives.
        if self.dice.once_in(4) {
            let ended = self.end(container, 0);
            return ended.into_iter().chain([started]).collect();
        }
        vec![started]
    }

    fn end(&mut self, container: usize, code: i32) -> Option<Event> {
        let (run, ended) = self.machine.containers.get_mut(&container)?;
        if ended.is_some() {
            return None;
        }
        *ended = Some(code);
        Some(Event::Ended(Ended {
            container,
            run: *run,
            exit_code: Some(code),
            oom: None,
            at: self.now,
            last_lines: Vec::new(),
            fault: None,
        }))
    }

    fn finish_one(&mut self) {
        if self.under_way.is_empty() {
            return;
        }
        let at = self.dice.below(self.under_way.len() as u64) as usize;
        let action = self.under_way.remove(at);
        for event in self.perform(action) {
            self.tell(event);
        }
    }

    /// The agent dies; some of what was under way happened, and nobody heard of it.
    fn crash(&mut self) {
        for action in std::mem::take(&mut self.under_way) {
            if self.dice.once_in(2) {
                self.perform(action);
            }
        }
        if self.dice.once_in(3) {
            self.some_container_ends();
        }
        let found = self.found();
        recover(&self.template, &mut self.view, found, self.now);
    }

    fn found(&mut self) -> Found {
        if !self.machine.sandbox {
            return Found::Nothing;
        }
        let at = self.now;
        let containers = (0..self.template.containers.len())
            .map(|container| {
                let (run, ended) = *self.machine.containers.get(&container)?;
                let ended = ended.map(|code| FoundEnd {
                    exit_code: Some(code),
                    oom: None,
                    at,
                    last_lines: Vec::new(),
                    fault: None,
                });
                Some(FoundContainer {
                    run,
                    started_at: at,
                    stop_begun: false,
                    ended,
                })
            })
            .collect();
        Found::Alive(containers)
    }

    fn some_container_ends(&mut self) -> Option<Event> {
        let container = self.dice.below(self.template.containers.len() as u64) as usize;
        let code = i32::from(self.dice.once_in(2));
        self.end(container, code)
    }

    fn step(&mut self) {
        match self.dice.below(20) {
            0 => {
                if let Some(event) = self.some_container_ends() {
                    self.tell(event);
                }
            }
            1 if self.dice.once_in(3) => self.crash(),
            2 if self.dice.once_in(15) => self.tell(Event::StopWanted),
            3 if self.dice.once_in(20) && self.machine.sandbox => {
                self.machine.containers.clear();
                self.under_way
                    .retain(|a| !matches!(a, Action::StartContainer(_)));
                self.tell(Event::SandboxDied);
            }
            4..=6 => self.now = self.now.plus_ms(self.dice.below(40_000) as i64),
            _ => self.finish_one(),
        }
        self.plan();
    }

    /// No more faults, the stop is wanted: everything has to end.
    fn settle(&mut self) {
        self.calm = true;
        self.tell(Event::StopWanted);
        for _ in 0..400 {
            self.finish_one();
            self.now = self.now.plus_ms(5_000);
            self.plan();
        }
        assert_eq!(
            self.status,
            TaskStatus::Stopped,
            "{:#?}\n{:?}",
            self.view,
            self.under_way
        );
        assert!(
            self.view.is_removed() && !self.machine.sandbox && self.machine.networks.is_empty()
        );
        assert!(
            self.under_way.is_empty()
                || self
                    .view
                    .containers
                    .iter()
                    .all(|c| c.phase == Phase::Stopped)
        );
    }
}

#[test]
fn every_interleaving_ends_and_starts_nothing_twice() {
    let definitions = [
        "web!",
        "web!\nside\nlate after=side:COMPLETE",
        "db! retries=2\ninit after=db:HEALTHY\nweb! after=init:SUCCESS start_timeout=20",
        "a! restart=10\nb! after=a:START stop_timeout=3\nc links=b:bee",
        "slow start_timeout=5\nweb! after=slow:COMPLETE\nx after=web:START,slow:START",
    ];
    let (mut ran, mut starts) = (0, 0);
    for seed in 0..900 {
        let text = definitions[(seed % 5) as usize];
        let mode =
            [NetworkMode::Bridge, NetworkMode::Awsvpc, NetworkMode::Host][(seed % 3) as usize];
        let mut world = World::new(template(mode, text), seed);
        world.plan();
        for _ in 0..120 {
            world.step();
            ran += u32::from(world.status == TaskStatus::Running);
        }
        world.settle();
        starts += world.starts;
    }
    // The world must be kind enough to say something about running tasks.
    assert!(
        ran > 3_000 && starts > 900,
        "{ran} steps running, {starts} starts"
    );
}
