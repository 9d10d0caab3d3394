//! How fast the core decides: tasks placed, reported RUNNING and STOPPED, per second, on clusters
//! of 100 and 5000 nodes. `cargo bench -p windlass-cluster --bench decisions`

#[path = "../tests/fixture/nouns.rs"]
#[expect(dead_code, reason = "a benchmark uses little of the fixture")]
mod nouns;

use std::time::Instant;
use windlass_cluster::{Answer, State, Turn, take};
use windlass_model::command::{Command, Report, Request, RunTask};
use windlass_model::id::{BootId, Millis, NodeId, TaskId};
use windlass_model::observation::Observation;
use windlass_model::placement::{BinpackField, PlacementStrategy, SpreadField};
use windlass_model::status::TaskStatus;

fn main() {
    let spread = PlacementStrategy::Spread(SpreadField::Attribute("ecs.availability-zone".into()));
    let by_instance = PlacementStrategy::Spread(SpreadField::InstanceId);
    let binpack = PlacementStrategy::Binpack(BinpackField::Memory);
    for nodes in [100, 5_000] {
        let mut bench = Bench::new(nodes);
        let tasks = bench.place("random", Vec::new(), 20_000);
        bench.report(&tasks, TaskStatus::Running);
        bench.report(&tasks, TaskStatus::Stopped);
        bench.place(
            "spread zone, instance",
            vec![spread.clone(), by_instance.clone()],
            1_000,
        );
        bench.place("binpack memory", vec![binpack.clone()], 1_000);
    }
}

struct Bench {
    state: State,
    nodes: u128,
}

impl Bench {
    fn new(nodes: u128) -> Bench {
        let mut bench = Bench {
            state: State::new(),
            nodes,
        };
        bench.state.begin(Turn {
            now: Millis(1_700_000_000_000),
            seed: [7; 32],
        });
        bench.give(nouns::create_cluster("default"));
        bench.give(nouns::register(nouns::template("t", 1, 1)));
        for id in 0..nodes {
            // Room for all tasks, on either size of cluster.
            let mut node = nouns::node(id, 1);
            node.total.cpu_units = 65_536;
            node.total.memory_mib = 65_536;
            bench.give(Command::NodeConnected(Box::new(node)));
            bench.give(Command::AddNode {
                node: NodeId(id),
                cluster: nouns::name("default"),
            });
        }
        bench
    }

    fn give(&mut self, command: Command) -> Answer {
        let request = Request {
            caller: "arn:user/dev".into(),
            command,
        };
        take(&mut self.state, &request)
            .expect("the benchmark asks nothing wrong")
            .answer
    }

    fn place(
        &mut self,
        what: &str,
        strategies: Vec<PlacementStrategy>,
        count: usize,
    ) -> Vec<(TaskId, NodeId)> {
        let started = Instant::now();
        let mut tasks = Vec::with_capacity(count);
        while tasks.len() < count {
            let run = RunTask {
                strategies: strategies.clone(),
                ..nouns::run("default", "t", 10)
            };
            match self.give(Command::RunTask(Box::new(run))) {
                Answer::Run {
                    tasks: placed,
                    refused,
                    ..
                } if refused.is_empty() => {
                    tasks.extend(placed.iter().map(|view| (view.spec.id, view.spec.node)));
                }
                other => panic!("{other:?}"),
            }
        }
        self.show(&format!("place, {what}"), tasks.len(), started);
        tasks
    }

    fn report(&mut self, tasks: &[(TaskId, NodeId)], status: TaskStatus) {
        let started = Instant::now();
        for (task, node) in tasks {
            let observation = Observation {
                task: *task,
                sequence: status as u64,
                status,
                containers: Vec::new(),
                pull_started_at: None,
                pull_stopped_at: None,
                execution_stopped_at: None,
                attachment: None,
                stop: None,
                notes: Vec::new(),
                out_of_reach: false,
            };
            let report = Report {
                node: *node,
                boot: BootId(1),
                observation,
            };
            self.give(Command::Report(Box::new(report)));
        }
        self.show(&format!("report {}", status.as_str()), tasks.len(), started);
    }

    fn show(&self, what: &str, count: usize, started: Instant) {
        let seconds = started.elapsed().as_secs_f64();
        let rate = count as f64 / seconds;
        println!("{:>5} nodes  {what:<30} {rate:>9.0} a second", self.nodes);
    }
}
