"""The client verbs, each as a user without rights calls it: tables, JSON, exit codes, wrong input."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile

import pytest
from cli import NOBODY, Cli
from windlass import (
    FOREVER,
    IMAGES,
    ROOT,
    Installation,
    Lease,
    Tasks,
    busybox,
    http_get_soon,
    port_is_free,
    unique,
    wait_until,
)

AWSVPC = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}


def end_of(process, code, seconds=40):
    """What a process that was begun has said since, once it has ended with `code`."""
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == code, (process.returncode, out, err)
    return out.decode(), err.decode()


def waits_of(process):
    """How often the process has waited for something."""
    status = open(f"/proc/{process.pid}/status").read()
    return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status, re.M)[1])


def line_of(stream, word):
    """The next line that has the word; what comes before is left out."""
    while line := stream.readline().decode():
        if word in line:
            return line
    raise AssertionError(f"no line with {word!r}")


# --- run, register -------------------------------------------------------------------------------


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


def test_interrupt_stops_the_task_and_a_second_one_leaves_it(cli, tasks):
    path, family = cli.definition(busybox("echo ready; trap 'exit 9' TERM; while :; do sleep 0.05; done"))
    process = cli.begin("run", path)
    line_of(process.stdout, "ready")
    process.send_signal(signal.SIGINT)
    _, err = end_of(process, 9)
    assert "stopping; Ctrl-C again leaves" in err
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
    line_of(process.stderr, "again leaves")
    (left,) = [t for t in cli("ps", "-a", "-o", "json").json()["tasks"] if family in t["group"]]
    wait_until(lambda: tasks.describe(left["taskArn"])["desiredStatus"] == "STOPPED", "the stop")
    process.send_signal(signal.SIGINT)
    _, err = end_of(process, 130)
    assert "windlass ps -a" in err
    assert tasks.describe(left["taskArn"])["lastStatus"] != "STOPPED"
    (cli.folder / "go").touch()
    tasks.stopped(left["taskArn"])


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


def test_a_task_that_does_not_start(cli):
    path, _ = cli.definition(busybox(command=["/no/such/program"]))
    said = cli("run", path, code=127)
    assert "CannotStartContainerError" in said.err and "windlass why" in said.err
    path, _ = cli.definition(busybox("exit 0", image=f"localhost:1/{unique('none')}"))
    said = cli("run", path, code=125)
    assert "CannotPullContainerError" in said.err


def test_register(cli):
    path, family = cli.definition(busybox("exit 0"), colour="red")
    said = cli("register", path)
    assert said == f"{family}:1\n"
    assert "ECS knows no member colour" in said.err
    answer = cli("register", path, "--output", "json").json()
    assert answer["taskDefinition"]["revision"] == 2
    assert "no task definition" in cli("register", cli.file("bad.json", "{"), code=64).err
    assert "nothing.json" in cli("register", "nothing.json", code=3).err
    empty = cli.file("empty.json", {"family": "x y", "containerDefinitions": []})
    assert cli("register", empty, code=1).err


# --- what runs -----------------------------------------------------------------------------------


@pytest.fixture
def web(cli, tasks, host_port):
    """A task that serves, with a health check: its id."""
    check = {"command": ["CMD-SHELL", "true"], "interval": 5, "retries": 1}
    serve = "mkdir /w; echo served > /w/index.html; echo ready; exec httpd -f -p 80 -h /w"
    ports = [{"containerPort": 80, "hostPort": host_port}]
    task = tasks.start(
        busybox(serve, name="web", portMappings=ports, healthCheck=check),
        busybox(f"echo beside; {FOREVER}", name="side", memory=8, essential=False),
    )
    tasks.running(task)
    wait_until(lambda: tasks.describe(task)["healthStatus"] == "HEALTHY", "HEALTHY")
    wait_until(lambda: len(cli("logs", task).splitlines()) == 2, "its words")
    return task.rsplit("/", 1)[-1]


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


def test_logs(cli, web):
    assert sorted(cli("logs", web).splitlines()) == ["side | beside", "web | ready"]
    assert cli("logs", web[:8], "web") == "ready\n"
    (record,) = map(json.loads, cli("logs", web, "side", "-o", "json").splitlines())
    assert (record["container"], record["stream"], record["text"]) == ("side", "stdout", "beside")
    stamped = cli("logs", web, "web", "--timestamps")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ready\n", stamped)
    assert cli("logs", web, "web", "--tail", 0) == ""
    said = cli("logs", web, "nothing", code=3)
    assert "web, side" in said.err


def test_logs_are_followed_to_the_end(cli, tasks):
    script = "echo one; echo two; until [ -e /tmp/go ]; do sleep 0.05; done; echo three"
    gate = [{"sourceVolume": "gate", "containerPath": "/tmp"}]
    volumes = [{"name": "gate", "host": {"sourcePath": str(cli.folder)}}]
    task = tasks.start(busybox(script, mountPoints=gate), volumes=volumes)
    tasks.running(task)
    wait_until(lambda: "two" in cli("logs", task), "its words")
    process = cli.begin("logs", "-f", "--tail", "1", task)
    assert process.stdout.readline() == b"two\n"
    (cli.folder / "go").touch()
    assert end_of(process, 0)[0] == "three\n"
    assert cli("logs", task, "--tail", 2) == "two\nthree\n"


def test_logs_of_any_length_take_little_memory(own, own_cli):
    """The last lines are found from the end, and what is long is passed on in pieces."""
    cli, tasks = own_cli, Tasks(own)
    task = tasks.start(busybox("echo begin"))
    tasks.stopped(task)
    path = own.data / "logs" / task.rsplit("/", 1)[-1] / "main"
    count, text = 12_000, "x" * 8_000
    with open(path, "a") as log:
        for n in range(count):
            log.write(f"2030-01-01T00:00:00.{n:09}Z stdout F {n} {text}\n")
    pid = own.process.pid
    size = path.stat().st_size
    assert size > 90e6

    def number(file, name):
        return int(re.search(rf"^{name}:\s*(\d+)", open(f"/proc/{pid}/{file}").read(), re.M)[1])

    before = number("io", "rchar")
    assert cli("logs", task, "--tail", 1) == f"{count - 1} {text}\n"
    assert number("io", "rchar") - before < 4e6
    # From here on the highest use of memory is counted afresh.
    with open(f"/proc/{pid}/clear_refs", "w") as clear:
        clear.write("5")
    before = number("status", "VmHWM")
    for words in (["logs", task], ["logs", "-f", task]):
        done = subprocess.run(
            f"{' '.join(cli.command(*words))} | wc -l", shell=True, env=cli.environment(),
            capture_output=True, text=True,
        )
        assert done.stdout.split() == [str(count + 1)], done.stderr
    # Nor does a reader that does not take what it asked for.
    process = cli.begin("logs", task)
    assert process.stdout.readline() == b"begin\n"
    cli("version")
    assert number("status", "VmHWM") - before < 40_000
    process.kill()
    process.communicate()


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
    for given in (definition, name, f"definition/{name}", name.split(":")[0]):
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
        (family, f"definition/{name}"),
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


# --- nodes and images ----------------------------------------------------------------------------


def test_nodes(cli, cluster, tasks):
    (row,) = cli("nodes").rows()
    assert row["CONNECTED"] == "yes" and row["MEMORY LEFT"].endswith("MiB")
    assert cli("nodes", "ls") == cli("nodes", "ls", "--output", "table")
    for words in (["nodes", "-o", "json"], ["nodes", "ls", "-o", "json"], ["nodes", "-o", "json", "ls"]):
        (node,) = cli(*words).json()["nodes"]
        assert node["id"].startswith(row["NODE"])
    path, family = cli.definition(busybox("exit 0", memory=8))
    cli("register", path)
    # It joins by itself; what is removed stays so, until it is added.
    assert cli("run", family, "--cluster", cluster) == ""
    assert "joined by itself" in cli("history", f"cluster/{cluster}")
    answer = cli("nodes", "rm", "--cluster", cluster, "--output", "json").json()
    assert cluster not in [it["cluster"] for it in answer["node"]["containerInstances"]]
    said = cli("run", family, "--cluster", cluster, code=1)
    assert f"windlass nodes add --cluster {cluster}" in said.err
    answer = cli("nodes", "add", "--cluster", cluster, "--output", "json").json()
    (member,) = [it for it in answer["node"]["containerInstances"] if it["cluster"] == cluster]
    assert (member["status"], member["onDemand"]) == ("ACTIVE", False)
    assert cli("run", family, "--cluster", cluster) == ""
    assert cluster in cli("nodes", "add", "--cluster", cluster, "--node", row["NODE"])
    assert cli("nodes", "add", "--cluster", "nowhere", code=3).err
    assert cli("nodes", "add", "--cluster", cluster, "--node", "zz", code=3).err


def test_images(cli, tasks, tmp_path):
    archive = shutil.copy(IMAGES / "busybox.tar", cli.folder)
    (row, *_) = cli("images", "load", archive).rows()
    assert row["DIGEST"].startswith("sha256:")
    loaded = cli("images", "load", archive, "-o", "json").json()["images"]
    assert {image["name"] for image in loaded} == {"busybox:latest", "busybox:1.35"}
    rows = {row["IMAGE"]: row for row in cli("images").rows()}
    assert rows[loaded[0]["name"]]["SIZE"].endswith("iB")
    names = [image["name"] for image in cli("images", "ls", "--output", "json").json()["images"]]
    assert set(names) == set(rows)

    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    name = unique("tiny")
    # The server reads the folder, which is for root alone.
    answer = cli("images", "import-rootfs", name, root, "-o", "json", root=True).json()
    assert answer["images"][0]["name"].startswith(name)
    task = tasks.start(
        {"name": "main", "image": name, "memory": 16, "command": ["/bin/busybox", "sleep", "60"]}
    )
    tasks.running(task)
    said = cli("images", "rm", name, code=1)
    assert "use" in said.err
    tasks.stop(task)
    tasks.stopped(task)

    def removed():
        done = subprocess.run(
            cli.command("images", "rm", name, "--output", "json"),
            env=cli.environment(), capture_output=True, text=True,
        )
        return done.returncode == 0 and json.loads(done.stdout)

    assert wait_until(removed, "the image is let go") == {"removed": name}
    assert cli("images", "rm", name, code=3).err
    assert cli("images", "load", "nothing.tar", code=3).err
    assert cli("images", "load", cli.file("no.tar", "no archive"), code=1).err
    said = cli("images", "pull", f"localhost:1/{name}", code=1)
    assert name in said.err
    assert cli("images", "pull", "UPPER CASE", code=1).err


def test_an_image_from_a_registry(cli, tasks, tmp_path):
    """Debian's registry on loopback, filled by skopeo."""
    lease = Lease("port", filter(port_is_free, range(18300, 18400)))
    config = tmp_path / "config.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/store}}}}\n"
        f"http: {{addr: 127.0.0.1:{lease.number}}}\n"
    )
    serve = ["docker-registry", "serve", config]
    registry = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        host = f"localhost:{lease.number}"
        name = f"{host}/team/box:1"
        http_get_soon(f"http://{host}/v2/")
        source = f"oci-archive:{IMAGES}/busybox.tar:docker.io/library/busybox:latest"
        copy = ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", source]
        done = subprocess.run([*copy, f"docker://{name}"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (row,) = cli("images", "pull", name).rows()
        assert row["IMAGE"] == name and row["DIGEST"].startswith("sha256:")
        (pulled,) = cli("images", "pull", name, "-o", "json").json()["images"]
        assert (pulled["name"], pulled["digest"]) == (name, row["DIGEST"])
    finally:
        registry.kill()
        registry.wait()
        lease.release()
    # What is here needs no registry.
    path, _ = cli.definition(busybox("echo pulled", image=name))
    assert cli("run", path) == "pulled\n"


# --- the rest ------------------------------------------------------------------------------------


VARIABLES = {
    "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION",
    "AWS_DEFAULT_REGION",
}


def test_env_in_every_shell(cli, windlass):
    wanted = {name: windlass.environment()[name] for name in VARIABLES}

    def env(*words):
        return cli("env", "--data", windlass.data, *words, root=True)

    script = 'AWS_PROFILE=x; export AWS_PROFILE; eval "$1"; env'
    done = subprocess.run(["bash", "-c", script, "bash", env()], capture_output=True, text=True)
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert {name: seen.get(name) for name in VARIABLES} == wanted
    assert "AWS_PROFILE" not in seen
    assert env("--shell", "bash") == env()
    fish = env("--shell", "fish").splitlines()
    assert fish[0].startswith("set -e AWS_PROFILE ")
    assert {f"set -gx {name} '{value}'" for name, value in wanted.items()} == set(fish[1:])
    shown = env("--shell", "json").json()
    assert {name: value for name, value in shown.items() if value is not None} == wanted
    assert shown["AWS_PROFILE"] is None
    assert set(env("--shell", "github").splitlines()) == {f"{n}={v}" for n, v in wanted.items()}
    # The keys are for their owner alone.
    said = cli("env", "--data", windlass.data, code=4)
    assert "sudo" in said.err
    assert "windlass up" in cli("env", "--data", cli.folder / "none", root=True, code=69).err


def test_the_user_behind_sudo_has_the_keys(executable, monkeypatch):
    """And no other: what `sudo windlass up` makes is for who called sudo."""
    monkeypatch.setenv("SUDO_UID", "65534")
    monkeypatch.setenv("SUDO_GID", "65534")
    with tempfile.TemporaryDirectory(prefix="windlass-e2e-") as folder:
        os.chmod(folder, 0o755)
        own = Installation(executable, f"{folder}/own")
        try:
            own.start()
            cli = Cli(own, folder)
            bare = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
            assert own.keys()[1] in cli("env", "--data", own.data, env=bare)
            assert cli("ps", "--data", own.data, env=bare).rows() == []
            other = ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups"]
            words = [*other, own.executable, "ps", "--data", own.data]
            done = subprocess.run(words, env=bare, capture_output=True, text=True)
            assert done.returncode == 4 and "which user 65534 owns" in done.stderr, done.stderr
        finally:
            own.dispose()


def test_an_old_aws_is_told(cli, windlass):
    """A CLI that does not know the variable would go to Amazon."""
    folder = cli.folder / "bin"
    folder.mkdir()
    fake = folder / "aws"
    fake.write_text("#!/bin/sh\necho aws-cli/2.9.19 Python/3.11.2 Linux/6 source/x86_64\n")
    fake.chmod(0o755)
    path = cli.environment(PATH=f"{folder}:{os.environ['PATH']}")
    assert "2.9.19" in cli("env", "--data", windlass.data, root=True, env=path).err
    path = cli.environment(PATH=f"{ROOT}/.venv/bin:{os.environ['PATH']}")
    assert cli("env", "--data", windlass.data, root=True, env=path).err == ""


def test_version(cli, windlass):
    said = cli("version")
    assert re.search(rf"^endpoint +{windlass.url}$", said, re.M)
    answer = cli("version", "-o", "json").json()
    assert answer["server"]["pid"] == windlass.process.pid
    assert answer["client"]["version"] == answer["server"]["version"]
    nowhere = cli.environment(AWS_ENDPOINT_URL="http://127.0.0.1:1")
    assert cli("version", "-o", "json", env=nowhere).json()["server"] is None
    assert cli("--version").startswith("windlass ")


def test_completion(cli):
    script = cli("completion", "bash")
    done = subprocess.run(
        ["bash", "-c", 'eval "$1"; COMP_WORDS=(windlass imag); COMP_CWORD=1; '
         '_windlass windlass imag windlass; echo "${COMPREPLY[@]}"', "bash", script],
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["images"], done.stderr
    for shell in ("zsh", "fish"):
        assert "import-rootfs" in cli("completion", shell)


def test_no_server_and_wrong_keys(cli):
    nowhere = cli.environment(AWS_ENDPOINT_URL="http://127.0.0.1:1")
    path, family = cli.definition(busybox("exit 0"))
    for words in (["ps"], ["run", path], ["logs", "ab"], ["images"], ["backup", "b"], ["wait", "a", "running"]):
        said = cli(*words, code=69, env=nowhere)
        assert "windlass up" in said.err, words
    assert cli("ps", "--data", cli.folder / "none", code=69).err
    wrong = cli.environment(AWS_SECRET_ACCESS_KEY="x")
    assert cli("ps", code=4, env=wrong).err
    unknown = cli.environment(AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE")
    assert "windlass env" in cli("ps", code=4, env=unknown).err
    for words in (["ps", "--nothing"], ["run"], ["nodes", "add"], ["logs", "a", "--tail", "x"], []):
        assert cli(*words, code=64).err


def test_hints_are_for_people(cli):
    """On a terminal a verb says what may come next; in a pipe it does not."""
    path, family = cli.definition(busybox("exit 0"))
    assert cli("register", path).err == ""
    words = " ".join([*NOBODY, str(cli.executable), "register", str(path)])
    done = subprocess.run(
        ["script", "-qec", words, "/dev/null"], env=cli.environment(), capture_output=True,
        text=True, stdin=subprocess.DEVNULL,
    )
    assert f"next: `windlass run {family}:2`" in done.stdout


# --- while the server comes and goes -------------------------------------------------------------


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
    path, _ = own_cli.definition(busybox(f"echo ready; {FOREVER}"))
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
    task = tasks.start(busybox(f"echo ready; {FOREVER}"))
    tasks.running(task)
    process = subprocess.Popen(
        [own.executable, "logs", "-f", task, "--data", own.data],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
    )
    assert process.stdout.readline() == b"ready\n"
    own.move()
    Tasks(own).stop(task)
    end_of(process, 0)


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
