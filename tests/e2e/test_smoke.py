"""A first look: one task from RunTask to STOPPED, with its exit code and its words."""

from windlass import busybox, container


def test_a_batch_task_ends_with_its_exit_code(windlass, tasks):
    task = tasks.start(busybox("echo out; echo err >&2; exit 3"))
    record = tasks.stopped(task)
    assert record["stopCode"] == "EssentialContainerExited"
    assert record["stoppedReason"] == "Essential container in task exited"
    assert container(record, "main")["exitCode"] == 3
    lines = windlass.logs(task)
    assert sorted(lines) == [("main", "stderr", "err"), ("main", "stdout", "out")]
