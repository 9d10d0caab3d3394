"""A run folder without room, whatever took it: what runs can be stopped, and everything goes."""

import contextlib
import os
import pathlib
import subprocess

import pytest
from windlass import FOREVER, Tasks, busybox, container, forever, wait_until

# Ends with a code of its own when it is asked to.
ENDS_WITH_5 = FOREVER.replace("exit 0", "exit 5")


def run_folder(installation):
    return pathlib.Path(f"/run/windlass-{installation.id}")


def used(installation):
    room = os.statvfs(run_folder(installation))
    return (room.f_blocks - room.f_bfree) * room.f_frsize


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def take_bytes(folder):
    """To the last byte; made small first, as its size is a part of the machine's memory."""
    remount(folder, f"size={os.statvfs(folder).f_frsize * 4096}")
    with open(folder / "wild", "ab", buffering=0) as wild, contextlib.suppress(OSError):
        while True:
            wild.write(b"x" * 4096)
    assert os.statvfs(folder).f_bavail == 0


def take_files(folder):
    """So that not even an empty file can be made."""
    room = os.statvfs(folder)
    remount(folder, f"nr_inodes={room.f_files - room.f_ffree + 10}")
    with contextlib.suppress(OSError):
        for number in range(100):
            (folder / f"wild-{number}").touch()
    assert os.statvfs(folder).f_ffree == 0


def test_a_container_fills_nothing_but_its_own_files(own):
    tasks = Tasks(own)
    before = used(own)
    script = "for f in hosts hostname resolv.conf; do cat /dev/zero > /etc/$f; done; wc -c /etc/*"
    wild = tasks.start(busybox(forever(script)))
    tasks.running(wild)
    text = wait_until(lambda: "total" in own.text(wild) and own.text(wild), "the sizes")
    assert "No space left on device" in text, text
    assert used(own) - before < 1 << 20
    other = tasks.start(busybox("grep -c . /etc/hosts /etc/hostname"))
    assert container(tasks.stopped(other), "main")["exitCode"] == 0
    tasks.stop(wild)
    tasks.stopped(wild)
    script = "echo x >> /etc/hosts"
    closed = tasks.start(busybox(script, readonlyRootFilesystem=True))
    assert container(tasks.stopped(closed), "main")["exitCode"] == 1
    assert "Read-only file system" in own.text(closed)
    opened = tasks.start(busybox(script))
    assert container(tasks.stopped(opened), "main")["exitCode"] == 0


@pytest.mark.parametrize("take", [take_bytes, take_files])
def test_without_room_tasks_stop_and_down_leaves_nothing(own, take):
    tasks = Tasks(own)
    name = tasks.register(busybox(ENDS_WITH_5))
    deaf = tasks.register(busybox("trap '' TERM; while :; do sleep 1; done"))
    first, second, third = (tasks.run(name) for _ in range(3))
    killed = tasks.run(deaf)
    for task in (first, second, third, killed):
        tasks.running(task)
    take(run_folder(own))

    # What ends something is done and told, with its exit code.
    tasks.stop(first, reason="to see it end")
    record = tasks.stopped(first)
    assert record["stoppedReason"] == "to see it end"
    assert container(record, "main")["exitCode"] == 5, record
    tasks.stop(killed)
    assert container(tasks.stopped(killed), "main")["exitCode"] == 137
    # What begins is begun as long as it can be written down, and says why when not.
    new = tasks.run(name)
    record = wait_until(lambda: settled(tasks, new), "a start or its failure")
    if record["lastStatus"] == "STOPPED":
        assert "No space left on device" in record["stoppedReason"], record["stoppedReason"]
    assert own.process.poll() is None, own.log()

    # A server that is killed there finds what runs, and knows what ended.
    own.kill()
    own.start()
    assert tasks.describe(first)["lastStatus"] == "STOPPED"
    tasks.running(second)
    tasks.stop(second)
    assert container(tasks.stopped(second), "main")["exitCode"] == 5
    tasks.running(third)
    said = own.down()
    assert "did not stop in time" not in said, said
    own.start()
    record = tasks.describe(third)
    assert container(record, "main")["exitCode"] == 5, record


def settled(tasks, task):
    record = tasks.describe(task)
    return record["lastStatus"] in ("RUNNING", "STOPPED") and record
