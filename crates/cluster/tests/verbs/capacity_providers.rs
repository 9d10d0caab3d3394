//! Which capacity providers a cluster has, and what follows for its tasks.

use crate::core::{Core, seen};
use crate::nouns::{self, fargate, name, run, subnets};
use windlass_cluster::{Answer, Reject};
use windlass_model::cluster::StrategyItem;
use windlass_model::command::{Command, NewTask, PutClusterCapacityProviders, RunTask};
use windlass_model::status::{ContainerStatus, TaskStatus};
use windlass_model::task::Launch;

fn put(providers: &[&str], strategy: &[StrategyItem]) -> Command {
    Command::PutClusterCapacityProviders(PutClusterCapacityProviders {
        cluster: name("default"),
        capacity_providers: providers.iter().map(|name| (*name).to_owned()).collect(),
        default_strategy: strategy.to_vec(),
    })
}

fn item(provider: &str, weight: u32) -> StrategyItem {
    StrategyItem {
        provider: provider.to_owned(),
        weight,
        base: 0,
    }
}

/// A task that brings `strategy`.
fn app(strategy: &[StrategyItem]) -> RunTask {
    RunTask {
        strategy: strategy.to_vec(),
        task: NewTask {
            network: subnets(),
            ..nouns::new_task("default", "app")
        },
        ..run("default", "app", 1)
    }
}

fn boxed(run: RunTask) -> Command {
    Command::RunTask(Box::new(run))
}

#[test]
fn a_strategy_names_what_the_cluster_has() {
    let mut core = Core::with_nodes(3);
    core.register(fargate("app", 256, 512));
    let spot = [item("FARGATE_SPOT", 1)];
    core.ok(put(&["FARGATE"], &[]));
    assert_eq!(
        core.reject(boxed(app(&spot))),
        Reject::ProviderNotAssociated("FARGATE_SPOT".into())
    );
    // The launch type is no provider, and needs none.
    let launched = RunTask {
        launch: Some(Launch::Fargate),
        ..app(&[])
    };
    assert_eq!(core.run(launched).len(), 1);
    core.ok(put(&["FARGATE", "FARGATE_SPOT"], &spot));
    for strategy in [&spot[..], &[]] {
        let tasks = core.run(app(strategy));
        let by = tasks[0].spec.capacity_provider.as_deref();
        assert_eq!(by, Some("FARGATE_SPOT"), "{strategy:?}");
    }
}

#[test]
fn a_default_strategy_without_weight_fails_the_tasks_that_use_it() {
    let mut core = Core::with_nodes(1);
    core.register(fargate("app", 256, 512));
    core.ok(put(&["FARGATE"], &[item("FARGATE", 0)]));
    assert_eq!(core.reject(boxed(app(&[]))), Reject::StrategyWithoutWeight);
}

#[test]
fn a_provider_leaves_when_no_task_uses_it() {
    let mut core = Core::with_nodes(1);
    core.register(fargate("app", 256, 512));
    let task = core.run(app(&[item("FARGATE_SPOT", 1)]))[0].spec.id;
    assert_eq!(
        core.reject(put(&["FARGATE"], &[])),
        Reject::ProviderInUse("FARGATE_SPOT".into())
    );
    core.report(seen(task, 1, TaskStatus::Stopped, ContainerStatus::Stopped));
    match core.answer(put(&["FARGATE"], &[])) {
        Answer::Cluster(view) => assert_eq!(view.cluster.capacity_providers, ["FARGATE"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_an_active_cluster_is_given_providers() {
    let mut core = Core::empty();
    assert_eq!(
        core.reject(put(&[], &[])),
        Reject::ClusterNotFound(name("default"))
    );
}
