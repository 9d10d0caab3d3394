"""Images of registries: when they are asked for, and what happens when no answer comes."""

import time

import pytest
from registry import Registry
from windlass import Tasks, busybox, container, told


@pytest.fixture
def registry():
    registry = Registry()
    yield registry
    registry.close()


def ran(own, registry, **run):
    """Runs a task of the registry's image to its end: its record and its history's notes."""
    tasks = Tasks(own)
    task = tasks.start(busybox("true", image=registry.image), run=run)
    record = tasks.stopped(task)
    entries = own.history(f"task/{task.rsplit('/')[-1]}")
    return record, [entry["text"] for entry in entries if entry["event"] == "note"]


def digest(record):
    assert container(record, "main").get("exitCode") == 0, told(record)
    return container(record, "main")["imageDigest"]


def test_a_tag_of_a_registry_is_asked_for_at_every_start(own, registry):
    first = registry.digest
    record, notes = ran(own, registry)
    assert (digest(record), notes) == (first, [])
    registry.asked.clear()
    record, notes = ran(own, registry)
    assert (digest(record), notes) == (first, [])
    assert registry.asked == [("HEAD", "/v2/app/manifests/v1")]
    # It moves: the next start has the new image, whose layers are here.
    registry.move()
    registry.asked.clear()
    record, notes = ran(own, registry)
    assert digest(record) == registry.digest != first
    assert first in notes[0] and registry.digest in notes[0]
    # It says no, then nothing, then is gone: the copy runs, and history says so.
    registry.behaviour = lambda path: (503, {}, b"{}")
    record, notes = ran(own, registry)
    assert digest(record) == registry.digest and "503" in notes[0], notes
    registry.behaviour = lambda path: time.sleep(60)
    began = time.monotonic()
    record, notes = ran(own, registry)
    assert digest(record) == registry.digest and "no answer within 2.0 s" in notes[0], notes
    assert time.monotonic() - began < 30
    registry.close()
    record, notes = ran(own, registry)
    assert digest(record) == registry.digest and "cannot reach" in notes[0], notes


def test_a_loaded_name_asks_nobody(own, registry):
    image = registry.image
    assert image not in [one["name"] for one in own.raw("Windlass.ListImages", {}).json()["images"]]
    tasks = Tasks(own)
    record = tasks.stopped(tasks.start(busybox("true")))
    assert container(record, "main")["exitCode"] == 0
    assert registry.asked == []


def test_the_four_pull_behaviors(own, own_cli, registry, tmp_path):
    def run(behavior, code=0):
        registry.asked.clear()
        family = Tasks(own).register(busybox("true", image=registry.image))
        said = own_cli("run", family, "--pull", behavior, code=code)
        return [path for _, path in registry.asked], said

    asked, _ = run("prefer-cached")
    assert "/v2/app/manifests/v1" in asked
    for behavior in ("prefer-cached", "once"):
        assert run(behavior)[0] == [], behavior
    assert run("default")[0] == ["/v2/app/manifests/v1"]
    assert run("always")[0] != []
    registry.behaviour = lambda path: (404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
    for behavior in ("prefer-cached", "once", "default"):
        run(behavior)
    _, said = run("always", code=125)
    assert "CannotPullContainerError" in said.err, said.err


def test_a_node_keeps_its_pull_behavior(own, registry):
    assert own.terminate() == 0
    usual = own._up
    own._up = lambda: [*usual(), "--pull", "prefer-cached"]
    own.start()
    ran(own, registry)
    own._up = usual
    assert own.terminate() == 0
    own.start()
    registry.asked.clear()
    record, _ = ran(own, registry)
    assert registry.asked == [] and digest(record) == registry.digest
