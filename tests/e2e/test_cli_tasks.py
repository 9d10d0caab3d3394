"""The verbs that show and stop what runs, as a user without rights calls them."""

import json
import re
import signal

from cli import terminal
from windlass import FOREVER, busybox, forever, unique, wait_until


def test_ps(cli, web, host_port):
    rows = {row["TASK"]: row for row in cli("ps").rows()}
    row = rows[web[:8]]
    assert row["STATUS"] == "RUNNING" and row["HEALTH"] == "HEALTHY" and row["LAUNCH"] == "EC2"
    assert row["ADDRESSES"] == f"0.0.0.0:{host_port}->80" and row["CLUSTER"] == "default"
    assert re.fullmatch(r"\d+s", row["AGE"]) and (row["EXIT"], row["REASON"]) == ("-", "-")
    shown = {task["taskArn"][-32:]: task for task in cli("ps", "-o", "json").json()["tasks"]}
    assert shown[web]["lastStatus"] == "RUNNING"
    # What is printed names one task each.
    for row in cli("ps", "-a").rows():
        assert cli("describe", row["TASK"]).startswith("task ")
    assert cli("ps", "--cluster", "nowhere", code=3).err


def test_ps_lists_what_still_runs(cli, tasks):
    """A task that is stopping runs: `ps` shows it, and `-q` and filters find it."""
    script = "trap '' TERM; echo ready; until [ -e /gate/go ]; do sleep 0.05; done"
    gate = [{"sourceVolume": "gate", "containerPath": "/gate"}]
    volumes = [{"name": "gate", "host": {"sourcePath": str(cli.folder)}}]
    family = unique("stubborn")
    stubborn = busybox(script, mountPoints=gate, stopTimeout=100, memory=8)
    task = tasks.start(stubborn, family=family, volumes=volumes)
    wait_until(lambda: "ready" in cli("logs", task), "its words")
    id = task.rsplit("/", 1)[-1]
    cli("stop", family)
    wait_until(lambda: cli("ps", "-q", "--filter", "status=stopping").split() == [id], "STOPPING")
    (row,) = [row for row in cli("ps").rows() if row["TASK"] == id[:8]]
    assert row["STATUS"] == "STOPPING"
    (cli.folder / "go").touch()
    tasks.stopped(task)
    assert cli("ps", "-q", "--filter", f"family={family}") == ""
    assert cli("ps", "-aq", "--filter", f"family={family}", "--filter", "exit=0").split() == [id]
    assert cli("ps", "-q", "--filter", f"name={family}", "--filter", "status=STOPPED").split() == [id]
    assert "cluster, container" in cli("ps", "--filter", "colour=red", code=64).err
    assert "RUNNING" in cli("ps", "--filter", "status=UP", code=64).err


def test_ps_is_watched(cli, tasks):
    """Into a pipe the list comes again when something changed; a terminal is drawn anew."""
    family = unique("watched")
    words = ["ps", "--watch", "-a", "--filter", f"family={family}"]
    process = cli.begin(*words, "-o", "json")
    assert json.loads(process.stdout.readline()) == {"tasks": []}
    task = tasks.start(busybox(FOREVER, memory=8), family=family)

    def states():
        while line := process.stdout.readline():
            yield [(it["taskArn"], it["lastStatus"]) for it in json.loads(line)["tasks"]]

    assert next(state for state in states() if state == [(task, "RUNNING")])
    tasks.stop(task)
    assert next(state for state in states() if state == [(task, "STOPPED")])
    process.send_signal(signal.SIGINT)
    process.communicate()
    with terminal(cli.command(*words), cli.environment(), columns=60) as screen:
        wait_until(lambda: "STOPPED" in screen(), "the list")
        assert max(len(line) for line in screen().splitlines()) <= 60 and "…" in screen()


def test_names_work_where_one_task_has_them(cli, tasks):
    family = unique("named")
    name = tasks.register(busybox(forever("echo hello"), memory=8), family=family)
    one = tasks.run(name)
    tasks.running(one)
    wait_until(lambda: cli("logs", family) == "hello\n", "its words")
    assert cli("logs", name) == "hello\n"
    for verb in ("describe", "history", "why"):
        assert cli(verb, family) == cli(verb, one)
    assert cli("describe", name).startswith("definition ")
    two = tasks.run(name)
    for verb in ("logs", "stop", "describe", "history", "why", "wait"):
        said = cli(verb, family, code=64).err
        assert f"2 tasks are called {family}" in said, said
        assert one[-32:][:8] in said and two[-32:][:8] in said
    assert cli("describe", f"definition/{family}").startswith("definition ")
    cli("stop", one)
    cli("wait", one)
    cli("wait", two, "running")
    assert cli("stop", family, "-o", "json").json()["tasks"][0]["taskArn"] == two
    cli("wait", one, two)
    assert cli("describe", family).startswith("definition ")
    said = cli("logs", unique("nobody"), code=3).err
    assert "windlass ps -a" in said


def test_ls(cli, cluster, tasks):
    (row,) = [row for row in cli("ls", "clusters").rows() if row["CLUSTER"] == cluster]
    assert row == {
        "CLUSTER": cluster, "STATUS": "ACTIVE", "INSTANCES": "0", "RUNNING": "0", "PENDING": "0"
    }
    assert cluster in [it["clusterName"] for it in cli("ls", "clusters", "-o", "json").json()["clusters"]]
    family = unique("listed")
    for _ in range(2):
        tasks.register(busybox("exit 0", memory=8), family=family)
    newest = [row for row in cli("ls", "definitions").rows() if row["DEFINITION"].startswith(family)]
    assert [row["DEFINITION"] for row in newest] == [f"{family}:2"]
    assert (newest[0]["MEMORY"], newest[0]["CONTAINERS"], newest[0]["IMAGES"]) == ("8", "main", "busybox")
    names = [row["DEFINITION"] for row in cli("ls", "definitions", family).rows()]
    assert names == [f"{family}:1", f"{family}:2"]
    assert cli("ls", "definitions", family, "--status", "inactive", code=3).err
    assert "clusters" in cli("ls", code=64).err


def test_ps_shows_how_the_others_ended(cli, tasks):
    hungry = "exec awk 'BEGIN { s = \"0123456789abcdef\"; while (1) s = s s }'"
    task = tasks.start(busybox(hungry, memory=16))
    tasks.stopped(task)
    short = task.rsplit("/", 1)[-1][:8]
    assert short not in cli("ps")
    (row,) = [row for row in cli("ps", "--all").rows() if row["TASK"] == short]
    assert (row["STATUS"], row["EXIT"]) == ("STOPPED", "137")
    assert "Essential container in task exited" in row["REASON"]
    assert "OutOfMemoryError" in row["REASON"]


def test_stop_and_wait(cli, tasks):
    one, two = (tasks.start(busybox(FOREVER, memory=8)) for _ in range(2))
    cli("wait", one, "running")
    said = cli("stop", one, "f" * 32, two, "--reason", "enough", code=3)
    assert len(said.rows()) == 2 and {row["WANTED"] for row in said.rows()} == {"STOPPED"}
    assert "No task's id begins with" in said.err
    cli("wait", one, "stopped")
    answer = cli("stop", two, "-o", "json").json()
    assert answer["tasks"][0]["desiredStatus"] == "STOPPED"
    cli("wait", two, "stopped", "--timeout", 30)
    said = cli("wait", two, "running", code=1)
    assert "enough" in said.err and "windlass why" in said.err
    (row,) = [row for row in cli("ps", "-a").rows() if row["TASK"] == one.rsplit("/")[-1][:8]]
    assert row["REASON"].startswith("enough")


def test_stop_within_a_time(cli, tasks):
    """Sooner than stopTimeout: at once, after some seconds, and for one that is stopping already."""
    stubborn = busybox("trap '' TERM; echo ready; while :; do sleep 0.1; done", memory=8, stopTimeout=120)
    after = busybox(
        "trap '' TERM; echo ready; while :; do sleep 0.1; done", name="after", memory=8,
        stopTimeout=120, dependsOn=[{"containerName": "main", "condition": "START"}],
    )
    name = tasks.register(stubborn, after)
    for words in (["--force"], ["--timeout", 1]):
        task = tasks.run(name)
        wait_until(lambda: cli("logs", task).count("ready") == 2, "its words")
        cli("stop", task, *words)
        record = tasks.stopped(task)
        assert [container["exitCode"] for container in record["containers"]] == [137, 137]
    task = tasks.run(name)
    wait_until(lambda: cli("logs", task).count("ready") == 2, "its words")
    cli("stop", task, "--reason", "first")
    cli("stop", task, "--force", "--reason", "second")
    assert tasks.stopped(task)["stoppedReason"] == "first"
    assert cli("stop", task, "--force", "--timeout", 1, code=64).err


def test_wait_has_a_time(cli, tasks):
    task = tasks.start(busybox(FOREVER, memory=8))
    said = cli("wait", task, "stopped", "--timeout", 1, code=2)
    assert "after 1 seconds" in said.err


def test_describe(cli, web, windlass):
    said = cli("describe", web)
    assert re.search(r"^isolation +\S", said, re.M) and re.search(r"^container +web$", said, re.M)
    task = cli("describe", f"task/{web[:8]}", "-o", "json").json()["task"]
    assert task["taskArn"].endswith(web)
    definition = task["taskDefinitionArn"]
    name = definition.rsplit("/", 1)[-1]
    family = name.split(":")[0]
    assert cli("describe", family, "-o", "json").json()["task"] == task
    for given in (definition, name, f"definition/{name}", f"definition/{family}"):
        answer = cli("describe", given, "-o", "json").json()
        assert answer["taskDefinition"]["taskDefinitionArn"] == definition
    assert cli("describe", "cluster/default", "-o", "json").json()["cluster"]["status"] == "ACTIVE"
    node = cli("nodes", "-o", "json").json()["nodes"][0]
    assert cli("describe", f"node/{node['id'][:8]}", "-o", "json").json()["node"]["id"] == node["id"]
    arn = node["containerInstances"][0]["containerInstanceArn"]
    for given in (arn, f"instance/{arn[-32:][:8]}"):
        answer = cli("describe", given, "-o", "json").json()
        assert answer["containerInstance"]["containerInstanceArn"] == arn
    for nothing in ("nothing", "task/" + "0" * 32, "cluster/nowhere", "no:1", "node/nothing"):
        assert cli("describe", nothing, code=3).err


def test_history(cli, web):
    rows = cli("history", web[:8]).rows()
    events = [row["EVENT"] for row in rows]
    assert events[0].startswith("created by") and "PENDING -> RUNNING" in " ".join(events)
    answer = cli("history", f"task/{web}", "-o", "json").json()
    assert answer["subject"] == f"task/{web}" and answer["entries"][0]["event"] == "created"
    task = cli("describe", web, "-o", "json").json()["task"]
    name = task["taskDefinitionArn"].rsplit("/", 1)[-1]
    family = name.split(":")[0]
    node = cli("nodes", "-o", "json").json()["nodes"][0]
    instance = node["containerInstances"][0]["containerInstanceArn"]
    for given, subject in [
        (task["taskArn"], f"task/{web}"),
        (family, f"task/{web}"),
        (name, f"definition/{name}"),
        (f"definition/{family}", f"definition/{name}"),
        (task["clusterArn"], "cluster/default"),
        ("cluster/default", "cluster/default"),
        (f"node/{node['id'][:6]}", f"node/{node['id']}"),
        (instance, f"instance/{instance[-32:]}"),
    ]:
        assert cli("history", given, "-o", "json").json()["subject"] == subject
    for nothing in ("0" * 32, "nothing", "cluster/nowhere", "definition/no:1", "node/00", "task/zz"):
        assert cli("history", nothing, code=3).err, nothing


def test_why(cli, tasks):
    task = tasks.start(busybox("echo the last words; exit 3"))
    tasks.stopped(task)
    said = cli("why", task)
    assert "3" in said.splitlines()[0] and "the last words" in said
    answer = cli("why", task.rsplit("/", 1)[-1][:8], "-o", "json").json()
    assert answer["summary"] == said.splitlines()[0] and answer["evidence"]
    assert cli("why", "0" * 32, code=3).err


def test_names_that_mean_nothing_or_several(cli, tasks):
    # Of seventeen, two begin with the same digit.
    name = tasks.register(busybox("exit 0", memory=8))
    for _ in range(17):
        tasks.run(name)
    ids = sorted(t["taskArn"][-32:] for t in cli("ps", "-a", "-o", "json").json()["tasks"])
    shared = next(a[0] for a, b in zip(ids, ids[1:]) if a[0] == b[0])
    for verb in (["logs"], ["stop"], ["why"], ["describe"], ["history"], ["wait"]):
        last = ["stopped"] if verb == ["wait"] else []
        said = cli(*verb, shared, *last, code=64)
        assert "give more digits" in said.err, verb
        assert cli(*verb, "0" * 32, *last, code=3).err
