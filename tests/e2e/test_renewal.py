"""A machine that rebooted, a newer build over what an older one runs, and a state that is restored."""

import os
import re
import subprocess
import threading

import pytest
from cli import Cli
from windlass import (
    FOREVER,
    IMAGES,
    Installation,
    Tasks,
    busybox,
    container,
    http_get,
    http_get_soon,
    told,
    unique,
    wait_until,
)

AWSVPC = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
TICK = "n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.1; done"


# --- a reboot ------------------------------------------------------------------------------------


def test_a_reboot_ends_what_ran_and_nothing_starts_twice(own, tmp_path, host_port):
    tasks = Tasks(own)
    mount = [{"sourceVolume": "gate", "containerPath": "/gate"}]
    volumes = [{"name": "gate", "host": {"sourcePath": str(tmp_path)}}]
    started = "echo x >> /gate/starts; "
    ports = [{"containerPort": 80, "hostPort": host_port}]
    bridge = tasks.start(
        busybox(started + FOREVER, portMappings=ports, mountPoints=mount), volumes=volumes
    )
    awsvpc = tasks.start(
        busybox(started + FOREVER, mountPoints=mount),
        volumes=volumes,
        networkMode="awsvpc",
        run={"networkConfiguration": AWSVPC},
    )
    ended = tasks.start(busybox("echo last words; exit 3"))
    before = tasks.stopped(ended)
    for task in (bridge, awsvpc):
        tasks.running(task)
    wait_until(lambda: (tmp_path / "starts").read_text() == "x\n" * 2, "both have begun")
    own.reboot()
    own.start()
    for task in (bridge, awsvpc):
        record = tasks.stopped(task)
        assert record["stoppedReason"].startswith("Host restarted"), told(record)
        assert record["containers"][0]["lastStatus"] == "STOPPED"
        assert "exitCode" not in record["containers"][0], "nobody saw its end"
    # What had ended before is as it was, with its words.
    assert tasks.stopped(ended) == before
    assert own.text(ended) == "last words"
    # The port and the memory are free, and the machine works.
    again = tasks.start(
        busybox("mkdir /w; echo again > /w/index.html; exec httpd -f -p 80 -h /w", portMappings=ports)
    )
    tasks.running(again)
    assert http_get_soon(f"http://127.0.0.1:{host_port}/") == (200, "again\n")
    assert (tmp_path / "starts").read_text() == "x\n" * 2
    (instance,) = own.ecs.list_container_instances()["containerInstanceArns"]
    shown = own.ecs.describe_container_instances(containerInstances=[instance])
    assert shown["containerInstances"][0]["runningTasksCount"] == 1


def test_a_stop_before_the_reboot_keeps_its_reason(own):
    tasks = Tasks(own)
    task = tasks.start(busybox("trap '' TERM; while :; do sleep 0.1; done", stopTimeout=100))
    tasks.running(task)
    tasks.stop(task, reason="asked before")
    own.reboot()
    own.start()
    record = tasks.stopped(task)
    assert record["stoppedReason"] == "asked before", told(record)


# --- a newer build -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_a_newer_build_manages_what_an_older_one_started(own, host_port, how):
    tasks = Tasks(own)
    check = {"command": ["CMD-SHELL", "test -e /healthy"], "interval": 5, "retries": 1}
    serve = "touch /healthy; mkdir /w; echo served > /w/index.html; exec httpd -f -p 80 -h /w"
    ports = [{"containerPort": 80, "hostPort": host_port}]
    web = tasks.start(busybox(serve, portMappings=ports, healthCheck=check))
    ticking = tasks.start(
        busybox(TICK), networkMode="awsvpc", run={"networkConfiguration": AWSVPC}
    )
    before = {task: tasks.running(task) for task in (web, ticking)}
    wait_until(lambda: tasks.describe(web)["healthStatus"] == "HEALTHY", "HEALTHY")
    (serving,), (talking,) = own.marked("httpd -f"), own.marked("echo tick")
    getattr(own, how)()
    own.upgrade()
    own.start()
    assert (own.marked("httpd -f"), own.marked("echo tick")) == ({serving}, {talking})
    for task, record in before.items():
        now = tasks.running(task)
        assert now["startedAt"] == record["startedAt"]
        assert now["containers"][0]["runtimeId"] == record["containers"][0]["runtimeId"]
    assert http_get(f"http://127.0.0.1:{host_port}/") == (200, "served\n")
    count = len(own.logs(ticking))
    wait_until(lambda: len(own.logs(ticking)) > count + 3, "the ticking goes on")
    # The old shim still enters its containers for the newer agent's checks.
    os.remove(f"/proc/{serving}/root/healthy")
    wait_until(lambda: tasks.describe(web)["healthStatus"] == "UNHEALTHY", "UNHEALTHY")
    # Both builds' tasks beside one another, and the end of each.
    new = tasks.start(busybox("exit 5"))
    assert container(tasks.stopped(new), "main")["exitCode"] == 5
    for task in before:
        tasks.stop(task)
        record = tasks.stopped(task)
        assert record["stopCode"] == "UserInitiated", told(record)
        assert "exitCode" in record["containers"][0]


# --- backup and restore --------------------------------------------------------------------------


def test_a_backup_taken_while_it_runs_is_restored_elsewhere(own, own_cli, executable, tmp_path):
    cli, tasks = own_cli, Tasks(own)
    family = unique("kept")
    for _ in range(2):
        own.ecs.register_task_definition(family=family, containerDefinitions=[busybox("exit 3")])
    own.ecs.create_cluster(clusterName="empty", tags=[{"key": "team", "value": "blue"}])
    ended = tasks.run(family)
    record = tasks.stopped(ended)
    running = tasks.start(busybox(FOREVER))
    tasks.running(running)
    done = threading.Event()

    def load():
        while not done.is_set():
            own.ecs.register_task_definition(
                family=unique("load"), containerDefinitions=[busybox("exit 0")]
            )

    thread = threading.Thread(target=load)
    thread.start()
    try:
        # Nobody's own folder, where the file is made.
        folder = cli.folder / "backups"
        folder.mkdir()
        folder.chmod(0o777)
        file = folder / "monday"
        said = cli("backup", file)
        assert re.search(r"monday: \d", said.err)
        whole = subprocess.run(
            cli.command("backup", "-"), env=cli.environment(), capture_output=True
        )
    finally:
        done.set()
        thread.join()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "--force" in cli("backup", file, code=1).err
    other = Installation(executable, tmp_path / "other")
    try:
        restore = [other.executable, "restore", "--data", other.data]
        for source, words in ((b"no backup", ["-"]), (None, ["/does/not/exist"])):
            wrong = subprocess.run([*restore, *words], input=source, capture_output=True)
            assert wrong.returncode != 0 and not (other.data / "store").exists(), wrong.stderr
        subprocess.run([*restore, "-"], input=whole.stdout, check=True, capture_output=True)
        again = subprocess.run([*restore, file], capture_output=True, text=True)
        assert again.returncode != 0, "it does not write over a store"
        other.start()
        ecs = other.ecs
        definition = ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
        assert definition["revision"] == 2
        clusters = ecs.describe_clusters(clusters=["default", "empty"], include=["TAGS"])["clusters"]
        assert {c["clusterName"]: c["status"] for c in clusters} == {
            "default": "ACTIVE",
            "empty": "ACTIVE",
        }
        assert [c["tags"] for c in clusters if c["clusterName"] == "empty"] == [
            [{"key": "team", "value": "blue"}]
        ]
        (kept,) = ecs.describe_tasks(tasks=[ended])["tasks"]
        assert (kept["lastStatus"], kept["containers"][0]["exitCode"]) == ("STOPPED", 3)
        assert kept["stoppedAt"] == record["stoppedAt"]
        subject = f"task/{ended.rsplit('/', 1)[-1]}"
        assert other.history(subject) == own.history(subject)
        # This machine is a new node there, on which tasks run; what runs here is not touched.
        other.load_image(IMAGES / "busybox.tar")
        for task in [Tasks(other).run(family) for _ in range(6)]:
            assert container(Tasks(other).stopped(task), "main")["exitCode"] == 3
        connected = {row["CONNECTED"] for row in Cli(other, cli.folder)("nodes").rows()}
        assert connected == {"yes", "no"}
        assert tasks.running(running)
    finally:
        other.dispose()
    assert tasks.running(running)
