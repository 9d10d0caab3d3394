//! One scenario a test: what happens, in words, against the actions and statuses that follow.

use crate::fixture::template;
use windlass_model::definition::{NetworkMode, Template};
use windlass_model::id::Millis;
use windlass_model::stop::{ContainerReason, ReasonName};
use windlass_node::event::{Ended, Event, observe};
use windlass_node::plan::{Action, Scope, plan};
use windlass_node::report::status;
use windlass_node::view::TaskView;

/// Plays `script` and answers one line a step: the status and what was handed out. Images are
/// local, sandbox and networks are made at once, so only what a step is about is shown. Steps:
/// `up` · `ok NAME` (started) · `fail NAME` · `exit NAME CODE` · `oom NAME [CODE]` · `healthy NAME` ·
/// `sick NAME` · `wait SECONDS` · `stop` · `hurry SECONDS` · `removed` · `died`.
fn play(template: &Template, script: &str) -> String {
    let mut player = Player {
        template,
        view: TaskView::new(template),
        now: Millis(0),
        shown: String::new(),
    };
    for step in script.split(" / ") {
        player.step(step);
    }
    player.shown
}

struct Player<'a> {
    template: &'a Template,
    view: TaskView,
    now: Millis,
    shown: String,
}

impl Player<'_> {
    fn step(&mut self, step: &str) {
        let mut words = step.split_whitespace();
        let verb = words.next().unwrap();
        let name = words.next().unwrap_or_default();
        let at = self
            .template
            .containers
            .iter()
            .position(|c| c.name.as_str() == name)
            .unwrap_or_default();
        match verb {
            "up" => {}
            "ok" => {
                let run = self.view.containers[at].run + 1;
                self.tell(Event::Started {
                    container: at,
                    run,
                    at: self.now,
                });
            }
            "fail" => self.tell(Event::StartFailed {
                container: at,
                reason: ContainerReason::new(ReasonName::CannotStartContainerError, "no such file"),
                exit_code: None,
            }),
            "exit" => self.end(at, words.next().unwrap().parse().unwrap(), false),
            "oom" => self.end(
                at,
                words.next().map_or(137, |code| code.parse().unwrap()),
                true,
            ),
            "healthy" | "sick" => self.tell(Event::Probed {
                container: at,
                run: self.view.containers[at].run,
                success: verb == "healthy",
                output: String::new(),
            }),
            "wait" => self.now = self.now.plus_ms(name.parse::<i64>().unwrap() * 1_000),
            "stop" => self.tell(Event::StopWanted),
            "hurry" => self.tell(Event::StopHurried {
                within_s: name.parse().unwrap(),
            }),
            "removed" => self.tell(Event::SandboxRemoved),
            "died" => self.tell(Event::SandboxDied),
            other => panic!("unknown step {other}"),
        }
        let mut actions = Vec::new();
        self.drain(&mut actions);
        let status = status(self.template, &self.view).as_str();
        self.shown
            .push_str(&format!("{step}: {status} {}\n", actions.join(" ")));
    }

    fn tell(&mut self, event: Event) {
        observe(self.template, &mut self.view, event, self.now);
    }

    fn end(&mut self, container: usize, code: i32, oom: bool) {
        self.tell(Event::Ended(Ended {
            container,
            run: self.view.containers[container].run.max(1),
            exit_code: Some(code),
            oom: oom.then_some(windlass_model::task::OomEvidence {
                peak_bytes: 1,
                limit_bytes: 1,
            }),
            at: self.now,
            last_lines: Vec::new(),
            fault: None,
        }));
    }

    fn drain(&mut self, shown: &mut Vec<String>) {
        loop {
            let next = plan(self.template, &mut self.view, self.now).actions;
            if next.is_empty() {
                return;
            }
            for action in next {
                self.answer_or_show(action, shown);
            }
        }
    }

    fn answer_or_show(&mut self, action: Action, shown: &mut Vec<String>) {
        let name = |at: usize| self.template.containers[at].name.to_string();
        match action {
            Action::CreateSandbox => self.tell(Event::SandboxMade),
            Action::CreateNetwork(scope) => self.tell(Event::NetworkMade(scope)),
            Action::ResolveImage(container) => {
                self.tell(Event::ImageResolved {
                    container,
                    digest: None,
                    local: true,
                });
            }
            Action::PullImage(container) => shown.push(format!("pull({})", name(container))),
            Action::StartContainer(at) => shown.push(format!("start({})", name(at))),
            Action::ProbeHealth(at) => shown.push(format!("probe({})", name(at))),
            Action::StopContainer(at) => shown.push(format!("stop({})", name(at))),
            Action::KillContainer(at) => shown.push(format!("kill({})", name(at))),
            Action::RemoveSandbox => shown.push("remove".into()),
            Action::RemoveNetwork(scope) => {
                if scope == Scope::Task {
                    shown.push("detach".into());
                }
                self.tell(Event::NetworkRemoved(scope));
            }
        }
    }
}

#[track_caller]
fn check(mode: NetworkMode, definition: &str, script: &str, expected: &str) {
    let template = template(mode, definition);
    let shown = play(&template, script);
    let trim = |text: &str| -> Vec<String> {
        text.trim()
            .lines()
            .map(|line| line.trim().to_owned())
            .collect()
    };
    assert_eq!(trim(&shown), trim(expected), "\n{shown}");
}

#[test]
fn one_container_runs_and_is_stopped() {
    check(
        NetworkMode::Bridge,
        "web!",
        "up / ok web / stop / exit web 143 / removed",
        "up: PENDING start(web)
         ok web: RUNNING
         stop: STOPPING stop(web)
         exit web 143: STOPPING remove
         removed: STOPPED",
    );
}

#[test]
fn awsvpc_passes_deprovisioning() {
    check(
        NetworkMode::Awsvpc,
        "web!",
        "up / ok web / exit web 0 / removed",
        "up: PENDING start(web)
         ok web: RUNNING
         exit web 0: DEPROVISIONING remove
         removed: STOPPED detach",
    );
}

#[test]
fn an_essential_end_stops_the_rest_in_mirror_order() {
    check(
        NetworkMode::Bridge,
        "db!\nweb! after=db:START\nside",
        "up / ok db / ok side / ok web / exit side 1 / stop / exit web 0 / exit db 0",
        "up: PENDING start(db) start(side)
         ok db: PENDING start(web)
         ok side: PENDING
         ok web: RUNNING
         exit side 1: RUNNING
         stop: STOPPING stop(web)
         exit web 0: STOPPING stop(db)
         exit db 0: STOPPING remove",
    );
}

#[test]
fn success_needs_exit_code_zero() {
    let definition = "init\nweb! after=init:SUCCESS";
    check(
        NetworkMode::Host,
        definition,
        "up / ok init / exit init 0 / ok web",
        "up: PENDING start(init)
         ok init: PENDING
         exit init 0: PENDING start(web)
         ok web: RUNNING",
    );
    check(
        NetworkMode::Host,
        definition,
        "up / ok init / exit init 3 / removed",
        "up: PENDING start(init)
         ok init: PENDING
         exit init 3: STOPPING remove
         removed: STOPPED",
    );
}

#[test]
fn complete_takes_any_exit_code() {
    check(
        NetworkMode::Host,
        "init\nweb! after=init:COMPLETE",
        "up / ok init / exit init 3 / ok web",
        "up: PENDING start(init)
         ok init: PENDING
         exit init 3: PENDING start(web)
         ok web: RUNNING",
    );
}

#[test]
fn healthy_waits_for_a_probe_and_ends_by_the_dependencys_timeout() {
    let definition = "db! retries=1 start_timeout=12\nweb! after=db:HEALTHY";
    check(
        NetworkMode::Host,
        definition,
        "up / ok db / wait 5 / healthy db / ok web",
        "up: PENDING start(db)
         ok db: PENDING
         wait 5: PENDING probe(db)
         healthy db: PENDING start(web)
         ok web: RUNNING",
    );
    check(
        NetworkMode::Host,
        definition,
        "up / ok db / wait 5 / sick db / wait 5 / sick db / wait 2 / exit db 137",
        "up: PENDING start(db)
         ok db: PENDING
         wait 5: PENDING probe(db)
         sick db: PENDING
         wait 5: PENDING probe(db)
         sick db: PENDING
         wait 2: STOPPING stop(db)
         exit db 137: STOPPING remove",
    );
}

#[test]
fn a_restart_is_invisible_and_stops_at_a_short_run() {
    check(
        NetworkMode::Host,
        "web! restart=60",
        "up / ok web / wait 60 / exit web 0 / ok web / wait 59 / exit web 1",
        "up: PENDING start(web)
         ok web: RUNNING
         wait 60: RUNNING
         exit web 0: RUNNING start(web)
         ok web: RUNNING
         wait 59: RUNNING
         exit web 1: STOPPING remove",
    );
}

#[test]
fn a_hurried_stop_kills_all_at_once() {
    check(
        NetworkMode::Host,
        "db! stop_timeout=100\nweb! after=db:START stop_timeout=100",
        "up / ok db / ok web / stop / hurry 5 / wait 4 / hurry 9 / wait 1 / exit db 137 / exit web 137",
        "up: PENDING start(db)
         ok db: PENDING start(web)
         ok web: RUNNING
         stop: STOPPING stop(web)
         hurry 5: STOPPING
         wait 4: STOPPING
         hurry 9: STOPPING
         wait 1: STOPPING kill(db) kill(web)
         exit db 137: STOPPING
         exit web 137: STOPPING remove",
    );
    check(
        NetworkMode::Host,
        "web! stop_timeout=100",
        "up / ok web / stop / wait 50 / hurry 0 / wait 10 / exit web 137",
        "up: PENDING start(web)
         ok web: RUNNING
         stop: STOPPING stop(web)
         wait 50: STOPPING
         hurry 0: STOPPING kill(web)
         wait 10: STOPPING kill(web)
         exit web 137: STOPPING remove",
    );
}

#[test]
fn a_stop_that_does_nothing_is_followed_by_a_kill() {
    check(
        NetworkMode::Host,
        "web! stop_timeout=5",
        "up / ok web / stop / wait 14 / wait 1 / wait 10 / exit web 137",
        "up: PENDING start(web)
         ok web: RUNNING
         stop: STOPPING stop(web)
         wait 14: STOPPING
         wait 1: STOPPING kill(web)
         wait 10: STOPPING kill(web)
         exit web 137: STOPPING remove",
    );
}

#[test]
fn a_stop_before_the_start_is_answered_waits_for_it() {
    check(
        NetworkMode::Host,
        "web!\nlate after=web:COMPLETE",
        "up / stop / ok web / exit web 0 / removed",
        "up: PENDING start(web)
         stop: STOPPING
         ok web: STOPPING stop(web)
         exit web 0: STOPPING remove
         removed: STOPPED",
    );
}

#[test]
fn reasons_are_those_of_ecs() {
    let template = template(NetworkMode::Host, "init\nweb! after=init:SUCCESS");
    let mut player = Player {
        template: &template,
        view: TaskView::new(&template),
        now: Millis(0),
        shown: String::new(),
    };
    for step in ["up", "ok init", "exit init 1"] {
        player.step(step);
    }
    let web = &player.view.containers[1];
    assert_eq!(web.exit_code, Some(143));
    assert_eq!(
        web.reason.as_ref().unwrap().detail,
        "dependency graph: failed to resolve container ordering dependency [init] for target \
         [web] as dependency did not exit successfully."
    );
    let stop = player.view.stopping.unwrap().by_node.unwrap();
    assert_eq!(stop.code, windlass_model::stop::StopCode::TaskFailedToStart);
}

/// Memory is named where it ended the container, not where it ended a child of it; the time-out of a
/// stop where that killed.
#[test]
fn the_ways_of_an_end_are_told_apart() {
    let template = template(NetworkMode::Host, "web!");
    let memory = Some(ReasonName::OutOfMemoryError);
    for (script, reason, killed_after_s) in [
        ("oom web", memory, None),
        ("oom web 5", None, None),
        ("oom web 0", None, None),
        ("exit web 137", None, None),
        ("stop / wait 30 / exit web 137", None, Some(30)),
        ("stop / wait 29 / exit web 137", None, None),
        ("stop / wait 30 / exit web 0", None, None),
        ("stop / wait 30 / oom web", memory, None),
    ] {
        let mut player = Player {
            template: &template,
            view: TaskView::new(&template),
            now: Millis(0),
            shown: String::new(),
        };
        for step in ["up", "ok web"].into_iter().chain(script.split(" / ")) {
            player.step(step);
        }
        let web = &player.view.containers[0];
        let told = (web.reason.as_ref().map(|it| it.name), web.killed_after_s);
        assert_eq!(told, (reason, killed_after_s), "{script}");
    }
}

#[test]
fn a_circle_stops_the_task() {
    check(
        NetworkMode::Host,
        "a! after=b:START\nb after=a:START",
        "up",
        "up: STOPPED",
    );
}

#[test]
fn a_failed_start_of_one_that_is_not_essential_lets_the_rest_run() {
    check(
        NetworkMode::Host,
        "web!\nside",
        "up / fail side / ok web",
        "up: PENDING start(web) start(side)
         fail side: PENDING
         ok web: RUNNING",
    );
}
