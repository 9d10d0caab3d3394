"""A data folder on a disk that fills up, to the last byte."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile

import pytest
from botocore.exceptions import ClientError
from windlass import FOREVER, IMAGES, Installation, Tasks, busybox, wait_until


@pytest.fixture
def small(executable, tmp_path_factory):
    """An installation whose data folder lies on a small disk of its own."""
    folder = tmp_path_factory.mktemp("small")
    installation = Installation(executable, folder)
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=640m", "small", disk], check=True)
    try:
        installation.data = disk / "data"
        installation.start()
        installation.load_image(IMAGES / "busybox.tar")
        yield installation
    finally:
        (disk / "wild").unlink(missing_ok=True)
        try:
            installation.dispose()
        finally:
            subprocess.run(["umount", "-l", disk], check=True)


def fill(installation):
    """As a program that runs wild does it."""
    with open(installation.data.parent / "wild", "ab", buffering=0) as wild:
        room = os.statvfs(wild.name)
        os.posix_fallocate(wild.fileno(), 0, room.f_bavail * room.f_frsize - (1 << 20))
        wild.seek(0, os.SEEK_END)
        with contextlib.suppress(OSError):
            while True:
                wild.write(b"x" * 4096)
    assert os.statvfs(installation.data).f_bavail == 0


def make_room(installation):
    (installation.data.parent / "wild").unlink()


def test_a_full_disk_refuses_what_adds_and_ends_nothing(small):
    tasks = Tasks(small)
    name = tasks.register(busybox(FOREVER))
    first, second = tasks.run(name), tasks.run(name)
    tasks.running(first)
    tasks.running(second)
    fill(small)

    def refusal(call):
        # What was free a moment ago is believed for a second.
        def probe():
            try:
                call()
            except ClientError as error:
                return error.response["Error"]
            return None

        return wait_until(probe, "a refusal")

    for call in (
        lambda: small.ecs.run_task(taskDefinition=name),
        lambda: tasks.register(busybox(FOREVER)),
    ):
        error = refusal(call)
        assert error["Code"] == "ServerException"
        assert f"the disk {small.data.parent} (small)" in error["Message"], error
        assert "free some space" in error["Message"], error
    for target, body in (
        ("Windlass.LoadImage", (IMAGES / "busybox.tar").read_bytes()),
        ("Windlass.PullImage", {"image": "127.0.0.1:1/none"}),
        ("Windlass.ImportRootfs", {"name": "rootfs", "directory": "/usr"}),
    ):
        answer = small.raw(target, body)
        assert (answer.status, answer.code) == (500, "ServerException"), answer.body
        assert f"the disk {small.data.parent} (small)" in answer.message, answer.message

    # What ends something works, and so does every question.
    tasks.stop(first, reason="to make room")
    assert tasks.stopped(first)["stoppedReason"] == "to make room"
    assert tasks.describe(second)["lastStatus"] == "RUNNING"
    assert small.process.poll() is None, small.log()

    # It starts on the full disk too, and finds what runs.
    small.kill()
    small.start()
    tasks.running(second)
    tasks.stop(second)
    tasks.stopped(second)

    make_room(small)
    third = wait_until(lambda: _ran(tasks, name), "room to run")
    tasks.running(third)
    assert small.process.poll() is None, small.log()


def _ran(tasks, name):
    try:
        return tasks.run(name)
    except ClientError:
        return None


def archive_of(folder, name, content):
    """As `docker save` makes it: one layer, packed, with one large file."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as layer:
        member = tarfile.TarInfo("large")
        member.size = len(content)
        layer.addfile(member, io.BytesIO(content))
    diff_id = "sha256:" + hashlib.sha256(plain.getbuffer()).hexdigest()
    rootfs = {"type": "layers", "diff_ids": [diff_id]}
    config = {"architecture": "amd64", "os": "linux", "rootfs": rootfs}
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    members = {
        "config.json": json.dumps(config).encode(),
        "layer.tar": gzip.compress(plain.getbuffer(), 1),
        "manifest.json": json.dumps(manifest).encode(),
    }
    path = folder / "archive.tar"
    with tarfile.open(path, "w") as archive:
        for member_name, data in members.items():
            member = tarfile.TarInfo(member_name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_what_brings_images_in_leaves_the_reserve(small, tmp_path):
    def free():
        room = os.statvfs(small.data)
        return room.f_bavail * room.f_frsize

    before = free()
    # More than there is above the reserve; the archive itself is small.
    content = b"x" * (before - (64 << 20))
    archive = archive_of(tmp_path, "large:1", content)
    assert archive.stat().st_size < 16 << 20
    rootfs = tmp_path / "rootfs"
    rootfs.mkdir()
    (rootfs / "large").write_bytes(content)
    for target, body in (
        ("Windlass.LoadImage", archive.read_bytes()),
        ("Windlass.ImportRootfs", {"name": "rootfs", "directory": str(rootfs)}),
    ):
        answer = small.raw(target, body)
        assert answer.status >= 400, answer.body
        told = ("less than the reserve", "are kept for what runs")
        assert any(words in answer.message for words in told), answer.body
        wait_until(lambda: free() > before - (16 << 20), "what was written to be gone")
    # The room that was left serves others, and nothing is half there.
    assert list((small.data / "uploads").iterdir()) == []
    listed = json.loads(small.raw("Windlass.ListImages", {}).body)["images"]
    names = {image["name"] for image in listed}
    assert not {"large:1", "rootfs", "rootfs:latest"} & names
    tasks = Tasks(small)
    task = tasks.start(busybox("true"))
    assert tasks.stopped(task)["containers"][0]["exitCode"] == 0
