"""Images as a user brings them in, names them and gets rid of them."""

import json
import os
import shutil
import subprocess
import tarfile
import threading

import pytest
from windlass import IMAGES, Tasks, busybox, unique


@pytest.fixture
def cli(own_cli):
    return own_cli


@pytest.fixture
def layout(cli):
    """The sample image as a layout in a folder, its entry without a name."""
    folder = cli.folder / "layout"
    with tarfile.open(IMAGES / "busybox.tar") as archive:
        archive.extractall(folder, filter="data")
    path = folder / "index.json"
    index = json.loads(path.read_text())
    index["manifests"] = [{**index["manifests"][0], "annotations": None}]
    path.write_text(json.dumps(index))
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return folder


def names(cli):
    return {image["name"] for image in cli("images", "ls", "-o", "json").json()["images"]}


def given(cli, source, *words):
    """`images load` with standard input from a file or pipe."""
    return subprocess.run(
        cli.command("images", "load", "-", *words),
        env=cli.environment(), stdin=source, capture_output=True, text=True, check=False,
    )


def test_archives_come_as_files_pipes_and_folders(cli, own, layout):
    sample = shutil.copy(IMAGES / "busybox.tar", cli.folder)
    with open(sample, "rb") as source:
        done = given(cli, source, "--name", "piped:1")
    assert done.returncode == 0 and done.stdout.splitlines()[1].startswith("piped:1"), done.stderr
    packed = subprocess.Popen(["gzip", "-c", sample], stdout=subprocess.PIPE)
    done = given(cli, packed.stdout, "--name", "packed")
    assert packed.wait() == 0 and done.returncode == 0, done.stderr
    assert given(cli, subprocess.DEVNULL).returncode == 1

    fifo = cli.folder / "fifo"
    os.mkfifo(fifo, 0o644)
    writer = threading.Thread(target=lambda: fifo.write_bytes((IMAGES / "busybox.tar").read_bytes()))
    writer.start()
    rows = cli("images", "load", fifo, "--name", "fifo:1").rows()
    writer.join()
    assert [row["IMAGE"] for row in rows] == ["fifo:1"]

    # Two at once; the folder's image has no name, and is called by its digest.
    answer = cli("images", "load", sample, layout, "-o", "json").json()
    *_, unnamed = answer["images"]
    assert unnamed["name"] == unnamed["digest"] and answer["leftOut"] == []
    # It had names already, and keeps its id as one more until it gets one.
    tasks = Tasks(own)
    started = tasks.start(busybox("true", image=unnamed["digest"]))
    assert tasks.stopped(started)["containers"][0]["exitCode"] == 0
    tasks.finish()
    assert {"piped:1", "packed:latest", "packed:1.35", "fifo:1", unnamed["digest"]} <= names(cli)

    assert cli("images", "load", sample, layout, "--name", "two:1", code=64).err
    for wrong in ("/dev/zero", cli.folder):
        assert cli("images", "load", wrong, code=64).err


def test_names_and_room(cli, own):
    (image, *_) = [it for it in cli("images", "-o", "json").json()["images"]]
    digits = image["digest"].removeprefix("sha256:")[:12]
    name = unique("tag")
    (row,) = cli("images", "tag", digits, f"{name}:1").rows()
    assert row == {"IMAGE": f"{name}:1", "DIGEST": image["digest"]}
    assert cli("images", "tag", "nothing", "x:1", code=3).err
    rows = {row["IMAGE"]: row for row in cli("images").rows()}
    assert rows[f"{name}:1"]["DIGEST"] == digits and "CREATED" in rows[f"{name}:1"]
    assert "names" in cli("images", "rm", digits, code=1).err

    tasks = Tasks(own)
    task = tasks.start(busybox("sleep 600", image=f"{name}:1"))
    tasks.running(task)
    used = {row["WHAT"]: row for row in cli("images", "df").rows()}
    assert used["images"]["IN USE"] == "1" and used["layers"]["RECLAIMABLE"] == "0 B"
    assert cli("images", "prune", "--all", "-o", "json").json()["removed"] == []
    tasks.stop(task)
    tasks.stopped(task)
    tasks.finish()
    cli("images", "rm", f"{name}:1")
    assert f"{name}:1" not in names(cli)
