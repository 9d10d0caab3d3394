"""Tasks that cannot start: each says why, soon, and leaves nothing."""

import os
import time

import pytest
from botocore.exceptions import ClientError
from windlass import FOREVER, busybox, container, told, unique


def failed(tasks, *containers, exit_code=None, **members):
    """Runs a task that must fail: its record, and the reason of the container `main`."""
    started = time.monotonic()
    task = tasks.start(*containers, **members)
    record = tasks.stopped(task)
    assert record["stopCode"] == "TaskFailedToStart", told(record)
    assert "startedAt" not in record
    main = container(record, "main")
    assert main.get("exitCode") == exit_code, told(record)
    assert time.monotonic() - started < 30
    return record, main["reason"]


def test_an_image_that_does_not_exist(tasks):
    image = f"localhost:1/{unique('nothing')}:1"
    record, reason = failed(tasks, busybox("exit 0", image=image))
    assert reason.startswith("CannotPullContainerError: ") and image in reason
    assert record["stoppedReason"].startswith("CannotPullContainerError: ")


def test_a_registry_that_nobody_reaches(tasks):
    """docker.io is not reached from here; elsewhere the image does not exist."""
    _, reason = failed(tasks, busybox("exit 0", image=unique("windlass-nothing")))
    assert reason.startswith("CannotPullContainerError: ")


# The exit codes that shells and container engines give to what is not there, or cannot be run.
@pytest.mark.parametrize(
    "members, code, words",
    [
        ({"command": ["/no/such/program"]}, 127, "no such file or directory"),
        ({"command": ["no-such-program"]}, 127, "executable file not found in $PATH"),
        ({"command": ["/etc/passwd"]}, 126, "permission denied"),
        ({"command": ["/etc"]}, 126, "permission denied"),
        ({"command": ["true"], "workingDirectory": "/etc/passwd"}, 126, "not a directory"),
    ],
)
def test_a_command_that_does_not_start(tasks, members, code, words):
    _, reason = failed(tasks, busybox(**members), exit_code=code)
    assert reason.startswith("CannotStartContainerError: "), reason
    named = members.get("workingDirectory", members["command"][0])
    assert named in reason and words in reason, reason


def test_a_user_that_the_image_does_not_have(tasks):
    _, reason = failed(tasks, busybox(command=["true"], user="nobody-knows"))
    assert reason.startswith("Cannot") and "nobody-knows" in reason


def test_a_volume_that_is_a_file_where_a_folder_is(tasks, tmp_path):
    """A file of the host over a folder of the image."""
    path = tmp_path / "file"
    path.write_text("text")
    _, reason = failed(
        tasks,
        busybox("true", mountPoints=[{"sourceVolume": "v", "containerPath": "/etc"}]),
        volumes=[{"name": "v", "host": {"sourcePath": str(path)}}],
    )
    assert reason.startswith("Cannot") and "/etc" in reason


def test_a_volume_below_a_file_of_the_image(tasks):
    _, reason = failed(
        tasks,
        busybox("true", mountPoints=[{"sourceVolume": "v", "containerPath": "/etc/passwd/v"}]),
        volumes=[{"name": "v"}],
    )
    assert "/etc/passwd" in reason


def test_a_sibling_that_cannot_start_ends_the_task(tasks):
    task = tasks.start(
        busybox(FOREVER, name="good", memory=8), busybox(command=["/nothing"], memory=8)
    )
    record = tasks.stopped(task)
    assert record["stopCode"] == "TaskFailedToStart", told(record)
    assert container(record, "main")["reason"].startswith("CannotStartContainerError")
    # The other one had started, or never will.
    good = container(record, "good")
    assert good["lastStatus"] == "STOPPED"


@pytest.mark.parametrize(
    "members, word",
    [
        ({"logConfiguration": {"logDriver": "awsfirelens"}}, "awsfirelens"),
        ({"repositoryCredentials": {"credentialsParameter": "arn:x"}}, "repositoryCredentials"),
        ({"environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::b/x.env"}]}, "environment"),
        ({"secrets": [{"name": "A", "valueFrom": "z"}]}, "secrets"),
    ],
)
def test_what_is_not_supported_is_not_ignored(tasks, members, word):
    """Refused when it is registered or placed, or named by the task that did not start."""
    try:
        definition = tasks.register(busybox("exit 0", **members))
        answer = tasks.ecs.run_task(taskDefinition=definition)
    except ClientError as error:
        assert word in str(error)
        return
    if not answer["tasks"]:
        assert answer["failures"][0]["reason"] == "ATTRIBUTE"
        return
    tasks.started.append(answer["tasks"][0]["taskArn"])
    record = tasks.stopped(tasks.started[-1])
    assert record["stopCode"] == "TaskFailedToStart", told(record)
    assert word in container(record, "main")["reason"]


def test_nothing_is_left_of_what_failed(windlass, tasks):
    before = len(windlass.processes())
    for _ in range(5):
        tasks.start(busybox(command=["/nothing"], memory=8))
    tasks.finish()
    assert os.path.exists(f"/run/windlass-{windlass.id}")
    deadline = time.monotonic() + 10
    # Spare shims may come and go.
    while len(windlass.processes()) > before + 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(windlass.processes()) <= before + 3
