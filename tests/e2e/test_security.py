"""What an installation keeps from other users of the machine, and what a task may do in it."""

import os
import pathlib

import pytest
from windlass import FOREVER, busybox

PRIVATE = ("images", "logs", "store", "tasks", "uploads", "volumes")
STATUS = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:)' /proc/self/status"


def mode(path):
    return oct(os.stat(path).st_mode & 0o7777)


def run_folder(installation):
    return pathlib.Path(f"/run/windlass-{installation.id}")


def assert_private(installation):
    data = installation.data
    assert mode(data) == "0o711"
    for name in PRIVATE:
        assert mode(data / name) == "0o700", name
    for name in ("credentials.json", "page.key"):
        assert mode(data / name) == "0o600", name
    assert mode(run_folder(installation)) == "0o700"


def test_folders_are_for_root_and_repaired(own):
    assert_private(own)
    # A graceful end without tasks would take the run folder away.
    own.kill()
    for path in (own.data, *(own.data / name for name in PRIVATE), run_folder(own)):
        path.chmod(0o777)
    (own.data / "credentials.json").chmod(0o666)
    own.start()
    assert_private(own)


def test_another_users_folder_is_refused(own):
    own.terminate()
    os.chown(own.data, 12345, -1)
    code, said = own.up_again()
    os.chown(own.data, 0, -1)
    assert code != 0 and "12345" in said
    own.start()


def test_nothing_listens_without_a_file_or_a_port_of_its_own(windlass, tasks):
    task = tasks.start(busybox(FOREVER))
    tasks.running(task)
    # The processes that keep tasks running say who they are.
    files = run_folder(windlass).glob("sandboxes/*/shim.pid")
    shims = {int(file.read_text().split()[0]) for file in files}
    assert shims
    inodes = set()
    for pid in windlass.processes() | shims:
        for entry in pathlib.Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = os.readlink(entry)
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    lines = [line.split() for line in open("/proc/net/unix")][1:]
    named = [line[7] for line in lines if len(line) > 7 and line[6] in inodes]
    assert named and not [name for name in named if name.startswith("@")], named
    # Where those with a path lie, root alone may go.
    sockets = [path for path in run_folder(windlass).rglob("*") if path.is_socket()]
    assert sockets
    assert mode(run_folder(windlass)) == "0o700"


@pytest.mark.parametrize("user", ["", "1000:1000"])
def test_a_health_check_may_no_more_than_its_container(windlass, tasks, user):
    script = (
        f"{STATUS} > /tmp/main; while ! [ -s /tmp/check ]; do sleep 0.1; done; "
        "cmp /tmp/main /tmp/check && echo same; cat /tmp/main"
    )
    check = f"{STATUS} > /tmp/new && mv /tmp/new /tmp/check"
    members = {"user": user} if user else {}
    health = {"command": ["CMD-SHELL", check], "interval": 5, "startPeriod": 0}
    task = tasks.start(busybox(script, healthCheck=health, **members))
    record = tasks.stopped(task, seconds=60)
    text = windlass.text(task)
    assert record["containers"][0]["exitCode"] == 0, text
    assert "same" in text, text
    assert "Seccomp:\t2" in text
    assert "CapInh:\t0000000000000000" in text
    capabilities = "0000000000000000" if user else "00000000a80425fb"
    assert f"CapEff:\t{capabilities}" in text


def test_host_paths_that_hand_over_the_node_are_refused(windlass, tasks):
    for path in ("/", "/proc/sys", "/dev", "/run", str(windlass.data), str(run_folder(windlass))):
        volumes = [{"name": "host", "host": {"sourcePath": path}}]
        mounts = [{"sourceVolume": "host", "containerPath": "/host"}]
        task = tasks.start(busybox("ls /host", mountPoints=mounts), volumes=volumes)
        record = tasks.stopped(task)
        assert record["containers"][0].get("exitCode") is None, path
        assert "hand over the node" in record["containers"][0]["reason"], record


def test_processes_are_bounded_unasked(windlass, tasks):
    script = "cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null; true"
    task = tasks.start(busybox(script))
    tasks.stopped(task)
    assert int(windlass.text(task).split()[-1]) <= 8192
    # Whatever all tasks do together, the machine has process ids left.
    groups = [pathlib.Path(f"/sys/fs/cgroup{part}/windlass-{windlass.id}/pids.max")
              for part in ("/pids", "")]
    (bound,) = [int(group.read_text()) for group in groups if group.exists()]
    assert bound < int(pathlib.Path("/proc/sys/kernel/pid_max").read_text())


def test_memory_pressure_meets_tasks_first(windlass, tasks):
    task = tasks.start(busybox("cat /proc/self/oom_score_adj; cat /proc/1/oom_score_adj"))
    tasks.stopped(task)
    assert windlass.text(task).split() == ["0", "0"]
    status = pathlib.Path("/proc/self/status").read_text()
    capabilities = int(status.split("CapEff:")[1].split()[0], 16)
    if not capabilities >> 24 & 1:
        pytest.skip("without CAP_SYS_RESOURCE nobody is spared")
    own = pathlib.Path(f"/proc/{windlass.process.pid}/oom_score_adj")
    assert own.read_text() == "-999\n"
