"""Clusters: create, describe, list, delete, and the words of their refusals."""

import pytest
from windlass import unique, wait_until

PUT = "put_cluster_capacity_providers"
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
    assert set(shown[0]) == MEMBERS | {"attachments"}
    assert shown[0]["attachments"] == []
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
    no_tags = "The specified cluster is inactive. Specify an active cluster and try again."
    for operation, members in (
        ("list_tags_for_resource", {}),
        ("tag_resource", {"tags": tags}),
        ("untag_resource", {"tagKeys": ["team"]}),
    ):
        said = refused(operation, resourceArn=made["clusterArn"], **members)
        assert said == ("InvalidParameterException", no_tags), operation
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
        ("deregister_container_instance", {"containerInstance": "0" * 32}),
        (
            "update_container_instances_state",
            {"containerInstances": ["0" * 32], "status": "DRAINING"},
        ),
        # What else is wrong is looked at later.
        ("describe_tasks", {"tasks": ["x"]}),
        ("stop_task", {"task": "x"}),
        ("list_tasks", {"containerInstance": "x"}),
        ("describe_container_instances", {"containerInstances": ["x"]}),
        ("deregister_container_instance", {"containerInstance": "x"}),
        ("start_task", {"taskDefinition": "some", "containerInstances": ["x"]}),
    ],
)
def test_an_unknown_cluster_is_refused(refused, operation, members):
    expected = ("ClusterNotFoundException", "Cluster not found.")
    assert refused(operation, cluster="nowhere", **members) == expected


IDENTIFIER = "Invalid identifier: Identifier is for cluster {}. Your cluster is {}"


@pytest.mark.parametrize(
    "operation, members",
    [
        ("describe_tasks", {"tasks": ["TASK"]}),
        ("stop_task", {"task": "TASK"}),
        ("list_tasks", {"containerInstance": "INSTANCE"}),
        ("describe_container_instances", {"containerInstances": ["INSTANCE"]}),
        ("deregister_container_instance", {"containerInstance": "INSTANCE"}),
        (
            "update_container_instances_state",
            {"containerInstances": ["INSTANCE"], "status": "DRAINING"},
        ),
        ("start_task", {"taskDefinition": "some", "containerInstances": ["INSTANCE"]}),
    ],
)
def test_an_arn_names_its_cluster(windlass, refused, cluster, operation, members):
    """A long ARN of another cluster is no task or instance of the call's."""
    arns = {
        "TASK": windlass.arn(f"task/other/{'0' * 32}"),
        "INSTANCE": windlass.arn(f"container-instance/other/{'0' * 32}"),
    }

    def filled(value):
        return [filled(one) for one in value] if isinstance(value, list) else arns.get(value, value)

    members = {name: filled(value) for name, value in members.items()}
    code = "InvalidParameterException"
    assert refused(operation, **members) == (code, IDENTIFIER.format("other", "default"))
    of_call = IDENTIFIER.format("other", cluster)
    assert refused(operation, cluster=cluster, **members) == (code, of_call)
    gone = ("ClusterNotFoundException", "Cluster not found.")
    assert refused(operation, cluster="nowhere", **members) == gone
    blank = (code, "Cluster can not be blank.")
    assert refused(operation, cluster="", **members) == blank


@pytest.mark.parametrize("change", ["account", "region", "partition", "service"])
def test_resources_of_others_have_no_tags_here(windlass, refused, change):
    changed = {
        "account": ("999999999999", 4),
        "region": ("eu-west-1", 3),
        "partition": ("aws-cn", 1),
        "service": ("sqs", 2),
    }
    value, at = changed[change]
    for resource in ("cluster/default", f"task/default/{'0' * 32}", "task-definition/web:1"):
        parts = windlass.arn(resource).split(":", 5)
        parts[at] = value
        arn = ":".join(parts)
        for operation, members in (
            ("list_tags_for_resource", {}),
            ("tag_resource", {"tags": [{"key": "a", "value": "b"}]}),
            ("untag_resource", {"tagKeys": ["a"]}),
        ):
            code, _ = refused(operation, resourceArn=arn, **members)
            assert code == "InvalidParameterException", (operation, arn)


def test_a_cluster_that_a_tool_makes_runs_tasks(windlass, ecs, tasks, refused, cluster):
    """CreateCluster, then RunTask: what every module and test suite does."""
    from windlass import FOREVER, Tasks, busybox

    in_cluster = Tasks(windlass, cluster)
    task = in_cluster.start(busybox(FOREVER, cpu=128, memory=32))
    running = in_cluster.running(task)
    (arn,) = ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
    assert running["containerInstanceArn"] == arn and f"/{cluster}/" in arn
    (default,) = ecs.list_container_instances()["containerInstanceArns"]
    assert default != arn
    describe = ecs.describe_container_instances

    def both():
        (here,) = describe(cluster=cluster, containerInstances=[arn])["containerInstances"]
        (there,) = describe(containerInstances=[default])["containerInstances"]
        same = here["remainingResources"] == there["remainingResources"]
        return (here, there) if same else None

    # There is one machine, and what earlier tests left of it comes free.
    here, there = wait_until(both, "one set of resources for both instances")
    assert here["ec2InstanceId"] == there["ec2InstanceId"]
    assert (here["runningTasksCount"], here["status"]) == (1, "ACTIVE")
    (shown,) = ecs.describe_clusters(clusters=[cluster])["clusters"]
    assert shown["registeredContainerInstancesCount"] == 1
    (history,) = [e for e in windlass.history(f"cluster/{cluster}") if e["event"] == "joined"]
    assert history["onDemand"] is True

    # An instance can be named, drained and deregistered like any other.
    definition = running["taskDefinitionArn"]
    named = ecs.start_task(cluster=cluster, taskDefinition=definition, containerInstances=[arn])
    assert not named["failures"]
    assert refused("deregister_container_instance", cluster=cluster, containerInstance=arn) == (
        "InvalidParameterException",
        "Found running tasks on the instance.",
    )
    update = ecs.update_container_instances_state
    drained = update(cluster=cluster, containerInstances=[arn, "0" * 32], status="DRAINING")
    assert drained["containerInstances"][0]["status"] == "DRAINING"
    assert [f["reason"] for f in drained["failures"]] == ["MISSING"]
    answer = ecs.run_task(cluster=cluster, taskDefinition=definition)
    assert answer["tasks"] == [] and answer["failures"][0]["arn"] == arn
    listed = ecs.list_container_instances(cluster=cluster, status="DRAINING")
    assert listed["containerInstanceArns"] == [arn]
    update(cluster=cluster, containerInstances=[arn], status="ACTIVE")
    for given in ("INACTIVE", "x"):
        assert refused(
            "update_container_instances_state",
            cluster=cluster,
            containerInstances=[arn],
            status=given,
        ) == (
            "InvalidParameterException",
            "Container instance status should be one of [ACTIVE, DRAINING]",
        )
    gone = ecs.deregister_container_instance(cluster=cluster, containerInstance=arn, force=True)
    assert gone["containerInstance"]["status"] == "INACTIVE"
    assert in_cluster.describe(task)["lastStatus"] == "RUNNING", "its tasks run on"
    assert refused("run_task", cluster=cluster, taskDefinition=definition) == (
        "InvalidParameterException",
        "No Container Instances were found in your cluster.",
    )
    ecs.stop_task(cluster=cluster, task=named["tasks"][0]["taskArn"])
    in_cluster.stopped(named["tasks"][0]["taskArn"])
    in_cluster.finish()


def test_a_deleted_cluster_takes_its_instance_along(windlass, ecs, refused):
    from windlass import Tasks, busybox

    name = unique("short")
    for _ in range(2):
        ecs.create_cluster(clusterName=name)
        in_cluster = Tasks(windlass, name)
        in_cluster.stopped(in_cluster.start(busybox("exit 0")))
        in_cluster.finish()
        assert ecs.delete_cluster(cluster=name)["cluster"]["status"] == "INACTIVE"


def test_wrong_names_are_refused(windlass, ecs, refused):
    for name in ("", "a b", "x" * 256, "ü", "a/b", "a:b"):
        assert refused("create_cluster", clusterName=name)[0] == "InvalidParameterException", name
    foreign = "arn:aws:ecs:us-east-1:999999999999:cluster/default"
    assert refused("list_tasks", cluster=foreign) == (
        "InvalidParameterException",
        "AccountIDs mismatch",
    )
    for operation, members in (
        ("list_tasks", {"cluster": ""}),
        ("describe_clusters", {"clusters": [""]}),
        ("delete_cluster", {"cluster": ""}),
        ("list_container_instances", {"cluster": ""}),
        ("run_task", {"cluster": "", "taskDefinition": "some"}),
        ("stop_task", {"task": ""}),
        ("run_task", {"taskDefinition": ""}),
        ("list_tags_for_resource", {"resourceArn": ""}),
        ("deregister_container_instance", {"containerInstance": ""}),
    ):
        assert refused(operation, **members)[0] == "InvalidParameterException", operation
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


def test_providers_come_and_go(ecs, cluster, refused):
    family = unique("provided")
    ecs.register_task_definition(
        family=family,
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        containerDefinitions=[{"name": "main", "image": "busybox", "command": ["sleep", "600"]}],
    )
    spot = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    run = {"cluster": cluster, "taskDefinition": family, "networkConfiguration": network}
    not_associated = (
        "InvalidParameterException",
        "The specified capacity provider strategy cannot contain a capacity provider that is not "
        "associated with the cluster. Associate the capacity provider with the cluster or specify "
        "a valid capacity provider and try again.",
    )
    assert refused("run_task", capacityProviderStrategy=spot, **run) == not_associated

    def put(providers, strategy, call=ecs.put_cluster_capacity_providers):
        given = {"capacityProviders": providers, "defaultCapacityProviderStrategy": strategy}
        return call(cluster=cluster, **given)

    def put_refused(providers, strategy):
        return put(providers, strategy, lambda **given: refused(PUT, **given))

    assert put_refused(["FARGATE"], spot) == not_associated
    assert put_refused(["mine"], [])[0] == "InvalidParameterException"
    shown = put(["FARGATE", "FARGATE_SPOT"], spot)["cluster"]
    assert shown["capacityProviders"] == ["FARGATE", "FARGATE_SPOT"]
    assert shown["defaultCapacityProviderStrategy"] == [spot[0] | {"base": 0}]
    (described,) = ecs.describe_clusters(clusters=[cluster])["clusters"]
    assert described["defaultCapacityProviderStrategy"] == [spot[0] | {"base": 0}]
    (task,) = ecs.run_task(**run)["tasks"]
    assert (task["launchType"], task["capacityProviderName"]) == ("FARGATE", "FARGATE_SPOT")
    assert put_refused(["FARGATE"], []) == (
        "ResourceInUseException",
        "The specified capacity provider is in use and cannot be removed.",
    )
    ecs.stop_task(cluster=cluster, task=task["taskArn"])
    ecs.get_waiter("tasks_stopped").wait(
        cluster=cluster, tasks=[task["taskArn"]], WaiterConfig={"Delay": 1}
    )
    assert put([], [])["cluster"]["capacityProviders"] == []


def test_the_default_cluster_has_fargate(ecs):
    (shown,) = ecs.describe_clusters()["clusters"]
    assert shown["capacityProviders"] == ["FARGATE", "FARGATE_SPOT"]
