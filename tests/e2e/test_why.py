"""`windlass why`: the first sentence names the true cause, of every kind of cause."""

import contextlib
import http.server
import json
import os
import socket
import struct
import threading

import pytest
from botocore.exceptions import ClientError
from causes import FROM_THE_MANUALS, NOT_PLACED, OTHERS, REFUSED, STOPPED, UNHEALTHY, after
from cli import Cli
from test_frozen_shims import shims
from test_full_disk import fill, make_room, small  # noqa: F401  a fixture
from windlass import (
    FOREVER,
    SIGKILL,
    Lease,
    Tasks,
    busybox,
    port_is_free,
    unique,
    wait_until,
)

CASES = FROM_THE_MANUALS + OTHERS


def elf(machine, code):
    """The least that the kernel takes for a program of that machine."""
    start = 0x400000
    size = 64 + 56 + len(code)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, start + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, start, start, size, size, 4096)
    return header + segment + code


FILES = {
    # mov [0], eax
    "segv": elf(62, b"\x89\x04\x25\x00\x00\x00\x00"),
    # ud2
    "ill": elf(62, b"\x0f\x0b"),
    "arm": elf(183, b"\x00" * 4),
    "riscv": elf(243, b"\x00" * 4),
    "plain": b"echo hi\n",
    "text": b"Hello.\n",
    "crlf": b"#!/bin/sh\r\necho hi\r\n",
    "env": b"#!/usr/bin/env sh\r\necho hi\r\n",
    "data": b"#!/bin/sh\n",
}


class Registry(http.server.BaseHTTPRequestHandler):
    """Says no in the ways of the distribution specification."""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        name, _, reference = self.path.removeprefix("/v2/").partition("/manifests/")
        if self.path == "/v2/":
            return self.answer(200, {})
        if name == "private":
            return self.error(401, "UNAUTHORIZED", "authentication required")
        if name == "denied":
            return self.error(403, "DENIED", "requested access to the resource is denied")
        if name == "broken":
            return self.error(503, "UNAVAILABLE", "in maintenance")
        if name != "app":
            return self.error(404, "NAME_UNKNOWN", "repository name not known to registry")
        platforms = {"arm": ["arm64"], "far": ["s390x", "ppc64le"]}
        if reference not in platforms:
            return self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        kind = "application/vnd.oci.image.index.v1+json"
        manifests = [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": "sha256:" + "1" * 64,
                "size": 2,
                "platform": {"os": "linux", "architecture": architecture},
            }
            for architecture in platforms[reference]
        ]
        self.answer(200, {"schemaVersion": 2, "mediaType": kind, "manifests": manifests}, kind)

    def error(self, status, code, message):
        self.answer(status, {"errors": [{"code": code, "message": message}]})

    def answer(self, status, body, kind="application/json"):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="registry"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextlib.contextmanager
def registry():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def filled(value, places):
    """With each {place} replaced; one that is all of a text keeps its type."""
    if isinstance(value, dict):
        return {
            name: filled(item, places) for name, item in value.items() if item is not None
        }
    if isinstance(value, list):
        return [filled(item, places) for item in value]
    if isinstance(value, str):
        for place, text in places.items():
            if value == f"{{{place}}}":
                return text
            value = value.replace(f"{{{place}}}", str(text))
    return value


class Doings:
    """What is done to a task that runs."""

    def __init__(self, windlass, tasks):
        self.windlass, self.tasks = windlass, tasks

    def stop(self, task, marker):
        wait_until(lambda: "not now" in self.windlass.text(task), "it listens")
        self.tasks.stop(task, reason="enough")

    def kill(self, task, marker):
        (process, *_) = self.windlass.marked(marker)
        os.kill(process, SIGKILL)


def begin(case, tasks, cli, places):
    """Brings a case about: what `why` is to be asked about, or what was said at once."""
    family = unique(case.kind.replace(": ", "-").replace(" ", "-").replace("#", "").replace("!", ""))
    containers = filled(case.containers, places)
    members = filled(case.members, places)
    marker = unique("marker")
    if case.act == "kill":
        containers[0]["command"][-1] = f": {marker}; {FOREVER}"
    if case.end == REFUSED:
        path, _ = cli.definition(*containers, family=family, **members)
        return cli("register", path, code=1).err.removeprefix("windlass: ")
    name = tasks.register(*containers, family=family, **members)
    answer = tasks.ecs.run_task(taskDefinition=name, **case.run)
    tasks.started += [task["taskArn"] for task in answer["tasks"]]
    if case.end == NOT_PLACED:
        assert answer["failures"], case
        return f"definition/{family}"
    (task,) = answer["tasks"]
    if case.act:
        tasks.running(task["taskArn"])
        getattr(Doings(tasks.installation, tasks), case.act)(task["taskArn"], marker)
    return task["taskArn"]


def end(case, subject, tasks, cli):
    """Waits for it: what `why` says."""
    if case.end == STOPPED:
        tasks.stopped(subject, seconds=110)
    if case.end == UNHEALTHY:
        wait_until(
            lambda: tasks.describe(subject)["healthStatus"] == "UNHEALTHY", "it is unhealthy"
        )
    return subject if case.end == REFUSED else cli("why", subject)


@pytest.fixture
def places(windlass, tmp_path):
    """What the cases name in braces."""
    for name, content in FILES.items():
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(0o644 if name == "data" else 0o755)
    leases = [Lease("port", filter(port_is_free, range(18000, 18200))) for _ in range(2)]
    with registry() as address, socket.socket() as program:
        # As `port_is_free` looks: connections of an earlier test may still be remembered.
        program.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        program.bind(("0.0.0.0", leases[1].number))
        program.listen()
        wait_until(lambda: leases[1].number in windlass.ports_in_use(), "the node sees the port")
        yield {
            "files": str(tmp_path),
            "registry": address,
            "task port": leases[0].number,
            "program port": leases[1].number,
        }
    for lease in leases:
        lease.release()


def wrong(case, said, places):
    """What is missing of the first sentence, or must not be there."""
    first = said.splitlines()[0]
    words = [str(filled(word, places)) for word in case.words]
    missing = [word for word in words if word.lower() not in first.lower()]
    missing += [f"not: {word}" for word in case.never if word in said]
    return missing and f"{case.kind}: {missing}: {first}"


def test_the_first_sentence_names_the_cause(windlass, tasks, cli, places):
    port = [{"containerPort": 80, "hostPort": places["task port"]}]
    tasks.running(tasks.start(busybox(FOREVER, portMappings=port)))
    subjects = [begin(case, tasks, cli, places) for case in CASES]
    said = [end(case, subject, tasks, cli) for case, subject in zip(CASES, subjects)]
    failed = [wrong(case, text, places) for case, text in zip(CASES, said)]
    failed = list(filter(None, failed))
    right = len(CASES) - len(failed)
    assert not failed, f"{right} of {len(CASES)}:\n" + "\n".join(failed)


def first(cli, subject):
    return cli("why", subject).splitlines()[0]


def test_of_a_machine_that_breaks(own, own_cli):
    """Shims that are killed, then the machine's restart."""
    tasks = Tasks(own)
    pair = [busybox(FOREVER, name="web"), busybox(FOREVER, name="side", essential=False)]
    killed = [tasks.start(busybox(FOREVER)), tasks.start(*pair)]
    for task in killed:
        tasks.running(task)
    for pid in shims(own):
        os.kill(pid, SIGKILL)
    for task, name in zip(killed, ("main", "web")):
        tasks.stopped(task)
        said = first(own_cli, task)
        assert name in said and "shim" in said, said

    rebooted = [tasks.start(busybox(FOREVER)), tasks.start(*pair)]
    for task in rebooted:
        tasks.running(task)
    # Its server sees nothing of the end of the rest.
    own.process.kill()
    own.reboot()
    own.start()
    for task in rebooted:
        tasks.stopped(task)
        said = first(own_cli, task)
        assert "restarted" in said and "boot" in said, said


def test_of_a_full_disk(small, tmp_path):  # noqa: F811
    """Of the node's, which refuses what would be run."""
    cli = Cli(small, tmp_path)
    name = Tasks(small).register(busybox(FOREVER))
    fill(small)
    try:

        def refused():
            # What was free a moment ago is believed for a second.
            with contextlib.suppress(ClientError):
                Tasks(small).run(name)
                return None
            return cli("run", name, "--detach", code=1).err

        said = wait_until(refused, "a refusal").splitlines()[0]
        assert f"the disk {small.data.parent} (small)" in said and "MiB free" in said, said
    finally:
        make_room(small)


def test_each_fact_is_told_once(tasks, cli, places):
    """Last lines and long errors, which reports and records repeat."""
    task = tasks.start(
        busybox("for i in 1 2 3; do echo line $i of it; done; exit 3"),
        busybox(FOREVER, name="web", dependsOn=after("main", "START")),
    )
    tasks.stopped(task)
    said = cli("why", task)
    assert said.count("line 1 of it") == 1, said
    assert said.count("last lines of main") == 1, said

    task = tasks.start(busybox("true", image=f"{places['registry']}/none/such:1"))
    tasks.stopped(task, seconds=110)
    said = cli("why", task)
    assert said.count("not known to registry") == 1, said


def test_what_found_no_place_is_told_by_the_name_of_its_family(tasks, cli):
    family = unique("big")
    name = tasks.register(busybox("true", memory=9000000), family=family)
    assert "as far as history goes" in first(cli, name)
    said = cli("run", name, "--detach", code=2).err
    told = first(cli, family)
    assert told == first(cli, name) == first(cli, f"definition/{family}")
    sentence = told.split("no place: ")[1].rstrip(".")
    assert sentence in said, (sentence, said)
    answer = cli("why", family, "-o", "json").json()
    assert answer["summary"] == told and "RESOURCE:MEMORY" in answer["evidence"][0]["lines"][0]
