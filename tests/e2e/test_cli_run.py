"""`windlass run` and `register`, as a user without rights calls them."""

import json
import re
import signal
import socket
import subprocess

from cli import end_of, line_of, terminal
from windlass import FOREVER, busybox, forever, unique, wait_until


def test_run_shows_the_output_and_passes_the_code_on(cli):
    path, family = cli.definition(busybox("echo to out; echo to err >&2; exit 7"))
    said = cli("run", path, code=7)
    assert said == "to out\n"
    assert said.err.splitlines() == [f"registered {family}:1", "to err"]
    # A family, without a revision; and the definition as `describe-task-definition` prints it.
    assert cli("run", family, code=7) == "to out\n"
    _, described, _ = cli.installation.aws(
        "ecs", "describe-task-definition", "--task-definition", family
    )
    said = cli("run", "-", code=7, input=described)
    assert said == "to out\n" and f"registered {family}:2" in said.err


def test_run_several(cli):
    path, _ = cli.definition(busybox("echo hello", memory=8))
    said = cli("run", path, "--count", 12, timeout=80)
    lines = said.splitlines()
    assert len(lines) == 12
    ids = {line.split(" | ")[0] for line in lines}
    assert len(ids) == 12 and all(re.fullmatch("[0-9a-f]{8}", task) for task in ids)
    assert {line.split(" | ")[1] for line in lines} == {"hello"}


def test_run_detached(cli):
    path, family = cli.definition(busybox("exit 0", memory=8))
    ids = cli("run", path, "--detach", "--count", 11).split()
    assert len(set(ids)) == 11
    answer = cli("run", family, "-d", "--output", "json").json()
    (task,) = answer["tasks"]
    assert answer["failures"] == [] and task["createdAt"].endswith("Z")
    for task in ids:
        cli("wait", task, "stopped")


def test_run_with_other_words(cli):
    """Every way to override: variables, command, and what RunTask itself takes."""
    variables = [{"name": "ONE", "value": "1"}, {"name": "TWO", "value": "2"}]
    main = busybox("echo $ONE-$TWO", environment=variables)
    _, family = cli.definition(main, busybox("exit 0", name="side", essential=False, memory=8))
    cli("register", f"{family}.json")
    assert cli("run", family, "--env", "TWO=x") == "main | 1-x\n"
    assert cli("run", family, "--", "echo", "words", "-n") == "main | words -n\n"
    assert cli("run", family, "--command", "echo", "--dash") == "main | --dash\n"
    override = {"containerOverrides": [{"name": "side", "command": ["echo", "from", "side"]}]}
    said = cli("run", family, "--override", json.dumps(override), "--env", "ONE=y")
    assert sorted(said.splitlines()) == ["main | y-2", "side | from side"]
    path = cli.file("override.json", override)
    said = cli("run", family, "--overrides", f"file://{path}", "--name", "side", "-e", "A=1")
    assert sorted(said.splitlines()) == ["main | 1-2", "side | from side"]
    said = cli("run", family, "--override", '{"cpus": 1}', code=64)
    assert "no member cpus" in said.err
    said = cli("run", family, "--name", "nothing", code=64)
    assert "main, side" in said.err


def test_interrupt_stops_the_task_and_a_second_one_kills_it(cli, tasks):
    path, family = cli.definition(busybox("echo ready; trap 'exit 9' TERM; while :; do sleep 0.05; done"))
    process = cli.begin("run", path)
    line_of(process.stdout, "ready")
    process.send_signal(signal.SIGINT)
    _, err = end_of(process, 9)
    assert "stopping; Ctrl-C again kills" in err
    (stopped,) = [t for t in cli("ps", "-a", "-o", "json").json()["tasks"] if family in t["group"]]
    assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "Interrupted")

    script = "echo ready; trap '' TERM; until [ -e /gate/go ]; do sleep 0.05; done"
    gate = [{"sourceVolume": "gate", "containerPath": "/gate"}]
    volumes = [{"name": "gate", "host": {"sourcePath": str(cli.folder)}}]
    stubborn = busybox(script, mountPoints=gate, stopTimeout=100)
    path, family = cli.definition(stubborn, volumes=volumes)
    process = cli.begin("run", path)
    line_of(process.stdout, "ready")
    process.send_signal(signal.SIGINT)
    line_of(process.stderr, "again kills")
    (left,) = [t for t in cli("ps", "-a", "-o", "json").json()["tasks"] if family in t["group"]]
    wait_until(lambda: tasks.describe(left["taskArn"])["desiredStatus"] == "STOPPED", "the stop")
    process.send_signal(signal.SIGINT)
    _, err = end_of(process, 137)
    assert "killing" in err
    assert tasks.describe(left["taskArn"])["lastStatus"] == "STOPPED"


def test_closing_the_terminal_stops_the_task(cli, tasks):
    path, family = cli.definition(busybox(forever("echo ready"), memory=8))
    with terminal(cli.command("run", path), cli.environment()) as screen:
        wait_until(lambda: "ready" in screen(), "its words")
        (task,) = cli("ps", "-q", "--filter", f"family={family}").split()
        screen.close()
        assert tasks.stopped(task)["stoppedReason"] == "Interrupted"
    # Under nohup it goes on.
    process = subprocess.Popen(
        ["nohup", *cli.command("run", family)], env=cli.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, cwd=cli.folder,
    )
    line_of(process.stdout, "ready")
    process.send_signal(signal.SIGHUP)
    cli("wait", family, "running")
    process.send_signal(signal.SIGINT)
    end_of(process, 0)


def test_variables_from_a_file(cli):
    path, _ = cli.definition(busybox("echo $ONE-$TWO-$HERE", memory=8))
    file = cli.file("vars.env", "# kept apart\nONE=1\nTWO=2\nHERE\nNOT_HERE\n")
    said = cli("run", path, "--env-file", file, "-e", "TWO=x", env=cli.environment(HERE="y"))
    assert said == "1-x-y\n"
    bad = cli.file("bad.env", "ONE=1\nexport TWO=2\n")
    assert "line 2" in cli("run", path, "--env-file", bad, code=64).err
    assert cli("run", path, "--env-file", "nothing.env", code=3).err
    assert "pseudoTerminal" in cli("run", "-it", path, code=64).err


def test_what_cannot_be_placed(cli):
    path, family = cli.definition(busybox("exit 0", memory=8_000_000))
    cli("register", path)
    for words in (["--detach"], []):
        said = cli("run", family, "--count", 3, *words, code=2)
        assert said == "" and "3 of 3 tasks could not be placed: RESOURCE:MEMORY" in said.err
        assert "windlass nodes" in said.err
    # Some find a place, over more than one call: those are told, and the rest is counted.
    node = cli("nodes", "-o", "json").json()["nodes"][0]
    each = node["remaining"]["memory"] // 12
    path, family = cli.definition(busybox(FOREVER, memory=each))
    cli("register", path)
    said = cli("run", family, "--count", 25, "--detach", code=2)
    started = said.split()
    assert 10 < len(started) < 25
    assert f"{25 - len(started)} of 25 tasks could not be placed" in said.err
    assert f"the other {len(started)} run" in said.err
    cli("stop", *started)
    for task in started:
        cli("wait", task, "stopped")


def test_who_has_a_port_is_named(cli, tasks, host_port):
    ports = [{"containerPort": 80, "hostPort": host_port}]
    path, family = cli.definition(busybox(FOREVER, memory=8, portMappings=ports))
    with socket.create_server(("127.0.0.1", host_port)):
        wait_until(lambda: host_port in cli.installation.ports_in_use(), "the port to be seen")
        assert f"a program on the machine has port {host_port}" in cli("run", path, "-d", code=2).err
    wait_until(lambda: host_port not in cli.installation.ports_in_use(), "the port to be free")
    (task,) = cli("run", family, "-d").split()
    cli("wait", task, "running")
    said = cli("run", family, code=2).err
    assert f"task {task[:8]} ({family}:1) has port {host_port}" in said
    cli("stop", task)
    cli("wait", task)


def test_a_task_that_does_not_start(cli):
    path, _ = cli.definition(busybox(command=["/no/such/program"]))
    said = cli("run", path, code=127)
    assert "CannotStartContainerError" in said.err and "windlass why" in said.err
    path, _ = cli.definition(busybox("exit 0", image=f"localhost:1/{unique('none')}"))
    said = cli("run", path, code=125)
    assert "CannotPullContainerError" in said.err


def test_register(cli):
    path, family = cli.definition(busybox("exit 0"), containerDefinition=[])
    for verb in ("register", "run"):
        said = cli(verb, path, code=64)
        assert "no member containerDefinition, did you mean containerDefinitions?" in said.err
        assert "--lenient" in said.err and said == ""
    said = cli("register", path, "--lenient")
    assert said == f"{family}:1\n"
    assert "ECS knows no member containerDefinition" in said.err
    answer = cli("register", path, "--lenient", "--output", "json").json()
    assert answer["taskDefinition"]["revision"] == 2
    client = cli.installation.ecs
    described = client.describe_task_definition(taskDefinition=family, include=["TAGS"])
    again = json.dumps(described, default=str)
    assert cli("register", "-", input=again) == f"{family}:3\n"
    alone = json.dumps(described["taskDefinition"], default=str)
    assert cli("register", "-", input=alone) == f"{family}:4\n"
    yaml = f"family: {family}\ncontainerDefinitions:\n- {{name: a, image: busybox, memory: 8}}\n"
    assert cli("register", cli.file("web.yaml", yaml)) == f"{family}:5\n"
    listed = cli.file("list.json", [busybox("exit 0")])
    assert "a list of containers" in cli("register", listed, code=64).err
    assert "no task definition" in cli("register", cli.file("bad.json", "{"), code=64).err
    assert "nothing.json" in cli("register", "nothing.json", code=3).err
    empty = cli.file("empty.json", {"family": "x y", "containerDefinitions": []})
    assert cli("register", empty, code=1).err
