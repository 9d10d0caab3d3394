"""Task definitions: what is read back, what is refused and how, revisions and their ends."""

import copy

import pytest
from windlass import TARGET, busybox, unique, wait_until

CPU = (
    "Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the "
    "Amazon ECS Developer Guide."
)
TABLE = "No Fargate configuration exists for given values: "
UNSIZED = {k: v for k, v in busybox().items() if k != "memory"}


def test_a_definition_is_read_back_with_its_defaults(windlass, ecs):
    family = unique("plain")
    given = {"name": "sleep", "image": "busybox", "memory": 10, "command": ["sleep", "360"]}
    port = {"containerPort": 80}
    made = ecs.register_task_definition(
        family=family, containerDefinitions=[given | {"portMappings": [port]}]
    )["taskDefinition"]
    assert made.pop("registeredAt") is not None
    assert made == {
        "taskDefinitionArn": windlass.arn(f"task-definition/{family}:1"),
        "containerDefinitions": [
            given
            | {
                "cpu": 0,
                "essential": True,
                "environment": [],
                "mountPoints": [],
                "volumesFrom": [],
                "systemControls": [],
                "portMappings": [{"containerPort": 80, "hostPort": 0, "protocol": "tcp"}],
            }
        ],
        "family": family,
        "revision": 1,
        "volumes": [],
        "status": "ACTIVE",
        "placementConstraints": [],
        "compatibilities": ["EXTERNAL", "EC2"],
        "registeredBy": f"arn:aws:iam::{windlass.account}:user/windlass",
    }
    shown = ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
    shown.pop("registeredAt")
    assert shown == made


def test_awsvpc_and_health_checks_are_filled_in(ecs):
    check = {"command": ["CMD-SHELL", "true"]}
    made = ecs.register_task_definition(
        family=unique("filled"),
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu=".25 vCPU",
        memory="0.5 GB",
        containerDefinitions=[
            UNSIZED | {"portMappings": [{"containerPort": 80}], "healthCheck": check}
        ],
    )["taskDefinition"]
    assert (made["cpu"], made["memory"]) == ("256", "512")
    assert made["compatibilities"] == ["EC2", "FARGATE"]
    (container,) = made["containerDefinitions"]
    assert container["portMappings"] == [{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}]
    assert container["healthCheck"] == check | {"interval": 30, "timeout": 5, "retries": 3}
    assert {"name": "ecs.capability.task-eni"} in made["requiresAttributes"]


def definition(*containers, **members):
    return {"containerDefinitions": list(containers) or [busybox()]} | members


def fargate(cpu, memory, **members):
    sizes = {"cpu": cpu, "memory": memory, "networkMode": "awsvpc"}
    return definition(UNSIZED, requiresCompatibilities=["FARGATE"], **(sizes | members))


AT_LEAST_ONE = "At least one of 'memory' or 'memoryReservation' must be specified"
PORTS = (
    "When networkMode=awsvpc, the host ports and container ports in port mappings must match."
)
EXTRA_HOSTS = [{"hostname": "a", "ipAddress": "10.0.0.1"}]
CHECK = {"command": ["CMD", "true"]}
DEPENDS = [{"containerName": "other", "condition": "START"}]
BACK = [{"containerName": "main", "condition": "START"}]


@pytest.mark.parametrize(
    "given, message",
    [
        (definition(family=""), "Family can not be blank."),
        (definition(family="a b"), "Family contains invalid characters."),
        ({"containerDefinitions": []}, "Container list cannot be empty."),
        (definition(*[busybox(name=f"c{n}") for n in range(11)]), "Too many containers."),
        (definition(busybox(name="")), "Container.name should not be null or empty."),
        (definition(busybox(image="")), "Container.image should not be null or empty."),
        (definition(busybox(), busybox()), "unique"),
        (definition(busybox(essential=False)), "essential"),
        (definition(UNSIZED), AT_LEAST_ONE),
        (definition(busybox(memory=3)), "at least 4 MiB"),
        (definition(busybox(memory=64, memoryReservation=128)), "memoryReservation"),
        (definition(busybox(cpu=-1)), "cpu"),
        (definition(cpu="lots"), CPU),
        (definition(cpu="64"), CPU),
        (definition(busybox(cpu=300), cpu="256"), "The sum of all container 'cpu' values"),
        (definition(memory="many"), CPU.replace("'cpu'", "'memory'")),
        (definition(networkMode="awsvpc", cpu="256", memory="16"), "'memory'"),
        (fargate("256", "4096"), TABLE),
        (fargate("300", "512"), TABLE),
        (fargate("4096", "512"), TABLE),
        (definition(requiresCompatibilities=["FARGATE"]), "Fargate requires that 'cpu'"),
        (fargate("256", "512", networkMode="bridge"), "Fargate only supports network mode"),
        (fargate("256", "512", pidMode="host"), "do not support pidMode 'host'"),
        (definition(requiresCompatibilities=["MOON"]), "MOON"),
        (definition(networkMode="token-ring"), "token-ring"),
        (
            definition(busybox(links=["a"]), networkMode="awsvpc"),
            "Links are not supported when networkMode=awsvpc",
        ),
        (
            definition(busybox(extraHosts=EXTRA_HOSTS), networkMode="awsvpc"),
            "Extra hosts are not supported on container when networkMode=awsvpc",
        ),
        (
            definition(busybox(dnsServers=["1.1.1.1"]), networkMode="awsvpc"),
            "DNS servers are not supported on container when networkMode=awsvpc",
        ),
        (
            definition(
                busybox(portMappings=[{"containerPort": 80, "hostPort": 81}]),
                networkMode="awsvpc",
            ),
            PORTS,
        ),
        (definition(busybox(portMappings=[{"containerPort": 0}])), "containerPort"),
        (definition(busybox(portMappings=[{"containerPort": 70000}])), "containerPort"),
        (
            definition(busybox(portMappings=[{"containerPort": 1}]), networkMode="none"),
            "networkMode=none",
        ),
        (
            definition(busybox(mountPoints=[{"sourceVolume": "v", "containerPath": "/v"}])),
            "Unknown volume 'v'.",
        ),
        (definition(busybox(dependsOn=DEPENDS)), "'other'"),
        (
            definition(busybox(dependsOn=DEPENDS), busybox(name="other", dependsOn=BACK)),
            "circle",
        ),
        (
            definition(
                busybox(dependsOn=[{"containerName": "other", "condition": "HEALTHY"}]),
                busybox(name="other"),
            ),
            "must have health check configured",
        ),
        (
            definition(
                busybox(dependsOn=[{"containerName": "other", "condition": "SUCCESS"}]),
                busybox(name="other"),
            ),
            "essential",
        ),
        (definition(busybox(healthCheck=CHECK | {"interval": 4})), "interval"),
        (definition(busybox(healthCheck=CHECK | {"retries": 11})), "retries"),
        (definition(busybox(healthCheck={"command": []})), "health check"),
        (definition(volumes=[{"name": "a"}, {"name": "a"}]), "'a'"),
        (
            definition(
                busybox(ulimits=[{"name": "nofile", "softLimit": 9, "hardLimit": 8}]),
            ),
            "nofile",
        ),
        (definition(busybox(logConfiguration={"logDriver": "pigeon"})), "pigeon"),
        (definition(busybox(environment=[{"name": "A\x00B", "value": "x"}])), "NUL"),
    ],
)
def test_what_is_wrong_is_named(refused, given, message):
    code, text = refused("register_task_definition", **({"family": unique("bad")} | given))
    assert code == "ClientException", text
    assert message in text, text


def test_the_fargate_table(ecs):
    family = unique("table")
    sizes = [("256", "512"), ("512", "4096"), ("1024", "8192"), ("16384", "32768")]
    for cpu, memory in sizes:
        made = ecs.register_task_definition(family=family, **fargate(cpu, memory))
        assert made["taskDefinition"]["cpu"] == cpu


def test_a_definition_has_64_kib_at_most(windlass):
    def register(length):
        body = definition(busybox(environment=[{"name": "BIG", "value": "x" * length}]))
        return windlass.raw(
            f"{TARGET}.RegisterTaskDefinition", body | {"family": unique("big")}
        )

    answer = register(80_000)
    assert (answer.status, answer.code) == (400, "ClientException")
    assert answer.message.startswith("Actual length: '80")
    assert answer.message.endswith("Max allowed length is '65536' bytes.")
    assert register(60_000).status == 200


def test_ten_thousand_variables_are_refused_by_their_size(refused):
    environment = [{"name": f"VARIABLE_{n}", "value": "x"} for n in range(10_000)]
    code, text = refused(
        "register_task_definition", family="many", **definition(busybox(environment=environment))
    )
    assert code == "ClientException" and "Max allowed length is '65536' bytes." in text


def test_revisions_come_and_go(windlass, ecs, refused):
    family = unique("revisions")
    for revision in (1, 2, 3):
        made = ecs.register_task_definition(family=family, **definition())["taskDefinition"]
        assert made["revision"] == revision
    arns = [windlass.arn(f"task-definition/{family}:{n}") for n in (1, 2, 3)]
    listed = ecs.list_task_definitions(familyPrefix=family)["taskDefinitionArns"]
    assert listed == arns
    listed = ecs.list_task_definitions(familyPrefix=family, sort="DESC")["taskDefinitionArns"]
    assert listed == arns[::-1]
    # The whole family's name here, a prefix there.
    assert ecs.list_task_definitions(familyPrefix=family[:-1])["taskDefinitionArns"] == []
    assert family in ecs.list_task_definition_families(familyPrefix=family[:-1])["families"]

    not_described = ("ClientException", "Unable to describe task definition.")
    assert refused("describe_task_definition", taskDefinition="nothing") == not_described
    assert refused("describe_task_definition", taskDefinition=f"{family}:9") == not_described
    missing = ("ClientException", "Revision is missing.")
    assert refused("deregister_task_definition", taskDefinition=family) == missing
    assert refused("deregister_task_definition", taskDefinition=f"{family}:x") == (
        "InvalidParameterException",
        "Invalid revision number. Number: x",
    )
    active = (
        "The specified task definition is still in ACTIVE status. Please deregister the target "
        "and try again."
    )
    answer = ecs.delete_task_definitions(taskDefinitions=[arns[0]])
    assert answer["taskDefinitions"] == []
    assert answer["failures"] == [{"arn": arns[0], "reason": active}]

    gone = ecs.deregister_task_definition(taskDefinition=f"{family}:3")["taskDefinition"]
    assert gone["status"] == "INACTIVE" and "deregisteredAt" in gone
    again = ecs.deregister_task_definition(taskDefinition=arns[2])["taskDefinition"]
    assert again == gone
    latest = ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
    assert latest["revision"] == 2
    inactive = ("ClientException", "TaskDefinition is inactive")
    assert refused("run_task", taskDefinition=f"{family}:3") == inactive
    listed = ecs.list_task_definitions(familyPrefix=family, status="INACTIVE")
    assert listed["taskDefinitionArns"] == [arns[2]]
    made = ecs.register_task_definition(family=family, **definition())["taskDefinition"]
    assert made["revision"] == 4
    for revision in (1, 2, 4):
        ecs.deregister_task_definition(taskDefinition=f"{family}:{revision}")
    assert refused("describe_task_definition", taskDefinition=family) == not_described
    assert refused("run_task", taskDefinition=family)[0] == "ClientException"
    families = ecs.list_task_definition_families(familyPrefix=family, status="INACTIVE")
    assert families["families"] == [family]
    families = ecs.list_task_definition_families(familyPrefix=family, status="ACTIVE")
    assert families["families"] == []

    foreign = arns[0].replace(arns[0].split(":")[4], "999999999999")
    answer = ecs.delete_task_definitions(taskDefinitions=[*arns, f"{family}:77", "a b:1", foreign])
    assert {d["status"] for d in answer["taskDefinitions"]} == {"DELETE_IN_PROGRESS"}
    assert [d["taskDefinitionArn"] for d in answer["taskDefinitions"]] == arns
    reasons = [f["reason"] for f in answer["failures"]]
    invalid, *missing = sorted(reasons, key=lambda reason: "does not exist" in reason)
    assert "identifier is invalid" in invalid and len(missing) == 2
    assert all("does not exist" in reason for reason in missing)
    # Revision numbers are not used again.
    made = ecs.register_task_definition(family=family, **definition())["taskDefinition"]
    assert made["revision"] == 5


def test_lists_to_delete_have_bounds(refused):
    assert refused("delete_task_definitions", taskDefinitions=[]) == (
        "InvalidParameterException",
        "size of TaskDefinition references list must be greater than 0",
    )
    many = [f"a:{n}" for n in range(1, 12)]
    code, text = refused("delete_task_definitions", taskDefinitions=many)
    assert (code, "10" in text) == ("InvalidParameterException", True)


def test_a_definition_that_runs_is_kept_until_its_task_ended(ecs, tasks):
    from windlass import FOREVER

    name = tasks.register(busybox(FOREVER))
    task = tasks.run(name)
    tasks.running(task)
    ecs.deregister_task_definition(taskDefinition=name)
    ecs.delete_task_definitions(taskDefinitions=[name])
    shown = ecs.describe_task_definition(taskDefinition=name)["taskDefinition"]
    assert shown["status"] == "DELETE_IN_PROGRESS" and "deleteRequestedAt" in shown
    assert tasks.describe(task)["lastStatus"] == "RUNNING"


def test_nothing_is_lost_between_register_and_describe(ecs):
    """Members of many kinds come back as they were given."""
    given = busybox(
        "true",
        cpu=10,
        memoryReservation=16,
        essential=True,
        environment=[{"name": "B", "value": "2"}, {"name": "A", "value": "1"}],
        user="1000:1000",
        workingDirectory="/tmp",
        hostname="somebody",
        dnsServers=["10.0.0.2"],
        dnsSearchDomains=["example.test"],
        extraHosts=EXTRA_HOSTS,
        readonlyRootFilesystem=True,
        dockerLabels={"a": "b"},
        ulimits=[{"name": "nofile", "softLimit": 100, "hardLimit": 200}],
        linuxParameters={
            "initProcessEnabled": True,
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["CHOWN"]},
            "tmpfs": [{"containerPath": "/t", "size": 4, "mountOptions": ["noexec"]}],
        },
        mountPoints=[{"sourceVolume": "v", "containerPath": "/v", "readOnly": True}],
        volumesFrom=[],
        systemControls=[],
        portMappings=[{"containerPort": 53, "hostPort": 0, "protocol": "udp"}],
        logConfiguration={"logDriver": "json-file", "options": {"max-size": "1m"}},
        startTimeout=5,
    )
    before = copy.deepcopy(given)
    made = ecs.register_task_definition(
        family=unique("all"),
        containerDefinitions=[given],
        volumes=[{"name": "v", "host": {"sourcePath": "/tmp"}}],
        placementConstraints=[{"type": "memberOf", "expression": "attribute:a exists"}],
    )["taskDefinition"]
    assert made["containerDefinitions"] == [before]
    assert made["volumes"] == [{"name": "v", "host": {"sourcePath": "/tmp"}}]


def test_families_are_registered_at_once(ecs):
    from concurrent.futures import ThreadPoolExecutor

    family = unique("race")

    def register(_):
        made = ecs.register_task_definition(family=family, **definition())
        return made["taskDefinition"]["revision"]

    with ThreadPoolExecutor(8) as pool:
        revisions = list(pool.map(register, range(24)))
    assert sorted(revisions) == list(range(1, 25))
    listed = wait_until(
        lambda: ecs.list_task_definitions(familyPrefix=family)["taskDefinitionArns"], "the list"
    )
    assert len(listed) == 24


def test_ports_that_a_machine_keeps_register_and_find_no_place(ecs):
    family = unique("kept")
    for port in (22, 2375, 2376, 51678, 51679):
        mapping = {"containerPort": port, "hostPort": port}
        ecs.register_task_definition(
            family=family, networkMode="host", **definition(busybox(portMappings=[mapping]))
        )
        answer = ecs.run_task(taskDefinition=family)
        assert answer["tasks"] == []
        assert [failure["reason"] for failure in answer["failures"]] == ["RESOURCE:PORTS"], port


def test_what_ecs_keeps_is_read_back(windlass, ecs):
    linux = {"capabilities": {"add": [], "drop": ["ALL"]}}
    volume = {
        "name": "v",
        "efsVolumeConfiguration": {
            "fileSystemId": "fs-12345678",
            "transitEncryption": "DISABLED",
            "authorizationConfig": {"iam": "DISABLED"},
        },
    }
    made = ecs.register_task_definition(
        family=unique("kept"),
        taskRoleArn="app",
        executionRoleArn="arn:aws-cn:iam::111122223333:role/app",
        volumes=[volume],
        **definition(busybox(memory=64, memoryReservation=64, linuxParameters=linux)),
    )["taskDefinition"]
    assert made["taskRoleArn"] == f"arn:aws:iam::{windlass.account}:role/app"
    assert made["executionRoleArn"] == "arn:aws-cn:iam::111122223333:role/app"
    volume["efsVolumeConfiguration"]["rootDirectory"] = "/"
    assert made["volumes"] == [volume]
    (container,) = made["containerDefinitions"]
    assert container["linuxParameters"] == linux


@pytest.mark.parametrize(
    "operation, members, code",
    [
        ("list_tasks", {"family": "a b"}, "ClientException"),
        ("list_tasks", {"serviceName": "a b"}, "InvalidParameterException"),
        ("list_task_definitions", {"familyPrefix": "a b"}, "ClientException"),
        ("list_task_definition_families", {"familyPrefix": "a b"}, "ClientException"),
    ],
)
def test_a_list_of_what_has_no_such_name_is_refused(refused, operation, members, code):
    assert refused(operation, **members)[0] == code
