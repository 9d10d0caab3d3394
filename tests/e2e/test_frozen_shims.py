"""Shims that do not answer: they hold up nobody, and are not taken for dead."""

import contextlib
import os
import pathlib
import signal

from windlass import FOREVER, Tasks, busybox, container, wait_until


def shims(installation):
    """Pids of the processes that hold tasks."""
    folders = pathlib.Path(f"/run/windlass-{installation.id}/sandboxes").glob("*/shim.pid")
    spare = (path for path in folders if not path.parent.name.startswith("spare-"))
    return [int(path.read_text().split()[0]) for path in spare]


def notes(installation, task):
    entries = installation.history(f"task/{task.rsplit('/', 1)[-1]}")
    return [entry["text"] for entry in entries if entry["event"] == "note"]


def test_frozen_shims_hold_up_nobody(own):
    tasks = Tasks(own)
    name = tasks.register(busybox(FOREVER))
    started = [tasks.run(name) for _ in range(4)]
    for task in started:
        tasks.running(task)
    frozen = shims(own)
    assert len(frozen) == 4
    own.kill()
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        # The answer to a first question is waited for no longer than one shim is.
        own.start()
        for task in started:
            record = tasks.describe(task)
            assert record["lastStatus"] == "RUNNING"
            wait_until(lambda: any("does not answer" in n for n in notes(own, task)), "a note")
            wait_until(lambda: tasks.describe(task)["connectivity"] == "DISCONNECTED", "unknown")
        new = tasks.run(name)
        tasks.running(new)
        tasks.stop(new)
        tasks.stopped(new)
        # A stop that a frozen shim does not perform ends it with what it holds.
        tasks.stop(started[0])
        record = tasks.stopped(started[0], seconds=90)
        assert "exitCode" not in container(record, "main"), record
    finally:
        for pid in frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    for task in started[1:]:
        wait_until(lambda: any("answers again" in n for n in notes(own, task)), "a note")
        record = tasks.describe(task)
        assert (record["lastStatus"], record["connectivity"]) == ("RUNNING", "CONNECTED")
        tasks.stop(task)
        assert container(tasks.stopped(task), "main")["exitCode"] == 0
        # Each is told once, however many reports follow.
        told = notes(own, task)
        assert len(told) == len(set(told)) == 2, told
