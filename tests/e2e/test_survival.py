"""What outlives the end of `windlass up`, of a shim, and of the whole installation."""

import os
import signal
import threading
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from windlass import (
    FOREVER,
    SIGKILL,
    TARGET,
    Tasks,
    busybox,
    command,
    container,
    forever,
    http_get,
    told,
    unique,
    wait_until,
)

TICK = "n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.1; done"


def test_tasks_run_on_while_nobody_serves(own, tmp_path, host_port):
    """Killed while tasks run: they go on, what ended meanwhile is told true, nothing starts twice."""
    tasks = Tasks(own)
    mount = [{"sourceVolume": "gate", "containerPath": "/gate"}]
    volumes = [{"name": "gate", "host": {"sourcePath": str(tmp_path)}}]
    started = "echo x >> /gate/starts; "
    serve = "mkdir /w; echo served > /w/index.html; exec httpd -f -p 80 -h /w"
    ports = [{"containerPort": 80, "hostPort": host_port}]
    lasting = tasks.start(
        busybox(started + serve, portMappings=ports, mountPoints=mount), volumes=volumes
    )
    ending = {
        code: tasks.start(
            busybox(
                f"{started} until [ -e /gate/go ]; do sleep 0.05; done; echo done; exit {code}",
                mountPoints=mount,
            ),
            volumes=volumes,
        )
        for code in (0, 7)
    }
    ticking = tasks.start(busybox(TICK))
    before = {task: tasks.running(task) for task in (lasting, *ending.values(), ticking)}
    wait_until(lambda: _served(host_port), "the server")

    assert all(own.marked(f"exit {code}") for code in ending)
    own.kill()
    gateway = own.subnet.replace("0.0/16", "0.1")
    for address in (gateway, "127.0.0.1", "localhost"):
        assert _served(host_port, address), f"the port goes on without the server, by {address}"
    (tmp_path / "go").touch()
    wait_until(lambda: not any(own.marked(f"exit {code}") for code in ending), "both ends")
    own.start()
    for code, task in ending.items():
        record = tasks.stopped(task)
        assert record["stopCode"] == "EssentialContainerExited"
        assert container(record, "main")["exitCode"] == code, told(record)
        assert own.text(task) == "done"
    for task in (lasting, ticking):
        record = tasks.running(task)
        assert record["startedAt"] == before[task]["startedAt"]
        assert record["containers"][0]["runtimeId"] == before[task]["containers"][0]["runtimeId"]
    assert _served(host_port)
    # Its words of all times are there, without a gap.
    count = len(own.logs(ticking))
    wait_until(lambda: len(own.logs(ticking)) > count + 3, "the ticking goes on")
    ticks = [text for _, _, text in own.logs(ticking)]
    assert ticks == [f"tick {n}" for n in range(1, len(ticks) + 1)]
    assert (tmp_path / "starts").read_text() == "x\n" * 3
    # And it can still be stopped.
    tasks.stop(lasting)
    assert tasks.stopped(lasting)["stopCode"] == "UserInitiated"
    with pytest.raises(OSError):
        http_get(f"http://127.0.0.1:{host_port}/", 1)


def _served(port, host="127.0.0.1"):
    try:
        return http_get(f"http://{host}:{port}/", 2) == (200, "served\n")
    except OSError:
        return False


def test_what_was_acknowledged_is_never_lost(own, tmp_path):
    """Killed again and again under a client that runs tasks: each that was answered ran once."""
    tasks = Tasks(own)
    name = tasks.register(
        busybox(
            "echo $ME >> /gate/starts",
            memory=8,
            mountPoints=[{"sourceVolume": "gate", "containerPath": "/gate"}],
        ),
        volumes=[{"name": "gate", "host": {"sourcePath": str(tmp_path)}}],
    )
    answered, done = {}, threading.Event()

    def client():
        number = 0
        while not done.is_set():
            number += 1
            variable = [{"name": "ME", "value": str(number)}]
            override = {"containerOverrides": [{"name": "main", "environment": variable}]}
            token = unique("survivor")
            while not done.is_set():
                try:
                    answer = own.ecs.run_task(
                        taskDefinition=name, overrides=override, clientToken=token
                    )
                except (BotoCoreError, ClientError):
                    # The same token again, as every SDK does it.
                    time.sleep(0.05)
                    continue
                answered[number] = answer["tasks"][0]["taskArn"]
                break

    own.ecs  # noqa: B018  made before the thread, which only uses it
    thread = threading.Thread(target=client)
    thread.start()
    try:
        for _ in range(4):
            count = len(answered)
            wait_until(lambda: len(answered) > count + 2, "the client is answered")
            own.kill()
            own.start()
        count = len(answered)
        wait_until(lambda: len(answered) > count + 2, "the client is answered")
    finally:
        done.set()
        thread.join()
    assert len(set(answered.values())) == len(answered)
    for number, task in answered.items():
        record = tasks.stopped(task)
        assert container(record, "main").get("exitCode") == 0, (number, told(record))
    starts = sorted(map(int, (tmp_path / "starts").read_text().split()))
    assert starts == sorted(answered), "each ran once, and no other"


def test_a_stop_that_was_acknowledged_is_carried_out(own):
    tasks = Tasks(own)
    slow = "trap 'sleep 1; exit 21' TERM; echo ready; while :; do sleep 0.1; done"
    task = tasks.start(busybox(slow, stopTimeout=10))
    wait_until(lambda: own.text(task) == "ready", "it listens")
    tasks.stop(task, reason="asked before the crash")
    own.kill()
    own.start()
    record = tasks.stopped(task)
    assert record["stoppedReason"] == "asked before the crash"
    assert container(record, "main")["exitCode"] == 21, told(record)


def test_page_tokens_and_client_tokens_survive(own):
    ecs = own.ecs
    family = unique("tokens")
    for _ in range(3):
        ecs.register_task_definition(family=family, containerDefinitions=[busybox("exit 0")])
    first = ecs.list_task_definitions(familyPrefix=family, maxResults=2)
    token = unique("token")
    (task,) = ecs.run_task(taskDefinition=family, clientToken=token)["tasks"]
    own.kill()
    own.start()
    rest = ecs.list_task_definitions(familyPrefix=family, nextToken=first["nextToken"])
    assert [arn[-1] for arn in first["taskDefinitionArns"] + rest["taskDefinitionArns"]] == [
        "1",
        "2",
        "3",
    ]
    (again,) = ecs.run_task(taskDefinition=family, clientToken=token)["tasks"]
    assert again["taskArn"] == task["taskArn"]


def test_a_killed_shim_ends_its_task_and_leaves_nothing(own):
    tasks = Tasks(own)
    marker = unique("marker")
    task = tasks.start(busybox(forever(f": {marker}")))
    tasks.running(task)
    (process, *_) = own.marked(marker)
    shim = _shim_of(process, own)
    os.kill(shim, SIGKILL)
    record = tasks.stopped(task)
    assert record["stopCode"] in ("EssentialContainerExited", "TaskFailedToStart"), told(record)
    reason = container(record, "main").get("reason", "")
    assert reason, "it says what happened"
    wait_until(lambda: not own.marked(marker), "its processes are gone")


def _shim_of(process, own):
    """The ancestor of a container's process that runs the executable as a shim."""
    while process > 1:
        text = open(f"/proc/{process}/stat").read()
        if str(own.executable) in command(process) or " shim" in f" {command(process)}":
            return process
        process = int(text.rsplit(")", 1)[1].split()[1])
    raise AssertionError("no shim above the container's process")


def test_sigterm_says_what_goes_on(own):
    tasks = Tasks(own)
    task = tasks.start(busybox(TICK))
    tasks.running(task)
    assert own.terminate() == 0
    assert "1 task keeps running" in own.log()
    assert not (own.data / "endpoint").exists()
    own.start()
    assert tasks.running(task)["lastStatus"] == "RUNNING"


def test_a_second_up_is_refused(own):
    code, words = own.up_again()
    assert code != 0
    assert str(own.process.pid) in words and str(own.data) in words
    # The first is not disturbed.
    assert own.ecs.list_tasks()["taskArns"] == []


def test_down_leaves_nothing_but_the_data(own):
    tasks = Tasks(own)
    stubborn = "trap '' TERM; while :; do sleep 0.1; done"
    arns = [
        tasks.start(busybox(FOREVER)),
        tasks.start(busybox(stubborn)),
        tasks.start(
            busybox(FOREVER),
            networkMode="awsvpc",
            run={"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}},
        ),
    ]
    for task in arns:
        tasks.running(task)
    assert own.leftovers()
    own.down()
    assert wait_until(lambda: not own.leftovers() or None, "nothing is left", 5)
    own.start()
    for task in arns:
        record = tasks.describe(task)
        assert record["lastStatus"] == "STOPPED"
        assert "shut down" in record["stoppedReason"]


def test_down_without_a_server(own):
    tasks = Tasks(own)
    task = tasks.start(busybox(FOREVER))
    tasks.running(task)
    own.kill()
    own.down()
    assert own.leftovers() == []
    own.start()
    assert tasks.describe(task)["lastStatus"] == "STOPPED"


@pytest.mark.parametrize("begun", [0, 1, 4, 8])
def test_killed_in_the_midst_of_many_starts(own, begun):
    """Tasks that were on their way when it was killed run or end, and nothing hangs."""
    tasks = Tasks(own)
    name = tasks.register(busybox("sleep 0.3; exit 5", memory=8))
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    other = tasks.register(busybox("sleep 0.3; exit 5", memory=8), networkMode="awsvpc")
    arns = [t["taskArn"] for t in own.ecs.run_task(taskDefinition=name, count=6)["tasks"]]
    answer = own.ecs.run_task(taskDefinition=other, count=6, networkConfiguration=network)
    arns += [task["taskArn"] for task in answer["tasks"]]
    wait_until(lambda: _begun(own, arns) >= begun, f"{begun} tasks have begun", pause=0)
    own.kill()
    own.start()
    for task in arns:
        record = tasks.stopped(task)
        assert container(record, "main").get("exitCode") == 5, told(record)


def _begun(own, arns):
    early = ("PROVISIONING", "PENDING")
    records = own.ecs.describe_tasks(tasks=arns)["tasks"]
    return sum(record["lastStatus"] not in early for record in records)


def test_interrupt_is_a_tidy_end(own):
    own.process.send_signal(signal.SIGINT)
    assert own.process.wait(timeout=20) == 0
    own.process = None
    own.start()


def test_a_machine_without_rights_is_told(own_cli):
    """Started by a user who is not root: one line with its mend, and nothing that follows from it."""
    for verb in (["up"], ["up", "--detach"], ["down"]):
        said = own_cli(*verb, "--data", "/forbidden", code=1)
        (line,) = said.err.splitlines()
        assert "not root" in line and "sudo" in line and "/forbidden" not in line


def test_every_operation_works_after_a_restart(own):
    own.kill()
    own.start()
    answer = own.raw(f"{TARGET}.DescribeClusters", {})
    assert answer.json()["clusters"][0]["registeredContainerInstancesCount"] == 1
