"""Images of registries: when they are asked for, and what happens when no answer comes."""

import json
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


def test_a_login_is_kept_for_root_alone(own, own_cli, tmp_path):
    registry = Registry(login=("me", "s3cret"))
    try:
        said = own_cli("images", "pull", registry.image, code=1)
        assert "access denied" in said.err and "windlass login" in said.err, said.err
        own_cli("login", registry.host, "-u", "me", code=64)
        login = ["login", registry.host, "-u", "me", "--password-stdin"]
        said = own_cli(*login, input="wr0ng\n", code=1)
        assert "wr0ng" not in said.err
        kept = own.data / "registries.json"
        assert not kept.exists()
        said = own_cli(*login, input="s3cret\n")
        assert kept.stat().st_mode & 0o777 == 0o600 and kept.stat().st_uid == 0
        record, _ = ran(own, registry)
        assert digest(record) == registry.digest
        for shown in (said, said.err, own.log(), own_cli("images"), own_cli("history", "cluster/default")):
            assert "s3cret" not in shown
        own_cli("logout", registry.host)
        own_cli("logout", registry.host, code=3)
        assert "me" not in kept.read_text()
        # What Docker has kept is taken over.
        docker = own_cli.folder / "config.json"
        docker.write_text(json.dumps({"auths": {registry.host: {"auth": "bWU6czNjcmV0"}}}))
        docker.chmod(0o644)
        own_cli("login", "--docker-config", docker)
        own_cli("images", "pull", registry.image)
    finally:
        registry.close()


def test_what_a_registry_says_is_passed_on(own, registry):
    answer = own.raw("Windlass.PullImage", {"image": f"{registry.host}/app:none"})
    assert (answer.status, answer.code) == (400, "ClientException")
    assert "manifest unknown: manifest unknown" in answer.message
    tasks = Tasks(own)
    record = tasks.stopped(tasks.start(busybox("true", image=f"{registry.host}/app:none")))
    reason = container(record, "main")["reason"]
    assert reason.startswith(
        "CannotPullContainerError: pull image manifest has been retried 0 time(s): failed to "
        f"resolve ref {registry.host}/app:none: "
    ), reason
    assert "manifest unknown" in reason
