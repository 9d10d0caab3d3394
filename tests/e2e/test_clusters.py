"""Clusters: create, describe, list, delete, and the words of their refusals."""

import pytest
from windlass import unique

MEMBERS = {
    "activeServicesCount",
    "capacityProviders",
    "clusterArn",
    "clusterName",
    "defaultCapacityProviderStrategy",
    "pendingTasksCount",
    "registeredContainerInstancesCount",
    "runningTasksCount",
    "settings",
    "statistics",
    "status",
    "tags",
}


def test_a_cluster_lives_and_dies(windlass, ecs, refused):
    name = unique("life")
    tags = [{"key": "team", "value": "blue"}]
    made = ecs.create_cluster(clusterName=name, tags=tags)["cluster"]
    assert set(made) == MEMBERS
    assert made["clusterArn"] == windlass.arn(f"cluster/{name}")
    assert (made["status"], made["tags"]) == ("ACTIVE", tags)
    assert made["settings"] == [{"name": "containerInsights", "value": "disabled"}]
    # The name again is the same cluster.
    again = ecs.create_cluster(clusterName=name)["cluster"]
    assert again == made

    shown = ecs.describe_clusters(clusters=[name, made["clusterArn"]])["clusters"]
    assert [c["clusterArn"] for c in shown] == [made["clusterArn"]] * 2
    assert set(shown[0]) == MEMBERS
    assert (shown[0]["tags"], shown[0]["settings"], shown[0]["statistics"]) == ([], [], [])
    include = ["TAGS", "SETTINGS", "STATISTICS"]
    (full,) = ecs.describe_clusters(clusters=[name], include=include)["clusters"]
    assert full["tags"] == tags and full["settings"] == made["settings"]
    statistics = {s["name"]: s["value"] for s in full["statistics"]}
    assert statistics["runningEC2TasksCount"] == "0" and len(statistics) == 12

    pages = ecs.get_paginator("list_clusters").paginate()
    assert made["clusterArn"] in [arn for page in pages for arn in page["clusterArns"]]
    gone = ecs.delete_cluster(cluster=made["clusterArn"])["cluster"]
    assert gone["status"] == "INACTIVE"
    pages = ecs.get_paginator("list_clusters").paginate()
    assert made["clusterArn"] not in [arn for page in pages for arn in page["clusterArns"]]
    (inactive,) = ecs.describe_clusters(clusters=[name])["clusters"]
    assert inactive["status"] == "INACTIVE"
    inactive_text = "The referenced cluster was inactive."
    assert refused("run_task", cluster=name, taskDefinition="x") == (
        "ClusterNotFoundException",
        inactive_text,
    )
    code, _ = refused("delete_cluster", cluster=name)
    assert code == "ClusterNotFoundException"
    # A name can be used again.
    assert ecs.create_cluster(clusterName=name)["cluster"]["status"] == "ACTIVE"
    ecs.delete_cluster(cluster=name)


def test_a_cluster_that_is_used_stays(ecs, tasks, refused, windlass):
    from windlass import FOREVER, busybox

    instances = "The Cluster cannot be deleted while Container Instances are active or draining."
    assert refused("delete_cluster", cluster="default") == (
        "ClusterContainsContainerInstancesException",
        instances,
    )
    task = tasks.start(busybox(FOREVER))
    tasks.running(task)
    (shown,) = ecs.describe_clusters(include=["STATISTICS"])["clusters"]
    assert shown["clusterName"] == "default"
    assert shown["registeredContainerInstancesCount"] == 1
    assert shown["runningTasksCount"] >= 1
    statistics = {s["name"]: s["value"] for s in shown["statistics"]}
    assert int(statistics["runningEC2TasksCount"]) >= 1


def test_a_cluster_of_fargate_tasks_alone(ecs, windlass, cluster, refused):
    from windlass import FOREVER, Tasks, busybox

    tasks = Tasks(windlass, cluster)
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    task = tasks.start(
        busybox(FOREVER),
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        requiresCompatibilities=["FARGATE"],
        run={"launchType": "FARGATE", "networkConfiguration": network},
    )
    tasks.running(task)
    assert refused("delete_cluster", cluster=cluster) == (
        "ClusterContainsTasksException",
        "The Cluster cannot be deleted while Tasks are active.",
    )
    tasks.finish()


@pytest.mark.parametrize(
    "operation, members",
    [
        ("delete_cluster", {}),
        ("list_tasks", {}),
        ("describe_tasks", {"tasks": ["0" * 32]}),
        ("stop_task", {"task": "0" * 32}),
        ("run_task", {"taskDefinition": "some"}),
        ("start_task", {"taskDefinition": "some", "containerInstances": ["0" * 32]}),
        ("list_container_instances", {}),
        ("describe_container_instances", {"containerInstances": ["0" * 32]}),
    ],
)
def test_an_unknown_cluster_is_refused(refused, operation, members):
    expected = ("ClusterNotFoundException", "Cluster not found.")
    assert refused(operation, cluster="nowhere", **members) == expected


def test_wrong_names_are_refused(windlass, ecs, refused):
    for name in ("a b", "x" * 256, "ü", "a/b", "a:b"):
        assert refused("create_cluster", clusterName=name)[0] == "InvalidParameterException", name
    foreign = "arn:aws:ecs:us-east-1:999999999999:cluster/default"
    assert refused("list_tasks", cluster=foreign) == (
        "InvalidParameterException",
        "AccountIDs mismatch",
    )
    elsewhere = windlass.arn("cluster/default").replace("us-east-1", "eu-west-1")
    assert refused("list_tasks", cluster=elsewhere)[0] == "InvalidParameterException"
    missing = ecs.describe_clusters(clusters=["nowhere"])
    assert missing["clusters"] == []
    assert missing["failures"] == [{"arn": windlass.arn("cluster/nowhere"), "reason": "MISSING"}]
    many = [f"c{n}" for n in range(101)]
    assert refused("describe_clusters", clusters=many)[0] == "InvalidParameterException"


def test_settings_are_checked(ecs, refused):
    good = [{"name": "containerInsights", "value": "enhanced"}]
    name = unique("insights")
    made = ecs.create_cluster(clusterName=name, settings=good)["cluster"]
    assert made["settings"] == good
    ecs.delete_cluster(cluster=name)
    for setting in ({"name": "x", "value": "enabled"}, {"name": "containerInsights", "value": "x"}):
        code, _ = refused("create_cluster", clusterName=unique("bad"), settings=[setting])
        assert code == "InvalidParameterException"


def test_the_machine_is_a_container_instance(windlass, ecs, refused):
    (arn,) = ecs.list_container_instances()["containerInstanceArns"]
    (instance,) = ecs.describe_container_instances(containerInstances=[arn])["containerInstances"]
    assert (instance["status"], instance["agentConnected"]) == ("ACTIVE", True)
    for amounts in (instance["registeredResources"], instance["remainingResources"]):
        by_name = {amount["name"]: amount for amount in amounts}
        assert {"CPU", "MEMORY", "PORTS", "PORTS_UDP"} <= set(by_name)
        for amount in amounts:
            assert {"name", "type", "doubleValue", "longValue", "integerValue"} <= set(amount)
    registered = {a["name"]: a for a in instance["registeredResources"]}
    assert registered["CPU"]["integerValue"] % 1024 == 0
    assert "22" in registered["PORTS"]["stringSetValue"]
    attributes = {a["name"]: a.get("value") for a in instance["attributes"]}
    assert attributes["ecs.cpu-architecture"] == "x86_64"
    assert attributes["ecs.availability-zone"] == f"{windlass.region}a"
    by_id = ecs.describe_container_instances(containerInstances=[arn.rsplit("/", 1)[-1]])
    assert by_id["containerInstances"][0]["containerInstanceArn"] == arn
    missing = ecs.describe_container_instances(containerInstances=["0" * 32])
    expected = windlass.arn(f"container-instance/default/{'0' * 32}")
    assert missing["failures"] == [{"arn": expected, "reason": "MISSING"}]
    assert refused("describe_container_instances", containerInstances=[]) == (
        "ClientException",
        "Container Instances cannot be empty.",
    )
    found = ecs.list_container_instances(filter="attribute:ecs.cpu-architecture == x86_64")
    assert found["containerInstanceArns"] == [arn]
    found = ecs.list_container_instances(filter="attribute:ecs.cpu-architecture == arm64")
    assert found["containerInstanceArns"] == []
    assert ecs.list_container_instances(status="DRAINING")["containerInstanceArns"] == []
    assert refused("list_container_instances", filter="nonsense ==")[0] == (
        "InvalidParameterException"
    )
