"""How containers run: order, ends, limits, and what they find inside."""

import os

import pytest
from windlass import FOREVER, busybox, container, forever, told, unique, wait_until

SLOW = {"interval": 5, "timeout": 2, "retries": 1}


def depends(name, condition):
    return [{"containerName": name, "condition": condition}]


def lines_of(windlass, task):
    return [(name, text) for name, _, text in windlass.logs(task)]


# --- dependencies and ends -----------------------------------------------------------------------


def test_containers_start_in_their_order(windlass, tasks):
    """START, COMPLETE and SUCCESS in one chain; a failed COMPLETE does not matter."""
    task = tasks.start(
        busybox("sleep 0.3; echo one; exit 9", name="one", memory=8, essential=False),
        busybox(
            "sleep 0.3; echo two",
            name="two",
            memory=8,
            essential=False,
            dependsOn=depends("one", "COMPLETE"),
        ),
        busybox(FOREVER, name="three", memory=8, dependsOn=depends("two", "SUCCESS")),
        busybox("echo four", name="four", memory=8, dependsOn=depends("three", "START")),
    )
    record = tasks.stopped(task)
    assert record["stopCode"] == "EssentialContainerExited"
    assert [c.get("exitCode") for c in record["containers"]] == [9, 0, 0, 0], told(record)
    assert [name for name, _ in lines_of(windlass, task)] == ["one", "two", "four"]


def test_success_that_never_comes_ends_the_task(tasks):
    task = tasks.start(
        busybox("exit 4", name="setup", memory=8, essential=False),
        busybox(FOREVER, dependsOn=depends("setup", "SUCCESS")),
    )
    record = tasks.stopped(task)
    assert record["stopCode"] == "TaskFailedToStart"
    main = container(record, "main")
    # As the ECS agent says it of a container that could never start.
    assert main["exitCode"] == 143 and "runtimeId" not in main
    assert "[setup]" in main["reason"] and "did not exit successfully" in main["reason"]
    assert container(record, "setup")["exitCode"] == 4
    assert "startedAt" not in record


def test_healthy_comes_before_its_dependents(windlass, tasks):
    check = {"command": ["CMD-SHELL", "test -e /tmp/ready"]} | SLOW
    task = tasks.start(
        busybox(forever("touch /tmp/ready; echo first"), name="db", healthCheck=check),
        busybox("echo second", dependsOn=depends("db", "HEALTHY")),
    )
    record = tasks.stopped(task)
    assert [name for name, _ in lines_of(windlass, task)] == ["db", "main"], told(record)
    assert container(record, "db")["healthStatus"] == "HEALTHY"


def test_an_unhealthy_container_is_shown_and_runs_on(tasks):
    task = tasks.start(
        busybox(FOREVER, healthCheck={"command": ["CMD-SHELL", "exit 1"]} | SLOW)
    )
    assert tasks.running(task)["healthStatus"] == "UNKNOWN"
    record = wait_until(
        lambda: (seen := tasks.describe(task))["healthStatus"] == "UNHEALTHY" and seen,
        "UNHEALTHY",
    )
    assert record["lastStatus"] == "RUNNING"
    assert container(record, "main")["healthStatus"] == "UNHEALTHY"


def test_what_is_not_essential_may_end(tasks):
    task = tasks.start(
        busybox("exit 5", name="helper", memory=8, essential=False), busybox(FOREVER)
    )
    record = wait_until(
        lambda: container(seen := tasks.running(task), "helper")["lastStatus"] == "STOPPED"
        and seen,
        "the helper's end",
    )
    assert (record["lastStatus"], record["desiredStatus"]) == ("RUNNING", "RUNNING")
    assert container(record, "helper")["exitCode"] == 5


def test_an_essential_end_takes_the_others_along(tasks):
    mount = [{"sourceVolume": "v", "containerPath": "/v"}]
    ending = "until [ -e /v/ready ]; do sleep 0.05; done; exit 6"
    listening = "trap 'exit 11' TERM; touch /v/ready; while :; do sleep 0.1; done"
    task = tasks.start(
        busybox(ending, name="first", memory=8, mountPoints=mount),
        busybox(listening, name="second", memory=8, mountPoints=mount),
        volumes=[{"name": "v"}],
    )
    record = tasks.stopped(task)
    assert record["stopCode"] == "EssentialContainerExited"
    assert [c["exitCode"] for c in record["containers"]] == [6, 11]


def test_who_does_not_listen_is_killed(windlass, tasks):
    script = "trap '' TERM; echo deaf; while :; do sleep 0.1; done"
    task = tasks.start(busybox(script, stopTimeout=2))
    wait_until(lambda: windlass.text(task) == "deaf", "it is deaf")
    tasks.stop(task)
    record = tasks.stopped(task)
    assert container(record, "main")["exitCode"] == 137
    taken = (record["stoppedAt"] - record["stoppingAt"]).total_seconds()
    assert taken >= 2, "it had its time"


def test_signals_end_with_128_and_their_number(tasks):
    numbers = {"TERM": 143, "SEGV": 139, "KILL": 137}
    # As init of its namespace a process does not die of its own signals, so a child does.
    started = {
        code: tasks.start(busybox(f"sh -c 'kill -{name} $$'; exit $?", memory=8))
        for name, code in numbers.items()
    }
    for code, task in started.items():
        assert container(tasks.stopped(task), "main")["exitCode"] == code


def test_the_image_chooses_its_stop_signal(windlass, tasks):
    """nginx's image says SIGQUIT, on which nginx finishes its requests."""
    command = ["nginx", "-g", "daemon off; error_log /dev/stderr notice;"]
    task = tasks.start({"name": "web", "image": "nginx", "memory": 64, "command": command})
    wait_until(lambda: "start worker process" in windlass.text(task), "nginx is there")
    tasks.stop(task)
    assert container(tasks.stopped(task), "web")["exitCode"] == 0
    assert "signal 3 (SIGQUIT) received" in windlass.text(task)


def test_dependents_stop_first(windlass, tasks):
    def stopper(name, **members):
        script = f"trap 'echo {name} stops; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
        return busybox(script, name=name, memory=8, **members)

    task = tasks.start(
        stopper("base"),
        stopper("middle", dependsOn=depends("base", "START")),
        stopper("top", dependsOn=depends("middle", "START")),
    )
    wait_until(lambda: len(lines_of(windlass, task)) == 3, "all listen")
    tasks.stop(task)
    tasks.stopped(task)
    words = [text for _, text in lines_of(windlass, task)]
    assert words[3:] == ["top stops", "middle stops", "base stops"]


def memory_limit(process):
    """What the kernel lets a process's cgroup use, of either version."""
    for line in open(f"/proc/{process}/cgroup").read().splitlines():
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return int(open(f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes").read())
        limit = f"/sys/fs/cgroup{path}/memory.max"
        if number == "0" and os.path.exists(limit):
            return int(open(limit).read())
    raise AssertionError("no cgroup of memory")


# --- limits --------------------------------------------------------------------------------------


def test_memory_beyond_the_limit_is_killed(windlass, tasks):
    hungry = "exec awk 'BEGIN { s = \"0123456789abcdef\"; while (1) s = s s }'"
    task = tasks.start(busybox(hungry, memory=32))
    record = tasks.stopped(task)
    main = container(record, "main")
    assert main["exitCode"] == 137, told(record)
    assert main["reason"] == "OutOfMemoryError: Container killed due to memory usage"
    events = windlass.history(f"task/{task.rsplit('/', 1)[-1]}")
    (limit,) = {e["limitBytes"] for e in events if e.get("limitBytes")}
    assert limit == 32 << 20


def test_limits_are_those_of_the_definition(windlass, tasks):
    marker = unique("limits")
    script = forever(f": {marker}; ulimit -n; ulimit -Hn")
    limits = [{"name": "nofile", "softLimit": 123, "hardLimit": 456}]
    task = tasks.start(busybox(script, memory=24, ulimits=limits))
    wait_until(lambda: windlass.text(task).split() == ["123", "456"], "its words")
    # The cgroup is hidden from the container; the kernel knows it.
    (process, *_) = windlass.marked(marker)
    assert memory_limit(process) == 24 << 20


# --- the process ---------------------------------------------------------------------------------


def test_user_folder_and_variables(windlass, tasks):
    script = "id -u; id -g; pwd; echo $ONE-$TWO; touch /forbidden || echo read-only"
    environment = [{"name": "ONE", "value": "1"}, {"name": "TWO", "value": "2"}]
    task = tasks.start(
        busybox(script, user="1000:1001", workingDirectory="/new/folder", environment=environment)
    )
    tasks.stopped(task)
    words = windlass.text(task, "main").splitlines()
    assert [w for w in words if not w.startswith("touch")] == [
        "1000",
        "1001",
        "/new/folder",
        "1-2",
        "read-only",
    ]


def test_overrides_replace_and_merge(windlass, tasks):
    name = tasks.register(
        busybox(
            "echo never",
            environment=[{"name": "ONE", "value": "1"}, {"name": "TWO", "value": "2"}],
        )
    )
    override = {
        "name": "main",
        "command": ["sh", "-c", "echo $ONE-$TWO-$THREE"],
        "environment": [{"name": "TWO", "value": "x"}, {"name": "THREE", "value": "3"}],
        "memory": 48,
        "cpu": 5,
    }
    task = tasks.run(name, overrides={"containerOverrides": [override]})
    record = tasks.stopped(task)
    assert windlass.text(task) == "1-x-3"
    assert record["overrides"]["containerOverrides"] == [override]
    main = container(record, "main")
    assert (main["memory"], main["cpu"]) == ("48", "5")


def test_entry_point_and_command(windlass, tasks):
    task = tasks.start(
        busybox(entryPoint=["echo", "from the entry point"], command=["and the command"])
    )
    tasks.stopped(task)
    assert windlass.text(task) == "from the entry point and the command"


def test_a_read_only_root(windlass, tasks):
    task = tasks.start(
        busybox(
            "touch /x 2>/dev/null && echo writable; touch /t/x && echo tmpfs; touch /v/x && echo volume",
            readonlyRootFilesystem=True,
            linuxParameters={"tmpfs": [{"containerPath": "/t", "size": 4}]},
            mountPoints=[{"sourceVolume": "v", "containerPath": "/v"}],
        ),
        volumes=[{"name": "v"}],
    )
    record = tasks.stopped(task)
    assert windlass.text(task).splitlines() == ["tmpfs", "volume"], told(record)


def test_an_init_collects_orphans(windlass, tasks):
    script = "(sleep 0.1 & exec true); sleep 0.5; ps -o pid,stat,comm; echo $$"
    task = tasks.start(busybox(script, linuxParameters={"initProcessEnabled": True}))
    record = tasks.stopped(task)
    text = windlass.text(task)
    assert " Z " not in text and text.splitlines()[-1] != "1", told(record)


def test_a_container_is_alone(windlass, tasks):
    """It sees its own processes, hostname and files, and none of the powerful capabilities."""
    script = (
        "ps | wc -l; grep CapEff /proc/self/status; mkdir /m; mount -t tmpfs x /m 2>/dev/null || echo no; "
        "cat /proc/1/comm; ls /proc/sys/kernel/core_pattern >/dev/null; "
        "echo x 2>/dev/null > /proc/sys/kernel/core_pattern || echo protected"
    )
    task = tasks.start(busybox(script))
    tasks.stopped(task)
    words = windlass.text(task, "main").splitlines()
    assert int(words[0]) < 10
    assert "00000000a80425fb" in words[1], words
    assert words[2] == "no"
    assert "protected" in words


def test_privileged_is_powerful(windlass, tasks):
    task = tasks.start(busybox("mkdir /m && mount -t tmpfs x /m && echo mounted", privileged=True))
    record = tasks.stopped(task)
    assert windlass.text(task) == "mounted", told(record)


def test_long_lines_and_many_lines(windlass, tasks):
    task = tasks.start(
        busybox("seq 1 20000; head -c 100000 /dev/zero | tr '\\0' x; echo; printf 'no newline'")
    )
    tasks.stopped(task)
    text = "".join(t + "\n" for t in [windlass.text(task)])
    assert "\n20000\n" in text and text.strip().endswith("no newline")
    assert text.count("x") == 100_000


def test_an_early_end_is_final_whatever_the_restart_policy(tasks, windlass):
    """A restart needs a run as long as the attempt period, a minute at least."""
    policy = {"enabled": True, "restartAttemptPeriod": 60}
    task = tasks.start(busybox("echo started; exit 1", restartPolicy=policy))
    record = tasks.stopped(task)
    assert container(record, "main")["exitCode"] == 1
    assert windlass.text(task) == "started"


def test_a_task_without_limits_of_containers(tasks):
    """Task-level memory alone, which all containers share."""
    definition = busybox("exit 0")
    del definition["memory"]
    task = tasks.start(definition, memory="64", cpu="128")
    record = tasks.stopped(task)
    assert (record["cpu"], record["memory"]) == ("128", "64")
    main = container(record, "main")
    assert main["exitCode"] == 0 and "memory" not in main


@pytest.mark.parametrize("share", ["task", "host"])
def test_shared_process_ids(windlass, tasks, share):
    task = tasks.start(
        busybox(FOREVER, name="other", memory=8),
        busybox("sleep 0.3; ps", dependsOn=depends("other", "START")),
        pidMode=share,
    )
    tasks.stopped(task)
    assert "trap" in windlass.text(task, "main")


def test_shared_namespaces_outlive_the_container_that_began_them(windlass, tasks):
    """One ends, a sibling goes on, and a third that waited for the end still joins them."""
    task = tasks.start(
        busybox("echo kept > /dev/shm/x", name="first", memory=8, essential=False),
        busybox(FOREVER, name="stays", memory=8, dependsOn=depends("first", "START")),
        busybox(
            "cat /dev/shm/x; ps; true",
            dependsOn=[*depends("first", "COMPLETE"), *depends("stays", "START")],
        ),
        pidMode="task",
        ipcMode="task",
    )
    record = tasks.stopped(task)
    text = windlass.text(task, "main")
    assert text.startswith("kept") and "trap" in text, told(record)
    codes = {c["name"]: c.get("exitCode") for c in record["containers"]}
    assert (codes["first"], codes["main"]) == (0, 0) and len(codes) == 3, told(record)
