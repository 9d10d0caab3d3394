//! What overrides make of a definition, by launch type.

use crate::core::Core;
use crate::nouns::{self, fargate, name, subnets, template};
use windlass_cluster::Reject;
use windlass_model::command::{Command, RunTask};
use windlass_model::task::{ContainerOverride, Launch, TaskOverrides};

/// CPU units, hard and soft MiB for container `main`.
fn main_with(cpu: Option<u32>, hard: Option<u32>, soft: Option<u32>) -> TaskOverrides {
    TaskOverrides {
        containers: vec![ContainerOverride {
            name: name("main"),
            command: None,
            environment: None,
            environment_files: None,
            cpu,
            memory: hard,
            memory_reservation: soft,
            resource_requirements: None,
        }],
        ..TaskOverrides::default()
    }
}

fn task_with(cpu: Option<u32>, memory: Option<u32>) -> TaskOverrides {
    TaskOverrides {
        cpu,
        memory,
        ..TaskOverrides::default()
    }
}

#[test]
fn overrides_are_held_against_what_registration_checked() {
    let mut core = Core::with_nodes(1);
    core.register(template("plain", 10, 100));
    let mut sized = template("sized", 10, 100);
    (sized.cpu, sized.memory) = (Some(256), Some(512));
    core.register(sized);
    core.register(fargate("app", 256, 512));
    let below = || Some(Reject::MemoryBelowReservation(name("main")));
    for (family, launch, overrides, reject) in [
        ("plain", None, main_with(None, Some(50), Some(49)), None),
        ("plain", None, main_with(None, Some(50), Some(50)), None),
        ("plain", None, main_with(None, Some(50), Some(51)), below()),
        ("plain", None, main_with(None, None, Some(101)), below()),
        ("plain", None, task_with(Some(300), Some(600)), None),
        (
            "plain",
            None,
            task_with(None, Some(99)),
            Some(Reject::ContainerExceedsTask(name("main"))),
        ),
        (
            "sized",
            None,
            main_with(Some(257), None, None),
            Some(Reject::CpuExceedsTask),
        ),
        (
            "sized",
            None,
            main_with(None, Some(513), None),
            Some(Reject::ContainerExceedsTask(name("main"))),
        ),
        ("app", Some(Launch::Ec2), task_with(Some(300), None), None),
        ("app", Some(Launch::Fargate), task_with(Some(512), None), {
            // 512 units go with 1024 MiB and more.
            Some(Reject::NoFargateSize {
                cpu: 512,
                memory: 512,
            })
        }),
        (
            "app",
            Some(Launch::Fargate),
            task_with(None, Some(600)),
            Some(Reject::NoFargateSize {
                cpu: 256,
                memory: 600,
            }),
        ),
        (
            "app",
            Some(Launch::Fargate),
            task_with(Some(256), Some(512)),
            None,
        ),
    ] {
        let mut run = RunTask {
            launch,
            ..nouns::run("default", family, 1)
        };
        run.task.network = subnets().filter(|_| family == "app");
        run.task.overrides = overrides.clone();
        let given = core.give(Command::RunTask(Box::new(run)));
        assert_eq!(given.err(), reject, "{family} {launch:?} {overrides:?}");
    }
}
