"""Client verbs while the server comes and goes, and how it is started and ended."""

import os
import re
import signal
import subprocess
import time

from cli import end_of, line_of, waits_of
from windlass import Installation, Tasks, busybox, forever, wait_until


def test_what_follows_a_task_outlives_the_server(own, own_cli):
    """`run`, `logs -f` and `wait` go on where they were when a killed server is back."""
    cli, tasks = own_cli, Tasks(own)
    script = "n=0; until [ -e /gate/go ]; do n=$((n+1)); echo tick $n; sleep 0.05; done; exit 6"
    gate = [{"sourceVolume": "gate", "containerPath": "/gate"}]
    volumes = [{"name": "gate", "host": {"sourcePath": str(cli.folder)}}]
    path, family = cli.definition(busybox(script, mountPoints=gate), volumes=volumes)
    run = cli.begin("run", path)
    line_of(run.stdout, "tick 2")
    (task,) = own.ecs.list_tasks()["taskArns"]
    logs = cli.begin("logs", "-f", task)
    assert logs.stdout.readline() == b"tick 1\n"
    wait = cli.begin("wait", task, "stopped")
    wait_until(lambda: waits_of(wait) > 60, "it looks at the task again and again")
    own.kill()
    for process in (run, logs):
        line_of(process.stderr, "the server does not answer")
    own.start()
    assert own.terminate() == 0
    own.start()
    (cli.folder / "go").touch()
    out, _ = end_of(run, 6)
    record = tasks.stopped(task)
    assert record["stopCode"] == "EssentialContainerExited"
    whole = cli("logs", task).splitlines()
    assert whole == [f"tick {n}" for n in range(1, len(whole) + 1)]
    assert out.splitlines() == whole[2:]
    assert end_of(logs, 0)[0].splitlines() == whole[1:]
    end_of(wait, 0)


def test_an_interrupt_is_for_the_task_also_without_a_server(own, own_cli):
    path, _ = own_cli.definition(busybox(forever("echo ready")))
    run = own_cli.begin("run", path)
    line_of(run.stdout, "ready")
    own.kill()
    line_of(run.stderr, "does not answer")
    run.send_signal(signal.SIGINT)
    line_of(run.stderr, "stopping")
    own.start()
    end_of(run, 0)
    (task,) = own_cli("ps", "-a", "-o", "json").json()["tasks"]
    assert task["stoppedReason"] == "Interrupted"


def test_a_server_that_moved_is_found_by_its_folder(own, own_cli):
    """By --data a client finds the address of now."""
    tasks = Tasks(own)
    task = tasks.start(busybox(forever("echo ready")))
    tasks.running(task)
    process = subprocess.Popen(
        [own.executable, "logs", "-f", task, "--data", own.data],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
    )
    assert process.stdout.readline() == b"ready\n"
    own.move()
    Tasks(own).stop(task)
    end_of(process, 0)


def test_down_within_a_time(own, own_cli):
    """What has not ended by then is killed, whatever its stopTimeout; and not another's folder."""
    tasks = Tasks(own)
    task = tasks.start(busybox("trap '' TERM; echo ready; while :; do sleep 0.1; done", stopTimeout=120))
    wait_until(lambda: own_cli("logs", task) == "ready\n", "its words")
    elsewhere = own_cli.environment(AWS_ENDPOINT_URL="http://127.0.0.1:1")
    said = own_cli("down", root=True, code=1, env=elsewhere).err
    assert "--data" in said or "nothing to stop" in said
    down = [own.executable, "down", "--data", own.data, "--timeout", "1"]
    began = time.monotonic()
    done = subprocess.run(down, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and str(own.data) in done.stderr, done.stderr
    assert time.monotonic() - began < 60, "two minutes is what the definition gives"
    own.process.wait()
    own.process = None


def test_up_detached_and_down(executable, tmp_path):
    own = Installation(executable, tmp_path)
    up = [*own.up_command(), "--detach"]
    done = subprocess.run(up, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    try:
        assert "windlass is ready" in done.stderr and own.url in done.stderr
        assert "windlass env" in done.stderr
        pid = int(re.search(r"runs on as process (\d+)", done.stderr)[1])
        assert own.ecs.list_clusters()["clusterArns"] == [own.arn("cluster/default")]
        again = subprocess.run(up, capture_output=True, text=True, timeout=60)
        assert again.returncode != 0
        assert str(pid) in again.stderr and str(own.data) in again.stderr
        assert "windlass is ready" in (own.data / "up.log").read_text(), "its log is left alone"
        down = own.down()
        assert "windlass is down" in down
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "its end")
        said = subprocess.run(
            [own.executable, "down", "--data", tmp_path / "none"], capture_output=True, text=True
        )
        assert said.returncode != 0 and "nothing to stop" in said.stderr
    finally:
        own.dispose()
