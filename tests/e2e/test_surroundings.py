"""What a container finds: files, variables, limits, and programs that cannot run."""

import pytest
from botocore.exceptions import ClientError
from windlass import FOREVER, busybox, container, told, unique


def said(windlass, tasks, *containers, code=0, name="main", **members):
    """Runs a task to its end: what its container `name` wrote."""
    task = tasks.start(*containers, **members)
    record = tasks.stopped(task)
    assert container(record, name).get("exitCode") == code, told(record)
    return windlass.text(task, name)


def test_a_container_finds_what_engines_add(windlass, tasks):
    text = said(
        windlass,
        tasks,
        busybox("stat -c '%n %F' /.dockerenv; readlink /etc/mtab; grep -c ' / ' /etc/mtab"),
    )
    assert text.splitlines() == ["/.dockerenv regular empty file", "/proc/mounts", "1"]


def test_a_terminal_has_a_name(windlass, tasks):
    assert said(windlass, tasks, busybox("echo -$TERM-", pseudoTerminal=True)).strip() == "-xterm-"
    assert said(windlass, tasks, busybox("echo -$TERM-")).strip() == "--"


def test_a_host_name_with_dots_has_a_short_one(windlass, tasks):
    text = said(
        windlass,
        tasks,
        busybox(
            "grep shop /etc/hosts; ping -c 1 -w 2 web >/dev/null && echo found",
            hostname="web.shop.example",
        ),
        networkMode="bridge",
    )
    assert text.split()[1:] == ["web.shop.example", "web", "found"]


def test_a_link_is_names_and_variables(windlass, tasks):
    database = busybox(
        FOREVER,
        name="database",
        essential=False,
        memory=8,
        environment=[{"name": "MODE", "value": "fast"}],
        portMappings=[{"containerPort": 5432, "hostPort": 0}],
    )
    script = "env | grep '^DB_' | sort; cat /etc/hosts"
    text = said(
        windlass,
        tasks,
        database,
        busybox(script, links=["database:db"]),
        networkMode="bridge",
    )
    told_of = dict(line.split("=", 1) for line in text.splitlines() if line.startswith("DB_"))
    address = told_of["DB_PORT_5432_TCP_ADDR"]
    assert told_of["DB_PORT"] == told_of["DB_PORT_5432_TCP"] == f"tcp://{address}:5432"
    assert (told_of["DB_NAME"], told_of["DB_ENV_MODE"]) == ("/main/db", "fast")
    names = [line.split()[1] for line in text.splitlines() if line.startswith(address)]
    assert names[0] == "db" and names[2] == "database" and len(names) == 3


def test_a_working_directory_is_made_in_a_read_only_root(windlass, tasks):
    members = {"workingDirectory": "/made/here", "readonlyRootFilesystem": True}
    assert said(windlass, tasks, busybox("pwd", **members)).strip() == "/made/here"


def test_a_tmpfs_keeps_the_mode_of_what_it_covers(windlass, tasks):
    tmpfs = {"tmpfs": [{"containerPath": "/root", "size": 1}]}
    script = "stat -c '%a %u' /root; touch /root/f 2>&1 || exit 3"
    members = {"user": "1000", "linuxParameters": tmpfs}
    text = said(windlass, tasks, busybox(script, **members), code=3)
    assert text.splitlines()[0] == "700 0" and "Permission denied" in text


def test_tmpfs_options_are_those_of_ecs(windlass, tasks, ecs):
    options = ["rw", "nostrictatime", "mand", "unbindable", "rslave", "norelatime"]
    tmpfs = {"containerPath": "/x", "size": 4, "mountOptions": options}
    script = "grep ' /x ' /proc/mounts"
    assert "tmpfs" in said(windlass, tasks, busybox(script, linuxParameters={"tmpfs": [tmpfs]}))
    tmpfs["mountOptions"] = ["rw", "norelatim"]
    with pytest.raises(ClientError, match="norelatim"):
        ecs.register_task_definition(
            family=unique("tmpfs"),
            containerDefinitions=[busybox("true", linuxParameters={"tmpfs": [tmpfs]})],
        )


def test_shares_are_there_from_the_first_instruction(windlass, tasks):
    """A program that sizes itself by its group reads it once."""
    script = "f=/sys/fs/cgroup/cpu; [ -e $f ] && cat $f/cpu.shares || cat /sys/fs/cgroup/cpu.weight"
    containers = [
        busybox(script, name=f"c{number}", cpu=128, memory=8, essential=False)
        for number in range(9)
    ]
    task = tasks.start(*containers, busybox("sleep 1", memory=8))
    tasks.stopped(task)
    read = {windlass.text(task, f"c{number}").strip() for number in range(9)}
    assert read in ({"128"}, {"5"})


@pytest.mark.parametrize(
    "program, error, cause",
    [
        ("echo hi\\n", "exec format error", "#!"),
        ("", "exec format error", "empty"),
        ("#!/bin/sh\\r\\necho hi\\r\\n", "no such file or directory", "line ends of Windows"),
        ("#!/usr/bin/perl\\n", "no such file or directory", "/usr/bin/perl"),
    ],
)
def test_a_program_that_cannot_run_says_so(windlass, tasks, program, error, cause):
    mount = [{"sourceVolume": "v", "containerPath": "/v"}]
    setup = busybox(
        f"printf '{program}' >/v/app; chmod 755 /v/app",
        name="setup",
        memory=8,
        essential=False,
        mountPoints=mount,
    )
    main = busybox(
        command=["/v/app"],
        mountPoints=mount,
        dependsOn=[{"containerName": "setup", "condition": "SUCCESS"}],
    )
    task = tasks.start(setup, main, volumes=[{"name": "v"}])
    record = tasks.stopped(task)
    assert record["stopCode"] == "EssentialContainerExited", told(record)
    seen = container(record, "main")
    assert seen["exitCode"] == 1
    assert windlass.text(task, "main").strip() == f"exec /v/app: {error}"
    assert seen["reason"].startswith(f"CannotStartContainerError: exec /v/app: {error}: ")
    assert cause in seen["reason"]
    # The cause is told as a type too.
    history = windlass.history(f"task/{task.rsplit('/', 1)[-1]}")
    faults = [entry["program"] for entry in history if entry.get("program")]
    assert [(f["path"], f["error"]) for f in faults] == [("/v/app", error)], history


@pytest.mark.parametrize(
    "user, words",
    [
        ("0:nosuch", "unable to find group nosuch: no matching entries in group file"),
        ("nosuch:0", "unable to find user nosuch: no matching entries in passwd file"),
        ("2147483648", "uids and gids must be in range 0-2147483647"),
    ],
)
def test_a_user_is_refused_in_the_words_of_engines(tasks, user, words):
    record = tasks.stopped(tasks.start(busybox("true", user=user)))
    assert container(record, "main")["reason"].endswith(words)


def test_a_user_without_a_group_is_one(windlass, tasks):
    assert "uid=1000" in said(windlass, tasks, busybox("id", user="1000:"))


def test_a_device_lies_where_it_is_wanted(windlass, tasks):
    devices = [{"hostPath": "/dev/zero", "containerPath": "/opt/zero", "permissions": ["read"]}]
    script = "head -c 2 /opt/zero | od -An -tx1"
    text = said(windlass, tasks, busybox(script, linuxParameters={"devices": devices}))
    assert text.split() == ["00", "00"]


def test_an_early_container_is_healthy_early(windlass, tasks):
    """Within the start period a probe comes after five seconds, not after the interval."""
    check = {"command": ["CMD", "true"], "interval": 300, "timeout": 2, "startPeriod": 300}
    tasks.stopped(
        tasks.start(
            busybox(FOREVER, name="db", memory=8, essential=False, healthCheck=check),
            busybox("true", dependsOn=[{"containerName": "db", "condition": "HEALTHY"}]),
        )
    )
