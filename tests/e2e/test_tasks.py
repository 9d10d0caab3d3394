"""RunTask, StartTask, StopTask, DescribeTasks and ListTasks: what they accept, and their refusals."""

import socket

import pytest
from windlass import FOREVER, TARGET, Tasks, busybox, container, unique, wait_until

NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
INVALID = "InvalidParameterException"


@pytest.fixture(scope="module")
def plain(ecs):
    """A definition that ends at once."""
    family = unique("plain")
    ecs.register_task_definition(family=family, containerDefinitions=[busybox("exit 0")])
    return family


@pytest.fixture(scope="module")
def awsvpc(ecs):
    family = unique("awsvpc")
    definition = busybox("exit 0")
    ecs.register_task_definition(
        family=family, networkMode="awsvpc", containerDefinitions=[definition]
    )
    return family


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "members, code, message",
    [
        ({"taskDefinition": "nothing"}, "ClientException", "TaskDefinition not found."),
        ({"count": 0}, INVALID, "count"),
        ({"count": 11}, INVALID, "count"),
        (
            {
                "launchType": "EC2",
                "capacityProviderStrategy": [{"capacityProvider": "FARGATE"}],
            },
            INVALID,
            "Specifying both a launch type and capacity provider strategy is not supported. Remove "
            "one and try again.",
        ),
        (
            {"launchType": "FARGATE"},
            INVALID,
            "Task definition does not support launch_type FARGATE.",
        ),
        ({"launchType": "MOON"}, "ClientException", "launch type should be one of"),
        (
            {"networkConfiguration": NETWORK},
            INVALID,
            "Network Configuration is not valid for the given networkMode of this task definition.",
        ),
        ({"propagateTags": "SERVICE"}, INVALID, "propagateTags"),
        ({"startedBy": "x" * 129}, INVALID, "startedBy"),
        ({"clientToken": "x" * 65}, INVALID, "clientToken"),
        ({"tags": [{"key": "aws:x", "value": "1"}]}, INVALID, "aws:"),
        ({"tags": [{"key": f"k{n}", "value": ""} for n in range(51)]}, INVALID, "50"),
        ({"tags": [{"key": "k", "value": "x" * 257}]}, INVALID, "256"),
        (
            {"overrides": {"containerOverrides": [{"name": "other"}]}},
            INVALID,
            "Override for container named other is not a container in the TaskDefinition.",
        ),
        (
            {"overrides": {"containerOverrides": [{"name": "main", "command": ["x" * 9000]}]}},
            INVALID,
            "8192",
        ),
        ({"placementConstraints": [{"type": "memberOf", "expression": "("}]}, INVALID, ""),
        ({"placementStrategy": [{"type": "binpack", "field": "smell"}]}, INVALID, ""),
        (
            {"capacityProviderStrategy": [{"capacityProvider": "mine", "weight": 1}]},
            INVALID,
            "cannot contain a capacity provider that is not associated with the cluster.",
        ),
        ({"enableExecuteCommand": True}, INVALID, "a valid taskRoleArn is not being used."),
        (
            {"tags": [{"key": "k", "value": "1"}, {"key": "k", "value": "2"}]},
            INVALID,
            "'k' is given more than once",
        ),
        (
            {"tags": [{"key": "k", "value": "a(b)!"}]},
            INVALID,
            "Some tags contain invalid characters.",
        ),
    ],
)
def test_run_task_refuses(refused, plain, members, code, message):
    given, text = refused("run_task", **({"taskDefinition": plain} | members))
    assert (given, message in text) == (code, True), (given, text)


def test_awsvpc_needs_a_network(refused, awsvpc):
    assert refused("run_task", taskDefinition=awsvpc) == (
        INVALID,
        "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
    )
    empty = {"awsvpcConfiguration": {"subnets": []}}
    assert refused("run_task", taskDefinition=awsvpc, networkConfiguration=empty) == (
        INVALID,
        "subnets can not be empty.",
    )
    public = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"}}
    assert refused("run_task", taskDefinition=awsvpc, networkConfiguration=public) == (
        INVALID,
        "Assign public IP is not supported for this launch type.",
    )


def test_required_members(windlass):
    for operation in ("RunTask", "StartTask", "StopTask", "DescribeTasks"):
        answer = windlass.raw(f"{TARGET}.{operation}", {})
        assert answer.status == 400
        assert answer.code in (INVALID, "ClientException"), operation


@pytest.mark.parametrize(
    "operation, members, code, message",
    [
        ("describe_tasks", {"tasks": []}, INVALID, "Tasks cannot be empty."),
        ("describe_tasks", {"tasks": ["x"]}, INVALID, "taskId length should be one of [32,36]"),
        ("describe_tasks", {"tasks": ["0" * 32] * 101}, INVALID, "100"),
        ("stop_task", {"task": "x"}, INVALID, "taskId length should be one of [32,36]"),
        ("stop_task", {"task": "0" * 32}, INVALID, "The referenced task was not found."),
        (
            "stop_task",
            {"task": f"arn:aws:ecs:us-east-1:999999999999:task/default/{'0' * 32}"},
            INVALID,
            "AccountIDs mismatch",
        ),
        ("list_tasks", {"maxResults": 101}, INVALID, "maxResults"),
        ("list_tasks", {"maxResults": 0}, INVALID, "maxResults"),
        ("list_tasks", {"desiredStatus": "SLEEPING"}, INVALID, "SLEEPING"),
        ("list_tasks", {"serviceName": "web"}, "ServiceNotFoundException", "Service not found."),
        ("list_tasks", {"startedBy": "a", "family": "b"}, INVALID, "startedBy"),
        ("list_tasks", {"startedBy": "a", "launchType": "EC2"}, INVALID, "startedBy"),
        ("list_tasks", {"containerInstance": "0" * 32}, INVALID, ""),
    ],
)
def test_the_other_calls_refuse(refused, operation, members, code, message):
    given, text = refused(operation, **members)
    assert (given, message in text) == (code, True), (given, text)


def test_tasks_that_are_not_there_are_missing(windlass, ecs):
    unknown = ["0" * 32, windlass.arn(f"task/default/{'1' * 32}")]
    answer = ecs.describe_tasks(tasks=unknown)
    assert answer["tasks"] == []
    arns = [windlass.arn(f"task/default/{digit * 32}") for digit in "01"]
    assert answer["failures"] == [{"arn": arn, "reason": "MISSING"} for arn in arns]


# --- placement -----------------------------------------------------------------------------------


def test_what_does_not_fit_is_a_failure(windlass, ecs, tasks):
    (instance,) = ecs.list_container_instances()["containerInstanceArns"]
    for reason, members in {
        "RESOURCE:MEMORY": {"memory": 4 << 20},
        "RESOURCE:CPU": {"cpu": 100 * 1024},
    }.items():
        definition = tasks.register(busybox("exit 0", **members))
        answer = ecs.run_task(taskDefinition=definition)
        assert answer["tasks"] == []
        (failure,) = answer["failures"]
        assert (failure["arn"], failure["reason"]) == (instance, reason)
    definition = tasks.register(busybox("exit 0"))
    nowhere = [{"type": "memberOf", "expression": "attribute:color == blue"}]
    answer = ecs.run_task(taskDefinition=definition, placementConstraints=nowhere)
    assert "MemberOf" in answer["failures"][0]["reason"]


def test_a_host_port_is_given_once(ecs, tasks, host_port):
    ports = [{"containerPort": 80, "hostPort": host_port}]
    definition = tasks.register(busybox(FOREVER, portMappings=ports))
    answer = ecs.run_task(taskDefinition=definition, count=2)
    tasks.started += [task["taskArn"] for task in answer["tasks"]]
    assert len(answer["tasks"]) == 1
    assert [failure["reason"] for failure in answer["failures"]] == ["RESOURCE:PORTS"]
    tasks.running(answer["tasks"][0]["taskArn"])
    tasks.finish()
    # And free again once its task has stopped.
    assert ecs.run_task(taskDefinition=definition)["failures"] == []
    (again,) = ecs.list_tasks(family=definition.split(":")[0])["taskArns"]
    tasks.started.append(again)
    tasks.running(again)


def test_a_port_that_another_program_has(windlass, ecs, tasks, host_port):
    def reasons():
        ports = [{"containerPort": 80, "hostPort": host_port}]
        definition = tasks.register(busybox(FOREVER, portMappings=ports))
        answer = ecs.run_task(taskDefinition=definition)
        tasks.started += [task["taskArn"] for task in answer["tasks"]]
        return [(failure["reason"], failure["detail"]) for failure in answer["failures"]]

    with socket.socket() as taken:
        # The port may have been another test's a moment ago.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", host_port))
        taken.listen()
        wait_until(lambda: host_port in windlass.ports_in_use(), "the port to be seen in use")
        assert reasons() == [("RESOURCE:PORTS", f"host port {host_port} is in use")]
    wait_until(lambda: host_port not in windlass.ports_in_use(), "the port to be seen free")
    assert reasons() == []


def test_the_port_of_the_api_is_not_for_tasks(windlass, ecs, tasks):
    port = int(windlass.listen.rsplit(":", 1)[1])
    wait_until(lambda: port in windlass.ports_in_use(), "the API's own port to be seen in use")
    ports = [{"containerPort": 80, "hostPort": port}]
    definition = tasks.register(busybox(FOREVER, portMappings=ports))
    (failure,) = ecs.run_task(taskDefinition=definition)["failures"]
    assert failure["reason"] == "RESOURCE:PORTS"


def test_resources_are_reserved_and_given_back(ecs, tasks):
    def memory():
        (arn,) = ecs.list_container_instances()["containerInstanceArns"]
        (instance,) = ecs.describe_container_instances(containerInstances=[arn])[
            "containerInstances"
        ]
        remaining = {r["name"]: r for r in instance["remainingResources"]}
        return remaining["MEMORY"]["integerValue"]

    before = memory()
    task = tasks.start(busybox(FOREVER, memory=200))
    tasks.running(task)
    assert memory() == before - 200
    tasks.finish()
    assert memory() == before


# --- client tokens -------------------------------------------------------------------------------


def test_a_client_token_runs_once(ecs, tasks, plain, refused):
    token = unique("token")
    first = ecs.run_task(taskDefinition=plain, clientToken=token, count=2)
    again = ecs.run_task(taskDefinition=plain, clientToken=token, count=2)
    arns = [task["taskArn"] for task in first["tasks"]]
    assert [task["taskArn"] for task in again["tasks"]] == arns
    tasks.started += arns
    code, text = refused("run_task", taskDefinition=plain, clientToken=token, count=1)
    assert code == "ConflictException"
    with pytest.raises(ecs.exceptions.ConflictException) as error:
        ecs.run_task(taskDefinition=plain, clientToken=token, count=1)
    assert sorted(error.value.response["resourceIds"]) == sorted(arns)


def test_a_token_at_once_runs_once(ecs, tasks, plain):
    from concurrent.futures import ThreadPoolExecutor

    token = unique("token")

    def run(_):
        (task,) = ecs.run_task(taskDefinition=plain, clientToken=token)["tasks"]
        return task["taskArn"]

    with ThreadPoolExecutor(8) as pool:
        arns = set(pool.map(run, range(16)))
    assert len(arns) == 1
    tasks.started += arns


# --- start and stop ------------------------------------------------------------------------------


def test_start_task_names_its_instance(ecs, tasks, refused, windlass):
    definition = tasks.register(busybox(FOREVER))
    (instance,) = ecs.list_container_instances()["containerInstanceArns"]
    answer = ecs.start_task(
        taskDefinition=definition, containerInstances=[instance], startedBy="starter"
    )
    (task,) = answer["tasks"]
    tasks.started.append(task["taskArn"])
    assert (task["containerInstanceArn"], task["startedBy"]) == (instance, "starter")
    assert task["launchType"] == "EC2"
    tasks.running(task["taskArn"])
    answer = ecs.start_task(taskDefinition=definition, containerInstances=["0" * 32])
    missing = windlass.arn(f"container-instance/default/{'0' * 32}")
    assert answer["failures"] == [{"arn": missing, "reason": "MISSING"}]
    assert refused("start_task", taskDefinition=definition, containerInstances=[]) == (
        "ClientException",
        "Container Instances cannot be empty.",
    )
    many = ["0" * 32] * 11
    assert refused("start_task", taskDefinition=definition, containerInstances=many)[0] in (
        INVALID,
        "ClientException",
    )


def test_stop_task_twice_and_after_the_end(tasks):
    task = tasks.start(busybox("trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"))
    tasks.running(task)
    first = tasks.stop(task, reason="first")
    assert first["stoppedReason"] == "first"
    assert tasks.stop(task, reason="second")["stoppedReason"] == "first"
    record = tasks.stopped(task)
    assert (record["stopCode"], record["stoppedReason"]) == ("UserInitiated", "first")
    assert tasks.stop(task)["lastStatus"] == "STOPPED"


def test_the_default_reason(tasks):
    task = tasks.start(busybox(FOREVER))
    tasks.running(task)
    tasks.stop(task)
    assert tasks.stopped(task)["stoppedReason"] == "Task stopped by user"


def test_a_task_is_stopped_before_it_runs(tasks):
    task = tasks.start(busybox(FOREVER))
    tasks.stop(task)
    record = tasks.stopped(task)
    assert record["stopCode"] == "UserInitiated"


def test_ten_tasks_in_one_call(ecs, tasks):
    definition = tasks.register(busybox("exit 0", memory=8))
    answer = ecs.run_task(taskDefinition=definition, count=10)
    assert (len(answer["tasks"]), answer["failures"]) == (10, [])
    arns = [task["taskArn"] for task in answer["tasks"]]
    tasks.started += arns
    for task in arns:
        assert container(tasks.stopped(task), "main")["exitCode"] == 0


# --- lists ---------------------------------------------------------------------------------------


def test_lists_are_filtered(ecs, tasks):
    starter = unique("starter")
    family = unique("filter")
    definition = tasks.register(busybox(FOREVER), family=family)
    running = tasks.run(definition, startedBy=starter)
    ended = tasks.run(definition, startedBy=starter)
    (instance,) = ecs.list_container_instances()["containerInstanceArns"]
    tasks.running(running)
    tasks.running(ended)
    tasks.stop(ended)
    tasks.stopped(ended)

    def listed(**members):
        return ecs.list_tasks(**members)["taskArns"]

    assert listed(family=family) == [running]
    assert listed(family=family, desiredStatus="STOPPED") == [ended]
    assert listed(family=family, desiredStatus="PENDING") == []
    assert listed(startedBy=starter) == [running]
    assert listed(family=family, launchType="EC2", containerInstance=instance) == [running]
    assert listed(family=family, launchType="FARGATE") == []
    assert listed(family="nobody") == []


def test_pages(ecs, tasks, refused):
    family = unique("pages")
    definition = tasks.register(busybox("exit 0", memory=8), family=family)
    arns = [
        task["taskArn"] for task in ecs.run_task(taskDefinition=definition, count=5)["tasks"]
    ]
    tasks.started += arns
    for task in arns:
        tasks.stopped(task)
    query = {"family": family, "desiredStatus": "STOPPED"}
    first = ecs.list_tasks(maxResults=2, **query)
    assert len(first["taskArns"]) == 2
    pages = ecs.get_paginator("list_tasks").paginate(**query, PaginationConfig={"PageSize": 2})
    seen = [arn for page in pages for arn in page["taskArns"]]
    assert sorted(seen) == sorted(arns)
    token = first["nextToken"]
    invalid = (INVALID, "Invalid token.")
    for wrong in (token[:-1], "A" + token[1:] if token[0] != "A" else "B" + token[1:], "x", "é"):
        assert refused("list_tasks", nextToken=wrong, **query) == invalid, wrong
    # A token belongs to its query.
    assert refused("list_tasks", nextToken=token, desiredStatus="STOPPED") == invalid
    assert refused("list_clusters", nextToken=token) == invalid


# --- tags ----------------------------------------------------------------------------------------


def test_tags_of_a_task(windlass, ecs, tasks, refused):
    own = [{"key": "own", "value": "1"}]
    name = tasks.register(busybox(FOREVER), tags=[{"key": "from", "value": "definition"}])
    shown = ecs.describe_task_definition(taskDefinition=name, include=["TAGS"])
    assert shown["tags"] == [{"key": "from", "value": "definition"}]
    task = tasks.run(
        name, tags=own, propagateTags="TASK_DEFINITION", enableECSManagedTags=True
    )

    def tags():
        listed = ecs.list_tags_for_resource(resourceArn=task)["tags"]
        return {tag["key"]: tag["value"] for tag in listed}

    expected = {"own": "1", "from": "definition", "aws:ecs:clusterName": "default"}
    assert tags() == expected
    described = tasks.describe(task, include=["TAGS"])["tags"]
    assert {tag["key"]: tag["value"] for tag in described} == expected
    assert tasks.describe(task)["tags"] == []
    more = [{"key": "more", "value": ""}, {"key": "own", "value": "2"}]
    ecs.tag_resource(resourceArn=task, tags=more)
    assert tags() == expected | {"own": "2", "more": ""}
    ecs.untag_resource(resourceArn=task, tagKeys=["own", "never"])
    assert tags() == {"from": "definition", "more": "", "aws:ecs:clusterName": "default"}
    reserved = [{"key": "aws:mine", "value": ""}]
    assert refused("tag_resource", resourceArn=task, tags=reserved)[0] == INVALID
    tasks.running(task)
    tasks.stop(task)
    assert tasks.stopped(task) and tags() == {}


def test_tags_of_nothing(windlass, refused):
    tags = [{"key": "a", "value": "b"}]
    assert refused("tag_resource", resourceArn="nonsense", tags=tags)[0] == INVALID
    assert refused("list_tags_for_resource", resourceArn="nonsense") == (
        INVALID,
        "The ARN provided is invalid.",
    )
    nothing = windlass.arn(f"task/default/{'0' * 32}")
    assert refused("tag_resource", resourceArn=nothing, tags=tags)[0] == (
        "ResourceNotFoundException"
    )
    nowhere = windlass.arn("cluster/nowhere")
    assert refused("tag_resource", resourceArn=nowhere, tags=tags)[0] == (
        "ClusterNotFoundException"
    )


def test_tags_of_clusters_and_definitions(windlass, ecs, cluster, tasks, refused):
    definition = tasks.register(busybox())
    for arn in (windlass.arn(f"cluster/{cluster}"), windlass.arn(f"task-definition/{definition}")):
        ecs.tag_resource(resourceArn=arn, tags=[{"key": "a", "value": "b"}])
        tags = ecs.list_tags_for_resource(resourceArn=arn)["tags"]
        assert tags == [{"key": "a", "value": "b"}]
        many = [{"key": f"k{n}", "value": ""} for n in range(50)]
        code, _ = refused("tag_resource", resourceArn=arn, tags=many)
        assert code in ("LimitExceededException", INVALID)
        ecs.untag_resource(resourceArn=arn, tagKeys=["a"])
        assert ecs.list_tags_for_resource(resourceArn=arn)["tags"] == []
