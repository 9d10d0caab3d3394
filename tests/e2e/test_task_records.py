"""The whole record of a task at each status, for every way to launch one: which members it has,
their types, and how they move."""

import pathlib
import re
from datetime import datetime

import pytest
from windlass import busybox, unique, wait_until

NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-a", "subnet-b"]}}
FARGATE = {"requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512"}
SPOT = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]

# What is launched: members of the definition, of RunTask, and of the record.
LAUNCHES = {
    "EC2 bridge": ({}, {"startedBy": "me"}, {"launchType": "EC2"}),
    "EC2 awsvpc": (
        {"networkMode": "awsvpc"},
        {"networkConfiguration": NETWORK, "group": "mine"},
        {"launchType": "EC2"},
    ),
    "Fargate": (
        {"networkMode": "awsvpc"} | FARGATE,
        {"networkConfiguration": NETWORK, "launchType": "FARGATE"},
        {"launchType": "FARGATE"},
    ),
    "Fargate Spot": (
        {"networkMode": "awsvpc"} | FARGATE,
        {"networkConfiguration": NETWORK, "capacityProviderStrategy": SPOT},
        {"launchType": "FARGATE", "capacityProviderName": "FARGATE_SPOT"},
    ),
}

# Waits for `/gate/open`, then runs until it is asked to stop, and takes its time for that.
FIRST = "until [ -e /gate/open ]; do sleep 0.1; done"
MAIN = "trap 'until [ -e /gate/leave ]; do sleep 0.1; done; exit 7' TERM; while :; do sleep 0.1; done"

CREATED = {
    "attachments",
    "attributes",
    "availabilityZone",
    "clusterArn",
    "containers",
    "cpu",
    "createdAt",
    "desiredStatus",
    "enableExecuteCommand",
    "group",
    "healthStatus",
    "lastStatus",
    "launchType",
    "memory",
    "overrides",
    "tags",
    "taskArn",
    "taskDefinitionArn",
    "version",
}
CONTACT = {"connectivity", "connectivityAt"}
PULLED = CONTACT | {"pullStartedAt", "pullStoppedAt"}
STARTED = {"startedAt"}
# The agent says that execution stopped when the stop is wanted, or an essential container ends.
STOPPING = {"executionStoppedAt", "stopCode", "stoppedReason", "stoppingAt"}
STOPPED = {"stoppedAt"}
CONTAINER = {
    "containerArn",
    "cpu",
    "healthStatus",
    "image",
    "lastStatus",
    "memory",
    "name",
    "networkBindings",
    "networkInterfaces",
    "taskArn",
}
TIMES = [
    "createdAt",
    "pullStartedAt",
    "pullStoppedAt",
    "startedAt",
    "stoppingAt",
    "executionStoppedAt",
    "stoppedAt",
]


class Record:
    """Checks one record against what its launch and status must show."""

    def __init__(self, windlass, launch, definition):
        self.windlass, self.launch, self.definition = windlass, launch, definition
        self.members = set()
        _, run, shown = LAUNCHES[launch]
        self.shown = shown
        self.awsvpc = launch != "EC2 bridge"
        self.fargate = launch.startswith("Fargate")
        self.always = set(CREATED) | set(shown)
        self.always |= {"startedBy"} if "startedBy" in run else set()
        if self.fargate:
            self.always |= {"platformVersion", "platformFamily", "ephemeralStorage"}
        else:
            self.always |= {"containerInstanceArn"}

    def check(self, task, status, more, optional=frozenset()):
        assert task["lastStatus"] == status
        members = set(task)
        assert members - optional == (self.always | more) - optional, (
            f"{self.launch} {status}: too many {members - self.always - more - optional}, "
            f"missing {(self.always | more) - members - optional}"
        )
        self._types(task)
        self._values(task)
        self._attachment(task)
        self._order(task)
        for container in task["containers"]:
            self._container(task, container)

    def _types(self, task):
        for name, value in task.items():
            if name.endswith("At"):
                assert isinstance(value, datetime), name
            elif name == "version":
                assert type(value) is int
            elif name == "enableExecuteCommand":
                assert value is False
            elif name in ("attachments", "attributes", "containers", "tags"):
                assert isinstance(value, list), name
            elif name in ("overrides", "ephemeralStorage"):
                assert isinstance(value, dict), name
            else:
                assert isinstance(value, str), name

    def _values(self, task):
        arn = self.windlass.arn
        task_id = task["taskArn"].rsplit("/", 1)[-1]
        assert re.fullmatch("[0-9a-f]{32}", task_id)
        family, revision = self.definition.split(":")
        wanted = {
            "taskArn": arn(f"task/default/{task_id}"),
            "clusterArn": arn("cluster/default"),
            "taskDefinitionArn": arn(f"task-definition/{self.definition}"),
            "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
            "availabilityZone": f"{self.windlass.region}a",
            "connectivity": "CONNECTED",
            "healthStatus": "UNKNOWN",
            "tags": [],
            "group": "mine" if self.launch == "EC2 awsvpc" else f"family:{family}",
            # Of the task on Fargate, else the sum of its containers.
            "cpu": "256" if self.fargate else "12",
            "memory": "512" if self.fargate else "48",
            "overrides": {
                "containerOverrides": [{"name": "first"}, {"name": "main"}],
                "inferenceAcceleratorOverrides": [],
            },
        } | self.shown
        if self.fargate:
            wanted |= {"platformVersion": "1.4.0", "platformFamily": "Linux"}
            wanted |= {"ephemeralStorage": {"sizeInGiB": 20}}
        else:
            instance = task["containerInstanceArn"]
            assert re.fullmatch(arn("container-instance/default/[0-9a-f]{32}"), instance)
        if "connectivity" not in task:
            del wanted["connectivity"]
        for name, value in wanted.items():
            assert task[name] == value, name

    def _attachment(self, task):
        if not self.awsvpc:
            assert task["attachments"] == []
            return
        (attachment,) = task["attachments"]
        assert set(attachment) == {"id", "type", "status", "details"}
        assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", attachment["id"])
        assert attachment["type"] == "ElasticNetworkInterface"
        names = [detail["name"] for detail in attachment["details"]]
        values = {detail["name"]: detail["value"] for detail in attachment["details"]}
        assert values["subnetId"] == "subnet-a"
        made = [
            "subnetId",
            "networkInterfaceId",
            "macAddress",
            "privateDnsName",
            "privateIPv4Address",
        ]
        status = task["lastStatus"]
        if status == "STOPPED":
            assert (attachment["status"], names) == ("DELETED", made)
        elif "startedAt" in task and status == "RUNNING":
            assert (attachment["status"], names) == ("ATTACHED", made)
        if "macAddress" in values:
            assert re.fullmatch("eni-[0-9a-f]{17}", values["networkInterfaceId"])
            assert re.fullmatch("([0-9a-f]{2}:){5}[0-9a-f]{2}", values["macAddress"])

    def _order(self, task):
        times = [(name, task[name]) for name in TIMES if name in task]
        assert times == sorted(times, key=lambda pair: pair[1]), times
        assert task["createdAt"] <= task.get("connectivityAt", task["createdAt"])

    def _container(self, task, container):
        status = container["lastStatus"]
        members = set(CONTAINER)
        if status != "PENDING":
            members |= {"imageDigest", "runtimeId"}
        if status == "STOPPED":
            members |= {"exitCode"}
        optional = {"imageDigest", "runtimeId"} if status == "PENDING" else set()
        # An agent may add detail to an end.
        optional |= {"reason"} if status == "STOPPED" else set()
        assert set(container) - optional == members - optional, (container["name"], status)
        name = container["name"]
        wanted = {
            "taskArn": task["taskArn"],
            "image": "busybox",
            "cpu": {"first": "2", "main": "10"}[name],
            "memory": {"first": "16", "main": "32"}[name],
            "healthStatus": "UNKNOWN",
            "networkBindings": [],
        }
        for member, value in wanted.items():
            assert container[member] == value, (name, member)
        task_id = task["taskArn"].rsplit("/", 1)[-1]
        uuid = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
        pattern = self.windlass.arn(f"container/default/{task_id}/{uuid}")
        assert re.fullmatch(pattern, container["containerArn"])
        if "imageDigest" in container:
            assert re.fullmatch("sha256:[0-9a-f]{64}", container["imageDigest"])
        for interface in container["networkInterfaces"]:
            assert self.awsvpc
            assert set(interface) == {"attachmentId", "privateIpv4Address"}
            assert interface["attachmentId"] == task["attachments"][0]["id"]
        if status == "RUNNING":
            assert len(container["networkInterfaces"]) == self.awsvpc


@pytest.mark.parametrize("launch", LAUNCHES)
def test_a_record_at_each_status(windlass, ecs, tasks, tmp_path, launch):
    definition_members, run_members, _ = LAUNCHES[launch]
    mount = [{"sourceVolume": "gate", "containerPath": "/gate"}]
    wait = [{"containerName": "first", "condition": "SUCCESS"}]
    volume = {"name": "gate"}
    if not launch.startswith("Fargate"):
        volume["host"] = {"sourcePath": str(tmp_path)}
        gate = tmp_path
    marker = unique("gate")
    definition = tasks.register(
        busybox(f": {marker}; {FIRST}", name="first", cpu=2, memory=16, essential=False, mountPoints=mount),
        busybox(f": {marker}; {MAIN}", cpu=10, mountPoints=mount, dependsOn=wait, stopTimeout=20),
        volumes=[volume],
        **definition_members,
    )
    record = Record(windlass, launch, definition)
    answer = ecs.run_task(taskDefinition=definition, **run_members)
    assert answer["failures"] == []
    (created,) = answer["tasks"]
    tasks.started.append(created["taskArn"])
    task = created["taskArn"]
    first_status = "PROVISIONING" if record.awsvpc else "PENDING"
    record.check(created, first_status, set())
    assert (created["version"], created["desiredStatus"]) == (1, "RUNNING")
    assert {c["lastStatus"] for c in created["containers"]} == {"PENDING"}

    # The first container runs, the second may not yet.
    def holding():
        seen = tasks.describe(task)
        return seen["containers"][0]["lastStatus"] == "RUNNING" and seen

    held = wait_until(holding, "the first container runs")
    record.check(held, held["lastStatus"], PULLED, {"pullStoppedAt"})
    assert held["lastStatus"] in ("PENDING", "ACTIVATING")
    assert held["version"] > created["version"]
    if launch.startswith("Fargate"):
        gate = wait_until(lambda: scratch_volume(windlass, marker), "the task's scratch volume")

    (gate / "open").touch()
    running = tasks.running(task)
    record.check(running, "RUNNING", PULLED | STARTED)
    assert [c["lastStatus"] for c in running["containers"]] == ["STOPPED", "RUNNING"]
    assert running["containers"][0]["exitCode"] == 0
    assert running["version"] > held["version"]

    asked = tasks.stop(task, reason="as the test wants it")
    assert asked["desiredStatus"] == "STOPPED"
    stopping = wait_until(
        lambda: (seen := tasks.describe(task))["lastStatus"] == "STOPPING" and seen, "STOPPING"
    )
    record.check(stopping, "STOPPING", PULLED | STARTED | STOPPING)
    assert stopping["version"] > running["version"]

    if launch.startswith("Fargate"):
        gate = scratch_volume(windlass, marker)
    (gate / "leave").touch()
    stopped = tasks.stopped(task)
    record.check(stopped, "STOPPED", PULLED | STARTED | STOPPING | STOPPED)
    assert stopped["version"] > stopping["version"]
    assert [c["exitCode"] for c in stopped["containers"]] == [0, 7]
    assert (stopped["stopCode"], stopped["stoppedReason"]) == (
        "UserInitiated",
        "as the test wants it",
    )


def scratch_volume(windlass, marker):
    """The folder behind a task's scratch volume, seen through the process with the marker."""
    for pid in windlass.marked(marker):
        gate = pathlib.Path(f"/proc/{pid}/root/gate")
        if gate.is_dir():
            return gate
    return None


def test_the_states_of_a_task_only_go_forward(windlass, tasks):
    order = [
        "PROVISIONING",
        "PENDING",
        "ACTIVATING",
        "RUNNING",
        "DEACTIVATING",
        "STOPPING",
        "DEPROVISIONING",
        "STOPPED",
    ]
    task = tasks.start(
        busybox("sleep 0.2"),
        networkMode="awsvpc",
        run={"networkConfiguration": NETWORK},
    )
    seen, versions = [], []

    def ended():
        record = tasks.describe(task)
        seen.append(order.index(record["lastStatus"]))
        versions.append(record["version"])
        return record["lastStatus"] == "STOPPED"

    wait_until(ended, "STOPPED", pause=0.005)
    assert seen == sorted(seen) and versions == sorted(versions)
    told = [e["to"] for e in windlass.history(f"task/{task.rsplit('/', 1)[-1]}") if "to" in e]
    assert "RUNNING" in told and "STOPPED" in told


def test_amounts_are_strings_and_ints_where_ecs_has_them(windlass, tasks):
    """On the wire, not as an SDK may turn them."""
    task = tasks.start(busybox("exit 0", memoryReservation=16))
    answer = windlass.raw(
        "AmazonEC2ContainerServiceV20141113.DescribeTasks", {"tasks": [task]}
    ).json()
    (record,) = answer["tasks"]
    (container,) = record["containers"]
    assert (container["cpu"], container["memory"], container["memoryReservation"]) == (
        "0",
        "32",
        "16",
    )
    assert isinstance(record["memory"], str) and isinstance(record["cpu"], str)
    assert isinstance(record["createdAt"], float) and 1e9 < record["createdAt"] < 1e10
    assert isinstance(record["version"], int)
    assert "startedBy" not in record
    # A member that has no value is left out; null is never said.
    assert "null" not in str(answer).replace("None", "null")
